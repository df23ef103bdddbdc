"""History on SQLite beyond the laws: bounded time, damage, full disks, threads, and how its searches are planned."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import apsw
import pytest
from faulty_disk import faulty_disk
from msgspec.structs import replace

from northbound.backends.memory import MemoryHistory, MemoryLog
from northbound.backends.sqlite import history as sqlite_history
from northbound.backends.sqlite import views
from northbound.backends.sqlite.database import PAGE
from northbound.backends.sqlite.history import SqliteHistory
from northbound.backends.sqlite.log import SqliteLog
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.model.errors import Overloaded, StoreDamaged, StoreFailed
from northbound.model.event import Event, EventType, Facts
from northbound.model.history import HistoryQuery
from northbound.model.log import Logged
from northbound.stages import index as index_stage
from northbound.stages.index import Index, Verified
from northbound.testing.conformance.storage import NOW, event, receipt


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def history(tmp_path: Path, log: MemoryLog) -> Iterator[SqliteHistory]:
    with closing(SqliteHistory(tmp_path / "index.db", log.head)) as one:
        yield one


class Bell:
    """A doorbell that is never rung and counts who waits at it."""

    def __init__(self) -> None:
        self.waits = 0

    def ring(self) -> None:
        return

    async def wait(self, at_most: timedelta) -> None:
        self.waits += 1
        await asyncio.sleep(0)


def append(log: MemoryLog, events: Sequence[Event]) -> None:
    asyncio.run(log.append(receipt(), events))


def fill(log: MemoryLog, history: SqliteHistory, count: int) -> None:
    kinds = list(EventType)
    append(
        log,
        [
            event(f"room{n % 50}", f"user{n % 70}", kind=kinds[n % len(kinds)], words=f'{{"w":"每周会议 word{n}"}}')
            for n in range(count)
        ],
    )
    while history.add(log.read(history.cursor(), 2_000), after=history.cursor()) and history.lag():
        continue


def offsets(history: SqliteHistory | MemoryHistory, wanted: HistoryQuery) -> list[int]:
    return [hit.offset for hit in history.search(wanted)]


async def follow(index: Index, bell: Bell, *steps: Callable[[], bool]) -> None:
    """Run the stage until each of *steps* is so, one after the other."""
    running = asyncio.ensure_future(index.run(bell))
    async with asyncio.timeout(10):
        for is_so in steps:
            while not is_so():  # noqa: ASYNC110 - a worker thread makes it so
                await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# --- searching ----------------------------------------------------------------------------------


def test_searches_agree_with_memory_on_every_cut_of_words(log: MemoryLog, history: SqliteHistory) -> None:
    """However Chinese, letters and digits are mixed, both find the same."""
    pieces = ("会", "议", "会议", "ab", "abc", "abcd", "12", "-")
    append(log, [event("r", facts=Facts(name="".join(name))) for name in product(pieces, repeat=3)])
    memory = MemoryHistory(log.head)
    entries = log.read(-1, 1_000)
    for one in (history, memory):
        one.add(entries, after=-1)

    for first, second in product(pieces, repeat=2):
        for text in (first + second, f"{first} {second}", first + second + first):
            wanted = HistoryQuery(text=text, limit=1_000)
            assert offsets(memory, wanted) == offsets(history, wanted), text


@pytest.mark.parametrize(
    "wanted",
    [
        HistoryQuery(text="word"),
        HistoryQuery(text="会议", type="stats.daily", participant_id="nobody"),
        HistoryQuery(since=NOW, until=NOW + timedelta(days=1), room_key="nothing"),
        HistoryQuery(source_ids=tuple(f"s{n}" for n in range(100))),
    ],
)
def test_a_search_that_takes_too_long_is_cut(
    log: MemoryLog, history: SqliteHistory, monkeypatch: pytest.MonkeyPatch, wanted: HistoryQuery
) -> None:
    """It ends with an error that says what to do, and the next search is answered."""
    fill(log, history, 2_000)
    monkeypatch.setattr(views, "STEPS", 1)
    monkeypatch.setattr(views, "READ_SECONDS", 0.0)
    with pytest.raises(Overloaded, match="took over"):
        history.search(wanted)

    monkeypatch.undo()

    assert len(offsets(history, HistoryQuery(text="word"))) == 50


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (HistoryQuery(), "INTEGER PRIMARY KEY"),
        (HistoryQuery(event_id="e", room_id="r"), "hits_by_event"),
        (HistoryQuery(room_key="k", participant_id="p", type="t"), "hits_by_room_key"),
        (HistoryQuery(room_id="r", participant_id="p", source_ids=("s",)), "hits_by_room "),
        (HistoryQuery(participant_id="p", type="t", since=NOW), "hits_by_participant"),
        (HistoryQuery(source_ids=("s",), type="t"), "hits_by_source"),
        (HistoryQuery(source_ids=("s", "t"), type="t"), "hits_by_source"),
        (HistoryQuery(type="t", until=NOW + timedelta(days=1)), "hits_by_type"),
        (HistoryQuery(text="会议", room_key="k", type="t"), "VIRTUAL TABLE"),
    ],
)
def test_each_search_reads_in_order_from_one_index(
    log: MemoryLog, history: SqliteHistory, monkeypatch: pytest.MonkeyPatch, wanted: HistoryQuery, index: str
) -> None:
    """No search sorts: it stops at its limit, however much there is."""
    fill(log, history, 10)
    plans: list[str] = []
    select = views.TimedReads.select

    def explained(reads: views.TimedReads, statement: str, values: object) -> list[object]:
        if "hits" in statement:
            plans.append("\n".join(row[3] for row in select(reads, f"EXPLAIN QUERY PLAN {statement}", values)))
        return select(reads, statement, values)

    monkeypatch.setattr(views.TimedReads, "select", explained)

    history.search(wanted)
    history.timeline(wanted)

    assert len(plans) >= 2
    for plan in plans:
        assert index in f"{plan} ", plan
        assert "TEMP B-TREE" not in plan


def test_a_search_by_time_starts_at_the_right_place(
    log: MemoryLog, history: SqliteHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of offsets that hold no such time are not read, and one odd clock spoils one block only."""
    monkeypatch.setattr(sqlite_history, "BLOCK_BITS", 4)
    append(log, [event(at=NOW + timedelta(minutes=n if n != 100 else -9_000)) for n in range(200)])
    history.add(log.read(-1, 200), after=-1)
    asked: list[dict[str, int]] = []
    select = views.TimedReads.select

    def seen(reads: views.TimedReads, statement: str, values: dict[str, int]) -> list[object]:
        if "low" in statement and isinstance(values, dict):
            asked.append(values)
        return select(reads, statement, values)

    monkeypatch.setattr(views.TimedReads, "select", seen)

    found = offsets(history, HistoryQuery(since=NOW + timedelta(minutes=40), until=NOW + timedelta(minutes=43)))

    assert found == [42, 41, 40]
    assert (asked[0]["low"], asked[0]["high"]) == (31, 112)
    assert offsets(history, HistoryQuery(until=NOW - timedelta(minutes=1))) == [100]


