"""Sending: same ids at each try, signed anew; free retries, 410, deletions, commits that fail (D6, D9-D14, D19)."""

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import msgspec
import pytest
from msgspec.structs import replace

from northbound.backends.memory import MemoryDeliveries
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.dialects import all_dialects
from northbound.dialects.base import Dialect
from northbound.model.app import Body, BodyForm, Endpoint, EndpointState, RetryPolicy
from northbound.model.delivery import (
    NO_CHANGE,
    Attempt,
    Delivery,
    DeliveryState,
    Failure,
    FailureKind,
    HealthChange,
    Lane,
    NextStep,
    View,
)
from northbound.model.errors import InvalidInput, StoreFailed
from northbound.model.wire import Key, KeyKind, Proof, Request, Response
from northbound.stages.deliver import Deliver, Settled
from northbound.stages.kept import CACHED
from northbound.testing.fakes import NOW, OK, FakeClock, FakeEntropy, FakeSender, at, delivery, endpoint

ERROR = Response(status=500)
POLICY = RetryPolicy(attempts=3, waits=(timedelta(seconds=10),), deadline=timedelta(seconds=5))
S = DeliveryState


def failure(kind: FailureKind, *, chargeable: bool = True) -> Failure:
    return Failure(kind=kind, message="it broke", chargeable=chargeable)


class Post:
    """The stage with a store in memory, a scripted sender, and endpoints that tests change."""

    def __init__(self, *endpoints: Endpoint, store: Any = None, dialects: Any = None, **fields: Any) -> None:
        self.clock = FakeClock()
        self.sender = FakeSender(self.clock)
        self.store = store if store is not None else MemoryDeliveries()
        self.endpoints = {one.id: one for one in endpoints or (endpoint(retry=POLICY),)}
        self.settled: list[Settled] = []
        self.dialects = dialects or all_dialects()
        self.fields = fields
        self.stage = self.start()

    def start(self) -> Deliver:
        """Begin as a new process does."""
        return Deliver(
            self.store,
            self.sender,
            self.dialects,
            self.endpoints.get,
            self.clock,
            FakeEntropy(),
            on_settled=self.settled.append,
            **self.fields,
        )

    def add(self, *deliveries: Delivery) -> list[int]:
        numbers = self.store.add(deliveries)
        self.stage.take(numbers, deliveries)
        return numbers

    def turn(self) -> bool:
        return asyncio.run(self.stage.turn())

    def exchange(self, *outcomes: Response | Failure) -> int:
        """Start what is due, answer it, settle; return how many were answered."""
        self.turn()
        answered = self.sender.answer(*outcomes)
        asyncio.run(self.stage.settle())
        return answered

    def of(self, number: int) -> Delivery:
        found = self.store.load(number)
        assert found is not None
        return found


def names(request: Request) -> dict[str, str]:
    return dict(request.headers)


# --- tries -----------------------------------------------------------------------------------------------------------


def test_a_retry_carries_the_same_ids_and_is_signed_anew():
    key = Key(secret=b"s3cret")
    post = Post(endpoint(retry=POLICY, keys=(key,)))
    (number,) = post.add(delivery(7))
    post.exchange(ERROR)
    post.clock.advance(10)
    post.exchange(OK)
    first, second = map(names, post.sender.sent)

    same = ("northbound-delivery", "northbound-seq", "northbound-prev", "webhook-id")
    assert [first[name] for name in same] == [second[name] for name in same] == ["dl_7_ep_1", "7", "6", "ev_7"]
    assert first["northbound-room"] == second["northbound-room"]
    assert (first["northbound-attempt"], second["northbound-attempt"]) == ("1", "2")
    assert first["webhook-signature"] != second["webhook-signature"]
    assert post.sender.sent[0].body == post.sender.sent[1].body
    assert (post.of(number).state, post.of(number).attempts, post.stage.idle) == (S.DELIVERED, 2, True)


def test_a_room_is_sent_in_order_and_only_after_the_one_before():
    post = Post()
    post.add(*[delivery(place) for place in (1, 2, 3)])
    for _ in range(3):
        assert post.exchange() == 1

    assert [names(one)["northbound-seq"] for one in post.sender.sent] == ["1", "2", "3"]


