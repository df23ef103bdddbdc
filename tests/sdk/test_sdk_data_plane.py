"""EventBridge's data plane, as customers' programs call it: every action, every refusal, and the loop to a target."""

import hmac
import itertools
import json
import re
import time
from base64 import b64encode
from email.utils import formatdate
from hashlib import md5
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_eventbridge20200401 import models as m

from e2e.hub import Hub
from e2e.pages import Terminal, blocks
from e2e.receiver import Receiver, wait_until
from e2e.vendors import avd
from sdk.asked import LOOP, PLANE
from sdk.clients import eventbridge
from sdk.customer import Customer
from sdk.driver import Driver
from sdk.plane_client import SIGNATURE, Plane, Refused, interpreter
from sdk.table import Record
from sdk.test_sdk_eventbridge import checked, push_meetings

NUMBERS = itertools.count(1)
PATTERN = json.dumps({"source": ["acs.demo"], "type": [{"prefix": "demo:"}], "data": {"n": [1, 2]}})
SDK = {"sdk": PLANE, "signature": SIGNATURE}


@pytest.fixture
def plane(driver: Driver, customer: Customer) -> Plane:
    return Plane(driver, customer)


def event(**more: Any) -> dict[str, Any]:
    number = next(NUMBERS)
    words = {"id": f"e-{number}", "source": "acs.demo", "type": "demo:order", "data": json.dumps({"n": 1})}
    return words | more


LONG_ID = {
    "type": "aliyuncvc:MeetingEvent:MeetingStateEvent",
    "data": json.dumps({"meetingUUID": "m" * 1025, "action": "MeetingStarted"}),
}


def target(receiver: Receiver, name: str, **more: Any) -> dict[str, Any]:
    params = [{"ResourceKey": "Body", "Form": "ORIGINAL"}]
    return {"Id": "t1", "Type": "http", "Endpoint": receiver.url(name), "ParamList": params, **more}


# --- actions ---------------------------------------------------------------------------------------------------------


def test_buses_are_made_found_and_removed(record: Record, plane: Plane) -> None:
    with record("createEventBus", **SDK):
        made = plane.call("create_event_bus", "CreateEventBusRequest", EventBusName="demo", Description="说明")
        assert made["EventBusARN"].endswith(f":{plane.customer.account_id}:eventbus/demo")
        assert made["ResourceOwnerAccountId"] == plane.customer.account_id
    with record("getEventBus", **SDK):
        found = plane.call("get_event_bus", "GetEventBusRequest", EventBusName="demo")
        assert (found["EventBusName"], found["Description"]) == ("demo", "说明")
        assert abs(found["CreateTimestamp"] / 1000 - time.time()) < 600
    with record("listEventBuses", **SDK):
        first = plane.call("list_event_buses", "ListEventBusesRequest", Limit=1)
        second = plane.call("list_event_buses", "ListEventBusesRequest", Limit=1, NextToken=first["NextToken"])
        assert [one["EventBuses"][0]["EventBusName"] for one in (first, second)] == ["default", "demo"]
        assert (first["Total"], second["NextToken"]) == (2, "")
    with record("deleteEventBus", **SDK):
        plane.call("delete_event_bus", "DeleteEventBusRequest", EventBusName="demo")
        with pytest.raises(Refused) as caught:
            plane.call("get_event_bus", "GetEventBusRequest", EventBusName="demo")
        assert caught.value.code == "EventBusNotExist"