def test_pages_are_served_while_batches_are_stored(log: MemoryLog, history: SqliteHistory) -> None:
    """Searching from several threads neither fails nor sees half a batch."""
    append(log, [event("r1", words='{"w":"会议"}') for _ in range(3_000)])
    wrong: list[object] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            try:
                found = offsets(history, HistoryQuery(text="会议", limit=1_000))
                if found and (found[0] + 1) % 100:
                    wrong.append(found[0])
            except Overloaded:
                continue
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    index = Index(log, history)
    while asyncio.run(index.step(100)):
        continue
    done.set()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert history.lag() == 0


# --- following the log --------------------------------------------------------------------------


def test_the_stage_follows_until_it_is_cancelled(
    log: MemoryLog, history: SqliteHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts where it stopped, waits at the doorbell when there is nothing, and polls when it is not rung."""
    monkeypatch.setattr(index_stage, "GATHER", timedelta())

    async def live() -> None:
        await log.append(receipt(), [event() for _ in range(5)])
        bell = Bell()
        following = asyncio.ensure_future(follow(Index(log, history), bell, lambda: history.cursor() == 5))
        await asyncio.sleep(0.05)
        await log.append(receipt(), [event()])
        await following
        assert bell.waits

    asyncio.run(live())

    assert history.cursor() == 5


def test_whoever_stops_the_stage_waits_for_its_batch(log: MemoryLog, history: SqliteHistory) -> None:
    """A batch goes on in its thread: a storage that is closed under it is busy, and the process ends with a trace."""
    begun, may_end = threading.Event(), threading.Event()

    class Slow:
        def head(self) -> int:
            return log.head()

        def read(self, after: int, limit: int) -> list[Logged]:
            begun.set()
            may_end.wait(10)
            return log.read(after, limit)

    async def scenario() -> bool:
        running = asyncio.ensure_future(Index(Slow(), history).run(Bell()))
        await asyncio.to_thread(begun.wait, 10)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=0.05)
        may_end.set()
        await asyncio.gather(running, return_exceptions=True)
        return not done

    append(log, [event("r1")])

    assert asyncio.run(scenario())
    assert history.cursor() == log.head()


def test_a_full_disk_stalls_indexing_and_nothing_else(tmp_path: Path, log: MemoryLog) -> None:
    """The cursor stays, searches go on, and the batch is stored when there is space again."""
    append(log, [event("r1")])
    with faulty_disk() as disk, closing(SqliteHistory(tmp_path / "index.db", log.head)) as history:
        index = Index(log, history)
        asyncio.run(index.step(10))
        append(log, [event("r2") for _ in range(3)])
        disk.full = True

        with pytest.raises(StoreFailed, match=r"index\.db"):
            asyncio.run(index.step(10))
        assert (offsets(history, HistoryQuery()), history.lag()) == ([0], 3)

        disk.full = False
        asyncio.run(index.step(10))
        assert offsets(history, HistoryQuery()) == [3, 2, 1, 0]


def test_a_stalled_stage_tries_again(log: MemoryLog, history: SqliteHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that fails is no reason to end the process that serves the pages."""
    for name in ("GATHER", "STALLED"):
        monkeypatch.setattr(index_stage, name, timedelta())
    append(log, [event()])
    add, failures = history.add, 2

    def failing(*given: object, **named: object) -> bool:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise StoreFailed("no")
        return add(*given, **named)

    monkeypatch.setattr(history, "add", failing)

    asyncio.run(follow(Index(log, history), Bell(), lambda: not history.lag()))

    assert failures < 0


def test_history_ahead_of_its_log_begins_anew(log: MemoryLog, history: SqliteHistory) -> None:
    """After the log came back from an older backup, nothing of the lost events is shown."""
    append(log, [event("lost") for _ in range(5)])
    history.add(log.read(-1, 9), after=-1)
    restored = MemoryLog()
    append(restored, [event("kept")])

    asyncio.run(follow(Index(restored, history), Bell(), lambda: history.cursor() == 0))

    assert [hit.room_id for hit in history.search(HistoryQuery())] == ["kept"]


def test_indexing_leaves_nothing_open_in_the_log(tmp_path: Path, history: SqliteHistory) -> None:
    """Between two batches events.db can be checkpointed to its end (S7)."""
    path = tmp_path / "events.db"
    with closing(SqliteLog(path)) as writer, closing(SqliteLogReader(path)) as reader:
        asyncio.run(writer.append(receipt(), [event() for _ in range(50)]))
        index = Index(reader, history)
        asyncio.run(index.step(7))
        index.lag(NOW)

        with closing(apsw.Connection(str(path))) as other:
            other.execute("SELECT count(*) FROM log").fetchall()
            other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        assert Path(f"{path}-wal").stat().st_size == 0


def test_a_rebuild_by_another_process_is_noticed(tmp_path: Path, log: MemoryLog, history: SqliteHistory) -> None:
    """The page's process goes on behind the new cursor instead of leaving a gap."""
    append(log, [event() for _ in range(4)])
    index = Index(log, history)
    asyncio.run(index.step(3))
    with closing(SqliteHistory(tmp_path / "index.db", log.head)) as other:
        other.clear()

    while asyncio.run(index.step(3)):
        continue

    assert offsets(history, HistoryQuery()) == [3, 2, 1, 0]


class Paged:
    """A log whose erased pages read as nothing."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.head = log.head

    def read(self, after: int, limit: int) -> list[Logged]:
        return [one for one in self._log.read(after, limit) if one.offset <= after + limit]


def test_a_stretch_of_erased_entries_does_not_stop_indexing(
    log: MemoryLog, history: SqliteHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor passes it, also where a page of it reads as nothing; so do rebuilding and verifying."""
    monkeypatch.setattr(index_stage, "BATCH", 4)
    append(log, [event() for _ in range(20)])
    for offset in range(2, 18):
        log.erase(offset)
    for kept in (history, MemoryHistory(log.head)):
        index = Index(Paged(log), kept)
        before = index.lag(NOW)

        asyncio.run(follow(index, Bell(), lambda kept=kept: kept.lag() == 0))

        assert (before.events, index.lag(NOW).events, offsets(kept, HistoryQuery())) == (20, 0, [19, 18, 1, 0])
        assert index.verify() == Verified(entries=4)
        index.rebuild()
        assert offsets(kept, HistoryQuery()) == [19, 18, 1, 0]


def test_passing_a_stretch_by_another_cursor_is_refused(tmp_path: Path, log: MemoryLog, history: SqliteHistory) -> None:
    append(log, [event() for _ in range(4)])
    with closing(SqliteHistory(tmp_path / "index.db", log.head)) as other:
        assert other.skip(after=-1, until=2)

    assert not history.skip(after=-1, until=1)
    assert history.cursor() == 2


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be asked about" * 100])
def test_a_file_that_is_no_database_is_begun_anew(tmp_path: Path, log: MemoryLog, content: bytes) -> None:
    """The log holds all of it, so nobody needs to be asked."""
    path = tmp_path / "index.db"
    path.write_bytes(content)
    append(log, [event()])

    with closing(SqliteHistory(path, log.head)) as history:
        assert history.lag() == 1
        asyncio.run(Index(log, history).step(10))
        assert offsets(history, HistoryQuery()) == [0]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE hits SET room_id = 'other' WHERE offset = 3", 3),
        ("DELETE FROM hits WHERE offset = 4", 4),
        ("DELETE FROM words WHERE rowid = 5", 5),
        ("UPDATE words SET text = 'other' WHERE rowid = 6", 6),
    ],
)
def test_verifying_names_the_first_entry_that_differs(
    tmp_path: Path, log: MemoryLog, history: SqliteHistory, statement: str, named: int
) -> None:
    """Rows and words are compared with the log, one by one; a rebuild mends them."""
    fill(log, history, 20)
    index = Index(log, history)
    assert index.verify().first_wrong is None
    with closing(apsw.Connection(str(tmp_path / "index.db"))) as hand:
        hand.execute(statement)

    assert index.verify().first_wrong == named

    assert index.rebuild() == 20
    assert index.verify().first_wrong is None


