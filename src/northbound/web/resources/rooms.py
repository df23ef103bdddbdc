"""Rooms as folded from the log, and their recordings."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from northbound.logic.suspect import suspect_since
from northbound.model.alarm import AlarmFilter, AlarmKind, AlarmPlace
from northbound.model.errors import InvalidInput
from northbound.model.room import Room
from northbound.ports import AlarmView, Position
from northbound.web.call import Answer, Call, not_found
from northbound.web.resources.showing import show_room
from northbound.web.shapes.events import RecordingQuery, RecordingShown, RoomDetail, RoomQuery, Suspect
from northbound.web.shapes.pages import NEWEST, Nothing, Page, page_of, read_cursor, write_cursor

PAST_SHOWN = 50
START: Position = (0, "", 0)
FIRST_ALARM: AlarmPlace = (NEWEST, 0, 0)


async def listed(call: Call[RoomQuery, Nothing]) -> Answer:
    """List rooms by key, each by its newest instance."""
    query = call.query
    after = read_cursor(query.cursor, str, "")
    ids = call.source_ids(query.source_id)
    found = await call.read(call.hub.rooms.rooms, ids, after, query.limit, is_open=query.open)
    suspects = await _suspects(call, found)
    items = [replace(show_room(key, room), suspect=suspects.get(key)) for key, room in found]
    return Answer(content=page_of(items, query.limit, items[-1].key if items else ""))


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show a room whole: who is in it, what is recorded, and its past instances."""
    key = call.path["key"]
    visible = call.source_ids()
    if visible is not None and key.partition("/")[0] not in visible:
        not_found("room", key)
    room = await call.read(call.hub.rooms.room, key)
    if room is None:
        not_found("room", key)
    past = await call.read(call.hub.rooms.past, key, PAST_SHOWN)
    suspects = await _suspects(call, [(key, room)])
    return Answer(content=RoomDetail(key=key, room=room, past=past, suspect=suspects.get(key)))


async def _suspects(call: Call[Any, Any], rooms: Sequence[tuple[str, Room]]) -> dict[str, Suspect]:
    """Return why rooms may be behind, by their keys (ruling 5)."""
    log, alarms = call.hub.log, call.hub.alarms

    def look() -> dict[str, Suspect]:
        missed = {one: _missed_at(alarms, one) for one in {room.source_id for _, room in rooms if room.open}}
        found: dict[str, Suspect] = {}
        for key, room in rooms:
            missed_at = missed.get(room.source_id)
            logged = log.at(room.offset) if missed_at is not None else None
            at = suspect_since(room, None if logged is None else logged.recorded_at, missed_at)
            if at is not None:
                found[key] = Suspect(reason=AlarmKind.OVER_BUDGET.value, at=at)
        return found

    return await call.read(look)


def _missed_at(alarms: AlarmView, source_id: str) -> datetime | None:
    newest = alarms.alarms(AlarmFilter(source_id=source_id, kind=AlarmKind.OVER_BUDGET), FIRST_ALARM, 1)
    return newest[0][1].last_at if newest else None


async def recordings(call: Call[RecordingQuery, Nothing]) -> Answer:
    """List recordings with their gaps and verdict, those of the newest instances first."""
    query = call.query
    after = _position(query.cursor)
    ids = call.source_ids(query.source_id)
    found = await call.read(call.hub.rooms.recordings, ids, after, query.limit)
    items = [
        RecordingShown(room_key=key, room_instance=room.instance, room_open=room.open, recording=recording)
        for _, key, room in found
        for recording in room.recordings.values()
    ]
    more = write_cursor(found[-1][0]) if len(found) >= query.limit else None
    return Answer(content=Page(items=items, next_cursor=more))


def _position(cursor: str | None) -> Position:
    position: Position = read_cursor(cursor, Position, START)
    if position[0] not in {0, 1} or not 0 <= position[2] <= NEWEST:
        raise InvalidInput("cursor is not one that this list gave; leave it out to start", field="cursor")
    return position
