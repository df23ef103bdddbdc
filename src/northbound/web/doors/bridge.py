"""EventBridge 2020-04-01, the control plane at `/`: buses, rules, targets, event sources (facts 2, 3.4).

Each action reads its parameters, asks the model that both interfaces share, and says the answer in the field names of
the official client. Answers are `{"Code", "Message", "Success", "Data"}`, refusals have `Success` too.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from northbound.dialects.base import to_ms
from northbound.doors.bridge import bus_arn, read_attribute, rule_arn, source_arn
from northbound.doors.events import read_event_list
from northbound.doors.rpc import LONG_VALUES
from northbound.doors.targets import read_given
from northbound.doors.throttle import Allowance
from northbound.model.wire import Proof
from northbound.web.doors import buses, event_sources, putting, rules, tracing
from northbound.web.doors.bridge_words import bus_words, official_sources, rule_words, source_words
from northbound.web.doors.buses import Listed
from northbound.web.doors.calling import ANSWERS, Action, Caller
from northbound.web.doors.customer import Customer
from northbound.web.doors.event_sources import ELSEWHERE, HTTP, Webhook
from northbound.web.doors.rules import Refused, Rule

VERSION: Final = "2020-04-01"
ALLOWANCE: Final = Allowance(100, 1)  # ours: the vendor names none
PUTS: Final = Allowance(10_000, 1)  # as documented for the default bus
TEXT_LONGEST: Final = 256 * 1024
EVENTS_LONGEST: Final = LONG_VALUES["EventList"]
PATTERN_LONGEST: Final = 16 * 1024
TOKEN_LONGEST: Final = 256
TIME_MOST: Final = 10**15  # Unix milliseconds


def succeeded(answers: ANSWERS) -> ANSWERS:
    """Return the envelope of every answer."""
    return {"Code": "Success", "Message": "Success", "Success": True, **answers}


# --- buses -----------------------------------------------------------------------------------------------------------


async def create_event_bus(caller: Caller) -> ANSWERS:
    """Create a custom bus."""
    bus = buses.create_bus(_by(caller), caller.parameters.text("EventBusName"), _text(caller, "Description"))
    return {"Data": {"EventBusARN": bus_arn(caller.account, bus.name)}}


async def update_event_bus(caller: Caller) -> ANSWERS:
    """Change a bus's description."""
    buses.update_bus(_by(caller), caller.parameters.text("EventBusName"), _text(caller, "Description"))
    return {}


async def delete_event_bus(caller: Caller) -> ANSWERS:
    """Delete an empty custom bus."""
    buses.delete_bus(_by(caller), caller.parameters.text("EventBusName"))
    return {}


async def get_event_bus(caller: Caller) -> ANSWERS:
    """Show a bus."""
    bus = buses.get_bus(_by(caller), caller.parameters.text("EventBusName"))
    return {"Data": bus_words(caller.account, bus)}


async def list_event_buses(caller: Caller) -> ANSWERS:
    """List the account's buses."""
    page = buses.list_buses(_by(caller), _text(caller, "NamePrefix"), *_paging(caller))
    return {"Data": _page(page) | {"EventBuses": [bus_words(caller.account, bus) for bus in page.items]}}


# --- rules -----------------------------------------------------------------------------------------------------------


async def create_rule(caller: Caller) -> ANSWERS:
    """Create a rule with its targets."""
    given = caller.parameters
    rule = rules.create_rule(
        _by(caller),
        given.text("EventBusName"),
        given.text("RuleName"),
        given.text("FilterPattern", longest=PATTERN_LONGEST),
        description=_text(caller, "Description"),
        status=given.text("Status", default="ENABLE"),
        targets=read_given(given.text("EventTargets", longest=TEXT_LONGEST, default="[]"), "EventTargets"),
    )
    return {"Data": {"RuleARN": rule_arn(caller.account, rule.bus.name, rule.name)}}


async def update_rule(caller: Caller) -> ANSWERS:
    """Change what is given of a rule."""
    given = caller.parameters.given
    for name, longest in (("FilterPattern", PATTERN_LONGEST), ("Description", 512), ("Status", 64)):
        caller.parameters.text(name, longest=longest, default="")
    rules.update_rule(
        *_named(caller),
        pattern=given.get("FilterPattern") or None,
        description=given.get("Description"),
        status=given.get("Status") or None,
    )
    return {"Data": {}}


async def delete_rule(caller: Caller) -> ANSWERS:
    """Delete a rule with its targets."""
    rules.delete_rule(*_named(caller))
    return {}


async def enable_rule(caller: Caller) -> ANSWERS:
    """Match events against a rule from now on."""
    rules.update_rule(*_named(caller), status="ENABLE")
    return {}


async def disable_rule(caller: Caller) -> ANSWERS:
    """Match no events against a rule any more."""
    rules.update_rule(*_named(caller), status="DISABLE")
    return {}


