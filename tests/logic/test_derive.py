"""Conclusions: what two captured streams leave unsaid, ids from causes, bounds."""

import time
import tracemalloc
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from northbound.dialects.janus import DIALECT
from northbound.logic.derive import CONCLUSIONS_MAX, CONNECTIONS_KEPT, advance, memory_key
from northbound.logic.project import media_of
from northbound.model.event import Event, EventType, Media, Reason, Traits
from northbound.model.log import Logged, Origin
from northbound.model.room import Connection, Memory, Room
from northbound.model.wire import Request
from northbound.testing.fakes import Folding, event, folded, logged, short

T = EventType
SAMPLES = Path(str(files("northbound"))) / "samples"
IMPLICIT = DIALECT.traits
AUDIO, VIDEO = {"media": (Media.AUDIO,)}, {"media": (Media.VIDEO,)}


def captured(name: str) -> list[Event]:
    lines = (SAMPLES / f"janus-1.1.2-{name}.ndjson").read_bytes().splitlines()
    return [
        one
        for line in lines
        for one in DIALECT.decode(Request(method="POST", url="http://hub.test/in/janus", body=line), {})
    ]


def known(folding: Folding) -> list[str]:
    """What is told of room r1, without what no wire of ours has words for."""
    return [
        short(step.logged.event)
        for step in folding.steps
        if step.deliver and step.logged.event.room_id and step.logged.event.type is not T.UNKNOWN
    ]


SESSION = """
room.opened
participant.joined alice
track.published alice alice/0
track.published alice alice/1
participant.joined bob0
track.subscribed bob0 alice/0
track.subscribed bob0 alice/1
participant.joined bob1
track.subscribed bob1 alice/0
track.subscribed bob1 alice/1
participant.joined alice-screen
track.published alice-screen alice-screen/0
track.subscribed bob0 alice-screen/0
track.unsubscribed bob0 alice-screen/0
track.unpublished alice-screen alice-screen/0
participant.left alice-screen
track.unsubscribed bob0 alice/0
track.unsubscribed bob0 alice/1
participant.left bob1
track.unpublished alice alice/0
track.unpublished alice alice/1
participant.left bob0
participant.left alice
room.closed
room.opened
participant.joined carol
participant.left carol
room.closed
track.unsubscribed bob1 alice/0
track.unsubscribed bob1 alice/1
"""


def test_the_captured_session_is_told_as_people_saw_it():
    """Rooms open before their first join and close with their last leave; half events have names; doubles are gone."""
    folding = folded(captured("session"), IMPLICIT)

    assert known(folding) == SESSION.strip().splitlines()
    assert folding.room.instance == 2
    assert not folding.room.open
    assert all(not memory.connections for memory in folding.memories.values())


def test_reasons_in_the_captured_session():
    """Kicked without leaving; a destroyed room dissolves whoever is in it; an empty one closed by itself."""
    folding = folded(captured("session"), IMPLICIT)
    told = [step.logged.event for step in folding.steps if step.deliver]

    left = {one.participant_id: one.facts.reason for one in told if one.type is T.PARTICIPANT_LEFT}
    assert left == {
        "alice-screen": None,
        "bob1": Reason.KICKED,
        "bob0": None,
        "alice": None,
        "carol": Reason.ROOM_DISSOLVED,
    }
    closed = [(one.facts.reason, one.dialect) for one in told if one.type is T.ROOM_CLOSED]
    assert closed == [(Reason.EMPTY, "northbound"), (None, "janus")]


def test_a_shared_screen_stays_a_screen():
    folding = folded(captured("session"), IMPLICIT)
    media = {
        step.logged.event.facts.media
        for step in folding.steps
        if step.deliver and step.logged.event.track_id == "alice-screen/0"
    }

    assert media == {(Media.DESKTOP,)}


