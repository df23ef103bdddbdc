"""The log and the deliveries as pages read them: from any thread, a few at a time, each read bounded to 5 s."""

import contextlib
import queue
import time
from collections.abc import Callable, Generator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import msgspec

from northbound.backends.sqlite.database import open_reader, query
from northbound.backends.sqlite.reader import from_micros, logged_of, micros, receipt_of
from northbound.backends.sqlite.rows import delivery_of, stop_of
from northbound.model.delivery import Delivery, Exchange, Failure, FailureKind, Stop
from northbound.model.errors import Overloaded, StoreDamaged, StoreFailed
from northbound.model.figures import Backlog, LossCount
from northbound.model.history import SessionFilter
from northbound.model.log import Logged, Origin, Receipt
from northbound.model.room import DayStats, Room, RoomDay
from northbound.model.wire import Request, Response
from northbound.ports import AttemptRow, DeliveryFilter, Position, Quarantined

READ_SECONDS = 5.0  # no reader may hold a write-ahead log open for longer
CONNECTIONS = 3  # reads at once; a slow one must not hold up the short ones
STEPS = 20_000  # virtual machine steps between looks at the clock: well below a millisecond
BODY_SHOWN = 16 * 1024  # bytes of a refused request's body
RECEIPTS_SHOWN = 20
CONCLUSIONS_SHOWN = 200
LOSSES_SHOWN = 5_000
NAMESAKES = 16  # open rooms of one name in different sources
STRETCH = 50_000  # delivery numbers searched for those of one event
EARLIER = timedelta(seconds=10)  # entries are nearly, not strictly, in the order of their times

_ROOM = msgspec.json.Decoder(Room).decode
_REQUEST = msgspec.json.Decoder(Request).decode
_RESPONSE = msgspec.json.Decoder(Response).decode
_FIRST: Position = (0, "", 0)


