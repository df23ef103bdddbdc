"""Following the log: conclusions first, cursor and output together, twice is once (laws 3, 5, 7)."""

import asyncio
import contextlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from northbound.backends.memory import MemoryDeliveries, MemoryLog
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.log import SqliteLog
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.dialects import all_dialects
from northbound.logic.route import build_table
from northbound.model.delivery import Delivery
from northbound.model.errors import StoreFailed
from northbound.model.event import Event, EventType
from northbound.model.log import Logged, Origin, Receipt
from northbound.model.room import Memory, Room
from northbound.model.wire import Proof, Request
from northbound.stages.follow import Follow, refold
from northbound.testing.fakes import NOW, app, at, endpoint, event, registry, source, subscription

T = EventType
DIALECTS = all_dialects()
TABLE = build_table(registry(app(), source(dialect="janus"), endpoint(), subscription()))
SAMPLE = Path(str(files("northbound"))) / "samples" / "janus-1.1.2-session.ndjson"


class Hub:
    """A log, a store, and the stage between them; `torn` fails the next commits or conclusions."""

    def __init__(self, log: Any = None, store: Any = None, reader: Any = None) -> None:
        self.log = log if log is not None else MemoryLog()
        self.reader = reader if reader is not None else self.log
        self.store = store if store is not None else MemoryDeliveries()
        self.table = TABLE
        self.routed: list[Delivery] = []
        self.numbers: list[int] = []
        self.concluded: list[Logged] = []
        self.torn: str | None = None

    def stage(self, **fields: Any) -> Follow:
        return Follow(self.reader, self, DIALECTS, lambda: self.table, self.conclude, self._routed, **fields)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def commit(self, **values: Any) -> list[int]:
        if self.torn == "commit":
            raise StoreFailed("the disk is full")
        return self.store.commit(**values)

    async def conclude(self, entries: Sequence[Logged]) -> int:
        if self.torn == "conclude":
            raise StoreFailed("the log is away")
        self.concluded.extend(entries)
        return await self.log.conclude(entries)

    def _routed(self, numbers: Sequence[int], deliveries: Sequence[Delivery]) -> None:
        self.numbers.extend(numbers)
        self.routed.extend(deliveries)

    async def append(self, *events: Event) -> None:
        for place, one in enumerate(events):
            request = Request(method="POST", url="http://hub.test/in", body=b"%d" % place)
            receipt = Receipt(source_id="src_1", received_at=at(place), request=request, proof=Proof.NONE)
            await self.log.append(receipt, [one])

    async def follow(self, limit: int = 512) -> int:
        steps = 0
        while await self.stage().step(limit):
            steps += 1
        return steps


def sample() -> list[Event]:
    janus = DIALECTS["janus"]
    return [
        one
        for line in SAMPLE.read_bytes().splitlines()
        for one in janus.decode(Request(method="POST", url="http://hub.test/in", body=line), {})
    ]


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 30))


MEETING = [event(T.ROOM_OPENED, when=0), event(T.PARTICIPANT_JOINED, "a", when=1), event(T.ROOM_CLOSED, when=9)]


def test_the_log_becomes_rooms_deliveries_and_figures():
    async def scenario(hub: Hub) -> None:
        await hub.append(*MEETING)
        assert await hub.stage().step(512) == 3
        assert await hub.stage().step(512) == 0

    hub = Hub()
    run(scenario(hub))

    assert (hub.cursor(), hub.room("src_1//r1").open) == (2, False)
    assert [(one.event_type, one.prev, one.seq) for one in hub.routed] == [
        ("room.opened", None, 1),
        ("participant.joined", 1, 2),
        ("room.closed", 2, 3),
    ]
    assert hub.numbers == [1, 2, 3]
    assert hub.day("app_1", NOW.date().isoformat()).joins == 1


@pytest.mark.parametrize("limit", [1, 7, 512])
def test_how_it_is_batched_does_not_matter(limit: int):
    async def scenario(hub: Hub, size: int) -> None:
        await hub.append(*sample())
        await hub.follow(size)

    whole, parts = Hub(), Hub()
    run(scenario(whole, 10_000))
    run(scenario(parts, limit))

    assert whole.routed == parts.routed
    assert whole.rooms == parts.rooms


