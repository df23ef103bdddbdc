"""EventBridge's control plane, as customers' programs call it with the official client."""

import json
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alibabacloud_eventbridge20200401 import models as m
from alibabacloud_tea_openapi import utils_models as open_api
from darabonba.exceptions import DaraException
from darabonba.runtime import RuntimeOptions

from e2e.hub import Hub
from e2e.pages import Terminal, blocks
from e2e.receiver import Receiver, wait_until
from e2e.vendors import avd
from independent_signatures import Signed, aliyun_cvc
from sdk.asked import EVENTBRIDGE, LOOP
from sdk.clients import SIGNATURES, code_of, eventbridge
from sdk.customer import Customer
from sdk.table import Record

CVC = "aliyuncvc:MeetingEvent:"
PAGE_PATTERN = json.dumps(
    {
        "source": ["acs.aliyuncvc"],
        "type": [CVC + name for name in ("MeetingStateEvent", "MemberStateEvent", "MemberOperate", "MeetingStatistic")],
    }
)
both = pytest.mark.parametrize("signature", SIGNATURES)


def target(identity: str, url: str, *params: tuple[str, str, str, str], **more: Any) -> m.CreateRuleRequestEventTargets:
    """Return a target with `url` and further (key, form, value, template)."""
    given = (("url", "CONSTANT", url, ""), *params)
    listed = [
        m.CreateRuleRequestEventTargetsParamList(resource_key=key, form=form, value=value, template=template)
        for key, form, value, template in given
    ]
    return m.CreateRuleRequestEventTargets(id=identity, type="http", endpoint=url, param_list=listed, **more)


def as_put(one: m.CreateRuleRequestEventTargets) -> m.PutTargetsRequestTargets:
    return m.PutTargetsRequestTargets().from_map(one.to_map())


def push_meetings(hub: Hub, customer: Customer) -> None:
    """Turn the account's meeting push on."""
    status, answer = hub.api("POST", f"/api/v1/accounts/{customer.account_id}/meeting-push/enable")
    assert status == 200, answer
    hub.wait_seen()


# --- what each action does -------------------------------------------------------------------------------------------


@both
def test_a_bus_is_made_changed_listed_and_removed(record: Record, customer: Customer, signature: str) -> None:
    client, row = eventbridge(customer, signature), {"sdk": EVENTBRIDGE, "signature": signature}
    arn = f"acs:eventbridge:cn-hangzhou:{customer.account_id}:eventbus/demo"
    with record("CreateEventBus", **row):
        made = client.create_event_bus(m.CreateEventBusRequest(event_bus_name="demo", description="first"))
        assert (made.body.code, made.body.success, made.body.data.event_bus_arn) == ("Success", True, arn)
        assert made.body.request_id == made.headers["x-acs-request-id"]
    with record("UpdateEventBus", **row):
        changed = client.update_event_bus(m.UpdateEventBusRequest(event_bus_name="demo", description="second"))
        assert changed.body.success
    with record("GetEventBus", **row):
        shown = client.get_event_bus(m.GetEventBusRequest(event_bus_name="demo")).body.data
        assert (shown.event_bus_name, shown.event_bus_arn, shown.description) == ("demo", arn, "second")
        assert abs(shown.create_timestamp / 1000 - time.time()) < 600
    with record("ListEventBuses", **row):
        first = client.list_event_buses(m.ListEventBusesRequest(limit=1)).body.data
        rest = client.list_event_buses(m.ListEventBusesRequest(limit=1, next_token=first.next_token)).body.data
        assert [bus.event_bus_name for page in (first, rest) for bus in page.event_buses] == ["default", "demo"]
        assert (first.total, rest.next_token) == (2, None)
        named = client.list_event_buses(m.ListEventBusesRequest(name_prefix="de")).body.data
        assert named.total == 2
    with record("DeleteEventBus", **row):
        assert client.delete_event_bus(m.DeleteEventBusRequest(event_bus_name="demo")).body.success
        assert client.list_event_buses(m.ListEventBusesRequest()).body.data.total == 1