def test_damage_below_the_rows_is_found(tmp_path: Path, log: MemoryLog, history: SqliteHistory) -> None:
    """Words that differ from their index are found too, where every row looks right."""
    fill(log, history, 20)
    with closing(apsw.Connection(str(tmp_path / "index.db"))) as hand:
        hand.execute("DELETE FROM words_data WHERE id > 10")

    assert Index(log, history).verify().damage is not None

    Index(log, history).rebuild()
    assert Index(log, history).verify().damage is None


class Tampered:
    """A log of which one entry holds what no wire can bring: a room whose name is a number."""

    def __init__(self, log: MemoryLog, offset: int) -> None:
        self._log = log
        self._offset = offset
        self.head = log.head

    def read(self, after: int, limit: int) -> list[Logged]:
        return [self._odd(one) if one.offset == self._offset else one for one in self._log.read(after, limit)]

    def _odd(self, one: Logged) -> Logged:
        number: Any = 5
        return replace(one, event=replace(one.event, room_id=number))


@pytest.mark.parametrize("storage", [MemoryHistory, SqliteHistory])
def test_an_entry_that_breaks_the_search_is_passed_and_costs_nobody_else(tmp_path: Path, log: MemoryLog, storage: Any):
    append(log, [event("r1", f"u{number}", key=f"k{number}") for number in range(5)])
    given = (tmp_path / "index.db", log.head) if storage is SqliteHistory else (log.head,)
    history = storage(*given)
    index = Index(Tampered(log, 2), history)

    assert asyncio.run(index.step(100)) == 5

    found = history.timeline(HistoryQuery(room_id="r1", limit=10))
    assert ([one.offset for one in found], index.unsearchable) == ([0, 1, 3, 4], 1)
    assert index.verify() == Verified(entries=5)
    if storage is SqliteHistory:
        history.close()