def test_conclusions_are_in_the_log_before_anything_they_cause_is_stored():
    async def scenario(hub: Hub) -> None:
        await hub.append(*sample())
        hub.torn = "conclude"
        with contextlib.suppress(StoreFailed):
            await hub.stage().step(512)
        assert (hub.cursor(), hub.routed, hub.rooms) == (-1, [], {})
        hub.torn = None
        await hub.follow()

    hub = Hub()
    run(scenario(hub))

    derived = [one for one in hub.log.read(-1, 10_000) if one.origin is Origin.DERIVED]
    assert [one.id for one in derived] == [one.id for one in hub.concluded]
    assert len({one.id for one in derived}) == len(derived) > 10
    assert {one.event_id for one in hub.routed} >= {one.id for one in derived if one.event.type is T.ROOM_CLOSED}


def test_conclusions_read_back_from_the_log_are_folded_and_told_once():
    async def scenario(hub: Hub) -> None:
        await hub.append(*sample())
        assert await hub.follow(20) > 5  # the last batches are nothing but conclusions

    hub = Hub()
    run(scenario(hub))

    assert len({one.id for one in hub.routed}) == len(hub.routed)
    assert hub.cursor() == hub.log.head()


def test_a_commit_that_fails_leaves_cursor_rooms_and_chain_as_they_were():
    async def scenario(hub: Hub) -> None:
        await hub.append(*sample())
        while hub.cursor() < hub.log.head():
            hub.torn = "commit"
            with contextlib.suppress(StoreFailed):
                await hub.stage().step(9)
            hub.torn = None
            await hub.stage().step(9)

    torn, calm = Hub(), Hub()
    run(scenario(torn))

    async def undisturbed() -> None:
        await calm.append(*sample())
        await calm.follow()

    run(undisturbed())

    assert [one.id for one in torn.routed] == [one.id for one in calm.routed]
    assert torn.rooms == calm.rooms
    assert torn.log.head() == calm.log.head()


