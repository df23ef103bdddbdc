"""Rooms and deliveries on SQLite: the cursor moves in the transaction that stores what it led to (law 3)."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from northbound.backends.sqlite.checkpoint import Checkpointer
from northbound.backends.sqlite.database import open_writer, query
from northbound.backends.sqlite.reader import from_micros, micros
from northbound.model.delivery import (
    Attempt,
    Dead,
    Delivery,
    DeliveryState,
    Done,
    Failure,
    Lane,
    NextStep,
    RetryAt,
)
from northbound.model.errors import StoreFailed
from northbound.model.room import Memory, Room, Tally
from northbound.model.wire import Response
from northbound.ports import Waiting

ROOMS_CACHED = 20_000  # rooms kept in memory; the others are read again when they speak
_ENCODE = msgspec.json.Encoder().encode
_ROOM = msgspec.json.Decoder(Room).decode
_MEMORY = msgspec.json.Decoder(Memory).decode
_DELIVERY = msgspec.json.Decoder(Delivery).decode


class SqliteDeliveries:
    """The one writer of deliveries.db."""

    def __init__(self, path: Path) -> None:
        self._db = open_writer(path, "deliveries")
        self._cursor = self._db.cursor()
        self._checkpointer = Checkpointer(path, self._db)
        self._rooms: OrderedDict[str, tuple[Room | None, dict[str, int]]] = OrderedDict()
        self._memories: dict[str, Memory] = {}
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

    def memory(self, source_id: str) -> Memory:
        """Return what derivation remembers of a source."""
        if source_id not in self._memories:
            state = self._one(query("deliveries.memory_get"), (source_id,))
            self._memories[source_id] = Memory() if state is None else _MEMORY(state)
        return self._memories[source_id]

    def last_sent(self, endpoint_id: str, key: str) -> int | None:
        """Return the last place of the room's log that the endpoint was sent."""
        return self._room(key)[1].get(endpoint_id)

    def commit(
        self,
        *,
        cursor: int,
        rooms: dict[str, Room],
        memories: dict[str, Memory],
        deliveries: Sequence[Delivery],
        tallies: Sequence[tuple[str, Tally]] = (),
        losses: Sequence[tuple[str, str, str, str]] = (),
        past: Sequence[tuple[str, Room]] = (),
    ) -> list[int]:
        """Store it all in one transaction; return the numbers of *deliveries*."""
        sent: dict[str, dict[str, int]] = {}
        for delivery in deliveries:
            if delivery.lane is Lane.LIVE:
                known = sent.setdefault(delivery.order_key, dict(self._room(delivery.order_key)[1]))
                known[delivery.endpoint_id] = delivery.seq
        touched = {key: self._room(key)[0] for key in sent} | rooms
        numbers = list(range(self._number + 1, self._number + 1 + len(deliveries)))
        present = dict(self._present)

        def write() -> None:
            self._cursor.executemany(
                query("deliveries.room_put"),
                [
                    (key, int(room.open), _ENCODE(room), _ENCODE(sent.get(key) or self._room(key)[1]))
                    for key, room in touched.items()
                    if room is not None
                ],
            )
            self._cursor.executemany(
                query("deliveries.room_past"), [(key, room.instance, _ENCODE(room)) for key, room in past]
            )
            self._cursor.executemany(
                query("deliveries.memory_put"), [(source, _ENCODE(memory)) for source, memory in memories.items()]
            )
            self._add(numbers, deliveries)
            self._count(tallies, present)
            self._cursor.executemany(query("deliveries.loss_add"), _counted(losses))
            self._cursor.execute(query("deliveries.cursor_set"), ("log", cursor))

        self._transaction(write)
        self._number += len(deliveries)
        self._present = present
        self._memories.update(memories)
        for key, room in touched.items():
            self._keep(key, (room, sent.get(key) or self._room(key)[1]))
        return numbers

    def add(self, deliveries: Sequence[Delivery], *, command_id: str | None = None, result: Any = None) -> list[int]:
        """Store deliveries that do not come from routing (replays), with the command that asked for them."""
        numbers = list(range(self._number + 1, self._number + 1 + len(deliveries)))

        def write() -> None:
            self._add(numbers, deliveries)
            if command_id is not None:
                self._cursor.execute(query("deliveries.command_put"), (command_id, _ENCODE(result), 0))

        self._transaction(write)
        self._number += len(deliveries)
        return numbers

    def command_result(self, command_id: str) -> Any | None:
        """Return the result of a command that was carried out, or None."""
        found = self._one(query("deliveries.command_get"), (command_id,))
        return None if found is None else msgspec.json.decode(found)

    # --- deliveries -----------------------------------------------------------------------------

    def waiting(self) -> list[Waiting]:
        """Return all that wait, in the order they were routed."""
        rows: list[Any] = self._db.execute(query("deliveries.waiting")).fetchall()
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
        row = self._db.execute(query("deliveries.get"), (number,)).fetchone()
        return None if row is None else delivery_of(row)

    def dead(self, endpoint_id: str | None, after: int, limit: int) -> list[tuple[int, Delivery]]:
        """Return dead letters after a number, of one endpoint or all."""
        rows: list[Any] = self._db.execute(query("deliveries.dead"), (endpoint_id, after, limit)).fetchall()
        return [(row[0], delivery_of(row)) for row in rows]

    def between(
        self, endpoint_id: str, since: datetime, until: datetime, after: int, limit: int
    ) -> list[tuple[int, Delivery]]:
        """Return the deliveries of an endpoint routed in a span, after a number; replays of them are left out."""
        values = (endpoint_id, micros(since), micros(until), after, limit)
        rows: list[Any] = self._db.execute(query("deliveries.between"), values).fetchall()
        return [(row[0], delivery_of(row)) for row in rows]

    def settle(self, outcomes: Sequence[tuple[int, Attempt | None, NextStep, Lane, int]]) -> None:
        """Store each (number, attempt, next step, lane from now on, attempts so far) in one transaction."""

        def write() -> None:
            self._cursor.executemany(
                query("deliveries.attempt_add"),
                [_attempt_row(number, attempt) for number, attempt, *_ in outcomes if attempt is not None],
            )
            self._cursor.executemany(query("deliveries.settle"), [_settled_row(*outcome) for outcome in outcomes])

        self._transaction(write)

    def stop_endpoint(self, endpoint_id: str, reason: str, now: datetime) -> None:
        """Note that an endpoint stopped by itself."""
        self._transaction(
            lambda: self._cursor.execute(query("deliveries.stopped_put"), (endpoint_id, reason, micros(now)))
        )

    def start_endpoint(self, endpoint_id: str) -> None:
        """Forget that an endpoint stopped by itself."""
        self._transaction(lambda: self._cursor.execute(query("deliveries.stopped_drop"), (endpoint_id,)))

    def stopped(self) -> dict[str, tuple[str, datetime]]:
        """Return the endpoints that stopped by themselves: why and when."""
        rows: list[Any] = self._db.execute(query("deliveries.stopped_all")).fetchall()
        return {row[0]: (row[1], from_micros(row[2])) for row in rows}

    def trim(self, before: datetime, limit: int = 2000) -> None:
        """Forget tries older than *before*, a bounded number at a time."""
        self._transaction(lambda: self._cursor.execute(query("deliveries.attempts_trim"), (micros(before), limit)))

    def close(self) -> None:
        """Close the database."""
        self._checkpointer.close()
        self._db.close()

    # --- inside ---------------------------------------------------------------------------------

    def _add(self, numbers: Sequence[int], deliveries: Sequence[Delivery]) -> None:
        self._cursor.executemany(
            query("deliveries.add"),
            [
                (
                    number,
                    one.id,
                    one.endpoint_id,
                    one.event_id,
                    one.order_key,
                    one.lane.value,
                    one.state.value,
                    micros(one.due_at),
                    micros(one.created_at),
                    _ENCODE(one),
                )
                for number, one in zip(numbers, deliveries, strict=True)
            ],
        )

    def _count(self, tallies: Sequence[tuple[str, Tally]], present: dict[str, tuple[str, int]]) -> None:
        for app_id, tally in tallies:
            members = 0
            for member in tally.members:
                self._cursor.execute(query("deliveries.member_add"), (app_id, tally.day, member))
                members += self._db.changes()
            day, now_present = present.get(app_id) or (
                tally.day,
                self._one(query("deliveries.day_present"), (app_id,)) or 0,
            )
            now_present = max(0, now_present + tally.present_delta)
            present[app_id] = (max(day, tally.day), now_present)
            held, stayed = tally.meeting_seconds, tally.participant_seconds
            self._cursor.execute(
                query("deliveries.day_add"),
                (app_id, tally.day, tally.meetings, held, stayed, tally.joins, members, now_present, now_present),
            )
            self._cursor.execute(
                query("deliveries.day_room_add"),
                (app_id, tally.day, tally.room_key, tally.meetings, held, stayed, tally.joins, tally.room_present),
            )

    def _room(self, key: str) -> tuple[Room | None, dict[str, int]]:
        found = self._rooms.get(key)
        if found is None:
            row: Any = self._db.execute(query("deliveries.room_get"), (key,)).fetchone()
            found = (None, {}) if row is None else (_ROOM(row[0]), msgspec.json.decode(row[1], type=dict[str, int]))
            self._keep(key, found)
        return found

    def _keep(self, key: str, found: tuple[Room | None, dict[str, int]]) -> None:
        self._rooms[key] = found
        self._rooms.move_to_end(key)
        while len(self._rooms) > ROOMS_CACHED:
            self._rooms.popitem(last=False)

    def _transaction(self, write: Callable[[], Any]) -> None:
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
        row = self._db.execute(statement, values).fetchone()
        return row[0] if row else None


