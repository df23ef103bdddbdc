"""Room order at delivery: one at a time, heads set aside, turns, caps, replays, pauses (law 4, D14, D17)."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from northbound.logic.order import REPLAY_SHARE, Lanes, Lease
from northbound.model.app import Endpoint, EndpointState
from northbound.model.delivery import Dead, Done, Exchange, Lane, NextStep, RetryAt
from northbound.model.wire import Request
from northbound.testing.fakes import NOW, OK, at, endpoint

ROOM = "src_1//r1"


QUICK = Exchange(request=Request(method="POST", url="https://example.com/"), outcome=OK, started_at=NOW, duration_ms=1)


class Desk:
    """Lanes with endpoints that tests change."""

    def __init__(self, *endpoints: Endpoint, batch: int = 1) -> None:
        """Start with endpoints that are known to answer quickly: they have all their places."""
        self.endpoints = {one.id: one for one in endpoints or (endpoint(),)}
        self.lanes = Lanes(self.endpoints.get, lambda _: batch)
        self.now = NOW
        for one in self.endpoints.values():
            for _ in range(one.max_in_flight):
                self.lanes.learn(one.id, QUICK, is_accepted=True)

    def add(self, *numbers: int, to: str = "ep_1", room: str = ROOM, lane: Lane = Lane.LIVE, **fields: Any) -> None:
        for number in numbers:
            self.lanes.add(
                number, to, room, lane, fields.get("due_at", self.now), self.now, tried=fields.get("tried", False)
            )

    def lease(self, limit: int = 100) -> list[Lease]:
        return self.lanes.lease(self.now, limit)

    def numbers(self, limit: int = 100) -> list[tuple[int, ...]]:
        return [one.numbers for one in self.lease(limit)]

    def settle(self, lease: Lease, step: NextStep) -> Lane:
        self.lanes.ended(lease)
        lane = self.lanes.destined(lease, step, self.now)
        self.lanes.settle(lease, step, lane, self.now)
        return lane

    def again(self, seconds: float) -> RetryAt:
        return RetryAt(due_at=self.now + timedelta(seconds=seconds), reason="500")

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


# --- one at a time ---------------------------------------------------------------------------------------------------


def test_a_room_is_sent_one_at_a_time_in_order():
    desk = Desk()
    desk.add(1, 2, 3)
    seen: list[int] = []
    while leases := desk.lease():
        assert len(leases) == 1
        seen.extend(leases[0].numbers)
        assert desk.lease() == []
        desk.settle(leases[0], Done())

    assert (seen, desk.lanes.size) == ([1, 2, 3], 0)


def test_rooms_of_one_endpoint_do_not_wait_for_each_other():
    desk = Desk()
    desk.add(1, 2)
    desk.add(3, room="src_1//r2")

    assert desk.numbers() == [(1,), (3,)]


def test_a_retry_keeps_the_room_waiting_until_it_is_due():
    desk = Desk()
    desk.add(1, 2)
    (lease,) = desk.lease()
    assert desk.settle(lease, desk.again(5)) is Lane.LIVE
    desk.wait(4.9)
    assert desk.numbers() == []
    assert desk.lanes.next_due() == at(5)
    desk.wait(0.1)

    assert desk.numbers() == [(1,)]


def test_a_dead_head_lets_the_room_go_on():
    desk = Desk()
    desk.add(1, 2)
    (lease,) = desk.lease()
    desk.settle(lease, Dead(reason="gave up"))

    assert desk.numbers() == [(2,)]


# --- D14: a poison head ----------------------------------------------------------------------------------------------


def test_only_the_poisoned_room_waits_and_after_the_hold_it_goes_on():
    desk = Desk(endpoint(lane_hold=timedelta(minutes=10)))
    desk.add(1, 2)
    lease = desk.lease()[0]
    while desk.settle(lease, desk.again(60)) is Lane.LIVE:
        desk.add(100, room="other")
        (other,) = desk.lease()
        assert other.numbers == (100,)
        desk.settle(other, Done())
        desk.wait(60)
        (lease,) = desk.lease()
        assert lease.numbers == (1,)

    assert desk.now < at(600) <= desk.now + timedelta(seconds=60)
    assert desk.numbers() == [(2,)]
    desk.wait(60)
    (aside,) = desk.lease()
    assert (aside.numbers, aside.lane) == ((1,), Lane.ASIDE)
    assert desk.settle(aside, desk.again(1)) is Lane.ASIDE


def test_a_head_that_would_not_be_tried_within_the_hold_is_set_aside_at_once():
    """The room would only wait for a time that comes after its turn."""
    desk = Desk(endpoint(lane_hold=timedelta(minutes=10)))
    desk.add(1, 2)
    (lease,) = desk.lease()
    assert desk.settle(lease, desk.again(1800)) is Lane.ASIDE

    assert desk.numbers() == [(2,)]
    desk.wait(1800)
    assert desk.numbers() == [(1,)]


def test_loose_events_wait_for_nobody():
    """ADR 11: a receiver that fails on one custom event gets the others; nothing is set aside, it is apart already."""
    desk = Desk(endpoint(max_in_flight=2))
    desk.add(1, 2, 3, lane=Lane.LOOSE)
    first, second = desk.lease()

    assert (first.numbers, second.numbers) == ((1,), (2,))
    assert desk.settle(first, desk.again(86_000)) is Lane.LOOSE
    assert desk.numbers() == [(3,)]
    desk.settle(second, Done())
    desk.wait(86_000)
    assert desk.numbers() == [(1,)]


def test_the_hold_begins_anew_with_each_head():
    desk = Desk(endpoint(lane_hold=timedelta(seconds=10)))
    desk.add(1, 2, 3)
    (lease,) = desk.lease()
    desk.settle(lease, desk.again(9))
    desk.wait(9)
    (lease,) = desk.lease()
    desk.settle(lease, Done())
    (lease,) = desk.lease()

    assert desk.settle(lease, desk.again(9)) is Lane.LIVE


# --- turns, caps, replays --------------------------------------------------------------------------------------------


def test_endpoints_take_turns():
    desk = Desk(endpoint("ep_1"), endpoint("ep_2"))
    for number in range(1, 7):
        desk.add(number, room=f"r{number}")
    desk.add(10, 11, to="ep_2")

    assert [one.endpoint_id for one in desk.lease(3)] == ["ep_1", "ep_2", "ep_1"]


def test_no_more_is_under_way_than_an_endpoint_takes():
    desk = Desk(endpoint(max_in_flight=2))
    for number in range(1, 5):
        desk.add(number, room=f"r{number}")
    leases = desk.lease()
    assert (len(leases), desk.lease()) == (2, [])
    desk.settle(leases[0], Done())

    assert desk.numbers() == [(3,)]


def test_the_limit_of_a_step_holds_and_loses_nothing():
    desk = Desk()
    for number in range(1, 6):
        desk.add(number, room=f"r{number}")

    assert (len(desk.numbers(2)), len(desk.numbers(0)), len(desk.numbers(2)), len(desk.numbers())) == (2, 0, 2, 1)


def test_replays_take_a_share_and_live_deliveries_go_first():
    desk = Desk(endpoint(max_in_flight=8))
    for number in range(100):
        desk.add(number, room=f"r{number}", lane=Lane.REPLAY)
    replays = desk.lease()
    desk.add(1000, 1001, room="r1")
    live = desk.lease()

    assert len(replays) == 8 // REPLAY_SHARE
    assert [one.numbers for one in live] == [(1000,)]
    desk.settle(replays[0], Done())
    assert len(desk.lease()) == 1


def test_a_replay_of_a_room_is_in_order_and_beside_its_live_lane():
    desk = Desk(endpoint(max_in_flight=8))
    desk.add(1, 2)
    desk.add(11, 12, lane=Lane.REPLAY)
    first = desk.lease()

    assert sorted(one.numbers for one in first) == [(1,), (11,)]
    for lease in first:
        desk.settle(lease, Done())
    assert sorted(desk.numbers()) == [(2,), (12,)]


# --- paused and deleted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [EndpointState.DISABLED, EndpointState.GONE])
def test_a_paused_endpoint_keeps_its_order_and_resumes(state: EndpointState):
    desk = Desk(endpoint(state=state), endpoint("ep_2"))
    desk.add(1, 2)
    desk.add(3, room="r2", due_at=at(5))
    desk.add(4, to="ep_2")
    assert desk.numbers() == [(4,)]
    desk.wait(9)
    assert desk.numbers() == []

    desk.endpoints["ep_1"] = endpoint()
    desk.lanes.resume("ep_1")
    assert desk.numbers() == [(1,), (3,)]


def test_a_lease_that_ends_while_its_endpoint_is_paused_goes_on_later():
    desk = Desk()
    desk.add(1, 2)
    (lease,) = desk.lease()
    desk.endpoints["ep_1"] = endpoint(state=EndpointState.GONE)
    desk.settle(lease, desk.again(0))
    assert desk.numbers() == []
    desk.endpoints["ep_1"] = endpoint()
    desk.lanes.resume("ep_1")

    assert desk.numbers() == [(1,)]


def test_what_waits_for_a_deleted_endpoint_can_be_dropped_but_not_what_is_under_way():
    desk = Desk(endpoint(max_in_flight=1), endpoint("ep_2"))
    desk.add(1, 2)
    desk.add(3, 4, 5, room="r2")
    desk.add(9, to="ep_2")
    (lease,) = desk.lease(1)
    del desk.endpoints["ep_1"]

    (key,) = desk.lanes.lanes_of("ep_1")
    assert desk.lanes.waiting_in(key) == (3, 4, 5)
    desk.lanes.forget(key, 2)
    assert desk.lanes.waiting_in(key) == (5,)
    desk.lanes.forget(key, 1)
    assert (desk.lanes.lanes_of("ep_1"), desk.lanes.waiting_in(key)) == ([], ())

    desk.settle(lease, Dead(reason="deleted", cancelled=True))
    assert (desk.lanes.endpoint_ids(), desk.lanes.size) == ({"ep_1", "ep_2"}, 2)
    assert desk.numbers() == [(9,)]


def test_a_lane_that_was_dropped_and_filled_again_waits_for_its_own_time():
    desk = Desk()
    desk.add(1, due_at=at(5))
    desk.lanes.forget(("ep_1", ROOM, "live"), 1)
    desk.add(2, due_at=at(9))
    desk.wait(6)
    assert desk.numbers() == []
    desk.wait(3)

    assert desk.numbers() == [(2,)]


# --- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_is_of_one_room_and_retried_as_the_same_request():
    """A receiver that saw it may know the request by its first event: the next try must not hold others."""
    desk = Desk(batch=3)
    desk.add(1, 2)
    desk.add(5, room="r2")
    leases = desk.lease()
    assert [one.numbers for one in leases] == [(1, 2), (5,)]
    desk.add(3, 4)
    desk.settle(leases[0], desk.again(1))
    desk.wait(1)
    (lease,) = desk.lease()
    assert lease.numbers == (1, 2)
    desk.settle(lease, Done())

    assert desk.numbers() == [(3, 4)]


def test_a_batch_that_was_tried_is_known_after_a_restart():
    desk = Desk(batch=3)
    desk.add(1, 2, tried=True)
    desk.add(3)

    assert desk.numbers() == [(1, 2)]


def test_a_batch_that_is_too_much_for_one_request_is_cut():
    desk = Desk(batch=4)
    desk.add(1, 2, 3, 4)
    (lease,) = desk.lease()
    smaller = desk.lanes.shrink(lease, 1)
    assert smaller.numbers == (1,)
    desk.settle(smaller, Done())

    assert desk.numbers() == [(2, 3, 4)]


def test_a_batch_is_set_aside_one_by_one():
    desk = Desk(endpoint(lane_hold=timedelta()), batch=2)
    desk.add(1, 2, 3)
    (lease,) = desk.lease()
    desk.settle(lease, desk.again(1))
    assert desk.numbers() == [(3,)]
    desk.wait(1)

    assert desk.numbers() == [(1,), (2,)]


# --- property --------------------------------------------------------------------------------------------------------

OUTCOMES = st.sampled_from(["done", "dead", "soon", "later", "much later"])
SECONDS = {"soon": 1, "later": 30, "much later": 900}


class Watched:
    """What a run of lanes did, against what it promises."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.first: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.under_way: dict[tuple[str, str, str], Lease] = {}
        self.settled: set[int] = set()
        self.leased: set[int] = set()

    def lease(self, limit: int) -> None:
        for lease in self.desk.lease(limit):
            assert lease.lane_key not in self.under_way, "two leases of one lane"
            assert self.desk.endpoints[lease.endpoint_id].state is EndpointState.ENABLED
            self.under_way[lease.lane_key] = lease
            if lease.lane is Lane.LIVE:
                new = [number for number in lease.numbers if number not in self.leased]
                self.first[lease.lane_key[0], lease.lane_key[1]].extend(new)
            self.leased.update(lease.numbers)

    def settle(self, index: int, outcome: str) -> None:
        lease = self.under_way.pop(list(self.under_way)[index % len(self.under_way)])
        if outcome in SECONDS:
            self.desk.settle(lease, self.desk.again(SECONDS[outcome]))
            return
        self.desk.settle(lease, Done() if outcome == "done" else Dead(reason="gave up"))
        assert not self.settled & set(lease.numbers), "settled twice"
        self.settled.update(lease.numbers)


