"""Commands: each carried out once, replays page by page, mistakes told instead of fatal (D17)."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from northbound.backends.memory import MemoryDeliveries
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.model.delivery import Dead, Delivery, DeliveryState, Lane, Stop
from northbound.model.errors import NotFound
from northbound.stages.control import Control, replayed
from northbound.testing.fakes import NOW, FakeClock, at, delivery


class Desk:
    """The stage, what it added, and which endpoints it started."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.added: list[Delivery] = []
        self.started: list[str] = []
        self.clock = FakeClock(at(100))
        self.control = Control(store, self.clock, self._add, self._test_event, self.started.append)

    def _add(self, numbers: Sequence[int], deliveries: Sequence[Delivery]) -> None:
        assert len(numbers) == len(deliveries)
        self.added.extend(deliveries)

    def _test_event(self, endpoint_id: str) -> list[Delivery]:
        if endpoint_id != "ep_1":
            raise NotFound(f"there is no endpoint {endpoint_id!r}")
        return [delivery(room="test/ep_1")]

    def obey(self, command: dict[str, Any], identity: str = "cmd_1") -> Any:
        """Carry out a command to its end, as the hub does."""
        for _ in range(100):
            result = self.control.step(identity, command)
            if result is not None:
                return result
        raise AssertionError("it never ends")


@pytest.fixture(params=["memory", "sqlite"])
def desk(request: pytest.FixtureRequest, tmp_path: Any):
    store = MemoryDeliveries() if request.param == "memory" else SqliteDeliveries(tmp_path / "deliveries.db")
    yield Desk(store)
    if isinstance(store, SqliteDeliveries):
        store.close()


def kept(desk: Desk, count: int, *, dead: bool = False) -> list[int]:
    numbers = desk.store.add([replace(delivery(place), created_at=at(place)) for place in range(1, count + 1)])
    if dead:
        desk.store.settle([(number, None, Dead(reason="gave up"), Lane.LIVE, 4) for number in numbers])
    return numbers


def test_a_replay_sends_the_same_event_in_a_lane_of_its_own():
    old = delivery(3, attempts=4, state=DeliveryState.DEAD, reason="gave up", possible_duplicate=True)
    again = replayed(old, "cmd_1", at(9))

    assert (again.id, again.lane, again.state, again.attempts, again.reason) == (
        "dl_3_ep_1@cmd_1",
        Lane.REPLAY,
        DeliveryState.WAITING,
        0,
        None,
    )
    assert (again.view, again.seq, again.event_id, again.due_at) == (old.view, old.seq, old.event_id, at(9))
    assert replayed(again, "cmd_2", at(9)).id == "dl_3_ep_1@cmd_2"


@pytest.mark.parametrize(
    ("command", "places"),
    [
        ({"numbers": [2, 4, 99]}, [2, 4]),
        ({"endpoint_id": "ep_1", "since": at(2).isoformat(), "until": at(5).isoformat()}, [2, 3, 4]),
        ({"endpoint_id": "ep_2", "since": at(0).isoformat(), "until": at(99).isoformat()}, []),
    ],
)
def test_what_is_chosen_is_sent_again(desk: Desk, command: dict[str, Any], places: list[int]):
    kept(desk, 6)
    result = desk.obey({"do": "replay", **command})

    assert result == {"count": len(places)}
    assert [one.seq for one in desk.added] == places
    assert {one.due_at for one in desk.added} <= {at(100)}


