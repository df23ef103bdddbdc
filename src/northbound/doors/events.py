"""Events put on a bus: CloudEvents read, held to the limits, given the bus's own attributes (facts 3.1, 3.4).

The numbers a customer may rely on are here: 256 KB an event, 16 events and 1 MB a call. What is wrong with one event is
said of that event; what is wrong with the call refuses the call.
"""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from northbound.dialects.base import read_json, without_mark
from northbound.doors.bridge import (
    BATCH_BYTES,
    BATCH_MOST,
    EVENT_BYTES,
    EXTENSIONS,
    ID_LONGEST,
    SOURCE_LONGEST,
    SUBJECT_LONGEST,
    TYPE_LONGEST,
    VIEW,
)
from northbound.doors.rpc import RpcError
from northbound.model.account import Account, Bus
from northbound.model.delivery import Delivery
from northbound.model.errors import DecodeError
from northbound.model.event import Event, EventType

BUS_NAME: Final = "aliyuneventbusname"
# What the bus itself says of an event; a sender's own words for these are dropped.
BUS_WORDS: Final = EXTENSIONS - {BUS_NAME}
# The control plane's names of the attributes; whatever else stands there is an extension in its own spelling.
PASCAL: Final = {
    "Id": "id",
    "Source": "source",
    "SpecVersion": "specversion",
    "Type": "type",
    "Subject": "subject",
    "Time": "time",
    "DataContentType": "datacontenttype",
    "DataSchema": "dataschema",
    "Data": "data",
    "DataBase64": "data_base64",
}
_TEXTS: Final = {  # attribute: longest, whether it must be there, the code when it is wrong
    "id": (ID_LONGEST, True, "JsonAttributeInvalid"),
    "source": (SOURCE_LONGEST, True, "EventSourceInvalid"),
    "type": (TYPE_LONGEST, True, "EventTypeInvalid"),
    "specversion": (8, False, "EventSpecversionInvalid"),
    "subject": (SUBJECT_LONGEST, False, "JsonAttributeInvalid"),
    "time": (64, False, "JsonAttributeInvalid"),
    "datacontenttype": (128, False, "EventContentTypeInvalid"),
    "dataschema": (512, False, "JsonAttributeInvalid"),
}
_VERSIONS: Final = frozenset({"1.0", "0.3"})
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+ *(;.*)?", re.ASCII)
_JSON_TYPE = re.compile(r"(?:application|text)/(?:[\w.-]+\+)?json *(;.*)?", re.ASCII | re.IGNORECASE)
_EXTENSION = re.compile(r"[a-z0-9]{1,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
Words = dict[str, msgspec.Raw]


class PutError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one event: the documented code and a sentence."""

    code: str
    message: str


# --- the call --------------------------------------------------------------------------------------------------------


def read_events(body: bytes) -> list[Words]:
    """Return the events of a data-plane call, one object or an array of them; raise `RpcError`."""
    if len(body) > BATCH_BYTES:
        raise _too_much(f"the call is larger than {BATCH_BYTES} bytes; send fewer events at once")
    given = _checked(body)
    if isinstance(given, dict):
        return [msgspec.json.decode(body, type=Words)]
    return _listed(body, given)


def read_event_list(text: str) -> list[Words]:
    """Return the events of the control plane's `EventList`, whose attributes are in Pascal case; raise `RpcError`."""
    body = text.encode()
    if len(body) > BATCH_BYTES:
        raise _too_much(f"EventList is larger than {BATCH_BYTES} bytes; send fewer events at once")
    return [_from_pascal(words) for words in _listed(body, _checked(body))]


def _checked(body: bytes) -> Any:
    try:
        return read_json(body)
    except DecodeError as error:
        raise RpcError("JsonAttributeInvalid", error.message, 409) from None


def _listed(body: bytes, given: Any) -> list[Words]:
    if not isinstance(given, list) or not given or not all(isinstance(one, dict) for one in given):
        raise RpcError("JsonAttributeInvalid", "the events are a JSON array of CloudEvents with at least one", 409)
    if len(given) > BATCH_MOST:
        raise _too_much(f"a call holds at most {BATCH_MOST} events; send the rest in another")
    return msgspec.json.decode(body, type=list[Words])


def _too_much(message: str) -> RpcError:
    return RpcError("EventSizeExceed", message, 409)


def _from_pascal(words: Words) -> Words:
    named: Words = {}
    for name, value in words.items():
        if name == "Extensions":
            named |= msgspec.json.decode(value, type=Words) if bytes(value).startswith(b"{") else {}
        else:
            named[PASCAL.get(name, name[:1].lower() + name[1:] if name.isascii() else name)] = value
    return named


def bus_named(events: Sequence[Words], name: str = "") -> str:
    """Return the one bus that a call names, by *name* or by its events; raise `RpcError` for none or several."""
    said = {_text(words.get(BUS_NAME)) or name for words in events} | ({name} if name else set())
    if len(said) > 1:
        message = "all events of a call name the same bus; send those of another bus in a call of their own"
        raise RpcError("PutEventsRequestMoreThanOneEventBus", message, 409)
    (found,) = said
    if not found:
        raise RpcError("EventBusEmpty", f"name the bus by the extension attribute {BUS_NAME} of each event", 409)
    return found


# --- one event -------------------------------------------------------------------------------------------------------


def check_event(words: Words) -> PutError | None:
    """Tell what is wrong with an event, None when nothing is."""
    size = sum(len(name) + len(bytes(value)) + 4 for name, value in words.items())
    if size > EVENT_BYTES:
        return PutError(code="EventSizeExceed", message=f"the event is larger than {EVENT_BYTES} bytes")
    for name, (longest, needed, code) in _TEXTS.items():
        wrong = _wrong_text(name, words.get(name), longest, needed=needed)
        if wrong is not None:
            return PutError(
                code="EventIdEmpty" if name == "id" and not identity(words).strip() else code, message=wrong
            )
    return _wrong_form(words) or _wrong_data(words) or _wrong_extension(words)


def _wrong_text(name: str, value: msgspec.Raw | None, longest: int, *, needed: bool) -> str | None:
    if value is None or bytes(value) == b"null":
        return f"{name} is mandatory" if needed else None
    text = _text(value)
    if text is None or (needed and not text.strip()):
        return f"{name} is a text" + (" that is not empty" if needed else "")
    if len(text) > longest:
        return f"{name} has at most {longest} characters"
    return f"{name} holds control characters" if _CONTROL.search(text) else None


def _wrong_form(words: Words) -> PutError | None:
    version = _text(words.get("specversion"))
    if version is not None and version not in _VERSIONS:
        return PutError(code="EventSpecversionInvalid", message="specversion is 1.0 or 0.3")
    media = _text(words.get("datacontenttype"))
    if media and not _MEDIA_TYPE.fullmatch(media):
        return PutError(code="EventContentTypeInvalid", message="datacontenttype is a media type: application/json")
    time = _text(words.get("time"))
    if time and not _TIME.fullmatch(time):
        return PutError(code="JsonAttributeInvalid", message="time is written like 2026-01-02T03:04:05Z (RFC 3339)")
    return None


def _wrong_data(words: Words) -> PutError | None:
    packed = words.get("data_base64")
    if packed is None or bytes(packed) == b"null":
        return None
    if "data" in words and bytes(words["data"]) != b"null":
        return PutError(code="JsonAttributeInvalid", message="an event has data or data_base64, not both")
    if _unpacked(packed) is None:
        return PutError(code="JsonAttributeInvalid", message="data_base64 is not base64")
    return None


def _wrong_extension(words: Words) -> PutError | None:
    for name, value in words.items():
        if name in _TEXTS or name in {"data", "data_base64"}:
            continue
        if not _EXTENSION.fullmatch(name):
            return PutError(
                code="JsonAttributeInvalid",
                message="an extension attribute's name has 1 to 64 lower-case letters and digits",
            )
        if bytes(value)[:1] in {b"{", b"["}:
            return PutError(code="JsonAttributeInvalid", message=f"{name} is a text, a number or a truth value")
    return None


def as_put(words: Words, account: Account, bus: Bus, now: datetime, address: str) -> bytes:
    """Return a checked event as it lies on *bus*: compact JSON with the attributes that the bus adds.

    `data_base64` of a JSON content type becomes `data`, so that patterns see into it; the call is kept as it came.
    """
    given = {name: value for name, value in words.items() if name not in BUS_WORDS and bytes(value) != b"null"}
    packed = given.get("data_base64")
    if packed is not None and _JSON_TYPE.fullmatch(_text(words.get("datacontenttype")) or ""):
        inner = _json_in(packed)
        if inner is not None:
            del given["data_base64"]
            given["data"] = inner
    said = {
        BUS_NAME: bus.name,
        "aliyunaccountid": account.id,
        "aliyunregionid": bus.region,
        "aliyunpublishtime": now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z",
        "aliyunpublishaddr": address,
    }
    made: Mapping[str, Any] = {"specversion": "1.0"} | given | said
    return msgspec.json.format(msgspec.json.encode(made), indent=-1)


def as_dead_letter(delivery: Delivery) -> Event:
    """Return what could not be delivered as it lies on a bus for dead letters: the event's own words, unchanged.

    It tells of no room there, so that nothing is counted twice. Words of a wire without an envelope get one.
    """
    words = delivery.view.words
    parts = msgspec.json.decode(words, type=Words) if bytes(words).lstrip().startswith(b"{") else Words()
    if delivery.dialect != VIEW and not (identity(parts) and source_of(parts)):
        words = msgspec.Raw(
            msgspec.json.encode(
                {
                    "specversion": "1.0",
                    "id": delivery.event_id,
                    "source": "northbound",
                    "type": delivery.event_type,
                    "datacontenttype": "application/json",
                    "data": words,
                }
            )
        )
        parts = msgspec.json.decode(words, type=Words)
    key = put_key(identity(parts), source_of(parts))
    return Event(type=EventType.UNKNOWN, dialect=VIEW, dedupe_key=key, vendor=words)


def identity(words: Mapping[str, msgspec.Raw]) -> str:
    """Return an event's id, empty when it has none that could be repeated."""
    return (_text(words.get("id")) or "")[:ID_LONGEST]


def put_key(event_id: str, source: str) -> str:
    """Return the key that a bus remembers an event by: source + id name it; the id in front, so that it finds it."""
    return f"{event_id}|{source}"


def put_keys(event_id: str) -> tuple[str, str]:
    """Return the range of keys that events of this id have: from the first up to below the second."""
    return put_key(event_id, ""), f"{event_id}{chr(ord('|') + 1)}"


def source_of(words: Mapping[str, msgspec.Raw]) -> str:
    """Return an event's source."""
    return _text(words.get("source")) or ""


def _text(value: msgspec.Raw | None) -> str | None:
    if value is None or not bytes(value).startswith(b'"'):
        return None
    return msgspec.json.decode(value)


def _unpacked(value: msgspec.Raw) -> bytes | None:
    try:
        return b64decode(_text(value) or "*", validate=True)
    except ValueError:
        return None


def _json_in(value: msgspec.Raw) -> msgspec.Raw | None:
    inner = without_mark(_unpacked(value) or b"")
    try:
        read_json(inner)
    except DecodeError:
        return None
    return msgspec.Raw(inner)
