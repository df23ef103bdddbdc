"""The 3T lists as asked of us: `sdkapi/v2/room/list` and `sdkapi/v2/room/participate/list` (facts 6, ruling 35).

Parameters come in the query, a form or a JSON object, all read as one list. The answer's `code` is 0 or an error's
number, which is the HTTP status too, but for an unknown room: a right question, so 200.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from northbound.dialects.avd.listing import NO_ROOM, PEOPLE_PATH, ROOMS_PATH, listed, person_words, room_words
from northbound.dialects.avd.reading import read_request
from northbound.model.errors import DecodeError
from northbound.model.room import Participant, Room
from northbound.model.wire import Request, Response

__all__ = ["PEOPLE_PATH", "ROOMS_PATH"]
LIMIT: Final = 20
LIMIT_MOST: Final = 100
PAGE_MOST: Final = 10_000
ROOM_LONGEST: Final = 512
_NUMBER = re.compile(r"[0-9]{1,6}")


class ListError(Exception):
    """A refusal: the answer's `code`, a sentence that says what to do, and the HTTP status."""

    def __init__(self, code: int, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = code if status is None else status


class ListCall(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked: a page of the rooms, or of the people of one; `key` is the secret that came along."""

    key: str
    page: int
    limit: int
    room_id: str

    def __repr__(self) -> str:
        return f"ListCall(room_id={self.room_id!r}, page={self.page}, limit={self.limit})"

    @property
    def skip(self) -> int:
        """How many entries come before the page."""
        return (self.page - 1) * self.limit


def read_call(request: Request, key_name: str) -> ListCall:
    """Read what is asked; the key is the parameter or header *key_name*, or a Bearer token; raise `ListError`."""
    try:
        given = dict(read_request(request))
    except DecodeError as error:
        raise ListError(400, error.message) from None
    scheme, _, bearer = (request.header("authorization") or "").partition(" ")
    header = request.header(key_name) or request.header(key_name.replace("_", "-"))  # proxies drop underscores
    key = given.get(key_name) or header or (bearer.strip() if scheme.lower() == "bearer" else "")
    room_id = given.get("room_id", "")
    if len(room_id) > ROOM_LONGEST:
        raise ListError(400, f"room_id has more than {ROOM_LONGEST} characters")
    page = _number(given, "page", 1, PAGE_MOST)
    return ListCall(key=key, page=page, limit=_number(given, "limit", LIMIT, LIMIT_MOST), room_id=room_id)


def _number(given: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = given.get(name, "")
    if not text:
        return default
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= most:
        raise ListError(400, f"{name} is a whole number from 1 to {most}")
    return int(text)


def rooms_answer(total: int, rooms: list[Room]) -> Response:
    """Answer a page of rooms."""
    return Response.json(200, listed(total, [room_words(room) for room in rooms]))


def people_answer(rooms: list[Room], call: ListCall) -> Response:
    """Answer a page of the people in the rooms of one name, in order of their ids."""
    if not rooms:
        raise ListError(NO_ROOM, "there is no open room with this room_id", 200)
    people: dict[str, Participant] = {}
    for room in rooms:
        people = room.participants | people
    names = sorted(people)[call.skip : call.skip + call.limit]
    return Response.json(200, listed(len(people), [person_words(people[name]) for name in names]))


def refusal(error: ListError) -> Response:
    """Answer what is refused; always the same shape."""
    content: dict[str, Any] = {"code": error.code, "message": error.message, "data": {"total": 0, "list": []}}
    return Response.json(error.status, content)
