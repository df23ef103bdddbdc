"""What the API shows of alarms."""

from datetime import datetime

import msgspec

from northbound.model.alarm import AlarmKind
from northbound.web.shapes.pages import Paging
from northbound.web.shapes.setup import Identity, Moment


class AlarmQuery(Paging, frozen=True, kw_only=True):
    """Which alarms; `since`: those raised, or raised again, at that time or later."""

    app_id: Identity | None = None
    source_id: Identity | None = None
    endpoint_id: Identity | None = None
    kind: AlarmKind | None = None
    since: Moment | None = None


class AlarmShown(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm: raised `count` times between `first_at` and `last_at`; `en` and `zh` say it in a sentence."""

    id: str
    kind: AlarmKind
    app_id: str | None
    source_id: str | None
    endpoint_id: str | None
    room_id: str | None
    what: str | None
    en: str
    zh: str
    first_at: datetime
    last_at: datetime
    count: int
    is_over: bool
