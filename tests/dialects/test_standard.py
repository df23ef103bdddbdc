"""The neutral wire against the CloudEvents and Standard Webhooks projects' own libraries, both directions."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary, from_structured, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from northbound.dialects.standard import DIALECT, NEEDED, key_bytes, signature
from northbound.model.app import App, Endpoint, RetryStrategy
from northbound.model.delivery import Fill
from northbound.model.errors import DecodeError, InvalidInput, SignatureError
from northbound.model.event import (
    Counts,
    Event,
    EventType,
    Facts,
    Fault,
    File,
    Media,
    PhoneAccess,
    Port,
    Reason,
    RecordingMode,
    Role,
    Storage,
    Terminal,
)
from northbound.model.wire import Headers, Key, KeyKind, Proof, Request
from northbound.testing.vectors import wire_text

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
APP = App(id="app-1", name="demo", created_at=NOW)
FILL = Fill(event_id="ev-1", recorded_at=NOW, app=APP, room_instance="ri-1", seq=7)
ENDPOINT = Endpoint(id="ep-1", app_id="app-1", url="http://sink.test/hook", dialect="standard", created_at=NOW)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

WORDS = st.text(min_size=1, max_size=12)
MAYBE = st.none() | WORDS
INTEGERS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)
FILES = st.builds(
    File,
    name=MAYBE,
    size=st.none() | st.integers(0, 2**50),
    started_at=st.none() | TIMES,
    storage=st.none() | st.sampled_from(Storage),
    media=st.lists(st.sampled_from(Media), max_size=2).map(tuple),
)
FACTS = st.builds(
    Facts,
    name=MAYBE,
    role=st.none() | st.sampled_from(Role),
    terminal=st.none() | st.sampled_from(Terminal),
    phone=st.none() | st.sampled_from(PhoneAccess),
    reason=st.none() | st.sampled_from(Reason),
    recording_mode=st.none() | st.sampled_from(RecordingMode),
    media=st.lists(st.sampled_from(Media), max_size=2).map(tuple),
    joined_at=st.none() | TIMES,
    progress=st.none() | st.floats(0, 1),
    exit=st.lists(WORDS, max_size=2).map(tuple),
    fault=st.none() | st.builds(Fault, code=st.none() | INTEGERS, message=MAYBE),
    files=st.lists(FILES, max_size=2).map(tuple),
    ports=st.lists(st.builds(Port, kind=WORDS, port=st.integers(1, 65535)), max_size=2).map(tuple),
    counts=st.none() | st.builds(Counts, meetings=st.none() | INTEGERS),
    connection_id=MAYBE,
    pending=st.booleans(),
    salvaged=st.booleans(),
)
EVENTS = st.builds(
    Event,
    type=st.sampled_from(EventType),
    dialect=st.sampled_from(["avd", "anyrtc", "elsewhere"]),
    scope=MAYBE,
    room_id=WORDS,
    participant_id=WORDS,
    session_id=MAYBE,
    room_session_id=MAYBE,
    track_id=MAYBE,
    recording_id=MAYBE,
    occurred_at=st.none() | TIMES,
    sequence=st.none() | INTEGERS,
    facts=FACTS,
    vendor=st.dictionaries(WORDS, JSON, max_size=3).map(lambda words: msgspec.Raw(msgspec.json.encode(words))),
)


def cloud_event(required: dict[str, Any], extensions: dict[str, str], data: dict[str, Any]) -> CloudEvent:
    return CloudEvent({**extensions, **required}, data)


# What any CloudEvents sender may say: attribute values are text, times carry a zone.
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)
RESERVED = {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data"}
CLOUD_EVENTS = st.builds(
    cloud_event,
    st.fixed_dictionaries(
        {"id": WORDS, "source": WORDS, "type": WORDS, "specversion": st.just("1.0"), "time": TIMES},
        optional={"subject": WORDS, "datacontenttype": st.just("application/json")},
    ),
    st.dictionaries(NAMES.filter(lambda name: name not in RESERVED), WORDS, max_size=3),
    st.dictionaries(WORDS, JSON, max_size=3),
)


def post(body: bytes, headers: Headers) -> Request:
    return Request(method="POST", url="http://hub.test/in/standard", headers=headers, body=body)


def said(event: Event, endpoint: Endpoint = ENDPOINT, now: datetime = NOW) -> Request:
    (view,) = DIALECT.view(event, FILL, {})
    return DIALECT.sign(DIALECT.encode([view], endpoint), endpoint, now, b"")


def joined(**more: Any) -> Event:
    return Event(type=EventType.PARTICIPANT_JOINED, dialect="avd", room_id="r1", participant_id="u1", **more)


def keyed(*secrets: str) -> Endpoint:
    return msgspec.structs.replace(ENDPOINT, keys=tuple(Key(secret=secret.encode()) for secret in secrets))


# --- events ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(EVENTS)
def test_any_event_comes_back_as_it_was(event: Event) -> None:
    """From hub to hub an event keeps its type, ids, times, number, facts and the first vendor's words."""
    (again,) = DIALECT.decode(said(event), {})

    kept = ("dialect", "vendor", "dedupe_key", "unmapped")
    expected = msgspec.structs.replace(event, **{name: getattr(again, name) for name in kept})
    assert expected == again
    if bytes(event.vendor) != b"{}":
        data = msgspec.json.decode(again.vendor, type=dict[str, msgspec.Raw])["data"]
        assert bytes(event.vendor) == bytes(msgspec.json.decode(data, type=dict[str, msgspec.Raw])["vendor"])


