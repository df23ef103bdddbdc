"""The log on SQLite under real faults: killed writers, full and failing disks, flipped bits, long readers (S2-S8)."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest
from faulty_disk import faulty_disk
from msgspec.structs import replace

from northbound.backends.sqlite import checkpoint, database, forgetting, log
from northbound.backends.sqlite.database import migrations, open_reader, open_writer
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.log import SqliteLog
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.model.errors import StoreFailed
from northbound.model.log import Appended
from northbound.model.wire import Request
from northbound.ports import Folded
from northbound.testing.conformance.storage import delivery, event, receipt

BIG = '{"filling":"' + "x" * 20_000 + '"}'


@contextmanager
def opened(path: Path, **settings: Any) -> Iterator[tuple[SqliteLog, SqliteLogReader]]:
    with closing(SqliteLog(path, **settings)) as writer, closing(SqliteLogReader(path)) as reader:
        yield writer, reader


def append(writer: SqliteLog, *keys: str | None, words: str = '{"n":1}', number: int = 0) -> Appended:
    events = [event(key=key, words=words) for key in keys]
    return asyncio.run(writer.append(receipt(number), events))


def append_until_refused(writer: SqliteLog) -> None:
    for number in range(100):
        append(writer, f"k{number}", words=BIG)


def count(path: Path, table: str) -> int:
    with closing(apsw.Connection(str(path))) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen within 5 s"
        time.sleep(0.01)


# --- S2: killed between the commit and its answer -----------------------------------------------

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from northbound.backends.sqlite.log import SqliteLog
from northbound.testing.conformance.storage import event, receipt
log = SqliteLog(Path(sys.argv[1]), on_commit=lambda: os.kill(os.getpid(), signal.SIGKILL))
asyncio.run(log.append(receipt(1), [event(key=sys.argv[2] or None)]))
print("answered")
"""


@pytest.mark.parametrize(("key", "entries"), [("a", 1), ("", 2)])
def test_a_writer_killed_after_the_commit_is_retried_by_the_vendor(tmp_path: Path, key: str, entries: int) -> None:
    """With an id on the wire: one event and two receipts. Without: two entries, and state decides (S2)."""
    path = tmp_path / "events.db"
    died = subprocess.run([sys.executable, "-c", KILLED, str(path), key], capture_output=True, check=False, timeout=30)
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, b"")

    with opened(path) as (writer, reader):
        append(writer, key or None, number=2)

        assert len(reader.read(-1, 10)) == entries
        assert count(path, "receipts") == 2
        assert reader.verify_chain() == (entries, None)


# --- S4: the disk is full -----------------------------------------------------------------------


def test_a_full_database_stores_nothing_and_recovers_unaided(tmp_path: Path) -> None:
    """No half rows while there is no space, and nothing to be done once there is (S4)."""
    path = tmp_path / "events.db"
    with opened(path) as (writer, reader):
        append(writer, "a")
        pages = writer._db.execute("PRAGMA page_count").fetchone()[0]
        writer._db.execute(f"PRAGMA max_page_count={pages + 2}")

        for _ in range(3):
            with pytest.raises(StoreFailed, match="disk is full"):
                append(writer, "b", "c", words=BIG)
        assert (reader.head(), count(path, "receipts"), count(path, "seen")) == (0, 1, 1)
        assert writer.failed is None

        writer._db.execute("PRAGMA max_page_count=1000000")
        assert len(append(writer, "b", "c", words=BIG).ids) == 2
        assert [entry.offset for entry in reader.read(-1, 9)] == [0, 1, 2]
        assert reader.verify_chain() == (3, None)


def test_a_full_disk_fails_all_that_wait_and_only_them(tmp_path: Path) -> None:
    """Requests that share a commit are all told, each with an error of its own (S4)."""
    with faulty_disk() as disk, opened(tmp_path / "events.db") as (writer, reader):

        async def crowd(first: int) -> list[Appended | BaseException]:
            appends = [writer.append(receipt(n), [event(key=f"k{first + n}")]) for n in range(20)]
            return await asyncio.gather(*appends, return_exceptions=True)

        disk.full = True
        failed = asyncio.run(crowd(0))
        disk.full = False
        stored = asyncio.run(crowd(0))

        assert {type(one) for one in failed} == {StoreFailed}
        assert len({id(one) for one in failed}) == 20
        assert all(isinstance(one, Appended) and len(one.ids) == 1 for one in stored)
        assert reader.head() == 19
        assert reader.verify_chain() == (20, None)


