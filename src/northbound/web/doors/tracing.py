"""Events on a bus and their traces, for both of EventBridge's doors. All raise `BridgeError`.

An event is asked for by the id that its producer gave it, or by the hub's own id (`TraceId`), which is also what
other vendors' events on the default bus have. Reads are bounded; a page that is short may have a next one.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from northbound.dialects.base import to_ms
from northbound.doors.bridge import PAGE_MOST, VIEW, BridgeError
from northbound.doors.events import put_keys
from northbound.logic.customers import bus_options
from northbound.model.account import Bus
from northbound.model.app import App, Endpoint, Source, Subscription
from northbound.model.errors import NotFound
from northbound.model.history import HistoryQuery
from northbound.model.log import Logged
from northbound.ports import AttemptRow
from northbound.web.doors.buses import Listed, get_bus, sources_of
from northbound.web.doors.customer import Customer
from northbound.web.tracing import buses_of, ended, searched, source_of, views_of

SAME_ID: Final = 16  # events of one id on a bus, by different sources
IDS_MOST: Final = 16  # events asked for by id in one call
LOOKED_AT: Final = 500  # entries in search of one page
DELIVERIES_READ: Final = 5_000  # of one event: a bus has 250 targets, and its app endpoints of its own
OWN_IDS: Final = ("ev_", "st_")  # what the hub's own ids begin with: of what was logged, and of statistics
Words = dict[str, Any]


async def event_traces(by: Customer, bus_name: str, event_id: str) -> list[Words]:
    """Return the steps of an event on a bus: PutEvent, FilterEvent for each rule that sent it on, PushEvent a try."""
    bus = get_bus(by, bus_name)
    return [step for logged in await _by_id(by, bus, event_id) for step in await _steps(by, bus, logged)]


async def events_by_id(by: Customer, bus_name: str, event_id: str, event_source: str = "") -> list[Words]:
    """Return the events of an id on a bus as lists show them; one of *event_source* when it is given."""
    bus = get_bus(by, bus_name)
    shown = [_traced(bus, logged, await _words(by, logged)) for logged in await _by_id(by, bus, event_id)]
    return [one for one in shown if event_source in ("", one["EventSource"])]


async def events_whole(by: Customer, bus_name: str, ids: Sequence[str], event_source: str = "") -> dict[str, str]:
    """Return whole events on a bus by their ids, each as JSON text; ids that are not there are left out."""
    bus = get_bus(by, bus_name)
    if len(ids) > IDS_MOST:
        raise BridgeError("LimitSizeInvalid", f"Ask for at most {IDS_MOST} event ids at once.")
    found: dict[str, str] = {}
    for event_id in ids:
        for logged in await _by_id(by, bus, event_id):
            words = await _words(by, logged)
            if event_source in ("", words.get("source")):
                found.setdefault(event_id, msgspec.json.encode(words).decode())
    return found


async def events_between(
    by: Customer,
    bus_name: str,
    since: int,
    until: int,
    *,
    event_source: str = "",
    event_type: str = "",
    matched_rule: str = "",
    limit: int = PAGE_MOST,
    token: str = "",
) -> Listed[Words]:
    """Return a page of a bus's events between two times in Unix milliseconds, newest first."""
    bus = get_bus(by, bus_name)
    if not 1 <= limit <= PAGE_MOST:
        raise BridgeError("LimitSizeInvalid", f"The limit size of page is invalid, use 1 to {PAGE_MOST}.")
    wanted = HistoryQuery(
        source_ids=_sources(by, bus), since=_moment(since), until=_moment(until), before=_place(token), limit=PAGE_MOST
    )
    items: list[Words] = []
    last, looked = "", 0
    while len(items) < limit and looked < LOOKED_AT:
        hits = await asyncio.to_thread(by.hub.history.search, wanted)
        for hit in hits:
            if len(items) == limit:
                break
            last, looked = str(hit.offset), looked + 1
            logged = await asyncio.to_thread(by.hub.log.at, hit.offset)
            shown = None if logged is None else _traced(bus, logged, await _words(by, logged))
            if logged is None or shown is None or not _is_asked(shown, event_source, event_type):
                continue
            if matched_rule and matched_rule not in await _rule_names(by, logged):
                continue
            items.append(shown)
        else:
            if len(hits) < PAGE_MOST:
                last = ""
                break
            wanted = msgspec.structs.replace(wanted, before=hits[-1].offset)
    return Listed(items=tuple(items), next_token=last, total=len(items))


# --- finding ---------------------------------------------------------------------------------------------------------


