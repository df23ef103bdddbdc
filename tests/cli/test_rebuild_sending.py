"""rebuild --send: what an older version could not fold or tell is told by one that can, in room order, and once."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from running import run

from northbound.backends.sqlite.control import SqliteControl, SqliteControlReader
from northbound.backends.sqlite.database import open_writer
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.log import SqliteLog
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.dialects import all_dialects
from northbound.dialects.base import Dialect
from northbound.hub.system import Folder
from northbound.logic.route import RoutingTable, build_table
from northbound.model.delivery import Delivery, Lane
from northbound.model.event import EventType, Traits
from northbound.model.log import Logged, Receipt
from northbound.model.wire import Proof, Request
from northbound.stages.follow import Follow
from northbound.testing.fakes import NOW, app, endpoint, event, source, subscription

ROOMS = ("r1", "r2")
KINDS = (EventType.ROOM_OPENED, EventType.PARTICIPANT_JOINED, EventType.PARTICIPANT_LEFT)
LATER = [("participant.joined", 2), ("participant.left", 3), ("room.closed", 4)]  # the last is concluded


class Unfolded(Dialect):
    """An upgrade with a fault: nothing of this wire can be folded."""

    @property
    def traits(self) -> Traits:
        raise OverflowError("a fault of ours")


class Unrouted:
    """An upgrade with another: what is folded cannot be routed."""

    def app_of(self, source_id: str) -> Any:
        raise LookupError("a fault of ours")


class Hub:
    """A data folder with a registry, and a follower whose fault tests choose."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder(str(path / "data"))
        self.folder.create()
        for file, schema in ((self.folder.events, "events"), (self.folder.deliveries, "deliveries")):
            open_writer(file, schema).close()
        with closing(SqliteControl(self.folder.control)) as control:
            for one in (app(), source(dialect="janus"), endpoint(), subscription()):
                control.put(one, who="test", now=NOW)

    def table(self) -> RoutingTable:
        with closing(SqliteControlReader(self.folder.control)) as reader:
            return build_table(reader.load())

    def take(self, *kinds: EventType, dialects: Any = None, table: Any = None) -> None:
        """Take one event of each of *kinds* in each room, and follow with what is given."""
        asyncio.run(self._take(kinds, dialects or all_dialects(), table or self.table()))

    async def _take(self, kinds: Sequence[EventType], dialects: Any, table: Any) -> None:
        log = SqliteLog(self.folder.events, horizon=timedelta(days=30))
        reader = SqliteLogReader(self.folder.events)
        request = Request(method="POST", url="http://hub.test/in/src_1/t")
        receipt = Receipt(source_id="src_1", received_at=NOW, request=request, proof=Proof.NONE)
        for kind in kinds:
            person = None if kind is EventType.ROOM_OPENED else "u1"
            await log.append(receipt, [event(kind, person, room=room, dialect="janus") for room in ROOMS])

        async def conclude(entries: Sequence[Logged]) -> int:
            return await log.conclude(entries)

        with self.store() as store:
            follow = Follow(reader, store, dialects, lambda: table, conclude, lambda *_: None)
            while await follow.step(3):
                pass
        reader.close()
        log.close()

    @contextmanager
    def store(self) -> Iterator[SqliteDeliveries]:
        with closing(SqliteDeliveries(self.folder.deliveries)) as store:
            yield store

    def not_folded(self) -> list[str]:
        with self.store() as store:
            return [one.part for one in store.not_folded(100)[1]]

    def deliveries(self) -> list[Delivery]:
        with self.store() as store:
            return [one for waiting in store.waiting() if (one := store.load(waiting.number)) is not None]

    def rebuild(self, *options: str) -> Any:
        return run("rebuild", "--data", str(self.folder.path), *options)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


def unfolded(hub: Hub) -> None:
    hub.take(*KINDS[1:], dialects=all_dialects() | {"janus": Unfolded()})


def unrouted(hub: Hub) -> None:
    hub.take(*KINDS[1:], table=Unrouted())


@pytest.mark.parametrize(("fault", "part"), [(unfolded, "fold"), (unrouted, "route")])
def test_everything_that_a_faulty_version_set_aside_is_sent_by_the_next(
    hub: Hub, fault: Callable[[Hub], None], part: str
) -> None:
    """In the order of each room, in the lane of replays, as the registry says now; what was sent before is not."""
    hub.take(KINDS[0])
    before = hub.deliveries()
    fault(hub)
    assert {part} <= set(hub.not_folded())
    assert len(hub.deliveries()) == len(before) == 2

    done = hub.rebuild("--send", "--yes", "--json")

    assert done.exit_code == 0, done.output
    sent = hub.deliveries()[2:]
    told = json.loads(done.stdout)
    assert (told["told"], told["deliveries"]) == (4, 6) == (4, len(sent))
    assert "fold" not in hub.not_folded()
    assert "route" not in hub.not_folded()
    for room in ROOMS:
        of_room = [one for one in sent if one.order_key == f"src_1//{room}"]
        assert [(one.event_type, one.seq) for one in of_room] == LATER
    assert {one.lane for one in sent} == {Lane.REPLAY}
    assert hub.rebuild("--verify").exit_code == 0
    assert json.loads(hub.rebuild("--send", "--yes", "--json").stdout)["told"] == 0
    assert len(hub.deliveries()) == 8


def test_it_says_how_many_first_and_a_no_writes_nothing(hub: Hub) -> None:
    unfolded(hub)

    done = run("rebuild", "--data", str(hub.folder.path), "--send", given="n\n")

    assert done.exit_code == 1
    assert "send 4 events that were set aside, in 8 deliveries?" in done.output
    assert (hub.not_folded(), hub.deliveries()) == (["fold"] * 4, [])


def test_what_is_sent_is_in_the_audit(hub: Hub) -> None:
    unfolded(hub)
    hub.rebuild("--send", "--yes")

    with closing(SqliteControl(hub.folder.control)) as control:
        newest = control.audit(1 << 62, 1)[0]

    assert (newest["what"], newest["who"]) == ("set_aside.sent", "northbound rebuild")
    assert {one.id.partition("@")[2] for one in hub.deliveries()} == {newest["object"]}


def test_what_a_rebuild_took_in_can_still_be_sent_later(hub: Hub) -> None:
    """A rebuild without --send tells nobody, so it stays noted who was not told."""
    unfolded(hub)
    assert hub.rebuild().exit_code == 0
    assert (set(hub.not_folded()), hub.deliveries()) == ({"route"}, [])

    assert hub.rebuild("--send", "--yes").exit_code == 0

    assert (hub.not_folded(), len(hub.deliveries())) == ([], 8)


def test_sending_and_only_comparing_exclude_each_other(hub: Hub) -> None:
    done = hub.rebuild("--send", "--verify")

    assert done.exit_code == 2
    assert "leave it out to --send" in done.stderr
