"""Daily statistics on SQLite: what a day is counted from, read as of one moment, and what was told."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw
import msgspec
from msgspec.structs import replace

from northbound.backends.sqlite.database import query
from northbound.backends.sqlite.reader import from_micros
from northbound.backends.sqlite.views import TimedReads
from northbound.logic.stats import staying
from northbound.model.room import DayStats
from northbound.model.statistic import DayBasis, Presence, Statistic


class _Stay(msgspec.Struct):
    joined_at: datetime


class _Present(msgspec.Struct):
    """As much of a room as tells who is there: its past and its recordings may be long."""

    participants: dict[str, _Stay] = {}


_ENCODE = msgspec.json.Encoder().encode
_STATISTIC = msgspec.json.Decoder(Statistic).decode
_PRESENT = msgspec.json.Decoder(_Present).decode
_DAY = ("meetings", "meeting_seconds", "participant_seconds", "joins", "members", "peak")


def add_statistic(cursor: apsw.Cursor, one: Statistic) -> None:
    """Write a statistic that is about to be told, within the caller's transaction; one that is there stays."""
    cursor.execute(query("deliveries.statistic_add"), (one.account_id, one.day, one.number, _ENCODE(one)))


def note_progress(cursor: apsw.Cursor, account_id: str, day: str, before: int) -> None:
    """Note the day up to which an account was told, and forget who came and went before a second."""
    cursor.execute(query("deliveries.statistic_progress_put"), (account_id, day))
    cursor.execute(query("deliveries.presence_trim"), (account_id, before))


def mark_stored(cursor: apsw.Cursor, one: Statistic) -> None:
    """Note that the log has a statistic."""
    cursor.execute(query("deliveries.statistic_stored"), (one.account_id, one.day, one.number))


def waiting_statistics(reader: apsw.Connection) -> list[Statistic]:
    """Return those that the log may not have yet, oldest day first."""
    rows: list[Any] = reader.execute(query("deliveries.statistics_waiting")).fetchall()
    return [_STATISTIC(body) for (body,) in rows]


class SqliteStatisticView:
    """Statistics as the stage and pages read them; callable from any thread."""

    def __init__(self, path: Path) -> None:
        self._reads = TimedReads(path)

    def basis(self, account_id: str, source_ids: Sequence[str], day: str, span: tuple[datetime, datetime]) -> DayBasis:
        """Return what a day is counted from; *span* is from its first instant to the one after it."""
        start, end = (int(one.timestamp()) for one in span)
        with self._reads.at_once() as rows:
            stats = rows("deliveries.day_get", account_id, day)
            later = rows("deliveries.presence_later", account_id, end)
            changes = rows("deliveries.presence_within", account_id, start, end)
            going = rows("deliveries.going", account_id, msgspec.json.encode(source_ids).decode())
            there = msgspec.json.encode(staying(_stays(state for _, _, state in going if state), span[1])).decode()
            uncounted = rows("deliveries.members_uncounted", account_id, day, there)
        return DayBasis(
            stats=DayStats(app_id=account_id, day=day, **dict(zip(_DAY, stats[0][:6], strict=True))) if stats else None,
            present=sum(present for _, present, _ in going),
            later=later[0][0],
            changes=tuple(Presence(second=row[0], delta=row[1], high=row[2]) for row in changes),
            running=tuple(from_micros(opened_at) for opened_at, _, _ in going if opened_at is not None),
            staying=uncounted[0][0],
        )

    def told(self, account_id: str, before: str, limit: int) -> list[Statistic]:
        """Return statistics of days before a day, the newest day first, of a day the newest telling first."""
        return [_told(row) for row in self._reads.rows("deliveries.statistics_of", account_id, before, limit)]

    def told_of(self, account_id: str, day: str) -> list[Statistic]:
        """Return each telling of a day, in order."""
        return [_told(row) for row in self._reads.rows("deliveries.statistics_of_day", account_id, day)]

    def progress(self, account_id: str) -> str:
        """Return the day up to which an account was told, empty at the beginning."""
        row = self._reads.row("deliveries.statistic_progress", account_id)
        return row[0] if row else ""

    def close(self) -> None:
        """Close the connections."""
        self._reads.close()


def _stays(states: Iterable[bytes]) -> Iterator[tuple[str, datetime]]:
    for state in states:
        for person, stay in _PRESENT(state).participants.items():
            yield person, stay.joined_at


def _told(row: Sequence[Any]) -> Statistic:
    return replace(_STATISTIC(row[0]), stored=bool(row[1]))