def test_a_full_disk_does_not_end_the_writer_while_it_is_idle(tmp_path: Path) -> None:
    """Forgetting old ids is not worth a thread (S4)."""
    with faulty_disk() as disk, opened(tmp_path / "events.db") as (writer, _):
        append(writer, "old")
        writer._db.execute("UPDATE seen SET expires = 1")
        disk.full = True
        writer._forget_old()
        disk.full = False

        assert count(tmp_path / "events.db", "seen") == 1
        writer._forget_old()
        assert count(tmp_path / "events.db", "seen") == 0
        assert len(append(writer, "old").ids) == 1


# --- ids are forgotten ---


def test_ids_are_forgotten_under_a_load_that_never_lets_up(tmp_path: Path) -> None:
    """What has expired is gone soon, though the writer never rests; what has not is a repeat as before."""
    path = tmp_path / "events.db"
    with opened(path, horizon=timedelta(days=36_500)) as (writer, _):
        append(writer, *[f"kept{number}" for number in range(1000)])
    with opened(path, horizon=timedelta()) as (writer, _):  # expired with the next request
        most = 0
        for turn in range(40):
            append(writer, *[f"{number * 7919 % 1000:03}-{turn}" for number in range(200)], number=turn)
            most = max(most, count(path, "seen"))
        repeated = append(writer, *[f"kept{number}" for number in range(1000)])

    assert most < 1000 + 3 * 1000
    assert repeated.duplicates == 1000


def test_a_commit_is_stored_though_nothing_can_be_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path / "events.db") as (writer, reader):
        writer._db.execute("CREATE TRIGGER kept BEFORE DELETE ON seen BEGIN SELECT RAISE(ABORT, 'kept'); END")
        append(writer, *[f"old{number}" for number in range(forgetting.AFTER - 1)])
        writer._db.execute("UPDATE seen SET expires = 1")

        assert len(append(writer, "new").ids) == 1
        assert reader.head() == forgetting.AFTER - 1


# --- S5: a sync fails ---------------------------------------------------------------------------


def test_one_failed_sync_stops_the_log_until_it_is_opened_again(tmp_path: Path) -> None:
    """What such a sync left on disk is not known, so nothing is acknowledged on top of it (S5)."""
    path = tmp_path / "events.db"
    with faulty_disk() as disk:
        with opened(path) as (writer, _):
            append(writer, "a")
            disk.sync_faults = 1

            with pytest.raises(StoreFailed, match="nothing was stored"):
                append(writer, "b")
            assert disk.sync_faults == 0, "the disk works again"
            for key in ("b", "c"):
                with pytest.raises(StoreFailed, match="restart"):
                    append(writer, key)
            assert writer.failed is not None

        with opened(path) as (writer, reader):
            again = append(writer, "b", "c")
            assert len(again.ids) + again.duplicates == 2
            assert sorted(entry.event.dedupe_key or "" for entry in reader.read(-1, 9)) == ["a", "b", "c"]
            assert reader.verify_chain() == (3, None)


