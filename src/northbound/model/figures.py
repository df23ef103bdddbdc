"""Figures as pages show them: what was lost on the way to an endpoint, and what waits for it."""

from datetime import datetime

import msgspec


class LossCount(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint's wire could not carry (`lost`), got made up (`invented`) or has no word for (`no_word`)."""

    endpoint_id: str
    kind: str
    what: str
    event_type: str
    count: int


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for one endpoint."""

    endpoint_id: str
    waiting: int
    oldest_at: datetime