def test_rules_are_made_changed_and_removed(record: Record, plane: Plane, receiver: Receiver) -> None:
    rule = {"EventBusName": "default", "RuleName": "r1"}
    with record("createRule", **SDK):
        made = plane.call(
            "create_rule", "CreateRuleRequest", Description="d", Status="ENABLE", FilterPattern=PATTERN,
            Targets=[target(receiver, "aliyun_cvc-rules")], **rule,
        )  # fmt: skip
        assert made["RuleARN"].endswith("eventbus/default/rule/r1")
    with record("getRule", **SDK):
        found = plane.call("get_rule", "GetRuleRequest", **rule)
        assert (found["FilterPattern"], found["Status"], found["Description"]) == (PATTERN, "ENABLE", "d")
        assert found["Targets"][0]["Endpoint"] == receiver.url("aliyun_cvc-rules")
    with record("listRules", **SDK):
        listed = plane.call("list_rules", "ListRulesRequest", EventBusName="default", RuleNamePrefix="r")
        assert [one["RuleName"] for one in listed["Rules"]] == ["r1"]
    with record("disableRule", **SDK):
        plane.call("disable_rule", "DisableRuleRequest", **rule)
        assert plane.call("get_rule", "GetRuleRequest", **rule)["Status"] == "DISABLE"
    with record("enableRule", **SDK):
        plane.call("enable_rule", "EnableRuleRequest", **rule)
        assert plane.call("get_rule", "GetRuleRequest", **rule)["Status"] == "ENABLE"
    with record("updateRule", **SDK):
        plane.call("update_rule", "UpdateRuleRequest", FilterPattern="{}", **rule)
        changed = plane.call("get_rule", "GetRuleRequest", **rule)
        assert (changed["FilterPattern"], changed["Description"]) == ("{}", "d")
        assert changed["Mtime"] >= found["Mtime"]
    with record("deleteRule", **SDK):
        plane.call("delete_rule", "DeleteRuleRequest", **rule)
        assert plane.call("list_rules", "ListRulesRequest", EventBusName="default")["Rules"] == []


def test_targets_are_added_and_removed(record: Record, plane: Plane, receiver: Receiver) -> None:
    rule = {"EventBusName": "default", "RuleName": "r1"}
    plane.call("create_rule", "CreateRuleRequest", FilterPattern="{}", Targets=[], **rule)
    other = target(receiver, "aliyun_cvc-t2", Id="t2", ConcurrentConfig={"Concurrency": 3})
    with record("createTargets", **SDK):
        given = [target(receiver, "aliyun_cvc-t1"), other, target(receiver, "x", Id="t3", Type="fc")]
        made = plane.call("create_targets", "CreateTargetsRequest", Targets=given, **rule)
        assert (made["ErrorEntriesCount"], made["ErrorEntries"][0]["EntryId"]) == (1, "t3")
    with record("listTargets", **SDK):
        listed = plane.call("list_targets", "ListTargetsRequest", Limit=10, **rule)
        assert [one["Id"] for one in listed["Targets"]] == ["t1", "t2"]
        assert listed["Targets"][1]["ConcurrentConfig"]["Concurrency"] == 3
    with record("deleteTargets", **SDK):
        gone = plane.call("delete_targets", "DeleteTargetsRequest", TargetIds=["t1", "nowhere"], **rule)
        assert [one["ErrorCode"] for one in gone["ErrorEntries"]] == ["EventTargetNotExist"]


def test_a_pattern_is_tried(record: Record, plane: Plane) -> None:
    with record("testEventPattern", **SDK):
        for number, expected in ((1, True), (3, False)):
            words = json.dumps({"source": "acs.demo", "type": "demo:x", "data": {"n": number}})
            asked = {"Event": words, "EventPattern": PATTERN}
            assert plane.call("test_event_pattern", "TestEventPatternRequest", **asked)["Result"] is expected


def test_events_are_put_in_every_form(record: Record, plane: Plane) -> None:
    with record("putEvents", **SDK):
        first, typed, plain = event(), event(datacontenttype="application/json"), event(datacontenttype="text/plain")
        told = plane.put(first, typed, plain)
        assert (told["FailedEntryCount"], len(told["EntryList"])) == (0, 3)
        assert [one["EventId"] for one in told["EntryList"]] == [first["id"], typed["id"], plain["id"]]
    with record("putEvents", case="again, the same source and id", **SDK):
        again = plane.put(first)
        assert again["EntryList"][0]["TraceId"] == told["EntryList"][0]["TraceId"]
    with record("putEvents", case="one event of three is wrong", **SDK):
        mixed = plane.put(event(), event(source=" "), event())
        assert mixed["FailedEntryCount"] == 1
        assert mixed["EntryList"][1]["ErrorCode"] == "EventSourceInvalid"
        assert mixed["EntryList"][2]["TraceId"]
    with record("putEvents", case="same id, other content", **SDK) as row, pytest.raises(Refused) as caught:
        plane.put(first | {"data": '{"n":2}'})
    assert (row.result, caught.value.code) == ("ok", "EventIdConflict")