@settings(deadline=None)
@given(EVENTS)
def test_the_cloudevents_library_reads_what_we_send(event: Event) -> None:
    """An independent reader finds a valid CloudEvent with the promised attributes."""
    sent = said(event)

    read = from_structured(HTTPMessage(dict(sent.headers), sent.body), JSONFormat(), CloudEvent)

    assert (read.get_id(), read.get_source(), read.get_type()) == ("ev-1", "northbound/app-1", event.type.value)
    assert (read.get_subject(), read.get_time()) == (event.room_id, event.occurred_at or NOW)
    extensions = [read.get_extension(name) for name in ("nbdialect", "nbseq", "nbroom")]
    assert extensions == [event.dialect, 7, "ri-1"]
    assert read.get_data() == msgspec.json.decode(sent.body)["data"]


@settings(deadline=None)
@given(CLOUD_EVENTS)
def test_we_read_what_the_cloudevents_library_sends(event: CloudEvent) -> None:
    """Another maker's event is kept wire-true in structured mode, and binary mode means the same."""
    structured = to_structured(event, JSONFormat())
    binary = to_binary(event, JSONFormat())

    (whole,) = DIALECT.decode(post(structured.body, tuple(structured.headers.items())), {})
    (parts,) = DIALECT.decode(post(binary.body, tuple(binary.headers.items())), {})

    assert wire_text(structured.body) == wire_text(whole.vendor)
    assert msgspec.json.decode(whole.vendor) == msgspec.json.decode(parts.vendor)
    assert (whole.type, whole.occurred_at, whole.dedupe_key) == (parts.type, parts.occurred_at, parts.dedupe_key)


@settings(deadline=None)
@given(EVENTS)
def test_a_library_may_carry_our_event_in_binary_mode(event: Event) -> None:
    """Our event re-sent by the library in binary mode is the same event to us."""
    sent = said(event)
    binary = to_binary(from_structured(HTTPMessage(dict(sent.headers), sent.body), JSONFormat()), JSONFormat())
    (direct,) = DIALECT.decode(sent, {})

    (relayed,) = DIALECT.decode(post(binary.body, tuple(binary.headers.items())), {})

    same = msgspec.structs.replace(relayed, vendor=direct.vendor)
    assert direct == same
    assert from_binary(binary, JSONFormat()).get_type() == event.type.value


@settings(deadline=None)
@given(JSON | st.dictionaries(st.sampled_from(["specversion", "id", "source", "type", "time", "data"]), JSON))
def test_any_json_is_read_or_refused(content: Any) -> None:
    """No JSON crashes the reader; what is not an event of ours is never taken for one."""
    try:
        events = DIALECT.decode(post(msgspec.json.encode(content), ()), {})
    except DecodeError:
        return
    assert all(event.type is EventType.UNKNOWN for event in events)


@settings(deadline=None)
@given(st.sampled_from(EventType), JSON, JSON)
def test_any_data_under_our_types_is_kept(kind: EventType, facts: Any, value: Any) -> None:
    """Our type with whatever data is an event, never a crash; without what it needs it is unknown."""
    data = {"dialect": "x", "room_id": value, "occurred_at": value, "facts": facts}
    words = {"specversion": "1.0", "id": "i", "source": "/s", "type": kind.value, "data": data}

    (event,) = DIALECT.decode(post(msgspec.json.encode(words), ()), {})

    assert event.type in (kind, EventType.UNKNOWN)
    if event.type is not EventType.UNKNOWN:
        assert all(getattr(event, name) for name in NEEDED.get(kind, ()))


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-08:00", "yesterday"])
def test_times_outside_the_calendar_are_kept_unread(moment: str) -> None:
    """A time that UTC cannot hold makes an event unknown and never crashes."""
    data = {"dialect": "x", "room_id": "r1", "facts": {"joined_at": moment}}
    words = {"specversion": "1.0", "id": "i", "source": "/s", "type": "room.opened", "time": moment, "data": data}

    (event,) = DIALECT.decode(post(msgspec.json.encode(words), ()), {})

    assert (event.type, event.occurred_at) == (EventType.UNKNOWN, None)


