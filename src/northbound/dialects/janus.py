"""Janus gateway 1.x event handler (sampleevh): JSON events, one object or a grouped array a POST. A source only.

Nothing is signed; HTTP Basic may name the sender. The wire has no event id, so nothing is de-duplicated by key: what
it repeats changes no state. Events of one subscription name a connection (session and handle) and not a person, so
they are half events here; `logic` joins them with what it remembers. What Janus does, as captured from 1.1.2:
`unpublished` comes twice and names no streams, `kicked` has no `leaving`, `subscribed` has room 0, `updated` names the
publisher's handle instead of the subscriber's, and a killed server says nothing at all.
"""

import hmac
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import msgspec

from northbound.dialects.base import (
    Dialect,
    Option,
    Options,
    error_words,
    from_seconds,
    integer,
    own_view,
    read_json,
    refusal,
    text,
    vendor_retries,
    without_mark,
)
from northbound.model.app import Endpoint, RetryPolicy, RetryStrategy
from northbound.model.delivery import Fill, View
from northbound.model.errors import DecodeError, HubError, SignatureError
from northbound.model.event import Event, EventType, Facts, Media, Reason, Traits
from northbound.model.wire import Key, KeyKind, Needs, Proof, Request, Response

T = EventType
REPEATS = frozenset({T.ROOM_OPENED, T.ROOM_CLOSED, T.TRACK_UNPUBLISHED, T.PARTICIPANT_LEFT})
Wire = dict[str, Any]

BASIC = (KeyKind.TOKEN, KeyKind.SHARED)  # a key that is written `user:password`
VIDEOROOM = "janus.plugin.videoroom"
SESSION, HANDLE, MEDIA, PLUGIN = 1, 2, 32, 64  # the wire's `type` bits that carry something we read

# A member's words need a room and an id; a room's words need a room. Without them an event stays unknown, kept.
MEMBER = {
    "joined": T.PARTICIPANT_JOINED,
    "leaving": T.PARTICIPANT_LEFT,
    "kicked": T.PARTICIPANT_LEFT,
    "unpublished": T.TRACK_UNPUBLISHED,
}
ROOM = {"created": T.ROOM_OPENED, "destroyed": T.ROOM_CLOSED}
ENDINGS = {
    (SESSION, "timeout"): "session_timed_out",
    (SESSION, "destroyed"): "session_closed",
    (HANDLE, "detached"): "connection_closed",
}
MEDIA_WORDS = {media.value: media for media in Media}

# Names of what is neither a plugin's, a session's nor a handle's event.
KIND_NAMES = {
    (4, None): "external",
    (8, None): "jsep",
    (16, 1): "ice state",
    (16, 2): "local candidate",
    (16, 3): "remote candidate",
    (16, 4): "selected pair",
    (16, 5): "dtls state",
    (16, 6): "connection state",
    (32, 1): "media state",
    (32, 2): "slow link",
    (32, 3): "media statistics",
    (128, None): "transport",
    (256, 1): "server started",
    (256, 2): "server shut down",
}
KINDS = (
    *(*MEMBER, *ROOM, "published", "subscribing", "subscribed", "unsubscribed", "updated", "configured", "edited"),
    *("rtp_forward", "stop_rtp_forward", "session created", "session destroyed", "session timeout"),
    *("handle attached", "handle detached", "media state", "slow link", "media statistics", "connection state"),
    *("jsep", "ice state", "local candidate", "remote candidate", "selected pair", "dtls state"),
    *("transport", "server started", "server shut down"),
)

# What a field of Event or Facts carries; every other name of the wire is reported as unmapped.
MEANT_TOP = frozenset({"emitter", "type", "subtype", "timestamp", "session_id", "handle_id", "event"})
MEANT_INSIDE = {
    SESSION: frozenset({"name"}),
    HANDLE: frozenset({"name"}),
    MEDIA: frozenset({"media", "receiving"}),
    PLUGIN: frozenset({"event", "room", "id", "display", "feed", "mid", "streams"}),
}
MEANT_IN_STREAM = frozenset({"type", "mid", "description", "feed_id", "feed_mid", "feed_description"})