def test_event_sources_are_registered(record: Record, plane: Plane) -> None:
    named = {"EventBusName": "default", "EventSourceName": "shop"}
    webhook = {"Type": "HTTP&HTTPS", "Method": ["POST"], "SecurityConfig": "none"}
    with record("v2/createEventSource", **SDK):
        made = plane.call("create_event_source", "CreateEventSourceRequest", SourceHttpEventParameters=webhook, **named)
        assert made["EventSourceARN"].endswith("eventbus/default/eventsource/shop")
    with record("v2/updateEventSource", **SDK):
        plane.call("update_event_source", "UpdateEventSourceRequest", Description="说明", **named)
    with record("v2/listUserDefinedEventSources", **SDK):
        asked = {"EventBusName": "default"}
        (found,) = plane.call("list_user_defined_event_sources", "ListUserDefinedRequest", **asked)["EventSources"]
        assert (found["Name"], found["Description"], found["ARN"]) == ("shop", "说明", made["EventSourceARN"])
        assert found["SourceHttpEventResponse"]["PublicWebHookUrl"][0].startswith("http://")
    with record("v2/listAliyunOfficialEventSources", **SDK):
        (found,) = plane.call("list_aliyun_official_event_sources", "ListAliyunOfficialRequest")["EventSourceList"]
        assert (found["Name"], len(found["EventTypes"])) == ("acs.aliyuncvc", 8)
    with record("v2/createEventSource", case="another product's queue", **SDK) as row:
        queue = {"QueueName": "q", "RegionId": "cn-hangzhou", "IsBase64Decode": True}
        asked = named | {"EventSourceName": "queue", "SourceMNSParameters": queue}
        with pytest.raises(Refused) as caught:
            plane.call("create_event_source", "CreateEventSourceRequest", **asked)
        row.result = caught.value.code
        assert row.result == "EventSourceTypeInvalid"
    with record("v2/deleteEventSource", **SDK):
        plane.call("delete_event_source", "DeleteEventSourceRequest", **named)
        listed = plane.call("list_user_defined_event_sources", "ListUserDefinedRequest", EventBusName="default")
        assert listed["EventSources"] == []


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "events", "code"),
    [
        ("more than one bus", ({}, {"bus": "other"}), "PutEventsRequestMoreThanOneEventBus"),
        ("no such bus", ({"bus": "nowhere"},), "EventBusNotExist"),
        ("event too large", ({"data": "x" * 262_144, "datacontenttype": "text/plain"},), "EventSizeExceed"),
        ("too many events", ({},) * 17, "EventSizeExceed"),
        ("batch too large", ({"data": "x" * 180_000, "datacontenttype": "text/plain"},) * 5, "EventSizeExceed"),
        ("no id", ({"id": ""},), "EventIdEmpty"),
        ("a meeting id of more than 1 KiB", (LONG_ID,), "JsonAttributeInvalid"),
        ("no type", ({"type": ""},), "EventTypeInvalid"),
        ("unknown specversion", ({"specversion": "2.0"},), "EventSpecversionInvalid"),
    ],
)
def test_what_cannot_be_put_is_refused(
    record: Record, plane: Plane, case: str, events: tuple[dict[str, Any], ...], code: str
) -> None:
    before = plane.customer.hub.head()
    with record("putEvents", case=case, **SDK) as row:
        with pytest.raises(Refused) as caught:
            plane.put(*(event(**one) for one in events))
        assert caught.value.code == code
        row.result = caught.value.code
    assert plane.customer.hub.head() == before


