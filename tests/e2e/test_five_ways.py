"""A subscription made by each vendor's own way: one and the same kind of object, and one real event for all five."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl
from uuid import uuid4

import pytest
from alibabacloud_eventbridge20200401 import models as rules
from alibabacloud_rtc20180111 import models as calls
from darabonba.core import DaraCore

from e2e.hub import Hub, send
from e2e.receiver import Arrival, Receiver, wait_until
from e2e.vendors import avd
from independent_signatures import CHECKS, Signed
from northbound.model.app import Source
from northbound.model.wire import Request
from sdk.clients import eventbridge, rtc
from sdk.customer import Customer, Vendor, customer_of, made

pytestmark = pytest.mark.e2e

CHECK_CODE_KEY = "the key of the page"
TEACHER, PUPIL = "teacher_7", "pupil_8"
JOIN = 107  # anyRTC's join of somebody whose role nobody told
Key = tuple[str, str]  # kind and secret of what a callback must be signed with
CERTIFICATE: Key = ("certificate", "")  # where the secret is what the callback names


@pytest.fixture(scope="module", autouse=True)
def _client_connections() -> Iterator[None]:
    """The clients' calls go to loopback, and what they keep open for as long as a program lives is closed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield
    for session in DaraCore._sessions.values():
        session.close()
    DaraCore._sessions.clear()


@pytest.fixture
def customer(hub: Hub) -> Customer:
    """An account with the switch for meetings on, and one app, which all five ways are about."""
    one = customer_of(hub, "five ways")
    status, answer = hub.api("POST", f"/api/v1/accounts/{one.account_id}/meeting-push/enable")
    assert status == 200, answer
    return one


