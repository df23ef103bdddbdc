"""One HTTP exchange exactly as it was on the wire, and what its signature proved."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import msgspec

Headers = tuple[tuple[str, str], ...]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request; `url` is absolute, as the sender was told to call it; header values are latin-1 text."""

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Return the first value of header *name* in any letter case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters; empty when absent."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    @property
    def query(self) -> str:
        """The raw query text after the question mark, still percent-encoded."""
        return self.url.partition("#")[0].partition("?")[2]

    def adding(self, *headers: tuple[str, str]) -> Self:
        """Return a copy with *headers* set, replacing same-named ones."""
        names = {name.lower() for name, _ in headers}
        kept = [pair for pair in self.headers if pair[0].lower() not in names]
        return msgspec.structs.replace(self, headers=(*kept, *headers))


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP response, whole."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    @classmethod
    def json(cls, status: int, content: Any) -> Self:
        """Return a JSON response holding *content*."""
        return cls(
            status=status,
            headers=(("content-type", "application/json; charset=utf-8"),),
            body=msgspec.json.encode(content),
        )

    @classmethod
    def text(cls, status: int, content: str) -> Self:
        """Return a plain-text response."""
        return cls(status=status, headers=(("content-type", "text/plain; charset=utf-8"),), body=content.encode())

    def header(self, name: str) -> str | None:
        """Return the first value of header *name* in any letter case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


class Proof(StrEnum):
    """What a valid signature proved about a request; kept on every event.

    none: nothing is signed. sender: the caller knows the key, the body is not covered ("body unsigned").
    content: the body or its values are covered, without a time. fresh: content and a recent time.
    """

    NONE = "none"
    SENDER = "sender"
    CONTENT = "content"
    FRESH = "fresh"


class KeyKind(StrEnum):
    """What a key's secret is: shared bytes, an RSA private key (PEM), a trusted certificate (PEM), a plain token."""

    SHARED = "shared"
    RSA = "rsa"
    CERTIFICATE = "certificate"
    TOKEN = "token"  # noqa: S105 - a kind, not a secret


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One secret with its validity; of several, sending uses the newest valid one, intake accepts every valid one."""

    id: str = ""
    kind: KeyKind = KeyKind.SHARED
    secret: bytes = b""
    url: str | None = None  # where the matching certificate is published (EventBridge targets)
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def __repr__(self) -> str:
        return f"Key(id={self.id!r}, kind={self.kind.value!r}, secret=***)"

    def is_valid(self, now: datetime) -> bool:
        """Tell whether the key may be used at *now*."""
        after_start = self.valid_from is None or self.valid_from <= now
        return after_start and (self.valid_until is None or now < self.valid_until)


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """A verification's answer "fetch this first": a certificate, through the guarded sender; then ask again."""

    url: str
