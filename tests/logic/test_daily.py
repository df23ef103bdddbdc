"""Which days of an account are due, and what a day counts (ruling 15), in zones with days of 23 and 25 hours."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from northbound.logic.daily import (
    GRACE,
    PRESENCE_KEPT,
    account_tally,
    check_day,
    counts_of_day,
    differing,
    due_days,
    next_look,
    peak_of,
)
from northbound.model.account import Account
from northbound.model.errors import InvalidInput
from northbound.model.event import Counts, EventType
from northbound.model.room import DayStats
from northbound.model.statistic import DayBasis, Presence
from northbound.testing.fakes import NOW, event, folded

T = EventType
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def account(zone: str = "Asia/Shanghai", since: datetime = NOW, **fields: Any) -> Account:
    given: dict[str, Any] = {"meeting_push": True, "meeting_push_since": since, **fields}
    return Account(id="1", name="c", created_at=since, app_id="app_1", time_zone=zone, **given)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("Asia/Shanghai", "2026-03-02T16:00"),
        ("UTC", "2026-03-03T00:00"),
        ("America/New_York", "2026-03-03T05:00"),
        ("Asia/Kathmandu", "2026-03-02T18:15"),
    ],
)
def test_a_day_is_due_just_after_its_own_midnight(zone: str, midnight: str):
    one, end = account(zone, utc("2026-03-02T12:00")), utc(midnight)

    assert list(due_days(one, "", end + GRACE - SECOND)) == []
    assert list(due_days(one, "", end + GRACE)) == ["2026-03-02"]
    assert list(due_days(one, "2026-03-02", end + GRACE)) == []
    assert next_look(one, end + GRACE - SECOND) == end + GRACE


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("America/Sao_Paulo", "2018-11-04", 23),  # its midnight does not exist
        ("America/Havana", "2026-11-01", 25),  # its midnight comes twice
    ],
)
def test_a_day_is_as_long_as_its_zone_makes_it(zone: str, day: str, hours: float):
    """A meeting that began before and goes on counts for exactly the day's length; the next day is due after it."""
    one = account(zone, utc(f"{day}T12:00") - 48 * HOUR)
    basis = DayBasis(running=(utc(f"{day}T00:00") - 72 * HOUR,))
    counts = counts_of_day(one, day, basis, utc(f"{day}T00:00") + 72 * HOUR)

    assert counts.seconds == hours * 3600


def test_days_missed_are_made_up_in_order_and_off_days_are_not():
    one = account("UTC", utc("2026-03-02T10:00"))
    later = utc("2026-03-06T00:01")

    assert list(due_days(one, "", later)) == ["2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05"]
    assert list(due_days(one, "2026-03-03", later)) == ["2026-03-04", "2026-03-05"]
    again = replace(one, meeting_push_since=utc("2026-03-05T09:00"))
    assert list(due_days(again, "2026-03-02", later)) == ["2026-03-05"]
    assert list(due_days(replace(one, meeting_push=False), "", later)) == []


def test_a_day_that_a_zone_left_out_is_not_told():
    """Samoa went from the 29th to the 31st of December 2011."""
    one = account("Pacific/Apia", utc("2011-12-29T12:00"))

    assert list(due_days(one, "", utc("2012-01-01T00:00"))) == ["2011-12-29", "2011-12-31"]


def test_a_new_zone_tells_no_day_twice():
    one = account("Asia/Shanghai", utc("2026-03-01T00:00"))
    west = replace(one, time_zone="America/New_York")

    assert list(due_days(west, "2026-03-02", utc("2026-03-03T06:00"))) == []
    assert list(due_days(west, "2026-03-02", utc("2026-03-04T06:00"))) == ["2026-03-03"]


@given(
    st.lists(st.integers(0, 19 * 24 * 60), max_size=8),
    st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/Havana"]),
)
def test_whenever_it_is_looked_each_day_is_told_once(looks: list[int], zone: str):
    one = account(zone, utc("2026-03-01T00:00"))
    told: list[str] = []
    for minutes in [*sorted(looks), 20 * 24 * 60]:
        told += due_days(one, told[-1] if told else "", utc("2026-03-01T00:00") + timedelta(minutes=minutes))

    assert told == list(due_days(one, "", utc("2026-03-21T00:00")))


@pytest.mark.parametrize("day", ["2026-03-02", "2026-02-28", "2026-3-1", "yesterday", "2026-02-30", ""])
def test_only_days_that_are_over_can_be_asked_for(day: str):
    one = account("UTC", utc("2026-03-01T00:00"))

    check_day(one, "2026-03-01", utc("2026-03-02T12:00"))
    with pytest.raises(InvalidInput):
        check_day(one, day, utc("2026-03-02T12:00"))


# --- counting --------------------------------------------------------------------------------------------------------


def test_counts_are_those_of_the_tallies_and_of_what_goes_on():
    start = utc("2026-03-02T00:00")
    stats = DayStats(app_id="1", day="2026-03-02", meetings=3, meeting_seconds=90.4, joins=5, members=4, peak=2)
    basis = DayBasis(
        stats=stats, running=(start + 23 * HOUR,), present=1, changes=(Presence(second=0, delta=1, high=3),)
    )
    counts = counts_of_day(account("UTC"), "2026-03-02", basis, start + 48 * HOUR)

    assert counts == Counts(meetings=3, seconds=3690, members=4, peak=3)
    assert counts_of_day(account("UTC", members="joins"), "2026-03-02", basis, start + 48 * HOUR).members == 5
    assert counts_of_day(account("UTC"), "2026-03-02", basis, start + PRESENCE_KEPT + HOUR).peak == 2
    assert differing(counts, replace(counts, peak=4)) == ("peak",)
    assert differing(counts, counts) == ()
    assert differing(None, counts) == ("meetings", "seconds", "members", "peak")


changes = st.lists(st.tuples(st.integers(0, 99), st.sampled_from([1, -1])), max_size=40)


@given(st.integers(0, 5), changes, changes)
def test_the_peak_is_the_most_ever_present(begin: int, within: list[tuple[int, int]], later: list[tuple[int, int]]):
    """Checked against counting one change after the other; only the sum of what came later is known."""
    ordered = sorted(within, key=lambda one: one[0])
    deltas: Counter[int] = Counter()
    highs: dict[int, int] = {}
    present = most = begin
    for second, delta in ordered:
        deltas[second] += delta
        highs[second] = max(highs.get(second, deltas[second]), deltas[second])
        present += delta
        most = max(most, present)
    basis = DayBasis(
        present=present + sum(delta for _, delta in later),
        later=sum(delta for _, delta in later),
        changes=tuple(Presence(second=one, delta=deltas[one], high=highs[one]) for one in sorted(highs)),
    )

    assert peak_of(basis) == max(0, most)


def test_an_accounts_tally_tells_who_is_there():
    steps = folded([event(T.ROOM_OPENED, when=0), event(T.PARTICIPANT_JOINED, "a", when=1)]).steps
    (opened,), (joined,) = (account_tally(step, ZoneInfo("UTC")) for step in steps)

    assert opened.going is not None
    assert joined.going is not None
    assert (opened.going.present, opened.going.opened_at, opened.present_delta) == (0, NOW, 0)
    assert (joined.going.present, joined.going.opened_at, joined.present_delta) == (1, NOW, 1)