@both
def test_a_rule_is_made_changed_listed_and_removed(
    record: Record, customer: Customer, receiver: Receiver, signature: str
) -> None:
    client, row = eventbridge(customer, signature), {"sdk": EVENTBRIDGE, "signature": signature}
    url = receiver.url("aliyun_cvc-rules")
    named = {"event_bus_name": "default", "rule_name": "ruleAliyuncvc"}
    client.create_event_bus(m.CreateEventBusRequest(event_bus_name="dlq"))
    dead = f"acs:eventbridge:cn-hangzhou:{customer.account_id}:eventbus/dlq"
    with record("CreateRule", **row):
        wanted = target(
            "t1",
            url,
            ("Body", "TEMPLATE", '{"room":"$.data.meetingName"}', "room ${room}"),
            ("Network", "CONSTANT", "PublicNetwork", ""),
            ("token", "CONSTANT", "tok-1", ""),
            push_retry_strategy="EXPONENTIAL_DECAY_RETRY",
            errors_tolerance="NONE",
            dead_letter_queue=m.CreateRuleRequestEventTargetsDeadLetterQueue(arn=dead),
            concurrent_config=m.CreateRuleRequestEventTargetsConcurrentConfig(concurrency=3),
        )
        asked = m.CreateRuleRequest(
            filter_pattern=PAGE_PATTERN, description="x", status="ENABLE", event_targets=[wanted], **named
        )
        arn = client.create_rule(asked).body.data.rule_arn
        assert arn == f"acs:eventbridge:cn-hangzhou:{customer.account_id}:eventbus/default/rule/ruleAliyuncvc"
    with record("GetRule", **row):
        rule = client.get_rule(m.GetRuleRequest(**named)).body.data
        assert (rule.rule_arn, rule.rule_name, rule.status, rule.filter_pattern) == (
            arn, "ruleAliyuncvc", "ENABLE", PAGE_PATTERN,
        )  # fmt: skip
        (shown,) = rule.targets
        assert (shown.id, shown.type, shown.endpoint, shown.errors_tolerance) == ("t1", "http", url, "NONE")
        assert shown.push_retry_strategy == "EXPONENTIAL_DECAY_RETRY"
        assert shown.dead_letter_queue.arn == dead
        assert int(shown.concurrent_config.concurrency) == 3
        params = {one.resource_key: one.value for one in shown.param_list}
        assert params["token"] == "tok-1"
        assert params["Body"] == '{"room":"$.data.meetingName"}'
    with pytest.raises(DaraException) as held:
        client.delete_event_bus(m.DeleteEventBusRequest(event_bus_name="dlq"))
    assert code_of(held.value) == "EventBusRuleNotEmptyForDelete"
    with record("UpdateRule", **row):
        client.update_rule(m.UpdateRuleRequest(filter_pattern="{}", description="y", **named))
        changed = client.get_rule(m.GetRuleRequest(**named)).body.data
        assert (changed.filter_pattern, changed.description, len(changed.targets)) == ("{}", "y", 1)
    with record("DisableRule", **row):
        assert client.disable_rule(m.DisableRuleRequest(**named)).body.success
        assert client.get_rule(m.GetRuleRequest(**named)).body.data.status == "DISABLE"
    with record("EnableRule", **row):
        assert client.enable_rule(m.EnableRuleRequest(**named)).body.success
        assert client.get_rule(m.GetRuleRequest(**named)).body.data.status == "ENABLE"
    with record("ListRules", **row):
        client.create_rule(m.CreateRuleRequest(event_bus_name="default", rule_name="other", filter_pattern="{}"))
        page = client.list_rules(m.ListRulesRequest(event_bus_name="default", limit=1)).body.data
        assert (page.total, [one.rule_name for one in page.rules]) == (2, ["other"])
        rest = client.list_rules(m.ListRulesRequest(event_bus_name="default", next_token=page.next_token)).body.data
        assert [one.rule_name for one in rest.rules] == ["ruleAliyuncvc"]
        assert [one.id for one in rest.rules[0].targets] == ["t1"]
        begins = client.list_rules(m.ListRulesRequest(event_bus_name="default", rule_name_prefix="rule")).body.data
        assert begins.total == 1
    with record("DeleteRule", **row):
        assert client.delete_rule(m.DeleteRuleRequest(**named)).body.success
        assert client.delete_event_bus(m.DeleteEventBusRequest(event_bus_name="dlq")).body.success
        with pytest.raises(DaraException) as gone:
            client.get_rule(m.GetRuleRequest(**named))
        assert code_of(gone.value) == "EventRuleNotExist"


