"""Rooms and deliveries on SQLite: the cursor moves in the transaction that stores what it led to (law 3).

What follows the log and what was sent may be written in a thread, so that the loop goes on while the disk works; reads
have a connection of their own.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from northbound.backends.sqlite.alarms import OF_DELIVERIES, mark_told, store_alarms, untold_alarms
from northbound.backends.sqlite.checkpoint import Checkpointer
from northbound.backends.sqlite.database import open_reader, open_writer, query
from northbound.backends.sqlite.many import execute_rows
from northbound.backends.sqlite.reader import from_micros, micros
from northbound.backends.sqlite.rows import (
    Row,
    Sums,
    attempt_row,
    delivery_of,
    delivery_rows,
    loss_rows,
    memory_rows,
    not_folded_of,
    not_folded_rows,
    past_rows,
    room_rows,
    settled_row,
    stop_of,
    stop_row,
    write_health,
)
from northbound.backends.sqlite.statistics import add_statistic, mark_stored, note_progress, waiting_statistics
from northbound.model.alarm import Alarm
from northbound.model.delivery import NO_CHANGE, Attempt, Delivery, HealthChange, Lane, NextStep, Stop
from northbound.model.errors import StoreFailed
from northbound.model.log import NOT_FOLDED_KEPT, NotFolded
from northbound.model.room import Memory, Room
from northbound.model.statistic import Statistic
from northbound.ports import Folded, Waiting

TRIMMED = 2_000  # tries forgotten in one transaction: nothing else is stored meanwhile
MEMORIES_CACHED = 20_000  # sessions of media servers whose connections are kept in memory
ROOMS_CACHED = 100_000  # rooms, and people they know or remember, kept in memory: some 50 MB; others are read again
Outcome = tuple[int, Attempt | None, NextStep, Lane, int]
_ENCODE = msgspec.json.Encoder().encode
_ROOM = msgspec.json.Decoder(Room).decode
_MEMORY = msgspec.json.Decoder(Memory).decode


class SqliteDeliveries:
    """The one writer of deliveries.db."""

    def __init__(self, path: Path) -> None:
        self._db = open_writer(path, "deliveries")
        self._cursor = self._db.cursor()
        self._turn = threading.Lock()  # one transaction at a time
        self._thread = ThreadPoolExecutor(1, "deliveries-writer")
        self._reader = open_reader(path)
        self._checkpointer = Checkpointer(path, self._db)
        self._rooms: OrderedDict[str, tuple[Room | None, dict[str, int]]] = OrderedDict()
        self._rooms_weigh = 0
        self._memories: OrderedDict[str, Memory] = OrderedDict()
        self._present: dict[str, tuple[str, int]] = {}
        self._number: int = self._one(query("deliveries.last")) or 0

    # --- rooms ----------------------------------------------------------------------------------

    def cursor(self) -> int:
        """Return the offset up to which the log was folded and routed, -1 at the beginning."""
        position = self._one(query("deliveries.cursor_get"), ("log",))
        return -1 if position is None else position

    def room(self, key: str) -> Room | None:
        """Return the newest instance of the room."""
        return self._room(key)[0]

    def memory(self, key: str) -> Memory:
        """Return what derivation remembers under a name."""
        known = self._memories.get(key)
        if known is None:
            state = self._one(query("deliveries.memory_get"), (key,))
            known = Memory() if state is None else _MEMORY(state)
            self._keep_memory(key, known)
        return known

    def last_sent(self, endpoint_id: str, key: str) -> int | None:
        """Return the last place of the room's log that the endpoint was sent."""
        return self._room(key)[1].get(endpoint_id)

    def commit(self, folded: Folded) -> list[int]:
        """Store it all in one transaction; return the numbers of the deliveries."""
        numbers, write, after = self._committing(folded)
        self._transaction(write)
        after()
        return numbers

    async def commit_aside(self, folded: Folded) -> list[int]:
        """Do what `commit` does without holding up the loop; one at a time."""
        numbers, write, after = self._committing(folded)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, write)
        after()
        return numbers

    def _committing(self, folded: Folded) -> tuple[list[int], Callable[[], None], Callable[[], None]]:
        """Return the numbers of the deliveries, what to write, and what to remember once it is written."""
        sent = self._sent_by(folded.deliveries)
        touched = {**{key: self._room(key)[0] for key in sent}, **folded.rooms}
        kept = {key: (room, sent.get(key) or self._room(key)[1]) for key, room in touched.items()}
        numbers = self._numbers(len(folded.deliveries))
        present = dict(self._present)
        sums = Sums(folded.tallies, present, self._last_present)
        remembered, forgotten = memory_rows(folded.memories)
        tables: list[tuple[str, list[Row]]] = [
            ("deliveries.room_put", room_rows(kept)),
            ("deliveries.room_past", past_rows(folded.past)),
            ("deliveries.memory_put", remembered),
            ("deliveries.memory_drop", forgotten),
            ("deliveries.add", delivery_rows(numbers, folded.deliveries)),
            ("deliveries.day_room_add", sums.rooms),
            ("deliveries.presence_add", sums.presence),
            ("deliveries.going_put", sums.going),
            ("deliveries.loss_add", loss_rows(folded.losses)),
            ("deliveries.not_folded_add", not_folded_rows(folded.not_folded)),
            ("deliveries.not_folded_trim", [(NOT_FOLDED_KEPT,)] if folded.not_folded else []),
            ("deliveries.cursor_set", [("log", folded.cursor)]),
        ]

        def write() -> None:
            for name, rows in tables:
                execute_rows(self._cursor, query(name), rows)
            self._cursor.executemany(query("deliveries.going_drop"), sums.gone)
            self._add_days(sums)

        def after() -> None:
            self._present = present
            for key, memory in folded.memories.items():
                self._keep_memory(key, memory)
            for key, found in kept.items():
                self._keep(key, found)

        return numbers, write, after

    def _sent_by(self, deliveries: Sequence[Delivery]) -> dict[str, dict[str, int]]:
        """Return by room what each endpoint was sent last, once *deliveries* are routed; replays do not count."""
        sent: dict[str, dict[str, int]] = {}
        for delivery in deliveries:
            if delivery.lane is not Lane.REPLAY:
                known = sent.get(delivery.order_key)
                if known is None:
                    known = sent[delivery.order_key] = dict(self._room(delivery.order_key)[1])
                known[delivery.endpoint_id] = delivery.seq
        return sent

    def not_folded(self, limit: int) -> tuple[int, list[NotFolded]]:
        """Return how many entries were set aside, and up to *limit* of those kept, the newest first."""
        rows: list[Any] = self._reader.execute(query("deliveries.not_folded"), (limit,)).fetchall()
        return self._one(query("deliveries.not_folded_count")) or 0, [not_folded_of(row) for row in rows]

    def add(
        self,
        deliveries: Sequence[Delivery],
        *,
        command_id: str | None = None,
        result: Any = None,
        replaces: Sequence[int] = (),
    ) -> list[int]:
        """Store deliveries that do not come from routing (replays), with the command that asked for them.

        *replaces* are the numbers of what each is sent instead of; dead letters among them are linked.
        """
        numbers = self._numbers(len(deliveries))
        rows = delivery_rows(numbers, deliveries)
        links = list(zip(numbers, replaces, strict=False))

        def write() -> None:
            execute_rows(self._cursor, query("deliveries.add"), rows)
            self._cursor.executemany(query("deliveries.replaced"), links)
            if command_id is not None:
                self._cursor.execute(query("deliveries.command_put"), (command_id, _ENCODE(result), 0))

        self._transaction(write)
        return numbers

    def command_result(self, command_id: str) -> Any | None:
        """Return the result of a command that was carried out, or None."""
        found = self._one(query("deliveries.command_get"), (command_id,))
        return None if found is None else msgspec.json.decode(found)

    def obeyed(self) -> int:
        """Return the number up to which all commands were carried out, 0 at the beginning."""
        return self._one(query("deliveries.cursor_get"), ("commands",)) or 0

    def note_obeyed(self, number: int) -> None:
        """Store that all commands up to *number* were carried out."""
        self._transaction(lambda: self._cursor.execute(query("deliveries.cursor_set"), ("commands", number)))

    # --- deliveries -----------------------------------------------------------------------------

    def waiting(self) -> list[Waiting]:
        """Return all that wait, in the order they were routed."""
        rows: list[Any] = self._reader.execute(query("deliveries.waiting")).fetchall()
        return [
            Waiting(
                number=row[0],
                endpoint_id=row[1],
                order_key=row[2],
                lane=Lane(row[3]),
                due_at=from_micros(row[4]),
                created_at=from_micros(row[5]),
                attempts=row[6],
            )
            for row in rows
        ]

    def load(self, number: int) -> Delivery | None:
        """Return the delivery with what has become of it so far."""
        row = self._reader.execute(query("deliveries.get"), (number,)).fetchone()
        return None if row is None else delivery_of(row)

    def dead(
        self, endpoint_id: str | None, after: int, limit: int, *, again: bool = True
    ) -> list[tuple[int, Delivery]]:
        """Return dead letters after a number, of one endpoint or all; without *again* none that was sent again."""
        values = (endpoint_id, after, limit, int(again))
        rows: list[Any] = self._reader.execute(query("deliveries.dead"), values).fetchall()
        return [(row[0], delivery_of(row)) for row in rows]

    def between(
        self, endpoint_id: str, since: datetime, until: datetime, after: int, limit: int
    ) -> list[tuple[int, Delivery]]:
        """Return the deliveries of an endpoint routed in a span, after a number; replays of them are left out."""
        values = (endpoint_id, micros(since), micros(until), after, limit)
        rows: list[Any] = self._reader.execute(query("deliveries.between"), values).fetchall()
        return [(row[0], delivery_of(row)) for row in rows]

    def settle(self, outcomes: Sequence[Outcome], health: HealthChange = NO_CHANGE) -> None:
        """Store each (number, attempt, next step, lane from now on, attempts so far) in one transaction."""
        self._transaction(self._settling(outcomes, health))

    async def settle_aside(self, outcomes: Sequence[Outcome], health: HealthChange = NO_CHANGE) -> None:
        """Settle without holding up the loop; on disk when it returns."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._transaction, self._settling(outcomes, health))

    def _settling(self, outcomes: Sequence[Outcome], health: HealthChange) -> Callable[[], None]:
        attempts = [attempt_row(number, attempt) for number, attempt, *_ in outcomes if attempt is not None]
        settled = [settled_row(*outcome) for outcome in outcomes]

        def write() -> None:
            execute_rows(self._cursor, query("deliveries.attempt_add"), attempts)
            execute_rows(self._cursor, query("deliveries.settle"), settled)
            write_health(self._cursor, health)

        return write

    def stop_endpoint(self, endpoint_id: str, stop: Stop) -> None:
        """Note that an endpoint stopped by itself."""
        self._transaction(lambda: self._cursor.execute(query("deliveries.stopped_put"), (endpoint_id, *stop_row(stop))))

    def start_endpoint(self, endpoint_id: str) -> None:
        """Forget that an endpoint stopped or failed."""

        def write() -> None:
            self._cursor.execute(query("deliveries.stopped_drop"), (endpoint_id,))
            self._cursor.execute(query("deliveries.failing_drop"), (endpoint_id,))

        self._transaction(write)

    def stopped(self) -> dict[str, Stop]:
        """Return the endpoints that stopped by themselves."""
        rows: list[Any] = self._reader.execute(query("deliveries.stopped_all")).fetchall()
        return {row[0]: stop_of(row) for row in rows}

    def failing(self) -> dict[str, datetime]:
        """Return since when every attempt of an endpoint failed, for those of which the last one did."""
        rows: list[Any] = self._reader.execute(query("deliveries.failing_all")).fetchall()
        return {row[0]: from_micros(row[1]) for row in rows}

    async def raise_alarms(self, alarms: Sequence[Alarm]) -> None:
        """Store *alarms* without holding up the loop."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._transaction, lambda: store_alarms(self._cursor, alarms))

    async def untold(self, since: datetime, limit: int) -> list[Alarm]:
        """Return alarms that the second channel does not have, oldest first."""
        return untold_alarms(self._reader.cursor(), since, limit, OF_DELIVERIES)

    async def mark_told(self, ids: Sequence[str]) -> None:
        """Note that the second channel has alarms."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._transaction, lambda: mark_told(self._cursor, ids))

    def tell(
        self,
        one: Statistic | None,
        *,
        through: tuple[str, str, int] | None = None,
        command_id: str | None = None,
        result: Any = None,
    ) -> None:
        """Write a statistic that is about to be told, with how far its account came and the command that asked for it.

        *through* is account, day, and the second before which who came and went is not needed any more.
        """

        def write() -> None:
            if one is not None:
                add_statistic(self._cursor, one)
            if through is not None:
                note_progress(self._cursor, *through)
            if command_id is not None:
                self._cursor.execute(query("deliveries.command_put"), (command_id, _ENCODE(result), 0))

        self._transaction(write)

    def unstored(self) -> list[Statistic]:
        """Return the statistics that the log may not have yet."""
        return waiting_statistics(self._reader)

    def stored(self, statistics: Sequence[Statistic]) -> None:
        """Note that the log has *statistics*."""

        def write() -> None:
            for one in statistics:
                mark_stored(self._cursor, one)

        self._transaction(write)

    def trim(self, before: datetime, limit: int = TRIMMED) -> int:
        """Forget tries older than *before*, a bounded number at a time; return how many."""
        values, forgotten = (micros(before), limit), 0

        def write() -> None:
            nonlocal forgotten
            held = self._db.total_changes()
            self._cursor.execute(query("deliveries.attempts_trim"), values)
            forgotten = self._db.total_changes() - held

        self._transaction(write)
        return forgotten

    def close(self) -> None:
        """Close the database."""
        self._thread.shutdown()
        self._checkpointer.close()
        self._reader.close()
        self._db.close()

    # --- inside ---------------------------------------------------------------------------------

    def _numbers(self, count: int) -> list[int]:
        """Return new numbers; those of a transaction that fails are never used."""
        self._number += count
        return list(range(self._number - count + 1, self._number + 1))

    def _add_days(self, sums: Sums) -> None:
        for (app_id, day), (meetings, held, stayed, joins, peak, now_present) in sums.days.items():
            before = self._db.total_changes()
            names = [(app_id, day, member) for member in sums.members[app_id, day]]
            execute_rows(self._cursor, query("deliveries.member_add"), names)
            members = self._db.total_changes() - before
            row = (app_id, day, meetings, held, stayed, joins, members, peak, now_present)
            self._cursor.execute(query("deliveries.day_add"), row)

    def _last_present(self, app_id: str) -> tuple[str, int]:
        row: Any = self._reader.execute(query("deliveries.day_present"), (app_id,)).fetchone()
        return ("", 0) if row is None else (row[0], row[1])

    def _room(self, key: str) -> tuple[Room | None, dict[str, int]]:
        found = self._rooms.get(key)
        if found is None:
            row: Any = self._reader.execute(query("deliveries.room_get"), (key,)).fetchone()
            found = (None, {}) if row is None else (_ROOM(row[0]), msgspec.json.decode(row[1], type=dict[str, int]))
            self._keep(key, found)
        return found

    def _keep_memory(self, key: str, memory: Memory) -> None:
        self._memories[key] = memory
        self._memories.move_to_end(key)
        while len(self._memories) > MEMORIES_CACHED:
            self._memories.popitem(last=False)

    def _keep(self, key: str, found: tuple[Room | None, dict[str, int]]) -> None:
        known = self._rooms.pop(key, None)
        self._rooms[key] = found
        self._rooms_weigh += _weight(found[0]) - (_weight(known[0]) if known is not None else 0)
        while self._rooms_weigh > ROOMS_CACHED and len(self._rooms) > 1:
            _, (room, _) = self._rooms.popitem(last=False)
            self._rooms_weigh -= _weight(room)

    def _transaction(self, write: Callable[[], Any]) -> None:
        with self._turn:
            self._write(write)

    def _write(self, write: Callable[[], Any]) -> None:
        if self._checkpointer.failed is not None:
            raise StoreFailed(f"deliveries.db: {self._checkpointer.failed}; restart after the disk is sound")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            write()
            self._db.execute("COMMIT")
        except BaseException:
            if not self._db.get_autocommit():
                self._db.execute("ROLLBACK")
            raise
        self._checkpointer.tidy()

    def _one(self, statement: str, values: Sequence[Any] = ()) -> Any:
        row = self._reader.execute(statement, values).fetchone()
        return row[0] if row else None


def _weight(room: Room | None) -> int:
    """Return how much of the cache a room takes: as much as people it knows."""
    return 1 if room is None else 1 + len(room.participants) + len(room.departed)
