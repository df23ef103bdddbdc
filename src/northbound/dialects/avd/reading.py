"""Read a 3T request: its parameters, what its check_code proves, and what its words mean."""

import hmac
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from northbound.dialects.avd.tables import (
    ALLOWED,
    CLOSE,
    EVENT_TYPES,
    FAILED,
    LEAVE,
    MEANT,
    MEDIA,
    OUTCOMES,
    RECORDING,
    RELEASES,
    REQUIRED,
    TERMINALS,
    T,
    missing_fields,
)
from northbound.dialects.base import (
    Options,
    Params,
    from_ms,
    from_seconds,
    integer,
    members,
    raw,
    read_object,
    read_params,
    text,
    without_mark,
)
from northbound.model.errors import DecodeError
from northbound.model.event import EventType, Facts, Fault, File, Port, Terminal
from northbound.model.wire import Key, Request


def check_code(params: Params, secret: bytes) -> bytes:
    """Return the HMAC-SHA256 of *params* by *secret*, 32 bytes (page, 事件对应参数说明, note 2)."""
    values = [value for name, value in sorted(params) if value and name != "check_code"]
    return hmac.digest(secret, "|".join(values).encode(), "sha256")


def read_request(request: Request) -> Params:
    """Return all parameters of *request* as text, whatever carries them; repeated names raise `DecodeError`."""
    return _parsed(request)[1]


def wire_members(request: Request) -> Mapping[str, msgspec.Raw]:
    """Return the parameters of query and body in order, each as JSON text; repeated names raise `DecodeError`."""
    return _parsed(request)[0]


@lru_cache(maxsize=1)
def _parsed(request: Request) -> tuple[Mapping[str, msgspec.Raw], Params]:
    """Return the parameters as JSON text and as plain text; kept for decoding what was just verified."""
    found = read_params(request.query)
    body = without_mark(request.body)
    objects: dict[str, msgspec.Raw] = {}
    if body.startswith(b"{"):
        read_object(body)
        objects = members(body)
    elif body:
        found += read_params(body)
    words = {name: raw(value) for name, value in found} | objects
    if len(words) != len(found) + len(objects):
        raise DecodeError("a parameter is repeated, so its value is not certain; send each once")
    return words, found + params_of(objects)


def params_of(words: Mapping[str, msgspec.Raw]) -> Params:
    """Return *words* as text values, the form that a query, a form and check_code see."""
    return tuple((name, as_text(value)) for name, value in words.items())


def as_text(value: msgspec.Raw) -> str:
    """Return a JSON value as check_code sees it: strings decoded, null blank, the rest as compact JSON text."""
    content = bytes(value)
    if content.startswith(b'"'):
        return msgspec.json.decode(content, type=str)
    if content == b"null":
        return ""
    return content.decode() if content[:1] not in b"{[" else msgspec.json.format(content, indent=-1).decode()


def matches(given: str, code: bytes) -> bool:
    """Tell whether *given* is *code* in hex of any letter case or in base64; the page does not say which."""
    in_hex = hmac.compare_digest(given.lower().encode(), code.hex().encode())
    return hmac.compare_digest(given.encode(), b64encode(code)) or in_hex


def is_token(given: str, key: Key) -> bool:
    """Compare a given token with the configured one, in constant time."""
    return hmac.compare_digest(given.encode(), key.secret)


def is_covered(given: dict[str, str], signed: frozenset[str], options: Options) -> bool:
    """Tell whether the signed values can stand for one set of names only.

    check_code covers the values in the order of their names, not the names: a value can be moved to another name of
    the same place. With exactly the names of the event's table that leaves one reading.
    """
    word = given.get("event", "")
    release = options.get("release", RELEASES[-1])
    absent = missing_fields(word, release) | (frozenset() if options.get("trace_id", True) else {"trace_id"})
    optional: Collection[str] = ALLOWED.get(word, ())
    if word == "start_record":
        failed = given.get("event_type", "").lower() in FAILED
        optional = {"options"} if failed else {"start_time"}
    wanted = REQUIRED.get(word, signed | {"no such event"}) - absent
    return wanted <= signed <= wanted | (set(optional) - absent)