def test_every_delivery_names_the_history_that_it_counts_in():
    """Rooms of one name at two sources are two; tries and later events of a room say the same, and no source's id."""
    post = Post()
    post.add(delivery(1), delivery(2))
    post.add(delivery(1, room="src_2//r1"))
    post.exchange(ERROR, OK)
    post.clock.advance(10)
    while post.exchange():
        pass
    rooms = [names(one)["northbound-room"] for one in post.sender.sent]

    assert len(rooms) == 4
    assert rooms[0] == rooms[2] == rooms[3] != rooms[1]
    assert all(re.fullmatch("[0-9a-f]{16}", room) for room in rooms)


def test_attempts_are_recorded_with_what_was_sent_and_answered():
    post = Post()
    (number,) = post.add(delivery())
    post.exchange(ERROR)
    post.clock.advance(10)
    post.exchange(failure(FailureKind.TIMEOUT))

    attempts: list[tuple[int, Attempt]] = post.store.attempts
    assert [(of, one.number, one.verdict.accepted) for of, one in attempts] == [(number, 1, False), (number, 2, False)]
    assert attempts[0][1].exchange.request.header("northbound-attempt") == "1"
    assert [one.attempt for one in post.settled] == [one for _, one in attempts]


def test_after_the_last_attempt_it_is_a_dead_letter_with_the_reason():
    post = Post()
    (number,) = post.add(delivery())
    for _ in range(3):
        post.exchange(ERROR)
        post.clock.advance(10)

    assert (post.of(number).state, post.of(number).attempts) == (S.DEAD, 3)
    assert "500" in (post.of(number).reason or "")
    assert post.exchange() == 0


def test_what_the_vendor_forgets_can_be_forgotten():
    post = Post(endpoint(retry=replace(POLICY, attempts=1, forget=True)))
    (number,) = post.add(delivery())
    post.exchange(ERROR)

    assert post.of(number).state is S.DROPPED


def test_waits_can_be_scaled_down():
    post = Post(wait_scale=0.01)
    (number,) = post.add(delivery())
    post.exchange(ERROR)

    assert post.of(number).due_at == at(0.1)


# --- S13: somebody sets the clock ---


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_setting_the_wall_clock_moves_no_wait(jump: float):
    """A wait of ten seconds is ten seconds; what is routed is sent at once, whatever time it was recorded at."""
    post = Post()
    (number,) = post.add(delivery())
    post.exchange(ERROR)
    post.clock.jump(jump)
    new = post.add(delivery(2, room="src_1//r2"))

    post.exchange(OK)
    sent_at_once = [post.of(one).state for one in (number, *new)]
    post.clock.advance(9)
    post.exchange(OK)
    early = post.of(number).state
    post.clock.advance(1)
    post.exchange(ERROR)

    assert sent_at_once == [S.WAITING, S.DELIVERED]
    assert (early, post.of(number).attempts) == (S.WAITING, 2)
    assert post.of(number).due_at == post.clock.now() + timedelta(seconds=10), "people are told by the clock they see"


@pytest.mark.parametrize("jump", [-3600, 3600])
def test_setting_the_wall_clock_sets_no_head_aside_and_holds_none_longer(jump: float):
    post = Post(endpoint(retry=replace(POLICY, attempts=99), lane_hold=timedelta(seconds=35)))
    (number,) = post.add(delivery())
    lanes = []
    for _ in range(4):
        post.exchange(ERROR)
        lanes.append(post.of(number).lane)
        post.clock.jump(jump)
        post.clock.advance(10)

    assert lanes == [Lane.LIVE, Lane.LIVE, Lane.LIVE, Lane.ASIDE]


def test_what_was_never_tried_is_due_at_once_after_a_restart():
    """Also when the clock was set back meanwhile."""
    post = Post()
    (number,) = post.add(delivery())
    post.clock.jump(-3600)
    post.stage = post.start()
    post.stage.recover()

    post.exchange(OK)

    assert post.of(number).state is S.DELIVERED


# --- D6, D8, D10 -----------------------------------------------------------------------------------------------------


def test_a_failure_of_our_own_side_is_not_charged():
    post = Post(endpoint(retry=replace(POLICY, attempts=1)))
    (number,) = post.add(delivery())
    for _ in range(5):
        post.exchange(failure(FailureKind.PROXY, chargeable=False))
        assert (post.of(number).state, post.of(number).attempts) == (S.WAITING, 0)
        assert post.of(number).due_at > post.clock.now()
        post.clock.advance(10)
    post.exchange(OK)

    assert post.of(number).state is S.DELIVERED
    assert {one.attempt.number for one in post.settled} == {1}


