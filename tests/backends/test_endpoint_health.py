"""Endpoints that stop by themselves and come back, poisoned heads, and the operator's hands (D1, D14-D17)."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from northbound.backends.memory import MemoryDeliveries
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.dialects import all_dialects
from northbound.logic.places import APP_PLACES, NARROW
from northbound.model.app import Endpoint, EndpointState, RetryPolicy
from northbound.model.delivery import DeliveryState, Failure, FailureKind, Stop
from northbound.model.errors import Conflict, NotFound, StoreFailed
from northbound.model.wire import Request, Response
from northbound.stages.deliver import Deliver
from northbound.stages.health import PROBES, HealthRules, Poisoned
from northbound.testing.fakes import NOW, OK, FakeClock, FakeEntropy, FakeSender, at, delivery, endpoint

ERROR = Response(status=500)
GONE = Response(status=410)
STEADY = RetryPolicy(attempts=10_000, waits=(timedelta(minutes=10),))
HOUR = 3600.0
S = DeliveryState


class Dice(FakeEntropy):
    """Fractions that differ from call to call, and are the same in each run."""

    def fraction(self) -> float:
        return int.from_bytes(self.bytes(2), "big") * 0.618 % 1


class Post:
    """The stage as the hub builds it: what stops is marked, what is accepted again goes on."""

    def __init__(self, store: Any, *endpoints: Endpoint, **rules: Any) -> None:
        self.clock = FakeClock()
        self.sender = FakeSender(self.clock)
        self.store = store
        self.endpoints = {one.id: one for one in endpoints}
        self.heads: list[Poisoned] = []
        self.rules = HealthRules(
            **rules,
            on_stopped=self._stopped,
            on_started=lambda one: self._started(one.id),
            on_poisoned=self.heads.append,
        )
        self.stops: list[tuple[str, Stop]] = []
        self.starts: list[str] = []
        self.stage = self.start()

    def start(self) -> Deliver:
        """Begin as a new process does."""
        for endpoint_id, stop in self.store.stopped().items():
            self._mark(endpoint_id, EndpointState.GONE if stop.is_gone else EndpointState.FAILING)
        stage = Deliver(
            self.store,
            self.sender,
            all_dialects(),
            self.endpoints.get,
            self.clock,
            Dice(),
            rules=self.rules,
        )
        stage.recover()
        return stage

    async def _stopped(self, one: Endpoint, stop: Stop) -> None:
        assert one.id not in self.store.stopped() or self.store.stopped()[one.id] != stop
        self.stops.append((one.id, stop))
        self._mark(one.id, EndpointState.GONE if stop.is_gone else EndpointState.FAILING)

    def _started(self, endpoint_id: str) -> None:
        self.starts.append(endpoint_id)
        self._mark(endpoint_id, EndpointState.ENABLED)

    def _mark(self, endpoint_id: str, state: EndpointState) -> None:
        self.endpoints[endpoint_id] = replace(self.endpoints[endpoint_id], state=state)

    def add(self, *deliveries: Any) -> list[int]:
        numbers = self.store.add(deliveries)
        self.stage.take(numbers, deliveries)
        return numbers

    def exchange(self, *outcomes: Response | Failure) -> int:
        asyncio.run(self.stage.turn())
        answered = self.sender.answer(*outcomes)
        asyncio.run(self.stage.settle())
        return answered

    def exchange_all(self) -> int:
        """Exchange until nothing is due."""
        total = 0
        while answered := self.exchange():
            total += answered
        return total

    def sent(self) -> list[str]:
        """Return the event ids that were sent, in order."""
        return [one.header("northbound-delivery") or "" for one in self.sender.sent]

    def of(self, number: int) -> Any:
        found = self.store.load(number)
        assert found is not None
        return found


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Any]:
    one = MemoryDeliveries() if request.param == "memory" else SqliteDeliveries(tmp_path / "deliveries.db")
    yield one
    if isinstance(one, SqliteDeliveries):
        one.close()


def failing_for_days(store: Any, **rules: Any) -> tuple[Post, list[int]]:
    """Return a post whose endpoint failed for the setting's time and is stopped, with three rooms waiting."""
    post = Post(store, endpoint(retry=STEADY, lane_hold=timedelta(days=99)), **{"fails": timedelta(hours=2), **rules})
    numbers = post.add(*[delivery(place, room=f"src_1//r{place % 3}") for place in range(1, 10)])
    post.sender.usual = ERROR
    post.exchange_all()
    for _ in range(13):
        post.clock.advance(600)
        post.exchange_all()
    return post, numbers


