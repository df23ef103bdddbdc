"""The data plane's actions: EventBridge's one model of buses, rules and targets, said flat and in Pascal case."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from northbound.dialects.base import to_ms
from northbound.doors.bridge import PAGE_MOST, TARGETS_MOST, bus_arn, rule_arn, source_arn
from northbound.doors.eventbridge import Given
from northbound.doors.events import read_events
from northbound.doors.targets import GivenTarget
from northbound.doors.throttle import Allowance
from northbound.logic.route import DEFAULT_BUS
from northbound.model.wire import Proof, Request
from northbound.web.doors import event_sources
from northbound.web.doors.bridge_words import bus_words, official_sources, rule_words, source_words
from northbound.web.doors.buses import create_bus, delete_bus, get_bus, list_buses
from northbound.web.doors.customer import Customer
from northbound.web.doors.event_sources import ELSEWHERE, HTTP, EventSource, Webhook
from northbound.web.doors.putting import put_answer, put_events
from northbound.web.doors.rules import (
    Refused,
    Rule,
    create_rule,
    delete_rule,
    delete_targets,
    get_rule,
    list_rules,
    list_targets,
    put_targets,
    test_pattern,
    update_rule,
)
from northbound.web.doors.tracing import event_traces, events_between, events_by_id, events_whole

PUTS: Final = Allowance(10_000, 1)  # calls, as documented for the default bus
ALLOWANCE: Final = Allowance(1_000, 60)  # of whatever else: nothing is documented; as the RPC actions
IDS_MOST: Final = 100
ANSWERS = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PlaneCaller:
    """One verified call: for whom, what came, what its signature proved, from which address."""

    by: Customer
    request: Request
    proof: Proof
    address: str
    given: Given = field(init=False)

    def __post_init__(self) -> None:
        is_put = self.request.url.partition("?")[0].endswith("/putEvents")  # its body is events, not parameters
        object.__setattr__(self, "given", Given(b"" if is_put else self.request.body))

    @property
    def bus(self) -> str:
        """The name of the bus that the call is about."""
        return self.given.text("EventBusName")

    @property
    def rule(self) -> str:
        """The name of the rule that the call is about."""
        return self.given.text("RuleName")

    @property
    def source(self) -> str:
        """The name of the event source that the call is about."""
        return self.given.text("EventSourceName")

    @property
    def page(self) -> tuple[int, str]:
        """The size of the page that is asked for, and where it begins."""
        return self.given.number("Limit", PAGE_MOST), self.given.text("NextToken", "")


@dataclass(frozen=True, kw_only=True)
class PlaneAction:
    """One action: what runs it, how often an account may call it, whether it changes what is set up."""

    run: Callable[[PlaneCaller], Awaitable[ANSWERS]]
    allowance: Allowance = ALLOWANCE
    changes: bool = False


# --- events ----------------------------------------------------------------------------------------------------------


async def _put_events(caller: PlaneCaller) -> ANSWERS:
    events = read_events(caller.request.body)
    return put_answer(
        await put_events(caller.by, events, request=caller.request, proof=caller.proof, address=caller.address)
    )


async def _test_event_pattern(caller: PlaneCaller) -> ANSWERS:
    return {"Result": test_pattern(caller.given.text("Event"), caller.given.text("EventPattern"))}


async def _query_event_traces(caller: PlaneCaller) -> ANSWERS:
    return {"EventTraceList": await event_traces(caller.by, caller.bus, caller.given.text("EventId"))}


async def _query_event_by_event_id(caller: PlaneCaller) -> ANSWERS:
    source = caller.given.text("EventSource", "")
    found = await events_by_id(caller.by, caller.bus, caller.given.text("EventId"), source)
    return {"TracedEvents": found, "NextToken": "", "Total": len(found)}


async def _query_events_by_period(caller: PlaneCaller) -> ANSWERS:
    given = caller.given
    limit, token = caller.page
    page = await events_between(
        caller.by,
        caller.bus,
        given.number("StartTime", 0),
        given.number("EndTime", to_ms(caller.by.now) + 1),
        event_source=given.text("EventSource", ""),
        event_type=given.text("EventType", ""),
        matched_rule=given.text("MatchedRule", ""),
        limit=limit,
        token=token,
    )
    return {"TracedEvents": list(page.items), "NextToken": page.next_token, "Total": page.total}


async def _query_events_by_event_ids(caller: PlaneCaller) -> ANSWERS:
    ids = caller.given.texts("EventIds", IDS_MOST)
    found = await events_whole(caller.by, caller.bus, ids, caller.given.text("EventSourceName", ""))
    return {"EventBusName": caller.bus, "EventMap": found}


# --- buses -----------------------------------------------------------------------------------------------------------


async def _create_event_bus(caller: PlaneCaller) -> ANSWERS:
    bus = create_bus(caller.by, caller.bus, caller.given.text("Description", ""))
    return {"EventBusARN": bus_arn(caller.by.account, bus.name)}


async def _delete_event_bus(caller: PlaneCaller) -> ANSWERS:
    delete_bus(caller.by, caller.bus)
    return {}


async def _get_event_bus(caller: PlaneCaller) -> ANSWERS:
    return bus_words(caller.by.account, get_bus(caller.by, caller.bus))


async def _list_event_buses(caller: PlaneCaller) -> ANSWERS:
    page = list_buses(caller.by, caller.given.text("NamePrefix", ""), *caller.page)
    shown = [bus_words(caller.by.account, bus) for bus in page.items]
    return {"EventBuses": shown, "NextToken": page.next_token, "Total": page.total}


# --- rules -----------------------------------------------------------------------------------------------------------


async def _create_rule(caller: PlaneCaller) -> ANSWERS:
    rule = create_rule(
        caller.by,
        caller.bus,
        caller.rule,
        caller.given.text("FilterPattern"),
        description=caller.given.text("Description", ""),
        status=caller.given.text("Status", ""),
        targets=caller.given.listed("Targets", GivenTarget),
    )
    return {"RuleARN": rule_arn(caller.by.account, rule.bus.name, rule.name)}


async def _update_rule(caller: PlaneCaller) -> ANSWERS:
    update_rule(
        caller.by,
        caller.bus,
        caller.rule,
        pattern=caller.given.text_if_given("FilterPattern"),
        description=caller.given.text_if_given("Description"),
        status=caller.given.text_if_given("Status"),
    )
    return {}


async def _delete_rule(caller: PlaneCaller) -> ANSWERS:
    delete_rule(caller.by, caller.bus, caller.rule)
    return {}


async def _enable_rule(caller: PlaneCaller) -> ANSWERS:
    update_rule(caller.by, caller.bus, caller.rule, status="ENABLE")
    return {}


async def _disable_rule(caller: PlaneCaller) -> ANSWERS:
    update_rule(caller.by, caller.bus, caller.rule, status="DISABLE")
    return {}


async def _get_rule(caller: PlaneCaller) -> ANSWERS:
    return _rule_words(caller, get_rule(caller.by, caller.bus, caller.rule))


async def _list_rules(caller: PlaneCaller) -> ANSWERS:
    page = list_rules(caller.by, caller.bus, caller.given.text("RuleNamePrefix", ""), *caller.page)
    shown = [_rule_words(caller, rule) for rule in page.items]
    return {"Rules": shown, "NextToken": page.next_token, "Total": page.total}


def _rule_words(caller: PlaneCaller, rule: Rule) -> dict[str, Any]:
    made = rule.kept.created_at
    return {
        **rule_words(caller.by.account, rule),
        "Targets": list(rule.targets),
        "Ctime": to_ms(made),
        "Mtime": to_ms(rule.kept.changed_at or made),
    }


# --- targets ---------------------------------------------------------------------------------------------------------


async def _create_targets(caller: PlaneCaller) -> ANSWERS:
    targets = caller.given.listed("Targets", GivenTarget)
    return _refused(put_targets(caller.by, caller.bus, caller.rule, targets, replaces=False))


async def _delete_targets(caller: PlaneCaller) -> ANSWERS:
    ids = caller.given.texts("TargetIds", IDS_MOST)
    return _refused(delete_targets(caller.by, caller.bus, caller.rule, ids))


async def _list_targets(caller: PlaneCaller) -> ANSWERS:
    page = list_targets(caller.by, caller.bus, caller.rule, caller.given.number("Limit", TARGETS_MOST))
    return {"Targets": list(page.items)}


def _refused(refused: Sequence[Refused]) -> ANSWERS:
    entries = [{"EntryId": one.target_id, "ErrorCode": one.code, "ErrorMessage": one.message} for one in refused]
    return {"ErrorEntriesCount": len(entries), "ErrorEntries": entries}


# --- event sources ---------------------------------------------------------------------------------------------------


async def _create_event_source(caller: PlaneCaller) -> ANSWERS:
    description, webhook = _source_given(caller)
    made = event_sources.create_source(
        caller.by, caller.bus, caller.source, description=description or "", webhook=webhook
    )
    return {"EventSourceARN": source_arn(caller.by.account, made.bus.name, made.kept.name)}


async def _update_event_source(caller: PlaneCaller) -> ANSWERS:
    description, webhook = _source_given(caller)
    event_sources.update_source(caller.by, caller.bus, caller.source, description=description, webhook=webhook)
    return {}


async def _delete_event_source(caller: PlaneCaller) -> ANSWERS:
    bus = caller.given.text("EventBusName", DEFAULT_BUS)  # the client need not name it
    event_sources.delete_source(caller.by, bus, caller.source)
    return {}


async def _list_own_sources(caller: PlaneCaller) -> ANSWERS:
    page = event_sources.list_sources(caller.by, caller.given.text("EventBusName", DEFAULT_BUS), "", *caller.page)
    shown = [_source_words(caller, source) for source in page.items]
    return {"EventSources": shown, "NextToken": page.next_token, "Total": page.total}


async def _list_official_sources(caller: PlaneCaller) -> ANSWERS:
    found = [_with_arn(words) for words in official_sources(caller.by.account)]
    return {"EventSourceList": found, "NextToken": "", "Total": len(found)}


def _source_words(caller: PlaneCaller, source: EventSource) -> dict[str, Any]:
    words = source_words(caller.by.account, source) | {"Description": source.kept.wire.get("Description", "")}
    return _with_arn({"SourceHttpEventResponse" if name == HTTP else name: value for name, value in words.items()})


def _with_arn(words: dict[str, Any]) -> dict[str, Any]:
    """Return a source's words with the one name that this interface writes in capitals."""
    return {"ARN" if name == "Arn" else name: value for name, value in words.items()}