@pytest.mark.parametrize(
    ("case", "call", "given", "code"),
    [
        ("bad pattern", "create_rule", {"FilterPattern": '{"source":"no list"}'}, "EventRuleFilterPatternInvalid"),
        ("unknown key", "create_rule", {"FilterPattern": '{"sorce":["x"]}'}, "EventRuleFilterPatternInvalid"),
        ("no bus", "create_rule", {"EventBusName": "nowhere", "FilterPattern": "{}"}, "EventBusNotExist"),
        ("bad name", "create_rule", {"RuleName": "-x", "FilterPattern": "{}"}, "EventRuleNameInvalid"),
        ("no rule", "get_rule", {"RuleName": "nowhere"}, "EventRuleNotExist"),
        ("page too large", "list_rules", {"Limit": 1000}, "LimitSizeInvalid"),
        ("name taken", "create_event_bus", {"EventBusName": "default"}, "EventBusAlreadyExist"),
        ("bad bus name", "create_event_bus", {"EventBusName": "eventbridge-reserved-x"}, "EventBusNameInvalid"),
        ("default bus", "delete_event_bus", {}, "EventBusNameInvalid"),
    ],
)
def test_what_cannot_be_set_up_is_refused(
    record: Record, plane: Plane, case: str, call: str, given: dict[str, Any], code: str
) -> None:
    name = "".join(part.capitalize() for part in call.split("_"))
    asked = {"EventBusName": "default", "RuleName": "r1"} | given
    with record(name[0].lower() + name[1:], case=case, **SDK) as row:
        with pytest.raises(Refused) as caught:
            plane.call(call, f"{name}Request", **asked)
        assert caught.value.code == code
        row.result = caught.value.code


NOT_OFFERED = (
    "ListPartnerEventSources", "CreateEventStreaming", "DeleteEventStreaming", "GetEventStreaming",
    "ListEventStreamingMetrics", "ListEventStreamings", "PauseEventStreaming", "StartEventStreaming",
    "UpdateEventStreaming",
)  # fmt: skip


@pytest.mark.parametrize("action", NOT_OFFERED)
def test_what_the_client_has_and_northbound_has_not_is_said(record: Record, plane: Plane, action: str) -> None:
    """Partners' sources and streamings: nothing here is of that kind."""
    method = re.sub("(?<!^)(?=[A-Z])", "_", action).lower()
    with record(action[0].lower() + action[1:], case="not offered", **SDK) as row:
        with pytest.raises(Refused) as caught:
            plane.call(method, f"{action}Request", EventStreamingName="s")
        row.result = caught.value.code
        assert row.result == "InvalidApi.NotFound"


# --- other clients ---------------------------------------------------------------------------------------------------


def signed(customer: Customer, path: str, **more: str) -> dict[str, str]:
    """Return the headers of a call as the vendor's rules say, without any client of theirs."""
    headers = {
        "content-type": "application/cloudevents-batch+json",
        "date": formatdate(usegmt=True),
        "x-acs-signature-method": "HMAC-SHA1",
        "x-acs-signature-nonce": f"own-{next(NUMBERS)}-{time.time()}",
        "x-acs-signature-version": "1.0",
    } | more
    own = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-acs"))
    text = f"POST\n{headers.get('content-md5', '')}\n{headers['content-type']}\n{headers['date']}\n{own}{path}"
    code = b64encode(hmac.digest(customer.access_key_secret.encode(), text.encode(), "sha1")).decode()
    return headers | {"authorization": f"acs:{customer.access_key_id}:{code}"}


def sent(customer: Customer, body: bytes, *, in_parts: int = 0, **more: str) -> tuple[int, dict[str, Any]]:
    """Put *body*; *in_parts* of so many bytes each, with no length told, as the npm client does."""
    connection = HTTPConnection(customer.address, timeout=10)
    parts = [body[at : at + in_parts] for at in range(0, len(body), in_parts)] if in_parts else None
    content: Any = iter(parts) if parts else body
    try:
        path = "/openapi/putEvents"
        connection.request("POST", path, content, signed(customer, path, **more), encode_chunked=bool(parts))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def own_event(**more: Any) -> dict[str, Any]:
    words = {"id": f"o-{next(NUMBERS)}", "source": "acs.demo", "type": "demo:order", "aliyuneventbusname": "default"}
    return words | more