def changed(hub: Hub, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Change an object of the API, whatever its revision; return what it is now."""
    headers = (
        ("authorization", f"Bearer {hub.admin_key}"),
        ("content-type", "application/json"),
        ("if-match", "*"),
    )
    content = b"" if body is None else json.dumps(body).encode()
    answer = send(
        Request(method=method, url=f"http://{hub.config.listen}/api/v1/{path}", headers=headers, body=content)
    )
    assert answer.status in {200, 204}, answer.body
    return json.loads(answer.body or b"null")


def got(hub: Hub, path: str) -> Any:
    status, answer = hub.api("GET", f"/api/v1/{path}")
    assert status == 200, answer
    return answer


def listed(customer: Customer) -> list[dict[str, Any]]:
    """Return the subscriptions of the customer's app, and of the one that stands for the account and has its rules."""
    account = got(customer.hub, f"accounts/{customer.account_id}")
    apps = (customer.app_id, account["app_id"])
    return [one for app in apps for one in got(customer.hub, f"subscriptions?app_id={app}&limit=100")["items"]]


# --- the five ways ---------------------------------------------------------------------------------------------------


def by_call(customer: Customer, url: str) -> tuple[str, Key | None]:
    """Aliyun RTC: one call of the official client."""
    asked = calls.CreateEventSubscribeRequest(
        app_id=customer.app_id,
        callback_url=url,
        client_token=uuid4().hex,
        events=["UserEvent"],
        need_callback_auth=True,
    )
    return rtc(customer).create_event_subscribe(asked).body.subscribe_id, ("shared", customer.app_key)


def by_rule(customer: Customer, url: str) -> tuple[str, Key | None]:
    """EventBridge: a rule with its target, by the official client; the API names it by the rule's name."""
    name = f"members-{uuid4().hex[:8]}"
    pattern = {"source": ["acs.aliyuncvc"], "data": {"action": [{"prefix": "member_"}]}}
    target = rules.CreateRuleRequestEventTargets(id="mine", type="http", endpoint=url)
    asked = rules.CreateRuleRequest(
        event_bus_name="default", rule_name=name, filter_pattern=json.dumps(pattern), event_targets=[target]
    )
    eventbridge(customer).create_rule(asked)
    (identity,) = (one["id"] for one in listed(customer) if one["name"] == name)
    return identity, CERTIFICATE


def by_call_app(customer: Customer, url: str) -> tuple[str, Key | None]:
    """mPaaS: the page of call apps. This vendor signs nothing."""
    page = made(customer.hub, "call-apps", {"app_id": customer.app_id, "name": "calls", "room_callback_url": url})
    return page["room_callback"]["subscription_id"], None


def by_notice(customer: Customer, url: str) -> tuple[str, Key | None]:
    """anyRTC: notice settings, made and then enabled."""
    asked = {"app_id": customer.app_id, "name": "notices", "product": 1, "event_types": [JOIN], "url": url}
    page = made(customer.hub, "notice-settings", asked)
    status, enabled = customer.hub.api("POST", f"/api/v1/notice-settings/{page['id']}/enable")
    assert status == 200, enabled
    return enabled["subscription_id"], ("shared", page["secret"])


def by_settings(customer: Customer, url: str) -> tuple[str, Key | None]:
    """3T: the media server's half of the settings page."""
    asked = {"url": url, "method": "POST", "check_code_key": CHECK_CODE_KEY}
    status, half = customer.hub.api("PUT", f"/api/v1/avd-settings/{customer.app_id}/media_server", asked)
    assert status == 201, half
    return half["subscription_id"], ("shared", CHECK_CODE_KEY)


class Way(NamedTuple):
    """How one vendor's customer subscribes, what made it in the API, and how that wire says who joined which room."""

    dialect: str
    made_by: str
    subscribe: Callable[[Customer, str], tuple[str, Key | None]]
    joined: Callable[[bytes], tuple[Any, str, str]]


def rtc_words(body: bytes) -> tuple[Any, str, str]:
    words = json.loads(body)
    person = words["Contents"][0]["UserEvent"]
    return person["EventTag"], words["ChannelID"], person["UserId"]


def cvc_words(body: bytes) -> tuple[Any, str, str]:
    data = json.loads(body)["data"]
    return data["action"], data["meetingUUID"], data["userId"]


def mpaas_words(body: bytes) -> tuple[Any, str, str]:
    words = json.loads(body)
    return words["eventCode"], words["roomId"], words["uid"]


def notice_words(body: bytes) -> tuple[Any, str, str]:
    words = json.loads(body)
    return words["eventType"], words["payload"]["channelName"], words["payload"]["uid"]


def avd_words(body: bytes) -> tuple[Any, str, str]:
    words = dict(parse_qsl(body.decode()))
    return words["event"], words["room_id"], words["user_id"]


WAYS = {
    "Join": Way("aliyun_rtc", "aliyun_rtc", by_call, rtc_words),
    "member_join": Way("aliyun_cvc", "eventbridge", by_rule, cvc_words),
    2: Way("mpaas", "mpaas", by_call_app, mpaas_words),
    JOIN: Way("anyrtc", "anyrtc", by_notice, notice_words),
    "join": Way("avd", "avd", by_settings, avd_words),
}


def is_signed(hub: Hub, way: Way, key: Key, arrival: Arrival) -> bool:
    """Check by code that shares nothing with ours."""
    headers = {name.lower(): value for name, value in arrival.request.headers}
    kind, secret = key
    if key == CERTIFICATE:
        url = headers["x-eventbridge-signature-url"]
        secret = send(Request(method="GET", url=url)).body.decode()
        assert url.startswith(f"http://{hub.config.listen}/certs/")
    signed = Signed(arrival.request.url, headers, arrival.request.body, [(kind, secret.encode())], {})
    return CHECKS[way.dialect](signed)


# --- what they have in common ----------------------------------------------------------------------------------------


def test_five_ways_make_one_kind_of_subscription_and_deliver_one_event(
    hub: Hub, receiver: Receiver, customer: Customer
) -> None:
    """All five show, stop and go like a subscription of the API, and hear of the same join, each in its own words."""
    mark = uuid4().hex[:8]
    names = {word: f"{way.dialect}-five-{mark}" for word, way in WAYS.items()}
    told: dict[Any, list[Arrival]] = {}

    subscribed = {word: way.subscribe(customer, receiver.url(names[word])) for word, way in WAYS.items()}
    plain = plain_subscription(customer, receiver.url(f"standard-five-{mark}"))
    shown = {word: got(hub, f"subscriptions/{identity}") for word, (identity, _) in subscribed.items()}
    endpoints = {word: got(hub, f"endpoints/{one['endpoint_ids'][0]}") for word, one in shown.items()}
    box = source_of(customer)
    box.tells(avd("join", "r1", TEACHER))
    for word, name in names.items():
        wait_until(lambda name=name: joins(receiver, name), 10, f"the join at {name}")
        told[word] = joins(receiver, name)

    # One kind of object: the same members, in the list as alone, each with one endpoint; only the maker differs.
    in_list = {one["id"]: one for one in listed(customer)}
    for word, way in WAYS.items():
        one = shown[word]
        assert one == in_list[one["id"]]
        assert plain.keys() == one.keys()
        assert (way.made_by, "enabled", 1) == (one["made_by"], one["state"], len(one["endpoint_ids"]))
        assert (way.dialect, receiver.url(names[word])) == (endpoints[word]["dialect"], endpoints[word]["url"])
    assert len({frozenset(one) for one in endpoints.values()}) == 1

    # One event: the very same entry of the log, in five wires, each signed as its vendor does.
    for word, way in WAYS.items():
        (arrival,) = told[word]
        assert (word, "r1", TEACHER) == way.joined(arrival.request.body)
        key = subscribed[word][1]
        assert key is None or is_signed(hub, way, key, arrival)
    assert len({delivered(hub, one) for one in endpoints.values()}) == 1

    # One set of calls: each stops by the API's own switch, while the plain one goes on.
    for one in shown.values():
        assert changed(hub, "PATCH", f"subscriptions/{one['id']}", {"state": "disabled"})["made_by"] == one["made_by"]
    everyone_knows(hub)
    box.tells(avd("join", "r1", PUPIL))
    wait_until(lambda: len(joins(receiver, f"standard-five-{mark}")) == 2, 10, "the join at the plain subscription")
    hub.wait_idle()
    assert {1} == {len(joins(receiver, name)) for name in names.values()}
    for one in shown.values():
        changed(hub, "DELETE", f"subscriptions/{one['id']}")
        assert hub.api("GET", f"/api/v1/subscriptions/{one['id']}")[0] == 404


def plain_subscription(customer: Customer, url: str) -> dict[str, Any]:
    """Return a subscription made by the API, which the others are compared with."""
    given = {"app_id": customer.app_id, "url": url, "dialect": "standard"}
    endpoint = made(customer.hub, "endpoints", given)
    pattern = {"type": ["participant.joined"]}
    return made(
        customer.hub,
        "subscriptions",
        {"app_id": customer.app_id, "pattern": json.dumps(pattern), "endpoint_ids": [endpoint["id"]]},
    )


def source_of(customer: Customer) -> Vendor:
    """Return a 3T box of the app that the whole hub knows, together with what was set up before it."""
    identity = customer.source("avd")["id"]
    everyone_knows(customer.hub)
    with customer.hub.control() as control:
        return Vendor(customer.hub, control.get(Source, identity)[1])


def everyone_knows(hub: Hub) -> None:
    """Return when every process knows what was set up until now."""
    hub.set_up()


def joins(receiver: Receiver, name: str) -> list[Arrival]:
    """Return what arrived at *name* but the health test and what the wire tells of the room itself."""
    return [
        one for one in receiver.accepted(name) if any(user.encode() in one.request.body for user in (TEACHER, PUPIL))
    ]


def delivered(hub: Hub, endpoint: dict[str, Any]) -> str:
    """Return which event the endpoint was delivered a join by."""
    items = got(hub, f"deliveries?endpoint_id={endpoint['id']}&state=delivered")["items"]
    (event_id,) = (one["event_id"] for one in items if one["event_type"] == "participant.joined")
    return event_id
