"""The vendors' retry strategies, exact on a virtual clock, through the stage that sends (ruling 4; facts 3.5).

The clock is set to a microsecond before each attempt, when nothing may be sent, and then to its moment.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from northbound.backends.memory import MemoryDeliveries
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.dialects import all_dialects
from northbound.model.app import Endpoint, RetryPolicy, RetryStrategy
from northbound.model.delivery import Delivery, DeliveryState, Lane
from northbound.model.wire import Response
from northbound.stages.deliver import Deliver
from northbound.testing.fakes import NOW, OK, FakeClock, FakeEntropy, FakeSender, delivery, endpoint

ERROR = Response(status=500)
NOTHING_YET = timedelta(microseconds=1)
DECAY = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, *[512.0] * 167]
LANE_HOLD = timedelta(minutes=10)
S = DeliveryState


def policy(strategy: RetryStrategy, **fields: Any) -> RetryPolicy:
    return RetryPolicy(strategy=strategy, deadline=timedelta(seconds=5), **fields)


class Post:
    """The stage, its queue, and a sender that answers as the test says."""

    def __init__(self, retry: RetryPolicy, *, fraction: float = 0.5, queue: Any = None, **fields: Any) -> None:
        self.clock = FakeClock()
        self.sender = FakeSender(self.clock, usual=ERROR)
        self.queue = queue if queue is not None else MemoryDeliveries()
        self.known: dict[str, Endpoint] = {"ep_1": endpoint(retry=retry, lane_hold=LANE_HOLD, **fields)}
        self.entropy = FakeEntropy(fraction)
        self.stage = self.begun()

    def begun(self) -> Deliver:
        """Begin as a new process does."""
        return Deliver(self.queue, self.sender, all_dialects(), self.known.get, self.clock, self.entropy)

    def add(self, *deliveries: Delivery) -> list[int]:
        numbers = self.queue.add(deliveries)
        self.stage.take(numbers, deliveries)
        return numbers

    async def exchange(self) -> int:
        """Send what is due and have it answered; return how many were sent."""
        await self.stage.turn()
        sent = self.sender.answer()
        await self.stage.settle()
        return sent

    async def waits(self) -> list[float]:
        """Let time pass from attempt to attempt until nothing is due any more; return the seconds between them."""
        found: list[float] = []
        assert await self.exchange() == 1
        last = self.clock.now()
        while (due := self.stage.lanes.next_due()) is not None:
            self.clock.advance((due - NOTHING_YET - self.clock.now()).total_seconds())
            assert await self.exchange() == 0, "too early"
            self.clock.advance((due - self.clock.now()).total_seconds())
            assert await self.exchange() == 1, "too late"
            found.append((self.clock.now() - last).total_seconds())
            last = self.clock.now()
        return found

    def state(self, number: int) -> tuple[DeliveryState, int]:
        found = self.queue.load(number)
        assert found is not None
        return found.state, found.attempts


@pytest.mark.parametrize(("fraction", "wait"), [(0.0, 10.0), (0.25, 12.5), (0.5, 15.0), (0.9999999, 20.0)])
def test_backoff_is_three_retries_ten_to_twenty_seconds_each(fraction: float, wait: float):
    post = Post(policy(RetryStrategy.BACKOFF_RETRY), fraction=fraction)
    (number,) = post.add(delivery())
    waits = asyncio.run(post.waits())

    assert [round(one, 3) for one in waits] == [wait] * 3
    assert (post.state(number), post.stage.idle) == ((S.DEAD, 4), True)


def test_exponential_decay_is_176_retries_within_one_day():
    """1, 2, 4 .. 256 s, then 512 s: 86,015 s in all, with the last attempt just under a day after the first."""
    post = Post(policy(RetryStrategy.EXPONENTIAL_DECAY_RETRY))
    (number,) = post.add(delivery())
    waits = asyncio.run(post.waits())

    assert waits == DECAY
    assert (len(waits), sum(waits)) == (176, 86_015.0)
    assert post.clock.now() - NOW == timedelta(seconds=86_015) < timedelta(days=1)
    assert post.state(number) == (S.DEAD, 177)


@pytest.mark.parametrize("died_after", [1, 5])
def test_the_schedule_goes_on_where_it_was_after_the_process_died(died_after: int, tmp_path: Path):
    """What waits is due when it was, by the database alone."""
    queue = SqliteDeliveries(tmp_path / "deliveries.db")
    post = Post(policy(RetryStrategy.EXPONENTIAL_DECAY_RETRY), queue=queue)
    post.add(delivery())

    async def attempts(count: int) -> list[float]:
        times: list[float] = []
        for _ in range(count):
            due = post.stage.lanes.next_due() or post.clock.now()
            post.clock.advance((due - post.clock.now()).total_seconds())
            assert await post.exchange() == 1
            times.append((post.clock.now() - NOW).total_seconds())
        return times

    first = asyncio.run(attempts(died_after))
    post.stage = post.begun()
    post.stage.recover()
    then = asyncio.run(attempts(3))
    queue.close()

    assert [*first, *then] == [sum(DECAY[:count]) for count in range(died_after + 3)]


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (policy(RetryStrategy.FIXED, attempts=4, waits=(timedelta(seconds=10),)), [10.0] * 3),
        (policy(RetryStrategy.FIXED, attempts=1), []),
        (
            policy(
                RetryStrategy.SCHEDULE,
                attempts=6,
                waits=(timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)),
            ),
            [5.0, 300.0, 1800.0, 1800.0, 1800.0],
        ),
    ],
    ids=["fixed", "one attempt", "schedule, its last wait held"],
)
def test_fixed_and_schedule_wait_as_they_say(retry: RetryPolicy, expected: Sequence[float]):
    post = Post(retry)
    (number,) = post.add(delivery())
    waits = asyncio.run(post.waits())

    assert waits == expected
    assert post.state(number) == (S.DEAD, len(expected) + 1)


@pytest.mark.parametrize("name", sorted(all_dialects()))
def test_each_vendors_own_schedule_is_kept(name: str):
    """Ruling 4, in attempts in total."""
    retry = all_dialects()[name].retry
    post = Post(retry)
    post.add(delivery())
    waits = asyncio.run(post.waits())
    known = {
        "aliyun_rtc": [10.0] * 3,
        "anyrtc": [10.0] * 2,
        "mpaas": [10.0] * 3,
        "avd": [5.0] * 3,
        "aliyun_cvc": [15.0] * 3,
    }

    assert waits == known.get(name, waits)
    assert sum(waits) > 0


# --- after the last --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [RetryStrategy.BACKOFF_RETRY, RetryStrategy.EXPONENTIAL_DECAY_RETRY])
def test_after_the_last_it_is_a_dead_letter_with_the_reason(strategy: RetryStrategy):
    post = Post(policy(strategy))
    (number,) = post.add(delivery())
    waits = asyncio.run(post.waits())
    found = post.queue.load(number)

    assert found is not None
    assert (found.state, found.attempts) == (S.DEAD, len(waits) + 1)
    assert "500" in (found.reason or "")
    assert f"attempt {len(waits) + 1}" in (found.reason or "")


def test_dropping_like_the_vendor_is_opt_in():
    post = Post(policy(RetryStrategy.BACKOFF_RETRY, forget=True))
    (number,) = post.add(delivery())
    asyncio.run(post.waits())

    assert post.state(number)[0] is S.DROPPED


def test_a_stuck_delivery_frees_its_room_and_is_tried_on_to_the_end():
    """A day of retries does not hold a room for a day: beyond the lane hold the next one goes, then this one dies."""
    post = Post(policy(RetryStrategy.EXPONENTIAL_DECAY_RETRY))
    stuck, behind = post.add(delivery(1), delivery(2))

    async def run() -> None:
        while (due := post.stage.lanes.next_due()) is not None or post.stage.lanes.size:
            if due is not None and due > post.clock.now():
                post.clock.advance((due - post.clock.now()).total_seconds())
            await post.stage.turn()
            answers = [
                OK if dict(one.request.headers)["northbound-seq"] == "2" else ERROR for one in post.sender.pending
            ]
            post.sender.answer(*answers)
            await post.stage.settle()

    asyncio.run(run())
    ended = post.queue.load(behind)

    assert post.state(stuck) == (S.DEAD, 177)
    assert ended is not None
    assert (ended.state, ended.lane) == (S.DELIVERED, Lane.LIVE)
    times = [dict(one.headers)["northbound-seq"] for one in post.sender.sent]
    assert 1 < times.index("2") < 20, "it went while the stuck one was still being tried"