def test_a_type_is_said_for_every_event_type() -> None:
    """There is no event that this wire cannot say."""
    assert DIALECT.types == frozenset(EventType)


# --- signatures ------------------------------------------------------------------------------------------------------


def test_the_published_signature() -> None:
    """The vector of the Standard Webhooks project comes out."""
    body = b'{"test": 2432232314}'

    made = signature("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body, key_bytes(SECRET.encode()))

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@settings(deadline=None)
@given(EVENTS, st.binary(min_size=1, max_size=40))
def test_the_webhooks_library_verifies_what_we_send(event: Event, secret: bytes) -> None:
    """An independent receiver accepts our signature, by either key while keys change, and refuses another."""
    text = "whsec_" + b64encode(secret).decode()
    sent = said(event, keyed(text, SECRET), datetime.now(UTC))

    for known in (Webhook(text), Webhook(SECRET)):
        assert known.verify(sent.body, dict(sent.headers)) == msgspec.json.decode(sent.body)
    with pytest.raises(WebhookVerificationError):
        Webhook(b"other" + secret).verify(sent.body, dict(sent.headers))


@settings(deadline=None)
@given(EVENTS, st.binary(min_size=1, max_size=40), st.text("abcXYZ019_-", min_size=1, max_size=20))
def test_we_verify_what_the_webhooks_library_signs(event: Event, secret: bytes, message_id: str) -> None:
    """A sender that uses the library proves content and time to us; any changed byte is refused."""
    body = said(event).body
    signed = Webhook(secret).sign(message_id, NOW, body.decode())
    headers = (
        ("Content-Type", "application/cloudevents+json"),
        ("Webhook-Id", message_id),
        ("Webhook-Timestamp", str(int(NOW.timestamp()))),
        ("Webhook-Signature", signed),
    )
    keys = [Key(secret=b"another"), Key(secret=b"whsec_" + b64encode(secret).rstrip(b"="))]

    assert Proof.FRESH is DIALECT.verify(post(body, headers), keys, NOW, {})
    with pytest.raises(SignatureError):
        DIALECT.verify(post(body + b" ", headers), keys, NOW, {})


def test_the_time_is_new_and_the_id_stays() -> None:
    """Each attempt is signed anew under the same id, so that a receiver can drop a repeat."""
    first = said(joined(), keyed(SECRET), NOW)
    again = said(joined(), keyed(SECRET), NOW + timedelta(hours=2))

    assert first.body == again.body
    assert first.header("webhook-id") == again.header("webhook-id") == "ev-1"
    assert first.header("webhook-timestamp") != again.header("webhook-timestamp")
    assert first.header("webhook-signature") != again.header("webhook-signature")


def test_without_keys_nothing_is_signed_and_nothing_proven() -> None:
    """An endpoint without a key still gets the id and the time."""
    sent = said(joined())

    assert sent.header("webhook-signature") is None
    assert Proof.NONE is DIALECT.verify(sent, [], NOW, {})


def test_only_valid_keys_count() -> None:
    """A key that has ended neither signs nor verifies."""
    ended = Key(secret=b"old", valid_until=NOW)
    endpoint = msgspec.structs.replace(ENDPOINT, keys=(ended, Key(secret=b"new")))
    sent = said(joined(), endpoint)

    assert len((sent.header("webhook-signature") or "").split()) == 1
    with pytest.raises(SignatureError):
        DIALECT.verify(sent, [ended], NOW, {})


@pytest.mark.parametrize("key", [Key(secret=b"whsec_***"), Key(secret=b"whsec_"), Key(secret=b"t", kind=KeyKind.TOKEN)])
def test_an_unusable_key_is_refused_and_not_shown(key: Key) -> None:
    """A key we cannot sign with is an error that says why, without the key, and never an unsigned request."""
    endpoint = msgspec.structs.replace(ENDPOINT, keys=(key,))

    with pytest.raises(InvalidInput) as refused:
        said(joined(), endpoint)

    assert "***" not in refused.value.message


def test_the_schedule_spans_a_day() -> None:
    """Eight attempts over a little less than 28 hours, each within 15 seconds."""
    policy = DIALECT.retry

    assert policy.strategy is RetryStrategy.SCHEDULE
    assert (policy.attempts, len(policy.waits)) == (8, 7)
    assert sum(policy.waits, timedelta()) == timedelta(hours=27, minutes=35, seconds=5)
    assert policy.deadline == timedelta(seconds=15)
