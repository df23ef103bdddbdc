"""Places: few for who is silent, one more for each acceptance, a share for who is slow and for each app (T10)."""

from datetime import datetime, timedelta

import pytest

from northbound.logic.order import Lanes, Lease
from northbound.logic.places import APP_PLACES, NARROW, PLACES, SLOW_MS, SLOW_PLACES, Pace, paced
from northbound.model.app import Endpoint
from northbound.model.delivery import Dead, Done, Exchange, Failure, FailureKind, Lane, RetryAt
from northbound.model.wire import Request, Response
from northbound.testing.fakes import NOW, OK, endpoint

SILENCE = Failure(kind=FailureKind.TIMEOUT, message="no answer within 10 s")
ERROR = Response(status=500)
MOMENT = timedelta(milliseconds=5)
SLOW = timedelta(milliseconds=SLOW_MS)


def exchange(outcome: Response | Failure, took: timedelta = MOMENT) -> Exchange:
    request = Request(method="POST", url="https://example.com/")
    return Exchange(
        request=request, outcome=outcome, started_at=NOW, duration_ms=round(took / timedelta(milliseconds=1))
    )


class Office:
    """Lanes with a backlog of rooms for each endpoint, and how many exchanges each has under way."""

    def __init__(self, *endpoints: Endpoint, rooms: int = 400) -> None:
        self.endpoints = {one.id: one for one in endpoints}
        self.lanes = Lanes(self.endpoints.get, lambda _: 1)
        self.now: datetime = NOW
        self.under_way: list[Lease] = []
        self.numbers = 0
        for one in endpoints:
            self.add(one.id, rooms)

    def add(self, name: str, rooms: int) -> None:
        for _ in range(rooms):
            self.numbers += 1
            self.lanes.add(self.numbers, name, f"r{self.numbers}", Lane.LIVE, self.now, self.now)

    def step(self) -> list[str]:
        """Start what may start; return to whom it goes."""
        found = self.lanes.lease(self.now, PLACES - len(self.under_way))
        self.under_way += found
        return [one.endpoint_id for one in found]

    def end(self, lease: Lease, outcome: Response | Failure = OK, took: timedelta = MOMENT) -> None:
        self.under_way.remove(lease)
        self.lanes.ended(lease)
        self.lanes.learn(lease.endpoint_id, exchange(outcome, took), is_accepted=outcome is OK)
        step = Done() if outcome is OK else RetryAt(due_at=self.now, reason="it failed")
        self.lanes.settle(lease, step, Lane.LIVE, self.now)

    def end_of(self, name: str, outcome: Response | Failure = OK, took: timedelta = MOMENT) -> None:
        """End all that is under way to an endpoint."""
        for lease in [one for one in self.under_way if one.endpoint_id == name]:
            self.end(lease, outcome, took)

    def taken_by(self, prefix: str) -> int:
        return sum(one.endpoint_id.startswith(prefix) for one in self.under_way)


def silent(count: int, *, app_id: str = "app_1") -> list[Endpoint]:
    return [endpoint(f"silent_{number}", app_id=app_id) for number in range(count)]


# --- the pace of one endpoint ---


def test_each_acceptance_gives_a_place_and_a_time_out_takes_all_but_a_few():
    pace = Pace()
    widths = [pace.width]
    for outcome in (OK, OK, OK, SILENCE, OK):
        pace = paced(pace, exchange(outcome), is_accepted=outcome is OK)
        widths.append(pace.width)

    assert widths == [NARROW, NARROW + 1, NARROW + 2, NARROW + 3, NARROW, NARROW + 1]


@pytest.mark.parametrize("outcome", [ERROR, Failure(kind=FailureKind.CONNECT, message="refused")])
def test_who_fails_at_once_keeps_its_places(outcome: Response | Failure):
    """It holds nobody up; how often it is tried is its retry policy's business."""
    known = Pace(width=9, is_quick=True)

    assert paced(known, exchange(outcome), is_accepted=False) == known


def test_who_fails_late_is_treated_like_who_is_silent():
    assert paced(Pace(width=9, is_quick=True), exchange(ERROR, SLOW), is_accepted=False) == Pace()


