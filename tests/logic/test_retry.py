"""What follows an attempt: the vendors' exact schedules on a virtual clock, and what a receiver may ask for."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from northbound.logic.retry import (
    ASKED_LEAST,
    ASKED_MOST,
    asked_wait,
    diagnosis,
    failure_verdict,
    free_retry,
    may_have_arrived,
    next_step,
    policy_wait,
)
from northbound.model.app import RetryPolicy, RetryStrategy
from northbound.model.delivery import Dead, Done, Failure, FailureKind, RetryAt, Verdict
from northbound.model.wire import Response

steady = settings(deadline=None, derandomize=True)  # a busy machine is no failure
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REFUSED = Verdict(accepted=False, reason="the receiver answered 500")
SECOND = timedelta(seconds=1)


def schedule(
    policy: RetryPolicy, jitter: float = 0.5, *, verdict: Verdict = REFUSED, scale: float = 1.0
) -> list[float]:
    """Fail every attempt on a virtual clock; return the waits in seconds until it is dead."""
    now, waits = NOW, []
    for attempt in count(1):
        step = next_step(verdict, attempt, policy, now, jitter, scale=scale)
        if isinstance(step, Dead):
            return waits
        assert isinstance(step, RetryAt)
        waits.append((step.due_at - now).total_seconds())
        now = step.due_at
    raise AssertionError


# --- the schedules (facts 3.5, ruling 4) -----------------------------------------------------------------------------


def test_backoff_makes_three_retries() -> None:
    """At most 3 retries, each after a random 10 to 20 s."""
    policy = RetryPolicy(strategy=RetryStrategy.BACKOFF_RETRY)

    assert schedule(policy, 0.0) == [10, 10, 10]
    assert schedule(policy, 0.25) == [12.5, 12.5, 12.5]
    assert all(19.99 < wait < 20 for wait in schedule(policy, 0.9999))


def test_exponential_decay_makes_176_retries_within_a_day() -> None:
    """1, 2, 4, ... 256 s, then 512 s for the remaining 167: 86,015 s in total."""
    waits = schedule(RetryPolicy(strategy=RetryStrategy.EXPONENTIAL_DECAY_RETRY))

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, *[512] * 167]
    assert len(waits) == 176
    assert sum(waits) == 86_015


@pytest.mark.parametrize("strategy", [RetryStrategy.FIXED, RetryStrategy.SCHEDULE])
@pytest.mark.parametrize(
    ("attempts", "waits", "expected"),
    [
        (4, [10], [10, 10, 10]),
        (5, [5, 300, 1800, 7200], [5, 300, 1800, 7200]),
        (6, [5, 300], [5, 300, 300, 300, 300]),
        (3, [1, 2, 3, 4], [1, 2]),
        (2, [0], [0]),
        (2, [-5], [0]),
        (3, [], [10, 10]),
        (1, [10], []),
        (0, [10], []),
    ],
)
def test_named_waits_are_exact_and_the_last_holds(
    strategy: RetryStrategy, attempts: int, waits: list[int], expected: list[int]
) -> None:
    """Attempts are in total; later pauses repeat the last wait; jitter changes nothing."""
    policy = RetryPolicy(strategy=strategy, attempts=attempts, waits=tuple(timedelta(seconds=wait) for wait in waits))

    assert schedule(policy, 0.9) == expected


def test_waits_can_be_scaled_down() -> None:
    decay = schedule(RetryPolicy(strategy=RetryStrategy.EXPONENTIAL_DECAY_RETRY), scale=0.001)
    backoff = schedule(RetryPolicy(strategy=RetryStrategy.BACKOFF_RETRY), 0.5, scale=0.01)

    assert decay[:3] == [0.001, 0.002, 0.004]
    assert backoff == [0.15, 0.15, 0.15]


def test_an_uncounted_attempt_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="counted"):
        policy_wait(RetryPolicy(), 0, 0.0)


# --- the ends --------------------------------------------------------------------------------------------------------


def test_accepted_is_done() -> None:
    assert next_step(Verdict(accepted=True, warning="odd"), 1, RetryPolicy(), NOW, 0.5) == Done()


def test_the_last_attempt_leaves_a_dead_letter() -> None:
    step = next_step(REFUSED, 4, RetryPolicy(), NOW, 0.5)

    assert step == Dead(reason="the receiver answered 500; gave up after attempt 4")


def test_forget_drops_like_the_vendor() -> None:
    """Ruling 4: dropping is opt-in."""
    step = next_step(REFUSED, 4, RetryPolicy(forget=True), NOW, 0.5)

    assert isinstance(step, Dead)
    assert step.drop


def test_gone_stops_the_endpoint_at_once() -> None:
    """D9: no further attempt, the endpoint is stopped, and the event is kept even where others are forgotten."""
    gone = Verdict(accepted=False, reason="the receiver answered 410", gone=True)

    step = next_step(gone, 1, RetryPolicy(forget=True), NOW, 0.5)

    assert step == Dead(reason="the receiver answered 410; the endpoint is stopped", stop_endpoint=True)


def test_gone_can_be_ignored() -> None:
    """D9: with the setting it is a failure like any other."""
    gone = Verdict(accepted=False, reason="the receiver answered 410", gone=True)

    step = next_step(gone, 1, RetryPolicy(), NOW, 0.5, endpoint_ignores_gone=True)

    assert step == RetryAt(due_at=NOW + 10 * SECOND, reason="the receiver answered 410")


def test_our_own_failure_costs_the_endpoint_nothing() -> None:
    """D6: tried again soon, as often as it takes, with a spread."""
    verdict = failure_verdict(Failure(kind=FailureKind.PROXY, message="refused", chargeable=False))

    assert free_retry(verdict, NOW, 0.0) == RetryAt(due_at=NOW + 5 * SECOND, reason="proxy: refused")
    assert free_retry(verdict, NOW, 0.5).due_at == NOW + 7.5 * SECOND
    assert free_retry(verdict, NOW, 0.5, scale=0.1).due_at == NOW + 0.75 * SECOND


# --- Retry-After (D8) ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 120\t", 120),
        ("0", 1),
        ("000", 1),
        ("3600", 3600),
        ("3601", 3600),
        ("999999999", 3600),
        ("9" * 5000, 3600),
        ("Sun, 01 Mar 2026 12:02:00 GMT", 120),
        ("sun, 01 mar 2026 12:02:00 gmt", 120),
        ("Sunday, 01-Mar-26 12:02:00 GMT", 120),
        ("Sun Mar  1 12:02:00 2026", 120),
        ("Sun, 01 Mar 2026 12:00:60 GMT", 59),
        ("Mon, 01 Mar 2027 12:00:00 GMT", 3600),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("Sun, 01 Mar 2026 12:00:00 GMT", None),
        ("Sun, 01 Mar 2026 11:00:00 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Sun, 31 Feb 2027 12:00:00 GMT", None),
        ("Sun, 01 Foo 2027 12:00:00 GMT", None),
        ("Sun, 01 Mar 2027 25:00:00 GMT", None),
        ("Sun, 01 Mar 0000 12:00:00 GMT", None),
        ("Sun, 01 Mar 2027 12:00:00 +0800", None),
        ("-1", None),
        ("+5", None),
        ("1.5", None),
        ("1e9", None),
        ("5 s", None),
        ("\u0665", None),
        ("\u00b2", None),
        ("soon", None),
        ("infinity", None),
        ("", None),
        (None, None),
        ("x" * 100_000, None),
    ],
)
def test_retry_after_is_clamped_or_ignored(header: str | None, seconds: int | None) -> None:
    """Numbers and dates to come are kept within a second and an hour; all else is ignored."""
    expected = None if seconds is None else timedelta(seconds=seconds)

    assert expected == asked_wait(header, NOW)


@pytest.mark.parametrize(("header", "seconds"), [("120", 120), ("3", 10), ("-1", 10), ("soon", 10), ("9" * 99, 3600)])
def test_the_later_of_policy_and_receiver_wins(header: str, seconds: int) -> None:
    """A receiver can ask for more time than the policy gives, never for less."""
    busy = Verdict(accepted=False, reason="the receiver answered 429", retry_after=header)

    step = next_step(busy, 1, RetryPolicy(), NOW, 0.5)

    assert step == RetryAt(due_at=NOW + seconds * SECOND, reason="the receiver answered 429")


def test_retry_after_zero_makes_no_loop_without_pause() -> None:
    eager = RetryPolicy(attempts=3, waits=(timedelta(),))

    assert schedule(eager, verdict=Verdict(accepted=False, retry_after="0")) == [1, 1]


def test_retry_after_adds_no_attempts() -> None:
    busy = Verdict(accepted=False, retry_after="60")

    assert schedule(RetryPolicy(strategy=RetryStrategy.BACKOFF_RETRY), verdict=busy) == [60, 60, 60]


# --- for any policy and any receiver ---------------------------------------------------------------------------------

policies = st.builds(
    RetryPolicy,
    strategy=st.sampled_from(RetryStrategy),
    attempts=st.integers(-1, 30),
    waits=st.lists(st.timedeltas(timedelta(days=-1), timedelta(days=2)), max_size=4).map(tuple),
    forget=st.booleans(),
)
headers = st.none() | st.text(max_size=40) | st.integers().map(str) | st.datetimes().map(lambda d: f"{d:%c} GMT")


@steady
@given(policies, headers, st.floats(0, 1, exclude_max=True), st.floats(0.001, 1))
def test_time_goes_on_and_it_ends(policy: RetryPolicy, header: str | None, jitter: float, scale: float) -> None:
    """No wait is negative or longer than policy and limit allow, and the attempts come to an end."""
    verdict = Verdict(accepted=False, retry_after=header)

    waits = schedule(policy, jitter, verdict=verdict, scale=scale)

    longest = max([*(wait.total_seconds() for wait in policy.waits), ASKED_MOST.total_seconds()])
    assert all(0 <= wait <= longest for wait in waits)
    assert len(waits) <= 176


@steady
@given(st.text() | headers, st.datetimes(timezones=st.just(UTC)))
def test_whatever_is_asked_stays_within_limits(header: str | None, now: datetime) -> None:
    wait = asked_wait(header, now)

    assert wait is None or ASKED_LEAST <= wait <= ASKED_MOST


# --- in words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FailureKind)
def test_every_failure_has_verdict_and_diagnosis(kind: FailureKind) -> None:
    """The verdict begins with the class, and the diagnosis is a sentence of its own."""
    failure = Failure(kind=kind, message="no luck")

    verdict = failure_verdict(failure)

    assert verdict == Verdict(accepted=False, reason=f"{kind.value.replace('_', ' ')}: no luck")
    assert diagnosis(failure).endswith(".")


def test_a_failure_without_words_is_named_by_its_class() -> None:
    assert failure_verdict(Failure(kind=FailureKind.BLOCKED, message="")).reason == "blocked address"


@pytest.mark.parametrize("status", [100, 200, 301, 400, 401, 403, 404, 410, 418, 429, 500, 503, 599, 0, 999])
def test_every_status_has_a_diagnosis(status: int) -> None:
    assert diagnosis(Response(status=status)).endswith(".")


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Response(status=500), True),
        (Failure(kind=FailureKind.TIMEOUT, message=""), True),
        (Failure(kind=FailureKind.CLOSED, message=""), True),
        (Failure(kind=FailureKind.TOO_LARGE, message=""), True),
        (Failure(kind=FailureKind.CONNECT, message=""), False),
        (Failure(kind=FailureKind.DNS, message=""), False),
        (Failure(kind=FailureKind.TLS, message=""), False),
        (Failure(kind=FailureKind.BLOCKED, message=""), False),
        (Failure(kind=FailureKind.PROXY, message=""), False),
    ],
)
def test_an_arrived_attempt_makes_the_next_a_possible_duplicate(outcome: Response | Failure, *, expected: bool) -> None:
    """D11: only where no request can have reached the receiver is the next attempt surely the first."""
    assert expected is may_have_arrived(outcome)
