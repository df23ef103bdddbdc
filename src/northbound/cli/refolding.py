"""Fold the whole log again, offline, and compare with the rooms that the delivery process keeps, or replace them.

Replacing them, what was set aside can be sent as well: here alone each such entry has its room of that moment again.
"""

import contextlib
import fcntl
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import msgspec
from msgspec.structs import replace

from northbound.backends.sqlite.control import SqliteControl, SqliteControlReader
from northbound.backends.sqlite.database import open_reader, open_writer, query
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.backends.sqlite.rows import (
    delivery_rows,
    memory_rows,
    not_folded_of,
    not_folded_rows,
    past_rows,
    room_rows,
)
from northbound.dialects import all_dialects
from northbound.hub.system import Folder
from northbound.logic.route import RoutingTable, build_table
from northbound.model.app import Registry
from northbound.model.delivery import Delivery
from northbound.model.errors import ConfigError, StoreFailed
from northbound.model.log import NOT_FOLDED_KEPT, NotFolded
from northbound.model.room import Memory, Room
from northbound.ports import Folded
from northbound.stages.control import replayed
from northbound.stages.follow import COUNT, FOLD, ROUTE, Batch, refold

PAGE = 2_000
_NOBODY = build_table(Registry())
_ENCODE = msgspec.json.Encoder().encode


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first place at which a room differs."""

    key: str
    at: str
    live: str
    folded: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How the live rooms compare with the log folded again up to the same place."""

    cursor: int
    rooms: int
    different: int
    difference: Difference | None


