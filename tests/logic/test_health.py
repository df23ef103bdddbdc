"""When an endpoint is stopped, tried again, and a room's head is news (D14-D16)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from northbound.logic.health import (
    POISON_ATTEMPTS,
    failing_changes,
    fails_too_long,
    is_poison,
    next_probe,
    room_of,
)
from northbound.model.delivery import Dead, Done, NextStep, RetryAt
from northbound.testing.fakes import NOW, at, endpoint

USUAL = timedelta(hours=120)
RETRY = RetryAt(due_at=NOW, reason="503")


@pytest.mark.parametrize(
    ("known", "outcomes", "changes"),
    [
        ({}, [("a", False)], {"a": NOW}),
        ({}, [("a", True)], {}),
        ({"a": at(-9)}, [("a", False)], {}),
        ({"a": at(-9)}, [("a", True)], {"a": None}),
        ({"a": at(-9)}, [("a", True), ("a", False)], {"a": NOW}),
        ({}, [("a", False), ("a", True)], {}),
        ({}, [("a", False), ("b", True), ("a", False)], {"a": NOW}),
    ],
)
def test_an_endpoint_fails_since_its_first_failure_after_a_success(known, outcomes, changes):
    """What changes nothing is not written."""
    assert failing_changes(known, outcomes, NOW) == changes


@pytest.mark.parametrize(
    ("own", "hours", "stops"),
    [(None, 119.9, False), (None, 120, True), (1.0, 1, True), (0.0, 9999, False), (200.0, 120, False)],
)
def test_how_long_an_endpoint_may_fail(own: float | None, hours: float, *, stops: bool):
    """D15: the setting, or the endpoint's own; 0 is never."""
    one = endpoint(fails_hours=own)

    assert fails_too_long(one, NOW, NOW + timedelta(hours=hours), USUAL) is stops


def test_never_by_the_setting_too():
    assert not fails_too_long(endpoint(), NOW, NOW + timedelta(days=9999), timedelta())


def test_waits_scale():
    assert fails_too_long(endpoint(fails_hours=1.0), NOW, at(36), USUAL, scale=0.01)
    assert not fails_too_long(endpoint(), NOW, at(36), USUAL, scale=0.01)


@given(jitter=st.floats(0, 1, exclude_max=True))
def test_probes_are_spread(jitter: float):
    """D16: what stopped together is not tried together."""
    every = timedelta(seconds=300)

    assert NOW + every * 0.5 <= next_probe(NOW, every, jitter) <= NOW + every * 1.5
    assert next_probe(NOW, every, 0.1) != next_probe(NOW, every, 0.9)


@pytest.mark.parametrize(
    ("step", "attempts", "leaves", "expected"),
    [
        (RETRY, POISON_ATTEMPTS - 1, False, False),
        (RETRY, POISON_ATTEMPTS, False, True),
        (RETRY, 1, True, True),
        (Done(), 9, False, False),
        (Dead(reason="gave up"), 9, False, False),
    ],
)
def test_a_head_is_poison_when_it_fails_on_and_on(step: NextStep, attempts: int, *, leaves: bool, expected: bool):
    """D14."""
    assert is_poison(step, attempts, leaves=leaves) is expected


@pytest.mark.parametrize(("key", "room"), [("src_1//r1", ("src_1", "r1")), ("src_1/biz/a/b", ("src_1", "a/b"))])
def test_a_room_has_its_name(key: str, room: tuple[str, str]):
    assert room_of(key) == room