def test_a_failed_sync_of_the_copier_stops_the_log_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database's own sync is no less a promise than the log's (S5)."""
    monkeypatch.setattr(checkpoint, "COPY_ABOVE", 4)
    with faulty_disk() as disk, opened(tmp_path / "events.db") as (writer, _):
        disk.syncs_of = "events.db"
        disk.sync_faults = 1
        append(writer, "a", words=BIG)
        wait_until(lambda: disk.sync_faults == 0 and writer._checkpointer.failed is not None)

        with pytest.raises(StoreFailed, match="restart"):
            append(writer, "b")


def test_a_failed_sync_stops_deliveries_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The delivery process ends and is started again (S5)."""
    monkeypatch.setattr(checkpoint, "COPY_ABOVE", 1)
    with faulty_disk() as disk, closing(SqliteDeliveries(tmp_path / "deliveries.db")) as store:
        store.add([delivery(1)])
        wait_until(lambda: store._checkpointer._copied > 0)
        disk.syncs_of = "deliveries.db"
        disk.sync_faults = 1
        store.add([delivery(2)])
        wait_until(lambda: store._checkpointer.failed is not None)

        with pytest.raises(StoreFailed, match="restart"):
            store.add([delivery(3)])
        assert len(store.waiting()) == 2


# --- S6: flipped bytes --------------------------------------------------------------------------


def flip(path: Path, needle: bytes, place: int = 0) -> None:
    content = bytearray(path.read_bytes())
    assert content.count(needle) == 1
    content[content.index(needle) + place] ^= 0x04
    path.write_bytes(content)


@pytest.mark.parametrize("needle", ["needle-3", "body-3"])
def test_a_flipped_bit_is_named_by_its_offset(tmp_path: Path, needle: str) -> None:
    """In an event or in the request that brought it: the chain says where (S6)."""
    path = tmp_path / "events.db"
    with opened(path) as (writer, _):
        for n in range(6):
            request = Request(method="POST", url="http://hub.test/", body=f"body-{n}".encode())
            one = replace(receipt(n), request=request)
            asyncio.run(writer.append(one, [event(words=f'{{"w":"needle-{n}"}}')]))
    with opened(path) as (_, reader):
        assert reader.verify_chain(limit=4) == (6, None)

    flip(path, needle.encode())

    with opened(path) as (_, reader):
        assert reader.verify_chain(limit=4) == (3, 3)


def test_a_removed_or_changed_row_breaks_the_chain(tmp_path: Path) -> None:
    """Nothing in the middle can go or be swapped unseen; what was erased by the rules is no break (S6, R16)."""
    path = tmp_path / "events.db"
    with opened(path) as (writer, reader):
        append(writer, *(f"k{n}" for n in range(6)))
        with closing(apsw.Connection(str(path))) as hand:
            hand.execute("UPDATE log SET event = NULL, salt = NULL WHERE offset = 1")
            hand.execute("UPDATE receipts SET body = NULL, salt = NULL, url = NULL, method = NULL")
            assert reader.verify_chain() == (6, None)

            hand.execute("UPDATE log SET digest = zeroblob(32) WHERE offset = 4")
            assert reader.verify_chain() == (4, 4)
            hand.execute("DELETE FROM log WHERE offset = 2")
            assert reader.verify_chain() == (2, 3)


def test_a_torn_page_is_never_served(tmp_path: Path) -> None:
    """A file that is no database any more fails on opening, with nothing stored over it (S6)."""
    path = tmp_path / "events.db"
    with opened(path) as (writer, _):
        append(writer, "a")
    content = bytearray(path.read_bytes())
    content[0:16] = b"not a database!!"
    path.write_bytes(content)

    with pytest.raises(apsw.NotADBError):
        SqliteLog(path)

    assert path.read_bytes() == bytes(content)


# --- S7: long readers ---------------------------------------------------------------------------


