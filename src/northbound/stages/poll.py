"""Ask a vendor for its own list of rooms, whole or not at all (rulings 34, 35; R6): a partial one proves nothing."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from northbound.dialects.base import SnapshotDialect
from northbound.model.app import RoomList, Source
from northbound.model.delivery import Failure
from northbound.model.errors import DecodeError, InvalidInput, PollFailed
from northbound.model.room import Participant, Room, Snapshot
from northbound.model.wire import Request, Response
from northbound.ports import Clock, Sender

DEADLINE: Final = timedelta(seconds=10)  # of the whole look, all pages together
ROOMS_MOST: Final = 10_000
PEOPLE_MOST: Final = 20_000  # in one room
PAGES_MOST: Final = 1_000


class Poll:
    """One look at one source's list; the sender caps each answer's size, the deadline is for all of them."""

    def __init__(
        self, source: Source, dialect: SnapshotDialect, sender: Sender, clock: Clock, deadline: timedelta = DEADLINE
    ) -> None:
        if source.room_list is None:
            raise InvalidInput(f"source {source.id!r} has no room_list to ask; set its URL", field="room_list")
        self._source = source
        self._room_list: RoomList = source.room_list
        self._dialect = dialect
        self._sender = sender
        self._clock = clock
        self._until = clock.monotonic() + deadline.total_seconds()
        self._pages = 0

    async def rooms(self) -> Snapshot:
        """Return all open rooms with everybody in them; raise `PollFailed` when any part is missing."""
        taken_at = self._clock.now()
        found: dict[str, Room] = {}
        cut: list[str] = []
        page = 1
        while True:
            answer = await self._ask(self._dialect.ask_rooms(self._room_list, page))
            read = self._read(self._dialect.read_rooms, answer, self._source, self._room_list, taken_at)
            new = {room.id: room for room in read.rooms if room.id not in found}
            found |= new
            cut += [one for one in read.cut if one in new]
            if len(found) > ROOMS_MOST:
                raise PollFailed(f"the list has more than {ROOMS_MOST} rooms")
            if _is_last(len(read.rooms), len(new), len(found), read.total, self._room_list):
                break
            page += 1
        for room_id in cut:
            people = await self.people(room_id, taken_at)
            found[room_id] = replace(found[room_id], participants=people or {})
        return Snapshot(source_id=self._source.id, taken_at=taken_at, rooms=tuple(found.values()))

    async def one_room(self, room_id: str) -> Snapshot:
        """Return one room with everybody in it, no room when it is not open for the vendor."""
        taken_at = self._clock.now()
        people = await self.people(room_id, taken_at)
        room = Room(source_id=self._source.id, id=room_id, open=True, participants=people or {})
        rooms = () if people is None else (room,)
        return Snapshot(source_id=self._source.id, taken_at=taken_at, rooms=rooms)

    async def people(self, room_id: str, taken_at: datetime) -> dict[str, Participant] | None:
        """Return everybody in a room by id, None when it is not open."""
        found: dict[str, Participant] = {}
        page = 1
        while True:
            answer = await self._ask(self._dialect.ask_people(self._room_list, room_id, page))
            read = self._read(self._dialect.read_people, answer, self._room_list, taken_at)
            if not read.is_known:
                return None
            new = {one.id: one for one in read.participants if one.id not in found}
            found |= new
            if len(found) > PEOPLE_MOST:
                raise PollFailed(f"the room has more than {PEOPLE_MOST} people")
            if _is_last(len(read.participants), len(new), len(found), read.total, self._room_list):
                return found
            page += 1

    async def _ask(self, request: Request) -> Response:
        self._pages += 1
        left = self._until - self._clock.monotonic()
        if left <= 0 or self._pages > PAGES_MOST:
            raise PollFailed("the list was not whole in time; ask for larger pages")
        exchange = await self._sender.send(request, deadline=timedelta(seconds=left))
        if isinstance(exchange.outcome, Failure):
            raise PollFailed(f"the list cannot be asked for: {exchange.outcome.message}")
        return exchange.outcome

    def _read(self, read: Callable[..., Any], *given: Any) -> Any:
        try:
            return read(*given)
        except DecodeError as error:
            raise PollFailed(error.message) from None


def _is_last(read: int, new: int, found: int, total: int | None, room_list: RoomList) -> bool:
    """Tell whether a list is whole; raise `PollFailed` when it ended before its own total."""
    if total is not None and found >= total:
        return True
    if new and (read >= room_list.page_size or total is not None):
        return False
    if total is not None:
        raise PollFailed(f"the list says {total} entries and gives {found}; it is not whole")
    return True