def test_retry_after_lengthens_the_wait_within_limits():
    post = Post()
    (number,) = post.add(delivery())
    post.exchange(Response(status=429, headers=(("retry-after", "99999999"),)))

    assert post.of(number).due_at == at(3600)


@pytest.mark.parametrize(
    ("dialect", "answer", "state"),
    [
        ("mpaas", b'{"code":1}', S.WAITING),
        ("mpaas", b"not json", S.WAITING),
        ("standard", b'{"code":1}', S.DELIVERED),
    ],
)
def test_the_dialect_judges_the_answers_body(dialect: str, answer: bytes, state: DeliveryState):
    """D10: the same bytes are a failure in one wire and success in another."""
    post = Post(endpoint(dialect=dialect, retry=POLICY))
    words = b'{"bizRequestId":"1","code":0,"msg":"x"}' if dialect == "mpaas" else bytes(delivery().view.words)
    (number,) = post.add(delivery(view=View(words=msgspec.Raw(words))))
    post.exchange(Response(status=200, body=answer))

    assert post.of(number).state is state


# --- D9 --------------------------------------------------------------------------------------------------------------


def test_gone_stops_the_endpoint_and_the_rest_waits():
    post = Post(endpoint(retry=POLICY), endpoint("ep_2", retry=POLICY))
    first, second, other = post.add(delivery(1), delivery(2), delivery(1, to="ep_2"))
    post.turn()
    post.sender.answer(Response(status=410), OK)
    asyncio.run(post.stage.settle())
    post.endpoints["ep_1"] = endpoint(state=EndpointState.GONE)  # as whoever hears of it does

    assert set(post.store.stopped()) == {"ep_1"}
    assert [post.of(number).state for number in (first, second, other)] == [S.DEAD, S.WAITING, S.DELIVERED]
    assert post.exchange() == 0
    post.endpoints["ep_1"] = endpoint()
    post.stage.lanes.resume("ep_1")
    assert post.exchange() == 1


def test_a_setting_ignores_gone():
    post = Post(endpoint(retry=POLICY, ignore_gone=True))
    (number,) = post.add(delivery())
    post.exchange(Response(status=410))

    assert (post.of(number).state, post.store.stopped()) == (S.WAITING, {})


def test_nothing_is_started_between_hearing_of_gone_and_storing_it():
    """A turn settles first: whoever hears of it pauses the endpoint before more is leased."""
    post = Post()
    post.add(*[delivery(1, room=f"r{number}") for number in range(3)])
    post.endpoints["ep_1"] = endpoint(max_in_flight=1, retry=POLICY)
    post.stage._on_settled = lambda _: post.endpoints.update(ep_1=endpoint(state=EndpointState.GONE))
    post.turn()
    post.sender.answer(Response(status=410))
    post.turn()

    assert len(post.sender.sent) == 1


# --- D11 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "marked"),
    [
        (failure(FailureKind.TIMEOUT), True),
        (failure(FailureKind.CLOSED), True),
        (ERROR, True),
        (failure(FailureKind.CONNECT), False),
        (failure(FailureKind.DNS), False),
        (failure(FailureKind.PROXY, chargeable=False), False),
    ],
)
def test_a_retry_of_what_may_have_arrived_is_marked(outcome: Response | Failure, *, marked: bool):
    post = Post()
    post.add(delivery())
    post.exchange(outcome)
    post.clock.advance(10)
    post.exchange(failure(FailureKind.CONNECT))
    post.clock.advance(10)
    post.exchange(OK)
    marks = [names(one).get("northbound-possible-duplicate") for one in post.sender.sent]

    assert marks == [None, *(["1"] * 2 if marked else [None] * 2)]


def test_what_was_under_way_when_a_process_ended_is_marked(tmp_path: Any):
    store = SqliteDeliveries(tmp_path / "deliveries.db")
    post = Post(store=store)
    post.add(delivery(1), delivery(2))
    post.turn()  # sent, never settled: the process dies

    post.stage = post.start()
    assert post.stage.recover() == 2
    post.sender.pending.clear()
    for _ in range(2):
        post.exchange()
    store.close()

    assert [names(one).get("northbound-possible-duplicate") for one in post.sender.sent] == [None, "1", None]
    assert [names(one)["northbound-delivery"] for one in post.sender.sent] == ["dl_1_ep_1", "dl_1_ep_1", "dl_2_ep_1"]


