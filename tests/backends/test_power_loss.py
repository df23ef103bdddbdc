"""Power is lost at any moment, and with it whatever no sync brought to the plate: nothing acknowledged is (S3)."""

import asyncio
import random  # noqa: TID251 - seeded
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from lost_power import PowerlessDisk, powerless_disk

from northbound.backends.sqlite import checkpoint
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.log import SqliteLog
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.dialects import all_dialects
from northbound.logic.route import build_table
from northbound.model.event import Event, EventType
from northbound.model.room import Memory, Room
from northbound.stages.follow import Follow, refold
from northbound.testing.conformance.storage import event, receipt
from northbound.testing.fakes import app, endpoint, registry, source, subscription

SEEDS = (1, 2, 3)
CUTS = 5  # of one run
EVENTS_BETWEEN = 150  # acknowledged, at least, before the next cut
CALLERS = 12
TABLE = build_table(registry(app(), source(), endpoint(), subscription()))
KINDS = (EventType.PARTICIPANT_JOINED, EventType.TRACK_PUBLISHED, EventType.PARTICIPANT_LEFT)


@pytest.fixture(autouse=True)
def short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the write-ahead logs be copied and begun anew all the time: that is where an order of syncs matters."""
    for name, pages in {"COPY_ABOVE": 20, "RESTART_ABOVE": 60, "LITTLE": 50, "LOOK_EVERY": 0}.items():
        monkeypatch.setattr(checkpoint, name, pages)


class Machine:
    """A hub's storages on one disk, under load, and what its callers were told is stored."""

    def __init__(self, folder: Path, disk: PowerlessDisk) -> None:
        self.disk = disk
        self.log = SqliteLog(folder / "events.db")
        self.store = SqliteDeliveries(folder / "deliveries.db")
        self.reader = SqliteLogReader(folder / "events.db")
        self.acknowledged: set[str] = set()
        self._stop = False

    async def run(self, cuts: Iterator[Path], dice: random.Random) -> list[tuple[Path, set[str]]]:
        """Cut the power into each folder of *cuts* while callers append and the follower follows."""
        left: list[tuple[Path, set[str]]] = []
        async with asyncio.TaskGroup() as load:
            for caller in range(CALLERS):
                load.create_task(self._append(caller))
            load.create_task(self._follow())
            for folder in cuts:
                enough = len(self.acknowledged) + EVENTS_BETWEEN
                while len(self.acknowledged) < enough:  # noqa: ASYNC110 - at a moment of chance, not at an event
                    await asyncio.sleep(dice.random() / 500)
                told = set(self.acknowledged)
                await asyncio.to_thread(self.disk.cut, folder, dice)
                left.append((folder, told))
            self._stop = True
        return left

    async def _append(self, caller: int) -> None:
        number = 0
        while not self._stop:
            key = f"{caller}-{number}"
            await self.log.append(receipt(number), [one_event(caller, number, key)])
            self.acknowledged.add(key)
            number += 1

    async def _follow(self) -> None:
        follow = Follow(
            self.reader,
            self.store,
            all_dialects(),
            lambda: TABLE,
            self.log.conclude,
            lambda *_: None,
            self.store.commit_aside,
        )
        while not self._stop:
            await follow.step(40)
            await asyncio.sleep(0)

    def close(self) -> None:
        for one in (self.reader, self.store, self.log):
            one.close()


def one_event(caller: int, number: int, key: str) -> Event:
    return event(f"r{caller % 4}", f"p{caller}-{number // 3 % 5}", kind=KINDS[number % 3], key=key)


def load_and_cut(tmp_path: Path, seed: int, *, synced: bool = True) -> list[tuple[Path, set[str]]]:
    dice = random.Random(seed)  # noqa: S311 - a test's dice

    def folders() -> Iterator[Path]:
        for number in range(CUTS):
            folder = tmp_path / f"cut{number}"
            folder.mkdir()
            yield folder

    (tmp_path / "live").mkdir()
    with powerless_disk() as disk, closing(Machine(tmp_path / "live", disk)) as machine:
        if not synced:
            machine.log._db.execute("PRAGMA synchronous=OFF")
        return asyncio.run(asyncio.wait_for(machine.run(folders(), dice), 60))


def keys_of(reader: SqliteLogReader) -> set[str | None]:
    return {entry.event.dedupe_key for entry in reader.read(-1, 1_000_000)}


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


def folded(reader: SqliteLogReader, cursor: int) -> dict[str, Room]:
    rooms: dict[str, Room] = {}
    memories: dict[str, Memory] = {}
    refold([one for one in reader.read(-1, 1_000_000) if one.offset <= cursor], rooms, memories, all_dialects())
    return rooms


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
