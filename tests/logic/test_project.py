"""The fold: duplicates, late and reversed events never bring a room back (R1-R3, R8-R11, R14)."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from northbound.logic import project
from northbound.logic.project import DEPARTED_KEPT, apply, changes
from northbound.logic.recording import GAPS_KEPT
from northbound.model.event import Event, EventType, Fault, Media, Reason, Role, Traits
from northbound.model.room import Room
from northbound.testing.fakes import NOW, Folding, at, event, folded, logged

T = EventType
JOIN, LEAVE = T.PARTICIPANT_JOINED, T.PARTICIPANT_LEFT
DAY = 86_400


def stays(room: Room) -> dict[str, Any]:
    return {identity: one.session_id for identity, one in room.participants.items()}


# --- R1: each event twice --------------------------------------------------------------------------------------------


def test_a_join_told_twice_is_one_stay():
    folding = folded([event(JOIN, "a", when=1), event(JOIN, "a", when=1)])

    assert (1, 1, {"a"}) == (folding.room.stays, folding.room.peak, folding.present)


@pytest.mark.parametrize("session", [None, "s1"])
@pytest.mark.parametrize("when", [None, 1])
def test_a_whole_meeting_told_twice_leaves_nobody_behind(session: str | None, when: float | None):
    """Two paths, minutes apart: the second telling is late in all its parts."""
    if session is None and when is None:
        pytest.skip("without id and time a second telling cannot be told from a second meeting")
    meeting = [
        event(T.ROOM_OPENED, when=when, room_session_id=session),
        event(JOIN, "a", when=when and 2, session_id=session),
        event(LEAVE, "a", when=when and 3, session_id=session),
        event(T.ROOM_CLOSED, when=when and 4, room_session_id=session),
    ]
    folding = folded([*meeting, *meeting])

    assert (set(), False, 1, 1) == (folding.present, folding.room.open, folding.room.stays, folding.room.instance)


def test_a_repeated_entry_changes_nothing_but_its_place():
    before = folded([event(T.ROOM_OPENED, when=0), event(JOIN, "a", when=1)]).room
    after = apply(before, logged(event(JOIN, "a", when=1), 9))

    assert not changes(before, after)
    assert before.participants is after.participants
    assert (before.seq + 1, 9) == (after.seq, after.offset)


def test_a_repeated_join_takes_no_newer_name_back():
    folding = folded(
        [
            event(JOIN, "a", when=1, facts={"name": "Old"}),
            event(T.PARTICIPANT_UPDATED, "a", when=2, facts={"name": "New", "role": Role.AUDIENCE}),
            event(JOIN, "a", when=1, facts={"name": "Old", "role": Role.BROADCASTER}),
        ]
    )

    person = folding.room.participants["a"]
    assert (person.name, person.role) == ("New", Role.AUDIENCE)


# --- R2: late and reversed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leave", "join"),
    [({"session_id": "s1"}, {"session_id": "s1"}), ({"when": 5}, {"when": 1}), ({"when": 5}, {"when": 5})],
    ids=["by session", "by time", "in one second"],
)
def test_a_leave_before_its_join_leaves_nobody(leave: dict[str, Any], join: dict[str, Any]):
    folding = folded([event(T.ROOM_OPENED), event(LEAVE, "a", **leave), event(JOIN, "a", **join)])

    expected = {"a"} if join.get("when") == 5 else set()  # in one second the log's order decides
    assert expected == folding.present


def test_by_neither_id_nor_time_the_order_of_the_log_decides():
    assert {"a"} == folded([event(LEAVE, "a"), event(JOIN, "a")]).present
    assert set() == folded([event(JOIN, "a"), event(LEAVE, "a")]).present


@pytest.mark.parametrize(
    ("first", "second"),
    [({"session_id": "s1"}, {"session_id": "s2"}), ({"when": 1}, {"when": 6})],
    ids=["by session", "by time"],
)
def test_a_stale_leave_closes_the_session_and_not_the_user(first: dict[str, Any], second: dict[str, Any]):
    stale = {**first, "when": 5} if "when" in first else first
    folding = folded([event(JOIN, "a", **first), event(JOIN, "a", **second)])
    before = stays(folding.room)
    folding.take(event(LEAVE, "a", **stale))

    assert before == stays(folding.room)


def test_a_leave_of_a_newer_session_is_remembered_until_its_join_comes():
    folding = folded(
        [
            event(JOIN, "a", when=1, session_id="s1"),
            event(LEAVE, "a", when=8, session_id="s2"),
            event(JOIN, "a", when=6, session_id="s2"),
        ]
    )

    assert set() == folding.present


def test_a_late_join_of_an_older_session_does_not_come_back():
    folding = folded(
        [
            event(JOIN, "a", when=6, session_id="s2"),
            event(LEAVE, "a", when=8, session_id="s2"),
            event(JOIN, "a", when=1, session_id="s1"),
        ]
    )

    assert set() == folding.present


def test_a_late_publish_neither_opens_a_room_nor_brings_somebody_back():
    over = [event(T.ROOM_OPENED, when=0), event(JOIN, "a", when=1), event(T.ROOM_CLOSED, when=9)]
    for person in ("a", "never seen"):
        folding = folded([*over, event(T.TRACK_PUBLISHED, person, when=5, facts={"media": (Media.AUDIO,)})])
        assert (False, set()) == (folding.room.open, folding.present)
    untimed = folded(
        [event(JOIN, "a"), event(LEAVE, "a"), event(T.TRACK_PUBLISHED, "a", facts={"media": (Media.AUDIO,)})]
    )
    assert set() == untimed.present


def test_a_publish_shows_somebody_whose_join_is_late_or_lost():
    folding = folded([event(T.TRACK_PUBLISHED, "a", when=5, facts={"media": (Media.VIDEO,)})])
    assert folding.room.participants["a"].implied

    folding.take(event(JOIN, "a", when=3, facts={"name": "Ann"}))
    person = folding.room.participants["a"]

    assert ("Ann", at(3), False, 1) == (person.name, person.joined_at, person.implied, folding.room.stays)


def test_tracks_ended_or_published_later_are_kept_against_late_events():
    media = {"media": (Media.VIDEO,)}
    publish, unpublish = T.TRACK_PUBLISHED, T.TRACK_UNPUBLISHED
    joined = event(JOIN, "a", when=0)
    late_publish = folded(
        [joined, event(unpublish, "a", when=5, facts=media), event(publish, "a", when=3, facts=media)]
    )
    late_end = folded([joined, event(publish, "a", when=5, facts=media), event(unpublish, "a", when=3, facts=media)])

    assert not late_publish.room.participants["a"].tracks
    assert {"video"} == set(late_end.room.participants["a"].tracks)


def test_a_close_before_its_opening_leaves_the_room_closed():
    by_time = folded([event(T.ROOM_CLOSED, when=9), event(T.ROOM_OPENED, when=1), event(JOIN, "a", when=2)])
    by_id = folded([event(T.ROOM_CLOSED, room_session_id="i1"), event(T.ROOM_OPENED, room_session_id="i1")])

    assert (False, set()) == (by_time.room.open, by_time.present)
    assert not by_id.room.open


def test_a_late_close_takes_only_those_who_came_before_it():
    folding = folded(
        [
            event(T.ROOM_OPENED, when=1),
            event(JOIN, "old", when=2),
            event(T.ROOM_OPENED, when=6),
            event(JOIN, "new", when=7),
            event(T.ROOM_CLOSED, when=5),
        ]
    )

    assert (True, {"new"}) == (folding.room.open, folding.present)


def test_a_close_of_another_instance_is_not_ours():
    folding = folded([event(T.ROOM_OPENED, room_session_id="i2"), event(JOIN, "a")])
    folding.take(event(T.ROOM_CLOSED, room_session_id="i1"))

    assert (True, {"a"}) == (folding.room.open, folding.present)


def test_an_opening_that_comes_after_the_first_join_is_taken_over():
    folding = folded([event(JOIN, "a", when=2), event(T.ROOM_OPENED, when=1), event(JOIN, "a", when=2)])

    assert (at(1), 0, 1, 1) == (folding.room.opened_at, folding.room.epoch, folding.room.stays, folding.room.instance)


# --- R3, R8 ----------------------------------------------------------------------------------------------------------


def test_open_and_join_repeated_after_a_restart_supersede_without_counting_twice():
    """A wire without ids and times: only the repeated opening tells that the stays are new."""
    meeting = [event(T.ROOM_OPENED), event(JOIN, "a"), event(JOIN, "b")]
    folding = folded([*meeting, *meeting])

    superseded = [
        step.logged.event.participant_id
        for step in folding.steps
        if step.logged.event.facts.reason is Reason.SUPERSEDED
    ]
    assert superseded == ["a", "b"]
    assert ({"a", "b"}, 2, 1) == (folding.present, folding.room.peak, folding.room.instance)
    assert Reason.SUPERSEDED is folding.room.departed["a"].reason


def test_the_same_room_name_tomorrow_is_the_next_instance():
    for times in ((None,) * 4, (0, 9, DAY, DAY + 5)):
        folding = folded(
            [
                event(T.ROOM_OPENED, when=times[0]),
                event(JOIN, "a", when=times[0]),
                event(T.ROOM_CLOSED, when=times[1]),
                event(T.ROOM_OPENED, when=times[2]),
            ]
        )
        assert (2, True, set(), 0) == (folding.room.instance, folding.room.open, folding.present, folding.room.stays)


def test_a_room_that_is_joined_without_an_opening_is_open():
    folding = folded([event(JOIN, "a", when=1)])

    assert (folding.room.open, folding.room.opened_at) == (True, None)


# --- R9: ties and broken clocks --------------------------------------------------------------------------------------


def test_a_repeat_within_one_second_is_told_from_a_return_by_the_wires_ids():
    """Where the log drops repeated ids, a second join of the same second is a return; without ids it is a repeat."""
    once = [event(JOIN, "a", when=5), event(LEAVE, "a", when=5), event(JOIN, "a", when=5)]
    with_ids = [msgspec.structs.replace(one, dedupe_key=f"k{place}") for place, one in enumerate(once)]

    assert set() == folded(once).present
    assert {"a"} == folded(with_ids).present


def test_a_repeated_leave_in_the_second_of_the_return_is_stale():
    folding = folded(
        [
            event(JOIN, "a", when=1),
            event(LEAVE, "a", when=5),
            event(JOIN, "a", when=5, dedupe_key="k"),
            event(LEAVE, "a", when=5),
        ]
    )

    assert {"a"} == folding.present


def test_a_time_that_no_clock_shows_is_no_time():
    """A join in the year 9999 would make every later leave stale."""
    broken = NOW.replace(year=9999)
    folding = folded([event(T.ROOM_OPENED, when=broken), event(JOIN, "a", when=broken), event(LEAVE, "a", when=5)])

    assert set() == folding.present
    assert folding.room.opened_at == at(0)


def test_a_clock_that_is_five_minutes_off_is_taken_as_it_is():
    late = timedelta(minutes=5)
    folding = folded([event(JOIN, "a", when=NOW - late), event(LEAVE, "a", when=NOW - late + timedelta(seconds=9))])

    assert (set(), 9.0) == (folding.present, folding.room.participant_seconds)


# --- properties ------------------------------------------------------------------------------------------------------


@st.composite
def meetings(draw: st.DrawFn) -> tuple[list[Event], set[str], bool]:
    """Return events with distinct vendor times as they happened, who is present at the end, and whether it is open."""
    has_sessions = draw(st.booleans())
    happened: list[Event] = [event(T.ROOM_OPENED, when=0)]
    present: dict[str, str] = {}
    is_open = True
    for when in range(1, draw(st.integers(1, 14))):
        person = draw(st.sampled_from("abc"))
        kinds = ["open", "join", *(["leave"] if person in present else []), *(["close"] if is_open else [])]
        match draw(st.sampled_from(kinds)):
            case "open":
                happened.append(event(T.ROOM_OPENED, when=when))
                is_open = True
            case "close":
                happened.append(event(T.ROOM_CLOSED, when=when))
                present, is_open = {}, False
            case "join":
                present[person], is_open = f"s{when}", True
                happened.append(event(JOIN, person, when=when, session_id=present[person] if has_sessions else None))
            case _:
                session = present.pop(person)
                happened.append(event(LEAVE, person, when=when, session_id=session if has_sessions else None))
    return happened, set(present), is_open


@given(meetings(), st.data())
def test_any_interleaving_with_duplicates_ends_with_the_same_people(
    meeting: tuple[list[Event], set[str], bool], data: st.DataObject
):
    """Events with vendor times may come in any order and as often as they like."""
    happened, present, is_open = meeting
    told = data.draw(st.permutations([*happened, *data.draw(st.lists(st.sampled_from(happened), max_size=6))]))

    folding = folded(told)

    last_word = next(one.type for one in reversed(happened) if one.type in (T.ROOM_OPENED, T.ROOM_CLOSED))
    assert present == folding.present
    assert folding.room.open or not (present or last_word is T.ROOM_OPENED)
    assert is_open or not folding.room.open


@given(meetings(), st.data())
def test_in_an_implicit_room_too(meeting: tuple[list[Event], set[str], bool], data: st.DataObject):
    happened = [one for one in meeting[0] if one.type in (JOIN, LEAVE)]
    told = data.draw(st.permutations([*happened, *data.draw(st.lists(st.sampled_from(happened or meeting[0])))]))
    told = [one for one in told if one.type in (JOIN, LEAVE)]
    traits = Traits(implicit_rooms=True, repeats=frozenset({T.ROOM_OPENED, T.ROOM_CLOSED, LEAVE}))

    in_order, shuffled = folded(happened, traits), folded(told, traits)

    if happened:
        assert in_order.present == shuffled.present
        assert bool(shuffled.present) == shuffled.room.open


@given(meetings())
def test_an_entry_folded_again_changes_nothing(meeting: tuple[list[Event], set[str], bool]):
    """The follower that died after folding, and reads the same entries again."""
    folding = folded(meeting[0])
    rooms = dict(folding.rooms)

    for entry in list(folding.entries):
        moved = folding.fold(entry)
        assert moved.steps == ()
    assert rooms == folding.rooms


any_event = st.builds(
    event,
    st.sampled_from(T),
    st.none() | st.sampled_from("ab"),
    when=st.none() | st.integers(-5, 5) | st.sampled_from([NOW.replace(year=1), NOW.replace(year=9999, month=12)]),
    room=st.none() | st.just("r1"),
    session_id=st.none() | st.sampled_from("st"),
    room_session_id=st.none() | st.sampled_from("ij"),
    track_id=st.none() | st.just("t1"),
    recording_id=st.none() | st.just("rec"),
    sequence=st.none() | st.integers(-1, 5),
    facts=st.fixed_dictionaries(
        {},
        optional={
            "media": st.just((Media.AUDIO, Media.DESKTOP)),
            "connection_id": st.sampled_from(["c1", "c2"]),
            "operation": st.sampled_from(["session_timed_out", "session_closed", "connection_closed"]),
            "pending": st.booleans(),
            "success": st.booleans(),
            "started_at": st.just(NOW),
            "interrupted_at": st.just(at(-3)),
        },
    ),
)


@settings(max_examples=100)
@given(st.lists(any_event, max_size=12), st.booleans())
def test_nothing_that_a_wire_can_say_breaks_the_fold(events: list[Event], is_implicit: bool):  # noqa: FBT001 - drawn
    """Whatever comes: it folds, keeps its promises, and can be stored."""
    folding = folded(events, Traits(implicit_rooms=is_implicit))

    for room in folding.rooms.values():
        assert msgspec.json.decode(msgspec.json.encode(room), type=Room) == room
        assert room.open or not room.participants
        assert room.peak >= len(room.participants)
        assert len(set(stays(room).values())) == len(room.participants)
    places = [(step.key, step.after.seq) for step in folding.steps]
    assert len(set(places)) == len(places)
    assert len({step.logged.id for step in folding.steps}) == len(folding.steps)


# --- bounds, R14 -----------------------------------------------------------------------------------------------------


def test_departed_stays_are_remembered_to_a_limit():
    people = [f"p{number}" for number in range(DEPARTED_KEPT + 5)]
    folding = folded([event(T.ROOM_OPENED, when=0), *[event(LEAVE, person, when=1) for person in people]])

    assert people[5:] == list(folding.room.departed)


def crowd(count: int) -> Folding:
    folding = folded([event(T.ROOM_OPENED, when=0)])
    for number in range(count):
        folding.take(event(JOIN, f"p{number}", when=1))
        folding.steps.clear()  # each holds the room as it was: a test need not
    return folding


def test_ten_thousand_people_and_heavy_churn_keep_their_order_and_other_rooms_theirs():
    """Every event has the next place of its room; in between, other rooms become what they become by themselves."""
    beside, alone = crowd(10_000), Folding()
    places: dict[str, list[int]] = {}

    for number in range(300):
        for kind, when in ((T.TRACK_PUBLISHED, 2), (LEAVE, 3), (JOIN, 4)):
            media = {"media": (Media.AUDIO,)} if kind is T.TRACK_PUBLISHED else None
            churn = event(kind, f"p{number}", when=when, facts=media)
            other = event(kind, f"q{number // 9}", when=when, room=f"r{2 + number % 5}", facts=media)
            alone.take(other)
            for step in beside.take(churn, other).steps:
                places.setdefault(step.key, []).append(step.after.seq)
            beside.steps.clear()

    assert places.pop("src_1//r1") == list(range(10_002, 10_902))
    assert [tuple(found) for found in places.values()] == [tuple(range(1, 181))] * 5
    assert len(beside.rooms.pop("src_1//r1").participants) == 10_000
    by_themselves = {key: msgspec.structs.replace(room, offset=0) for key, room in alone.rooms.items()}
    assert {key: msgspec.structs.replace(room, offset=0) for key, room in beside.rooms.items()} == by_themselves


def test_a_full_room_closes_with_every_members_time_counted():
    folding = crowd(5_000)

    folding.take(event(T.ROOM_CLOSED, when=9))

    assert (set(), 8.0 * 5_000) == (folding.present, folding.room.participant_seconds)


# --- R10: gaps -------------------------------------------------------------------------------------------------------


def numbered(*numbers: int) -> Folding:
    return folded([event(T.RECORDING_SLICED, recording_id="rec", sequence=number) for number in numbers])


@pytest.mark.parametrize(
    ("numbers", "gaps"),
    [
        ((0, 1, 3), (2,)),
        ((0, 1, 3, 2), ()),
        ((0, 1, 3, 3, 1), (2,)),
        ((2,), (0, 1)),
        ((0, 5, 3), (1, 2, 4)),
        ((-1, 0), ()),
    ],
)
def test_gaps_open_are_listed_and_close_late(numbers: tuple[int, ...], gaps: tuple[int, ...]):
    assert gaps == numbered(*numbers).room.recordings["rec"].gaps


def test_a_number_from_another_world_costs_no_memory():
    recording = numbered(0, 2**53).room.recordings["rec"]

    assert (len(recording.gaps), recording.gaps[-1], recording.next_sequence) == (GAPS_KEPT, 2**53 - 1, 2**53 + 1)


# --- R11: recordings -------------------------------------------------------------------------------------------------


def recorded(*events: tuple[EventType, dict[str, Any]]) -> Any:
    folding = Folding()
    for place, (kind, fields) in enumerate(events):
        facts = {name: fields[name] for name in fields if name not in {"sequence", "when"}}
        other = {name: fields[name] for name in ("sequence",) if name in fields}
        folding.take(event(kind, when=fields.get("when", place), recording_id="rec", facts=facts, **other))
    return folding.room.recordings["rec"]


STARTED = (T.RECORDING_STARTED, {})
LOST = {"interrupted_at": at(4), "started_at": at(6.5)}


def test_a_recording_that_was_never_ended_has_no_verdict_until_its_room_is_over():
    assert recorded(STARTED).verdict is None
    folding = folded(
        [
            event(T.ROOM_OPENED, when=0),
            event(T.RECORDING_STARTED, when=1, recording_id="rec"),
            event(T.ROOM_CLOSED, when=9),
        ]
    )
    assert folding.room.recordings["rec"].verdict == "unknown"

    folding.take(event(T.RECORDING_UPLOADED, when=20, recording_id="rec"))
    assert folding.room.recordings["rec"].verdict == "complete"


def test_a_recording_that_uploads_into_the_next_meeting_keeps_its_numbers_and_its_one_verdict():
    folding = folded(
        [
            event(T.RECORDING_STARTED, when=1, recording_id="rec", sequence=0),
            event(T.ROOM_OPENED, when=2),
            event(T.RECORDING_SLICED, when=3, recording_id="rec", sequence=1, facts=LOST),
            event(T.RECORDING_STARTED, when=4, recording_id="never ended"),
            event(T.ROOM_CLOSED, when=9),
            event(T.RECORDING_EXITED, when=10, recording_id="rec", sequence=2),
            event(T.ROOM_OPENED, when=20),
            event(T.RECORDING_UPLOADED, when=21, recording_id="rec", sequence=3),
            event(T.ROOM_CLOSED, when=29),
            event(T.ROOM_OPENED, when=40),
        ]
    )
    found = [step.after.recordings.get("rec") for step in folding.steps]

    assert [one and (one.events, one.gaps, one.verdict) for one in found[-4:]] == [
        (3, (), "unknown"),
        (4, (), "incomplete"),
        (4, (), "incomplete"),
        None,
    ]
    assert "never ended" not in folding.steps[-4].after.recordings


def test_the_first_word_of_where_files_are_is_remembered_over_instances(monkeypatch: pytest.MonkeyPatch):
    """Files in a backup move on when the next meeting has long begun (ruling 25)."""
    monkeypatch.setattr(project, "OUTCOMES_KEPT", 2)
    meeting = [event(T.ROOM_OPENED), event(T.RECORDING_BACKED_UP, recording_id="rec"), event(T.ROOM_CLOSED)]
    moved = event(T.RECORDING_UPLOADED, recording_id="rec")
    failed = event(T.RECORDING_COMPLETED, recording_id="other", facts={"success": False})
    folding = folded([*meeting, event(T.ROOM_OPENED), moved, event(T.RECORDING_UPLOADED), failed])

    assert folding.room.outcomes == {"rec": "ev_000001"}
    more = [event(T.RECORDING_UPLOADED, recording_id=name) for name in ("r2", "r3")]
    assert list(folding.take(*more).room.outcomes) == ["r2", "r3"]


@pytest.mark.parametrize("kind", [T.RECORDING_UPLOADED, T.RECORDING_BACKED_UP, T.RECORDING_TRANSCODED])
def test_an_outcome_says_complete(kind: EventType):
    assert recorded(STARTED, (T.RECORDING_STOPPED, {}), (kind, {})).verdict == "complete"


@pytest.mark.parametrize("events", [(0, 1), (1, 0)])
def test_missing_material_makes_it_incomplete_in_any_order_and_counts_once(events: tuple[int, int]):
    told = [(T.RECORDING_SLICED, LOST), (T.RECORDING_UPLOADED, {})]
    found = recorded(STARTED, *[told[place] for place in events], (T.RECORDING_SLICED, LOST))

    assert (found.verdict, found.missing_ms) == ("incomplete", 2500)


def test_two_interruptions_add_up():
    other = {"interrupted_at": at(20), "started_at": at(21)}
    assert recorded(STARTED, (T.RECORDING_SLICED, LOST), (T.RECORDING_SLICED, other)).missing_ms == 3500


@pytest.mark.parametrize(
    "failure",
    [(T.RECORDING_TRANSCODED, {"success": False}), (T.RECORDING_ERRORED, {"fault": Fault(code=1, level="fatal")})],
)
def test_both_end_events_say_one_verdict(failure: tuple[EventType, dict[str, Any]]):
    ended, good = (T.RECORDING_STOPPED, {}), (T.RECORDING_COMPLETED, {})

    assert {"incomplete"} == {
        recorded(STARTED, ended, failure, good).verdict,
        recorded(STARTED, ended, good, failure).verdict,
    }


def test_a_repeated_number_is_no_second_fault_and_mints_no_number():
    fault = (T.RECORDING_ERRORED, {"fault": Fault(code=7), "sequence": 0})
    found = recorded(fault, fault)

    assert (len(found.faults), found.events) == (1, 1)


def test_a_failover_names_the_new_recorder_and_progress_never_goes_back():
    found = recorded(
        STARTED,
        (T.RECORDING_UPLOAD_PROGRESSED, {"progress": 0.5}),
        (T.RECORDING_FAILED_OVER, {"recorder_id": "1", "new_recorder_id": "2"}),
        (T.RECORDING_UPLOAD_PROGRESSED, {"progress": 0.2}),
    )

    assert (found.recorder_id, found.progress, found.status) == ("2", 0.5, "started")


def test_a_late_start_sets_the_beginning_back_and_nothing_else():
    found = recorded((T.RECORDING_STOPPED, {"when": 9}), (T.RECORDING_STARTED, {"when": 2}))

    assert (at(2), at(9), "stopped") == (found.started_at, found.stopped_at, found.status)