def _source_given(caller: PlaneCaller) -> tuple[str | None, Webhook | None]:
    for name in ELSEWHERE:
        if caller.given.given.get(name):
            raise event_sources.refuse_elsewhere(name)
    return caller.given.text_if_given("Description"), caller.given.struct(HTTP, Webhook)


ACTIONS: Final[dict[str, PlaneAction]] = {
    "putEvents": PlaneAction(run=_put_events, allowance=PUTS),
    "testEventPattern": PlaneAction(run=_test_event_pattern),
    "queryEventTraces": PlaneAction(run=_query_event_traces),
    "queryEventByEventId": PlaneAction(run=_query_event_by_event_id),
    "queryEventsByPeriod": PlaneAction(run=_query_events_by_period),
    "queryEventsByEventIds": PlaneAction(run=_query_events_by_event_ids),
    "createEventBus": PlaneAction(run=_create_event_bus, changes=True),
    "deleteEventBus": PlaneAction(run=_delete_event_bus, changes=True),
    "getEventBus": PlaneAction(run=_get_event_bus),
    "listEventBuses": PlaneAction(run=_list_event_buses),
    "createRule": PlaneAction(run=_create_rule, changes=True),
    "updateRule": PlaneAction(run=_update_rule, changes=True),
    "deleteRule": PlaneAction(run=_delete_rule, changes=True),
    "enableRule": PlaneAction(run=_enable_rule, changes=True),
    "disableRule": PlaneAction(run=_disable_rule, changes=True),
    "getRule": PlaneAction(run=_get_rule),
    "listRules": PlaneAction(run=_list_rules),
    "createTargets": PlaneAction(run=_create_targets, changes=True),
    "deleteTargets": PlaneAction(run=_delete_targets, changes=True),
    "listTargets": PlaneAction(run=_list_targets),
    "v2/createEventSource": PlaneAction(run=_create_event_source, changes=True),
    "v2/updateEventSource": PlaneAction(run=_update_event_source, changes=True),
    "v2/deleteEventSource": PlaneAction(run=_delete_event_source, changes=True),
    "v2/listUserDefinedEventSources": PlaneAction(run=_list_own_sources),
    "v2/listAliyunOfficialEventSources": PlaneAction(run=_list_official_sources),
}
