"""Rooms, people and recordings in the words of RTC 2018-01-11's Describe actions (facts 1.1; ruling 24)."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from northbound.doors.parameters import Parameters, invalid
from northbound.doors.subscriptions import in_utc
from northbound.model.app import App
from northbound.model.event import File, Role
from northbound.model.room import Participant, Recording, Room

PAGE: Final = 10  # the pages' default
PAGE_MOST: Final = 100  # ours: they name none
NUMBER_MOST: Final = 1_000_000
COMMUNICATION, INTERACTIVE_LIVE = 1, 2  # ChannelProfile
USABLE: Final = 1  # an app's Status; 2 and 3 are stopped by its owner or for debt, which no app here is
ORDERS: Final = ("desc", "asc")

One = TypeVar("One")


class Paged(msgspec.Struct, frozen=True):
    """Which page of how many is asked for."""

    number: int
    size: int

    @property
    def skip(self) -> int:
        """How many come before it."""
        return (self.number - 1) * self.size

    def of(self, everything: Sequence[One]) -> Sequence[One]:
        """Return the page's part."""
        return everything[self.skip : self.skip + self.size]

    def totals(self, count: int) -> dict[str, int]:
        """Return how many there are, and how many pages that makes."""
        return {"TotalNum": count, "TotalPage": -(-count // self.size)}


def page_asked(given: Parameters, number: str) -> Paged:
    """Return the page asked for; the number's parameter is PageNo or PageNum."""
    return Paged(
        given.integer(number, least=1, most=NUMBER_MOST, default=1),
        given.integer("PageSize", least=1, most=PAGE_MOST, default=PAGE),
    )


def is_ascending(given: Parameters, name: str) -> bool:
    """Tell whether the oldest come first; without the parameter the newest do."""
    order = given.text(name, default=ORDERS[0]).lower()
    if order not in ORDERS:
        raise invalid(name, f"is {' or '.join(ORDERS)}")
    return order == "asc"


def moment_asked(given: Parameters, name: str) -> datetime | None:
    """Return a time in UTC, None where it is left out."""
    return moment_needed(given, name) if given.text(name, default="") else None


def moment_needed(given: Parameters, name: str) -> datetime:
    """Return a time in UTC that is mandatory."""
    try:
        return datetime.strptime(given.text(name), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise invalid(name, "is written like 2026-01-02T03:04:05Z, in UTC") from None


def area_of(region: str) -> str:
    """Return a region's service area: `cn` of `cn-hangzhou`."""
    return region.partition("-")[0].lower()


# --- who is in a channel ---------------------------------------------------------------------------------------------


def present_in(rooms: Iterable[Room]) -> list[Participant]:
    """Return who is in a channel, by when they joined; several sources may tell of one channel."""
    found: dict[str, Participant] = {}
    for room in rooms:
        for one in room.participants.values() if room.open else ():
            found.setdefault(one.id, one)
    return sorted(found.values(), key=lambda one: (one.joined_at, one.id))


def channel_users(rooms: Sequence[Room], now: datetime) -> dict[str, Any]:
    """Answer who is in a channel. A channel with an audience is an interactive broadcast, any other a conference."""
    people = present_in(rooms)
    audience = [one.id for one in people if one.role is Role.AUDIENCE]
    others = [one.id for one in people if one.role is not Role.AUDIENCE]
    is_live = bool(audience)
    return {
        "IsChannelExist": any(room.open for room in rooms),
        "ChannelProfile": INTERACTIVE_LIVE if is_live else COMMUNICATION,
        "CommTotalNum": 0 if is_live else len(others),
        "UserList": [] if is_live else others,
        "InteractiveUserNum": len(others) if is_live else 0,
        "InteractiveUserList": others if is_live else [],
        "LiveUserNum": len(audience),
        "LiveUserList": audience,
        "Timestamp": int(now.timestamp()),
    }


def session_of(room: Room, region: str) -> dict[str, Any]:
    """Answer one session: an opening of a channel, to its close. Who was there in earlier ones does not count."""
    since = room.opened_at
    left = (
        name
        for name, one in room.departed.items()
        if since is not None and one.left_at is not None and one.left_at >= since
    )
    return {
        "ChannelId": room.id,
        "StartTime": in_utc(room.opened_at),
        "EndTime": in_utc(room.closed_at),
        "TotalUserCnt": len({*room.participants, *left}),
        "CallArea": {"CallArea": [area_of(region)]},
    }


# --- recordings ------------------------------------------------------------------------------------------------------


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which files are wanted: of some recordings (none: all), begun in a time."""

    task_ids: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None


def record_files(app_id: str, rooms: Iterable[Room], span: Span) -> list[dict[str, Any]]:
    """Answer the files of recordings, the newest first."""
    found = [
        (_begun(file, recording), _told(app_id, room, recording, file))
        for room in rooms
        for recording in room.recordings.values()
        if not span.task_ids or recording.id in span.task_ids
        for file in recording.files
    ]
    wanted = [(begun, words) for begun, words in found if _is_within(begun, span)]
    oldest = datetime.min.replace(tzinfo=UTC)
    return [words for _, words in sorted(wanted, key=lambda pair: pair[0] or oldest, reverse=True)]


def _begun(file: File, recording: Recording) -> datetime | None:
    return file.started_at or recording.started_at


def _is_within(begun: datetime | None, span: Span) -> bool:
    if span.since is None and span.until is None:
        return True
    if begun is None:
        return False
    return (span.since is None or begun >= span.since) and (span.until is None or begun < span.until)


def _told(app_id: str, room: Room, recording: Recording, file: File) -> dict[str, Any]:
    begun, ended = _begun(file, recording), recording.stopped_at
    length = timedelta(milliseconds=file.duration_ms) if file.duration_ms is not None else None
    if length is None and begun is not None and ended is not None:
        length = ended - begun
    if begun is not None and length is not None:
        ended = begun + length
    return {
        "AppId": app_id,
        "ChannelId": room.id,
        "TaskId": recording.id,
        "Url": file.url or file.name,
        "Duration": None if length is None else length.total_seconds(),
        "StartTime": in_utc(begun),
        "StopTime": in_utc(ended),
        "CreateTime": in_utc(recording.stopped_at or ended),
    }


# --- apps ------------------------------------------------------------------------------------------------------------


def app_words(app: App) -> dict[str, Any]:
    """Answer one app."""
    return {
        "AppId": app.id,
        "AppName": app.name,
        "CreateTime": in_utc(app.created_at),
        "ServiceAreas": {"ServiceArea": [area_of(app.region).upper()]},
        "Status": USABLE,
    }