@both
def test_targets_are_put_listed_and_removed(
    record: Record, customer: Customer, receiver: Receiver, signature: str
) -> None:
    client, row = eventbridge(customer, signature), {"sdk": EVENTBRIDGE, "signature": signature}
    named = {"event_bus_name": "default", "rule_name": "r1"}
    client.create_rule(m.CreateRuleRequest(filter_pattern="{}", **named))
    one, two = (as_put(target(name, receiver.url(f"aliyun_cvc-{name}"))) for name in ("a", "b"))
    inside = as_put(target("inside", "http://169.254.169.254/latest"))
    with record("PutTargets", **row):
        put = client.put_targets(m.PutTargetsRequest(targets=[one, two, inside], **named)).body.data
        assert put.error_entries_count == 1
        assert put.error_entries[0].entry_id == "inside"
        assert "blocked address" in put.error_entries[0].error_message
        moved = as_put(target("a", receiver.url("aliyun_cvc-moved")))
        assert client.put_targets(m.PutTargetsRequest(targets=[moved], **named)).body.data.error_entries_count == 0
    with record("ListTargets", **row):
        page = client.list_targets(m.ListTargetsRequest(limit=1, **named)).body.data
        assert (page.total, page.targets[0].id, page.targets[0].endpoint) == (2, "a", receiver.url("aliyun_cvc-moved"))
        assert (page.targets[0].event_bus_name, page.targets[0].rule_name) == ("default", "r1")
        rest = client.list_targets(m.ListTargetsRequest(next_token=page.next_token, **named)).body.data
        assert [one.id for one in rest.targets] == ["b"]
    with record("DeleteTargets", **row):
        gone = client.delete_targets(m.DeleteTargetsRequest(target_ids=["a", "nobody"], **named)).body.data
        assert [(one.entry_id, one.error_code) for one in gone.error_entries] == [("nobody", "EventTargetNotExist")]
        assert client.list_targets(m.ListTargetsRequest(**named)).body.data.total == 1


@both
def test_a_pattern_is_tried_on_an_event(record: Record, customer: Customer, signature: str) -> None:
    client = eventbridge(customer, signature)
    event = json.dumps({"source": "acs.aliyuncvc", "type": "t", "data": {"action": "meeting_start"}})
    with record("TestEventPattern", sdk=EVENTBRIDGE, signature=signature):
        results = [
            client.test_event_pattern(m.TestEventPatternRequest(event=event, event_pattern=pattern)).body.data.result
            for pattern in ('{"data":{"action":[{"prefix":"meeting_"}]}}', '{"data":{"action":["meeting_end"]}}')
        ]
        assert results == [True, False]