# --- stopped, tried, started (D15) -----------------------------------------------------------------------------------


def test_an_endpoint_that_only_fails_is_stopped(store: Any):
    """Once, with the reason; it is sent nothing more, and nothing of what waits is lost."""
    post, numbers = failing_for_days(store)
    sent = len(post.sender.sent)
    ((endpoint_id, stop),) = post.stops

    assert (endpoint_id, stop.is_gone) == ("ep_1", False)
    assert stop.reason.startswith("every attempt failed for 2 h, the last with: ")
    assert [post.of(number).state for number in numbers] == [S.WAITING] * 9
    assert post.store.stopped()["ep_1"].reason == stop.reason
    post.add(delivery(10, room="src_1//new"))
    post.clock.advance(1)
    post.exchange_all()
    assert len(post.sender.sent) == sent


def test_one_success_counts_anew(store: Any):
    post = Post(store, endpoint(retry=STEADY, lane_hold=timedelta(days=99)), fails=timedelta(hours=2))
    post.add(delivery(1), delivery(2, room="src_1//other"))
    for place in range(3, 40):
        post.sender.usual = OK if place % 10 == 0 else ERROR
        post.exchange_all()
        post.clock.advance(600)
        post.add(delivery(place, room=f"src_1//r{place}"))

    assert post.stops == []


def test_our_own_faults_and_what_cannot_be_said_stop_nobody(store: Any):
    """D6: an endpoint answers for what it was sent."""
    ours = Failure(kind=FailureKind.PROXY, message="our proxy is down", chargeable=False)
    post = Post(store, endpoint(retry=STEADY, lane_hold=timedelta(days=99)), fails=timedelta(hours=2))
    post.add(delivery(1))
    post.add(replace(delivery(2, room="src_1//r2"), dialect="avd"))  # it was routed in another wire's words
    for _ in range(20):
        post.exchange(*[ours] * 9)
        post.clock.advance(HOUR)

    assert (post.stops, post.store.failing()) == ([], {})
    assert post.of(2).state is S.DEAD


def test_a_stopped_endpoint_is_tried_with_the_oldest_one_at_a_time(store: Any):
    """The probe is the oldest that waits; failing, it stays where it is, and its policy is not used up."""
    post, numbers = failing_for_days(store, probe_every=timedelta(minutes=5))
    before, attempts = len(post.sender.sent), post.of(numbers[0]).attempts

    for _ in range(60):
        post.clock.advance(60)
        assert post.exchange() <= 1

    probes = post.sent()[before:]
    assert 60 / 7.5 <= len(probes) <= 60 / 2.5
    assert set(probes) == {"dl_1_ep_1"}
    assert post.of(numbers[0]).attempts == attempts
    assert len(post.stops) == 1


def test_when_a_probe_is_accepted_everything_goes_on_in_room_order(store: Any):
    """Nothing is skipped, nothing overtakes in its room, and the next failure counts from anew."""
    post, numbers = failing_for_days(store)
    before = len(post.sender.sent)
    post.sender.usual = OK
    for _ in range(3):
        post.clock.advance(300)
        post.exchange_all()
    post.clock.advance(HOUR)
    post.exchange_all()

    arrived = [int(one.split("_")[1]) for one in post.sent()[before:]]
    assert post.starts == ["ep_1"]
    assert sorted(arrived) == list(range(1, 10)) and arrived[0] == 1
    for room in range(3):
        of_room = [place for place in arrived if place % 3 == room]
        assert of_room == sorted(of_room)
    assert [post.of(number).state for number in numbers] == [S.DELIVERED] * 9
    assert (post.store.stopped(), post.store.failing()) == ({}, {})