async def get_rule(caller: Caller) -> ANSWERS:
    """Show a rule with its targets."""
    rule = rules.get_rule(*_named(caller))
    targets = [{**words, "DetailMap": {}} for words in rule.targets]
    return {"Data": _dated(caller, rule) | {"Targets": targets}}


async def list_rules(caller: Caller) -> ANSWERS:
    """List a bus's rules, their targets in short."""
    bus = caller.parameters.text("EventBusName")
    page = rules.list_rules(_by(caller), bus, _text(caller, "RuleNamePrefix"), *_paging(caller))
    shown = [_dated(caller, rule) | {"Targets": _in_short(rule), "DetailMap": {}} for rule in page.items]
    return {"Data": _page(page) | {"Rules": shown}}


def _dated(caller: Caller, rule: Rule) -> dict[str, Any]:
    return rule_words(caller.account, rule) | {"CreatedTimestamp": to_ms(rule.kept.created_at)}


def _in_short(rule: Rule) -> list[dict[str, Any]]:
    names = ("Id", "Type", "Endpoint", "PushSelector", "ErrorsTolerance")
    return [{name: words[name] for name in names if name in words} for words in rule.targets]


# --- targets ---------------------------------------------------------------------------------------------------------


async def put_targets(caller: Caller) -> ANSWERS:
    """Add or replace targets; those that are refused are told, the others are put."""
    targets = read_given(caller.parameters.text("Targets", longest=TEXT_LONGEST), "Targets")
    return {"Data": _entries(rules.put_targets(*_named(caller), targets))}


async def delete_targets(caller: Caller) -> ANSWERS:
    """Remove targets by their ids."""
    text = caller.parameters.text("TargetIds", longest=TEXT_LONGEST)
    return {"Data": _entries(rules.delete_targets(*_named(caller), read_attribute(text, "TargetIds", list[str])))}


async def list_targets(caller: Caller) -> ANSWERS:
    """List a rule's targets."""
    by, bus, name = _named(caller)
    page = rules.list_targets(by, bus, name, *_paging(caller))
    shown = [{**words, "EventBusName": bus, "RuleName": name} for words in page.items]
    return {"Data": _page(page) | {"Targets": shown}}


async def test_event_pattern(caller: Caller) -> ANSWERS:
    """Tell whether an event matches a pattern."""
    given = caller.parameters
    event = given.text("Event", longest=TEXT_LONGEST)
    return {"Data": {"Result": rules.test_pattern(event, given.text("EventPattern", longest=PATTERN_LONGEST))}}


async def put_events(caller: Caller) -> ANSWERS:
    """Put events on a bus; answered when they are on disk."""
    entries = await putting.put_events(
        _by(caller),
        read_event_list(caller.parameters.text("EventList", longest=EVENTS_LONGEST)),
        request=caller.request,
        proof=Proof.FRESH,  # both signatures cover every parameter, the body and the time
        bus_name=caller.parameters.text("EventBusName"),
    )
    return {"Data": putting.put_answer(entries)}


async def query_event_traces(caller: Caller) -> ANSWERS:
    """Tell an event's steps: put, filtered, pushed."""
    given = caller.parameters
    return {"Data": await tracing.event_traces(_by(caller), given.text("EventBusName"), given.text("EventId"))}


async def query_traced_events(caller: Caller) -> ANSWERS:
    """List the events of a bus between two times, newest first."""
    given = caller.parameters
    limit, token = _paging(caller)
    page = await tracing.events_between(
        _by(caller),
        given.text("EventBusName"),
        given.integer("StartTime", least=0, most=TIME_MOST),
        given.integer("EndTime", least=0, most=TIME_MOST),
        event_source=_text(caller, "EventSource"),
        event_type=_text(caller, "EventType"),
        matched_rule=_text(caller, "MatchedRule"),
        limit=limit,
        token=token,
    )
    return {"Data": _page(page) | {"Events": list(page.items)}}


async def query_traced_event_by_event_id(caller: Caller) -> ANSWERS:
    """List the events of an id on a bus; this answer is a list of pages, here of one."""
    found = await tracing.events_by_id(*_event_named(caller))
    return {"Data": [{"Total": len(found), "Events": found}]}


async def query_event(caller: Caller) -> ANSWERS:
    """Show an event whole."""
    by, bus, event_id, source = _event_named(caller)
    found = await tracing.events_whole(by, bus, [event_id], source)
    return {"Data": msgspec.json.decode(found[event_id]) if event_id in found else {}}


def _event_named(caller: Caller) -> tuple[Customer, str, str, str]:
    given = caller.parameters
    return _by(caller), given.text("EventBusName"), given.text("EventId"), _text(caller, "EventSource")


