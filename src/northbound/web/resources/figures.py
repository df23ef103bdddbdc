"""Figures: the hub at a glance, and an app's day."""

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from northbound.logic.project import OURS
from northbound.logic.stats import counts_of_source, day_end, day_of, disputes, staying, told_span, with_open_rooms
from northbound.model.app import App, Endpoint, Source
from northbound.model.errors import InvalidInput, StoreFailed
from northbound.model.event import Counts, EventType
from northbound.model.history import HistoryHit, HistoryQuery
from northbound.model.room import DayStats, Room
from northbound.web.call import Answer, Call
from northbound.web.shapes.deliveries import (
    DayFigures,
    DayQuery,
    EndpointFigures,
    Figures,
    SourceFigures,
    Statistic,
)
from northbound.web.shapes.pages import Nothing

ROOMS_COUNTED = 10_000  # open rooms whose running time is added to a day
PAGE = 500
YEARS = range(2000, 2100)  # what a running clock can show
TOLD_SHOWN = 100  # vendors' statistics of one day; of a source's the newest is compared


async def stats(call: Call[Nothing, Nothing]) -> Answer:
    """Show what came in, what went out, what waits and what is lost."""
    hub, unavailable = call.hub, list[str]()
    received = await _counts(call, "intake", unavailable)
    sent = await _counts(call, "delivery", unavailable)
    sources = call.source_ids()
    head = None if sources is not None else await call.read(hub.log.head) + 1  # counts every app's events
    content = Figures(
        events=head,
        rooms_open=await call.read(hub.figures.open_rooms, sources),
        index_lag=await call.read(hub.history.lag),
        sources=_sources(call, received),
        endpoints=await _endpoints(call, sent),
        unavailable=unavailable,
    )
    return Answer(content=content)


async def _counts(call: Call[Any, Any], process: str, unavailable: list[str]) -> list[list[Any]]:
    try:
        return await call.hub.ask(process, "counts")
    except StoreFailed:
        unavailable.append(process)
        return []


def _sources(call: Call[Any, Any], received: list[list[Any]]) -> list[SourceFigures]:
    results: dict[str, dict[str, int]] = {one.id: {} for one in call.hub.every(Source, call.key.app_id)}
    for source_id, result, count in received:
        if source_id in results:
            results[source_id][result] = count
    return [SourceFigures(source_id=name, results=counts) for name, counts in results.items()]


async def _endpoints(call: Call[Any, Any], sent: list[list[Any]]) -> list[EndpointFigures]:
    figures = call.hub.figures
    endpoints = list(call.hub.every(Endpoint, call.key.app_id))
    waiting = {one.endpoint_id: one for one in await call.read(figures.backlog)}
    dead = await call.read(figures.dead_letters)
    losses = await call.read(figures.losses, [one.id for one in endpoints])
    counts = {(endpoint_id, result): count for endpoint_id, _, result, count in sent}
    return [
        EndpointFigures(
            endpoint_id=one.id,
            dialect=one.dialect,
            delivered=counts.get((one.id, "accepted"), 0),
            failed=counts.get((one.id, "retry"), 0),
            dead=counts.get((one.id, "dead"), 0),
            backlog=waiting[one.id].waiting if one.id in waiting else 0,
            oldest_waiting_at=waiting[one.id].oldest_at if one.id in waiting else None,
            dead_letters=dead.get(one.id, 0),
            losses=[loss for loss in losses if loss.endpoint_id == one.id],
        )
        for one in endpoints
    ]


async def day(call: Call[DayQuery, Nothing]) -> Answer:
    """Show one app's day in its zone; what goes on is counted up to now."""
    app_id = call.query.app_id or call.key.app_id
    if app_id is None:
        raise InvalidInput("say which app", field="app_id")
    _, app = call.own(App, app_id)
    zone, now = ZoneInfo(app.time_zone), call.hub.clock.now()
    name = call.query.day or day_of(now, zone)
    _check_day(name)
    stored = await call.read(call.hub.figures.day, app.id, name) or DayStats(app_id=app.id, day=name)
    rooms = await _open_rooms(call, app) if _may_go_on(name, now, zone) else []
    there = staying(
        ((who.id, who.joined_at) for one in rooms for who in one.participants.values()), day_end(name, zone)
    )
    others = await call.read(call.hub.figures.uncounted, app.id, name, there)
    stored = replace(stored, members=stored.members + others)
    figures = with_open_rooms(stored, rooms, now, zone)
    held = await call.read(call.hub.figures.day_rooms, app.id, name)
    told = await _told(call, app, told_span(name, zone))
    content = DayFigures(
        app_id=app.id,
        day=name,
        time_zone=app.time_zone,
        meetings=figures.meetings,
        meeting_seconds=figures.meeting_seconds,
        participant_seconds=figures.participant_seconds,
        joins=figures.joins,
        members=figures.members,
        peak=figures.peak,
        rooms=held,
        statistics=[
            _compared(one, counts_of_source(one.source_id, stored, held, rooms, now, zone), counts)
            for one, counts in told
        ],
    )
    return Answer(content=content)


async def _told(call: Call[Any, Any], app: App, span: tuple[datetime, datetime]) -> list[tuple[HistoryHit, Counts]]:
    """Return what vendors told in *span* of their day, of each source the newest."""
    wanted = HistoryQuery(
        source_ids=tuple(one.id for one in call.hub.every(Source, app.id)),
        type=EventType.STATS_DAILY.value,
        since=span[0],
        until=span[1],
        limit=TOLD_SHOWN,
    )
    found = await call.read(call.hub.history.search, wanted)
    newest = {hit.source_id: hit for hit in reversed(found) if hit.dialect != OURS}  # our own is no vendor's
    entries = [(hit, await call.read(call.hub.log.at, hit.offset)) for hit in newest.values()]
    return [(hit, entry.event.facts.counts) for hit, entry in entries if entry and entry.event.facts.counts]


def _compared(told: HistoryHit, ours: Counts, theirs: Counts) -> Statistic:
    return Statistic(
        source_id=told.source_id,
        event_id=told.event_id,
        told_at=told.occurred_at or told.recorded_at,
        theirs=theirs,
        ours=ours,
        disputes=list(disputes(ours, theirs)),
    )


def _check_day(name: str) -> None:
    try:
        known = date.fromisoformat(name).year in YEARS
    except ValueError:
        known = False
    if not known:
        raise InvalidInput(f"day is a calendar day, YYYY-MM-DD, from {YEARS[0]} to {YEARS[-1]}", field="day")


def _may_go_on(name: str, now: datetime, zone: ZoneInfo) -> bool:
    return name <= day_of(now, zone)


async def _open_rooms(call: Call[Any, Any], app: App) -> list[Room]:
    ids = tuple(one.id for one in call.hub.every(Source, app.id))
    rooms: list[Room] = []
    after = ""
    while len(rooms) < ROOMS_COUNTED:
        found = await call.read(call.hub.rooms.rooms, ids, after, PAGE, is_open=True)
        if not found:
            break
        rooms += [room for _, room in found]
        after = found[-1][0]
    return rooms
