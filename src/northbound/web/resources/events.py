"""The log: events found, shown, said in other words, streamed; and what did not get into it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from northbound.dialects import dialect_named
from northbound.model.app import Source
from northbound.model.errors import InvalidInput, Overloaded
from northbound.model.event import EventType
from northbound.model.history import HistoryQuery
from northbound.model.log import Logged
from northbound.web.call import Answer, Call, Hub, not_found
from northbound.web.resources.showing import mask_words, show_delivery, show_event, show_receipt, show_request
from northbound.web.shapes.events import (
    EventDetail,
    EventQuery,
    QuarantineQuery,
    QuarantineShown,
    StreamQuery,
    Translation,
    ViewShown,
)
from northbound.web.shapes.pages import NEWEST, Nothing, Page, page_of, read_number, write_cursor
from northbound.web.tracing import searched, source_of, views_of

STREAM_POLL = 0.2  # seconds between looks at the log
STREAM_BATCH = 200
HEARTBEAT = 15.0  # seconds of silence before a comment keeps proxies from closing
DELIVERIES_SHOWN = 50
QUARANTINE_BODY = 16 * 1024


async def listed(call: Call[EventQuery, Nothing]) -> Answer:
    """Find events, newest first."""
    query = call.query
    wanted = HistoryQuery(
        source_ids=call.source_ids(query.source_id),
        type=query.type,
        room_key=query.room_key,
        room_id=query.room_id,
        participant_id=query.participant_id,
        since=query.since,
        until=query.until,
        text=query.q,
        before=None if query.cursor is None else read_number(query.cursor, NEWEST),
        limit=query.limit,
    )
    hits = await call.read(call.hub.history.search, wanted)
    found = await call.read(lambda: [call.hub.log.at(hit.offset) for hit in hits])
    items = [show_event(logged) for logged in found if logged is not None]
    more = write_cursor(hits[-1].offset) if len(hits) >= query.limit else None
    return Answer(content=Page(items=items, next_cursor=more))


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show an event: the request that brought it, its repeats, what followed, where it went."""
    logged = await own_event(call, call.path["id"])
    hub = call.hub
    source = source_of(hub, logged)
    dialect = source.dialect if source is not None else None
    receipts = await call.read(hub.log.receipts, logged)
    first = [one for one in receipts if one[0] == logged.receipt_id]
    detail = EventDetail(
        event=show_event(logged),
        receipt=show_receipt(*first[0], dialect) if first else None,
        repeats=[show_receipt(*one, dialect) for one in receipts if one[0] != logged.receipt_id],
        conclusions=await call.read(hub.log.conclusions, logged),
        deliveries=[
            show_delivery(*one) for one in await call.read(hub.deliveries.deliveries_of, logged, DELIVERIES_SHOWN)
        ],
    )
    return Answer(content=detail)


async def translated(call: Call[Nothing, Nothing]) -> Answer:
    """Say an event in a dialect's words, with what that loses and invents."""
    logged = await own_event(call, call.path["id"])
    dialect = dialect_named(call.path["dialect"])
    views = await views_of(call.hub, logged, dialect.name)
    content = Translation(
        event_id=logged.id,
        dialect=dialect.name,
        views=[
            ViewShown(
                kind=dialect.kind(view.words),
                words=mask_words(view.words, dialect.name),
                lost=list(view.lost),
                invented=list(view.invented),
            )
            for view in views
        ],
    )
    return Answer(content=content)


async def stream(call: Call[StreamQuery, Nothing]) -> Answer:
    """Send each new event as it is logged, as server-sent events; `after` or Last-Event-ID starts earlier."""
    types = _types(call.query.types)
    call.source_ids(call.query.source_id)
    if call.hub.streams.locked():
        raise Overloaded("too many streams are open; close one")
    start = _resume(call.query.after, call.last_event_id)
    if start is None:
        start = await call.read(call.hub.log.head)
    headers = (("cache-control", "no-store"), ("x-accel-buffering", "no"))
    return Answer(stream=_stream(call, start, types), media_type="text/event-stream", headers=headers)


def _resume(after: int | None, last_event_id: str | None) -> int | None:
    """Return the offset to go on after: where a reconnecting client was, else what it asked for."""
    text = last_event_id or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else after


async def _stream(call: Call[StreamQuery, Nothing], after: int, types: frozenset[str]) -> AsyncIterator[bytes]:
    hub = call.hub
    async with hub.streams:
        yield b": northbound\n\n"
        silent_since = hub.clock.monotonic()
        while not hub.closing.is_set():
            entries = await call.read(hub.log.read, after, STREAM_BATCH)
            visible = call.source_ids(call.query.source_id) if entries else None
            for logged in entries:
                after = logged.offset
                if _is_wanted(logged, types, visible):
                    yield _message(logged)
                    silent_since = hub.clock.monotonic()
            if hub.clock.monotonic() - silent_since > HEARTBEAT:
                yield b": still here\n\n"
                silent_since = hub.clock.monotonic()
            if len(entries) < STREAM_BATCH:
                await _pause(hub)


async def _pause(hub: Hub) -> None:
    try:
        async with asyncio.timeout(STREAM_POLL):
            await hub.closing.wait()
    except TimeoutError:
        return


def _is_wanted(logged: Logged, types: frozenset[str], visible: tuple[str, ...] | None) -> bool:
    if types and logged.event.type.value not in types:
        return False
    return visible is None or logged.source_id in visible


def _message(logged: Logged) -> bytes:
    content = msgspec.json.encode(show_event(logged))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (logged.offset, logged.event.type.value.encode(), content)


def _types(text: str | None) -> frozenset[str]:
    types = frozenset(part.strip() for part in (text or "").split(",") if part.strip())
    known = {kind.value for kind in EventType}
    unknown = sorted(types - known)
    if unknown:
        raise InvalidInput(f"there is no event type {unknown[0]!r}", field="types")
    return types


async def own_event(call: Call[Any, Any], event_id: str) -> Logged:
    """Return an event that the caller may see."""
    logged = await call.read(call.hub.log.find, event_id) or await call.read(searched, call.hub, event_id)
    if logged is None:
        not_found("event", event_id)
    source = source_of(call.hub, logged)
    if not call.may_see(source.app_id if source is not None else None):
        not_found("event", event_id)
    return logged


async def quarantined(call: Call[QuarantineQuery, Nothing]) -> Answer:
    """List requests that did not get into the log, newest first."""
    query = call.query
    before = read_number(query.cursor, NEWEST)
    ids = call.source_ids(query.source_id)
    found = await call.read(call.hub.log.quarantined, ids, before, query.limit)
    dialects = {one.id: one.dialect for one in call.hub.every(Source, call.key.app_id)}
    items = [
        QuarantineShown(
            id=one.id,
            source_id=one.receipt.source_id,
            received_at=one.receipt.received_at,
            proof=one.receipt.proof,
            code=one.code,
            message=one.message,
            request=show_request(one.receipt.request, dialects.get(one.receipt.source_id), QUARANTINE_BODY),
        )
        for one in found
    ]
    return Answer(content=page_of(items, query.limit, items[-1].id if items else 0))
