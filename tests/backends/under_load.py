"""A hub's storages under load, for tests that do something to them at any moment, and what must be true after it."""

import asyncio
import random  # noqa: TID251 - seeded by its user
from collections.abc import Callable, Iterable
from pathlib import Path

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

EVENTS_BETWEEN = 150  # acknowledged, at least, before the next moment
CALLERS = 12
TABLE = build_table(registry(app(), source(), endpoint(), subscription()))
KINDS = (EventType.PARTICIPANT_JOINED, EventType.TRACK_PUBLISHED, EventType.PARTICIPANT_LEFT)


class Machine:
    """A hub's storages on one disk, under load, and what its callers were told is stored."""

    def __init__(self, folder: Path) -> None:
        self.log = SqliteLog(folder / "events.db")
        self.store = SqliteDeliveries(folder / "deliveries.db")
        self.reader = SqliteLogReader(folder / "events.db")
        self.acknowledged: set[str] = set()
        self._stop = False

    async def run(self, moments: Iterable[Callable[[], None]], dice: random.Random) -> None:
        """Call each of *moments* in a thread, at a moment of chance, while callers append and the follower follows."""
        async with asyncio.TaskGroup() as load:
            for caller in range(CALLERS):
                load.create_task(self._append(caller))
            load.create_task(self._follow())
            for moment in moments:
                enough = len(self.acknowledged) + EVENTS_BETWEEN
                while len(self.acknowledged) < enough:  # noqa: ASYNC110 - at a moment of chance, not at an event
                    await asyncio.sleep(dice.random() / 500)
                await asyncio.to_thread(moment)
            self._stop = True

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


def keys_of(reader: SqliteLogReader) -> set[str | None]:
    return {entry.event.dedupe_key for entry in reader.read(-1, 1_000_000)}


def folded(reader: SqliteLogReader, cursor: int) -> dict[str, Room]:
    rooms: dict[str, Room] = {}
    memories: dict[str, Memory] = {}
    refold([one for one in reader.read(-1, 1_000_000) if one.offset <= cursor], rooms, memories, all_dialects())
    return rooms
