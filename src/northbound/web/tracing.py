"""Put one event's way together from the log, the rules and the deliveries; every read is bounded."""

import asyncio
from collections.abc import Container, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from northbound.dialects import all_dialects, dialect_named
from northbound.dialects.base import Options, raw
from northbound.doors.bridge import RULES_MOST, rule_stem
from northbound.logic.customers import BUS_WIRE, bus_options
from northbound.logic.derive import Step
from northbound.logic.route import DEFAULT_BUS, NOTHING_SET, Said
from northbound.logic.trace import Outcome, changed_since, meet
from northbound.model.account import Account, Bus
from northbound.model.app import App, Source, Subscription
from northbound.model.delivery import Delivery, DeliveryState, View
from northbound.model.errors import NotFound
from northbound.model.history import HistoryQuery
from northbound.model.log import Logged, room_key
from northbound.model.room import Room
from northbound.model.wire import Response
from northbound.ports import AttemptRow
from northbound.web.call import Hub
from northbound.web.resources.showing import mask_words
from northbound.web.shapes.traces import Trace, TracedAttempt, TracedDelivery, TracedRule

RULES_READ = 500  # of the event's app; those that its deliveries name are always among the shown
RULES_SHOWN = 100
DELIVERIES_SHOWN = 20
BUSES_READ = 100  # of one account, which has 51 at most
FIRST = (Outcome.SENT, Outcome.GONE, Outcome.NOT_SENT)


async def trace_of(hub: Hub, logged: Logged) -> Trace:
    """Return an event's way through the hub so far."""
    source = source_of(hub, logged)
    buses = [] if source is None else buses_of(hub, source)
    found = await asyncio.to_thread(hub.deliveries.deliveries_of, logged, DELIVERIES_SHOWN + 1)
    deliveries = found[:DELIVERIES_SHOWN]
    attempts = {number: await asyncio.to_thread(hub.deliveries.attempts, number) for number, _ in deliveries}
    sent_by = {one.subscription_id: None for _, one in deliveries if one.subscription_id}
    rules, is_cut = _rules(hub, source, buses, sent_by)
    gone = sent_by.keys() - {rule.id for rule in rules}
    traced = [
        *(_gone(identity) for identity in sent_by if identity in gone),
        *await _met(hub, logged, rules, sent_by, _on_bus(hub, buses)),
    ]
    traced.sort(key=lambda one: one.outcome not in FIRST)
    receipts = await asyncio.to_thread(hub.log.receipts, logged)
    occurred = logged.event.occurred_at
    return Trace(
        event_id=logged.id,
        source_id=logged.source_id,
        bus_ids=[bus.id for bus in buses],
        occurred_at=occurred,
        received_at=logged.recorded_at,
        wire_ms=None if occurred is None else _ms(logged.recorded_at - occurred),
        proof=logged.proof,
        repeats=sum(number != logged.receipt_id for number, _ in receipts),
        conclusions=await asyncio.to_thread(hub.log.conclusions, logged),
        rules=traced[:RULES_SHOWN],
        deliveries=[_delivery(logged, number, one, attempts[number]) for number, one in deliveries],
        is_cut=is_cut or len(found) > DELIVERIES_SHOWN or len(traced) > RULES_SHOWN,
    )


def source_of(hub: Hub, logged: Logged) -> Source | None:
    """Return the source of an entry, None when it was deleted."""
    try:
        return hub.objects.get(Source, logged.source_id)[1]
    except NotFound:
        return None


def buses_of(hub: Hub, source: Source) -> list[Bus]:
    """Return the event bus that a source's events are on, if any: its own, or its account's default one (ruling 16)."""
    try:
        app = hub.objects.get(App, source.app_id)[1]
        account = hub.objects.get(Account, app.account_id)[1]
    except NotFound:
        return []
    buses = [bus for _, bus in hub.objects.find(Bus, app_id=account.id, limit=BUSES_READ)]
    own = [bus for bus in buses if source.id == bus.source_id or source.bus_id == bus.id]
    return own or [bus for bus in buses if bus.name == DEFAULT_BUS and account.meeting_push]


def searched(hub: Hub, event_id: str) -> Logged | None:
    """Return an event whose id does not tell its place in the log, such as a statistic's, once it is searchable."""
    hits = hub.history.search(HistoryQuery(event_id=event_id, limit=1))
    return hub.log.at(hits[0].offset) if hits else None


async def views_of(hub: Hub, logged: Logged, dialect: str, options: Options = NOTHING_SET) -> tuple[View, ...]:
    """Return an event in a dialect's words as they would be now; what the log alone cannot tell is the room's today."""
    return (await said_of(hub, logged)).in_dialect(dialect_named(dialect).name, options)


