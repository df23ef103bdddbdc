"""The laws of the delivery queue, dead letters and replays (house laws 4 and 6)."""

# ruff: noqa: D401 - a law says what is so, not what to do

from datetime import timedelta

from msgspec.structs import replace

from northbound.model.delivery import (
    Attempt,
    Dead,
    Delivery,
    DeliveryState,
    Done,
    Exchange,
    Failure,
    FailureKind,
    HealthChange,
    Lane,
    NextStep,
    RetryAt,
    Stop,
    Verdict,
)
from northbound.model.wire import Request, Response
from northbound.testing.conformance.storage import NOW, Storage, delivery, expect

LATER = NOW + timedelta(minutes=5)
S = DeliveryState


async def a_delivery_comes_back_as_it_was_routed(one: Storage) -> None:
    """Words, places, times and losses survive the restart; an unknown number is None."""
    routed = replace(delivery(3), prev=2)
    (number,) = one.store.add([routed])

    one.reopen()

    expect(routed, one.store.load(number), "the delivery")
    expect(None, one.store.load(number + 1), "an unknown number")


async def what_waits_is_known_in_routing_order(one: Storage) -> None:
    """All that waits, and nothing else, is known to the next process, in the order it was routed."""
    numbers = one.store.add([delivery(9), delivery(1), delivery(5, endpoint="ep_2"), delivery(2)])
    _settle(one, numbers[1], Done(), attempts=1)
    _settle(one, numbers[3], RetryAt(due_at=LATER, reason="503"), attempts=2)

    one.reopen()

    waiting = one.store.waiting()
    expect([numbers[0], numbers[2], numbers[3]], [entry.number for entry in waiting], "numbers")
    expect((LATER, 2), (waiting[2].due_at, waiting[2].attempts), "when the next attempt is due")
    expect(("ep_2", "src_1//r1", Lane.LIVE), (waiting[1].endpoint_id, waiting[1].order_key, waiting[1].lane), "where")
    expect(delivery(9).created_at, waiting[0].created_at, "since when")


async def settling_says_what_became_of_it(one: Storage) -> None:
    """Each next step has its state; a retry is marked as a possible duplicate (D11)."""
    cases: tuple[tuple[NextStep, Lane, int, DeliveryState, str | None], ...] = (
        (Done(), Lane.LIVE, 1, S.DELIVERED, None),
        (RetryAt(due_at=LATER, reason="timeout"), Lane.LIVE, 1, S.WAITING, "timeout"),
        (RetryAt(due_at=LATER, reason="held"), Lane.ASIDE, 3, S.WAITING, "held"),
        (RetryAt(due_at=LATER, reason="our proxy"), Lane.LIVE, 0, S.WAITING, "our proxy"),
        (Dead(reason="gave up"), Lane.LIVE, 4, S.DEAD, "gave up"),
        (Dead(reason="like the vendor", drop=True), Lane.LIVE, 4, S.DROPPED, "like the vendor"),
    )
    numbers = one.store.add([delivery(place) for place in range(len(cases))])

    one.store.settle(
        [
            (number, _attempt(attempts), step, lane, attempts)
            for number, (step, lane, attempts, *_) in zip(numbers, cases, strict=True)
        ]
    )
    one.reopen()

    for number, (step, lane, attempts, state, reason) in zip(numbers, cases, strict=True):
        found = _load(one, number)
        says = f"after {step}"
        expect((state, lane, attempts, reason), (found.state, found.lane, found.attempts, found.reason), says)
        expect(not isinstance(step, Done), found.possible_duplicate, f"possible duplicate {says}")
        if isinstance(step, RetryAt):
            expect(LATER, found.due_at, f"due {says}")


