"""Write an event down as a log keeps it, refusing what could not be read again, or not be named again."""

from typing import Final

import msgspec

from northbound.model.errors import DecodeError, StoreFailed
from northbound.model.event import Event

FLAT = 200  # opening brackets that cannot nest too deeply, however they stand
SPARE_DEPTH = 300  # levels that a reader, deep in its own calls, must have left

# Bytes of one id. Vendors allow 64 to 512; each is a key of rooms, lanes and indexes, and kept many times over.
IDENTIFIER_BYTES: Final = 1024
IDENTIFIERS: Final = (
    "scope", "room_id", "participant_id", "session_id", "room_session_id", "track_id", "recording_id",
)  # fmt: skip

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Event).decode


def check_identifiers(event: Event) -> None:
    """Raise `DecodeError` when an id is longer than `IDENTIFIER_BYTES`."""
    for name in IDENTIFIERS:
        value: str | None = getattr(event, name)
        if value is None or len(value) * 4 <= IDENTIFIER_BYTES:  # a character takes at most four bytes
            continue
        length = len(value.encode(errors="surrogatepass"))
        if length > IDENTIFIER_BYTES:
            what = name.removesuffix("_id").replace("_", " ")
            told = f"the id of its {what} has {length} bytes; ids of at most {IDENTIFIER_BYTES} bytes are taken"
            raise DecodeError(told, field=name)


def write_event(event: Event) -> bytes:
    """Return *event* as JSON; raise `StoreFailed` when it holds text or nesting that cannot be read back."""
    try:
        body = _ENCODE(event)
        _DECODE(body)
        if body.count(b"[") + body.count(b"{") > FLAT:
            msgspec.json.decode(b"[" * SPARE_DEPTH + body + b"]" * SPARE_DEPTH, type=msgspec.Raw)
    except (UnicodeError, msgspec.MsgspecError, RecursionError) as error:
        raise StoreFailed(f"an event cannot be written down: {type(error).__name__}: {error}") from None
    return body
