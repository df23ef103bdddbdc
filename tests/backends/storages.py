"""The storages that the conformance laws are run against."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
from msgspec.structs import replace

from northbound.backends.memory import MemoryDeliveries, MemoryHistory, MemoryLog
from northbound.backends.sqlite.alarms import SqliteAlarmView
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.history import SqliteHistory
from northbound.backends.sqlite.log import SqliteLog
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.backends.sqlite.views import SqliteDeliveryReader
from northbound.model.alarm import Alarm, AlarmFilter
from northbound.model.room import DayStats
from northbound.testing.conformance import Stored


class MemoryStorage:
    """Memory outlives its processes: opening it again is the same objects."""

    def __init__(self, _: Path) -> None:
        self.log = self.reader = MemoryLog()
        self.store = MemoryDeliveries()
        self.history = MemoryHistory(self.log.head)

    def stored(self) -> Stored:
        return Stored(
            receipts=len(self.log.receipts),
            repeats=sum(map(len, self.log.repeats.values())),
            quarantined=tuple(one.code for one in self.log.refused),
        )

    def alarms(self) -> list[Alarm]:
        return sorted([*self.store.alarms, *self.log.alarms], key=lambda one: one.first_at, reverse=True)

    def day(self, app_id: str, day: str) -> DayStats | None:
        return self.store.day(app_id, day)

    def erase(self, offset: int) -> None:
        self.log.erase(offset)

    def another_store(self) -> MemoryDeliveries:
        return MemoryDeliveries()

    def reopen(self) -> None:
        return

    def close(self) -> None:
        return


class SqliteStorage:
    """The files of one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._others: list[SqliteDeliveries] = []
        self._open()

    def _open(self) -> None:
        self.log = SqliteLog(self.folder / "events.db")
        self.reader = SqliteLogReader(self.folder / "events.db")
        self.store = SqliteDeliveries(self.folder / "deliveries.db")
        self.history = SqliteHistory(self.folder / "index.db", self.reader.head)

    def stored(self) -> Stored:
        def rows(statement: str) -> list[Any]:
            connection = apsw.Connection(str(self.folder / "events.db"))
            try:
                return connection.execute(statement).fetchall()
            finally:
                connection.close()

        return Stored(
            receipts=rows("SELECT count(*) FROM receipts")[0][0],
            repeats=rows("SELECT count(*) FROM repeats")[0][0],
            quarantined=tuple(row[0] for row in rows("SELECT code FROM quarantine ORDER BY id")),
        )

    def alarms(self) -> list[Alarm]:
        view = SqliteAlarmView(self.folder / "deliveries.db", self.folder / "events.db")
        try:
            return [replace(one, id="") for _, one in view.alarms(AlarmFilter(), (2**62, 9, 0), 1000)]
        finally:
            view.close()

    def day(self, app_id: str, day: str) -> DayStats | None:
        reader = SqliteDeliveryReader(self.folder / "deliveries.db")
        try:
            return reader.day(app_id, day)
        finally:
            reader.close()

    def erase(self, offset: int) -> None:
        connection = apsw.Connection(str(self.folder / "events.db"))
        connection.set_busy_timeout(5000)
        connection.execute("UPDATE log SET event = NULL, salt = NULL WHERE offset = ?", (offset,))
        connection.close()

    def another_store(self) -> SqliteDeliveries:
        self._others.append(SqliteDeliveries(self.folder / f"again{len(self._others)}.db"))
        return self._others[-1]

    def reopen(self) -> None:
        self._close()
        self._open()

    def close(self) -> None:
        self._close()
        for one in self._others:
            one.close()

    def _close(self) -> None:
        for one in (self.log, self.reader, self.store, self.history):
            one.close()


STORAGES: dict[str, Callable[[Path], MemoryStorage | SqliteStorage]] = {
    "memory": MemoryStorage,
    "sqlite": SqliteStorage,
}
