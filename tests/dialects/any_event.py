"""Strategies for events that any other wire may bring, and the fill that a delivery of one gets."""

from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st

from northbound.model.app import App, Endpoint
from northbound.model.delivery import Fill
from northbound.model.event import (
    Event,
    EventType,
    Facts,
    Fault,
    File,
    Media,
    PhoneAccess,
    Port,
    Reason,
    Role,
    Storage,
    Terminal,
)
from northbound.model.wire import Key

# A busy machine must not fail a test that is about meaning.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENTROPY = bytes(32)

texts = st.text(min_size=1, max_size=12)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given a zone
media = st.lists(st.sampled_from(Media), unique=True, max_size=3).map(tuple)
faults = st.builds(
    Fault,
    code=st.none() | st.integers(0, 999999),
    name=st.none() | st.sampled_from(["upload_failed", "stream_broken", "odd"]),
    phase=st.none() | st.sampled_from(["start", "running", "finishing"]),
    message=st.none() | texts,
    level=st.none() | st.just("fatal"),
)
files = st.lists(
    st.builds(
        File,
        name=st.none() | texts,
        url=st.none() | texts.map(lambda path: f"https://files.test/{path}"),
        size=st.none() | st.integers(0),
        media=media,
        merged=st.none() | st.booleans(),
        storage=st.none() | st.sampled_from(Storage),
        started_at=st.none() | moments,
    ),
    max_size=3,
).map(tuple)
facts = st.builds(
    Facts,
    name=st.none() | texts,
    role=st.none() | st.sampled_from(Role),
    terminal=st.none() | st.sampled_from(Terminal),
    phone=st.none() | st.sampled_from(PhoneAccess),
    reason=st.none() | st.sampled_from(Reason),
    media=media,
    peer_id=st.none() | texts,
    resolution=st.none() | st.just("640x480"),
    success=st.none() | st.booleans(),
    format=st.none() | st.just("hls"),
    started_at=st.none() | moments,
    stopped_at=st.none() | moments,
    fault=st.none() | faults,
    files=files,
    server_id=st.none() | texts,
    ports=st.lists(st.builds(Port, kind=st.just("tcp"), port=st.integers(1, 65535)), max_size=2).map(tuple),
)
events = st.builds(
    Event,
    type=st.sampled_from(EventType),
    dialect=st.just("elsewhere"),
    scope=st.none() | texts,
    room_id=texts,
    participant_id=texts,
    track_id=st.none() | texts,
    recording_id=st.none() | texts,
    occurred_at=st.none() | moments,
    facts=facts,
)


def fill() -> Fill:
    """Return a fill that knows nothing but the app."""
    return Fill(event_id="ev-1", recorded_at=NOW, app=App(id="app-1", name="demo", created_at=NOW))


def endpoint(dialect: str, *keys: Key, method: str = "POST", **options: object) -> Endpoint:
    """Return an endpoint of *dialect* with *keys* and *options*."""
    return Endpoint(
        id="ep-1",
        app_id="app-1",
        url="http://sink.test/cb",
        dialect=dialect,
        created_at=NOW,
        method=method,
        keys=keys,
        options=dict(options),
    )
