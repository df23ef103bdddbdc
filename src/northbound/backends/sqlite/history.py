"""History on SQLite: index.db, written by the web process alone, read from any thread, rebuilt from the log at will.

It is never on the path of an ack: nothing here touches events.db but short reads, and a lost batch is indexed again.
"""

import contextlib
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from northbound.backends.sqlite.database import BUSY_MS, migrations, open_writer, query
from northbound.backends.sqlite.reader import from_micros, micros
from northbound.backends.sqlite.views import TimedReads
from northbound.logic.search import Phrase, event_id_in, exact, hit_of, phrases, words_of
from northbound.model.errors import StoreDamaged, StoreFailed
from northbound.model.history import HistoryHit, HistoryQuery, Summary
from northbound.model.log import Logged, Origin

LIMIT = 1_000  # hits of one page
BLOCK_BITS = 12  # offsets of one block of `spans`
SOURCES_APART = 16  # sources that are searched one by one, each by its index
CHECKPOINT_PAGES = 4_000  # 16 MiB: few, larger checkpoints; no ack waits for this file
OFFSET_END = 1 << 62
DAMAGED = ".damaged"  # ending of a file that was set aside

_ENCODE = msgspec.json.Encoder().encode
_SUMMARY = msgspec.json.Decoder(Summary).decode

# Conditions in the order of how little they leave over: the first one asked for chooses the index, the others only
# filter (a unary plus hides a column from the planner, which knows nothing of what is rare).
CONDITIONS: tuple[tuple[str, str], ...] = (
    ("event_id", "hits.event_id = :event_id"),
    ("room_key", "hits.room_key = :room_key"),
    ("room_id", "hits.room_id = :room_id"),
    ("participant_id", "hits.participant_id = :participant_id"),
    ("source_id", "hits.source_id = :source_id"),
    ("type", "hits.type = :type"),
    ("since", "coalesce(hits.occurred_at, hits.recorded_at) >= :since"),
    ("until", "coalesce(hits.occurred_at, hits.recorded_at) < :until"),
    ("source_ids", "hits.source_id IN (SELECT value FROM json_each(:source_ids))"),
)