def test_an_answer_after_the_lease_is_not_counted_twice():
    """A lease ends by settle or by time (law 6); what comes later is known already."""
    post = Post(lease=timedelta(seconds=30))
    (number,) = post.add(delivery())
    post.turn()
    late = post.sender.pending.pop()
    post.clock.advance(31)
    post.turn()
    post.turn()
    assert (post.of(number).state, post.of(number).attempts) == (S.WAITING, 1)
    post.sender.answer_late(late, OK)
    post.clock.advance(10)
    post.exchange(OK)

    assert (post.of(number).state, post.of(number).attempts) == (S.DELIVERED, 2)
    assert names(post.sender.sent[1])["northbound-possible-duplicate"] == "1"


# --- D13 -------------------------------------------------------------------------------------------------------------


def test_deliveries_of_a_deleted_endpoint_are_cancelled(tmp_path: Any):
    for store in (MemoryDeliveries(), SqliteDeliveries(tmp_path / "deliveries.db")):
        post = Post(store=store)
        numbers = post.add(delivery(1), delivery(2), delivery(1, room="r2"))
        post.turn()
        del post.endpoints["ep_1"]
        post.stage.wake()
        post.sender.answer(ERROR, OK)  # one was refused, the other arrived
        post.turn()
        post.turn()

        states = [post.of(number).state for number in numbers]
        assert states == [S.CANCELLED, S.CANCELLED, S.DELIVERED]
        assert post.of(numbers[1]).reason == "cancelled: the endpoint was deleted"
        assert post.stage.idle
    post.store.close()


def test_what_is_routed_to_an_endpoint_that_was_just_deleted_is_cancelled_too():
    post = Post()
    (number,) = post.add(delivery(to="ep_9"))
    post.turn()

    assert (post.of(number).state, post.stage.idle) == (S.CANCELLED, True)


def test_many_cancelled_at_once_and_what_comes_meanwhile_is_not_lost():
    post = Post()
    numbers = post.add(*[delivery(place, room=f"r{place % 7}") for place in range(1, 1200)])
    del post.endpoints["ep_1"]
    post.stage.wake()
    post.turn()

    assert {post.of(number).state for number in numbers} == {S.CANCELLED}
    assert post.stage.lanes.size == 0


def test_what_is_taken_for_a_deleted_endpoint_while_others_are_cancelled_is_too():
    """The commit leaves the loop to others, who may just have a test event for it."""
    store, late = MemoryDeliveries(), list[int]()

    async def aside(
        rows: Sequence[tuple[int, Attempt | None, NextStep, Lane, int]], health: HealthChange = NO_CHANGE
    ) -> None:
        store.settle(rows, health)
        if not late:
            late.extend(post.add(delivery(3)))

    post = Post(store=store, settle=aside)
    post.add(delivery(1), delivery(2))
    post.endpoints.clear()
    post.stage.wake()
    post.turn()
    post.turn()

    assert (post.of(late[0]).state, post.stage.idle) == (S.CANCELLED, True)


def test_a_disabled_endpoint_waits():
    post = Post(endpoint(state=EndpointState.DISABLED, retry=POLICY))
    (number,) = post.add(delivery())
    assert (post.exchange(), post.of(number).state) == (0, S.WAITING)
    post.endpoints["ep_1"] = endpoint(retry=POLICY)
    post.stage.lanes.resume("ep_1")

    assert post.exchange() == 1


def test_a_moved_endpoint_and_a_rotated_key_hold_for_the_next_try():
    post = Post(endpoint(retry=POLICY, keys=(Key(secret=b"old"),)))
    post.add(delivery())
    post.exchange(ERROR)
    post.endpoints["ep_1"] = endpoint(url="http://elsewhere.test/cb", retry=POLICY, keys=(Key(secret=b"new"),))
    post.clock.advance(10)
    post.exchange(OK)
    standard = post.dialects["standard"]
    first, second = post.sender.sent

    assert (first.url, second.url) == ("http://ep_1.test/cb", "http://elsewhere.test/cb")
    assert standard.verify(first, [Key(secret=b"old")], NOW, {})
    assert standard.verify(second, [Key(secret=b"new")], at(10), {})


def test_an_endpoint_that_speaks_another_dialect_now_gets_no_words_of_the_old():
    post = Post()
    (number,) = post.add(delivery(dialect="standard"))
    post.endpoints["ep_1"] = endpoint(dialect="avd", retry=POLICY)
    post.turn()
    post.turn()

    assert (post.of(number).state, post.sender.sent) == (S.DEAD, [])
    assert post.of(number).reason == "it was routed in the words of standard, and the endpoint speaks avd now"


