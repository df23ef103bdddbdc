"""The 3T lists of open rooms and of the people in them: asked for, read, and written (ruling 35; facts 6).

The page names `sdkapi/v2/room/list` and `sdkapi/v2/room/participate/list` and says nothing of their parameters and
answers: the shapes are ours. What a real server spells otherwise is set in the source's `room_list.fields`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from northbound.dialects.avd.tables import MEDIA, TERMINAL_WORDS, TERMINALS
from northbound.dialects.base import from_ms, from_seconds, integer, read_object, to_ms, write_params
from northbound.model.app import RoomList, Source
from northbound.model.errors import DecodeError
from northbound.model.event import Media, Terminal
from northbound.model.room import Participant, PeoplePage, Room, RoomPage, Track
from northbound.model.wire import Request, Response

ROOMS_PATH: Final = "/sdkapi/v2/room/list"
PEOPLE_PATH: Final = "/sdkapi/v2/room/participate/list"
NO_ROOM: Final = 404  # `code` of a room that is not open, or not the caller's
PEOPLE_SHOWN: Final = 500  # people listed with their room; of a larger one all are in the list of its people
FIELDS: Final[Mapping[str, str]] = {
    "ask.rooms": ROOMS_PATH,
    "ask.people": PEOPLE_PATH,
    "ask.page": "page",
    "ask.limit": "limit",
    "ask.room": "room_id",
    "code": "code",
    "no_room": str(NO_ROOM),
    "message": "message",
    "total": "data.total",
    "list": "data.list",
    "room.id": "room_id",
    "room.opened_at": "start_time",
    "room.people": "participants",
    "room.count": "participant_count",
    "person.id": "user_id",
    "person.name": "user_name",
    "person.terminal": "endpoint_type",
    "person.joined_at": "join_time",
    "person.tracks": "streams",
    "track.id": "stream_id",
    "track.media": "stream_type",
}
_MEDIA_WORDS = {ours: theirs for theirs, ours in MEDIA.items()}


# --- written ---------------------------------------------------------------------------------------------------------


def listed(total: int, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a page of a list as it is answered."""
    return {"code": 0, "message": "ok", "data": {"total": total, "list": list(entries)}}


def room_words(room: Room) -> dict[str, Any]:
    """Return a room with its people, of a large one the first `PEOPLE_SHOWN`."""
    people = list(room.participants.values())
    words: dict[str, Any] = {"room_id": room.id}
    if room.opened_at is not None:
        words["start_time"] = to_ms(room.opened_at)
    words["participant_count"] = len(people)
    return words | {"participants": [person_words(one) for one in people[:PEOPLE_SHOWN]]}


def person_words(one: Participant) -> dict[str, Any]:
    """Return a participant; what is not known is left out."""
    words: dict[str, Any] = {"user_id": one.id}
    if one.name is not None:
        words["user_name"] = one.name
    terminal = None if one.terminal is None else TERMINAL_WORDS.get(one.terminal)
    if terminal is not None:
        words["endpoint_type"] = terminal
    words["join_time"] = to_ms(one.joined_at)
    streams = [
        {"stream_id": track.id, "stream_type": _MEDIA_WORDS[medium]}
        for track in one.tracks.values()
        for medium in track.media
    ]
    return words | {"streams": streams}


# --- asked -----------------------------------------------------------------------------------------------------------


def ask(room_list: RoomList, page: int, room_id: str | None = None) -> Request:
    """Return the request for a page of the rooms, or of the people in *room_id*."""
    fields = FIELDS | room_list.fields
    params = [(fields["ask.page"], str(page)), (fields["ask.limit"], str(room_list.page_size))]
    if room_id is not None:
        params.insert(0, (fields["ask.room"], room_id))
    headers: tuple[tuple[str, str], ...] = (("accept", "application/json"),)
    if room_list.key and room_list.key_in == "header":
        headers += ((room_list.key_name, room_list.key.decode("latin-1")),)
    elif room_list.key:
        params.append((room_list.key_name, room_list.key.decode("utf-8", "replace")))
    path = fields["ask.rooms" if room_id is None else "ask.people"]
    url = room_list.url.rstrip("/") + "/" + path.lstrip("/")
    if room_list.method == "GET":
        joint = "&" if urlsplit(url).query else "?"
        return Request(method="GET", url=f"{url}{joint}{write_params(params)}", headers=headers)
    form = ("content-type", "application/x-www-form-urlencoded")
    return Request(method="POST", url=url, headers=(*headers, form), body=write_params(params).encode())


# --- read ------------------------------------------------------------------------------------------------------------


