"""Hostile calls at every vendor's door: refused in the vendor's own shape, and nothing is half-created."""

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest
from api_site import Reply, Site
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_calls import BRIDGE, LIVE, RTC, Customer, customer

from northbound.model.app import Endpoint, Subscription

URL = "https://there.test/cb"
DEEP = 5_000
TARGET = {"Id": "t1", "Type": "http", "Endpoint": URL, "ParamList": [{"ResourceKey": "Body", "Form": "ORIGINAL"}]}
EVENT = {"id": "e", "source": "s", "type": "t", "specversion": "1.0", "data": {}}
# Each action with parameters that it takes; every one of them is then replaced.
RPC: dict[tuple[str, str], dict[str, str]] = {
    ("CreateEventSubscribe", RTC): {
        "AppId": "APP", "ChannelId": "r", "CallbackUrl": URL, "ClientToken": "t", "Events.1": "UserEvent",
        "Users.1": "u", "Role": "1", "NeedCallbackAuth": "true",
    },
    ("DeleteEventSubscribe", RTC): {"AppId": "APP", "SubscribeId": "s"},
    ("DescribeChannelUsers", RTC): {"AppId": "APP", "ChannelId": "r"},
    ("DescribeRecordFiles", RTC): {"AppId": "APP", "PageNum": "1", "PageSize": "10"},
    ("CreateEventSub", LIVE): {"AppId": "APP", "ChannelId": "r", "CallbackUrl": URL, "Events.1": "UserEvent"},
    ("UpdateEventSub", LIVE): {"AppId": "APP", "SubscribeId": "s", "CallbackUrl": URL, "Events.1": "UserEvent"},
    ("ListEventSub", LIVE): {"AppId": "APP"},
    ("ListEventSubEvent", LIVE): {"AppId": "APP", "StartTime": "1", "EndTime": "2", "PageNo": "1", "PageSize": "1"},
    ("CreateEventBus", BRIDGE): {"EventBusName": "b", "Description": "d"},
    ("ListEventBuses", BRIDGE): {"NamePrefix": "b", "Limit": "1", "NextToken": "a"},
    ("CreateRule", BRIDGE): {
        "EventBusName": "default", "RuleName": "r", "FilterPattern": "{}", "Status": "ENABLE", "Description": "d",
        "EventTargets": json.dumps([TARGET]),
    },
    ("UpdateRule", BRIDGE): {"EventBusName": "default", "RuleName": "r", "FilterPattern": "{}", "Status": "ENABLE"},
    ("GetRule", BRIDGE): {"EventBusName": "default", "RuleName": "r"},
    ("PutTargets", BRIDGE): {"EventBusName": "default", "RuleName": "r", "Targets": json.dumps([TARGET])},
    ("DeleteTargets", BRIDGE): {"EventBusName": "default", "RuleName": "r", "TargetIds": '["t1"]'},
    ("TestEventPattern", BRIDGE): {"Event": json.dumps(EVENT), "EventPattern": "{}"},
    ("PutEvents", BRIDGE): {"EventBusName": "default", "EventList": '[{"Id":"1","Source":"s","Type":"t"}]'},
    ("QueryTracedEvents", BRIDGE): {"EventBusName": "default", "StartTime": "1", "EndTime": "2", "Limit": "1"},
    ("QueryEvent", BRIDGE): {"EventBusName": "default", "EventId": "e", "EventSource": "s"},
    ("CreateEventSource", BRIDGE): {
        "EventBusName": "default", "EventSourceName": "e", "Description": "d",
        "ExternalSourceType": "HTTP", "ExternalSourceConfig": "{}",
    },
}  # fmt: skip
TEXTS = (
    "\x00", "a\x00b", "\x1b[31m", "é用户\U0001f642", "\u202e", "\ufffe", "\ud800", "]]>", "<a>&amp;&x;\"'",
    '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "\r\nSet-Cookie: a=b", "%", "%zz", "../../etc/passwd", "{", "[]",
    "[[]]", "[null]", "[1]", "{}", '[{"Id":1}]', '[{"Id":"t","Type":"http","Endpoint":"http://[::1"}]', "NaN", "[NaN]",
    "Infinity", "1e999", "-1", "9" * 400, "٣", "null", "true", '{"a":1,"a":2}', '[{"Id":"a","Id":"b"}]', '"\\ud800"',
    '{"source":["\\ud800"]}', '{"\x00":1}', "[" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "[" * DEEP + "]" * DEEP,
    "a" * 300, "用" * 5_000, "x" * 300_000, "http://[::1", "https://u:p@there.test/", "https://there.test/\x00",
    "javascript:alert(1)", "https://" + "a" * 3_000 + ".test/", "https://there.test:99999/", "https://xn--a.test\ud800/",
)  # fmt: skip
WRONG: tuple[Any, ...] = (
    True, 0, -1, 10**400, 1.5, "", "\x00", "\ud800", "x" * 5_000, [], [[]], [None], [1], {}, {"a": {"b": []}}, [{}],
    [{"Id": 1}], [{"Id": "t", "ParamList": [None]}], [{"Id": "t", "ParamList": {}}], [{"Id": "\x00", "Type": "http"}],
    [TARGET | {"ConcurrentConfig": {"Concurrency": 10**30}}], [TARGET | {"DeadLetterQueue": {"Arn": []}}],
    [TARGET | {"Endpoint": "http://[::1"}], [TARGET | {"ErrorsTolerance": "\x00"}], [TARGET, TARGET],
    [TARGET | {"ParamList": [{"ResourceKey": "Body", "Form": "JSONPATH", "Value": "$." + "a" * 300}]}],
    [TARGET | {"ParamList": [{"ResourceKey": "Body", "Form": "TEMPLATE", "Value": "{", "Template": "${a}${\x00}"}]}],
)  # fmt: skip
PLANE: dict[str, dict[str, Any]] = {
    "createEventBus": {"EventBusName": "b", "Description": "d"},
    "deleteEventBus": {"EventBusName": "b"},
    "listEventBuses": {"NamePrefix": "b", "Limit": 1, "NextToken": "a"},
    "createRule": {
        "EventBusName": "default", "RuleName": "r", "FilterPattern": "{}", "Description": "d", "Status": "ENABLE",
        "Targets": [TARGET],
    },
    "updateRule": {"EventBusName": "default", "RuleName": "r", "FilterPattern": "{}"},
    "createTargets": {"EventBusName": "default", "RuleName": "r", "Targets": [TARGET]},
    "deleteTargets": {"EventBusName": "default", "RuleName": "r", "TargetIds": ["t1"]},
    "listTargets": {"EventBusName": "default", "RuleName": "r", "Limit": 1},
    "testEventPattern": {"Event": json.dumps(EVENT), "EventPattern": "{}"},
    "queryEventTraces": {"EventBusName": "default", "EventId": "e"},
    "queryTracedEventsByPeriod": {"EventBusName": "default", "StartTime": 1, "EndTime": 2, "Limit": 1},
    "v2/createEventSource": {"EventBusName": "default", "EventSourceName": "e", "ExternalSourceConfig": {}},
}  # fmt: skip
BODIES = (
    b"{", b"[]", b"null", b"1", b'"a"', b"NaN", b"\xff\xfe", b'{"EventBusName":"a","EventBusName":"b"}', b"\x00",
    b'{"EventBusName":"\\ud800"}', b"[" * DEEP, b'{"EventBusName":' * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b'{"Limit":1e400}', b'{"Limit":' + b"9" * 5_000 + b"}", b" " * 1_500_000, b'{"EventBusName":NaN}',
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    one = Site(tmp_path_factory.mktemp("site") / "data")
    yield one
    one.close()


@pytest.fixture(scope="module")
def callers(site: Site) -> Iterator[Customer]:
    """Return customers in turn: each has its own throttle, and calls far less often than that."""
    return itertools.cycle([customer(site, f"c{number}") for number in range(30)])


def state(site: Site) -> tuple[Any, ...]:
    """Return what any change of the registry changes: its version, and each object with its revision."""
    rows = site.web.control._db.execute("SELECT kind, id, revision FROM objects").fetchall()
    return site.web.control.version(), *rows


def fair(site: Site, reply: Reply, before: tuple[Any, ...], *, sends: bool = False) -> None:
    """Refuse what is no clean refusal: the vendor's shape, an id, our words, and nothing changed."""
    assert reply.status < 500 or (sends and reply.status == 503), reply.body  # no intake is beside this site
    request_id = reply.headers["x-acs-request-id"]
    if reply.headers["content-type"].startswith("application/xml"):
        root = ET.fromstring(reply.body)  # noqa: S314 - our own
        assert root.findtext("RequestId") == request_id
    else:
        words = reply.json
        assert words.get("Code", words.get("code")) not in {"SignatureDoesNotMatch", "Throttling.User"}, words
        assert request_id in (words.get("RequestId"), words.get("requestId"))
    assert b"Traceback" not in reply.body
    if reply.status != 200:
        assert state(site) == before


def tidy(site: Site) -> None:
    """Remove what hostile words made that were good after all, so that limits are not reached."""
    control = site.web.control
    for kind in (Subscription, Endpoint):
        for _, one in control.find(kind, limit=10_000):
            control.drop(kind, one.id, who="t", now=site.web.clock.now())


@pytest.mark.parametrize(("action", "version"), list(RPC), ids=str)
def test_any_parameter_may_be_anything(site: Site, callers: Iterator[Customer], action: str, version: str) -> None:
    """XML and JSON by turns: what an answer repeats is escaped, control characters included."""
    parameters = RPC[action, version]
    for number, (name, value) in enumerate(itertools.product((*parameters, "New\x00<name>"), TEXTS)):
        by, before = next(callers), state(site)
        given_ = {one: by.app_id if text == "APP" else text for one, text in parameters.items()} | {name: value}
        words = given_ | {"Action": action, "Version": version, "Format": "XML" if number % 2 else "JSON"}
        fair(site, by.sent("POST", by.signed(words)), before, sends=action == "PutEvents")
        if number % 50 == 49:
            tidy(site)
    tidy(site)


@pytest.mark.parametrize("action", list(PLANE))
def test_any_member_may_be_anything(site: Site, callers: Iterator[Customer], action: str) -> None:
    for number, (name, value) in enumerate(itertools.product(PLANE[action], (*WRONG, *TEXTS))):
        by, before = next(callers), state(site)
        fair(site, by.plane(action, PLANE[action] | {name: value}), before)
        if number % 50 == 49:
            tidy(site)
    for body in BODIES:
        fair(site, next(callers).plane(action, raw=body), state(site))
    tidy(site)


@pytest.mark.parametrize("value", [*WRONG, *TEXTS], ids=lambda value: repr(value)[:20])
def test_any_attribute_of_an_event_may_be_anything(site: Site, callers: Iterator[Customer], value: Any) -> None:
    kind = "application/cloudevents-batch+json"
    for name in (*EVENT, "time", "subject", "aliyuneventbusname", "data_base64", "datacontenttype", "ext"):
        event = {"aliyuneventbusname": "default", **EVENT, name: value}
        fair(site, next(callers).plane("putEvents", [event], kind=kind), state(site), sends=True)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body)[:20])
