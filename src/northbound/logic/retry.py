"""Decide what follows an attempt: done, again at a time, or dead (facts 3.5; ruling 4; D6, D8, D9, D11).

The waits are the vendors', exact. A receiver's Retry-After may lengthen the next one, within limits, and never
shortens it: the policy is what the endpoint's owner chose.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from northbound.model.app import Endpoint, RetryPolicy, RetryStrategy
from northbound.model.delivery import Dead, Done, Failure, FailureKind, NextStep, RetryAt, Verdict
from northbound.model.wire import Response

BACKOFF_RETRIES: Final = 3
BACKOFF_LEAST: Final = timedelta(seconds=10)
BACKOFF_SPREAD: Final = timedelta(seconds=10)
DECAY_RETRIES: Final = 176
DECAY_MOST: Final = timedelta(seconds=512)

ASKED_LEAST: Final = timedelta(seconds=1)  # a Retry-After of 0 must not become a loop without pause
ASKED_MOST: Final = timedelta(hours=1)  # nor may a receiver park a room's events for days
ASKED_TEXT: Final = 64  # characters; the longest date form has 34

OWN_LEAST: Final = timedelta(seconds=5)  # after a failure of our own side, until it recovers
OWN_SPREAD: Final = timedelta(seconds=5)  # so that all endpoints do not return at the same instant (D16)


def next_step(
    verdict: Verdict,
    attempts: int,
    policy: RetryPolicy,
    now: datetime,
    jitter: float,
    *,
    endpoint_ignores_gone: bool = False,
    scale: float = 1.0,
) -> NextStep:
    """Decide after attempt number *attempts* (counted from 1, failures of our own side not counted).

    *jitter* is in [0, 1). *scale* shortens the policy's waits, not what the receiver asks for.
    """
    if verdict.accepted:
        return Done()
    reason = verdict.reason or "the receiver did not accept it"
    if verdict.gone and not endpoint_ignores_gone:
        return Dead(reason=f"{reason}; the endpoint is stopped", stop_endpoint=True)
    wait = policy_wait(policy, attempts, jitter)
    if wait is None:
        return Dead(reason=f"{reason}; gave up after attempt {attempts}", drop=policy.forget)
    asked = asked_wait(verdict.retry_after, now)
    wait *= scale
    return RetryAt(due_at=now + (wait if asked is None else max(wait, asked)), reason=reason)


def held(step: NextStep, endpoint: Endpoint, now: datetime) -> NextStep:
    """Return *step*, at an endpoint that stops rather than giving anything up: it waits there, first of its lane."""
    if not isinstance(step, Dead) or step.cancelled or not endpoint.stops_when_dead:
        return step
    return RetryAt(due_at=now, reason=f"{step.reason}; the endpoint stops, as it was asked to", stop_endpoint=True)


def free_retry(verdict: Verdict, now: datetime, jitter: float, *, scale: float = 1.0) -> RetryAt:
    """Decide after a failure of our own side (D6): again soon, without counting it against the endpoint."""
    wait = (OWN_LEAST + OWN_SPREAD * _within(jitter)) * scale
    return RetryAt(due_at=now + wait, reason=verdict.reason)


def policy_wait(policy: RetryPolicy, attempts: int, jitter: float) -> timedelta | None:
    """Return the pause after attempt number *attempts*; None when it was the last."""
    assert attempts >= 1, "an attempt is counted before it is judged"  # noqa: S101 - our own bug, not the world's
    match policy.strategy:
        case RetryStrategy.BACKOFF_RETRY:
            return BACKOFF_LEAST + BACKOFF_SPREAD * _within(jitter) if attempts <= BACKOFF_RETRIES else None
        case RetryStrategy.EXPONENTIAL_DECAY_RETRY:
            return min(timedelta(seconds=1 << min(attempts - 1, 9)), DECAY_MOST) if attempts <= DECAY_RETRIES else None
        case RetryStrategy.FIXED | RetryStrategy.SCHEDULE:
            if attempts >= policy.attempts:
                return None
            waits = policy.waits or RetryPolicy().waits
            return max(waits[min(attempts, len(waits)) - 1], timedelta())


def _within(jitter: float) -> float:
    return min(max(jitter, 0.0), 1.0)


# --- Retry-After -----------------------------------------------------------------------------------------------------

_MONTHS: Final = {
    name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)
}
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES: Final = (  # RFC 9110, 5.6.7: the form to send, and the two old ones that must be read
    re.compile(
        rf"[a-z]{{3,9}}, (?P<day>[0-9]{{2}})[ -](?P<month>[a-z]{{3}})[ -](?P<year>[0-9]{{4}}|[0-9]{{2}}) {_CLOCK} gmt"
    ),
    re.compile(rf"[a-z]{{3}} (?P<month>[a-z]{{3}}) (?P<day>[ 0-9][0-9]) {_CLOCK} (?P<year>[0-9]{{4}})"),
)


def asked_wait(retry_after: str | None, now: datetime) -> timedelta | None:
    """Read a Retry-After header within `ASKED_LEAST` and `ASKED_MOST`; None for what is no number or date to come."""
    text = (retry_after or "").strip(" \t").lower()
    if text.isascii() and text.isdigit():
        seconds = int(text) if len(text) <= 9 else ASKED_MOST.total_seconds()
        wait = timedelta(seconds=seconds)
    else:
        moment = _read_date(text) if len(text) <= ASKED_TEXT else None
        if moment is None or moment <= now:
            return None
        wait = moment - now
    return min(max(wait, ASKED_LEAST), ASKED_MOST)


def _read_date(text: str) -> datetime | None:
    match = next((match for form in _DATES if (match := form.fullmatch(text))), None)
    if match is None:
        return None
    year = int(match["year"]) + (2000 if len(match["year"]) == 2 else 0)
    try:
        return datetime(
            year,
            _MONTHS[match["month"]],
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            min(int(match["second"]), 59),  # a leap second is not a second datetime knows
            tzinfo=UTC,
        )
    except (ValueError, KeyError):
        return None


# --- in words --------------------------------------------------------------------------------------------------------

_FAILURES: Final[dict[FailureKind, str]] = {
    FailureKind.TIMEOUT: "No whole answer came within the deadline. Answer first and work afterwards, or raise the "
    "endpoint's deadline. The event may have arrived.",
    FailureKind.CONNECT: "No connection was made: nothing listens there, or a firewall drops it. Check host, port and "
    "that the receiver runs.",
    FailureKind.DNS: "The host name has no address. Check its spelling and its DNS record.",
    FailureKind.TLS: "The TLS handshake failed: the certificate is expired, self-signed or of another name, or the "
    "TLS version is too old. Renew it, or set the endpoint's private CA.",
    FailureKind.BLOCKED: "The address is private or reserved and was not connected to. If that is meant, the operator "
    "lists it in the setting allow_targets.",
    FailureKind.REDIRECT: "The receiver redirects, and redirects are not followed. Set the endpoint to the final URL.",
    FailureKind.TOO_LARGE: "The answer was larger than is read. Answer with a short body. The event has arrived.",
    FailureKind.CLOSED: "The receiver closed the connection before a whole answer. The event may have arrived.",
    FailureKind.PROTOCOL: "The exchange was not proper HTTP. Check that an HTTP server listens on this port.",
    FailureKind.PROXY: "Our own outgoing proxy failed. Nothing is counted against the endpoint.",
    FailureKind.INVALID_URL: "The URL cannot be called. Correct it at the endpoint.",
    FailureKind.NOT_SENT: "The endpoint's dialect cannot say this event, so nothing was sent. Its reason says what is "
    "in the way.",
    FailureKind.CANCELLED: "The attempt was cancelled on our side. It will be made again.",
}
_STATUSES: Final[dict[int, str]] = {
    400: "The receiver could not read the request. Check that it expects this dialect.",
    401: "The receiver wants credentials. Check the endpoint's secret.",
    403: "The receiver refused the caller. Check the endpoint's secret and the receiver's address list.",
    404: "Nothing answers at this path. Check the endpoint's URL.",
    405: "The receiver takes another method. Check the endpoint's method.",
    408: "The receiver gave up waiting for the request.",
    410: "The receiver says that it is gone for good; the endpoint is stopped. Enable it again when it is back.",
    413: "The event is larger than the receiver takes. Raise its limit.",
    415: "The receiver takes another content type. Check that it expects this dialect.",
    429: "The receiver is asked too often. Its Retry-After is kept within limits; lower what is in flight.",
}
_CLASSES: Final[dict[int, str]] = {
    1: "The receiver sent no final answer.",
    2: "The receiver answered, but not in the way its dialect counts as accepted. Check the answer's body.",
    3: "The receiver redirects, and redirects are not followed. Set the endpoint to the final URL.",
    4: "The receiver refused the request. Look at its answer and its log.",
    5: "The receiver failed while it worked on the request. Look at its log.",
}
_MAY_HAVE_ARRIVED: Final = frozenset(
    {
        FailureKind.TIMEOUT,
        FailureKind.CLOSED,
        FailureKind.TOO_LARGE,
        FailureKind.PROTOCOL,
        FailureKind.REDIRECT,
        FailureKind.CANCELLED,
    }
)


def failure_verdict(failure: Failure) -> Verdict:
    """Judge an exchange that brought no whole answer: not accepted, with the class first in the reason."""
    return Verdict(accepted=False, reason=f"{failure.kind.value.replace('_', ' ')}: {failure.message}".rstrip(": "))


def diagnosis(outcome: Response | Failure) -> str:
    """Say in plain words what a refused attempt's *outcome* means and what to do about it."""
    if isinstance(outcome, Failure):
        return _FAILURES[outcome.kind]
    unknown = "The answer's status is not one of HTTP."
    return _STATUSES.get(outcome.status) or _CLASSES.get(outcome.status // 100, unknown)


def may_have_arrived(outcome: Response | Failure) -> bool:
    """Tell whether the receiver may have seen the request, so that the next attempt is a possible duplicate (D11)."""
    return not isinstance(outcome, Failure) or outcome.kind in _MAY_HAVE_ARRIVED