def test_a_chunked_body_and_a_single_event_are_taken(record: Record, customer: Customer) -> None:
    with record("putEvents", sdk="@alicloud/eventbridge (npm), its wire", signature=SIGNATURE, case="chunked"):
        one, other = own_event(data={"n": 1}), own_event(data_base64="eyJuIjoxfQ==", datacontenttype="application/json")
        status, told = sent(customer, json.dumps([one, other]).encode(), in_parts=50)
        assert (status, told["FailedEntryCount"], len(told["EntryList"])) == (200, 0, 2)
    status, told = sent(customer, json.dumps(own_event()).encode())
    assert (status, len(told["EntryList"])) == (200, 1)


def test_a_body_is_proven_by_its_hash_alone(customer: Customer) -> None:
    body = json.dumps([own_event()]).encode()
    right = b64encode(md5(body, usedforsecurity=False).digest()).decode()
    proofs = [sent(customer, body)[0], sent(customer, json.dumps([own_event()]).encode(), **{"content-md5": right})]

    assert (proofs[0], proofs[1][0], proofs[1][1]["code"]) == (200, 400, "SignatureDoesNotMatch")
    status, told = sent(customer, body, **{"content-md5": right})
    assert (status, told["FailedEntryCount"]) == (200, 0)
    status, shown = customer.hub.api("GET", f"/api/v1/events/{told['EntryList'][0]['TraceId']}")
    assert (status, shown["receipt"]["proof"], shown["repeats"][0]["proof"]) == (200, "sender", "fresh")
    assert dict(shown["receipt"]["request"]["headers"])["authorization"] == "***"


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[1]", b"\xff" * 9, b"[" * 100_000, b'{"id":"a","id":"b"}', b" " * 3_000_000, b'"\\ud83d"']
)
def test_no_body_breaks_anything(customer: Customer, body: bytes) -> None:
    status, told = sent(customer, body)

    assert (status, set(told)) == (409, {"code", "message", "requestId"})
    assert told["code"] in {"JsonAttributeInvalid", "EventSizeExceed"}
    assert told["requestId"]


# --- the loop --------------------------------------------------------------------------------------------------------


def test_what_is_put_arrives_at_the_target_signed(record: Record, plane: Plane, receiver: Receiver) -> None:
    """The client makes bus, rule and target; its event comes to the target, and the signature holds."""
    name, hub = f"aliyun_cvc-loop{next(NUMBERS)}", plane.customer.hub
    with record("putEvents", case="to an HTTP target", **SDK):
        plane.call("create_event_bus", "CreateEventBusRequest", EventBusName="demo")
        given = [target(receiver, name)]
        rule = {"EventBusName": "demo", "RuleName": "r1", "FilterPattern": PATTERN, "Targets": given}
        plane.call("create_rule", "CreateRuleRequest", **rule)
        hub.wait_seen()
        other = event(bus="demo", data='{"n":3}')
        wanted = event(bus="demo", subject="订单", extensions={"own": "kept"})
        told = plane.put(other, wanted)
        wait_until(lambda: receiver.at(name), 20, lambda: f"the event\n{hub.tail()}")
        hub.wait_idle()

        (arrived,) = receiver.at(name)
        body = json.loads(arrived.request.body)
        assert (body["id"], body["data"], body["subject"], body["own"]) == (wanted["id"], {"n": 1}, "订单", "kept")
        assert (body["aliyuneventbusname"], body["aliyunaccountid"]) == ("demo", plane.customer.account_id)
        assert told["EntryList"][1]["TraceId"] in arrived.delivery
        checked(arrived.request)


def test_a_3t_meeting_arrives_at_the_clients_target_signed(record: Record, plane: Plane, receiver: Receiver) -> None:
    """The client makes a rule, a media server tells of a meeting, the target gets the CVC event."""
    name, hub, customer = f"aliyun_cvc-loop{next(NUMBERS)}", plane.customer.hub, plane.customer
    with record("createRule", case=LOOP, **SDK):
        given = {"FilterPattern": json.dumps({"source": ["acs.aliyuncvc"]}), "Targets": [target(receiver, name)]}
        plane.call("create_rule", "CreateRuleRequest", EventBusName="default", RuleName="r1", **given)
        push_meetings(hub, customer)
        customer.vendor("avd").tells(avd("open", name), avd("join", name, "u1"))
        opened, joined = receiver.wait_for(name, 2)

        for one in (opened, joined):
            checked(one.request)
        words = [json.loads(one.request.body) for one in (opened, joined)]
        assert [one["data"]["meetingUUID"] for one in words] == [name, name]
        assert {one["aliyunaccountid"] for one in words} == {customer.account_id}


