"""Our neutral wire: CloudEvents 1.0 in JSON, signed as Standard Webhooks; also what hub rules match against.

`type` is the event type as it is (`participant.joined`), `subject` the room, `id` the event's id in this hub, and
`data` the whole neutral event with the vendor's own words, so nothing is lost. Attribute and member names are a public
promise: subscriptions' patterns name them (docs/vendors/standard.md). Read are structured, batched and binary events;
sent is structured. An event of another hub becomes what it was there; any other CloudEvent is kept, unknown.
The signature covers `webhook-id`, `webhook-timestamp` and the body, so not the attributes of binary mode.
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

import msgspec

from northbound.dialects.base import (
    Dialect,
    Options,
    members,
    own_view,
    percent,
    raw,
    read_json,
    time_key,
    without_mark,
)
from northbound.model.app import Endpoint, RetryPolicy, RetryStrategy
from northbound.model.delivery import Fill, View
from northbound.model.errors import DecodeError, InvalidInput, SignatureError
from northbound.model.event import Event, EventType, Facts
from northbound.model.wire import Key, KeyKind, Needs, Proof, Request

T = EventType
Attributes = dict[str, msgspec.Raw]

JSON_MODE = "application/cloudevents+json"
BATCH_MODE = "application/cloudevents-batch+json"
TOLERANCE = timedelta(minutes=5)
PREFIX = b"whsec_"
IDS = ("scope", "room_id", "participant_id", "session_id", "room_session_id", "track_id", "recording_id")

# Attributes that a field of Event carries, or that only name the message itself.
MEANT = frozenset("specversion id source type subject time datacontenttype nbdialect nbseq nbroom data".split())
# Our own words without these are not an event of ours, whatever their type says.
NEEDED: dict[EventType, tuple[str, ...]] = {
    T.ROOM_OPENED: ("room_id",),
    T.ROOM_CLOSED: ("room_id",),
    T.PARTICIPANT_JOINED: ("room_id", "participant_id"),
    T.PARTICIPANT_LEFT: ("room_id", "participant_id"),
    T.PARTICIPANT_UPDATED: ("room_id", "participant_id"),
}


class _Named(msgspec.Struct, frozen=True):
    """A CloudEvent as far as sending it needs to know."""

    id: msgspec.Raw = msgspec.Raw()


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """Member `data` of our own CloudEvents; `dialect` is the wire the event first came by."""

    dialect: str
    scope: str | None = None
    room_id: str | None = None
    participant_id: str | None = None
    session_id: str | None = None
    room_session_id: str | None = None
    track_id: str | None = None
    recording_id: str | None = None
    occurred_at: datetime | None = None
    sequence: int | None = None
    facts: Facts = msgspec.field(default_factory=Facts)
    vendor: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))


def signature(message_id: str, timestamp: str, body: bytes, key: bytes) -> str:
    """Return one element of `webhook-signature`: HMAC-SHA256 of id, time and body (Standard Webhooks, symmetric)."""
    signed = f"{message_id}.{timestamp}.".encode("latin-1", "replace") + body
    return f"v1,{b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def key_bytes(secret: bytes) -> bytes:
    """Return the bytes to sign with: what `whsec_<base64>` holds, any other secret as it is; empty if unusable."""
    if not secret.startswith(PREFIX):
        return secret
    content = secret.removeprefix(PREFIX)
    try:
        return b64decode(content + b"=" * (-len(content) % 4), validate=True)
    except Base64Error:
        return b""


class Standard(Dialect):
    """The `standard` wire, both directions."""

    name: ClassVar[str] = "standard"
    types: ClassVar[frozenset[EventType]] = frozenset(T)
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = (tuple(kind.value for kind in T),)
    fresh: ClassVar[frozenset[str]] = frozenset({"webhook-timestamp", "webhook-signature"})
    secrets: ClassVar[frozenset[str]] = frozenset({"webhook-signature", "authorization", "cookie"})
    retry: ClassVar[RetryPolicy] = RetryPolicy(
        strategy=RetryStrategy.SCHEDULE,
        attempts=8,
        waits=(
            timedelta(seconds=5),
            *(timedelta(minutes=minutes) for minutes in (5, 30)),
            *(timedelta(hours=hours) for hours in (2, 5, 10, 10)),
        ),
        deadline=timedelta(seconds=15),
    )

    def verify(self, request: Request, keys: Sequence[Key], now: datetime, options: Options) -> Proof | Needs:
        if not keys:
            return Proof.NONE
        message_id = request.header("webhook-id") or ""
        timestamp = request.header("webhook-timestamp") or ""
        given = (request.header("webhook-signature") or "").split()
        if not (message_id and timestamp and given):
            raise SignatureError("webhook-id, webhook-timestamp or webhook-signature is missing; send all three")
        expected = [signature(message_id, timestamp, request.body, secret) for secret in _secrets(keys, now)]
        if not any(hmac.compare_digest(one.encode(), other.encode()) for one in given for other in expected):
            raise SignatureError("webhook-signature does not match id, time and body; check the key on both sides")
        _require_recent(timestamp, now)
        return Proof.SENDER if _is_binary(request) else Proof.FRESH

    def decode(self, request: Request, options: Options) -> list[Event]:
        return [_event(words) for words in _read(request)]

    def kind(self, words: msgspec.Raw) -> str:
        return _text(members(words), "type") or "?"

    def view(self, event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        if event.dialect == self.name and _holds(event.vendor):
            return own_view(event)
        invented = () if event.occurred_at else ("time",)
        return (View(words=raw(_words(event, fill)), invented=invented),)

    def encode(self, views: Sequence[View], endpoint: Endpoint) -> Request:
        (view,) = views
        message_id = _text({"id": msgspec.json.decode(view.words, type=_Named).id}, "id") or ""
        headers = (("content-type", JSON_MODE), ("webhook-id", _header_text(message_id)))
        return Request(method="POST", url=endpoint.url, headers=headers, body=bytes(view.words))

    def sign(self, request: Request, endpoint: Endpoint, now: datetime, entropy: bytes) -> Request:
        timestamp = str(int(now.timestamp()))
        if not endpoint.keys:
            return request.adding(("webhook-timestamp", timestamp))
        secrets = _secrets(endpoint.keys, now)
        if not secrets:
            raise InvalidInput(
                "no key of the endpoint can sign now: not valid yet or any more, or not base64 after whsec_"
            )
        message_id = request.header("webhook-id") or ""
        signatures = [signature(message_id, timestamp, request.body, secret) for secret in secrets]
        return request.adding(("webhook-timestamp", timestamp), ("webhook-signature", " ".join(signatures)))


def _secrets(keys: Sequence[Key], now: datetime) -> list[bytes]:
    usable = [key_bytes(key.secret) for key in keys if key.is_valid(now) and key.kind is KeyKind.SHARED]
    return [secret for secret in usable if secret]


def _require_recent(timestamp: str, now: datetime) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise SignatureError("webhook-timestamp must be whole seconds since 1970")
    if abs(int(timestamp) - now.timestamp()) > TOLERANCE.total_seconds():
        raise SignatureError(
            "webhook-timestamp is more than 5 minutes off; check the sender's clock, sign each attempt"
        )


# --- in --------------------------------------------------------------------------------------------------------------


def _is_binary(request: Request) -> bool:
    structured = request.content_type.startswith("application/cloudevents")
    return not structured and request.header("ce-specversion") is not None


def _read(request: Request) -> Iterator[msgspec.Raw]:
    """Yield each CloudEvent of *request* as a JSON object, exactly as it came where it came as one."""
    if _is_binary(request):
        yield _from_headers(request)
        return
    if request.content_type.startswith("application/cloudevents") and not request.content_type.endswith("+json"):
        raise DecodeError(f"CloudEvents are read as JSON only; send {JSON_MODE}")
    body = without_mark(request.body)
    content = read_json(body)
    if not isinstance(content, list):
        content, pieces = [content], [msgspec.Raw(body)]
    else:
        pieces = msgspec.json.decode(body, type=list[msgspec.Raw])
    for item, words in zip(content, pieces, strict=True):
        if not isinstance(item, dict):
            raise DecodeError("a CloudEvent must be a JSON object")
        yield words


def _from_headers(request: Request) -> msgspec.Raw:
    """Write a binary-mode request as the structured event it stands for (CloudEvents HTTP binding, 3.1)."""
    found = [
        (name.lower().removeprefix("ce-"), _header_value(value))
        for name, value in request.headers
        if name.lower().startswith("ce-")
    ]
    words: dict[str, Any] = dict(found)
    if len(words) != len(found) or {"data", "data_base64", "datacontenttype"} & words.keys():
        raise DecodeError("a ce- header is repeated or takes the place of the body")
    content_type = request.header("content-type")
    if content_type:
        words["datacontenttype"] = content_type
    if not request.body:
        return raw(words)
    subtype = request.content_type
    if not subtype or subtype.endswith(("/json", "+json")):
        read_json(request.body)
        return raw(words | {"data": msgspec.Raw(without_mark(request.body))})
    return raw(words | {"data_base64": b64encode(request.body).decode()})


def _header_value(value: str) -> str:
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeError:
        raise DecodeError("ce- headers must be UTF-8, percent-encoded") from None


def _event(words: msgspec.Raw) -> Event:
    attributes = members(words)
    missing = [name for name in ("specversion", "id", "source", "type") if not _text(attributes, name)]
    if missing:
        raise DecodeError(f"this is not a CloudEvent: {missing[0]} must be a text that is not empty")
    if _text(attributes, "specversion") != "1.0":
        raise DecodeError("only CloudEvents 1.0 are read; set specversion to 1.0")
    time = _time(attributes)
    key = time_key(time, f"{_text(attributes, 'source')} {_text(attributes, 'id')}")
    ours = _ours(attributes)
    if ours is None:
        unmapped = tuple(name for name in attributes if name not in MEANT or name in ("subject", "data"))
        return Event(
            type=T.UNKNOWN, dialect=Standard.name, occurred_at=time, dedupe_key=key, vendor=words, unmapped=unmapped
        )
    kind, said = ours
    return Event(
        type=kind,
        dialect=Standard.name,
        **{name: getattr(said, name) or None for name in IDS},
        occurred_at=said.occurred_at,
        sequence=said.sequence,
        dedupe_key=key,
        facts=said.facts,
        vendor=words,
        unmapped=_unmapped(attributes, said),
    )


def _ours(attributes: Attributes) -> tuple[EventType, Said] | None:
    """Return what one of our own CloudEvents says; None for anybody else's, and for ours that does not hold up."""
    name = _text(attributes, "type")
    try:
        kind = T(name)
        said: Said = _in_utc(msgspec.json.decode(attributes.get("data", b"null"), type=Said))
    except (msgspec.MsgspecError, ValueError, OverflowError):
        return None
    return (kind, said) if all(getattr(said, need) for need in NEEDED.get(kind, ())) else None


