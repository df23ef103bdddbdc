"""Alarms on SQLite: each process's in the database that it writes, all of them for pages."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw
import msgspec

from northbound.backends.sqlite.database import query
from northbound.backends.sqlite.reader import from_micros, micros
from northbound.backends.sqlite.views import TimedReads
from northbound.model.alarm import CONDITIONS, KEPT, ROWS_A_WINDOW, WINDOW, Alarm, AlarmFilter, AlarmKind, AlarmPlace

_ENCODE = msgspec.json.Encoder().encode
_FACTS = msgspec.json.Decoder(dict[str, str]).decode
OF_DELIVERIES, OF_EVENTS = "d", "e"  # tell the database in an alarm's id
_LETTERS = (OF_DELIVERIES, OF_EVENTS)  # by rank


def store_alarms(cursor: apsw.Cursor, alarms: Sequence[Alarm]) -> None:
    """Count, end or add each of *alarms*, within the caller's transaction."""
    for one in alarms:
        if _counted(cursor, one) or not one.count:
            continue
        since = micros(one.first_at - WINDOW)
        begun: Any = cursor.execute(query("alarms.begun"), (*_object(one), since)).fetchone()
        told = one if begun[0] < ROWS_A_WINDOW else one.blurred()
        if told is one or not _counted(cursor, told):
            _add(cursor, told)


def untold_alarms(cursor: apsw.Cursor, since: datetime, limit: int, letter: str) -> list[Alarm]:
    """Return alarms that the second channel does not have, oldest first."""
    rows: list[Any] = cursor.execute(query("alarms.untold"), (micros(since), limit)).fetchall()
    return [alarm_of(row, letter) for row in rows]


def mark_told(cursor: apsw.Cursor, ids: Sequence[str]) -> None:
    """Note that the second channel has the alarms with these ids, within the caller's transaction."""
    for identity in ids:
        cursor.execute(query("alarms.told"), (int(identity[len("al_d") :]),))


def _counted(cursor: apsw.Cursor, one: Alarm) -> bool:
    """Count (or end) the alarm that *one* repeats; tell whether there was any."""
    since = -1 if one.kind in CONDITIONS or one.is_over else micros(one.first_at - WINDOW)
    values = (*_object(one), one.app_id, one.room_id, one.what, since)
    known: Any = cursor.execute(query("alarms.open_get"), values).fetchone()
    if known is None:
        return False
    facts = _ENCODE(one.facts) if one.facts else known[1]
    cursor.execute(query("alarms.again"), (known[0], micros(one.last_at), one.count, facts, _ended(one)))
    return True


def _add(cursor: apsw.Cursor, one: Alarm) -> None:
    times = (micros(one.first_at), micros(one.last_at))
    about = (*_object(one), one.app_id, one.room_id, one.what)
    cursor.execute(query("alarms.add"), (*about, _ENCODE(one.facts), *times, one.count, _ended(one)))
    cursor.execute(query("alarms.trim"), (*_object(one), KEPT))


def _object(one: Alarm) -> tuple[str, str | None, str | None]:
    return (one.kind.value, one.source_id, one.endpoint_id)


def _ended(one: Alarm) -> int | None:
    return micros(one.last_at) if one.is_over else None


def alarm_of(row: Sequence[Any], letter: str) -> Alarm:
    """Return an alarm from its row; *letter* tells its database in its id."""
    return Alarm(
        id=f"al_{letter}{row[0]}",
        kind=AlarmKind(row[1]),
        source_id=row[2],
        endpoint_id=row[3],
        app_id=row[4],
        room_id=row[5],
        what=row[6],
        facts=_FACTS(row[7]),
        first_at=from_micros(row[8]),
        last_at=from_micros(row[9]),
        count=row[10],
        is_over=row[11] is not None,
    )


class SqliteAlarmView:
    """The alarms of both databases for pages, in one order."""

    def __init__(self, deliveries: Path, events: Path) -> None:
        self._reads = (TimedReads(deliveries), TimedReads(events))

    def alarms(self, wanted: AlarmFilter, before: AlarmPlace, limit: int) -> list[tuple[AlarmPlace, Alarm]]:
        """Return (place, alarm) below a place, the one that began last first."""
        moment, rank, row_id = before
        kind = None if wanted.kind is None else wanted.kind.value
        since = None if wanted.since is None else micros(wanted.since)
        limits = (wanted.app_id, wanted.source_id, wanted.endpoint_id, kind, since, limit)
        found: list[tuple[AlarmPlace, Alarm]] = []
        for place, (reads, letter) in enumerate(zip(self._reads, _LETTERS, strict=True)):
            # Alarms that began at the same moment: those of a lower rank come after those of a higher one.
            first_id = row_id if place == rank else 2**62 if place < rank else 0
            rows = reads.rows("alarms.list", moment, first_id, *limits)
            found += [((row[8], place, row[0]), alarm_of(row, letter)) for row in rows]
        return sorted(found, key=lambda one: one[0], reverse=True)[:limit]

    def close(self) -> None:
        """Close the connections."""
        for reads in self._reads:
            reads.close()