def test_a_foreign_reader_is_refused_at_the_cap_and_forgiven_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot make the write-ahead log grow without end, and when it is gone the log takes events again (S7)."""
    path = tmp_path / "events.db"
    monkeypatch.setattr(log, "WAL_CAP", 400_000)
    monkeypatch.setattr(checkpoint, "RESTART_ABOVE", 20)
    monkeypatch.setattr(checkpoint, "LOOK_EVERY", 0.0)
    with opened(path) as (writer, reader), closing(apsw.Connection(str(path))) as foreign:
        append(writer, "first")
        foreign.execute("BEGIN; SELECT count(*) FROM log")

        with pytest.raises(StoreFailed, match="foreign reader"):
            append_until_refused(writer)
        held, size = reader.head(), Path(f"{path}-wal").stat().st_size
        for _ in range(5):
            with pytest.raises(StoreFailed, match="foreign reader"):
                append(writer, "refused", words=BIG)
        assert (reader.head(), Path(f"{path}-wal").stat().st_size) == (held, size)

        foreign.execute("ROLLBACK")
        append(writer, "refused", words=BIG)
        append(writer, "more", words=BIG)
        assert reader.head() == held + 2
        assert writer._checkpointer.wal_bytes < 400_000
        assert reader.verify_chain() == (held + 3, None)


def test_steady_load_does_not_grow_the_write_ahead_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any pause between commits the log still starts again from its beginning (S7)."""
    monkeypatch.setattr(checkpoint, "COPY_ABOVE", 40)
    monkeypatch.setattr(checkpoint, "RESTART_ABOVE", 100)
    monkeypatch.setattr(checkpoint, "LOOK_EVERY", 0.0)
    path = tmp_path / "events.db"

    async def load(writer: SqliteLog) -> int:
        largest = 0
        for number in range(150):
            await writer.append(receipt(number), [event(words=BIG)])
            largest = max(largest, writer._checkpointer.wal_bytes)
        return largest

    with opened(path) as (writer, reader):
        largest = asyncio.run(load(writer))

        assert largest < 1_500_000
        assert count(path, "log") * 20_000 > 2 * largest, "more was written than the write-ahead log ever held"
        assert reader.verify_chain() == (150, None)


def test_our_own_reads_leave_nothing_open(tmp_path: Path) -> None:
    """After a read the write-ahead log can be emptied: no read of ours outlives its call (S7)."""
    path = tmp_path / "events.db"
    with opened(path) as (writer, reader):
        append(writer, *(f"k{n}" for n in range(50)))
        reader.read(-1, 7)
        reader.head()
        reader.at(3)
        reader.repeats(3)
        reader.quarantined(10, 10)
        reader.verify_chain(limit=7)

        with closing(apsw.Connection(str(path))) as other:
            other.execute("SELECT count(*) FROM log").fetchall()  # only then it knows of the write-ahead log
            other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        assert Path(f"{path}-wal").stat().st_size == 0


# --- S8: migrations -----------------------------------------------------------------------------

NEXT = (
    """
    ALTER TABLE about ADD COLUMN since INTEGER NOT NULL DEFAULT 7; UPDATE about SET value = value || '!';
    CREATE TABLE extra (a); INSERT INTO extra SELECT offset FROM log;
    """,
    "CREATE INDEX extra_a ON extra (a); DELETE FROM extra WHERE a = 0;",
)

MIGRATED = """
import os, signal, sys
from pathlib import Path
import apsw
from faulty_disk import FaultyDisk
from northbound.backends.sqlite import database
path, *scripts = sys.argv[1:]
database.migrations = lambda schema: tuple(scripts)
plain = apsw.Connection

def die_after(steps):
    left = steps
    def count():
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return False
    def connect(*given, **named):
        connection = plain(*given, **named)
        connection.set_progress_handler(count, 1)
        return connection
    disk = FaultyDisk()
    disk.on_write = count
    apsw.set_default_vfs("faulty")
    apsw.Connection = connect

for steps in range(1, 5000, 9):
    child = os.fork()
    if child == 0:
        die_after(steps)
        database.open_writer(Path(path), "events")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
    if not os.WIFSIGNALED(status):
        break
"""