class SqliteHistory:
    """The one writer of index.db, and its searches; *head* tells the log's largest offset."""

    def __init__(self, path: Path, head: Callable[[], int] = lambda: -1) -> None:
        self._path = path
        self._head = head
        self._db, is_new = open_index(path)
        self.is_damaged = False  # a search or a batch found it so
        self.renewed = int(is_new)  # how often a damaged file was set aside, since the start
        self._lock = threading.Lock()  # batches come from worker threads, one after the other
        self._reads = TimedReads(path)
        self._cursor = self._stored_cursor()

    # --- indexing -------------------------------------------------------------------------------

    def cursor(self) -> int:
        """Return the offset of the newest entry that is searchable, -1 at the beginning."""
        return self._cursor

    def add(self, entries: Sequence[Logged], *, after: int) -> bool:
        """Make *entries*, read behind offset *after*, searchable; False when the cursor is elsewhere meanwhile."""
        return not entries or self._move(after, entries[-1].offset, lambda: self._store(entries))

    def skip(self, *, after: int, until: int) -> bool:
        """Move the cursor from *after* to *until*; False when it is elsewhere meanwhile."""
        return self._move(after, until, lambda: None)

    def renew(self) -> None:
        """Set the file aside and begin a new one; searches that are under way end on the old one."""
        with self._lock, self._failing():
            self._reads.close()
            with contextlib.suppress(apsw.Error):
                self._db.close()
            _set_aside(self._path)
            self._db, _ = open_index(self._path)
            self._reads = TimedReads(self._path)
            self._cursor = self._stored_cursor()
            self.is_damaged = False
            self.renewed += 1

    def clear(self) -> None:
        """Forget everything, to be indexed from the beginning."""
        with self._lock, self._failing():
            with self._db:
                self._db.execute(query("history.drop"))
                for script in migrations("index"):
                    self._db.execute(script)
            self._cursor = -1

    def verify(self, entries: Sequence[Logged], *, after: int, until: int) -> int | None:
        """Return the first offset behind *after*, up to *until*, that is not stored as *entries* say."""
        stored = {row[0]: row for row in self._reads.rows("history.stored", after, until)}
        for entry in entries:
            hit, words = hit_of(entry), " ".join(words_of(entry.event))
            row = stored.pop(entry.offset, None)
            if row is None or _hit(row) != hit or row[12] != words:
                return min([entry.offset, *(offset for offset in stored if offset < entry.offset)])
        return min(stored, default=None)

    def damage(self) -> str | None:
        """Return what is wrong with the file itself, None when it is sound."""
        with contextlib.closing(apsw.Connection(str(self._path))) as fresh:  # one that remembers nothing
            fresh.set_busy_timeout(BUSY_MS)
            try:
                found: Any = fresh.execute(query("history.file_sound")).fetchone()
                fresh.execute(query("history.words_sound"))
            except apsw.Error as error:
                return f"{type(error).__name__}: {error}"
        return None if found is None or found[0] == "ok" else str(found[0])

    # --- searching ------------------------------------------------------------------------------

    def search(self, wanted: HistoryQuery) -> list[HistoryHit]:
        """Return hits below `before`, newest first; raise `Overloaded` when it takes over 5 s."""
        return self._find(wanted, after=-1, newest_first=True)

    def timeline(self, wanted: HistoryQuery, after: int = -1) -> list[HistoryHit]:
        """Return hits above offset *after*, oldest first."""
        return self._find(wanted, after=after, newest_first=False)

    def lag(self) -> int:
        """Return how many entries of the log are not searchable yet."""
        return max(0, self._head() - self.cursor())

    def close(self) -> None:
        """Close the database."""
        self._reads.close()
        self._db.close()

    # --- inside ---------------------------------------------------------------------------------

    def _stored_cursor(self) -> int:
        return _cursor_in(self._db)

    def _move(self, after: int, until: int, write: Callable[[], None]) -> bool:
        """Write and move the cursor in one transaction, unless another process moved it (a rebuild)."""
        with self._lock, self._failing():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                known = self._stored_cursor()
                if known == after:
                    write()
                    self._db.execute(query("history.cursor_set"), (until,))
                self._db.execute("COMMIT")
            except BaseException:
                if not self._db.get_autocommit():
                    self._db.execute("ROLLBACK")
                raise
            self._cursor = until if known == after else known
        return known == after

    @contextlib.contextmanager
    def _failing(self) -> Generator[None]:
        """Say what the database refused in our own words, and note damage: it stays so until `renew` succeeded."""
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError) as error:
            self.is_damaged = True
            raise StoreDamaged(f"index.db is damaged: {type(error).__name__}") from None
        except apsw.Error as error:
            raise StoreFailed(f"index.db did not take it: {type(error).__name__}: {error}") from None

    def _store(self, entries: Sequence[Logged]) -> None:
        hits = [hit_of(entry) for entry in entries]
        self._db.executemany(query("history.add"), map(_row, hits))
        self._db.executemany(
            query("history.say"), [(entry.offset, " ".join(words_of(entry.event))) for entry in entries]
        )
        spans: dict[int, tuple[int, int]] = {}
        for hit in hits:
            at = micros(hit.occurred_at or hit.recorded_at)
            low, high = spans.get(hit.offset >> BLOCK_BITS, (at, at))
            spans[hit.offset >> BLOCK_BITS] = (min(low, at), max(high, at))
        self._db.executemany(query("history.widen"), [(block, *times) for block, times in spans.items()])

    def _find(self, wanted: HistoryQuery, *, after: int, newest_first: bool) -> list[HistoryHit]:
        try:
            return self._found(wanted, after=after, newest_first=newest_first)
        except StoreDamaged:
            self.is_damaged = True
            raise StoreFailed("the search is damaged and is made anew from the log; try again shortly") from None

    def _found(self, wanted: HistoryQuery, *, after: int, newest_first: bool) -> list[HistoryHit]:
        asked = _asked(wanted)
        said = phrases(wanted.text or "")
        if asked is None or (wanted.text is not None and wanted.text.strip() and not said):
            return []
        low, high = after, OFFSET_END if wanted.before is None else min(wanted.before, OFFSET_END)
        if wanted.since is not None or wanted.until is not None:
            first, last = self._reads.row("history.blocks", asked.get("since"), asked.get("until"))
            if first is None:
                return []
            low, high = max(low, (first << BLOCK_BITS) - 1), min(high, (last + 1) << BLOCK_BITS)
        asked |= {"low": low, "high": high, "limit": max(0, min(wanted.limit, LIMIT))}
        named = event_id_in(wanted.text or "")
        if named is not None and asked.get("event_id", named) == named:
            found = self._select(asked | {"event_id": named}, newest_first=newest_first)
            if found:
                return found
        if said:
            asked["match"] = _expression([*said, *_narrowing(wanted)])
        return self._apart(asked, newest_first=newest_first)

    def _apart(self, asked: dict[str, Any], *, newest_first: bool) -> list[HistoryHit]:
        """Search a few sources one by one, so that each is read in order from its index instead of being sorted."""
        several: Any = asked.get("source_ids", ())
        leads = {"match", "event_id", "room_key", "room_id", "participant_id"}
        if not several or len(several) > SOURCES_APART or leads.intersection(asked):
            if several:
                asked = asked | {"source_ids": _ENCODE(several).decode()}
            return self._select(asked, newest_first=newest_first)
        plain = {name: value for name, value in asked.items() if name != "source_ids"}
        found = [hit for one in several for hit in self._select(plain | {"source_id": one}, newest_first=newest_first)]
        found.sort(key=lambda hit: hit.offset, reverse=newest_first)
        return found[: asked["limit"]]

    def _select(self, asked: dict[str, Any], *, newest_first: bool) -> list[HistoryHit]:
        leading = "match" not in asked
        statement = query("history.from_hits" if leading else "history.from_words")
        for name, condition in CONDITIONS:
            if name in asked:
                statement += f" AND {condition}" if leading else f" AND +{condition}"
                leading = False
        place = "words.rowid" if "match" in asked else "hits.offset"
        statement += f" ORDER BY {place} {'DESC' if newest_first else 'ASC'} LIMIT :limit"
        try:
            return [_hit(row) for row in self._reads.select(statement, asked)]
        except UnicodeEncodeError:  # half a character is in no event
            return []