async def said_of(hub: Hub, logged: Logged) -> Said:
    """Return an event as routing would say it now."""
    key = room_key(logged.source_id, logged.event)
    known = await asyncio.to_thread(hub.rooms.room, key)
    room = known or Room(source_id=logged.source_id, id=logged.event.room_id or "", scope=logged.event.scope)
    source = source_of(hub, logged)
    app = None
    if source is not None:
        app = next(iter(hub.objects.find(App, app_id=source.app_id, limit=1)), (0, None))[1]
    app = app or App(id="deleted", name="deleted", created_at=logged.recorded_at)
    return Said(Step(key=key, logged=logged, before=room, after=room), app, all_dialects())


# --- rules -----------------------------------------------------------------------------------------------------------


def _rules(
    hub: Hub, source: Source | None, buses: Sequence[Bus], sent_by: Iterable[str]
) -> tuple[list[Subscription], bool]:
    """Return the rules that see a source's events, those that sent it among them, and whether there are more."""
    app_id = "" if source is None else source.app_id  # of a source that was deleted only those that sent are known
    rows = hub.objects.find(Subscription, app_id=app_id, limit=RULES_READ + 1) if app_id else []
    is_cut = len(rows) > RULES_READ
    for bus in buses:
        rows += hub.objects.find(Subscription, after=rule_stem(bus), limit=RULES_MOST)
    scopes = {"", *(bus.id for bus in buses)}
    found = {rule.id: rule for _, rule in rows if rule.bus_id in scopes and (rule.bus_id or rule.app_id == app_id)}
    for identity in sent_by:
        if identity not in found:
            try:
                found[identity] = hub.objects.get(Subscription, identity)[1]
            except NotFound:  # deleted since
                continue
    return list(found.values()), is_cut


def _on_bus(hub: Hub, buses: Sequence[Bus]) -> Options:
    """Return how what is on an account's buses is said, as routing does."""
    return bus_options(hub.objects.get(Account, buses[0].account_id)[1]) if buses else NOTHING_SET


async def _met(
    hub: Hub, logged: Logged, rules: Sequence[Subscription], sent_by: Container[str], on_bus: Options
) -> list[TracedRule]:
    said = await said_of(hub, logged)
    masked: dict[tuple[str, bool], dict[str, Any] | None] = {}
    traced: list[TracedRule] = []
    for rule in rules:
        how = (rule.view, bool(rule.bus_id) and rule.view == BUS_WIRE)
        if how not in masked:
            words = said.as_matched(rule.view, on_bus if how[1] else NOTHING_SET)
            masked[how] = msgspec.json.decode(mask_words(raw(words), rule.view)) if words else None
        met = meet(rule, logged, masked[how], is_sent=rule.id in sent_by)
        traced.append(
            TracedRule(
                subscription_id=rule.id,
                name=rule.name,
                bus_id=rule.bus_id or None,
                view=rule.view,
                outcome=met.outcome,
                changed_since=changed_since(rule, logged),
                findings=met.findings,
            )
        )
    return traced


def _gone(identity: str) -> TracedRule:
    return TracedRule(
        subscription_id=identity,
        name="",
        bus_id=None,
        view=None,
        outcome=Outcome.GONE,
        changed_since=True,
        findings=(),
    )


# --- deliveries ------------------------------------------------------------------------------------------------------


def _delivery(logged: Logged, number: int, delivery: Delivery, rows: Sequence[AttemptRow]) -> TracedDelivery:
    attempts: list[TracedAttempt] = []
    before = logged.recorded_at
    for row in rows:
        exchange = row.exchange
        attempts.append(
            TracedAttempt(
                number=row.number,
                started_at=exchange.started_at,
                waited_ms=max(0, _ms(exchange.started_at - before)),
                took_ms=exchange.duration_ms,
                status=exchange.outcome.status if isinstance(exchange.outcome, Response) else None,
                accepted=row.accepted,
                reason=row.reason,
            )
        )
        before = ended(row)
    return TracedDelivery(
        id=delivery.id,
        number=number,
        endpoint_id=delivery.endpoint_id,
        subscription_id=delivery.subscription_id,
        lane=delivery.lane,
        state=delivery.state,
        reason=delivery.reason,
        due_at=delivery.due_at if delivery.state is DeliveryState.WAITING else None,
        attempts=attempts,
        ended_ms=_ms(before - logged.recorded_at) if rows else None,
    )


def ended(row: AttemptRow) -> datetime:
    """Return when a try ended."""
    return row.exchange.started_at + timedelta(milliseconds=row.exchange.duration_ms)


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