# --- D19: what cannot be said ----------------------------------------------------------------------------------------


class Narrow(Dialect):
    """A wire whose requests hold at most ten bytes, and which breaks on an answer of 299."""

    name: ClassVar[str] = "narrow"
    batch_max: ClassVar[int] = 4

    def encode(self, views: Sequence[View], endpoint: Endpoint) -> Request:
        body = b"".join(bytes(view.words) for view in views)
        if len(body) > 10:
            raise InvalidInput("the event is larger than 10 bytes, the most this wire carries")
        if b"fault" in body:
            raise KeyError("fault")
        return Request(method="POST", url=endpoint.url, body=body)

    def judge(self, request: Request, response: Response) -> Any:
        if response.status == 299:
            raise ValueError("no such status")
        return super().judge(request, response)


def narrow(batch: int = 1, **fields: Any) -> Post:
    target = endpoint(dialect="narrow", retry=POLICY, options={"batch": batch})
    return Post(target, dialects={"narrow": Narrow()}, **fields)


def worded(place: int, words: bytes) -> Delivery:
    return delivery(place, view=View(words=msgspec.Raw(words)))


def test_what_a_wire_cannot_carry_is_a_dead_letter_with_the_reason_and_the_room_goes_on():
    post = narrow()
    first, second, third = post.add(worded(1, b"far too long a word"), worded(2, b"fault"), worded(3, b"ok"))
    for _ in range(4):
        post.exchange()

    assert [post.of(number).state for number in (first, second, third)] == [S.DEAD, S.DEAD, S.DELIVERED]
    assert post.of(first).reason == "the event is larger than 10 bytes, the most this wire carries"
    assert post.of(second).reason == "it cannot be written: KeyError"
    assert [one.body for one in post.sender.sent] == [b"ok"]


def test_an_answer_that_breaks_its_dialect_is_not_accepted():
    post = narrow()
    (number,) = post.add(worded(1, b"ok"))
    post.exchange(Response(status=299))

    assert (post.of(number).state, post.of(number).attempts) == (S.WAITING, 1)


def test_an_unknown_dialect_ends_its_deliveries_not_the_stage():
    post = Post(endpoint(dialect="uninstalled"), endpoint("ep_2"))
    lost, sent = post.add(delivery(1), delivery(1, to="ep_2"))
    for _ in range(2):
        post.exchange()

    assert (post.of(lost).state, post.of(sent).state) == (S.DEAD, S.DELIVERED)


# --- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_holds_what_is_due_of_one_room_and_no_more_than_the_wire_takes():
    post = narrow(batch=100)
    post.add(*[worded(place, b"%d" % place) for place in range(1, 7)])
    post.exchange()
    post.exchange()

    assert [one.body for one in post.sender.sent] == [b"1234", b"56"]
    first = names(post.sender.sent[0])
    assert [first[f"northbound-{name}"] for name in ("delivery", "prev", "seq")] == ["dl_1_ep_1", "", "4"]


@pytest.mark.parametrize("odd", [0, -1, "4", None])
def test_an_odd_batch_option_means_one(odd: Any):
    post = narrow(batch=odd)
    post.add(worded(1, b"1"), worded(2, b"2"))
    post.exchange()

    assert post.sender.sent[0].body == b"1"


def test_a_batch_is_retried_as_the_same_request_also_after_a_restart(tmp_path: Any):
    store = SqliteDeliveries(tmp_path / "deliveries.db")
    post = narrow(batch=3, store=store)
    post.add(worded(1, b"1"), worded(2, b"2"))
    post.exchange(ERROR)
    post.add(worded(3, b"3"))
    post.clock.advance(10)
    post.exchange(ERROR)

    post.stage = post.start()
    post.stage.recover()
    post.clock.advance(10)
    post.exchange(OK)
    post.exchange(OK)
    store.close()

    assert [one.body for one in post.sender.sent] == [b"12", b"12", b"12", b"3"]
    assert [names(one)["northbound-attempt"] for one in post.sender.sent] == ["1", "2", "3", "1"]