class Bell:
    """A doorbell that notes when somebody waits for it: there is nothing more to do."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()

    def ring(self) -> None:
        return

    async def wait(self, at_most: Any) -> None:
        self.rung.set()
        await asyncio.sleep(at_most.total_seconds())


def test_the_stage_goes_on_when_the_log_or_the_disk_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("northbound.stages.follow.STALLED", 0.001)

    async def scenario(hub: Hub) -> None:
        await hub.append(*sample())
        hub.torn = "conclude"
        bell = Bell()
        stage, stalled = hub.stage(), []
        running = asyncio.ensure_future(stage.run(bell))
        for torn in ("conclude", "commit", None):
            hub.torn = torn
            await asyncio.sleep(0.01)
            stalled.append(stage.stalled)
        await asyncio.wait_for(bell.rung.wait(), 20)
        running.cancel()
        assert "StoreFailed" in stalled[0]
        assert stage.stalled is None

    hub = Hub()
    run(scenario(hub))

    assert len(hub.routed) == len({one.id for one in hub.routed}) > 20


def test_conclusions_go_to_the_log_in_bounded_portions(monkeypatch: pytest.MonkeyPatch):
    """Rooms of thousands that close in one batch must not make a call that is over every limit, for ever."""
    monkeypatch.setattr("northbound.stages.follow.CONCLUDED", 2)
    portions: list[int] = []

    class Counting(Hub):
        async def conclude(self, entries: Sequence[Logged]) -> int:
            portions.append(len(entries))
            return await super().conclude(entries)

    async def scenario(hub: Hub) -> None:
        await hub.append(*sample())
        await hub.stage().step(512)

    hub, whole = Counting(), Hub()
    run(scenario(hub))
    monkeypatch.setattr("northbound.stages.follow.CONCLUDED", 1_000)
    run(scenario(whole))

    assert max(portions) == 2
    assert [one.id for one in hub.concluded] == [one.id for one in whole.concluded]


def test_storing_can_be_done_beside_the_loop():
    async def scenario(hub: Hub) -> None:
        async def aside(**values: Any) -> list[int]:
            await asyncio.sleep(0)
            return hub.store.commit(**values)

        await hub.append(*MEETING)
        hub.torn = "commit"
        assert await hub.stage(commit=aside).step(512) == 3

    hub = Hub()
    run(scenario(hub))

    assert len(hub.routed) == 3


def test_a_source_without_app_is_folded_and_not_routed():
    async def scenario(hub: Hub) -> None:
        hub.table = build_table(registry(app(), endpoint(), subscription()))
        await hub.append(*MEETING)
        await hub.follow()

    hub = Hub()
    run(scenario(hub))

    assert (hub.routed, hub.room("src_1//r1").seq) == ([], 3)


def test_an_instance_that_is_over_is_kept_when_the_next_begins():
    async def scenario(hub: Hub) -> None:
        await hub.append(*MEETING, event(T.ROOM_OPENED, when=20), event(T.PARTICIPANT_JOINED, "b", when=21))
        await hub.follow()

    hub = Hub()
    run(scenario(hub))

    assert [(key, instance, room.closed_at) for (key, instance), room in hub.past.items()] == [("src_1//r1", 1, at(9))]
    assert set(hub.room("src_1//r1").participants) == {"b"}


def test_a_stretch_of_erased_entries_does_not_stop_the_log():
    class Reader:
        """As the disk reads it: a page that was erased is empty."""

        def __init__(self, log: MemoryLog) -> None:
            self.log = log

        def head(self) -> int:
            return 12

        def read(self, after: int, limit: int) -> list[Logged]:
            return [one for one in self.log.read(after, limit) if one.offset <= after + limit]

    async def scenario(hub: Hub) -> None:
        await hub.append(MEETING[0], *[event(T.UNKNOWN) for _ in range(11)], MEETING[1])
        for offset in range(1, 12):
            hub.log.erase(offset)
        await hub.follow(limit=4)

    log = MemoryLog()
    hub = Hub(log, reader=Reader(log))
    run(scenario(hub))

    assert (hub.cursor(), [one.event_type for one in hub.routed]) == (12, ["room.opened", "participant.joined"])


def test_an_event_that_breaks_a_dialect_is_told_and_does_not_stop_the_log():
    async def scenario(hub: Hub) -> None:
        objects = (endpoint("ep_1"), endpoint("ep_2", dialect="uninstalled"))
        hub.table = build_table(registry(app(), source(), *objects, subscription("sub_1", "ep_1", "ep_2")))
        await hub.append(*MEETING)
        await hub.follow()

    hub = Hub()
    run(scenario(hub))

    assert [one.endpoint_id for one in hub.routed] == ["ep_1"] * 3
    assert {key[:3] for key in hub.losses if key[1] == "failed"} == {("ep_2", "failed", "uninstalled: KeyError")}


def test_what_connections_mean_is_stored_by_session_and_forgotten_with_it(tmp_path: Path):
    async def scenario() -> tuple[set[str], set[str]]:
        log, store = SqliteLog(tmp_path / "events.db"), SqliteDeliveries(tmp_path / "deliveries.db")
        hub = Hub(log, store, SqliteLogReader(tmp_path / "events.db"))
        events = sample()
        await hub.append(*events[:60])
        await hub.follow(10)
        during = names()
        await hub.append(*events[60:])
        await hub.follow(10)
        after = names()
        log.close()
        hub.reader.close()
        store.close()
        return during, after

    def names() -> set[str]:
        import apsw

        with contextlib.closing(apsw.Connection(str(tmp_path / "deliveries.db"))) as database:
            return {row[0].split("/")[0] for row in database.execute("SELECT source_id FROM memories").fetchall()}

    during, after = run(scenario())

    assert (during, after) == ({"src_1"}, set())


def test_folding_the_log_again_gives_the_same_rooms_and_memories():
    """Law 7."""

    async def scenario(hub: Hub) -> None:
        await hub.append(*sample())
        await hub.follow(5)

    hub = Hub()
    run(scenario(hub))
    rooms: dict[str, Room] = {}
    memories: dict[str, Memory] = {}
    refold(hub.log.read(-1, 10_000), rooms, memories, DIALECTS)

    assert rooms == hub.rooms
    assert all(hub.memory(key) == memory for key, memory in memories.items())
