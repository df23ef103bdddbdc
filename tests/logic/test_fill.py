"""What a wire may require and an event lack: told from the projection, the same each time (ruling 2)."""

from typing import Any

from northbound.logic.fill import fill_for
from northbound.model.delivery import Fill
from northbound.model.event import EventType, Media, RecordingMode, Role, Terminal
from northbound.testing.fakes import Folding, app, at, event, folded

T = EventType
JOIN, LEAVE = T.PARTICIPANT_JOINED, T.PARTICIPANT_LEFT


def last(folding: Folding) -> Fill:
    return fill_for(folding.steps[-1], app())


def test_a_join_is_filled_with_its_own_stay():
    fill = last(
        folded([event(JOIN, "a", when=3, facts={"name": "Ann", "role": Role.AUDIENCE, "terminal": Terminal.WEB})])
    )

    assert (fill.name, fill.role, fill.terminal, fill.joined_at) == ("Ann", Role.AUDIENCE, Terminal.WEB, at(3))
    assert (fill.session_id, fill.room_instance, fill.seq) == ("src_1//r1#1-1", "src_1//r1#1", 1)


def test_a_leave_keeps_the_session_its_join_had():
    folding = folded([event(JOIN, "a", when=3, facts={"name": "Ann"}), event(LEAVE, "a", when=9)])
    joined, left = (fill_for(step, app()) for step in folding.steps)

    assert (left.session_id, left.joined_at, left.name) == (joined.session_id, at(3), "Ann")


def test_a_late_leave_is_not_about_the_stay_that_followed():
    folding = folded(
        [
            event(JOIN, "a", when=1, session_id="s1"),
            event(JOIN, "a", when=5, session_id="s2", facts={"name": "Ann"}),
            event(LEAVE, "a", when=4, session_id="s1"),
        ]
    )

    assert (last(folding).session_id, last(folding).name) == ("src_1//r1#1-1", None)


def test_events_that_name_no_media_get_what_was_published():
    facts = {"media": (Media.VIDEO,)}
    folding = folded([event(JOIN, "a"), event(T.TRACK_PUBLISHED, "a", facts=facts), event(T.TRACK_UNPUBLISHED, "a")])

    expanded = [fill_for(step, app()).media for step in folding.steps if step.logged.event.type is T.TRACK_UNPUBLISHED]
    assert expanded[0] == (Media.VIDEO,)


def test_sequence_counts_all_events_of_a_recording_from_zero():
    """Delivered or filtered out: the vendor's number counts both (ruling 29)."""
    facts: dict[str, Any] = {"recording_mode": RecordingMode.INDIVIDUAL, "recorder_id": "77"}
    folding = folded(
        [
            event(T.RECORDING_STARTED, when=2, recording_id="rec", facts=facts),
            event(JOIN, "a"),
            *[event(T.RECORDING_SLICED, recording_id="rec") for _ in range(2)],
        ]
    )
    fills = [fill_for(step, app()) for step in folding.steps]

    assert [fills[0].sequence, fills[2].sequence, fills[3].sequence] == [0, 1, 2]
    assert (fills[3].recording_id, fills[3].recorder_id) == ("rec", "77")
    assert (fills[3].recording_mode, fills[3].recording_started_at) == (RecordingMode.INDIVIDUAL, at(2))


def test_a_stall_of_a_recorded_room_takes_numbers_of_its_own():
    """Sound and sight are two notices of the recording, which no other notice of it may repeat (ruling 29)."""
    both = {"media": (Media.AUDIO, Media.VIDEO)}
    folding = folded(
        [
            event(T.TRACK_STALLED, "a", facts=both),
            event(T.RECORDING_STARTED, recording_id="rec"),
            event(T.TRACK_STALLED, "a", facts=both),
            event(T.TRACK_RESUMED, "a", facts={"media": (Media.AUDIO,)}),
            event(T.TRACK_STALLED, "a", recording_id="rec", facts=both),
            event(T.RECORDING_STOPPED, recording_id="rec"),
        ]
    )
    named = {T.RECORDING_STARTED, T.TRACK_STALLED, T.TRACK_RESUMED, T.RECORDING_STOPPED}

    steps = [step for step in folding.steps if step.logged.event.type in named]
    assert [fill_for(step, app()).sequence for step in steps] == [0, 0, 1, 3, 4, 6]


def test_an_empty_room_has_defaults():
    fill = last(folded([event(T.ROOM_CLOSED)]))

    assert (fill.session_id, fill.joined_at, fill.recording_id, fill.sequence, fill.media) == (
        "src_1//r1#1",
        None,
        None,
        0,
        (),
    )


def test_the_same_step_is_filled_the_same():
    folding = folded([event(JOIN, "a", when=3), event(LEAVE, "a", when=9)])

    assert [fill_for(step, app()) for step in folding.steps] == [fill_for(step, app()) for step in folding.steps]