def test_a_batch_of_events_may_be_anything(site: Site, callers: Iterator[Customer], body: bytes) -> None:
    fair(site, next(callers).plane("putEvents", raw=body), state(site), sends=True)


def test_ten_thousand_users_are_refused(site: Site, callers: Iterator[Customer]) -> None:
    by, before = next(callers), state(site)
    words = {"Action": "CreateEventSubscribe", "Version": RTC, "AppId": by.app_id, "ChannelId": "r", "CallbackUrl": URL}
    words |= {"ClientToken": "t", "Events.1": "UserEvent"} | {f"Users.{n}": "u" for n in range(1, 10_001)}

    fair(site, by.sent("POST", by.signed(words)), before)
    body = urlencode(by.signed(words)).encode()
    reply = site.call("POST", "/", raw=body, key="", content_type="application/x-www-form-urlencoded")
    fair(site, reply, before)


@pytest.mark.parametrize("name", ["ChannelId", "Users.1"])
@pytest.mark.parametrize(("action", "version"), [("CreateEventSubscribe", RTC), ("CreateEventSub", LIVE)])
def test_a_subscription_for_what_nobody_can_be_called_is_refused(
    site: Site, callers: Iterator[Customer], action: str, version: str, name: str
) -> None:
    """A NUL or line break in an id: refused by the parameter's name, and nothing is made."""
    by = next(callers)
    words = RPC[action, version] | {"AppId": by.app_id, "Users.1": "u"}
    assert by.rpc(action, version, **words | {"ClientToken": f"good-{name}"}).status == 200
    tidy(site)
    before = state(site)

    for value in ("a\x00b", "a\nb"):
        reply = by.rpc(action, version, **words | {"ClientToken": f"bad-{name}", name: value})
        fair(site, reply, before)
        assert (reply.status, reply.json["Code"]) == (400, "InvalidParameter")
        assert name.partition(".")[0] in reply.json["Message"]