def test_the_server_that_was_killed_leaves_alice_in_an_open_room():
    """It said nothing: only a snapshot of its participants can tell, later."""
    folding = folded(captured("sigkill"), IMPLICIT)
    told = known(folding)

    assert folding.present == {"alice"}
    assert folding.room.open
    assert [one for one in told if "bob" in one] == [
        "participant.joined bob",
        "track.published bob bob/0",
        "track.published bob bob/1",
        "track.subscribed bob alice/0",
        "track.subscribed bob alice/1",
        "track.unsubscribed bob alice/0",
        "track.unsubscribed bob alice/1",
        "track.unpublished bob bob/0",
        "track.unpublished bob bob/1",
        "participant.left bob",
    ]
    assert folding.room.participants["alice"].tracks["alice/1"].stalled
    assert [memory for memory in folding.memories.values() if memory.connections]


def test_the_captured_session_twice_counts_nobody_twice():
    """Two paths: the second telling is late in all its parts, and the wire has no ids."""
    once = captured("session")
    folding = folded([*once, *once], IMPLICIT)

    assert (folding.present, folding.room.open) == (set(), False)
    assert known(folding)[: len(SESSION.strip().splitlines())] == SESSION.strip().splitlines()
    joined = [one for one in known(folding) if one.startswith("room.")]
    assert joined.count("room.opened") == joined.count("room.closed")


# --- ids and order ---------------------------------------------------------------------------------------------------


def test_conclusions_have_ids_from_their_cause_and_their_causes_place():
    folding = folded([event(T.PARTICIPANT_JOINED, "a", when=1)], IMPLICIT)
    opened, joined = folding.steps

    assert (opened.logged.id, joined.logged.id) == ("ev_000000.1", "ev_000000")
    assert (opened.logged.cause_id, opened.logged.origin, opened.logged.receipt_id) == (
        "ev_000000",
        Origin.DERIVED,
        None,
    )
    assert (opened.after.seq, joined.after.seq) == (1, 2)
    assert (opened.logged.offset, opened.logged.event.occurred_at) == (0, joined.logged.event.occurred_at)


@pytest.mark.parametrize("name", ["session", "sigkill"])
def test_concluding_twice_gives_the_same_and_changes_nothing(name: str):
    events = captured(name)
    first, again = folded(events, IMPLICIT), folded(events, IMPLICIT)

    assert [step.logged for step in first.steps] == [step.logged for step in again.steps]
    assert first.rooms == again.rooms
    for step in list(first.steps):
        if step.logged.origin is Origin.DERIVED:
            entry = msgspec.structs.replace(step.logged, offset=99_999)  # as the log holds it, behind its cause
            assert first.fold(entry).steps == ()
    assert first.rooms == again.rooms


def test_an_entry_that_was_folded_before_leads_to_nothing():
    folding = folded([event(T.PARTICIPANT_JOINED, "a", when=1)], IMPLICIT)
    moved = advance(folding.entries[0], folding.rooms.get, Memory(), IMPLICIT)

    assert (moved.steps, moved.concluded) == ((), ())


# --- what is not concluded -------------------------------------------------------------------------------------------


def test_a_late_join_after_the_close_opens_nothing():
    folding = folded(
        [
            event(T.PARTICIPANT_JOINED, "a", when=1),
            event(T.ROOM_CLOSED, when=9),
            event(T.PARTICIPANT_JOINED, "b", when=5),
        ],
        IMPLICIT,
    )

    assert folding.told.count("room.opened") == 1
    assert not folding.room.open


def test_a_stale_leave_ends_no_track_of_the_stay_that_followed():
    folding = folded(
        [
            event(T.PARTICIPANT_JOINED, "a", when=5),
            event(T.TRACK_PUBLISHED, "a", when=6, facts=AUDIO),
            event(T.PARTICIPANT_LEFT, "a", when=3),
        ],
        IMPLICIT,
    )

    assert "track.unpublished a" not in " ".join(folding.told)
    assert folding.room.open
    assert media_of(folding.room.participants["a"]) == (Media.AUDIO,)