def test_a_batch_that_is_too_large_together_is_sent_in_parts():
    post = narrow(batch=4)
    numbers = post.add(
        *[worded(place, b"12345") for place in range(1, 5)], worded(5, b"far too long"), worded(6, b"ok")
    )
    for _ in range(6):
        post.exchange()

    assert [one.body for one in post.sender.sent] == [b"1234512345"] * 2 + [b"ok"]
    assert [post.of(number).state for number in numbers] == [*[S.DELIVERED] * 4, S.DEAD, S.DELIVERED]


# --- the store -------------------------------------------------------------------------------------------------------


class Refusing:
    """A store whose settling fails while `is_full`, or fails in the middle."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.is_full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def settle(
        self, outcomes: Sequence[tuple[int, Attempt | None, NextStep, Lane, int]], health: HealthChange = NO_CHANGE
    ) -> None:
        if self.is_full:
            raise StoreFailed("the disk is full")
        self._store.settle(outcomes, health)


def test_a_commit_that_fails_settles_nothing_and_sends_nothing_more():
    store = Refusing(MemoryDeliveries())
    post = Post(store=store)
    first, second = post.add(delivery(1), delivery(2))
    post.turn()
    post.sender.answer(OK)
    store.is_full = True
    for _ in range(3):
        with pytest.raises(StoreFailed):
            post.turn()
    assert (len(post.sender.sent), post.settled, post.of(first).state) == (1, [], S.WAITING)

    store.is_full = False
    post.turn()

    assert [post.of(number).state for number in (first, second)] == [S.DELIVERED, S.WAITING]
    assert [names(one)["northbound-delivery"] for one in post.sender.sent] == ["dl_1_ep_1", "dl_2_ep_1"]


class Unreadable(MemoryDeliveries):
    """A store of which some deliveries cannot be read, for now."""

    unreadable: frozenset[int] = frozenset()

    def load(self, number: int) -> Delivery | None:
        if number in self.unreadable:
            raise StoreFailed("the disk does not answer")
        return super().load(number)


def test_what_cannot_be_read_now_keeps_no_place_and_is_sent_later():
    """Its room waits a moment; the other rooms of the same turn go on."""
    store = Unreadable()
    first, second, other = store.add([delivery(1), delivery(2), delivery(1, room="src_1//r2")])
    post = Post(store=store)
    post.stage.recover()
    store.unreadable = frozenset({first})
    for _ in range(3):
        post.exchange()
    assert [post.sender.sent[0].url, len(post.sender.sent)] == ["http://ep_1.test/cb", 1]

    store.unreadable = frozenset()
    assert [post.of(number).state for number in (first, second, other)] == [S.WAITING, S.WAITING, S.DELIVERED]
    post.clock.advance(1)
    for _ in range(3):
        post.exchange()

    assert [post.of(number).state for number in (first, second, other)] == [S.DELIVERED] * 3
    assert [names(one)["northbound-seq"] for one in post.sender.sent[1:]] == ["1", "2"]
    assert post.stage.idle


def test_the_stage_goes_on_by_itself_when_the_store_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("northbound.stages.deliver.STALLED", 0.001)
    store = Refusing(MemoryDeliveries())
    post = Post(store=store)
    post.add(delivery(1), delivery(2))

    async def scenario() -> None:
        running = asyncio.ensure_future(post.stage.run())
        store.is_full = True
        answered = 0
        while not post.stage.idle:
            answered += post.sender.answer()
            if answered:
                store.is_full = False
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 20))

    assert len(post.sender.sent) == 2


def test_settling_can_be_done_beside_the_loop():
    stored: list[int] = []
    store = MemoryDeliveries()

    async def aside(
        rows: Sequence[tuple[int, Attempt | None, NextStep, Lane, int]], health: HealthChange = NO_CHANGE
    ) -> None:
        stored.extend(row[0] for row in rows)
        post.add(delivery(2))  # routed while the disk works
        store.settle(rows, health)

    post = Post(store=store, settle=aside)
    (number,) = post.add(delivery(1))
    post.exchange()

    assert (stored, post.of(number).state, post.stage.lanes.size) == ([number], S.DELIVERED, 1)


def test_what_waited_is_sent_by_the_next_process_in_order(tmp_path: Any):
    store = SqliteDeliveries(tmp_path / "deliveries.db")
    post = Post(endpoint(retry=POLICY, lane_hold=timedelta()), store=store)
    post.add(delivery(1), delivery(2), delivery(3))
    post.exchange(ERROR)  # the first is set aside
    post.stage = post.start()
    post.stage.recover()
    post.exchange()
    post.exchange()
    post.clock.advance(10)
    post.exchange()
    store.close()

    assert [names(one)["northbound-seq"] for one in post.sender.sent] == ["1", "2", "3", "1"]


def test_deliveries_in_memory_are_bounded():
    post = Post(endpoint(retry=POLICY, max_in_flight=1))
    post.add(*[delivery(place, room=f"r{place}") for place in range(1, CACHED + 10)])

    assert len(post.stage.kept._cache) <= CACHED
    for _ in range(3):
        post.exchange(ERROR)
    assert len(post.stage.kept._cache) <= CACHED


# --- wires whose keys are others' ------------------------------------------------------------------------------------


def test_a_key_that_cannot_sign_is_a_dead_letter_not_a_crash():
    target = endpoint(dialect="aliyun_cvc", retry=POLICY, keys=(Key(kind=KeyKind.RSA, secret=b"not a key"),))
    post = Post(target)
    words = b'{"id":"1","source":"acs.aliyuncvc","type":"t","data":"{}"}'
    (number,) = post.add(worded(1, words))
    post.turn()
    post.turn()

    assert (post.of(number).state, post.sender.sent) == (S.DEAD, [])


# --- bodies of one's own, and stopping at the first that is lost -----------------------------------------------------


def test_a_reshaped_body_is_what_is_signed():
    """A target's body is made before the signature, so that a receiver checks the bytes it got."""
    key = Key(secret=b"s3cret")
    body = Body(form=BodyForm.TEMPLATE, value='{"who":"$.subject"}', template="in ${who}")
    post = Post(endpoint(retry=POLICY, keys=(key,), body=body))
    post.add(delivery(7))
    post.exchange(OK)
    (sent,) = post.sender.sent

    assert sent.body == b"in r1"
    assert sent.header("content-type") == "text/plain; charset=utf-8"
    assert post.dialects["standard"].verify(sent, [key], post.clock.now(), {}) is Proof.FRESH


