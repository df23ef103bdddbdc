"""Rules and targets: the one model under both of EventBridge's interfaces (facts 3.3-3.5; rulings 8, 12, 13).

A rule is a `Subscription` on its bus over the view `aliyun_cvc`, a target an `Endpoint` of that dialect; both belong
to the app that stands for the account. Everything a call asks for is done in one transaction. All raise `BridgeError`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from northbound.dialects import dialect_named
from northbound.doors.bridge import (
    PAGE_MOST,
    RULES_MOST,
    STATES,
    TARGETS_MOST,
    VIEW,
    BridgeError,
    bus_in_arn,
    check_rule_name,
    compile_rule,
    no_bus,
    no_rule,
    read_attribute,
    rule_id,
)
from northbound.doors.targets import GivenTarget, ReadTarget, identity_of, read_target, told_target
from northbound.logic.addresses import AllowList, check_url
from northbound.model.account import Bus, Maker
from northbound.model.app import Endpoint, Subscription, Target
from northbound.model.errors import BlockedAddress, InvalidInput, NotFound
from northbound.model.registry import Drop, Put
from northbound.model.wire import Key, KeyKind
from northbound.web.doors.buses import Listed, description_of, get_bus, paged, rules_of
from northbound.web.doors.customer import Customer

TOKEN_KEY = "token"  # noqa: S105 - the name of a key


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """One of several targets that could not be put or deleted; the others were."""

    target_id: str
    code: str
    message: str


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule on its bus; `targets` are its targets' words as they are answered."""

    bus: Bus
    kept: Subscription
    targets: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """The rule's name on its bus."""
        return self.kept.name

    @property
    def description(self) -> str:
        """What was said of it."""
        return self.kept.wire.get("Description", "")

    @property
    def is_enabled(self) -> bool:
        """Whether events are matched against it."""
        return self.kept.state == "enabled"


# --- rules -----------------------------------------------------------------------------------------------------------


def create_rule(
    by: Customer,
    bus_name: str,
    name: str,
    pattern: str,
    *,
    description: str = "",
    status: str = "ENABLE",
    targets: Sequence[GivenTarget] = (),
) -> Rule:
    """Create a rule with its targets, all or nothing."""
    bus = get_bus(by, bus_name)
    check_rule_name(name)
    known = rules_of(by, bus)
    if any(rule.name == name for _, rule in known):
        raise BridgeError(
            "EventRuleAlreadyExist", f"The event rule [{name}] of event bus [{bus.name}] already existed!"
        )
    if len(known) >= RULES_MOST:
        raise BridgeError(
            "EventRuleCountExceedLimit",
            f"The current count of event rule is [{len(known)}], which will exceed the limit quota [{RULES_MOST}]",
        )
    if len(targets) > TARGETS_MOST:
        raise _too_many_targets(len(targets))
    compile_rule(pattern)
    rule = Subscription(
        id=rule_id(bus, name),
        app_id=by.account.app_id,
        created_at=by.now,
        name=name,
        pattern=pattern,
        view=VIEW,
        state=_state(status),
        bus_id=bus.id,
        made_by=Maker.EVENTBRIDGE,
        wire=_said(description),
    )
    made: dict[str, tuple[Target, Endpoint]] = {}
    for given in targets:
        read = _read(by, bus, given)
        if read.id in made:
            raise _target_exists(read.id, bus, name)
        made[read.id] = _made(by, bus, rule, read, None)
    rule = replace(rule, targets=tuple(target for target, _ in made.values()))
    by.change([*(Put(one=endpoint) for _, endpoint in made.values()), Put(one=rule)])
    return _shown(by, bus, rule)


def update_rule(
    by: Customer,
    bus_name: str,
    name: str,
    *,
    pattern: str | None = None,
    description: str | None = None,
    status: str | None = None,
) -> Rule:
    """Change what is given of a rule; None leaves it as it is."""
    bus = get_bus(by, bus_name)
    revision, rule = _rule(by, bus, name)
    if pattern is not None:
        compile_rule(pattern)
    rule = replace(
        rule,
        pattern=rule.pattern if pattern is None else pattern,
        wire=rule.wire if description is None else _said(description),
        state=rule.state if status is None else _state(status),
        changed_at=by.now,
    )
    by.change((Put(one=rule, revision=revision),))
    return _shown(by, bus, rule)


def delete_rule(by: Customer, bus_name: str, name: str) -> None:
    """Remove a rule with its targets; what still waits for them is cancelled."""
    bus = get_bus(by, bus_name)
    _, rule = _rule(by, bus, name)
    drops = [Drop(kind=Subscription, id=rule.id)]
    drops += [Drop(kind=Endpoint, id=identity) for identity in _endpoints(by, rule)]
    by.change((), drops)