def tear(path: Path) -> None:
    """Overwrite the later half of the pages, as a disk that goes bad."""
    with closing(apsw.Connection(str(path))) as database:
        database.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    pages = path.stat().st_size // PAGE
    with path.open("r+b") as file:
        file.seek(pages // 2 * PAGE)
        file.write(b"\xa5" * PAGE * (pages - pages // 2))


@pytest.mark.parametrize("found_by", ["search", "batch", "start"])
def test_a_damaged_search_is_set_aside_and_made_anew_from_the_log(tmp_path: Path, log: MemoryLog, found_by: str):
    """Whoever finds it first: old and new events are found, the damaged file is kept to be looked at."""
    path = tmp_path / "index.db"
    with closing(SqliteHistory(path, log.head)) as history:
        fill(log, history, 400)
    tear(path)
    if found_by == "start":
        path.write_bytes(b"no database any more" * 1_000)
    with closing(SqliteHistory(path, log.head)) as history:
        index = Index(log, history)
        if found_by == "search":
            with pytest.raises(StoreFailed, match="try again shortly"):
                history.search(HistoryQuery(room_id="room3", limit=400))
        append(log, [event("room3", "new")])

        while asyncio.run(index.step(100)):
            continue

        found = history.search(HistoryQuery(room_id="room3", limit=400))
        assert [hit.offset for hit in found] == [400, *range(353, 0, -50)]
        assert (history.lag(), history.renewed, history.damage()) == (0, 1, None)
    assert (tmp_path / "index.db.damaged").exists()


def test_a_search_that_cannot_be_renewed_yet_is_renewed_later(tmp_path: Path, log: MemoryLog) -> None:
    """Whatever stood in the way, the stage goes on when it is gone: nobody has to start the process anew."""
    path, aside = tmp_path / "index.db", tmp_path / "index.db.damaged"
    with closing(SqliteHistory(path, log.head)) as history:
        fill(log, history, 400)
    tear(path)
    with closing(SqliteHistory(path, log.head)) as history:
        index = Index(log, history)
        append(log, [event("room3", f"new{number}", key=f"new{number}") for number in range(200)])
        aside.mkdir()
        with pytest.raises(OSError, match="directory"):
            asyncio.run(index.step(200))

        aside.rmdir()
        while asyncio.run(index.step(100)):
            continue

        assert (history.lag(), history.renewed) == (0, 1)


class Torn:
    """A log that is damaged itself."""

    def __init__(self, log: MemoryLog) -> None:
        self.head = log.head

    def read(self, after: int, limit: int) -> list[Logged]:
        raise StoreDamaged("events.db is damaged: CorruptError")


def test_a_damaged_log_costs_no_search(log: MemoryLog, history: SqliteHistory) -> None:
    """What is searchable stays so: from such a log nobody could make it again."""
    fill(log, history, 20)

    with pytest.raises(StoreDamaged, match=r"events\.db"):
        asyncio.run(Index(Torn(log), history).step(100))

    assert (history.cursor(), history.renewed, len(offsets(history, HistoryQuery()))) == (19, 0, 20)