def migrate_and_die(path: Path, scripts: Sequence[str]) -> list[int]:
    """Migrate *path* in processes that are killed a little later each time, until one gets through."""
    done = subprocess.run(
        [sys.executable, "-c", MIGRATED, str(path), *scripts],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [int(line) for line in done.stdout.split()]


def test_a_new_database_survives_being_killed_anywhere(tmp_path: Path) -> None:
    """Whatever was created before the kill, the next start goes on from it (S8)."""
    path = tmp_path / "events.db"
    ends = migrate_and_die(path, migrations("events"))

    assert (set(ends[:-1]), ends[-1]) == ({-signal.SIGKILL}, 0)
    assert len(ends) > 20
    with opened(path) as (writer, reader):
        assert len(append(writer, "a").ids) == 1
        assert reader.head() == 0
        assert writer._db.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_a_migration_that_is_killed_is_done_wholly_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is one transaction with its number; nothing is done twice (S8)."""
    path = tmp_path / "events.db"
    scripts = (*migrations("events"), *NEXT)
    with opened(path) as (writer, _):
        append(writer, *(f"k{n}" for n in range(200)))
        log_id = writer.log_id

    ends = migrate_and_die(path, scripts)

    assert (set(ends[:-1]), ends[-1]) == ({-signal.SIGKILL}, 0)
    assert len(ends) > 20
    monkeypatch.setattr(database, "migrations", lambda _: scripts)
    with closing(open_writer(path, "events")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(scripts),)
        assert connection.execute("SELECT value, since FROM about").fetchone() == (f"{log_id}!", 7)
        assert connection.execute("SELECT count(*), min(a) FROM extra").fetchone() == (199, 1)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_an_older_version_refuses_a_newer_schema(tmp_path: Path) -> None:
    """It says which version wrote the file, and changes nothing (S8)."""
    path = tmp_path / "events.db"
    with opened(path) as (writer, _):
        append(writer, "a")
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA user_version=99")

    with pytest.raises(StoreFailed, match="newer northbound"):
        SqliteLog(path)

    with closing(open_reader(path)) as connection:
        assert connection.execute("SELECT count(*) FROM log").fetchone() == (1,)


# --- around the writer --------------------------------------------------------------------------


def test_a_bell_that_fails_is_no_reason_to_store_twice(tmp_path: Path) -> None:
    """What is committed is committed, whoever does not hear of it."""

    def bell() -> None:
        raise OSError("nobody there")

    with opened(tmp_path / "events.db", on_commit=bell) as (writer, reader):
        ids = [append(writer, None).ids for _ in range(3)]

        assert [entry.id for entry in reader.read(-1, 9)] == [one for (one,) in ids]
        assert reader.verify_chain() == (3, None)


def test_a_caller_that_gave_up_does_not_stop_the_writer(tmp_path: Path) -> None:
    """Its loop may be gone when the commit is done."""
    with opened(tmp_path / "events.db") as (writer, reader):

        async def give_up() -> None:
            task = asyncio.ensure_future(writer.append(receipt(), [event(key="a")]))
            await asyncio.sleep(0)
            task.cancel()

        for _ in range(5):
            asyncio.run(give_up())
        assert append(writer, "b").ids
        assert append(writer, "a").duplicates == 1
        assert reader.head() == 1


def test_a_step_of_routing_is_one_transaction(tmp_path: Path) -> None:
    """The cursor is never on disk without what it led to, nor that without the cursor (law 3)."""
    commits = 0

    def committed() -> bool:
        nonlocal commits
        commits += 1
        return False

    with closing(SqliteDeliveries(tmp_path / "deliveries.db")) as store:
        store._db.set_commit_hook(committed)
        store.commit(Folded(cursor=4, deliveries=[delivery(1)], losses=[("ep_1", "lost", "x", "y")]))

        assert (commits, store.cursor(), len(store.waiting())) == (1, 4, 1)


def test_repeats_are_found_by_their_entry(tmp_path: Path) -> None:
    """Without reading every repeat there ever was."""
    with opened(tmp_path / "events.db") as (writer, reader):
        append(writer, "a", "b")
        for number in range(3):
            append(writer, "b", number=number)

        assert reader.repeats(1) == [2, 3, 4]
        plan = writer._db.execute("EXPLAIN QUERY PLAN " + database.query("events.repeats_of"), (1,)).fetchall()
        assert "SEARCH" in plan[0][3]


def test_the_writer_is_alone(tmp_path: Path) -> None:
    """No other thread of the process is left behind by a closed log."""
    before = len(list(Path("/proc/self/task").iterdir()))
    for _ in range(3):
        with opened(tmp_path / "events.db") as (writer, _):
            append(writer, None)
    assert len(list(Path("/proc/self/task").iterdir())) <= before + 1