def test_a_stale_leave_does_not_close_a_room_that_was_made_and_is_empty():
    folding = folded([event(T.ROOM_OPENED, when=1), event(T.PARTICIPANT_LEFT, "a", when=2)], IMPLICIT)

    assert (folding.room.open, folding.told) == (True, ["room.opened", "participant.left a"])


def test_a_close_that_changes_nothing_is_told_once():
    folding = folded(
        [
            event(T.PARTICIPANT_JOINED, "a", when=1),
            event(T.PARTICIPANT_LEFT, "a", when=2),
            event(T.ROOM_CLOSED, when=3),
            event(T.PARTICIPANT_LEFT, "a", when=4),
        ],
        IMPLICIT,
    )

    assert folding.told == ["room.opened", "participant.joined a", "participant.left a", "room.closed"]


def test_wires_that_say_everything_get_nothing_added_but_superseded_stays():
    folding = folded(
        [
            event(T.ROOM_OPENED),
            event(T.PARTICIPANT_JOINED, "a", facts={"name": "Ann"}),
            event(T.TRACK_PUBLISHED, "a", facts=VIDEO),
            event(T.ROOM_OPENED),
            event(T.PARTICIPANT_JOINED, "a"),
            event(T.PARTICIPANT_LEFT, "a"),
            event(T.ROOM_CLOSED),
        ]
    )
    derived = [step.logged.event for step in folding.steps if step.logged.origin is Origin.DERIVED]

    assert [short(one) for one in derived] == ["track.unpublished a video", "participant.left a"]
    assert (derived[1].facts.reason, derived[1].facts.name) == (Reason.SUPERSEDED, "Ann")
    assert folding.told[4:7] == ["track.unpublished a video", "participant.left a", "participant.joined a"]


# --- connections -----------------------------------------------------------------------------------------------------


def on(connection: str, kind: EventType, person: str | None = None, session: str = "s1", **facts: object) -> Event:
    return event(
        kind,
        person,
        session_id=session,
        facts={"connection_id": f"{session}/{connection}", **facts},
        track_id="bob/0" if facts.get("pending") else None,
    )


def test_a_session_that_times_out_takes_its_people_with_it_once():
    folding = folded(
        [
            on("h1", T.PARTICIPANT_JOINED, "a"),
            event(T.UNKNOWN, room=None, session_id="s1", facts={"operation": "session_timed_out"}),
            event(T.PARTICIPANT_LEFT, "a", when=None),
        ],
        IMPLICIT,
    )

    assert folding.told.count("participant.left a") == 1
    assert Reason.TIMED_OUT is folding.room.departed["a"].reason
    assert not folding.room.open


def test_a_session_that_is_over_ends_what_it_received_and_is_forgotten():
    folding = folded(
        [
            on("h1", T.PARTICIPANT_JOINED, "a"),
            on("h2", T.UNKNOWN, pending=True, peer_id="bob", media=(Media.AUDIO,)),
            on("h2", T.TRACK_SUBSCRIBED),
            event(T.UNKNOWN, room=None, session_id="s1", facts={"operation": "session_closed"}),
            on("h2", T.UNKNOWN, operation="connection_closed"),
        ],
        IMPLICIT,
    )

    assert [one for one in folding.told if "subscribed" in one] == [
        "track.subscribed a bob/0",
        "track.unsubscribed a bob/0",
    ]
    assert not folding.memories["src_1/s1"].connections


def test_a_request_asked_twice_is_confirmed_once():
    ask = on("h2", T.UNKNOWN, pending=True, peer_id="bob", media=(Media.AUDIO,))
    folding = folded([on("h1", T.PARTICIPANT_JOINED, "a"), ask, ask, on("h2", T.TRACK_SUBSCRIBED)], IMPLICIT)

    assert folding.told.count("track.subscribed a bob/0") == 1