def get_rule(by: Customer, bus_name: str, name: str) -> Rule:
    """Return one rule."""
    bus = get_bus(by, bus_name)
    return _shown(by, bus, _rule(by, bus, name)[1])


def list_rules(by: Customer, bus_name: str, prefix: str = "", limit: int = PAGE_MOST, token: str = "") -> Listed[Rule]:
    """Return a page of a bus's rules whose names begin with *prefix*, by name."""
    bus = get_bus(by, bus_name)
    page = paged([rule for _, rule in rules_of(by, bus)], lambda rule: rule.name, prefix, limit, token)
    items = tuple(_shown(by, bus, rule) for rule in page.items)
    return Listed(items=items, next_token=page.next_token, total=page.total)


# --- targets ---------------------------------------------------------------------------------------------------------


def put_targets(
    by: Customer, bus_name: str, name: str, targets: Sequence[GivenTarget], *, replaces: bool = True
) -> tuple[Refused, ...]:
    """Add targets to a rule, or replace those with the same id; what is refused is told, the others are put.

    Without *replaces* an id that is there already is refused. Too many targets refuse the whole call.
    """
    bus = get_bus(by, bus_name)
    revision, rule = _rule(by, bus, name)
    refused: list[Refused] = []
    kept = {identity_of(target): target for target in rule.targets}
    puts: dict[str, Put] = {}
    for given in targets:
        try:
            read = _read(by, bus, given)
            if read.id in puts or (read.id in kept and not replaces):
                raise _target_exists(read.id, bus, name)
        except BridgeError as error:
            refused.append(Refused(target_id=(given.id or "")[:128], code=error.code, message=error.message))
            continue
        known = _known_endpoint(by, kept.get(read.id))
        if known is not None and known[1].made_by is not Maker.EVENTBRIDGE:  # somebody's own, added by the hub's API
            known = None
        kept[read.id], endpoint = _made(by, bus, rule, read, known[1] if known else None)
        puts[read.id] = Put(one=endpoint, revision=known[0] if known else None)
    if len(kept) > TARGETS_MOST:
        raise _too_many_targets(len(kept))
    if puts:
        rule = replace(rule, targets=tuple(kept.values()), changed_at=by.now)
        by.change([*puts.values(), Put(one=rule, revision=revision)])
    return tuple(refused)


def delete_targets(by: Customer, bus_name: str, name: str, ids: Sequence[str]) -> tuple[Refused, ...]:
    """Remove targets of a rule; an id that is not there is told, the others are removed."""
    bus = get_bus(by, bus_name)
    revision, rule = _rule(by, bus, name)
    wanted = set(ids)
    known = {identity_of(target) for target in rule.targets}
    gone = [target for target in rule.targets if identity_of(target) in wanted]
    if gone:
        kept = tuple(target for target in rule.targets if identity_of(target) not in wanted)
        drops = [Drop(kind=Endpoint, id=identity) for identity in _endpoints(by, replace(rule, targets=tuple(gone)))]
        by.change((Put(one=replace(rule, targets=kept, changed_at=by.now), revision=revision),), drops)
    return tuple(
        Refused(target_id=one[:128], code=error.code, message=error.message)
        for one in dict.fromkeys(ids)
        if one not in known and (error := _no_target(one, bus, name))
    )


def list_targets(
    by: Customer, bus_name: str, name: str, limit: int = PAGE_MOST, token: str = ""
) -> Listed[dict[str, Any]]:
    """Return a page of a rule's targets in their own words, by id."""
    rule = get_rule(by, bus_name, name)
    return paged(sorted(rule.targets, key=_id_of), _id_of, "", limit, token)


def test_pattern(event: str, pattern: str) -> bool:
    """Tell whether an event matches a pattern, both JSON in text."""
    compiled = compile_rule(pattern)
    return compiled.matches(read_attribute(event, "Event", dict[str, Any]))


# --- how it is done --------------------------------------------------------------------------------------------------


def _rule(by: Customer, bus: Bus, name: str) -> tuple[int, Subscription]:
    try:
        revision, rule = by.hub.objects.get(Subscription, rule_id(bus, name))
    except NotFound:
        raise no_rule(bus.name, name) from None
    return revision, rule


def _shown(by: Customer, bus: Bus, rule: Subscription) -> Rule:
    found = ((target, _known_endpoint(by, target)) for target in rule.targets)
    return Rule(bus=bus, kept=rule, targets=tuple(told_target(target, known[1]) for target, known in found if known))