def test_a_stop_outlives_its_process(store: Any):
    """And probes that came due meanwhile are spread, not fired at once."""
    post, _ = failing_for_days(store)
    post.clock.advance(HOUR)
    post.stage = post.start()
    before = len(post.sender.sent)

    assert post.exchange() == 0
    post.sender.usual = OK
    post.clock.advance(300)
    post.exchange_all()
    assert post.starts == ["ep_1"]
    assert len(post.sender.sent) > before


def test_since_when_it_fails_outlives_its_process(store: Any):
    post = Post(store, endpoint(retry=STEADY, lane_hold=timedelta(days=99)), fails=timedelta(hours=2))
    post.add(delivery(1))
    post.sender.usual = ERROR
    for _ in range(13):
        post.exchange_all()
        post.clock.advance(600)
        post.stage = post.start()
    post.exchange_all()

    assert [one for one, _ in post.stops] == ["ep_1"]


class FullOnce(MemoryDeliveries):
    """A store whose disk is full when an endpoint is started."""

    is_full = True

    def start_endpoint(self, endpoint_id: str) -> None:
        was_full, self.is_full = self.is_full, False
        if was_full:
            raise StoreFailed("the disk is full")
        super().start_endpoint(endpoint_id)


def test_a_recovery_that_cannot_be_stored_is_found_at_the_next_probe():
    """Neither that endpoint nor another that was tried with it stays stopped for ever."""
    both = [endpoint(name, retry=STEADY, lane_hold=timedelta(days=99)) for name in ("ep_1", "ep_2")]
    post = Post(FullOnce(), *both, fails=timedelta(hours=2))
    numbers = post.add(*[delivery(1, to=name, room=f"src_1//r{room}") for name in post.endpoints for room in range(9)])
    post.sender.usual = ERROR
    for _ in range(14):
        post.exchange_all()
        post.clock.advance(600)
    assert len(post.stops) == 2
    asyncio.run(post.stage.turn())  # both are tried now
    post.sender.usual = OK
    post.sender.answer()
    with pytest.raises(StoreFailed):
        asyncio.run(post.stage.settle())

    for _ in range(4):
        post.clock.advance(600)
        post.exchange_all()

    assert sorted(post.starts) == ["ep_1", "ep_2"]
    assert {post.of(number).state for number in numbers} == {S.DELIVERED}


@pytest.mark.parametrize("probes_gone", [False, True])
def test_who_is_gone_is_tried_only_where_the_setting_says_so(store: Any, *, probes_gone: bool):
    """D9, D15."""
    post = Post(store, endpoint(retry=STEADY), probes_gone=probes_gone)
    post.add(delivery(1), delivery(2))
    post.exchange(GONE)
    for _ in range(30):
        post.clock.advance(60)
        post.exchange_all()

    assert [(one, stop.is_gone) for one, stop in post.stops] == [("ep_1", True)]
    assert (post.starts == ["ep_1"]) is probes_gone
    assert (post.of(2).state is S.DELIVERED) is probes_gone


def test_what_was_under_way_starts_nobody_who_is_gone(store: Any):
    """An answer that comes after the 410 of another is no sign of life."""
    post = Post(store, endpoint(retry=STEADY))
    post.add(delivery(1), delivery(2, room="src_1//r2"))
    asyncio.run(post.stage.turn())
    post.sender.answer(GONE, OK)
    asyncio.run(post.stage.settle())

    assert (len(post.stops), post.starts) == (1, [])


def test_started_by_hand_it_has_its_whole_time_again(store: Any):
    post, _ = failing_for_days(store)
    post.store.start_endpoint("ep_1")
    post._started("ep_1")
    post.stage.started("ep_1")
    post.clock.advance(600)
    post.exchange_all()

    assert len(post.stops) == 1
    assert post.store.failing() == {"ep_1": post.clock.now()}


# --- many at once (D16, D1) ------------------------------------------------------------------------------------------


