"""The data plane's actions: EventBridge's one model of buses, rules and targets, said flat and in Pascal case."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from northbound.dialects.base import to_ms
from northbound.doors.bridge import PAGE_MOST, STATUSES, TARGETS_MOST, bus_arn, rule_arn
from northbound.doors.eventbridge import Given
from northbound.doors.events import read_events
from northbound.doors.targets import GivenTarget
from northbound.doors.throttle import Allowance
from northbound.model.account import Bus
from northbound.model.wire import Proof, Request
from northbound.web.doors.buses import create_bus, delete_bus, get_bus, list_buses
from northbound.web.doors.customer import Customer
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


# --- buses -----------------------------------------------------------------------------------------------------------


async def _create_event_bus(caller: PlaneCaller) -> ANSWERS:
    bus = create_bus(caller.by, caller.bus, caller.given.text("Description", ""))
    return {"EventBusARN": bus_arn(caller.by.account, bus.name)}


async def _delete_event_bus(caller: PlaneCaller) -> ANSWERS:
    delete_bus(caller.by, caller.bus)
    return {}


async def _get_event_bus(caller: PlaneCaller) -> ANSWERS:
    return _bus_words(caller, get_bus(caller.by, caller.bus))


async def _list_event_buses(caller: PlaneCaller) -> ANSWERS:
    page = list_buses(caller.by, caller.given.text("NamePrefix", ""), *caller.page)
    shown = [_bus_words(caller, bus) for bus in page.items]
    return {"EventBuses": shown, "NextToken": page.next_token, "Total": page.total}


def _bus_words(caller: PlaneCaller, bus: Bus) -> dict[str, Any]:
    return {
        "EventBusName": bus.name,
        "EventBusARN": bus_arn(caller.by.account, bus.name),
        "Description": bus.description,
        "CreateTimestamp": to_ms(bus.created_at),
    }


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
        "EventBusName": rule.bus.name,
        "RuleARN": rule_arn(caller.by.account, rule.bus.name, rule.name),
        "RuleName": rule.name,
        "Description": rule.description,
        "Status": STATUSES.get(rule.kept.state, "DISABLE"),
        "FilterPattern": rule.kept.pattern,
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


ACTIONS: Final[dict[str, PlaneAction]] = {
    "putEvents": PlaneAction(run=_put_events, allowance=PUTS),
    "testEventPattern": PlaneAction(run=_test_event_pattern),
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
}