async def _by_id(by: Customer, bus: Bus, event_id: str) -> list[Logged]:
    first, last = put_keys(event_id)
    found = await asyncio.to_thread(by.hub.log.keyed, bus.source_id, first, last, SAME_ID)
    if found or not event_id.startswith(OWN_IDS):
        return found
    own = await asyncio.to_thread(by.hub.log.find, event_id) or await asyncio.to_thread(searched, by.hub, event_id)
    source = None if own is None else source_of(by.hub, own)
    is_here = source is not None and any(one.id == bus.id for one in buses_of(by.hub, source))
    return [own] if own is not None and is_here else []


def _sources(by: Customer, bus: Bus) -> tuple[str, ...]:
    """Return the sources whose events are on a bus: its own, and its account's apps' on a default one pushed to."""
    sources = [bus.source_id, *(one.id for _, one in sources_of(by, bus))]
    for app in by.hub.every(App) if by.account.meeting_push else ():
        if app.account_id == by.account.id:
            owned = by.hub.every(Source, app.id)
            sources += [one.id for one in owned if any(on.id == bus.id for on in buses_of(by.hub, one))]
    return tuple(dict.fromkeys(sources))


async def _words(by: Customer, logged: Logged) -> Words:
    """Return an event as it is on the bus; of one that this wire has no word for, what the hub knows."""
    views = await views_of(by.hub, logged, VIEW, bus_options(by.account))
    if views:
        return msgspec.json.decode(views[0].words)
    return {"id": logged.id, "source": "", "type": logged.event.type.value}


def _is_asked(shown: Words, event_source: str, event_type: str) -> bool:
    return event_source in ("", shown["EventSource"]) and event_type in ("", shown["EventType"])


def _moment(milliseconds: int) -> datetime:
    if not 0 <= milliseconds < 253_402_300_800_000:
        raise BridgeError("TimeInvalid", "StartTime and EndTime are Unix times in milliseconds.", 400)
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _place(token: str) -> int | None:
    if not token:
        return None
    if not (token.isascii() and token.isdigit() and len(token) < 19):
        raise BridgeError("NextTokenInvalid", "The next token of page is invalid; send the one that was answered.")
    return int(token)


# --- saying ----------------------------------------------------------------------------------------------------------


def _traced(bus: Bus, logged: Logged, words: Words) -> Words:
    return {
        "EventId": words.get("id") or logged.id,
        "EventBusName": bus.name,
        "EventSource": words.get("source") or "",
        "EventType": words.get("type") or "",
        "EventReceivedTime": to_ms(logged.recorded_at),
    }


async def _steps(by: Customer, bus: Bus, logged: Logged) -> list[Words]:
    shown = _traced(bus, logged, await _words(by, logged))
    received = shown["EventReceivedTime"]
    common = {
        "EventId": shown["EventId"],
        "EventBusName": bus.name,
        "EventSource": shown["EventSource"],
        "ResourceOwnerId": by.account.id,
    }
    steps: list[Words] = [common | {"Action": "PutEvent", "ActionTime": received, "ReceivedTime": received}]
    told: set[str] = set()
    for number, delivery in await asyncio.to_thread(by.hub.deliveries.deliveries_of, logged, DELIVERIES_READ):
        rule = _rule(by, delivery.subscription_id)
        if rule is None or rule.bus_id != bus.id:
            continue
        if rule.id not in told:
            told.add(rule.id)
            matched = to_ms(delivery.created_at)
            filtered = {"Action": "FilterEvent", "ActionTime": matched, "RuleMatchingTime": str(matched)}
            steps.append(common | filtered | {"RuleName": rule.name})
        url = _url(by, delivery.endpoint_id)
        rows = await asyncio.to_thread(by.hub.deliveries.attempts, number)
        steps += [common | _push(row, rule.name, url) for row in rows]
    return steps


def _push(row: AttemptRow, rule: str, url: str) -> Words:
    return {
        "Action": "PushEvent",
        "ActionTime": to_ms(row.exchange.started_at),
        "RuleName": rule,
        "Endpoint": url,
        "NotifyTime": to_ms(ended(row)),
        "NotifyLatency": str(row.exchange.duration_ms),
        "NotifyStatus": "SUCCESS" if row.accepted else "FAILED",
    }


async def _rule_names(by: Customer, logged: Logged) -> set[str]:
    found = await asyncio.to_thread(by.hub.deliveries.deliveries_of, logged, DELIVERIES_READ)
    rules = (_rule(by, one.subscription_id) for _, one in found)
    return {rule.name for rule in rules if rule is not None}


def _rule(by: Customer, identity: str) -> Subscription | None:
    try:
        return by.hub.objects.get(Subscription, identity)[1]
    except NotFound:
        return None


def _url(by: Customer, identity: str) -> str:
    try:
        return by.hub.objects.get(Endpoint, identity)[1].url
    except NotFound:
        return ""