def test_a_trace_tells_each_step_and_why_none(record: Record, plane: Plane, receiver: Receiver) -> None:
    """Received, matched by which rule or why by none, each attempt with its time; by both ids of the event."""
    name, hub = f"aliyun_cvc-trace{next(NUMBERS)}", plane.customer.hub
    receiver.fail(name, 500, times=1)
    for rule, pattern in (("hit", PATTERN), ("miss", '{"data":{"n":[9]}}')):
        given = {"FilterPattern": pattern, "Targets": [target(receiver, name if rule == "hit" else "aliyun_cvc-no")]}
        plane.call("create_rule", "CreateRuleRequest", EventBusName="default", RuleName=rule, **given)
    plane.call("create_rule", "CreateRuleRequest", EventBusName="default", RuleName="off", Status="DISABLE",
               FilterPattern="{}", Targets=[target(receiver, name)])  # fmt: skip
    hub.wait_seen()
    wanted = event()
    place = plane.put(wanted, event(type="other:x"))["EntryList"][0]["TraceId"]
    wait_until(lambda: receiver.accepted(name), 30, lambda: f"the event\n{hub.tail()}")
    hub.wait_idle()
    on = {"EventBusName": "default"}

    with record("queryEventTraces", **SDK):
        for identity in (wanted["id"], place):
            told = plane.call("query_event_traces", "QueryEventTracesRequest", EventId=identity, **on)["EventTraceList"]
            assert [one["Action"] for one in told] == ["PutEvent", "FilterEvent", "PushEvent", "PushEvent"]
            assert [one.get("NotifyStatus") for one in told[2:]] == ["FAILED", "SUCCESS"]
            assert {one["RuleName"] for one in told[1:]} == {"hit"}
            assert told[3]["Endpoint"] == receiver.url(name)
            assert told[0]["ReceivedTime"] <= told[2]["NotifyTime"] <= told[3]["NotifyTime"]
    with record("queryEventByEventId", **SDK):
        asked = {"EventId": wanted["id"], "EventSource": "acs.demo"}
        (found,) = plane.call("query_event_by_event_id", "QueryEventByEventIdRequest", **asked, **on)["TracedEvents"]
        assert (found["EventId"], found["EventType"]) == (wanted["id"], "demo:order")
    with record("queryEventsByPeriod", **SDK):
        now = int(time.time() * 1000)
        asked = {"StartTime": now - 600_000, "EndTime": now + 600_000, **on}

        def listed(**more: Any) -> list[str]:
            found = plane.call("query_events_by_period", "QueryEventsByPeriodRequest", **asked, **more)["TracedEvents"]
            return [one["EventType"] for one in found]

        wait_until(lambda: len(listed()) == 2, 20, "both events to be searchable")
        assert listed() == ["other:x", "demo:order"]
        assert listed(EventType="demo:order") == listed(MatchedRule="hit") == ["demo:order"]
        assert listed(EventSource="elsewhere") == []
        first = plane.call("query_events_by_period", "QueryEventsByPeriodRequest", Limit=1, **asked)
        assert listed(Limit=1, NextToken=first["NextToken"]) == ["demo:order"]
    with record("queryEventsByEventIds", **SDK):
        found = plane.call("query_events", "QueryEventsRequest", EventIds=[wanted["id"], "nobody"], **on)["EventMap"]
        assert json.loads(found[wanted["id"]])["data"] == {"n": 1}

    status, trace = hub.api("GET", f"/api/v1/events/{place}/trace")
    assert status == 200
    outcomes = {one["name"]: one["outcome"] for one in trace["rules"]}
    assert outcomes == {"hit": "sent", "miss": "not_matched", "off": "disabled"}
    (missed,) = next(one["findings"] for one in trace["rules"] if one["name"] == "miss")
    assert (missed["path"], missed["has"], missed["matched"]) == ("$.data.n", "1", False)
    (sent_on,) = trace["deliveries"]
    assert [one["accepted"] for one in sent_on["attempts"]] == [False, True]
    assert sent_on["ended_ms"] >= sum(one["waited_ms"] + one["took_ms"] for one in sent_on["attempts"]) - 5
    assert (sent_on["lane"], sent_on["state"]) == ("loose", "delivered")
    stranger = hub.api("GET", "/api/v1/events/ev_0000000000_000000000000/trace")
    assert stranger[0] == 404