class Rewritten(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild wrote: rooms, from the log up to `cursor`, and of entries set aside how many were told to whom."""

    rooms: int
    cursor: int
    told: int = 0
    deliveries: int = 0


def open_log(folder: Folder) -> SqliteLogReader:
    """Open the log of a data folder; raise `ConfigError` when there is none."""
    _must_exist(folder, folder.events)
    with _readable():
        return SqliteLogReader(folder.events)


def compare_rooms(folder: Folder) -> Comparison:
    """Compare the live rooms with the log folded again, at the live cursor; `serve` may be running."""
    _must_exist(folder, folder.deliveries)
    log = open_log(folder)
    with contextlib.closing(log), _readable():
        cursor, live = _live_rooms(folder.deliveries)
        rooms: dict[str, Room] = {}
        memories: dict[str, Memory] = {}
        dialects = all_dialects()
        for entries in _entries(log, cursor):
            refold(entries, rooms, memories, dialects)
    different = 0
    first: Difference | None = None
    for key in sorted(live.keys() | rooms.keys()):
        folded = _ENCODE(rooms[key]) if key in rooms else b""
        if live.get(key, b"") != folded:
            different += 1
            first = first or _difference(key, live.get(key, b""), folded)
    return Comparison(cursor=cursor, rooms=len(live), different=different, difference=first)


def rewrite_rooms(folder: Folder, agree: Callable[[int, int], bool] | None = None) -> Rewritten | None:
    """Replace rooms, past rooms and memories by what the log gives; `serve` must not run.

    With *agree*, whoever is subscribed now is sent what was set aside and can be told. It is asked first, with how many
    entries in how many deliveries; None when it says no: nothing was written.
    """
    _must_exist(folder, folder.deliveries)
    if agree is not None:
        _must_exist(folder, folder.control)
    log = open_log(folder)
    with contextlib.closing(log), _alone(folder), _readable():
        database = open_writer(folder.deliveries, "deliveries")
        try:
            if agree is None:
                return _written(database, _folded(log, database, _NOBODY), send=False)
            found = _folded(log, database, build_table(SqliteControlReader(folder.control).load()))
            if not agree(len(found.told), len(found.deliveries)):
                return None
            _note(folder, found)
            return _written(database, found, send=True)
        finally:
            database.close()


def _folded(log: SqliteLogReader, database: apsw.Connection, table: RoutingTable) -> "_Folded":
    """Fold the log again, and say by *table* what was set aside; changes nothing."""
    row: Any = database.execute(query("deliveries.cursor_get"), ("log",)).fetchone()
    found = _Folded(-1 if row is None else row[0])
    rows: list[Any] = database.execute(query("deliveries.not_folded"), (NOT_FOLDED_KEPT,)).fetchall()
    found.known = [not_folded_of(one) for one in reversed(rows)]
    untold = {one.offset for one in found.known if one.part != COUNT}
    for entries in _entries(log, found.until):
        batch = Batch(found, all_dialects(), _NOBODY)
        for entry in entries:
            batch.table = table if entry.offset in untold else _NOBODY  # nothing else is sent again
            batch.take(entry)
        found.add(batch)
        failed = {one.offset for one, _ in batch.set_aside if one.part != COUNT}
        found.told |= {entry.offset for entry in entries if entry.offset in untold} - failed
    return found


def _note(folder: Folder, found: "_Folded") -> None:
    """Put into the audit what is sent, before it is."""
    control = SqliteControl(folder.control)
    try:
        control.note("set_aside.sent", found.mark, who="northbound rebuild", now=datetime.now(UTC))
    finally:
        control.close()


def _written(database: apsw.Connection, found: "_Folded", *, send: bool) -> Rewritten:
    """Replace the rooms, and with *send* add the deliveries, in one transaction."""
    sent: dict[str, dict[str, int]] = {}
    deliveries, told = (found.deliveries, found.told) if send else ([], set[int]())
    with database:
        for key in _keys(database):
            row: Any = database.execute(query("deliveries.room_get"), (key,)).fetchone()
            sent[key] = msgspec.json.decode(row[1])
        for name in ("rooms_clear", "rooms_past_clear", "memories_clear"):
            database.execute(query(f"deliveries.{name}"))
        rooms = {key: (room, sent.get(key, {})) for key, room in found.rooms.items()}
        database.executemany(query("deliveries.room_put"), room_rows(rooms))
        database.executemany(query("deliveries.room_past"), past_rows(found.past))
        database.executemany(query("deliveries.memory_put"), memory_rows(found.memories)[0])
        last: Any = database.execute(query("deliveries.last")).fetchone()
        first = (last[0] or 0) + 1
        numbers = range(first, first + len(deliveries))
        database.executemany(query("deliveries.add"), delivery_rows(numbers, deliveries))
        _set_aside_anew(database, found, told)
    return Rewritten(rooms=len(found.rooms), cursor=found.until, told=len(told), deliveries=len(deliveries))


def _set_aside_anew(database: apsw.Connection, found: "_Folded", told: set[int]) -> None:
    """Write down what cannot be folded now; what is folded and nobody was told of stays to be told."""
    unfolded = {one.offset for one in found.set_aside}
    left = [one for one in found.known if one.part == COUNT or one.offset not in unfolded | told]
    untold = [replace(one, part=ROUTE) if one.part == FOLD else one for one in left]
    database.execute(query("deliveries.not_folded_clear"))
    every = sorted([*untold, *found.set_aside], key=lambda one: one.offset)
    database.executemany(query("deliveries.not_folded_add"), not_folded_rows(every))
    database.execute(query("deliveries.not_folded_trim"), (NOT_FOLDED_KEPT,))


class _Folded:
    """The rooms while they are folded: a store that only remembers. And what was set aside, then and now."""

    def __init__(self, until: int) -> None:
        self.until = until  # the log's offset up to which it is folded
        self.mark = f"set_aside_{until}"  # by which the deliveries are told from those of then
        self.rooms: dict[str, Room] = {}
        self.memories: dict[str, Memory] = {}
        self.past: list[tuple[str, Room]] = []
        self.set_aside: list[NotFolded] = []  # what cannot be folded now
        self.known: list[NotFolded] = []  # what was set aside before
        self.told: set[int] = set()  # offsets of those of them that can be told
        self.deliveries: list[Delivery] = []

    def add(self, batch: Batch) -> None:
        """Remember what *batch* gave; what is sent has the lane of replays, where each room keeps its order."""
        now = datetime.now(UTC)
        self.rooms |= batch.rooms
        self.memories |= batch.memories
        self.past.extend(batch.past)
        self.set_aside.extend(one for one, _ in batch.set_aside if one.part == FOLD)
        self.deliveries.extend(replayed(one, self.mark, now) for one in batch.deliveries)

    def cursor(self) -> int:
        return -1

    def room(self, key: str) -> Room | None:
        return self.rooms.get(key)

    def memory(self, key: str) -> Memory:
        return self.memories.get(key) or Memory()

    def last_sent(self, endpoint_id: str, key: str) -> int | None:
        return None

    def commit(self, folded: Folded) -> list[int]:
        raise AssertionError("folding offline commits at its end")

    def not_folded(self, limit: int) -> tuple[int, list[NotFolded]]:
        return len(self.set_aside), self.set_aside[::-1][:limit]


def _entries(log: SqliteLogReader, cursor: int) -> Iterator[Any]:
    """Yield the log up to *cursor* in pages; erased entries are left out."""
    after = -1
    while after < cursor:
        entries = log.read(after, PAGE)
        after = entries[-1].offset if entries else after + PAGE  # a page of erased entries reads as none
        kept = [entry for entry in entries if entry.offset <= cursor]
        if kept:
            yield kept


def _live_rooms(path: Path) -> tuple[int, dict[str, bytes]]:
    """Return the cursor and every room as stored, as of one moment."""
    database = open_reader(path)
    try:
        database.execute("BEGIN")
        row: Any = database.execute(query("deliveries.cursor_get"), ("log",)).fetchone()
        rooms: dict[str, bytes] = {}
        last = ""
        page: list[Any]
        while page := database.execute(query("deliveries.rooms_all"), (last, PAGE)).fetchall():
            rooms.update((key, state) for key, state, *_ in page)
            last = page[-1][0]
        return (-1 if row is None else row[0]), rooms
    finally:
        database.close()


def _keys(database: apsw.Connection) -> Iterator[str]:
    last = ""
    page: list[Any]
    while page := database.execute(query("deliveries.rooms_all"), (last, PAGE)).fetchall():
        yield from (row[0] for row in page)
        last = page[-1][0]


def _difference(key: str, live: bytes, folded: bytes) -> Difference:
    if not live or not folded:
        there, gone = ("the room", "no such room")
        return Difference(key=key, at="the room itself", live=there if live else gone, folded=there if folded else gone)
    at, one, other = _first(msgspec.json.decode(live), msgspec.json.decode(folded), "")
    return Difference(key=key, at=at or "the bytes only", live=_short(one), folded=_short(other))


def _first(one: Any, other: Any, at: str) -> tuple[str, Any, Any]:
    """Return the first path at which two JSON values differ, and both values there."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            if one.get(name) != other.get(name):
                return _first(one.get(name), other.get(name), f"{at}.{name}".lstrip("."))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            if left != right:
                return _first(left, right, f"{at}[{number}]")
    return at, one, other


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else f"{text[:200]}..."


def _must_exist(folder: Folder, path: Path) -> None:
    if not path.exists():
        raise ConfigError(f"{folder.path} holds no {path.name}; give --data with the folder that `serve` uses")


@contextlib.contextmanager
def _alone(folder: Folder) -> Generator[None]:
    """Hold the lock that `serve` holds, so that nobody folds meanwhile."""
    with folder.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"`serve` is running on {folder.path}; stop it first, or use --verify, which only reads"
            ) from None
        yield


@contextlib.contextmanager
def _readable() -> Generator[None]:
    try:
        yield
    except apsw.Error as error:
        raise StoreFailed(f"the database cannot be read: {error}") from None
