"""What a search of the past asks for and finds."""

from datetime import datetime

import msgspec

from northbound.model.log import Origin


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; None asks for no such limit. `text` is searched for in names, ids and the vendor's words.

    An event's time, for `since` and `until`, is the vendor's where the wire carries one, else the time of receipt.
    """

    source_ids: tuple[str, ...] | None = None
    type: str | None = None
    room_id: str | None = None
    room_key: str | None = None  # one room, where the same id exists in several sources or scopes
    participant_id: str | None = None
    event_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    before: int | None = None  # only entries below this log offset
    limit: int = 50


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one line of a list says of an event beyond its type, room and person."""

    room_name: str | None = None
    name: str | None = None
    role: str | None = None
    terminal: str | None = None
    reason: str | None = None
    operation: str | None = None
    media: tuple[str, ...] = ()
    peer_id: str | None = None
    track_id: str | None = None
    recording_id: str | None = None
    status: str | None = None
    progress: float | None = None
    fault: str | None = None
    files: int = 0
    server_id: str | None = None


class HistoryHit(msgspec.Struct, frozen=True, kw_only=True):
    """One event found, as a list shows it; the whole of it is in the log at `offset`."""

    offset: int
    event_id: str
    type: str
    dialect: str
    origin: Origin
    source_id: str
    room_key: str
    recorded_at: datetime
    room_id: str | None = None
    participant_id: str | None = None
    occurred_at: datetime | None = None
    summary: Summary = Summary()


class SessionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which openings of rooms: begun on a day in UTC, oldest first or newest first; None asks for no such limit."""

    app_ids: tuple[str, ...]
    day: datetime
    room_id: str | None = None
    participant_id: str | None = None
    ascending: bool = False