def _in_utc(value: Any) -> Any:
    """Return *value* with every time in UTC; a time without a zone raises `ValueError`, since it could be any."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError
        return value.astimezone(UTC)
    if isinstance(value, msgspec.Struct):
        changed = {name: _in_utc(part) for name, part in msgspec.structs.asdict(value).items()}
        return msgspec.structs.replace(value, **changed)
    return tuple(_in_utc(part) for part in value) if isinstance(value, tuple) else value


def _unmapped(attributes: Attributes, said: Said) -> tuple[str, ...]:
    """Name what no field carries: extensions, members we do not know, and the first vendor's own words."""
    names = [name for name in attributes if name not in MEANT]
    data = members(attributes["data"])
    names += [f"data.{name}" for name in data if name not in Said.__struct_fields__]
    names += [f"data.facts.{name}" for name in members(data.get("facts", b"{}")) if name not in Facts.__struct_fields__]
    return (*names, "data.vendor") if _holds(said.vendor) else tuple(names)


def _holds(content: msgspec.Raw) -> bool:
    return bytes(content) != b"{}"


def _text(attributes: Attributes, name: str) -> str | None:
    content = attributes.get(name)
    return msgspec.json.decode(content, type=str) if content and bytes(content)[:1] == b'"' else None


def _time(attributes: Attributes) -> datetime | None:
    """Read attribute `time`; None when it is absent, without a zone or not a time."""
    try:
        return _in_utc(msgspec.convert(_text(attributes, "time"), datetime))
    except (msgspec.MsgspecError, ValueError, OverflowError):
        return None