def open_index(path: Path) -> tuple[apsw.Connection, bool]:
    """Open index.db for its writer, and tell whether a damaged one was set aside: the log holds all of it."""
    try:
        return _opened(path), False
    except (apsw.NotADBError, apsw.CorruptError):
        _set_aside(path)
        return _opened(path), True


def _opened(path: Path) -> apsw.Connection:
    connection = open_writer(path, "index")
    try:
        _cursor_in(connection)
        connection.execute("PRAGMA synchronous=NORMAL")  # what a power cut takes back is indexed again
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _cursor_in(connection: apsw.Connection) -> int:
    row: Any = connection.execute(query("history.cursor")).fetchone()
    return -1 if row is None else row[0]


def _set_aside(path: Path) -> None:
    """Rename a damaged file, in place of the one before: a disk that goes bad must not be filled as well."""
    for ending in ("", "-wal"):
        aside = Path(f"{path}{DAMAGED}{ending}")
        aside.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{ending}").rename(aside)
    Path(f"{path}-shm").unlink(missing_ok=True)


def _asked(wanted: HistoryQuery) -> dict[str, Any] | None:
    """Return the conditions that are asked for, None when nothing can fulfil them."""
    asked: dict[str, Any] = {
        name: value
        for name in ("event_id", "room_key", "room_id", "participant_id", "type")
        if (value := getattr(wanted, name)) is not None
    }
    asked |= {name: micros(value) for name in ("since", "until") if (value := getattr(wanted, name)) is not None}
    match wanted.source_ids:
        case None:
            return asked
        case ():
            return None
        case (one,):
            return asked | {"source_id": one}
        case several:
            return asked | {"source_ids": several}


def _narrowing(wanted: HistoryQuery) -> list[Phrase]:
    """Return what every match says besides, because of the other conditions: it leaves fewer rows to look at."""
    room = wanted.room_id if wanted.room_id is not None else (wanted.room_key or "").rpartition("/")[2]
    return [phrase for value in (room, wanted.participant_id or "") if (phrase := exact(value)).tokens]


def _expression(wanted: Sequence[Phrase]) -> str:
    """Write *wanted* as an FTS5 query; tokens are letters and digits, and quoted all the same."""
    return " AND ".join(f'"{" ".join(one.tokens)}"{"*" if one.prefix else ""}' for one in wanted)


def _row(hit: HistoryHit) -> tuple[Any, ...]:
    return (
        hit.offset,
        hit.event_id,
        hit.type,
        hit.dialect,
        hit.origin.value,
        hit.source_id,
        hit.room_key,
        hit.room_id,
        hit.participant_id,
        None if hit.occurred_at is None else micros(hit.occurred_at),
        micros(hit.recorded_at),
        _ENCODE(hit.summary),
    )


def _hit(row: Sequence[Any]) -> HistoryHit:
    return HistoryHit(
        offset=row[0],
        event_id=row[1],
        type=row[2],
        dialect=row[3],
        origin=Origin(row[4]),
        source_id=row[5],
        room_key=row[6],
        room_id=row[7],
        participant_id=row[8],
        occurred_at=None if row[9] is None else from_micros(row[9]),
        recorded_at=from_micros(row[10]),
        summary=_SUMMARY(row[11]),
    )
