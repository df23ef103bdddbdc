"""Pages of lists, problems, and the queries all lists share."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from northbound.model.errors import InvalidInput

T = TypeVar("T")

NEWEST = 2**62  # above every number
CURSOR_MAX = 4_096  # characters; the longest holds a room's key
Limit = Annotated[int, msgspec.Meta(ge=1, le=500, description="How many at most")]
Cursor = Annotated[str, msgspec.Meta(max_length=CURSOR_MAX, description="next_cursor of the page before")]


class Nothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No members."""


class Paging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of a list."""

    limit: Limit = 50
    cursor: Cursor | None = None


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A part of a list; `next_cursor` is null on the last."""

    items: list[T]
    next_cursor: str | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a call was refused (RFC 9457); `code` is stable, `detail` says what to do, `field` names the culprit."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None


def write_cursor(position: Any) -> str:
    """Return the opaque text of a place in a list."""
    return urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def read_cursor(cursor: str | None, kind: type[T], first: T) -> T:
    """Return the place that *cursor* names, *first* without one; raise `InvalidInput`."""
    if cursor is None:
        return first
    try:
        return msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=kind)
    except (Base64Error, msgspec.MsgspecError, ValueError):
        raise InvalidInput("cursor is not one that this list gave; leave it out to start", field="cursor") from None


def read_number(cursor: str | None, first: int) -> int:
    """Return the number that *cursor* names, one that a database can hold."""
    number = read_cursor(cursor, int, first)
    if not 0 <= number <= NEWEST:
        raise InvalidInput("cursor is not one that this list gave; leave it out to start", field="cursor")
    return number


def page_of(items: list[T], limit: int, position: Any) -> Page[T]:
    """Return a page; a full one names *position*, the place of its last item."""
    return Page(items=items, next_cursor=write_cursor(position) if items and len(items) >= limit else None)
