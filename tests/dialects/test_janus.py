"""The Janus wire against two whole captured streams, and against anything else that is JSON."""

from base64 import b64encode
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from northbound.dialects.janus import DIALECT, KINDS
from northbound.model.app import App, Endpoint
from northbound.model.delivery import Fill
from northbound.model.errors import DecodeError, SignatureError
from northbound.model.event import Event, EventType, Media, Reason
from northbound.model.wire import Key, KeyKind, Proof, Request
from northbound.testing.vectors import wire_text

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SAMPLES = Path(str(files("northbound"))) / "samples"
FILL = Fill(event_id="ev-1", recorded_at=NOW, app=App(id="app-1", name="demo", created_at=NOW))
ENDPOINT = Endpoint(id="ep-1", app_id="app-1", url="http://sink.test/janus", dialect="janus", created_at=NOW)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


def lines(name: str) -> list[bytes]:
    return (SAMPLES / f"janus-1.1.2-{name}.ndjson").read_bytes().splitlines()


def post(body: bytes, *headers: tuple[str, str]) -> Request:
    return Request(method="POST", url="http://hub.test/in/janus", headers=headers, body=body)


def decoded(body: bytes) -> list[Event]:
    return DIALECT.decode(post(body), {})


def stream(name: str) -> list[Event]:
    return [event for line in lines(name) for event in decoded(line)]


def of_kind(events: list[Event], kind: EventType) -> list[Event]:
    return [event for event in events if event.type is kind]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "session",
            {
                "participant.joined": 5,
                "participant.left": 4,
                "room.closed": 1,
                "track.published": 3,
                "track.unpublished": 6,
                "track.subscribed": 3,
                "track.unsubscribed": 3,
                "track.resumed": 3,
                "unknown": 145,
            },
        ),
        (
            "sigkill",
            {
                "participant.joined": 2,
                "participant.left": 1,
                "track.published": 4,
                "track.unpublished": 2,
                "track.subscribed": 1,
                "track.resumed": 4,
                "track.stalled": 1,
                "unknown": 38,
            },
        ),
    ],
)
def test_every_captured_line_decodes(name: str, expected: dict[str, int]) -> None:
    """Each line of a real session is read, and the events per type are as counted by hand."""
    events = stream(name)

    assert expected == Counter(event.type.value for event in events)
    assert all(event.occurred_at is not None and event.dedupe_key is None for event in events)


@pytest.mark.parametrize("name", ["session", "sigkill"])
def test_a_grouped_array_says_what_its_lines_say(name: str) -> None:
    """Grouping changes nothing: one array of all lines gives the same events in the same order."""
    one_by_one = stream(name)

    grouped = decoded(b"[" + b",\n".join(lines(name)) + b"]")

    assert one_by_one == grouped


@pytest.mark.parametrize("name", ["session", "sigkill"])
@pytest.mark.parametrize("size", [1, DIALECT.batch_max])
def test_own_words_are_passed_on_wire_true(name: str, size: int) -> None:
    """What came from Janus and is passed on as Janus is each vendor event once, in order, its text kept."""
    events = stream(name)
    views = [view for event in events for view in DIALECT.view(event, FILL, {})]

    bodies = [DIALECT.encode(views[at : at + size], ENDPOINT).body for at in range(0, len(views), size)]

    sent = [bytes(event.vendor) for body in bodies for event in decoded(body)]
    assert list(dict.fromkeys(wire_text(line) for line in lines(name))) == list(
        dict.fromkeys(wire_text(words) for words in sent)
    )


def test_published_and_subscribing_name_the_same_track() -> None:
    """A subscription's track id is the publisher's, so that the two can be joined."""
    events = stream("session")
    published = {event.track_id: event.facts.media for event in of_kind(events, EventType.TRACK_PUBLISHED)}
    asked = {event.track_id: event.facts.media for event in events if event.facts.pending}
    ended = {event.track_id for event in of_kind(events, EventType.TRACK_UNSUBSCRIBED)}

    assert published == asked
    assert set(published) == ended
    assert published["alice-screen/0"] == (Media.DESKTOP,)