class Janus(Dialect):
    """The `janus` wire, inward; its own words can be passed on, foreign events have none here."""

    name: ClassVar[str] = "janus"
    types: ClassVar[frozenset[EventType]] = frozenset()
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = (KINDS,)
    batch_max: ClassVar[int] = 64  # grouped arrays are how Janus itself sends
    retry: ClassVar[RetryPolicy] = RetryPolicy(
        strategy=RetryStrategy.SCHEDULE,
        attempts=5,
        waits=tuple(timedelta(milliseconds=wait) for wait in (100, 200, 400, 800)),
    )
    traits: ClassVar[Traits] = Traits(implicit_rooms=True, repeats=REPEATS)
    # janus_sampleevh.c: a connection that fails is tried again, an answer ends it whatever its status.
    options: ClassVar[tuple[Option, ...]] = (vendor_retries(default=False, sure="documented"),)

    def verify(self, request: Request, keys: Sequence[Key], now: datetime, options: Options) -> Proof | Needs:
        if not keys:
            return Proof.NONE
        scheme, _, given = (request.header("authorization") or "").partition(" ")
        known = [_credentials(key) for key in keys if key.is_valid(now) and key.kind in BASIC]
        matches = [hmac.compare_digest(given.strip().encode(), credentials) for credentials in known]
        if scheme.lower() != "basic" or not any(matches):
            raise SignatureError("HTTP Basic credentials are missing or wrong; check backend_user and backend_pwd")
        return Proof.SENDER

    def decode(self, request: Request, options: Options) -> list[Event]:
        body = without_mark(request.body)
        content = read_json(body)
        if isinstance(content, list):
            pieces = msgspec.json.decode(body, type=list[msgspec.Raw])
            return [event for wire, words in zip(content, pieces, strict=True) for event in _read(wire, words)]
        return _read(content, msgspec.Raw(body))

    def ack(self, request: Request, error: HubError | None) -> Response:
        status, _ = refusal(error)
        return Response.json(status, {} if error is None else error_words(error))

    def kind(self, words: msgspec.Raw) -> str:
        wire: Wire = msgspec.json.decode(words)
        number = wire.get("type")
        content = _object(wire.get("event"))
        if number == PLUGIN:
            plugin, event = text(content.get("plugin")), text(_object(content.get("data")).get("event")) or "?"
            return event if plugin == VIDEOROOM else f"{plugin}:{event}"
        if number in (SESSION, HANDLE):
            return f"{'session' if number == SESSION else 'handle'} {text(content.get('name'))}"
        return KIND_NAMES.get((integer(number) or 0, integer(wire.get("subtype"))), f"type {number}")

    def view(self, event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        return own_view(event) if event.dialect == self.name and bytes(event.vendor) != b"{}" else ()

    def encode(self, views: Sequence[View], endpoint: Endpoint) -> Request:
        # One Janus event is several of ours (one a stream), all with the same words: it is said once.
        pieces = dict.fromkeys(bytes(view.words) for view in views)
        body = b"[" + b",".join(pieces) + b"]"
        return Request(method="POST", url=endpoint.url, headers=(("content-type", "application/json"),), body=body)

    def sign(self, request: Request, endpoint: Endpoint, now: datetime, entropy: bytes) -> Request:
        usable = [key for key in endpoint.keys if key.is_valid(now) and key.kind in BASIC]
        key = max(usable, key=lambda key: (key.valid_from is not None, key.valid_from or now), default=None)  # ruling 6
        return request if key is None else request.adding(("authorization", f"Basic {_credentials(key).decode()}"))


def _credentials(key: Key) -> bytes:
    """Return what HTTP Basic sends for a key that is written `user:password`."""
    return b64encode(key.secret)


# --- in --------------------------------------------------------------------------------------------------------------


def _read(wire: Any, words: msgspec.Raw) -> list[Event]:
    number = integer(wire.get("type")) if isinstance(wire, dict) else None
    if number is None:
        raise DecodeError("this is not a Janus event: each must be a JSON object with a number `type`")
    session, handle = text(wire.get("session_id")), text(wire.get("handle_id"))
    seen = Event(
        type=T.UNKNOWN,
        dialect=Janus.name,
        session_id=session,
        occurred_at=_moment(wire.get("timestamp")),
        facts=Facts(
            connection_id=f"{session}/{handle}" if session and handle else None,
            server_id=text(wire.get("emitter")),
        ),
        vendor=words,
        unmapped=_unmapped(wire, number),
    )
    content = _object(wire.get("event"))
    match number:
        case 1 | 2:
            return [_ending(seen, number, content)]
        case 32:
            return [_media_state(seen, content) if wire.get("subtype") == 1 else seen]
        case 64 if content.get("plugin") == VIDEOROOM:
            return _videoroom(seen, _object(content.get("data")))
        case _:
            return [seen]


def _ending(seen: Event, number: int, content: Wire) -> Event:
    return _saying(seen, operation=ENDINGS.get((number, text(content.get("name")) or "")))


def _media_state(seen: Event, content: Wire) -> Event:
    """Read whether packets arrive on a connection; whose they are, only the connection tells."""
    receiving, media = content.get("receiving"), MEDIA_WORDS.get(text(content.get("media")) or "")
    if not isinstance(receiving, bool) or media is None or seen.facts.connection_id is None:
        return seen
    return _saying(seen, T.TRACK_RESUMED if receiving else T.TRACK_STALLED, media=(media,))


def _videoroom(seen: Event, data: Wire) -> list[Event]:
    room = data.get("room")
    seen = msgspec.structs.replace(
        seen,
        room_id=text(room) if room != 0 else None,  # 0 is how a room that is named by a string reads in `subscribed`
        participant_id=text(data.get("id")),
    )
    word = data.get("event", "")
    say = VIDEOROOM_WORDS.get(word) if isinstance(word, str) else None
    return [seen] if say is None else say(seen, data) or [seen]


def _member(seen: Event, data: Wire) -> list[Event]:
    word = data["event"]
    if seen.room_id is None or seen.participant_id is None:
        return []
    reason = Reason.KICKED if word == "kicked" else None
    return [_saying(seen, MEMBER[word], name=text(data.get("display")), reason=reason)]


def _room(seen: Event, data: Wire) -> list[Event]:
    return [] if seen.room_id is None else [_saying(seen, ROOM[data["event"]])]


def _published(seen: Event, data: Wire) -> list[Event]:
    if seen.room_id is None or seen.participant_id is None:
        return []
    return [
        msgspec.structs.replace(
            _saying(seen, T.TRACK_PUBLISHED, name=text(data.get("display")), media=(media,)),
            track_id=f"{seen.participant_id}/{stream['mid']}",
        )
        for stream, media in _streams(data, "")
        if not stream.get("disabled")
    ]


def _subscribing(seen: Event, data: Wire) -> list[Event]:
    """Read the streams asked for; they are confirmed by `subscribed` on the same connection, which names none."""
    return [
        msgspec.structs.replace(
            _saying(seen, pending=True, peer_id=text(stream.get("feed_id")), media=(media,)),
            track_id=f"{stream['feed_id']}/{stream['feed_mid']}",
        )
        for stream, media in _streams(data, "feed_")
        if text(stream.get("feed_id"))
    ]


def _subscribed(seen: Event, data: Wire) -> list[Event]:
    return [] if seen.facts.connection_id is None else [_saying(seen, T.TRACK_SUBSCRIBED)]


def _unsubscribed(seen: Event, data: Wire) -> list[Event]:
    """Read one subscription's end; `mid` is the feed's here, as `feed_mid` is in `subscribing`."""
    feed, mid = text(data.get("feed")), text(data.get("mid"))
    if seen.facts.connection_id is None:
        return []
    track = f"{feed}/{mid}" if feed and mid else None
    return [msgspec.structs.replace(_saying(seen, T.TRACK_UNSUBSCRIBED, peer_id=feed), track_id=track)]


VIDEOROOM_WORDS: dict[str, Callable[[Event, Wire], list[Event]]] = {
    **dict.fromkeys(MEMBER, _member),
    **dict.fromkeys(ROOM, _room),
    "published": _published,
    "subscribing": _subscribing,
    "subscribed": _subscribed,
    "unsubscribed": _unsubscribed,
}


def _saying(seen: Event, kind: EventType = T.UNKNOWN, **facts: Any) -> Event:
    return msgspec.structs.replace(seen, type=kind, facts=msgspec.structs.replace(seen.facts, **facts))


def _streams(data: Wire, prefix: str) -> Iterable[tuple[Wire, Media]]:
    """Yield the streams that have a mid and carry sound or pictures, with their medium.

    `description` is free text; where a publisher writes audio, video or desktop there, it tells a shared screen from
    a camera, which the wire itself does not.
    """
    for stream in map(_object, _list(data.get("streams"))):
        said = [stream.get(name) for name in (f"{prefix}description", "type")]
        media = next((MEDIA_WORDS[word] for word in said if isinstance(word, str) and word in MEDIA_WORDS), None)
        if media is not None and text(stream.get(f"{prefix}mid")):
            yield stream, media


def _moment(timestamp: Any) -> datetime | None:
    """Read microseconds since 1970."""
    number = integer(timestamp)
    whole = None if number is None else from_seconds(number // 1_000_000)
    return whole if whole is None or number is None else whole.replace(microsecond=number % 1_000_000)


def _unmapped(wire: Wire, number: int) -> tuple[str, ...]:
    content = wire.get("event")
    if number == PLUGIN:
        content = _object(content).get("data")
    names = [name for name in wire if name not in MEANT_TOP]
    if not isinstance(content, dict):
        return (*names, "event")
    names += [name for name in content if name not in MEANT_INSIDE.get(number, frozenset())]
    inside = [name for stream in _list(content.get("streams")) for name in _object(stream)]
    names += [f"streams.{name}" for name in inside if name not in MEANT_IN_STREAM]
    return tuple(dict.fromkeys(names))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: Any) -> Wire:
    return value if isinstance(value, dict) else {}


DIALECT = Janus()