actions = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["ep_1", "ep_2"]), st.sampled_from(["r1", "r2"]), st.sampled_from(Lane)),
    st.tuples(st.just("lease"), st.integers(0, 4)),
    st.tuples(st.just("settle"), st.integers(0, 9), OUTCOMES),
    st.tuples(st.just("pause"), st.sampled_from(["ep_1", "ep_2"])),
    st.tuples(st.just("wait"), st.integers(1, 1000)),
)


@settings(max_examples=100)
@given(st.lists(actions, max_size=60), st.integers(1, 3), st.integers(1, 3))
def test_order_holds_whatever_happens_and_nothing_is_lost(plan: list[tuple[Any, ...]], batch: int, cap: int):
    """First leases of a live lane are in order; never two at a time; all that was added is settled in the end."""
    desk = Desk(endpoint("ep_1", max_in_flight=cap), endpoint("ep_2", max_in_flight=cap), batch=batch)
    watched = Watched(desk)
    added = 0
    for action, *given_ in plan:
        match action:
            case "add":
                added += 1
                desk.add(added, to=given_[0], room=given_[1], lane=given_[2])
            case "lease":
                watched.lease(given_[0])
            case "settle" if watched.under_way:
                watched.settle(*given_)
            case "pause":
                one = desk.endpoints[given_[0]]
                paused = one.state is EndpointState.ENABLED
                state = EndpointState.DISABLED if paused else EndpointState.ENABLED
                desk.endpoints[one.id] = endpoint(one.id, max_in_flight=cap, state=state)
                desk.lanes.resume(one.id)
            case "wait":
                desk.wait(given_[0])
            case _:
                pass
        assert desk.lanes.size == added - len(watched.settled)

    for name in desk.endpoints:
        desk.endpoints[name] = endpoint(name, max_in_flight=cap)
        desk.lanes.resume(name)
    for _ in range(added * 3 + 3):
        while watched.under_way:
            watched.settle(0, "done")
        desk.wait(1000)
        watched.lease(100)

    assert (watched.settled, desk.lanes.size) == (set(range(1, added + 1)), 0)
    assert all(numbers == sorted(numbers) for numbers in watched.first.values())


def test_many_endpoints_and_rooms_are_leased_within_their_limits():
    desk = Desk(*[endpoint(f"ep_{number}", app_id=f"app_{number % 5}") for number in range(50)])
    now: datetime = desk.now
    for number in range(20_000):
        desk.lanes.add(number, f"ep_{number % 50}", f"r{number // 50}", Lane.LIVE, now, now)

    assert len(desk.lease(512)) == 512
    assert len(desk.lease(512)) == 50 * 16 - 512
