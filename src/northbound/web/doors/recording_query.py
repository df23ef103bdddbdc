"""The recording query: how a recording stands, by sid or channel, from the projection (seed 003, 状态码)."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from northbound.doors import anyrtc
from northbound.model.app import Source
from northbound.model.errors import InvalidInput
from northbound.model.history import HistoryQuery
from northbound.model.room import Recording, Room
from northbound.web.call import Answer, Call, not_found
from northbound.web.shapes.notices import RecordingAnswer, RecordingQuestion
from northbound.web.shapes.pages import Nothing

HITS: Final = 200  # events looked at to find the rooms that a name stands for
NEVER: Final = datetime.min.replace(tzinfo=UTC)
PAST: Final = 50  # instances of a room looked at


async def recording(call: Call[RecordingQuestion, Nothing]) -> Answer:
    """Tell how a recording stands; a channel without one has status 0, an unknown sid or channel is not found."""
    sid, cname = call.query.sid, call.query.cname
    if (sid is None) == (cname is None):
        raise InvalidInput("name one: sid, or cname for the newest recording of a channel", field="sid")
    found = [(key, one) for key in await _room_keys(call) for one in await _instances(call, key)]
    if not found:
        not_found("recording" if sid else "channel", sid or cname or "")
    chosen = _newest(found, sid)
    if chosen is None and sid is not None:
        not_found("recording", sid)
    key, room = (chosen[0], chosen[1]) if chosen else found[0]
    return Answer(content=_answer(key, room, chosen[2] if chosen else None))


async def _room_keys(call: Call[RecordingQuestion, Nothing]) -> list[str]:
    """Return the keys of rooms in which the name occurs, those of the newest events first."""
    query = call.query
    app_id = call.app_filter(query.app_id)
    sources = call.source_ids() if app_id is None else tuple(one.id for one in call.hub.every(Source, app_id))
    wanted = HistoryQuery(source_ids=sources, room_id=query.cname, text=query.sid, limit=HITS)
    hits = await call.read(call.hub.history.search, wanted)
    return list(dict.fromkeys(hit.room_key for hit in hits if query.sid in (None, hit.summary.recording_id)))


async def _instances(call: Call[RecordingQuestion, Nothing], key: str) -> list[Room]:
    newest = await call.read(call.hub.rooms.room, key)
    past = await call.read(call.hub.rooms.past, key, PAST)
    return ([] if newest is None else [newest]) + past


def _newest(rooms: Iterable[tuple[str, Room]], sid: str | None) -> tuple[str, Room, Recording] | None:
    found = [
        (key, room, one) for key, room in rooms for one in room.recordings.values() if sid is None or one.id == sid
    ]
    return max(found, key=lambda one: one[2].started_at or NEVER, default=None)


def _answer(key: str, room: Room, one: Recording | None) -> RecordingAnswer:
    status, name = anyrtc.status_of(one)
    return RecordingAnswer(
        sid=None if one is None else one.id,
        cname=room.id,
        room_key=key,
        status=status,
        status_name=name,
        sequence=anyrtc.last_sequence(one),
        missing_sequences=[] if one is None else list(one.gaps),
        files=[] if one is None else list(one.files),
        faults=[] if one is None else list(one.faults),
        progress=None if one is None else one.progress,
        started_at=None if one is None else one.started_at,
        stopped_at=None if one is None else one.stopped_at,
        verdict=None if one is None else one.verdict,
    )
