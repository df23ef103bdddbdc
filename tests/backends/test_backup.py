"""A backup taken under load is one moment of the hub, and serves elsewhere (S14)."""

import asyncio
import json
import random  # noqa: TID251 - seeded
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner
from under_load import Machine, keys_of, one_event

from northbound.backends.sqlite.log import SqliteLog
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.cli import app
from northbound.config import Config
from northbound.hub.supervisor import prepare
from northbound.testing.conformance.storage import receipt

BACKUPS = 4


def run(*words: object) -> Result:
    return CliRunner(env={"NO_COLOR": "1"}).invoke(app, [str(word) for word in words])


def told(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    prepare(Config(data=str(tmp_path / "live")))
    return tmp_path / "live"


def test_a_backup_under_write_load_is_whole_and_equals_its_refold(tmp_path: Path, live: Path) -> None:
    """Each holds all that was acknowledged before it began; restored elsewhere it verifies, and goes on."""
    taken: list[tuple[set[str], dict[str, Any]]] = []
    with closing(Machine(live)) as machine:

        def back_up() -> None:
            acknowledged = set(machine.acknowledged)
            taken.append((acknowledged, told(run("backup", tmp_path / f"b{len(taken)}", "--data", live, "--json"))))

        asyncio.run(asyncio.wait_for(machine.run([back_up] * BACKUPS, random.Random(5)), 60))  # noqa: S311 - a test's

    for number, (acknowledged, found) in enumerate(taken):
        elsewhere = tmp_path / "elsewhere" / str(number)
        shutil.move(tmp_path / f"b{number}", elsewhere)
        verified = told(run("rebuild", "--verify", "--data", elsewhere, "--json"))
        assert (verified["cursor"], verified["difference"]) == (found["cursor"], None)
        assert verified["rooms"] > 0
        assert found["head"] >= found["cursor"]
        assert told(run("log", "verify", "--data", elsewhere, "--json"))["broken_at"] is None
        with (
            closing(SqliteLog(elsewhere / "events.db")) as log,
            closing(SqliteLogReader(elsewhere / "events.db")) as reader,
        ):
            assert acknowledged <= keys_of(reader)
            assert len(asyncio.run(log.append(receipt(), [one_event(99, 0, "new")])).ids) == 1
    names = {"admin.key", "events.db", "deliveries.db", "control.db"}
    assert names <= {path.name for path in elsewhere.iterdir()}
    assert {path.stat().st_mode & 0o077 for path in (elsewhere, elsewhere / "admin.key")} == {0}


def test_a_backup_is_never_mixed_with_what_is_there(tmp_path: Path, live: Path) -> None:
    existing, cut_off = tmp_path / "there", tmp_path / "cut.part"
    existing.mkdir()
    cut_off.mkdir()
    shutil.copy(live / "control.db", live / "events.db")  # no log

    refused = [
        run("backup", where, "--data", data)
        for where, data in (
            (existing, live),
            (tmp_path / "cut", live),
            (tmp_path / "b", tmp_path / "nothing"),
            (tmp_path / "torn", live),
        )
    ]

    assert [one.exit_code for one in refused] == [2, 2, 2, 3]
    for one, word in zip(refused, ("exists already", "cut.part", "--data", "torn.part"), strict=True):
        assert word in one.output
    assert not (tmp_path / "torn").exists()
