"""Following the log: conclusions first, cursor and output together, twice is once (laws 3, 5, 7)."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import apsw
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from northbound.backends.memory import MemoryDeliveries, MemoryLog
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.log import SqliteLog
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.dialects import all_dialects
from northbound.logic.route import build_table
from northbound.model.delivery import Delivery
from northbound.model.errors import StoreFailed
from northbound.model.event import Event, EventType, Facts, Fault, File, Media, Reason, Traits
from northbound.model.log import Logged, NotFolded, Origin, Receipt
from northbound.model.room import Memory, Room
from northbound.model.wire import Proof, Request
from northbound.ports import Folded
from northbound.stages.follow import Batch, Follow, refold
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
        self.told: list[NotFolded] = []
        self.dialects: dict[str, Any] = dict(DIALECTS)
        self.torn: str | None = None

    def stage(self, **fields: Any) -> Follow:
        return Follow(
            self.reader,
            self,
            self.dialects,
            lambda: self.table,
            self.conclude,
            self._routed,
            on_not_folded=self.told.append,
            **fields,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def commit(self, folded: Folded) -> list[int]:
        if self.torn == "commit":
            raise StoreFailed("the disk is full")
        return self.store.commit(folded)

    def room(self, key: str) -> Room | None:
        if self.torn == "room":
            raise OSError("the disk is gone")
        return self.store.room(key)

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
        async def aside(folded: Folded) -> list[int]:
            await asyncio.sleep(0)
            return hub.store.commit(folded)

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


# --- entries that our code fails on ----------------------------------------------------------------------------------


class Breaking:
    """A dialect whose every event breaks the fold, with words of the event in the error."""

    @property
    def traits(self) -> Traits:
        raise OverflowError("cannot fold the secret 4711")


def broken_meeting() -> list[Event]:
    return [
        *MEETING[:2],
        replace(event(T.PARTICIPANT_JOINED, "b", when=2), dialect="breaking"),
        event(T.ROOM_OPENED, room="r2", when=3),
        MEETING[2],
    ]


@pytest.mark.parametrize("limit", [1, 2, 512])
def test_an_entry_that_cannot_be_folded_is_set_aside_and_all_others_go_on(limit: int):
    """It is told once, by exception and place, never by a value; a batch of any size comes to the same."""

    async def scenario(hub: Hub) -> None:
        hub.dialects["breaking"] = Breaking()
        await hub.append(*broken_meeting())
        await hub.follow(limit)

    hub = Hub()
    run(scenario(hub))

    third = hub.log.read(1, 1)[0]
    aside = NotFolded(
        offset=2, event_id=third.id, source_id="src_1", part="fold", reason="OverflowError in follow.fold"
    )
    assert (1, [aside]) == hub.not_folded(10)
    assert [aside] == hub.told
    assert hub.cursor() == hub.log.head() == 4
    assert ({"src_1//r1", "src_1//r2"}, False, 3) == (
        set(hub.rooms),
        hub.room("src_1//r1").open,
        hub.room("src_1//r1").seq,
    )
    assert [one.event_type for one in hub.routed] == ["room.opened", "participant.joined", "room.opened", "room.closed"]


def test_an_entry_set_aside_is_counted_in_health_and_stalls_nothing():
    async def scenario(hub: Hub) -> dict[str, Any]:
        hub.dialects["breaking"] = Breaking()
        await hub.append(*broken_meeting())
        stage = hub.stage()
        await stage.step(512)
        return stage.health() | {"set_aside": dict(stage.set_aside)}

    found = run(scenario(Hub()))

    assert found == {"ok": True, "reason": None, "behind": 0, "not_folded": 1, "set_aside": {"fold": 1}}


class NoSuchHour(tzinfo):
    """A time zone that knows no time from the fifth second on."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        if moment is not None and moment.replace(tzinfo=None) >= at(5).replace(tzinfo=None):
            raise ValueError("no such hour")
        return timedelta(0)

    def dst(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    def fromutc(self, moment: datetime) -> datetime:
        self.utcoffset(moment)
        return moment.replace(tzinfo=self)


def test_figures_that_cannot_be_made_cost_the_entry_its_figures_and_nobody_a_callback():
    """The second join counts for its app and cannot for the account: it is in no figure, in its room, and sent."""
    zones = {"app_1": ZoneInfo("UTC"), "acc_1": NoSuchHour()}

    async def scenario(hub: Hub) -> None:
        hub.table = replace(TABLE, zones=zones, accounts={"app_1": "acc_1"})
        await hub.append(*joins())
        await hub.follow()

    hub = Hub()
    run(scenario(hub))

    assert [(one.part, one.offset, one.reason) for one in hub.told] == [("count", 1, "ValueError in stats.day_of")]
    assert [(one.prev, one.seq) for one in hub.routed] == [(None, 1), (1, 2), (2, 3)]
    assert hub.day("app_1", NOW.date().isoformat()).joins == 2
    assert set(hub.room("src_1//r1").participants) == {"a", "b", "c"}


def joins() -> list[Event]:
    return [event(T.PARTICIPANT_JOINED, name, when=when) for name, when in (("a", 1), ("b", 6), ("c", 2))]


def test_an_entry_that_cannot_be_routed_moves_its_room_and_is_sent_to_nobody():
    """One of two endpoints was reached already when it broke: neither is sent anything, and the chain has no gap."""

    async def scenario(hub: Hub) -> None:
        await hub.append(*joins())
        last_sent = hub.store.last_sent
        asked: list[str] = []

        def breaking(endpoint_id: str, key: str) -> int | None:
            asked.append(endpoint_id)
            if len(asked) == 2:
                raise msgspec.ValidationError("places that cannot be read")
            return last_sent(endpoint_id, key)

        hub.last_sent = breaking
        objects = (endpoint("ep_1"), endpoint("ep_2"), subscription("sub_1", "ep_1", "ep_2"))
        hub.table = build_table(registry(app(), source(), *objects))
        await hub.follow(1)

    hub = Hub()
    run(scenario(hub))
    rooms: dict[str, Room] = {}
    refold(hub.log.read(-1, 100), rooms, {}, hub.dialects)

    assert [(one.part, one.offset) for one in hub.told] == [("route", 0)]
    assert [(one.endpoint_id, one.prev, one.seq) for one in hub.routed] == [
        ("ep_1", None, 2),
        ("ep_2", None, 2),
        ("ep_1", 2, 3),
        ("ep_2", 2, 3),
    ]
    assert rooms == hub.rooms
    assert hub.day("app_1", NOW.date().isoformat()).joins == 3


def test_a_room_that_cannot_be_read_costs_no_other_room(tmp_path: Path):
    """Its bytes were damaged: each of its entries is set aside, and a rebuild writes it anew."""

    async def scenario() -> Hub:
        log, store = SqliteLog(tmp_path / "events.db"), SqliteDeliveries(tmp_path / "deliveries.db")
        hub = Hub(log, store, SqliteLogReader(tmp_path / "events.db"))
        await hub.append(event(T.ROOM_OPENED, when=0), event(T.ROOM_OPENED, room="r2", when=1))
        await hub.follow()
        store.close()
        with contextlib.closing(apsw.Connection(str(tmp_path / "deliveries.db"))) as database:
            database.execute("UPDATE rooms SET state = 'no room' WHERE key = 'src_1//r1'")
        hub.store = SqliteDeliveries(tmp_path / "deliveries.db")
        for room in ("r1", "r2"):
            await hub.append(event(T.PARTICIPANT_JOINED, "a", room=room, when=2))
        await hub.follow()
        log.close()
        hub.reader.close()
        return hub

    hub = run(scenario())

    assert [(one.part, one.offset) for one in hub.told] == [("fold", 2)]
    assert set(hub.room("src_1//r2").participants) == {"a"}
    hub.store.close()


def test_what_was_set_aside_is_folded_again_the_same_and_taken_in_once_it_can_be():
    """Law 7: the log folded again sets the same aside, and a version that mends the fold takes it in."""

    async def scenario(hub: Hub) -> None:
        hub.dialects["breaking"] = Breaking()
        await hub.append(*broken_meeting())
        await hub.follow(2)

    hub = Hub()
    run(scenario(hub))
    rooms: dict[str, Room] = {}
    mended: dict[str, Room] = {}
    refold(hub.log.read(-1, 100), rooms, {}, hub.dialects)
    refold(hub.log.read(-1, 100), mended, {}, DIALECTS)

    assert rooms == hub.rooms
    assert (rooms["src_1//r1"].peak, mended["src_1//r1"].peak) == (1, 2)


@pytest.mark.parametrize("torn", ["room", "commit", "conclude"])
def test_a_fault_of_the_world_sets_nothing_aside(torn: str):
    """A disk that cannot be read is no fault of the entry: the batch is tried again, and nothing is lost."""

    async def scenario(hub: Hub) -> None:
        await hub.append(*sample())
        hub.torn = torn
        with pytest.raises(StoreFailed):
            await hub.stage().step(512)
        assert (hub.cursor(), hub.not_folded(10)) == (-1, (0, []))
        hub.torn = None
        await hub.follow()

    hub = Hub()
    run(scenario(hub))

    assert (hub.log.head(), (0, []), []) == (hub.cursor(), hub.not_folded(10), hub.told)


ODD_TIMES = (
    datetime.min.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime(1969, 12, 31, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC),
    NOW,
    NOW + timedelta(seconds=5),
)
odd_times = st.none() | st.sampled_from(ODD_TIMES)
odd_texts = st.none() | st.sampled_from(["a", "b", "", "/", "\0", "9" * 400, "nan", "[]", "http://[", "x" * 3_000])
odd_numbers = st.none() | st.sampled_from([0, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
odd_facts = st.builds(
    Facts,
    name=odd_texts,
    reason=st.none() | st.sampled_from(Reason),
    operation=st.none() | st.sampled_from(["session_closed", "session_timed_out", "connection_closed", "x"]),
    media=st.lists(st.sampled_from(Media), unique=True, max_size=2).map(tuple),
    joined_at=odd_times,
    started_at=odd_times,
    stopped_at=odd_times,
    progress=st.none() | st.sampled_from([1e308, -1e308, float("nan"), float("inf")]),
    fault=st.none() | st.builds(Fault, code=odd_numbers, name=odd_texts, message=odd_texts),
    files=st.lists(st.builds(File, url=odd_texts, size=odd_numbers, started_at=odd_times), max_size=2).map(tuple),
    connection_id=odd_texts,
    pending=st.booleans(),
)
odd_events = st.builds(
    Event,
    type=st.sampled_from(EventType),
    dialect=st.sampled_from(sorted(DIALECTS)),
    room_id=st.sampled_from(["r1", "", None]),
    participant_id=odd_texts,
    session_id=odd_texts,
    room_session_id=odd_texts,
    track_id=odd_texts,
    recording_id=odd_texts,
    occurred_at=odd_times,
    sequence=odd_numbers,
    facts=odd_facts,
)
EVERY_WIRE = build_table(
    registry(
        app(),
        source(),
        *[endpoint(f"ep_{name}", dialect=name) for name in DIALECTS],
        *[subscription(f"sub_{name}", f"ep_{name}") for name in DIALECTS],
    )
)


@settings(max_examples=60, deadline=None)
@example([Event(type=EventType.RECORDING_UPLOAD_PROGRESSED, dialect="avd", facts=Facts(progress=float("nan")))])
@given(st.lists(odd_events, min_size=1, max_size=6))
def test_no_event_however_odd_is_beyond_the_fold_or_a_foreign_wire(events: list[Event]):
    """Times at either end of the calendar, huge numbers, no numbers, empty and endless names."""

    async def scenario(hub: Hub) -> Batch:
        await hub.append(*events)
        batch = Batch(hub.store, DIALECTS, EVERY_WIRE)
        for entry in hub.log.read(-1, 100):
            batch.take(entry)
        return batch

    batch = run(scenario(Hub()))

    assert [one for one, _ in batch.set_aside] == []
    of_own_wire = {f"ep_{one.dialect}" for one in events}  # these events have no words of their own
    assert [one for one in batch.losses if one.kind == "failed" and one.endpoint_id not in of_own_wire] == []