def test_ten_thousand_that_come_back_make_no_burst():
    """Never more than the cap under way, every second turn is for who had none yet, room order held."""
    many = 10_000
    store = MemoryDeliveries()
    ids = [f"ep_{number}" for number in range(many)]
    for name in ids:
        store.stop_endpoint(name, Stop(reason="500", at=NOW, is_gone=False, probe_at=at(300)))
    waiting = [delivery(place, to=name) for place in (1, 2) for name in ids]
    store.add(waiting)
    post = Post(store, *[endpoint(name, retry=STEADY) for name in ids], probe_every=timedelta(seconds=300))

    asyncio.run(post.stage.turn())
    first_turn = len(post.sender.pending)
    for name in ids:  # an operator, or the receivers' network, brings all of them back in one instant
        store.start_endpoint(name)
        post._started(name)
        post.stage.started(name)
    most = 0
    served: list[str] = []
    while True:
        asyncio.run(post.stage.turn())
        most = max(most, len(post.sender.pending))
        served += [one.request.url for one in post.sender.pending]
        if not post.sender.answer():
            break

    assert first_turn == 0
    assert most == APP_PLACES
    assert len(set(served[:many])) >= many // 2
    assert Counter(served) == Counter({f"http://{name}.test/cb": 2 for name in ids})


def test_probes_take_few_places_and_are_spread():
    """Endpoints that stopped together are tried over the whole time between two tries."""
    many = 2_000
    store = MemoryDeliveries()
    ids = [f"ep_{number}" for number in range(many)]
    for name in ids:
        store.stop_endpoint(name, Stop(reason="500", at=NOW, is_gone=False, probe_at=NOW))
    store.add([delivery(1, to=name) for name in ids])
    post = Post(store, *[endpoint(name, retry=STEADY) for name in ids], probe_every=timedelta(seconds=300))
    post.sender.usual = ERROR

    by_tenth: list[int] = []
    most = 0
    for _ in range(10):
        post.clock.advance(30)
        by_tenth.append(0)
        while answered := post.exchange():
            most = max(most, answered)
            by_tenth[-1] += answered

    assert sum(by_tenth) >= many
    assert max(by_tenth) < many / 5
    assert most == PROBES


def test_a_failing_endpoints_backlog_takes_no_places_of_others():
    """D1: a hundred thousand wait for one that never answers; the others' deliveries start at once, all of them."""
    store = MemoryDeliveries()
    post = Post(store, endpoint("ep_bad", retry=STEADY, max_in_flight=16), endpoint("ep_good", retry=STEADY))
    post.add(*[delivery(place, to="ep_bad", room=f"src_1//r{place}") for place in range(1, 100_001)])
    asyncio.run(post.stage.turn())
    hanging = len(post.sender.pending)
    for place in range(1, 101):
        post.add(delivery(place, to="ep_good", room=f"src_1//g{place}"))
        asyncio.run(post.stage.turn())
        (fresh,) = [one for one in post.sender.pending if "ep_good" in one.request.url]
        post.sender.pending.remove(fresh)
        post.sender.answer_late(fresh, OK)

    assert hanging == NARROW
    assert len(post.sender.pending) == NARROW


def test_a_bulk_replay_leaves_live_deliveries_their_places():
    """D17: a replay has a quarter of an endpoint's places, however much it holds; live ones start at once."""
    post = Post(MemoryDeliveries(), endpoint(retry=STEADY, max_in_flight=16))
    for place in range(1, 17):
        post.add(delivery(place))
        post.exchange_all()
    replays = [delivery(place, room=f"src_1//r{place}", lane="replay") for place in range(1, 50_001)]
    post.add(*[replace(one, lane=type(delivery().lane)("replay")) for one in replays])
    asyncio.run(post.stage.turn())
    replayed = len(post.sender.pending)
    for place in range(1, 51):
        post.add(delivery(place, room=f"src_1//live{place}"))
        asyncio.run(post.stage.turn())
        fresh = post.sender.pending[-1]
        assert fresh.request.header("northbound-delivery") == f"dl_{place}_ep_1"
        post.sender.pending.remove(fresh)
        post.sender.answer_late(fresh, OK)

    assert replayed == 4
    assert len(post.sender.pending) == 4


# --- poison and the operator's hands (D14) ---------------------------------------------------------------------------


def bad(request: Request) -> Response:
    return ERROR if b"ev_1" in request.body else OK