def delivery_of(row: Sequence[Any]) -> Delivery:
    """Return a delivery from its row: as routed, with what has become of it."""
    routed = _DELIVERY(row[6])
    return msgspec.structs.replace(
        routed,
        state=DeliveryState(row[1]),
        lane=Lane(row[2]),
        due_at=from_micros(row[3]),
        attempts=row[4],
        reason=row[5],
        possible_duplicate=row[4] > 0,
        view=msgspec.structs.replace(routed.view, words=routed.view.words.copy()),
    )


def _counted(losses: Sequence[tuple[str, str, str, str]]) -> list[tuple[str, str, str, str, int]]:
    counts: dict[tuple[str, str, str, str], int] = {}
    for loss in losses:
        counts[loss] = counts.get(loss, 0) + 1
    return [(*loss, count) for loss, count in counts.items()]


def _attempt_row(number: int, attempt: Attempt) -> tuple[Any, ...]:
    exchange = attempt.exchange
    outcome = exchange.outcome
    answered = isinstance(outcome, Response)
    return (
        number,
        attempt.number,
        micros(exchange.started_at),
        exchange.duration_ms,
        outcome.status if answered else None,
        outcome.kind.value if isinstance(outcome, Failure) else None,
        int(attempt.verdict.accepted),
        attempt.verdict.reason or (outcome.message if isinstance(outcome, Failure) else ""),
        exchange.address,
        _ENCODE(exchange.request),
        _ENCODE(outcome) if answered else None,
    )


def _settled_row(number: int, attempt: Attempt | None, step: NextStep, lane: Lane, attempts: int) -> tuple[Any, ...]:
    at = attempt.exchange.started_at if attempt is not None else None
    stamp = micros(at) if at is not None else None
    match step:
        case Done():
            return (DeliveryState.DELIVERED.value, lane.value, 0, attempts, None, stamp, number)
        case RetryAt(due_at=due_at, reason=reason):
            return (DeliveryState.WAITING.value, lane.value, micros(due_at), attempts, reason, None, number)
        case Dead(reason=reason, drop=drop):
            state = DeliveryState.DROPPED if drop else DeliveryState.DEAD
            return (state.value, lane.value, 0, attempts, reason, stamp, number)
