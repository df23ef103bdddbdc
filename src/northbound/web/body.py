"""Read a request's body whole, within its limits: never cut and accepted."""

import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from northbound.web.guard import Limits

Receive = Callable[[], Awaitable[Any]]

GZIP_WINDOW = 16 + zlib.MAX_WBITS
RATIO_FREE_BYTES = 64 * 1024  # small results may be any ratio: a body of equal records is no bomb


class BodyError(Exception):
    """The body is refused; what to answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Gone(Exception):
    """The body will never be whole; nobody waits for an answer."""


class Reading:
    """Bytes of incomplete bodies, of all requests together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    async def read(self, receive: Receive) -> bytes:
        """Return the whole body; raise `BodyError` above a limit and `Gone` when it ends early."""
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        first: bytes = message.get("body", b"")
        if not message.get("more_body", False):  # nearly always: no accounting
            self._check(len(first))
            return first
        parts: list[bytes] = []
        held = 0
        try:
            while True:
                part: bytes = message.get("body", b"")
                parts.append(part)
                held += len(part)
                self._held += len(part)
                self._check(held)
                if not message.get("more_body", False):
                    return b"".join(parts)
                message = await receive()
                if message["type"] != "http.request":
                    raise Gone
        finally:
            self._held -= held

    def _check(self, size: int) -> None:
        if size > self._limits.body_bytes:
            raise too_large(self._limits)
        if self._held > self._limits.reading_bytes:
            raise BodyError(503, "overloaded", "too many large bodies at once; send it again")


def too_large(limits: Limits) -> BodyError:
    """Return the refusal of a body above the limit."""
    return BodyError(413, "too_large", f"the body is larger than {limits.body_bytes} bytes; send fewer events at once")


def decompress(body: bytes, coding: str, limits: Limits) -> bytes:
    """Undo the Content-Encoding *coding*, bounded in size and ratio; refuse what is cut, damaged or unknown."""
    if coding in ("", "identity") or not body:
        return body
    if coding in ("gzip", "x-gzip"):
        window = GZIP_WINDOW
    elif coding == "deflate":
        window = zlib.MAX_WBITS if _has_zlib_header(body) else -zlib.MAX_WBITS
    else:
        raise BodyError(415, "unsupported_encoding", "send the body plain, or encoded once with gzip or deflate")
    most = min(limits.body_bytes, max(RATIO_FREE_BYTES, len(body) * limits.inflate_ratio))
    inflater = zlib.decompressobj(window)
    try:
        plain = inflater.decompress(body, most + 1)
    except zlib.error:
        raise BodyError(400, "malformed", f"the body is not valid {coding}; send it again") from None
    if len(plain) > most:
        raise BodyError(413, "too_large", "the decompressed body is too large; send fewer events at once")
    if not inflater.eof or inflater.unused_data:
        raise BodyError(400, "malformed", f"the {coding} body is cut short or has more after its end; send it again")
    return plain


def _has_zlib_header(body: bytes) -> bool:
    """Tell `deflate` as the standard means it from the bare stream that some clients send."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