def _entries(refused: tuple[Refused, ...]) -> dict[str, Any]:
    shown = [{"EntryId": one.target_id, "ErrorCode": one.code, "ErrorMessage": one.message} for one in refused]
    return {"ErrorEntriesCount": len(refused), "ErrorEntries": shown}


# --- event sources ---------------------------------------------------------------------------------------------------


async def list_official_sources(caller: Caller) -> ANSWERS:
    """List the sources of the vendor's services that the hub plays."""
    return {"Data": {"EventSourceList": official_sources(caller.account)}}


async def create_event_source(caller: Caller) -> ANSWERS:
    """Register an event source on a bus."""
    bus, name, webhook = _source_named(caller)
    made = event_sources.create_source(
        _by(caller), bus, name, description=_text(caller, "Description"), webhook=webhook
    )
    return {"Data": {"EventSourceARN": source_arn(caller.account, made.bus.name, name)}}


async def update_event_source(caller: Caller) -> ANSWERS:
    """Change what is given of an event source."""
    bus, name, webhook = _source_named(caller)
    given = caller.parameters.given.get("Description")
    event_sources.update_source(_by(caller), bus, name, description=given, webhook=webhook)
    return {"Data": {}}


async def delete_event_source(caller: Caller) -> ANSWERS:
    """Remove an event source."""
    given = caller.parameters
    event_sources.delete_source(_by(caller), given.text("EventBusName"), given.text("EventSourceName"))
    return {}


async def list_own_sources(caller: Caller) -> ANSWERS:
    """List a bus's own event sources, with the URLs of their webhooks."""
    bus = caller.parameters.text("EventBusName")
    page = event_sources.list_sources(_by(caller), bus, _text(caller, "NamePrefix"), *_paging(caller))
    return {"Data": _page(page) | {"EventSourceList": [source_words(caller.account, one) for one in page.items]}}


def _source_named(caller: Caller) -> tuple[str, str, Webhook | None]:
    given = caller.parameters
    for name in ELSEWHERE:
        if given.given.get(name) not in (None, "", "{}"):
            raise event_sources.refuse_elsewhere(name)
    text = given.text(HTTP, longest=TEXT_LONGEST, default="")
    webhook = read_attribute(text, HTTP, Webhook) if text else None
    return given.text("EventBusName"), given.text("EventSourceName"), webhook


# --- what they share -------------------------------------------------------------------------------------------------


def _by(caller: Caller) -> Customer:
    return Customer(hub=caller.hub, account=caller.account, who=caller.who, now=caller.now)


def _named(caller: Caller) -> tuple[Customer, str, str]:
    return _by(caller), caller.parameters.text("EventBusName"), caller.parameters.text("RuleName")


def _text(caller: Caller, name: str) -> str:
    return caller.parameters.text(name, default="")


def _paging(caller: Caller) -> tuple[int, str]:
    """Return Limit and NextToken; what is no number is refused by the documented code."""
    limit = caller.parameters.given.get("Limit", "")
    number = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 9 else 0
    return (number if limit else buses.PAGE_MOST), caller.parameters.text("NextToken", default="")


def _page(page: Listed[Any]) -> dict[str, Any]:
    return {"Total": page.total} | ({"NextToken": page.next_token} if page.next_token else {})


_RUN: Final[Mapping[str, tuple[Any, bool]]] = {  # what runs an action, and whether it changes what is set up
    "CreateEventBus": (create_event_bus, True),
    "UpdateEventBus": (update_event_bus, True),
    "DeleteEventBus": (delete_event_bus, True),
    "GetEventBus": (get_event_bus, False),
    "ListEventBuses": (list_event_buses, False),
    "CreateRule": (create_rule, True),
    "UpdateRule": (update_rule, True),
    "DeleteRule": (delete_rule, True),
    "EnableRule": (enable_rule, True),
    "DisableRule": (disable_rule, True),
    "GetRule": (get_rule, False),
    "ListRules": (list_rules, False),
    "PutTargets": (put_targets, True),
    "DeleteTargets": (delete_targets, True),
    "ListTargets": (list_targets, False),
    "TestEventPattern": (test_event_pattern, False),
    "PutEvents": (put_events, False),
    "QueryEventTraces": (query_event_traces, False),
    "QueryTracedEvents": (query_traced_events, False),
    "QueryTracedEventByEventId": (query_traced_event_by_event_id, False),
    "QueryEvent": (query_event, False),
    "ListAliyunOfficialEventSources": (list_official_sources, False),
    "CreateEventSource": (create_event_source, True),
    "UpdateEventSource": (update_event_source, True),
    "DeleteEventSource": (delete_event_source, True),
    "ListUserDefinedEventSources": (list_own_sources, False),
}
ACTIONS: Final = tuple(
    Action(
        name=name,
        version=VERSION,
        run=run,
        allowance=PUTS if run is put_events else ALLOWANCE,
        changes=changes,
        success=succeeded,
    )
    for name, (run, changes) in _RUN.items()
)