def test_half_events_name_the_connection_and_no_person() -> None:
    """What Janus says of a connection only carries its id, as it was when the connection asked."""
    events = stream("session")
    asked = {event.facts.connection_id for event in events if event.facts.pending}
    confirmed = of_kind(events, EventType.TRACK_SUBSCRIBED)
    closed = {event.facts.connection_id for event in events if event.facts.operation == "connection_closed"}

    assert asked == {event.facts.connection_id for event in confirmed}
    assert all(event.participant_id is None and event.room_id is None for event in confirmed)
    assert asked <= closed


def test_only_a_kick_has_a_reason() -> None:
    """A leave does not say why; a kick does."""
    events = stream("session")

    left = of_kind(events, EventType.PARTICIPANT_LEFT)

    assert [(event.participant_id, event.facts.reason) for event in left] == [
        ("alice-screen", None),
        ("bob1", Reason.KICKED),
        ("bob0", None),
        ("alice", None),
    ]


def test_every_captured_kind_is_listed() -> None:
    """The kinds we name cover all that was captured."""
    kinds = {DIALECT.kind(event.vendor) for name in ("session", "sigkill") for event in stream(name)}

    assert kinds <= set(KINDS)


def test_foreign_events_have_no_words_here() -> None:
    """Janus is a source: what another vendor said cannot be said as Janus."""
    event = Event(type=EventType.PARTICIPANT_JOINED, dialect="avd", room_id="r1", participant_id="u1")

    assert DIALECT.view(event, FILL, {}) == ()


@pytest.mark.parametrize("kind", [KeyKind.SHARED, KeyKind.TOKEN])
def test_basic_credentials_are_sent_and_known(kind: KeyKind) -> None:
    """Any valid key lets a sender in, an ended one does not."""
    old = Key(kind=kind, secret=b"janus:old", valid_until=NOW)
    new = Key(kind=kind, secret="janus:neu€".encode())
    endpoint = msgspec.structs.replace(ENDPOINT, keys=(old, new))

    sent = DIALECT.sign(post(b"[]"), endpoint, NOW, b"")

    assert Proof.SENDER is DIALECT.verify(sent, [old, new], NOW, {})
    stale = post(b"[]", ("Authorization", f"Basic {b64encode(old.secret).decode()}"))
    with pytest.raises(SignatureError) as refused:
        DIALECT.verify(stale, [old, new], NOW, {})
    assert "old" not in refused.value.message
    assert Proof.SENDER is DIALECT.verify(stale, [old, new], NOW - timedelta(seconds=1), {})


@settings(deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused(content: Any) -> None:
    """No JSON crashes the reader: it is events, or it is malformed."""
    with suppress(DecodeError):
        decoded(msgspec.json.encode(content))


@settings(deadline=None)
@given(
    st.sampled_from([1, 2, 32, 64]),
    st.dictionaries(
        st.sampled_from("name media receiving mid plugin data".split()),
        JSON | st.sampled_from(["janus.plugin.videoroom", "audio", "detached"]),
    ),
    st.dictionaries(
        st.sampled_from("event room id streams feed mid display".split()), JSON | st.sampled_from([*KINDS])
    ),
    JSON,
)
def test_any_insides_are_kept(number: int, content: dict[str, Any], data: dict[str, Any], stray: Any) -> None:
    """Whatever an event holds inside, it is kept in the wire's own words, never dropped."""
    if content.get("plugin") == "janus.plugin.videoroom":
        content = {**content, "data": data}
    wire = {"type": number, "subtype": 1, "timestamp": stray, "session_id": stray, "handle_id": 2, "event": content}
    words = msgspec.json.encode(wire)

    events = decoded(words)

    assert events
    assert {words} == {bytes(event.vendor) for event in events}
    assert DIALECT.kind(events[0].vendor)