def test_a_body_that_cannot_be_made_is_a_dead_letter_with_the_reason_and_the_room_goes_on():
    post = Post(endpoint(retry=POLICY, body=Body(form=BodyForm.JSONPATH, value="$.data.nope")))
    numbers = post.add(delivery(1), delivery(2))
    for _ in range(3):
        post.exchange(OK)

    assert post.sender.sent == []
    assert {post.of(number).state for number in numbers} == {S.DEAD}
    assert "the event has nothing at $.data.nope" in (post.of(numbers[0]).reason or "")


def test_an_endpoint_that_tolerates_no_loss_stops_and_goes_on_where_it_stopped():
    """ErrorsTolerance NONE: nothing becomes a dead letter; whoever starts it again gets the same event first."""
    post = Post(endpoint(retry=POLICY, stops_when_dead=True))
    numbers = post.add(delivery(1), delivery(2))
    for _ in range(3):
        post.exchange(ERROR)
        post.clock.advance(10)

    assert [post.of(number).state for number in numbers] == [S.WAITING, S.WAITING]
    stop = post.store.stopped()["ep_1"]
    assert (stop.is_gone, stop.probe_at, "the endpoint stops" in stop.reason) == (False, None, True)
    post.store.start_endpoint("ep_1")
    post.stage.started("ep_1")
    post.exchange(OK)
    post.exchange(OK)
    assert [post.of(number).state for number in numbers] == [S.DELIVERED, S.DELIVERED]
    assert [one.attempts for one in map(post.of, numbers)] == [4, 1]


# --- two paths -------------------------------------------------------------------------------------------------------


def test_a_second_path_has_a_sender_of_its_own() -> None:
    """D20: one dead path holds nothing of the other's; the request says which path it took."""
    clock = FakeClock()
    second = FakeSender(clock)
    paths = [endpoint(f"ep_{path}", retry=POLICY, path=path) for path in (1, 2)]
    post = Post(*paths, second=second)
    first_number, second_number = post.add(delivery(1, to="ep_1"), delivery(1, to="ep_2"))
    post.turn()

    assert [names(one)["northbound-path"] for one in post.sender.sent] == ["1"]
    assert [names(one)["northbound-path"] for one in second.sent] == ["2"]
    post.sender.answer(failure(FailureKind.CONNECT))
    second.answer(OK)
    asyncio.run(post.stage.settle())
    assert (post.of(first_number).state, post.of(second_number).state) == (S.WAITING, S.DELIVERED)