def read_rooms(response: Response, source: Source, room_list: RoomList, taken_at: datetime) -> RoomPage:
    """Read a page of rooms; raise `DecodeError` unless it is one."""
    fields = FIELDS | room_list.fields
    answer = _answer(response, fields)
    _require_success(answer, fields, room_list)
    rooms: list[Room] = []
    cut: list[str] = []
    for entry in _entries(answer, fields["list"]):
        identity = _identity(entry, fields["room.id"])
        found = _found(entry, fields["room.people"])
        people = tuple(_people(found, fields, taken_at)) if isinstance(found, list) else ()
        count = integer(_found(entry, fields["room.count"]))
        if not isinstance(found, list) or (count is not None and count > len(people)):
            cut.append(identity)
        opened_at = _time(_found(entry, fields["room.opened_at"]))
        members = {one.id: one for one in people}
        room = Room(source_id=source.id, id=identity, open=True, opened_at=opened_at, participants=members)
        rooms.append(room)
    return RoomPage(rooms=tuple(rooms), total=integer(_found(answer, fields["total"])), cut=tuple(cut))


def read_people(response: Response, room_list: RoomList, taken_at: datetime) -> PeoplePage:
    """Read a page of the people in one room; raise `DecodeError` unless it is one."""
    fields = FIELDS | room_list.fields
    answer = _answer(response, fields)
    code = _found(answer, fields["code"])
    if code is not None and str(code) == fields["no_room"] and str(code) not in room_list.ok_codes:
        return PeoplePage(is_known=False)
    _require_success(answer, fields, room_list)
    people = tuple(_people(_entries(answer, fields["list"]), fields, taken_at))
    return PeoplePage(participants=people, total=integer(_found(answer, fields["total"])))


def _answer(response: Response, fields: Mapping[str, str]) -> Mapping[str, Any]:
    if not 200 <= response.status < 300:
        raise DecodeError(f"the list answers {response.status}; check its URL and key")
    return read_object(response.body)


def _require_success(answer: Mapping[str, Any], fields: Mapping[str, str], room_list: RoomList) -> None:
    code = _found(answer, fields["code"])
    if code is not None and str(code) not in room_list.ok_codes:
        said = str(_found(answer, fields["message"]) or "")[:200]
        raise DecodeError(f"the list answers code {str(code)[:40]} {said!a}; check its key")


def _entries(answer: Mapping[str, Any], path: str) -> list[Any]:
    """Return a list of the answer; where there is none the answer is another one than we think, never an empty list."""
    found = _found(answer, path)
    if not isinstance(found, list):
        raise DecodeError(f"the answer has no list at {path}; set room_list.fields to where it is")
    return found


def _people(entries: Sequence[Any], fields: Mapping[str, str], taken_at: datetime) -> Iterator[Participant]:
    for entry in entries:
        joined_at = _time(_found(entry, fields["person.joined_at"]))
        name = _found(entry, fields["person.name"])
        terminal = _found(entry, fields["person.terminal"])
        yield Participant(
            id=_identity(entry, fields["person.id"]),
            session_id="",
            joined_at=joined_at or taken_at,
            joined_at_known=joined_at is not None,
            name=str(name) if name else None,
            terminal=TERMINALS.get(str(terminal).lower(), Terminal.OTHER) if terminal else None,
            tracks=_tracks(_found(entry, fields["person.tracks"]), fields),
        )


def _tracks(entries: Any, fields: Mapping[str, str]) -> dict[str, Track]:
    media: dict[str, list[Media]] = {}
    for entry in entries if isinstance(entries, list) else ():
        medium = MEDIA.get(str(_found(entry, fields["track.media"])))
        media.setdefault(_identity(entry, fields["track.id"]), []).extend([medium] if medium else [])
    return {identity: Track(id=identity, media=tuple(dict.fromkeys(kinds))) for identity, kinds in media.items()}


def _identity(entry: Any, path: str) -> str:
    found = _found(entry, path)
    if not isinstance(found, str | int) or isinstance(found, bool) or found == "":
        raise DecodeError(f"an entry has no {path}; set room_list.fields to what names it")
    return str(found)


def _found(entry: Any, path: str) -> Any:
    """Return what is at a path of member names joined by dots, None where there is nothing."""
    for name in path.split("."):
        if not isinstance(entry, Mapping):
            return None
        entry = entry.get(name)
    return entry


def _time(value: Any) -> datetime | None:
    """Read Unix milliseconds, or seconds where the number is too small for them."""
    number = integer(value)
    if number is None:
        return None
    return from_ms(number) if number >= 10**11 else from_seconds(number)