async def what_never_arrived_is_no_duplicate(one: Storage) -> None:
    """Only an attempt that may have arrived makes later ones possible duplicates, for good (D11)."""
    refused = Failure(kind=FailureKind.CONNECT, message="refused")
    retry = RetryAt(due_at=LATER, reason="failed")
    (number,) = one.store.add([delivery(1)])

    one.store.settle([(number, _attempt(1, refused), retry, Lane.LIVE, 1)])
    expect(False, _load(one, number).possible_duplicate, "after a connection that was refused")
    one.store.settle([(number, _attempt(2), retry, Lane.LIVE, 2)])
    one.store.settle([(number, _attempt(3, refused), retry, Lane.LIVE, 3)])
    expect(True, _load(one, number).possible_duplicate, "after a time-out in between")
    one.store.settle([(number, _attempt(4), Done(), Lane.LIVE, 4)])
    expect(True, _load(one, number).possible_duplicate, "when it is delivered after all")


async def settling_again_moves_on(one: Storage) -> None:
    """A retry may end well, and then waits no longer."""
    (number,) = one.store.add([delivery(1)])

    _settle(one, number, RetryAt(due_at=LATER, reason="503"), attempts=1)
    _settle(one, number, Done(), attempts=2)

    expect((S.DELIVERED, 2, None), _state(one, number), "delivered at the second attempt")
    expect([], one.store.waiting(), "nothing waits")


async def settling_the_unknown_changes_nothing(one: Storage) -> None:
    """An outcome of a number that is not there is no reason to fail those beside it."""
    (number,) = one.store.add([delivery(1)])

    one.store.settle([(number + 7, None, Done(), Lane.LIVE, 1), (number, None, Done(), Lane.LIVE, 1)])

    expect((S.DELIVERED, 1, None), _state(one, number), "the known one is settled")


async def dead_letters_are_listed_by_page(one: Storage) -> None:
    """Dead letters in routing order, of one endpoint or all; what was dropped is none."""
    numbers = one.store.add([delivery(place, endpoint=f"ep_{place % 2}") for place in range(6)])
    for number in numbers[:4]:
        _settle(one, number, Dead(reason="gave up"), attempts=4)
    _settle(one, numbers[4], Dead(reason="dropped", drop=True), attempts=4)

    one.reopen()

    expect(numbers[:2], [number for number, _ in one.store.dead(None, 0, 2)], "the first page")
    expect(numbers[2:4], [number for number, _ in one.store.dead(None, numbers[1], 9)], "the rest")
    expect([numbers[1], numbers[3]], [number for number, _ in one.store.dead("ep_1", 0, 9)], "of one endpoint")
    expect("gave up", one.store.dead(None, 0, 1)[0][1].reason, "with the reason")


async def a_span_holds_live_deliveries_only(one: Storage) -> None:
    """A replay of a span sends what was routed in it, and no replays of replays."""
    numbers = one.store.add([delivery(place) for place in range(5)] + [delivery(2, lane=Lane.REPLAY)])
    since, until = NOW + timedelta(seconds=1), NOW + timedelta(seconds=4)

    expect(numbers[1:4], [n for n, _ in one.store.between("ep_1", since, until, 0, 9)], "since is in, until is out")
    expect(numbers[3:4], [n for n, _ in one.store.between("ep_1", since, until, numbers[2], 9)], "a later page")
    expect([], one.store.between("ep_9", since, until, 0, 9), "another endpoint")


async def a_command_is_carried_out_once(one: Storage) -> None:
    """Deliveries and the result of their command are stored together, for good."""
    expect(None, one.store.command_result("cmd_1"), "a command that was not carried out")

    numbers = one.store.add([delivery(1, lane=Lane.REPLAY)], command_id="cmd_1", result={"count": 1})
    one.reopen()

    expect({"count": 1}, one.store.command_result("cmd_1"), "its result")
    expect(numbers, [entry.number for entry in one.store.waiting()], "its deliveries")
    expect(Lane.REPLAY, one.store.waiting()[0].lane, "in their lane")
    expect(None, one.store.last_sent("ep_1", "src_1//r1"), "and nothing counts as sent live")