def test_dead_letters_are_sent_again_once_even_if_they_die_again(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    """What the command itself lost again must not feed it for ever."""
    monkeypatch.setattr("northbound.stages.control.PAGE", 2)
    kept(desk, 5, dead=True)
    command, results = {"do": "replay", "all_failed": True}, []
    while not results or results[-1] is None:
        results.append(desk.control.step("cmd_1", command))
        waiting = [one.number for one in desk.store.waiting()]
        desk.store.settle([(number, None, Dead(reason="again"), Lane.REPLAY, 4) for number in waiting])

    assert (results[-1], len(desk.added)) == ({"count": 5}, 5)
    assert desk.obey({"do": "replay", "all_failed": True}, "cmd_2") == {"count": 5}  # those that were not sent again
    assert desk.obey({"do": "replay", "all_failed": True}, "cmd_3") == {"count": 0}
    assert desk.obey({"do": "replay", "all_failed": True, "again": True}, "cmd_4") == {"count": 10}


def test_a_replay_goes_page_by_page_and_goes_on_after_a_crash(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    """D17: bounded work a step; each page is stored with how far it came."""
    monkeypatch.setattr("northbound.stages.control.PAGE", 2)
    kept(desk, 5)
    command = {"do": "replay", "endpoint_id": "ep_1", "since": NOW.isoformat(), "until": at(99).isoformat()}
    assert desk.control.step("cmd_1", command) is None
    assert [one.seq for one in desk.added] == [1, 2]

    later = Desk(desk.store)  # the next process
    assert later.obey(command) == {"count": 5}
    assert [one.seq for one in later.added] == [3, 4, 5]
    assert [one.number for one in desk.store.waiting()] == list(range(1, 11))


def test_numbers_go_by_pages_too(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("northbound.stages.control.PAGE", 2)
    numbers = kept(desk, 4)

    assert desk.obey({"do": "replay", "numbers": numbers}) == {"count": 4}
    assert [one.seq for one in desk.added] == [1, 2, 3, 4]


def test_a_replay_without_end_stops_and_says_that_there_is_more(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("northbound.stages.control.PAGE", 2)
    monkeypatch.setattr("northbound.stages.control.REPLAY_MAX", 4)

    assert desk.obey({"do": "replay", "numbers": kept(desk, 9)}) == {"count": 4, "more": True}


def test_a_command_is_carried_out_once(desk: Desk):
    kept(desk, 3)
    command = {"do": "replay", "numbers": [1]}

    assert [desk.obey(command), desk.obey(command), Desk(desk.store).obey(command)] == [{"count": 1}] * 3
    assert len(desk.added) == 1


def test_a_test_event_and_a_start(desk: Desk):
    desk.store.stop_endpoint("ep_1", Stop(reason="410", at=NOW))

    assert desk.obey({"do": "test", "endpoint_id": "ep_1"}, "a") == {"count": 1}
    assert desk.obey({"do": "start_endpoint", "endpoint_id": "ep_1"}, "b") == {"count": 0}
    assert (desk.started, desk.store.stopped(), len(desk.added)) == (["ep_1"], {}, 1)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ({"do": "test", "endpoint_id": "ep_9"}, "not_found"),
        ({"do": "explode"}, "invalid"),
        ({}, "invalid"),
        ({"do": "test"}, "invalid"),
        ({"do": "replay"}, "invalid"),
        ({"do": "replay", "endpoint_id": "ep_1"}, "invalid"),
        ({"do": "replay", "endpoint_id": "ep_1", "since": "yesterday", "until": "now"}, "invalid"),
        ({"do": "replay", "numbers": ["x"]}, "invalid"),
        ({"do": "replay", "numbers": 5}, "invalid"),
    ],
)
def test_a_command_that_cannot_be_carried_out_says_why_once(desk: Desk, command: dict[str, Any], code: str):
    """It must not stop the process: it would come again after every start."""
    result = desk.obey(command)

    assert (result["error"], desk.added) == (code, [])
    assert desk.store.command_result("cmd_1") == result


@pytest.mark.parametrize(
    ("known", "is_marked"),
    [
        ({"state": DeliveryState.DELIVERED}, True),
        ({"state": DeliveryState.DEAD, "possible_duplicate": True}, True),
        ({"state": DeliveryState.DEAD}, False),
    ],
)
def test_a_replay_says_whether_it_may_have_arrived_before(known: dict[str, Any], *, is_marked: bool):
    """D11: what was accepted, or answered, has been there; what never reached anybody has not."""
    again = replayed(replace(delivery(1), replaced_by=7, **known), "cmd_1", NOW)

    assert (again.possible_duplicate, again.replaced_by) == (is_marked, None)


def test_a_number_that_no_database_has_is_told_and_does_not_stall_what_comes_after(desk: Desk):
    result = desk.obey({"do": "replay", "numbers": [2**70]})

    assert result.get("error") in {None, "invalid"}
    assert desk.obey({"do": "test", "endpoint_id": "ep_1"}, "cmd_2") == {"count": 1}
