"""Write an event down as a log keeps it, refusing what could not be read again: one such entry stops every reader."""

import msgspec

from northbound.model.errors import StoreFailed
from northbound.model.event import Event

FLAT = 200  # opening brackets that cannot nest too deeply, however they stand
SPARE_DEPTH = 300  # levels that a reader, deep in its own calls, must have left

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Event).decode


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