async def endpoints_stop_and_start(one: Storage) -> None:
    """An endpoint that stopped by itself is known as stopped until it is started again."""
    gone, failing = Stop(reason="410", at=NOW), Stop(reason="503", at=NOW, is_gone=False, probe_at=LATER)
    one.store.stop_endpoint("ep_1", gone)
    one.store.stop_endpoint("ep_2", gone)
    one.store.stop_endpoint("ep_4", failing)
    one.store.settle([], HealthChange(probes={"ep_4": LATER + timedelta(minutes=5), "ep_5": LATER}))
    one.store.start_endpoint("ep_2")
    one.store.start_endpoint("ep_3")

    one.reopen()

    probed = replace(failing, probe_at=LATER + timedelta(minutes=5))
    expect({"ep_1": gone, "ep_4": probed}, one.store.stopped(), "stopped endpoints")


async def since_when_an_endpoint_fails_is_kept(one: Storage) -> None:
    """It is stored with the outcomes that say so, and forgotten when one is accepted or somebody starts it."""
    (number,) = one.store.add([delivery(1)])
    row = (number, _attempt(1), RetryAt(due_at=LATER, reason="503"), Lane.LIVE, 1)
    one.store.settle([row], HealthChange(failing={"ep_1": NOW, "ep_2": NOW, "ep_3": NOW}))
    one.store.settle([], HealthChange(failing={"ep_2": None, "ep_9": None}))
    one.store.start_endpoint("ep_3")

    one.reopen()

    expect({"ep_1": NOW}, one.store.failing(), "failing endpoints")


async def a_dead_letter_knows_what_it_was_sent_again_as(one: Storage) -> None:
    """Only dead letters are linked, and those that are linked are not found unless asked for."""
    dead, delivered = one.store.add([delivery(1), delivery(2)])
    _settle(one, dead, Dead(reason="gave up"), attempts=4)
    _settle(one, delivered, Done(), attempts=1)

    again = one.store.add([delivery(1, lane=Lane.REPLAY), delivery(2, lane=Lane.REPLAY)], replaces=[dead, delivered])
    one.reopen()

    expect((again[0], None), (_load(one, dead).replaced_by, _load(one, delivered).replaced_by), "links")
    expect([], one.store.dead(None, 0, 9, again=False), "what is left to send again")
    expect([dead], [number for number, _ in one.store.dead(None, 0, 9)], "dead letters")


def _attempt(number: int, outcome: Failure | None = None) -> Attempt:
    answer = Response(status=503, headers=(("x", "y"),), body=b"\xff")
    failure = Failure(kind=FailureKind.TIMEOUT, message="5 s")
    exchange = Exchange(
        request=Request(method="POST", url="http://sink.test/", body=b"\x00"),
        outcome=outcome or (answer if number % 2 else failure),
        started_at=NOW,
        duration_ms=12,
        address="192.0.2.1",
    )
    return Attempt(delivery_id="dl", number=number, exchange=exchange, verdict=Verdict(accepted=False, reason="503"))


def _settle(one: Storage, number: int, step: NextStep, *, attempts: int) -> None:
    one.store.settle([(number, _attempt(attempts), step, Lane.LIVE, attempts)])


def _load(one: Storage, number: int) -> Delivery:
    found = one.store.load(number)
    if found is None:
        expect("a delivery", found, f"number {number}")
        raise AssertionError
    return found


def _state(one: Storage, number: int) -> tuple[DeliveryState, int, str | None]:
    found = _load(one, number)
    return found.state, found.attempts, found.reason


LAWS = (
    a_delivery_comes_back_as_it_was_routed,
    what_waits_is_known_in_routing_order,
    settling_says_what_became_of_it,
    what_never_arrived_is_no_duplicate,
    settling_again_moves_on,
    settling_the_unknown_changes_nothing,
    dead_letters_are_listed_by_page,
    a_span_holds_live_deliveries_only,
    a_command_is_carried_out_once,
    endpoints_stop_and_start,
    since_when_an_endpoint_fails_is_kept,
    a_dead_letter_knows_what_it_was_sent_again_as,
)