@pytest.mark.parametrize(
    ("action", "name"), [("DescribeChannelUsers", "ChannelId"), ("DescribeRtcChannelList", "UserId")]
)
def test_nobody_is_looked_for_by_what_nobody_can_be_called(
    site: Site, callers: Iterator[Customer], action: str, name: str
) -> None:
    by = next(callers)
    reply = by.rpc(action, RTC, AppId=by.app_id, TimePoint="2026-03-01T00:00:00Z", **{name: "a\x00"})

    fair(site, reply, state(site))
    assert (reply.status, reply.json["Code"]) == (400, "InvalidParameter")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "query",
    [
        "Action=ListEventSub&Action=CreateEventSub", "Action=%zz", "Action=%ff%fe", "Action=%", "Action=&Version=",
        "Action=ListEventSub&Version=2016-11-01&Signature=x&AccessKeyId=%00", "Action=a&" + "b=c&" * 20_000,
        "Action=a&" + "n" * 5_000 + "=1", "Signature=x&%00=%00", "AccessKeyId=%3C%26%3E&Action=%3C!ENTITY%3E",
        "Action=ListEventSub&Version=2016-11-01&AccessKeyId=<&SignatureNonce=n&Timestamp=x&Signature=s&Format=YAML",
    ],
    ids=lambda query: query[:30],
)  # fmt: skip
def test_a_call_that_cannot_be_read_is_refused_in_shape(site: Site, method: str, query: str) -> None:
    fair(site, site.call(method, f"/?{query}", key=""), state(site))


