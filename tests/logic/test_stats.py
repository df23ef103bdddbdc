"""A day's figures: split at midnight, nobody counted twice, peaks of those present at once (ruling 15, R1, R15)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from northbound.backends.memory import MemoryDeliveries
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.views import SqliteDeliveryReader
from northbound.logic.stats import (
    SPAN_MAX,
    Dispute,
    counts_of,
    counts_of_source,
    day_end,
    day_of,
    day_start,
    disputes,
    split,
    tally,
    told_span,
    with_open_rooms,
)
from northbound.model.event import Counts, Event, EventType, Traits
from northbound.model.room import DayStats, RoomDay, Tally
from northbound.ports import Folded
from northbound.testing.fakes import Folding, event, folded

T = EventType
JOIN, LEAVE = T.PARTICIPANT_JOINED, T.PARTICIPANT_LEFT
SHANGHAI, UTC_ZONE = ZoneInfo("Asia/Shanghai"), ZoneInfo("UTC")
MIDNIGHT = datetime(2026, 3, 2, 16, tzinfo=UTC)  # in Shanghai
ZONES = st.sampled_from(
    [ZoneInfo(name) for name in ("UTC", "Asia/Shanghai", "America/Sao_Paulo", "America/Havana", "Pacific/Apia")]
)
moments = st.datetimes(datetime(2009, 1, 1), datetime(2019, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given a zone


def minute(number: float) -> datetime:
    return MIDNIGHT + timedelta(minutes=number)


def tallies(folding: Folding, zone: ZoneInfo = SHANGHAI) -> list[Tally]:
    return [one for step in folding.steps for one in tally(step, zone)]


class Kept:
    """A store that counts days, and how to read them."""

    def __init__(self, folder: Path | None) -> None:
        self.store = MemoryDeliveries() if folder is None else SqliteDeliveries(folder / "deliveries.db")
        self._reader = None if folder is None else SqliteDeliveryReader(folder / "deliveries.db")
        self._cursor = 0

    def take(self, folding: Folding, zone: ZoneInfo = SHANGHAI) -> None:
        for one in tallies(folding, zone):  # one commit each: how it is batched must not matter
            self._cursor += 1
            self.store.commit(Folded(cursor=self._cursor, tallies=[("app_1", one)]))

    def day(self, day: str) -> DayStats:
        found = self.store.day("app_1", day) if self._reader is None else self._reader.day("app_1", day)
        assert found is not None
        return found


@pytest.fixture(params=["memory", "sqlite"])
def kept(request: pytest.FixtureRequest, tmp_path: Path):
    one = Kept(None if request.param == "memory" else tmp_path)
    yield one
    if isinstance(one.store, SqliteDeliveries):
        one.store.close()


MEETING = [
    event(T.ROOM_OPENED, when=minute(-30)),
    event(JOIN, "a", when=minute(-20)),
    event(JOIN, "b", when=minute(-10)),
    event(LEAVE, "b", when=minute(5)),
    event(LEAVE, "a", when=minute(10)),
    event(T.ROOM_CLOSED, when=minute(10)),
]


# --- midnight --------------------------------------------------------------------------------------------------------


def test_a_meeting_across_midnight_is_split(kept: Kept):
    kept.take(folded(MEETING))
    first, second = kept.day("2026-03-02"), kept.day("2026-03-03")

    assert (first.meetings, second.meetings) == (1, 0)
    assert (first.meeting_seconds, second.meeting_seconds) == (1800, 600)
    assert (first.participant_seconds, second.participant_seconds) == (1800, 900)
    assert (first.joins, first.members, second.joins, second.members) == (2, 2, 0, 2)


def test_whoever_stays_for_days_is_a_member_of_each_of_them_once(kept: Kept):
    """Also of a day on which nothing was heard of them, and of the one that begins as they go."""
    days = 24 * 60
    ends = [event(LEAVE, "b", when=minute(2 * days)), event(T.ROOM_CLOSED, when=minute(3 * days))]
    kept.take(folded([*MEETING[:3], event(JOIN, "c", when=minute(days + 1)), *ends]))

    found = {day: kept.day(f"2026-03-{day:02d}").members for day in range(2, 7)}

    assert found == {2: 2, 3: 2, 4: 3, 5: 3, 6: 2}


def test_those_who_were_there_at_midnight_are_the_next_days_peak(kept: Kept):
    """Nobody comes after midnight: the first word of the new day is a leave."""
    kept.take(folded(MEETING))

    assert (kept.day("2026-03-02").peak, kept.day("2026-03-03").peak) == (2, 2)


def test_a_late_word_of_yesterday_changes_no_peak_of_yesterday(kept: Kept):
    today = [event(JOIN, name, when=minute(30), room="r2") for name in ("c", "d", "e")]
    late = [event(JOIN, "z", when=minute(-5), room="r3")]
    kept.take(folded([*MEETING[:2], *today, *late, event(LEAVE, "a", when=minute(40))]))

    assert kept.day("2026-03-02").peak == 1
    assert kept.day("2026-03-03").peak == 5  # a, c, d, e, and z, of whom we heard late


def test_a_days_begin_and_end_are_the_zones():
    assert day_of(MIDNIGHT, SHANGHAI) == "2026-03-03"
    assert day_of(MIDNIGHT - timedelta(microseconds=1), SHANGHAI) == "2026-03-02"
    assert (day_start("2026-03-03", SHANGHAI), day_end("2026-03-02", SHANGHAI)) == (MIDNIGHT, MIDNIGHT)


@given(moments, st.timedeltas(timedelta(), timedelta(days=9)), ZONES)
def test_a_split_loses_nothing_in_any_zone(since: datetime, length: timedelta, zone: ZoneInfo):
    """Also where a day has 23 or 25 hours, or midnight does not exist."""
    parts = list(split(since, since + length, zone))
    days = [day for day, _ in parts]

    assert sum(seconds for _, seconds in parts) == pytest.approx(length.total_seconds(), abs=1e-3)
    assert days == sorted(set(days))
    assert all(0 < seconds <= 25 * 3600 for _, seconds in parts)


def test_a_clock_that_went_wrong_costs_bounded_work():
    parts = list(split(datetime(1970, 1, 1, tzinfo=UTC), MIDNIGHT, SHANGHAI))

    assert len(parts) <= SPAN_MAX.days + 1
    assert list(split(MIDNIGHT, MIDNIGHT - timedelta(days=1), SHANGHAI)) == []


def test_absurd_times_break_no_tally():
    broken = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    folding = folded(
        [event(T.ROOM_OPENED, when=broken), event(JOIN, "a", when=broken), event(T.ROOM_CLOSED, when=broken)]
    )

    assert sum(one.meetings for one in tallies(folding)) == 1


# --- nothing twice ---------------------------------------------------------------------------------------------------


def test_repeats_add_nothing(kept: Kept):
    doubled = [one for one in MEETING for _ in range(2)]
    kept.take(folded([*doubled, *MEETING]))
    first, second = kept.day("2026-03-02"), kept.day("2026-03-03")

    assert (first.meetings, first.joins, first.members, first.peak) == (1, 2, 2, 2)
    assert (second.joins, first.participant_seconds, second.participant_seconds) == (0, 1800, 900)


def test_an_entry_that_changes_nobody_adds_nothing():
    folding = folded(
        [*MEETING[:2], event(T.PARTICIPANT_UPDATED, "a", when=minute(-15)), event(JOIN, "a", when=minute(-20))]
    )

    assert len(tallies(folding)) == 2
    assert all(not one.joins for one in tallies(folding)[:1])


def test_people_are_members_once_a_day_and_join_as_often_as_they_come(kept: Kept):
    again = [event(JOIN, "a", when=minute(-8)), event(LEAVE, "a", when=minute(-7))]
    kept.take(folded([event(JOIN, "a", when=minute(-10)), event(LEAVE, "a", when=minute(-9)), *again]))
    day = kept.day("2026-03-02")

    assert (day.joins, day.members, day.peak) == (2, 1, 1)
    assert counts_of(day).members == 1
    assert counts_of(day, members="joins").members == 2


def test_a_superseded_stay_is_no_second_person(kept: Kept):
    """R3: the media server restarted, everybody is announced again."""
    meeting = [event(T.ROOM_OPENED), event(JOIN, "a"), event(JOIN, "b")]
    kept.take(folded([*meeting, *meeting]), UTC_ZONE)
    day = kept.day("2026-03-02")

    assert (day.meetings, day.members, day.peak) == (1, 2, 2)


def test_peak_counts_all_rooms_of_an_app_at_once(kept: Kept):
    kept.take(
        folded(
            [
                event(JOIN, "a", when=minute(-9)),
                event(JOIN, "b", when=minute(-8), room="r2"),
                event(LEAVE, "a", when=minute(-7)),
                event(JOIN, "c", when=minute(-6)),
            ]
        )
    )

    assert kept.day("2026-03-02").peak == 2


def test_everybody_in_a_room_that_closes_has_left(kept: Kept):
    for traits in (Traits(), Traits(implicit_rooms=True)):
        folding = Folding(traits).take(*MEETING[:3], event(T.ROOM_CLOSED, when=minute(-5)))
        assert sum(one.present_delta for one in tallies(folding)) == 0
        assert sum(one.participant_seconds for one in tallies(folding)) == 15 * 60 + 5 * 60
        assert max(one.room_present for one in tallies(folding)) == 2


people = st.sampled_from("abcd")


@given(
    st.lists(
        st.tuples(st.sampled_from([JOIN, LEAVE, T.ROOM_OPENED, T.ROOM_CLOSED]), people, st.none() | st.integers(0, 20)),
        max_size=20,
    ),
    st.booleans(),
)
def test_whoever_came_and_did_not_leave_is_present(told: list[tuple[EventType, str, int | None]], implicit: bool):  # noqa: FBT001 - drawn
    events: list[Event] = [
        event(kind, person if kind in (JOIN, LEAVE) else None, when=when) for kind, person, when in told
    ]
    folding = folded(events, Traits(implicit_rooms=implicit))
    counted = tallies(folding)

    assert sum(one.present_delta for one in counted) == (len(folding.present) if folding.rooms else 0)
    assert sum(one.joins for one in counted) >= sum(one.present_delta for one in counted)
    assert all(one.meeting_seconds >= 0 and one.participant_seconds >= 0 for one in counted)


# --- open rooms, the event, disputes ---------------------------------------------------------------------------------


def test_meetings_that_go_on_count_up_to_now_or_midnight():
    folding = folded(MEETING[:3])
    nothing = DayStats(app_id="app_1", day="2026-03-02")
    now = with_open_rooms(nothing, [folding.room], minute(-5), SHANGHAI)
    over = with_open_rooms(nothing, [folding.room], minute(60), SHANGHAI)
    next_day = with_open_rooms(DayStats(app_id="app_1", day="2026-03-03"), [folding.room], minute(60), SHANGHAI)
    day_before = with_open_rooms(DayStats(app_id="app_1", day="2026-03-01"), [folding.room], minute(60), SHANGHAI)

    assert (now.meeting_seconds, now.participant_seconds) == (25 * 60, 20 * 60)
    assert (over.meeting_seconds, over.participant_seconds) == (30 * 60, 30 * 60)
    assert (next_day.meeting_seconds, next_day.participant_seconds) == (60 * 60, 120 * 60)
    assert (day_before.meeting_seconds, day_before.participant_seconds) == (0, 0)


def test_a_days_statistic_is_told_around_its_end():
    since, until = told_span("2026-03-02", SHANGHAI)

    assert (since, until) == (minute(-12 * 60), minute(12 * 60))
    assert until == told_span("2026-03-03", SHANGHAI)[0]


def held(*names: str) -> list[RoomDay]:
    return [
        RoomDay(room_key=name, meetings=1, meeting_seconds=60, participant_seconds=90, joins=2, peak=2)
        for name in names
    ]


def test_one_sources_part_of_a_day_is_compared_and_what_only_the_app_has_is_not():
    stats = DayStats(app_id="app_1", day="2026-03-02", meetings=2, meeting_seconds=120, members=3, peak=3)
    rooms = folded(MEETING[:1]).rooms.values()  # src_1's, open for half an hour until midnight
    now = minute(60)

    alone = counts_of_source("src_1", stats, held("src_1//a", "src_1//b"), [*rooms], now, SHANGHAI)
    beside = counts_of_source("src_2", stats, held("src_1//a", "src_2//b"), [*rooms], now, SHANGHAI)
    open_only = counts_of_source("src_2", stats, held("src_2//a"), [*rooms], now, SHANGHAI)

    assert alone == Counts(meetings=2, seconds=120 + 1800, members=3, peak=3)
    assert beside == open_only == Counts(meetings=1, seconds=60)


def test_figures_that_differ_from_the_vendors_are_a_dispute_with_both():
    ours = Counts(meetings=2, seconds=100, members=3, peak=2)

    assert disputes(ours, Counts(meetings=2, seconds=102, peak=2)) == ()
    assert disputes(ours, Counts(meetings=2, seconds=103, members=3, peak=5)) == (
        Dispute(figure="seconds", ours=100, theirs=103),
        Dispute(figure="peak", ours=2, theirs=5),
    )