def test_who_accepts_late_keeps_its_width_among_the_slow():
    assert paced(Pace(width=9, is_quick=True), exchange(OK, SLOW), is_accepted=True) == Pace(width=10)


# --- all endpoints together ---


def test_twenty_silent_endpoints_leave_a_healthy_one_its_places():
    """All are in one app, and each silent one has hundreds of rooms: the healthy one comes to its full width."""
    office = Office(*silent(20), endpoint("healthy"))
    most = 0
    for _ in range(20):
        office.step()
        most = max(most, office.taken_by("silent"))
        office.end_of("healthy")
    office.step()

    assert most == 20 * NARROW
    assert office.taken_by("healthy") == 16


def test_a_thousand_silent_endpoints_have_half_of_all_places():
    """The healthy one, known before, goes on at its full width."""
    office = Office(endpoint("healthy"))
    for _ in range(16):
        office.step()
        office.end_of("healthy")
    for one in silent(1000):
        office.endpoints[one.id] = one
        office.add(one.id, 20)
    office.step()

    assert (office.taken_by("silent"), office.taken_by("healthy")) == (SLOW_PLACES, 16)


def test_who_answers_while_the_slow_are_full_waits_for_none_of_them():
    """Its next leases come out of the places that only quick ones may take."""
    office = Office(endpoint("healthy"), *silent(1000), rooms=20)
    office.step()
    assert (office.taken_by("silent"), office.taken_by("healthy")) == (SLOW_PLACES - 1, 1)
    office.end_of("healthy")

    started = office.step()

    assert started.count("healthy") == NARROW + 1


def test_slow_receivers_that_accept_keep_their_width_but_only_half_of_all_places():
    office = Office(*[endpoint(f"slow_{number}", max_in_flight=32) for number in range(8)], rooms=4000)
    for _ in range(40):
        office.step()
        for number in range(8):
            office.end_of(f"slow_{number}", took=SLOW * 3)
    office.step()

    assert office.taken_by("slow") == SLOW_PLACES
    assert office.taken_by("slow_0") == SLOW_PLACES // 8


def test_a_silent_endpoint_that_accepts_again_comes_back_to_its_width():
    office = Office(endpoint("ep_1"))
    widths: list[int] = []
    for outcome in (OK, SILENCE, OK, OK, OK, OK):
        widths.append(len(office.step()))
        office.end_of("ep_1", outcome)

    assert widths == [2, 4, 2, 4, 8, 16]


# --- apps ---


def test_no_app_takes_the_last_quarter():
    """However many endpoints it has, and however quick they are, another app's first event goes out at once."""
    flood = [endpoint(f"flood_{number}", app_id="app_1") for number in range(40)]
    office = Office(*flood)
    for _ in range(8):
        office.step()
        for one in flood:
            office.end_of(one.id)
    office.step()
    taken = office.taken_by("flood")
    office.endpoints["other"] = endpoint("other", app_id="app_2")
    office.add("other", 1)

    assert taken == APP_PLACES
    assert office.step() == ["other"]


def test_places_that_come_free_go_to_apps_in_turn():
    """Forty endpoints of one app get as much as two of the other."""
    flood = [endpoint(f"flood_{number}", app_id="app_1") for number in range(40)]
    office = Office(*flood, endpoint("other_1", app_id="app_2"), endpoint("other_2", app_id="app_2"))

    first = office.lanes.lease(office.now, 8)

    assert [one.endpoint_id.partition("_")[0] for one in first] == ["flood", "other"] * 4


def test_a_probe_counts_and_its_end_frees_its_place():
    office = Office(*silent(200), rooms=2)
    for name in list(office.endpoints)[:SLOW_PLACES]:
        probe = office.lanes.probe(name)
        assert probe is not None
        office.under_way.append(probe)

    assert office.step() == []
    for lease in list(office.under_way):
        office.under_way.remove(lease)
        office.lanes.ended(lease)
        office.lanes.settle(lease, Dead(reason="gone"), Lane.LIVE, office.now)
    assert len(office.step()) == SLOW_PLACES