def test_what_cannot_be_delivered_lies_on_the_bus_for_it(record: Record, plane: Plane, receiver: Receiver) -> None:
    """Unchanged, and once, also where that bus sends its own dead letters back."""
    here, there = (f"aliyun_cvc-{which}{next(NUMBERS)}" for which in ("here", "there"))
    hub, account = plane.customer.hub, plane.customer.account_id
    receiver.fail(here)
    receiver.fail(there, times=4)
    arn = f"acs:eventbridge:cn-hangzhou:{account}:eventbus/"
    for bus in ("here", "there"):
        plane.call("create_event_bus", "CreateEventBusRequest", EventBusName=bus)
    for bus, other, name in (("here", "there", here), ("there", "here", there)):
        plane.call("create_rule", "CreateRuleRequest", EventBusName=bus, RuleName="r", FilterPattern="{}", Targets=[])
        # This client's model of a target has no dead-letter queue, so the rule's other interface says it.
        words = {"Id": "t", "Type": "http", "Endpoint": receiver.url(name), "DeadLetterQueue": {"Arn": arn + other},
                 "ParamList": [{"ResourceKey": "Body", "Form": "ORIGINAL"}]}  # fmt: skip
        entry = m.PutTargetsRequestTargets().from_map(words)
        eventbridge(plane.customer).put_targets(m.PutTargetsRequest(event_bus_name=bus, rule_name="r", targets=[entry]))
    hub.wait_seen()
    with record("putEvents", case="dead letter to another bus", **SDK):
        wanted = event(bus="here")
        place = plane.put(wanted)["EntryList"][0]["TraceId"]
        wait_until(lambda: len(receiver.at(there)) == 4, 60, lambda: f"the dead letter\n{hub.tail()}")
        hub.wait_idle()
        first, dead = receiver.at(here)[0].request.body, receiver.at(there)[0].request.body
        assert (dead, json.loads(dead)["aliyuneventbusname"]) == (first, "here")
        assert (len(receiver.at(here)), len(receiver.at(there))) == (4, 4)
    for bus in ("here", "there"):
        asked = {"EventBusName": bus, "EventId": wanted["id"]}
        told = plane.call("query_event_traces", "QueryEventTracesRequest", **asked)["EventTraceList"]
        assert [one["Action"] for one in told] == ["PutEvent", "FilterEvent"] + ["PushEvent"] * 4
    status, shown = hub.api("GET", f"/api/v1/events/{place}/trace")
    assert (status, shown["deliveries"][0]["state"]) == (200, "dead")


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_says_how_to_point_a_data_plane_client_here(hub: Hub, receiver: Receiver, tmp_path: Path) -> None:
    """Its program, as it stands there, in the client's own virtualenv: bus, rule, event, and the event arrives."""
    name = f"aliyun_cvc-page{next(NUMBERS)}"
    setting_up, (program,) = (
        blocks("eventbridge", "Point your client here")[0],
        blocks("eventbridge", "The data plane"),
    )
    terminal = Terminal(hub, tmp_path, receiver.url(name), python=interpreter())

    trace_id = terminal.run(setting_up, program).split()[-1]
    (arrived,) = receiver.wait_for(name, 1)

    words = json.loads(arrived.request.body)
    assert (words["id"], words["data"], words["aliyuneventbusname"]) == ("order-1", {"amount": 120}, "orders")
    status, trace = hub.api("GET", f"/api/v1/events/{trace_id}/trace")
    assert (status, [one["outcome"] for one in trace["rules"]]) == (200, ["sent"])