def test_memory_is_kept_by_session_so_that_each_stays_small():
    """A busy media server has thousands of connections; an event touches those of its own session."""
    folding = Folding(IMPLICIT)
    started = time.process_time()
    for number in range(3_000):
        session = f"s{number}"
        folding.take(on("h1", T.PARTICIPANT_JOINED, f"p{number}", session), on("h2", T.TRACK_SUBSCRIBED, None, session))
        folding.steps.clear()
    spent = time.process_time() - started

    assert len(folding.memories) == 3_000
    assert {len(memory.connections) for memory in folding.memories.values()} == {2}
    assert spent / 6_000 < 0.001
    assert memory_key(folding.entries[0]) == "src_1/s0"


def test_a_wire_that_never_closes_connections_is_bounded():
    connections = {f"c{number}": Connection(session_id="s1") for number in range(CONNECTIONS_KEPT)}
    entry = logged(on("new", T.PARTICIPANT_JOINED, "a"))
    moved = advance(entry, {}.get, Memory(connections=connections), IMPLICIT)

    assert len(moved.memory.connections) == CONNECTIONS_KEPT
    assert "s1/new" in moved.memory.connections
    assert "c0" not in moved.memory.connections


def test_what_changes_nothing_keeps_the_same_memory():
    folding = folded([on("h1", T.PARTICIPANT_JOINED, "a")], IMPLICIT)
    memory = folding.memories["src_1/s1"]
    folding.take(on("h1", T.PARTICIPANT_JOINED, "a"))

    assert folding.memories["src_1/s1"] is memory


# --- a crowd ---------------------------------------------------------------------------------------------------------


def crowd(count: int) -> Folding:
    folding = Folding(IMPLICIT)
    for number in range(count):
        folding.take(event(T.PARTICIPANT_JOINED, f"p{number}", when=1))
        folding.steps.clear()
    return folding


def test_a_crowd_in_a_destroyed_room_leaves_one_by_one_in_bounded_time_and_memory():
    folding = crowd(4_000)
    before = folding.room.seq
    tracemalloc.start()
    started = time.process_time()
    folding.take(event(T.ROOM_CLOSED, when=9))
    spent, (_, most) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [step.after.seq for step in folding.steps] == list(range(before + 1, before + 4_002))
    assert len({step.logged.id for step in folding.steps}) == 4_001
    assert (folding.present, folding.room.participant_seconds) == (set(), 8.0 * 4_000)
    assert spent < 4.0  # under tracemalloc
    assert most < 64 * 1024 * 1024


def test_what_one_entry_may_lead_to_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("northbound.logic.derive.CONCLUSIONS_MAX", 5)
    folding = crowd(9)
    folding.take(event(T.ROOM_CLOSED, when=9))

    assert CONCLUSIONS_MAX == 20_000
    assert len(folding.steps) == 6
    assert (folding.present, folding.room.open) == (set(), False)


def test_rooms_of_other_sources_and_scopes_are_other_rooms():
    entry = logged(event(T.PARTICIPANT_JOINED, "a", scope="biz"), 0, source_id="src_2")
    moved = advance(entry, {"src_1//r1": Room(source_id="src_1", id="r1")}.get, Memory(), Traits())

    assert [step.key for step in moved.steps] == ["src_2/biz/r1"]


def test_a_clock_that_no_clock_shows_is_not_handed_on():
    broken = datetime(9999, 12, 31, tzinfo=UTC)
    folding = folded([event(T.PARTICIPANT_JOINED, "a", when=broken)], IMPLICIT)

    assert [step.logged.event.occurred_at for step in folding.steps] == [None, broken]


def cause_of(entry: Logged) -> str:
    return entry.id.partition(".")[0]


def test_every_conclusion_names_its_cause():
    folding = folded(captured("session"), IMPLICIT)
    for step in folding.steps:
        if step.logged.origin is Origin.DERIVED:
            assert step.logged.cause_id == cause_of(step.logged)