@given(
    query=st.binary(max_size=200),
    body=st.binary(max_size=200),
    fields=st.lists(
        st.tuples(
            st.sampled_from(["authorization", "x-acs-action", "x-acs-date", "x-acs-version", "content-type", "host"]),
            st.sampled_from(["", "ACS3-HMAC-SHA256", "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host;x,Signature=s",
                             "acs:a:b", "application/x-www-form-urlencoded", "\xff", "CreateEventSub", "2016-11-01"]),
        ),
        max_size=6,
    ),
    path=st.sampled_from(["/", "/openapi/putEvents", "/openapi/createRule", "/openapi/", "/openapi/\xff"]),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_any_bytes_at_a_door_are_answered(
    site: Site, query: bytes, body: bytes, fields: list[tuple[str, str]], path: str, method: str
) -> None:
    headers = dict(fields)
    headers.pop("host", None)
    before = state(site)

    reply = site.call(
        method, f"{path}?Action=a&{query.decode('latin-1').encode('ascii', 'ignore').decode()}", raw=body, key="",
        **{name.replace("-", "_"): value.encode().decode("latin-1") for name, value in headers.items()},
    )  # fmt: skip

    fair(site, reply, before)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_a_call_by_another_method_is_refused_in_the_vendors_shape(
    site: Site, callers: Iterator[Customer], method: str
) -> None:
    """Also a signed one: it is not carried out."""
    by, before = next(callers), state(site)

    reply = by.rpc("CreateEventBus", BRIDGE, method=method, EventBusName="made")

    assert (reply.status, reply.headers["allow"]) == (405, "GET, POST")
    assert reply.headers["x-acs-request-id"]
    assert method == "HEAD" or reply.json["Code"] == "UnsupportedHTTPMethod"
    assert state(site) == before
    assert site.call(method, "/", key="").status == (200 if method == "HEAD" else 405)


@pytest.mark.parametrize(
    ("event", "pattern"),
    [
        ('{"source":"a","source":"b"}', '{"source":["b"]}'), ('{"data":{"a":1,"a":2}}', "{}"),
        ('{"source":"\\ud800"}', "{}"), ('{"source":"a"}', '{"source":["a"],"source":["b"]}'),
        ('{"source":"a"}', '{"source":["\\ud800"]}'), ('{"n":NaN}', "{}"),
    ],
)  # fmt: skip
def test_what_two_parsers_could_read_in_two_ways_is_refused(
    site: Site, callers: Iterator[Customer], event: str, pattern: str
) -> None:
    """A repeated member neither matches nor does not match: nobody could say which one the receiver goes by."""
    by = next(callers)
    words = {"Event": event, "EventPattern": pattern}

    codes = {
        by.rpc("TestEventPattern", BRIDGE, **words).json.get("Code"),
        by.plane("testEventPattern", words).json["code"],
    }

    assert codes <= {"JsonAttributeInvalid", "EventRuleFilterPatternInvalid"}


def test_a_target_given_twice_over_in_one_object_is_refused(site: Site, callers: Iterator[Customer]) -> None:
    by, before = next(callers), state(site)
    twice = json.dumps([TARGET])[:-2] + ',"Endpoint":"https://else.test/"}]'

    reply = by.rpc("CreateRule", BRIDGE, EventBusName="default", RuleName="r", FilterPattern="{}", EventTargets=twice)

    assert (reply.status, reply.json["Code"], state(site)) == (409, "JsonAttributeInvalid", before)


# --- the pages that are calls of the API, and the lists --------------------------------------------------------------

CALL_APP = {
    "app_id": "APP", "name": "n", "automatic_recording": True, "recording_callback_url": URL, "room_callback_url": URL,
    "media_proxy": "example.aliyundoc.com", "egress_ips": "192.0.2.1;2001:db8::1",
}  # fmt: skip


@pytest.mark.parametrize("name", list(CALL_APP))
def test_any_member_of_a_call_app_may_be_anything(site: Site, callers: Iterator[Customer], name: str) -> None:
    by = next(callers)
    made = site.made("call-apps", CALL_APP | {"app_id": by.app_id})
    for number, value in enumerate((None, *WRONG, *TEXTS), start=len(name)):
        calls = [("PATCH", f"call-apps/{made['id']}", {name: value}, {"if_match": "*"})]
        if number % 4 == 0:  # making a key takes its time
            calls.append(("POST", "call-apps", CALL_APP | {"app_id": by.app_id, name: value}, {}))
        for method, path, body, headers in calls:
            before = state(site)
            reply = site.call(method, path, body, **headers)
            assert reply.status < 500 and b"Traceback" not in reply.body, reply.body
            assert reply.status < 400 or (reply.json["code"] and state(site) == before)
    tidy(site)


@pytest.mark.parametrize("path", ["/sdkapi/v2/room/list", "/sdkapi/v2/room/participate/list"])
def test_any_parameter_of_the_lists_may_be_anything(site: Site, callers: Iterator[Customer], path: str) -> None:
    key = site.key_for(next(callers).app_id, "rooms")
    for name, value in itertools.product(("api_key", "page", "limit", "room_id", "other\x00"), TEXTS):
        words = {"api_key": key, "page": "1", "limit": "2", "room_id": "r", name: value}
        body = urlencode(words, errors="surrogatepass")
        for reply in (
            site.call("GET", f"{path}?{body}", key=""),
            site.call("POST", path, raw=body.encode(), key="", content_type="application/x-www-form-urlencoded"),
            site.call("POST", path, raw=json.dumps(words).encode(), key="", content_type="application/json"),
        ):
            assert reply.status < 500 and "code" in reply.json and b"Traceback" not in reply.body, reply.body
    for body in BODIES:
        reply = site.call("POST", path, raw=body, key="", content_type="application/json")
        assert reply.status < 500 and "code" in reply.json, reply.body


@pytest.mark.parametrize("role", ["0", "-1", "2147483649", str(2**63 - 1)])
def test_any_other_role_filters_nobody(site: Site, callers: Iterator[Customer], role: str) -> None:
    """The page: Role is a Long; 1 and 2 filter (facts 1.2)."""
    words = {"ChannelId": "r", "CallbackUrl": URL, "ClientToken": f"role {role}", "Events__1": "UserEvent"}
    by = next(callers)

    reply = by.rpc("CreateEventSubscribe", RTC, AppId=by.app_id, Role=role, **words)

    made = site.call("GET", f"subscriptions/{reply.json['SubscribeId']}").json
    assert "role" not in made["pattern"]
    tidy(site)
