"""Say why a call was refused: the HTTP status of every error, as problem+json (RFC 9457)."""

import re
from typing import Any

import msgspec

from northbound.model.errors import (
    BlockedAddress,
    Conflict,
    DecodeError,
    Forbidden,
    GrantMissing,
    HealthTestFailed,
    HubError,
    InvalidInput,
    NotFound,
    Overloaded,
    PollFailed,
    SignatureError,
    Stale,
    StoreFailed,
    TooLarge,
    TooManyTries,
    Unauthorized,
    Unconditional,
)
from northbound.web.choices import choices
from northbound.web.shapes.pages import Problem

MEDIA_TYPE = "application/problem+json"

STATUSES: dict[type[HubError], tuple[int, str]] = {  # subclasses before their base
    DecodeError: (400, "The request is not well-formed"),
    Unauthorized: (401, "No valid key"),
    GrantMissing: (403, "A grant is missing"),
    Forbidden: (403, "Not allowed"),
    SignatureError: (403, "The signature is refused"),
    NotFound: (404, "Not found"),
    Stale: (412, "Changed meanwhile"),
    Conflict: (409, "Conflict"),
    PollFailed: (502, "The vendor's list cannot be had"),
    BlockedAddress: (422, "The address is blocked"),
    HealthTestFailed: (422, "The health test failed"),
    TooLarge: (413, "Too large"),
    Unconditional: (428, "If-Match is missing"),
    InvalidInput: (422, "A value is refused"),
    TooManyTries: (429, "Too many tries"),
    Overloaded: (503, "Too busy"),
    StoreFailed: (503, "Not available"),
}
UNEXPECTED = (500, "Internal error")

_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_PLACE = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`")


def problem(status: int, title: str, detail: str, code: str, field: str | None = None) -> Problem:
    """Return a problem; its type is a name, since there is no page to point to on an air-gapped site."""
    return Problem(
        type=f"urn:northbound:problem:{code}", title=title, status=status, detail=detail, code=code, field=field
    )


def problem_of(error: HubError) -> Problem:
    """Return the problem that *error* is to a caller."""
    status, title = next((known for kind, known in STATUSES.items() if isinstance(error, kind)), UNEXPECTED)
    return problem(status, title, error.message, error.code, error.field)


def refused_value(error: msgspec.ValidationError, where: str, kind: Any) -> InvalidInput:
    """Return what is wrong with a body or query of *kind*, naming the member and, of a list of values, all."""
    words = str(error)
    place = _PLACE.search(words)
    base = place[1] if place else ""
    named = _UNKNOWN.search(words) or _MISSING.search(words)
    field = ".".join(part for part in (base, named[1] if named else "") if part) or None
    reason = _PLACE.sub("", words)
    if reason.startswith("Invalid enum value"):
        reason += f"; it is one of: {', '.join(choices(kind, base))}"
    return InvalidInput(f"{where}: {reason}" + (f" ({field})" if field else ""), field=field)
