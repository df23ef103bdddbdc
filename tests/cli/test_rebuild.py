"""rebuild and log verify against a folder that the real stages filled."""

import asyncio
import fcntl
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace
from running import run

from northbound.backends.sqlite.database import open_writer
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.log import SqliteLog
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.dialects import all_dialects, dialect_named
from northbound.hub.system import Folder
from northbound.logic.route import build_table
from northbound.model.app import Registry
from northbound.model.log import Logged, NotFolded, Receipt
from northbound.model.wire import Proof, Request
from northbound.ports import Folded
from northbound.stages.follow import Follow
from northbound.testing.replay_stream import read_groups, sample_path


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A data folder into which the captured stream was taken and followed, as the hub does."""
    folder = Folder(str(tmp_path / "data"))
    folder.create()
    asyncio.run(_fill(folder))
    return folder


async def _fill(folder: Folder) -> None:
    for path, schema in ((folder.events, "events"), (folder.deliveries, "deliveries")):
        open_writer(path, schema).close()
    log = SqliteLog(folder.events, horizon=timedelta(days=30), on_commit=lambda: None)
    store = SqliteDeliveries(folder.deliveries)

    async def conclude(entries: Sequence[Logged]) -> int:
        return await log.conclude(entries)

    reader = SqliteLogReader(folder.events)
    table = build_table(Registry())
    follow = Follow(reader, store, all_dialects(), lambda: table, conclude, lambda *_: None)
    dialect = dialect_named("janus")
    for group in read_groups(sample_path()):
        request = Request(method="POST", url="http://hub.test/in/src_1/t", body=group.body)
        receipt = Receipt(source_id="src_1", received_at=datetime.now(UTC), request=request, proof=Proof.NONE)
        await log.append(receipt, dialect.decode(request, {}))
        await follow.step(1000)
    while await follow.step(1000):
        pass
    reader.close()
    store.close()
    log.close()


def test_the_log_folded_again_is_what_lives(folder: Folder) -> None:
    done = run("rebuild", "--verify", "--data", str(folder.path), "--json")

    found = json.loads(done.stdout)
    assert done.exit_code == 0, done.output
    assert found["rooms"] > 0
    assert found["difference"] is None


def _spoil(folder: Folder) -> None:
    with apsw.Connection(str(folder.deliveries)) as database:
        database.execute("UPDATE rooms SET state = json_set(CAST(state AS TEXT), '$.peak', 99) WHERE key LIKE '%/r1'")
    database.close()


def test_a_room_that_differs_is_named_with_the_first_place(folder: Folder) -> None:
    _spoil(folder)

    done = run("rebuild", "--verify", "--data", str(folder.path))

    assert done.exit_code == 1
    assert "at peak" in done.stdout
    assert "live:   99" in done.stdout


def test_a_room_that_is_gone_is_a_difference(folder: Folder) -> None:
    with apsw.Connection(str(folder.deliveries)) as database:
        database.execute("DELETE FROM rooms WHERE key LIKE '%/r1'")
    database.close()

    done = run("rebuild", "--verify", "--data", str(folder.path), "--json")

    assert json.loads(done.stdout)["difference"]["live"] == "no such room"


def test_rebuild_writes_the_rooms_anew_and_keeps_what_was_sent(folder: Folder) -> None:
    """Also past instances and what derivation remembers; where each endpoint is in a room stays."""
    before = _tables(folder)
    with apsw.Connection(str(folder.deliveries)) as database:
        database.execute("UPDATE rooms SET sent = '{\"ep_1\":3}'")
        database.execute("DELETE FROM past_rooms")
        database.execute("DELETE FROM memories")
    database.close()
    _spoil(folder)

    done = run("rebuild", "--data", str(folder.path), "--json")

    assert done.exit_code == 0, done.output
    assert run("rebuild", "--verify", "--data", str(folder.path)).exit_code == 0
    assert _tables(folder) == before
    database = apsw.Connection(str(folder.deliveries))
    assert {row[0] for row in database.execute("SELECT CAST(sent AS TEXT) FROM rooms")} == {'{"ep_1":3}'}
    database.close()


def _tables(folder: Folder) -> list[list[object]]:
    database = apsw.Connection(str(folder.deliveries))
    statements = (
        "SELECT key, open, state FROM rooms ORDER BY key",
        "SELECT key, instance, state FROM past_rooms ORDER BY key, instance",
        "SELECT source_id FROM memories ORDER BY source_id",
    )
    found = [list(database.execute(statement)) for statement in statements]
    database.close()
    return found


def test_rebuild_refuses_while_serve_runs(folder: Folder) -> None:
    with folder.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        done = run("rebuild", "--data", str(folder.path))

    assert done.exit_code == 2
    assert "--verify" in done.stderr


def test_log_verify_finds_a_changed_entry(folder: Folder) -> None:
    good = run("log", "verify", "--data", str(folder.path))
    with apsw.Connection(str(folder.events)) as database:
        database.execute(
            "UPDATE log SET event = CAST(replace(CAST(event AS TEXT), 'r1', 'r2') AS BLOB) WHERE offset = 4"
        )
    database.close()

    bad = run("log", "verify", "--data", str(folder.path), "--json")

    assert good.exit_code == 0, good.output
    assert "the chain hold" in good.stdout
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["broken_at"] == 4


def test_a_damaged_database_is_no_traceback(folder: Folder) -> None:
    folder.deliveries.write_bytes(b"this is no database at all" * 100)

    done = run("rebuild", "--verify", "--data", str(folder.path))

    assert done.exit_code == 3
    assert "cannot be read" in done.stderr


def test_a_rebuild_takes_in_what_an_older_version_set_aside(folder: Folder) -> None:
    """What is folded now and told nobody stays noted, as what was folded then: a rebuild sends nothing by itself."""
    store = SqliteDeliveries(folder.deliveries)
    one = NotFolded(offset=3, event_id="ev_3", source_id="src_1", part="fold", reason="TypeError in project.apply")
    untold = replace(one, offset=5, event_id="ev_5", part="route", reason="ValueError in stats.tally")
    store.commit(Folded(cursor=store.cursor(), not_folded=[one, untold]))
    store.close()

    done = run("rebuild", "--data", str(folder.path))

    assert done.exit_code == 0, done.output
    store = SqliteDeliveries(folder.deliveries)
    assert store.not_folded(10) == (2, [untold, replace(one, part="route")])
    store.close()