def _known_endpoint(by: Customer, target: Target | None) -> tuple[int, Endpoint] | None:
    try:
        return None if target is None else by.hub.objects.get(Endpoint, target.endpoint_id)
    except NotFound:  # deleted through the hub's own API
        return None


def _endpoints(by: Customer, rule: Subscription) -> list[str]:
    """Return the ids of the endpoints that were made for a rule and are still there."""
    found = (_known_endpoint(by, target) for target in rule.targets)
    return [known[1].id for known in found if known is not None and known[1].made_by is Maker.EVENTBRIDGE]


def _read(by: Customer, bus: Bus, given: GivenTarget) -> ReadTarget:
    """Read a target and look up what it names: its URL may be called, its dead letters have a bus of this account."""
    read = read_target(given, dialect_named(VIEW).retry)
    try:
        check_url(read.url, AllowList.parse(by.hub.config.allow_targets))
    except (BlockedAddress, InvalidInput) as error:
        raise _ineffective("Endpoint", error.message) from None
    if read.dead_letter_arn:
        _dead_letter_bus(by, bus, read.dead_letter_arn)
    return read


def _dead_letter_bus(by: Customer, bus: Bus, arn: str) -> str:
    name = bus_in_arn(arn, by.account)
    if name is None:
        raise _ineffective(
            "DeadLetterQueue.Arn",
            "here dead letters go to an event bus, acs:eventbridge:<region>:<account>:eventbus/<bus>; other products' "
            "queues and topics cannot be reached",
        )
    if not name:  # another account's bus is as little there as any other name
        raise no_bus(arn)
    found = get_bus(by, name)
    if found.id == bus.id:
        raise _ineffective("DeadLetterQueue.Arn", "the rule's own bus would match its dead letters again; name another")
    return found.id


def _made(
    by: Customer, bus: Bus, rule: Subscription, read: ReadTarget, known: Endpoint | None
) -> tuple[Target, Endpoint]:
    """Return a target and its endpoint; a replaced one keeps its identity, so what waits for it goes on."""
    options: dict[str, Any] = {"envelope": read.envelope}
    endpoint = Endpoint(
        id=known.id if known else by.new_id("ep_"),
        app_id=by.account.app_id,
        url=read.url,
        dialect=VIEW,
        created_at=known.created_at if known else by.now,
        name=f"{bus.name}/{rule.name}/{read.id}",
        keys=(Key(id=TOKEN_KEY, kind=KeyKind.TOKEN, secret=read.token),) if read.token else (),
        options=options if known is None else known.options | options,
        retry=read.retry,
        made_by=Maker.EVENTBRIDGE,
        max_in_flight=read.max_in_flight,
        body=read.body,
        dead_letter_bus=_dead_letter_bus(by, bus, read.dead_letter_arn) if read.dead_letter_arn else "",
        stops_when_dead=read.stops_when_dead,
    )
    if known is not None:  # what the operator set through the hub's own API and no target can say
        endpoint = replace(
            endpoint, public_url=known.public_url, ignore_gone=known.ignore_gone, lane_hold=known.lane_hold
        )
    return Target(endpoint_id=endpoint.id, id=read.id, wire=read.wire), endpoint


def _state(status: str) -> str:
    state = STATES.get(status or "ENABLE")
    if state is None:
        raise BridgeError("EventRuleStatusInvalid", "The event rule status is invalid! It is ENABLE or DISABLE.")
    return state


def _said(description: str) -> dict[str, Any]:
    return {"Description": description_of(description)} if description else {}


def _id_of(words: dict[str, Any]) -> str:
    return words.get("Id") or ""


def _no_target(identity: str, bus: Bus, rule: str) -> BridgeError:
    what = f"The event target [{identity[:128]}] of event rule [{rule}] on eventbus [{bus.name}] is not existed!"
    return BridgeError("EventTargetNotExist", what)


def _target_exists(identity: str, bus: Bus, rule: str) -> BridgeError:
    what = f"The event target [{identity}] of event rule [{rule}] on eventbus [{bus.name}] already existed!"
    return BridgeError("EventTargetAlreadyExist", what)


def _too_many_targets(count: int) -> BridgeError:
    what = f"The current count of event target is [{count}], which will exceed the limit quota [{TARGETS_MOST}]"
    return BridgeError("EventTargetCountExceedLimit", what)


def _ineffective(name: str, what: str) -> BridgeError:
    return BridgeError("EventTargetIneffectiveAttribute", f"The attribute [{name}] is ineffective: {what}.")
