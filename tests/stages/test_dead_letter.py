"""What cannot be delivered lies on its bus before it is a dead letter: once, unchanged, whatever fails meanwhile."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from northbound.backends.memory import MemoryDeliveries, MemoryLog
from northbound.dialects import all_dialects
from northbound.doors.events import as_dead_letter
from northbound.model.account import Bus
from northbound.model.app import RetryPolicy
from northbound.model.delivery import Delivery, DeliveryState, View
from northbound.model.errors import StoreFailed
from northbound.model.event import EventType
from northbound.model.wire import Response
from northbound.stages.dead_letter import DeadLetters
from northbound.stages.deliver import Deliver
from northbound.testing.fakes import NOW, FakeClock, FakeEntropy, FakeSender, delivery, endpoint

ERROR = Response(status=500)
BUS = Bus(id="bus_dead", account_id="1", name="dead", source_id="src_dead", created_at=NOW)
WORDS = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "acs.demo",
    "type": "demo:x",
    "data": {"n": 1.50, "meetingUUID": "m"},
}
S = DeliveryState


def own(number: int = 1, **words: Any) -> Delivery:
    raw = msgspec.Raw(msgspec.json.encode(WORDS | words))
    return replace(delivery(number), view=View(words=raw), dialect="aliyun_cvc")


class Post:
    """The two stages, with a log whose failures tests choose."""

    def __init__(self, *, buses: tuple[Bus, ...] = (BUS,), **fields: Any) -> None:
        self.log, self.store, self.clock = MemoryLog(), MemoryDeliveries(), FakeClock()
        self.sender = FakeSender(self.clock)
        self.buses = {one.id: one for one in buses}
        once = RetryPolicy(attempts=1)
        self.endpoint = endpoint(retry=once, dialect="aliyun_cvc", dead_letter_bus=BUS.id, **fields)
        self.start()

    def start(self) -> None:
        """Begin as a new process does."""
        self.dead = DeadLetters(self.log.append, self.buses.get, self.clock)
        self.stage = Deliver(
            self.store, self.sender, all_dialects(), {"ep_1": self.endpoint}.get, self.clock, FakeEntropy(),
            dead_letters=self.dead,
        )  # fmt: skip
        self.stage.recover()

    def add(self, *deliveries: Delivery) -> list[int]:
        numbers = self.store.add(deliveries)
        self.stage.take(numbers, deliveries)
        return numbers

    def fail(self) -> None:
        asyncio.run(self.stage.turn())
        self.sender.answer(ERROR)

    def put(self) -> int:
        return asyncio.run(self.dead.step())

    def settle(self) -> None:
        asyncio.run(self.stage.settle())

    def state(self, number: int) -> DeliveryState:
        found = self.store.load(number)
        assert found is not None
        return found.state

    @property
    def on_bus(self) -> list[dict[str, Any]]:
        return [json.loads(bytes(one.event.vendor)) for one in self.log.read(-1, 10) if one.source_id == "src_dead"]


def test_an_event_is_put_unchanged_before_it_is_a_dead_letter() -> None:
    post = Post()
    (number,) = post.add(own())
    post.fail()
    post.settle()
    assert (post.state(number), post.on_bus) == (S.WAITING, [])

    assert post.put() == 1
    assert (post.state(number), post.on_bus) == (S.WAITING, [WORDS])
    post.settle()
    assert post.state(number) is S.DEAD
    (entry,) = post.log.read(-1, 10)
    assert (entry.event.type, entry.event.room_id) == (EventType.UNKNOWN, None)  # counted in no room a second time


def test_while_it_cannot_be_put_it_is_no_dead_letter_and_nobody_else_waits() -> None:
    post = Post()
    first, other = post.add(own(1), replace(own(2), order_key="src_1//r2"))
    post.log.failing = "the disk is full"
    post.fail()
    with pytest.raises(StoreFailed):
        post.put()
    post.settle()
    assert (post.state(first), post.state(other), post.dead.idle) == (S.WAITING, S.DELIVERED, False)

    post.log.failing = None
    post.put()
    post.settle()
    assert (post.state(first), post.on_bus, post.dead.idle) == (S.DEAD, [WORDS], True)


def test_words_that_are_no_object_are_put_in_an_envelope() -> None:
    """A dialect of somebody's own may say an event as a list."""
    event = as_dead_letter(replace(delivery(3), view=View(words=msgspec.Raw(b'["x",1]')), dialect="own"))

    assert json.loads(bytes(event.vendor))["data"] == ["x", 1]


def test_what_our_code_cannot_put_is_a_dead_letter_all_the_same() -> None:
    """It ends neither the process, to be tried by the next one again, nor the way of the others."""
    post = Post()
    broken, sound = post.add(replace(own(1), view=View(words=msgspec.Raw(b'{"id":'))), replace(own(2), order_key="r2"))
    for _ in range(2):
        asyncio.run(post.stage.turn())
        post.sender.answer(ERROR, ERROR)
    post.put()
    post.settle()

    assert [post.state(number) for number in (broken, sound)] == [S.DEAD, S.DEAD]
    assert (len(post.on_bus), post.dead.idle) == (1, True)


def test_a_crash_between_put_and_settled_repeats_nothing() -> None:
    post = Post()
    (number,) = post.add(own())
    post.fail()
    post.put()

    post.start()
    post.fail()
    post.put()
    post.settle()

    assert (post.state(number), len(post.on_bus), len(post.log.receipts)) == (S.DEAD, 1, 2)


def test_an_event_that_was_on_the_bus_before_is_not_put_again() -> None:
    """Two buses that are each other's for dead letters: the event comes to each once, and the ring ends."""
    post = Post()
    post.add(own(1))
    post.fail()
    post.put()
    post.settle()
    (number,) = post.add(replace(own(2), source_id="src_dead"))
    post.fail()
    post.put()
    post.settle()

    assert (post.state(number), len(post.on_bus)) == (S.DEAD, 1)


def test_without_its_bus_it_is_a_dead_letter_all_the_same() -> None:
    post = Post(buses=())
    (number,) = post.add(own())
    post.fail()
    post.put()
    post.settle()

    assert (post.state(number), post.on_bus) == (S.DEAD, [])


def test_an_endpoint_that_stops_instead_puts_nothing() -> None:
    post = Post(stops_when_dead=True)
    (number,) = post.add(own())
    post.fail()
    post.put()
    post.settle()

    assert (post.state(number), post.on_bus, list(post.store.stopped())) == (S.WAITING, [], ["ep_1"])


def test_a_wire_without_an_envelope_gets_one() -> None:
    """Deterministic, so that a repeat is one."""
    bare = replace(delivery(3), view=View(words=msgspec.Raw(b'{"bizRequestId":1}')), dialect="mpaas")

    event = as_dead_letter(bare)

    words = json.loads(bytes(event.vendor))
    assert (words["source"], words["id"], words["data"]) == ("northbound", bare.event_id, {"bizRequestId": 1})
    assert as_dead_letter(bare) == event
    assert event.dedupe_key == f"{bare.event_id}|northbound"
