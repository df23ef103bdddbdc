"""Alarms: what somebody must hear of, from all processes in one list."""

from datetime import datetime

from northbound.model.alarm import Alarm, AlarmFilter, AlarmPlace
from northbound.model.errors import InvalidInput
from northbound.web.call import Answer, Call
from northbound.web.shapes.alarms import AlarmQuery, AlarmShown
from northbound.web.shapes.pages import NEWEST, Nothing, page_of, read_cursor

_FIRST: AlarmPlace = (NEWEST, 0, 0)


async def listed(call: Call[AlarmQuery, Nothing]) -> Answer:
    """List alarms, the one that began last first."""
    query = call.query
    before = read_cursor(query.cursor, AlarmPlace, _FIRST)
    if not all(0 <= number <= NEWEST for number in before):
        raise InvalidInput("cursor is not one that this list gave; leave it out to start", field="cursor")
    if query.source_id is not None:
        call.source_ids(query.source_id)  # not found, where it is not the caller's
    if query.endpoint_id is not None:
        call.endpoint_ids(query.endpoint_id)
    wanted = AlarmFilter(
        app_id=call.app_filter(query.app_id),
        source_id=query.source_id,
        endpoint_id=query.endpoint_id,
        kind=query.kind,
        since=query.since,
    )
    found = await call.read(call.hub.alarms.alarms, wanted, before, query.limit)
    now = call.hub.clock.now()
    return Answer(content=page_of([_shown(one, now) for _, one in found], query.limit, found[-1][0] if found else 0))


def _shown(one: Alarm, now: datetime) -> AlarmShown:
    return AlarmShown(
        id=one.id,
        kind=one.kind,
        app_id=one.app_id,
        source_id=one.source_id,
        endpoint_id=one.endpoint_id,
        room_id=one.room_id,
        what=one.what,
        en=one.en,
        zh=one.zh,
        first_at=one.first_at,
        last_at=one.last_at,
        count=one.count,
        is_over=one.over_at(now),
    )