class TimedReads:
    """A few read-only connections, opened when first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: queue.LifoQueue[apsw.Connection | None] = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self._idle.put(None)

    def rows(self, name: str, *values: Any) -> list[Any]:
        """Return all rows of query *name*; raise `Overloaded` when it takes too long."""
        return self.select(query(name), values)

    def select(self, statement: str, values: Sequence[Any] | dict[str, Any]) -> list[Any]:
        """Return all rows of a statement that was put together; raise `Overloaded` when it takes too long."""
        with self._connection() as connection:
            return connection.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def at_once(self) -> Generator[Callable[..., list[Any]]]:
        """Let several queries see one moment; together they take no longer than one may."""
        with self._connection() as connection:
            connection.execute("BEGIN")

            def rows(name: str, *values: Any) -> list[Any]:
                return connection.execute(query(name), values).fetchall()

            try:
                yield rows
            finally:
                connection.execute("ROLLBACK")

    def row(self, name: str, *values: Any) -> Any:
        """Return the first row of query *name*, or None."""
        found = self.rows(name, *values)
        return found[0] if found else None

    def close(self) -> None:
        """Close the connections that are not in use."""
        with contextlib.suppress(queue.Empty):
            while True:
                connection = self._idle.get_nowait()
                if connection is not None:
                    connection.close()

    @contextlib.contextmanager
    def _connection(self) -> Generator[apsw.Connection]:
        try:
            connection = self._idle.get(timeout=READ_SECONDS)
        except queue.Empty:
            raise Overloaded("too many long reads are under way; try again shortly") from None
        try:
            if connection is None:
                connection = open_reader(self._path)
            deadline = time.monotonic() + READ_SECONDS
            connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
            yield connection
        except apsw.InterruptError:
            raise Overloaded(f"the read took over {READ_SECONDS:g} s; ask for less, by endpoint or time") from None
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise StoreDamaged(f"{self._path.name} is damaged: {type(error).__name__}") from None
        except apsw.Error as error:
            raise StoreFailed(f"{self._path.name} cannot be read: {type(error).__name__}; try again") from None
        finally:
            self._idle.put(connection)


class SqliteLogView:
    """events.db for pages."""

    def __init__(self, path: Path) -> None:
        self._reads = TimedReads(path)
        self._log_id = ""

    def find(self, event_id: str) -> Logged | None:
        """Return the entry with this id."""
        observed, dot, number = event_id.partition(".")
        offset = observed.removeprefix(f"ev_{self._id()}_")
        if offset == observed or not (offset.isascii() and offset.isdigit() and len(offset) <= 18):
            return None
        logged = self.at(int(offset))
        if logged is None or not dot:
            return logged if logged is not None and logged.id == event_id else None
        if not (number.isascii() and number.isdigit() and logged.id == observed):
            return None
        row = self._reads.row("events.derived_get", logged.source_id, f"derived|{event_id}")
        derived = None if row is None else self.at(row[0])
        return derived if derived is not None and derived.id == event_id else None

    def at(self, offset: int) -> Logged | None:
        """Return the entry at *offset*."""
        row = self._reads.row("events.log_at", offset)
        return None if row is None or row[9] is None else logged_of(row, self._id())

    def read(self, after: int, limit: int) -> list[Logged]:
        """Return up to *limit* entries above *after* in order."""
        rows = self._reads.rows("events.log_after", after, limit)
        return [logged_of(row, self._id()) for row in rows if row[9] is not None]

    def head(self) -> int:
        """Return the largest offset, -1 when empty."""
        row = self._reads.row("events.log_head")
        return -1 if row is None or row[0] is None else row[0]

    def conclusions(self, logged: Logged) -> list[str]:
        """Return the ids of what was derived from the entry."""
        if logged.origin is not Origin.OBSERVED:
            return []
        first, last = f"derived|{logged.id}.", f"derived|{logged.id}/"
        rows = self._reads.rows("events.derived_of", logged.source_id, first, last, CONCLUSIONS_SHOWN)
        ids = [key.removeprefix("derived|") for (key,) in rows]
        return sorted(ids, key=lambda one: (len(one), one))

    def keyed(self, source_id: str, first: str, last: str, limit: int) -> list[Logged]:
        """Return entries of a source whose dedupe keys are from *first* up to below *last*, while they are known."""
        rows = self._reads.rows("events.keyed", source_id, first, last, limit)
        return [logged for (offset,) in rows if (logged := self.at(offset)) is not None]

    def receipts(self, logged: Logged) -> list[tuple[int, Receipt]]:
        """Return the request that brought the entry, then those that repeated it."""
        rows = self._reads.rows("events.receipts_of", logged.offset, RECEIPTS_SHOWN)
        numbers = [number for (number,) in rows]
        if logged.receipt_id is not None:
            numbers.insert(0, logged.receipt_id)
        found = [(number, self._reads.row("events.receipt_get", number)) for number in numbers]
        return [(number, receipt_of(row)) for number, row in found if row is not None and row[4] is not None]

    def quarantined(self, source_ids: Sequence[str] | None, before: int, limit: int) -> list[Quarantined]:
        """Return refused requests below an id, newest first."""
        rows = self._reads.rows("events.quarantine_of", before, _json(source_ids), limit, BODY_SHOWN)
        return [
            Quarantined(id=row[0], receipt=receipt_of([*row[:4], *row[6:]]), code=row[4], message=row[5])
            for row in rows
        ]

    def close(self) -> None:
        """Close the connections."""
        self._reads.close()

    def _id(self) -> str:
        if not self._log_id:
            row = self._reads.row("events.about_get", "log_id")
            self._log_id = row[0] if row else ""
        return self._log_id


class SqliteDeliveryReader:
    """deliveries.db for pages: deliveries, rooms and figures."""

    def __init__(self, path: Path) -> None:
        self._reads = TimedReads(path)

    def close(self) -> None:
        """Close the connections."""
        self._reads.close()

    # --- deliveries -----------------------------------------------------------------------------

    def deliveries(self, wanted: DeliveryFilter, before: int, limit: int) -> list[tuple[int, Delivery]]:
        """Return (number, delivery) below a number, newest first."""
        state = wanted.state.value if wanted.state is not None else None
        ids = _json(wanted.endpoint_ids)
        return _numbered(self._reads.rows("views.deliveries", before, ids, state, wanted.event_id, limit))

    def deliveries_of(self, logged: Logged, limit: int) -> list[tuple[int, Delivery]]:
        """Return the deliveries that routing made of one entry.

        Nothing is indexed by event, so that routing stays cheap; but numbers grow with the time of the entries.
        """
        first = self._first_from(micros(logged.recorded_at - EARLIER))
        return _numbered(self._reads.rows("views.deliveries_of", first, first + STRETCH, logged.id, limit))

    def numbered(self, numbers: Sequence[int]) -> list[tuple[int, Delivery]]:
        """Return those of *numbers* that exist, in order."""
        return _numbered(self._reads.rows("views.numbered", _json(numbers)))

    def attempts(self, number: int) -> list[AttemptRow]:
        """Return the tries of a delivery, oldest first."""
        return [_attempt_of(row) for row in self._reads.rows("deliveries.attempts_of", number)]

    def callbacks(
        self, endpoint_ids: Sequence[str], span: tuple[datetime, datetime], *, skip: int, limit: int
    ) -> list[tuple[str, AttemptRow]]:
        """Return (endpoint id, try) of tries begun in *span*, newest first."""
        values = (_json(endpoint_ids), *map(micros, span), limit, skip)
        return [(row[0], _attempt_of(row[1:])) for row in self._reads.rows("views.callbacks", *values)]

    def dead(self, endpoint_ids: Sequence[str] | None, after: int, limit: int) -> list[tuple[int, Delivery]]:
        """Return dead letters above a number."""
        return _numbered(self._reads.rows("views.dead", _json(endpoint_ids), after, limit))

    def count(
        self, endpoint_ids: Sequence[str] | None, span: tuple[datetime, datetime] | None, *, again: bool = True
    ) -> int:
        """Return how many dead letters there are, or how many live deliveries were made in *span*."""
        if span is None:
            return self._reads.row("views.dead_count" if again else "views.dead_left", _json(endpoint_ids))[0]
        since, until = span
        return self._reads.row("views.span_count", _json(endpoint_ids), micros(since), micros(until))[0]

    def command_result(self, command_id: str) -> Any | None:
        """Return what came of a command, None while it waits."""
        row = self._reads.row("deliveries.command_get", command_id)
        return None if row is None else msgspec.json.decode(row[0])

    def _first_from(self, moment: int) -> int:
        """Return the number from which deliveries were made at *moment* or later, by halving."""
        row = self._reads.row("deliveries.last")
        low, high = 1, (row[0] or 0) + 1
        while low < high:
            middle = (low + high) // 2
            found = self._reads.row("views.delivery_time", middle)
            if found is None or found[1] >= moment:
                high = middle
            else:
                low = found[0] + 1
        return low

    # --- rooms ----------------------------------------------------------------------------------

    def room(self, key: str) -> Room | None:
        """Return the newest instance of a room."""
        row = self._reads.row("deliveries.room_get", key)
        return None if row is None else _ROOM(row[0])

    def past(self, key: str, limit: int) -> list[Room]:
        """Return instances that are over, newest first."""
        return [_ROOM(state) for (state,) in self._reads.rows("deliveries.rooms_past_of", key, limit)]

    def rooms(
        self, source_ids: Sequence[str] | None, after: str, limit: int, *, is_open: bool | None = None
    ) -> list[tuple[str, Room]]:
        """Return (key, room) in key order after a key."""
        first, last = after, "\U0010ffff"
        if source_ids is not None and len(source_ids) == 1:  # a room's key begins with its source: a range
            first, last = max(after, f"{source_ids[0]}/"), f"{source_ids[0]}0"
        state = None if is_open is None else int(is_open)
        rows = self._reads.rows("views.rooms", first, last, state, _json(source_ids), limit)
        return [(key, _ROOM(body)) for key, body in rows]

    def open_page(self, source_ids: Sequence[str], skip: int, limit: int) -> list[Room]:
        """Return open rooms in key order after the first *skip*."""
        return [_ROOM(state) for (state,) in self._reads.rows("views.open_page", _json(source_ids), limit, skip)]

    def open_named(self, source_ids: Sequence[str], room_id: str) -> list[Room]:
        """Return the open rooms called *room_id*, a few at most."""
        rows = self._reads.rows("views.open_named", _json(source_ids), f"/{room_id}", NAMESAKES)
        return [room for room in (_ROOM(state) for (state,) in rows) if room.id == room_id]

    def named(self, source_ids: Sequence[str], room_id: str, limit: int) -> list[tuple[str, Room]]:
        """Return (key, room) of the rooms with an id, in any scope of some sources."""
        found: list[tuple[str, Room]] = []
        for source_id in source_ids:
            rows = self._reads.rows("views.named", source_id, f"/{room_id}", limit)
            rooms = [(key, _ROOM(state)) for key, state in rows]
            found += [(key, room) for key, room in rooms if room.id == room_id]  # an id may hold slashes
        return found[:limit]

    def sessions(self, wanted: SessionFilter, skip: int, limit: int) -> tuple[int, list[tuple[str, Room]]]:
        """Return how many openings there are, and (app id, room instance) of a page of them."""
        around = [f"{wanted.day + timedelta(days=days):%Y-%m-%d}" for days in (-1, 0, 1)]  # in whatever zone
        values: dict[str, Any] = {
            "apps": _json(wanted.app_ids),
            "days": _json(around),
            "day": around[1],
            "room": wanted.room_id,
            "person": wanted.participant_id,
            "ascending": wanted.ascending,
        }
        rows = self._reads.select(query("views.sessions"), values | {"limit": limit, "skip": skip})
        if not rows and skip:  # beyond the end: how many there are is still asked
            first = self._reads.select(query("views.sessions"), values | {"limit": 1, "skip": 0})
            return (first[0][2] if first else 0), []
        return (rows[0][2] if rows else 0), [(app_id, _ROOM(state)) for app_id, state, _ in rows]

    def recordings(
        self, source_ids: Sequence[str] | None, after: Position, limit: int
    ) -> list[tuple[Position, str, Room]]:
        """Return room instances that hold recordings, the newest instances first."""
        phase, key, instance = after
        found: list[tuple[Position, str, Room]] = []
        if phase == _FIRST[0]:
            rows = self._reads.rows("views.recorded", key, _json(source_ids), limit)
            found = [((0, name, 0), name, _ROOM(state)) for name, state in rows]
            key, instance = "", 0
        if len(found) < limit:
            left = limit - len(found)
            rows = self._reads.rows("views.recorded_past", key, instance, _json(source_ids), left)
            found += [((1, name, number), name, _ROOM(state)) for name, state, number in rows]
        return found

    # --- figures --------------------------------------------------------------------------------

    def backlog(self) -> list[Backlog]:
        """Return what waits, by endpoint."""
        return [
            Backlog(endpoint_id=row[0], waiting=row[1], oldest_at=from_micros(row[2]))
            for row in self._reads.rows("deliveries.backlog")
        ]

    def dead_letters(self) -> dict[str, int]:
        """Return how many dead letters each endpoint has."""
        return dict(self._reads.rows("views.dead_by_endpoint"))

    def losses(self, endpoint_ids: Sequence[str] | None) -> list[LossCount]:
        """Return what was lost and invented."""
        wanted = None if endpoint_ids is None else set(endpoint_ids)
        rows = self._reads.rows("deliveries.losses", None)
        found = [row for row in rows if wanted is None or row[0] in wanted]
        return [
            LossCount(endpoint_id=row[0], kind=row[1], what=row[2], event_type=row[3], count=row[4])
            for row in found[:LOSSES_SHOWN]
        ]

    def open_rooms(self, source_ids: Sequence[str] | None) -> int:
        """Return how many rooms are open."""
        return self._reads.row("views.open_rooms", _json(source_ids))[0]

    def day(self, app_id: str, day: str) -> DayStats | None:
        """Return one app's figures of a day."""
        row = self._reads.row("deliveries.day_get", app_id, day)
        if row is None:
            return None
        names = ("meetings", "meeting_seconds", "participant_seconds", "joins", "members", "peak")
        return DayStats(app_id=app_id, day=day, **dict(zip(names, row[:6], strict=True)))

    def day_rooms(self, app_id: str, day: str) -> list[RoomDay]:
        """Return the figures of each room of the day."""
        names = RoomDay.__struct_fields__
        rows = self._reads.rows("deliveries.day_rooms", app_id, day)
        return [RoomDay(**dict(zip(names, row, strict=True))) for row in rows]

    def uncounted(self, app_id: str, day: str, people: Sequence[str]) -> int:
        """Return how many of *people*, each named once, are not among the members of an app's day."""
        return self._reads.rows("deliveries.members_uncounted", app_id, day, _json(people))[0][0]

    def stopped(self) -> dict[str, Stop]:
        """Return the endpoints that stopped by themselves."""
        return {row[0]: stop_of(row) for row in self._reads.rows("deliveries.stopped_all")}


def _json(values: Sequence[Any] | None) -> str | None:
    return None if values is None else msgspec.json.encode(values).decode()


def _numbered(rows: Sequence[Sequence[Any]]) -> list[tuple[int, Delivery]]:
    return [(row[0], delivery_of(row)) for row in rows]


def _attempt_of(row: Sequence[Any]) -> AttemptRow:
    number, started_at, duration_ms, status, failure, accepted, reason, address, request, response = row
    outcome: Response | Failure = (
        Failure(kind=FailureKind(failure or FailureKind.CANCELLED.value), message=reason)
        if status is None or response is None
        else _RESPONSE(response)
    )
    exchange = Exchange(
        request=_REQUEST(request),
        outcome=outcome,
        started_at=from_micros(started_at),
        duration_ms=duration_ms,
        address=address,
    )
    return AttemptRow(number=number, exchange=exchange, accepted=bool(accepted), reason=reason)