def poisoned(store: Any, *, failures: int = 5) -> tuple[Post, list[int]]:
    post = Post(store, endpoint(retry=STEADY, lane_hold=timedelta(days=99)))
    post.sender.usual = bad
    numbers = post.add(delivery(1), delivery(2), delivery(3))
    for _ in range(failures):
        post.exchange_all()
        post.clock.advance(600)
    return post, numbers


def test_a_head_that_fails_on_and_on_is_news_until_its_room_goes_on(store: Any):
    post, (number, *_) = poisoned(store, failures=6)
    told = [(one.number, one.attempts, one.is_over) for one in post.heads]
    counted = post.stage.heads.counts()
    post.sender.usual = OK
    post.exchange_all()

    assert told == [(number, 5, False), (number, 6, False)]
    assert counted == {"ep_1": 1}
    assert (post.heads[-1].is_over, post.stage.heads.counts()) == (True, {})


def test_a_head_that_is_set_aside_is_news_and_over(store: Any):
    post = Post(store, endpoint(retry=STEADY, lane_hold=timedelta()))
    post.sender.usual = bad
    post.add(delivery(1), delivery(2))
    for _ in range(4):
        post.exchange_all()
        post.clock.advance(600)

    assert [one.is_over for one in post.heads] == [False, True]


def test_a_skipped_head_lets_its_room_go_on_in_order(store: Any):
    """It is cancelled with the reason; the receiver sees the gap."""
    post, numbers = poisoned(store)
    post.stage.hands.skip(numbers[0], "ticket 12")
    post.stage.hands.skip(numbers[0], "ticket 12")  # the same command again
    post.exchange_all()

    assert [post.of(number).state for number in numbers] == [S.CANCELLED, S.DELIVERED, S.DELIVERED]
    assert post.of(numbers[0]).reason == "skipped: ticket 12"
    assert post.sent()[-2:] == ["dl_2_ep_1", "dl_3_ep_1"]
    assert post.sender.sent[-2].header("northbound-prev") == "1"
    assert post.heads[-1].is_over
    assert post.stage.idle


def test_one_in_the_middle_can_be_skipped(store: Any):
    post, numbers = poisoned(store)
    post.stage.hands.skip(numbers[1], "not wanted")
    post.sender.usual = OK
    post.exchange_all()

    assert [post.of(number).state for number in numbers] == [S.DELIVERED, S.CANCELLED, S.DELIVERED]
    assert not any(one.is_over for one in post.heads[:-1])
    assert post.stage.idle


def test_a_head_is_sent_now_on_request(store: Any):
    """Its attempts count on; what is behind it is told to wait for it."""
    post = Post(store, endpoint(retry=STEADY, lane_hold=timedelta(days=99)))
    post.sender.usual = bad
    numbers = post.add(delivery(1), delivery(2))
    post.exchange_all()
    assert post.exchange() == 0
    with pytest.raises(Conflict, match=f"delivery {numbers[0]} of the same room"):
        post.stage.hands.resend(numbers[1])
    post.sender.usual = OK
    post.stage.hands.resend(numbers[0])
    post.exchange_all()

    assert [post.of(number).state for number in numbers] == [S.DELIVERED, S.DELIVERED]
    assert post.of(numbers[0]).attempts == 2


def test_what_cannot_be_done_says_why(store: Any):
    post, numbers = poisoned(store)
    asyncio.run(post.stage.turn())  # the head is under way

    with pytest.raises(Conflict, match="under way"):
        post.stage.hands.skip(numbers[0], "x")
    with pytest.raises(NotFound):
        post.stage.hands.skip(99, "x")
    post.sender.usual = OK
    post.sender.answer()
    post.exchange_all()
    with pytest.raises(Conflict, match="delivered"):
        post.stage.hands.skip(numbers[0], "x")
    with pytest.raises(Conflict, match="delivered"):
        post.stage.hands.resend(numbers[0])


def test_nothing_is_sent_now_to_a_stopped_endpoint(store: Any):
    post, numbers = failing_for_days(store)

    with pytest.raises(Conflict, match="enable it"):
        post.stage.hands.resend(numbers[0])