@both
def test_event_sources_are_listed_made_and_removed(record: Record, customer: Customer, signature: str) -> None:
    client, row = eventbridge(customer, signature), {"sdk": EVENTBRIDGE, "signature": signature}
    with record("ListAliyunOfficialEventSources", **row):
        (meetings,) = client.list_aliyun_official_event_sources().body.data.event_source_list
        assert (meetings.name, meetings.event_bus_name, meetings.status) == ("acs.aliyuncvc", "default", "Activated")
        assert meetings.arn == "acs:eventbridge:cn-hangzhou:SYSTEM:eventsource/acs.aliyuncvc"
        kinds = {kind.name for kind in meetings.event_types}
        assert {CVC + "MeetingStateEvent", "aliyuncvc:meetingEvent:MeetingStateEvent"} < kinds
        assert len(kinds) == 8
    client.create_event_bus(m.CreateEventBusRequest(event_bus_name="own"))
    named = {"event_bus_name": "own", "event_source_name": "my.door"}
    with record("CreateEventSource", **row):
        webhook = m.CreateEventSourceRequestSourceHttpEventParameters(
            type="HTTP", method=["POST"], security_config="none"
        )
        made = client.create_event_source(m.CreateEventSourceRequest(source_http_event_parameters=webhook, **named))
        assert made.body.data.event_source_arn.endswith(":eventbus/own/eventsource/my.door")
    with record("UpdateEventSource", **row):
        assert client.update_event_source(m.UpdateEventSourceRequest(description="the door", **named)).body.success
    with record("ListUserDefinedEventSources", **row):
        listed = m.ListUserDefinedEventSourcesRequest(event_bus_name="own")
        (shown,) = client.list_user_defined_event_sources(listed).body.data.event_source_list
        assert (shown.name, shown.external_source_type) == ("my.door", "HTTP")
        assert shown.source_http_event_parameters.public_web_hook_url[0].startswith("http")
    with pytest.raises(DaraException) as held:
        client.delete_event_bus(m.DeleteEventBusRequest(event_bus_name="own"))
    assert code_of(held.value) == "EventBusSourceNotEmptyForDelete"
    with record("DeleteEventSource", **row):
        assert client.delete_event_source(m.DeleteEventSourceRequest(**named)).body.success
        assert not client.list_user_defined_event_sources(listed).body.data.event_source_list


# --- refusals --------------------------------------------------------------------------------------------------------

BUS, RULE = {"event_bus_name": "default"}, {"event_bus_name": "default", "rule_name": "r"}
QUEUE, OTHERS = "acs:mns:cn-hangzhou:1:/queues/q", "acs:eventbridge:cn-hangzhou:1:eventbus/default"
HOSTILE = "$..x[?(@.a=~/(a+)+$/)]"


def bus(name: str) -> m.CreateEventBusRequest:
    return m.CreateEventBusRequest(event_bus_name=name)


def rule(pattern: str = "{}", *targets: m.CreateRuleRequestEventTargets, **more: Any) -> m.CreateRuleRequest:
    return m.CreateRuleRequest(filter_pattern=pattern, event_targets=list(targets) or None, **RULE, **more)


def to(url: str, *params: tuple[str, str, str, str], dead: str = "", **more: Any) -> m.CreateRuleRequest:
    queue = m.CreateRuleRequestEventTargetsDeadLetterQueue(arn=dead) if dead else None
    return rule("{}", target("t", url, *params, dead_letter_queue=queue, **more))


def own_source(name: str, **more: Any) -> m.CreateEventSourceRequest:
    return m.CreateEventSourceRequest(event_source_name=name, **BUS, **more)


def pattern_on(event: str) -> m.TestEventPatternRequest:
    return m.TestEventPatternRequest(event=event, event_pattern="{}")


