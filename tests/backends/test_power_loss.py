"""Power is lost at any moment, and with it whatever no sync brought to the plate: nothing acknowledged is (S3)."""

import asyncio
import random  # noqa: TID251 - seeded
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from lost_power import powerless_disk
from under_load import TABLE, Machine, folded, keys_of, one_event

from northbound.backends.sqlite import checkpoint
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.log import SqliteLog
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.dialects import all_dialects
from northbound.stages.follow import Follow
from northbound.testing.conformance.storage import receipt

SEEDS = (1, 2, 3)
CUTS = 5  # of one run


@pytest.fixture(autouse=True)
def short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the write-ahead logs be copied and begun anew all the time: that is where an order of syncs matters."""
    for name, pages in {"COPY_ABOVE": 20, "RESTART_ABOVE": 60, "LITTLE": 50, "LOOK_EVERY": 0}.items():
        monkeypatch.setattr(checkpoint, name, pages)


def load_and_cut(tmp_path: Path, seed: int, *, synced: bool = True) -> list[tuple[Path, set[str]]]:
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    left: list[tuple[Path, set[str]]] = []
    (tmp_path / "live").mkdir()
    with powerless_disk() as disk, closing(Machine(tmp_path / "live")) as machine:

        def cut() -> None:
            folder = tmp_path / f"cut{len(left)}"
            folder.mkdir()
            left.append((folder, set(machine.acknowledged)))
            disk.cut(folder, dice)

        if not synced:
            machine.log._db.execute("PRAGMA synchronous=OFF")
        asyncio.run(asyncio.wait_for(machine.run([cut] * CUTS, dice), 60))
    return left


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acknowledged_is_lost_with_the_power(tmp_path: Path, seed: int) -> None:
    """What is left holds all that was promised, agrees with itself, and goes on (S3)."""
    for folder, told in load_and_cut(tmp_path, seed):
        with (
            closing(SqliteLog(folder / "events.db", horizon=timedelta(days=30))) as log,
            closing(SqliteLogReader(folder / "events.db")) as reader,
            closing(SqliteDeliveries(folder / "deliveries.db")) as store,
        ):
            assert told <= keys_of(reader), "acknowledged, and gone"
            assert reader.verify_chain()[1] is None
            assert store.cursor() <= reader.head(), "routed what is not there"
            rooms = folded(reader, store.cursor())
            assert rooms == {key: store.room(key) for key in rooms}

            known = min(told)
            caller, number = map(int, known.split("-"))
            repeated = asyncio.run(log.append(receipt(), [one_event(caller, number, known)]))
            assert (repeated.ids, repeated.duplicates) == ((), 1)
            follow = Follow(reader, store, all_dialects(), lambda: TABLE, log.conclude, lambda *_: None)
            while asyncio.run(follow.step(500)):
                continue
            assert store.cursor() == reader.head()
            ids = [found.id for one in store.waiting() if (found := store.load(one.number)) is not None]
            assert len(ids) == len(set(ids)) == reader.head() + 1, "each event routed once"


def test_a_writer_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    """The disk of these tests forgets for real: without syncs, acknowledged events are gone."""
    lost = 0
    for folder, told in load_and_cut(tmp_path, 7, synced=False):
        try:
            with closing(SqliteLogReader(folder / "events.db")) as reader:
                lost += len(told - keys_of(reader))
        except Exception:  # torn beyond reading is lost too
            lost += len(told)

    assert lost > 0
