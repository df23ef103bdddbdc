"""An account's daily statistic (ruling 15): what it is counted from, and what was told."""

from datetime import datetime

import msgspec

from northbound.model.account import Account
from northbound.model.event import Counts
from northbound.model.room import DayStats


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """An account whose days are counted: its apps' sources, and the source of its default bus, which tells."""

    account: Account
    source_id: str
    source_ids: tuple[str, ...]


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """How many came less how many went within a second (Unix), and the most it was meanwhile, from its begin."""

    second: int
    delta: int
    high: int


class DayBasis(msgspec.Struct, frozen=True, kw_only=True):
    """All that a day's statistic is counted from, as of one moment.

    `present` are the members present at that moment, `later` the net change of their number after the day, `changes`
    those within it, in order. `running` tells when each meeting that still goes on began. `stats` has the members whose
    stay began or ended by then; `staying` is how many others have been there since before the day's end, and still are.
    """

    stats: DayStats | None = None
    present: int = 0
    later: int = 0
    changes: tuple[Presence, ...] = ()
    running: tuple[datetime, ...] = ()
    staying: int = 0


class Statistic(msgspec.Struct, frozen=True, kw_only=True):
    """One day as it was told, or is being told while it is not `stored`; `number` is 0, of corrections 1, 2, ..."""

    account_id: str
    day: str  # YYYY-MM-DD in `time_zone`
    time_zone: str
    number: int
    source_id: str
    ends_at: datetime
    counts: Counts
    made_at: datetime
    stored: bool = False

    @property
    def event_id(self) -> str:
        """The id of its event, which follows from account and day, so that a day is told once."""
        return f"st_{self.account_id}_{self.day}" + (f"_{self.number}" if self.number else "")