def require(wire: dict[str, str], kind: EventType) -> None:
    """Refuse a known event that does not name its room, or its user where it has one."""
    wanted = {T.SERVER_UNREACHABLE: (), T.UNKNOWN: ()}.get(kind, ("room_id",))
    if kind.value.startswith(("participant.", "track.")):
        wanted = ("room_id", "user_id")
    missing = [name for name in wanted if not wire.get(name)]
    if missing:
        raise DecodeError(f"event {wire['event']} needs the parameter {missing[0]}")


def facts_of(wire: dict[str, str], word: str) -> Facts:
    """Return what the words of event *word* mean."""
    outcome = wire.get("event_type", "").lower()
    success = OUTCOMES.get(outcome) if word in RECORDING else None
    options = wire.get("options", "")
    reasons = {"leave": LEAVE, "close": CLOSE}.get(word, {})
    return Facts(
        name=text(wire.get("user_name")),
        terminal=TERMINALS.get(wire["endpoint_type"].lower(), Terminal.OTHER) if wire.get("endpoint_type") else None,
        reason=reasons.get(outcome),
        media=tuple(MEDIA[name] for name in [wire.get("stream_type", "")] if name in MEDIA),
        resolution=text(wire.get("resolution")),
        success=success,
        fault=Fault(phase=_phase(word), message=text(options)) if success is False else None,
        files=_files(options) if success else (),
        format=text(wire.get("exporter_type")),
        started_at=_time(wire.get("start_time")),
        stopped_at=_time(wire.get("stop_time")),
        server_id=text(wire.get("box_code")),
        ports=_ports(options) if word == "warning_notify" else (),
    )


def unmapped(wire: dict[str, str], word: str, facts: Facts) -> Iterator[str]:
    """Name the parameters that no field carries: unknown names, and values that could not be understood."""
    outcome = wire.get("event_type", "").lower()
    told = facts.fault.message if facts.fault else None
    understood = {
        "event_type": outcome in EVENT_TYPES.get(word, ()),
        "endpoint_type": facts.terminal is not Terminal.OTHER,
        "stream_type": bool(facts.media),
        "start_time": facts.started_at is not None,
        "stop_time": facts.stopped_at is not None,
        "options": bool(facts.files or facts.ports or told) or wire.get("options") == "[]",
    }
    for name, value in wire.items():
        if name not in MEANT or (value and not understood.get(name, True)):
            yield name


def _phase(word: str) -> str:
    return "start" if word == "start_record" else "finishing"


def _time(value: str | None) -> datetime | None:
    """Read a time of unspecified unit: 13 digits are milliseconds, 10 seconds, else ISO text (ruling 32)."""
    number = integer(value)
    if number is not None:
        return from_ms(number) if number >= 10**11 else from_seconds(number)
    try:
        moment = datetime.fromisoformat(value or "")
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):  # no time, or one whose UTC lies outside the calendar
        return None


def _json_list(options: str) -> list[dict[str, Any]]:
    try:
        content = msgspec.json.decode(options) if options else []
    except (msgspec.DecodeError, RecursionError):
        return []
    items = content if isinstance(content, list) else [content]
    return [item for item in items if isinstance(item, dict)]


def _files(options: str) -> tuple[File, ...]:
    return tuple(
        File(
            name=text(item.get("name")),
            url=text(item.get("url")),
            size=integer(item.get("size")),
            duration_ms=integer(item.get("duration_ms")),
            media=tuple(MEDIA[track] for track in _tracks(item) if track in MEDIA),
        )
        for item in _json_list(options)
    )


def _tracks(item: dict[str, Any]) -> list[str]:
    tracks = item.get("tracks")
    return [track for track in tracks if isinstance(track, str)] if isinstance(tracks, list) else []


def _ports(options: str) -> tuple[Port, ...]:
    found = [(text(item.get("type")), integer(item.get("port"))) for item in _json_list(options)]
    return tuple(Port(kind=kind, port=port) for kind, port in found if kind and port is not None)