# --- out -------------------------------------------------------------------------------------------------------------


def _words(event: Event, fill: Fill) -> dict[str, Any]:
    """Say *event* as a CloudEvent; absent members are left out, the order is fixed."""
    words: dict[str, Any] = {
        "specversion": "1.0",
        "id": fill.event_id,
        "source": f"northbound/{percent(fill.app.id)}",
        "type": event.type.value,
        "subject": event.room_id or None,
        "time": event.occurred_at or fill.recorded_at,
        "datacontenttype": "application/json",
        "nbdialect": event.dialect or None,
        "nbseq": fill.seq,
        "nbroom": fill.room_instance or None,
    }
    facts = raw(event.facts)
    data: dict[str, Any] = {
        **{name: getattr(event, name) for name in (*IDS, "occurred_at", "sequence")},
        "facts": facts if _holds(facts) else None,
        "dialect": event.dialect,
        "vendor": event.vendor if _holds(event.vendor) else None,
    }
    return {**_present(words), "data": _present(data)}


def _present(words: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value is not None}


def _header_text(message_id: str) -> str:
    """Return an id as a header can carry it: visible ASCII as it is, anything else percent-encoded."""
    visible = message_id.isascii() and message_id.isprintable() and " " not in message_id
    return message_id if visible else percent(message_id)


DIALECT = Standard()