REFUSALS: dict[str, tuple[str, Callable[[str], Any]]] = {  # the code, and what is asked, given a URL
    "a missing parameter": ("MissingFilterPattern", lambda _: m.CreateRuleRequest(**RULE)),
    "an unknown bus": ("EventBusNotExist", lambda _: m.GetEventBusRequest(event_bus_name="no")),
    "the default bus again": ("EventBusAlreadyExist", lambda _: bus("default")),
    "a reserved name": ("EventBusNameInvalid", lambda _: bus("eventbridge-reserved-x")),
    "a name with a dot": ("EventBusNameInvalid", lambda _: bus("a.b")),
    "the default bus removed": ("EventBusNameInvalid", lambda _: m.DeleteEventBusRequest(**BUS)),
    "an unknown rule": ("EventRuleNotExist", lambda _: m.UpdateRuleRequest(**RULE)),
    "a wrong status": ("EventRuleStatusInvalid", lambda _: rule(status="ON")),
    "a wrong pattern": ("EventRuleFilterPatternInvalid", lambda _: rule('{"type":"t"}')),
    "an unknown pattern key": ("EventRuleFilterPatternInvalid", lambda _: rule('{"kind":["t"]}')),
    "a deep pattern": ("EventRuleFilterPatternInvalid", lambda _: rule('{"data":' * 1000 + '["x"]' + "}" * 1000)),
    "a target inside": ("EventTargetIneffectiveAttribute", lambda _: to("http://10.0.0.1/x")),
    "a queue for dead letters": ("EventTargetIneffectiveAttribute", lambda url: to(url, dead=QUEUE)),
    "another's bus for dead letters": ("EventBusNotExist", lambda url: to(url, dead=OTHERS)),
    "a hostile path": ("EventTargetIneffectiveAttribute", lambda url: to(url, ("Body", "JSONPATH", HOSTILE, ""))),
    "six targets": (
        "EventTargetCountExceedLimit",
        lambda url: rule("{}", *(target(f"t{number}", url) for number in range(6))),
    ),
    "one target twice": ("EventTargetAlreadyExist", lambda url: rule("{}", *[target("t", url)] * 2)),
    "a target of another kind": (
        "EventTargetClassNotExist",
        lambda _: rule("{}", m.CreateRuleRequestEventTargets(id="t", type="acs.mns", endpoint="acs:mns:x")),
    ),
    "a page of none": ("LimitSizeInvalid", lambda _: m.ListRulesRequest(limit=0, **BUS)),
    "an event that is none": ("JsonAttributeInvalid", lambda _: pattern_on("x")),
    "a source that reads a queue": (
        "EventSourceTypeInvalid",
        lambda _: own_source("q", source_mnsparameters=m.CreateEventSourceRequestSourceMNSParameters(queue_name="q")),
    ),
    "a source by the vendor's name": ("EventSourceNameInvalid", lambda _: own_source("acs.oss")),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_wrong_is_refused_in_the_documented_words(
    record: Record, customer: Customer, receiver: Receiver, case: str
) -> None:
    """The client raises the code, and nothing is half made."""
    code, ask = REFUSALS[case]
    asked = ask(receiver.url("aliyun_cvc-no"))
    action = type(asked).__name__.removesuffix("Request")
    client = eventbridge(customer)
    method = getattr(client, re.sub("(?<!^)(?=[A-Z])", "_", action).lower())
    with record(action, sdk=EVENTBRIDGE, signature="V3", case=case) as row:
        with pytest.raises(DaraException) as refused:
            method(asked)
        row.result = code_of(refused.value)
        assert row.result == code
        assert refused.value.message
    assert client.list_rules(m.ListRulesRequest(event_bus_name="default")).body.data.total == 0
    assert client.list_event_buses(m.ListEventBusesRequest()).body.data.total == 1
    status, endpoints = customer.hub.api("GET", f"/api/v1/endpoints?app_id={own_app(customer)}")
    assert (status, endpoints["items"]) == (200, [])


def test_a_bus_that_is_not_there_is_named(customer: Customer, receiver: Receiver) -> None:
    """Another account's bus as well: who reads the refusal sees what was asked for."""
    with pytest.raises(DaraException) as refused:
        eventbridge(customer).create_rule(to(receiver.url("aliyun_cvc-no"), dead=OTHERS))

    assert f"[{OTHERS}]" in str(refused.value.message)


def own_app(customer: Customer) -> str:
    """Return the app that stands for the account: rules' endpoints are its."""
    return customer.hub.api("GET", f"/api/v1/accounts/{customer.account_id}")[1]["app_id"]


def test_another_accounts_rules_are_not_there(
    new_customer: Callable[[], Customer], customer: Customer, receiver: Receiver
) -> None:
    """T1: the same words whether it is another's or nobody's."""
    client, other = eventbridge(customer), eventbridge(new_customer())
    client.create_event_bus(m.CreateEventBusRequest(event_bus_name="mine"))
    asked = {"event_bus_name": "mine", "rule_name": "r"}
    client.create_rule(m.CreateRuleRequest(filter_pattern="{}", **asked))
    words = set()
    for name in ("mine", "none"):
        with pytest.raises(DaraException) as refused:
            other.get_rule(m.GetRuleRequest(event_bus_name=name, rule_name="r"))
        words.add((code_of(refused.value), refused.value.message.replace(name, "?").partition("request id")[0]))

    assert {code for code, _ in words} == {"EventBusNotExist"}
    assert len(words) == 1


def test_a_bus_holds_fifty_rules(customer: Customer) -> None:
    client = eventbridge(customer)
    for number in range(50):
        client.create_rule(m.CreateRuleRequest(event_bus_name="default", rule_name=f"r{number}", filter_pattern="{}"))
    with pytest.raises(DaraException) as refused:
        client.create_rule(m.CreateRuleRequest(event_bus_name="default", rule_name="r50", filter_pattern="{}"))

    assert code_of(refused.value) == "EventRuleCountExceedLimit"


# --- the loop --------------------------------------------------------------------------------------------------------


def checked(request: Any) -> dict[str, str]:
    """Check a callback's signatures with nothing of the hub but the certificate at the URL that it names."""
    headers = {name.lower(): value for name, value in request.headers}
    with urllib.request.urlopen(headers["x-eventbridge-signature-url"], timeout=10) as answer:
        certificate = answer.read()
    signed = Signed(request.url, headers, request.body, [("certificate", certificate)], {})
    assert {"x-eventbridge-signature", "x-eventbridge-signature-v2"} <= headers.keys()
    assert aliyun_cvc(signed)
    broken = signed._replace(body=signed.body + b" ")
    assert not aliyun_cvc(broken)
    return headers


@both
def test_a_3t_meeting_arrives_at_the_rules_target_signed(
    record: Record, hub: Hub, customer: Customer, receiver: Receiver, signature: str
) -> None:
    """The SDK makes a rule, a media server tells of a meeting, the target gets the CVC event."""
    name, room = f"aliyun_cvc-{uuid4().hex[:8]}", f"room-{uuid4().hex[:8]}"
    client, source = eventbridge(customer, signature), customer.vendor("avd")
    with record("CreateRule", sdk=EVENTBRIDGE, signature=signature, case=LOOP):
        wanted = target("t", receiver.url(name), ("Body", "ORIGINAL", "", ""), ("token", "CONSTANT", "tok", ""))
        client.create_rule(m.CreateRuleRequest(filter_pattern=PAGE_PATTERN, event_targets=[wanted], **RULE))
        push_meetings(hub, customer)
        source.tells(avd("open", room))
        source.tells(avd("join", room, "u1"))
        opened, joined = (one.request for one in receiver.wait_for(name, 2))
        headers = checked(opened)
        checked(joined)
    event = json.loads(opened.body)

    assert headers["x-eventbridge-signature-token"] == "tok"
    assert (event["type"], event["source"]) == (CVC + "MeetingStateEvent", "acs.aliyuncvc")
    assert (event["data"]["action"], event["data"]["meetingUUID"]) == ("meeting_start", room)
    assert (event["specversion"], event["aliyunaccountid"]) == ("1.0", customer.account_id)
    assert json.loads(joined.body)["data"]["userId"] == "u1"
    _, shown = hub.api("GET", f"/api/v1/subscriptions?app_id={own_app(customer)}")
    (one,) = shown["items"]
    assert (one["name"], one["view"], one["made_by"], one["warnings"]) == ("r", "aliyun_cvc", "eventbridge", [])
    client.update_rule(
        m.UpdateRuleRequest(filter_pattern=json.dumps({"type": ["aliyuncvc:meetingEvent:MemberOperate"]}), **RULE)
    )
    _, shown = hub.api("GET", f"/api/v1/subscriptions/{one['id']}")
    assert f'another spelling of "{CVC}MemberOperate"' in shown["warnings"][0]


def test_a_rule_as_on_the_page_gets_the_page_of_2020(hub: Hub, customer: Customer, receiver: Receiver) -> None:
    """Ruling 12: a target that says PushSelector is the page's; its events have data in text and no specversion."""
    name, room = f"aliyun_cvc-{uuid4().hex[:8]}", f"room-{uuid4().hex[:8]}"
    client, source = eventbridge(customer), customer.vendor("avd")
    words = [{
        "Id": "bikiEcs", "Type": "http", "Endpoint": receiver.url(name),
        "PushSelector": "MATCHED_EVENT", "PushRetryStrategy": "BACKOFF_RETRY",
    }]  # fmt: skip
    raw_call(client, "CreateRule", EventBusName="default", RuleName="ruleAliyuncvc", FilterPattern=PAGE_PATTERN,
             EventTargets=json.dumps(words))  # fmt: skip
    push_meetings(hub, customer)
    source.tells(avd("open", room))
    event = json.loads(receiver.wait_for(name, 1)[0].request.body)

    assert "specversion" not in event
    assert json.loads(event["data"])["meetingUUID"] == room
    shown = client.get_rule(m.GetRuleRequest(event_bus_name="default", rule_name="ruleAliyuncvc")).body.data.targets[0]
    assert shown.push_selector == "MATCHED_EVENT"


def raw_call(client: Any, action: str, **query: str) -> dict[str, Any]:
    """Call an action with words that the client's own models do not have."""
    params = open_api.Params(
        action=action, version="2020-04-01", protocol="HTTP", pathname="/", method="POST", auth_type="AK", style="RPC",
        req_body_type="formData", body_type="json",
    )  # fmt: skip
    return client.call_api(params, open_api.OpenApiRequest(query=query), RuntimeOptions())


def test_bodies_of_each_form_arrive_signed(hub: Hub, customer: Customer, receiver: Receiver) -> None:
    names = {form: f"aliyun_cvc-{form.lower()}-{uuid4().hex[:8]}" for form in ("JSONPATH", "CONSTANT", "TEMPLATE")}
    client, source, room = eventbridge(customer), customer.vendor("avd"), f"room-{uuid4().hex[:8]}"
    bodies = {
        "JSONPATH": ("$.data.meetingUUID", ""),
        "CONSTANT": ('{"ping":1}', ""),
        "TEMPLATE": ('{"room":"$.data.meetingUUID","no":"$.data.nope"}', "opened ${room} ${no}"),
    }
    targets = [target(form, receiver.url(names[form]), ("Body", form, *words)) for form, words in bodies.items()]
    pattern = json.dumps({"data": {"action": ["meeting_start"]}})
    client.create_rule(m.CreateRuleRequest(filter_pattern=pattern, event_targets=targets, **RULE))
    push_meetings(hub, customer)
    source.tells(avd("open", room))
    arrived = {form: receiver.wait_for(name, 1)[0].request for form, name in names.items()}

    wanted = {"JSONPATH": room, "CONSTANT": '{"ping":1}', "TEMPLATE": f"opened {room} ${{no}}"}
    assert {form: request.body.decode() for form, request in arrived.items()} == wanted
    types = {form: checked(request)["content-type"].partition(";")[0] for form, request in arrived.items()}
    assert types == {"JSONPATH": "text/plain", "CONSTANT": "application/json", "TEMPLATE": "text/plain"}


@both
def test_an_event_put_on_a_bus_arrives_by_its_rule(
    record: Record, customer: Customer, receiver: Receiver, signature: str
) -> None:
    name = f"aliyun_cvc-{uuid4().hex[:8]}"
    client = eventbridge(customer, signature)
    client.create_event_bus(m.CreateEventBusRequest(event_bus_name="own"))
    rule = {"event_bus_name": "own", "rule_name": "r"}
    pattern = json.dumps({"source": ["my.app"], "data": {"n": [{"numeric": [">", 1]}]}})
    wanted = target("t", receiver.url(name))
    client.create_rule(m.CreateRuleRequest(filter_pattern=pattern, event_targets=[wanted], **rule))
    customer.hub.wait_seen()
    with record("PutEvents", sdk=EVENTBRIDGE, signature=signature):
        events = [
            m.PutEventsRequestEventList(
                id=f"{name}-{n}", source="my.app", type="order:made", spec_version="1.0", data=json.dumps({"n": n})
            )
            for n in (1, 2)
        ]
        put = client.put_events(m.PutEventsRequest(event_bus_name="own", event_list=events)).body.data
        assert (put.failed_entry_count, [one.event_id for one in put.entry_list]) == (0, [f"{name}-1", f"{name}-2"])
    (arrived,) = receiver.wait_for(name, 1)

    checked(arrived.request)
    assert json.loads(arrived.request.body)["id"] == f"{name}-2"


def test_a_sources_webhook_puts_events_on_its_bus(customer: Customer, receiver: Receiver) -> None:
    name = f"aliyun_cvc-{uuid4().hex[:8]}"
    client = eventbridge(customer)
    client.create_event_bus(m.CreateEventBusRequest(event_bus_name="own"))
    webhook = m.CreateEventSourceRequestSourceHttpEventParameters(type="HTTP", method=["POST"], security_config="none")
    client.create_event_source(
        m.CreateEventSourceRequest(
            event_bus_name="own", event_source_name="my.door", source_http_event_parameters=webhook
        )
    )
    wanted = target("t", receiver.url(name))
    client.create_rule(
        m.CreateRuleRequest(event_bus_name="own", rule_name="r", filter_pattern="{}", event_targets=[wanted])
    )
    customer.hub.wait_seen()
    listed = client.list_user_defined_event_sources(m.ListUserDefinedEventSourcesRequest(event_bus_name="own"))
    url = listed.body.data.event_source_list[0].source_http_event_parameters.public_web_hook_url[0]
    event = {"specversion": "1.0", "id": name, "source": "my.door", "type": "door:opened", "data": {"n": 1}}
    request = urllib.request.Request(url, json.dumps(event).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    (arrived,) = receiver.wait_for(name, 1)

    assert json.loads(arrived.request.body) == event


@pytest.mark.parametrize("signature", SIGNATURES)
def test_an_event_that_was_put_is_found_and_traced(record: Record, customer: Customer, signature: str) -> None:
    client, row = eventbridge(customer, signature), {"sdk": EVENTBRIDGE, "signature": signature}
    now, on = int(time.time() * 1000), {"event_bus_name": "default"}
    words = {"Id": f"traced-{signature}", "Source": "acs.demo", "SpecVersion": "1.0", "Type": "demo:x", "Data": {}}
    event = m.PutEventsRequestEventList().from_map(words)
    put = client.put_events(m.PutEventsRequest(event_list=[event], **on)).body.data.entry_list[0]

    with record("QueryEventTraces", **row):
        for identity in (put.event_id, put.trace_id):
            (step,) = client.query_event_traces(m.QueryEventTracesRequest(event_id=identity, **on)).body.data
            assert (step.action, step.event_id, step.event_source) == ("PutEvent", words["Id"], "acs.demo")
    with record("QueryTracedEventByEventId", **row):
        asked = m.QueryTracedEventByEventIdRequest(event_id=words["Id"], event_source="acs.demo", **on)
        (found,) = client.query_traced_event_by_event_id(asked).body.data[0].events
        assert (found.event_id, found.event_type) == (words["Id"], "demo:x")
    with record("QueryEvent", **row):
        asked = m.QueryEventRequest(event_id=words["Id"], event_source="acs.demo", **on)
        assert client.query_event(asked).body.data["aliyunaccountid"] == customer.account_id
    with record("QueryTracedEvents", **row):
        asked = m.QueryTracedEventsRequest(start_time=now - 600_000, end_time=now + 600_000, event_type="demo:x", **on)
        wait_until(lambda: client.query_traced_events(asked).body.data.events, 20, "the event to be searchable")
        (found,) = client.query_traced_events(asked).body.data.events
        assert (found.event_id, found.event_bus_name) == (words["Id"], "default")


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_says_how_to_point_a_client_here(hub: Hub, receiver: Receiver, tmp_path: Path) -> None:
    """Its blocks, as they stand there: an account, an app with a source, a rule, and a meeting that arrives."""
    name = f"aliyun_cvc-{uuid4().hex[:8]}"

    printed = Terminal(hub, tmp_path, receiver.url(name)).run(*blocks("eventbridge", "Point your client here"))

    (arrived,) = receiver.wait_for(name, 1)
    assert re.search(r"^acs:eventbridge:cn-hangzhou:\d{16}:eventbus/default/rule/meetings$", printed, re.MULTILINE)
    assert json.loads(arrived.request.body)["data"]["action"] == "meeting_start"
    checked(arrived.request)
