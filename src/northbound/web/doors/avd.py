"""The 3T lists of open rooms and of the people in them, served from the projection (ruling 35)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from northbound.doors.avd import (
    PEOPLE_PATH,
    ROOMS_PATH,
    ListCall,
    ListError,
    people_answer,
    read_call,
    refusal,
    rooms_answer,
)
from northbound.doors.throttle import Allowance, Throttle
from northbound.model.app import Source
from northbound.model.errors import HubError, TooManyTries, Unauthorized
from northbound.model.wire import Response
from northbound.web.address import Networks, client_address
from northbound.web.call import PAGE, Hub
from northbound.web.cycle import where
from northbound.web.doors.rpc import heard_request, written

BODY_BYTES: Final = 64 * 1024
ALLOWANCE: Final = Allowance(600, 60)  # of one key: ten a second is more than any repair needs
NO_KEY: Final = "the key is missing or not known; send an API key that is limited to an app"
log = structlog.get_logger()
Answering = Callable[[ListCall, tuple[str, ...]], Awaitable[Response]]


class RoomLists:
    """Answers both lists; each key sees the rooms of its own app's sources, and of no other's."""

    def __init__(self, hub: Hub, trusted: Networks) -> None:
        self._hub = hub
        self._trusted = trusted
        self._throttle = Throttle()

    def routes(self) -> list[Route]:
        """Return where they are."""
        found = ((ROOMS_PATH, "list_rooms", self._rooms), (PEOPLE_PATH, "list_people", self._people))
        return [
            Route(path, self._at(name, answering), methods=["GET", "POST"], name=name)
            for path, name, answering in found
        ]

    def _at(self, name: str, answering: Answering) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
        async def answer(request: HttpRequest) -> HttpResponse:
            try:
                response = await self._answered(request, answering)
            except ListError as error:
                response = refusal(error)
            except HubError as error:  # too slow or not there: to be asked again
                response = refusal(ListError(503, error.message))
            except Exception as error:  # noqa: BLE001 - the top of a call: logged without its words, which may hold a secret
                log.error("lists.failed", list=name, error=type(error).__name__, at=where(error))  # noqa: TRY400
                response = refusal(ListError(500, "this is our fault; the log says where"))
            self._hub.count(f"avd.{name}", response.status)
            return written(response)

        return answer

    async def _answered(self, request: HttpRequest, answering: Answering) -> Response:
        heard = await heard_request(request, BODY_BYTES)
        if heard is None:
            raise ListError(413, f"the body is larger than {BODY_BYTES} bytes")
        call = read_call(heard, self._hub.config.room_list_key)
        return await answering(call, self._sources(call, client_address(request.scope, self._trusted)))

    def _sources(self, call: ListCall, address: str) -> tuple[str, ...]:
        """Return the sources whose rooms the key may list."""
        try:
            key = self._hub.access.key_of(f"Bearer {call.key}" if call.key else None, address)
        except Unauthorized:
            raise ListError(401, NO_KEY) from None
        except TooManyTries as error:
            raise ListError(429, error.message) from None
        if key.app_id is None:
            raise ListError(403, "this key is for all apps; make one for the app whose rooms are to be listed")
        if not self._throttle.allows(key.id, "list", ALLOWANCE, self._hub.clock.monotonic()):
            raise ListError(429, "too many calls; wait a minute")
        found: list[str] = []
        while page := self._hub.objects.find(Source, after=found[-1] if found else "", app_id=key.app_id, limit=PAGE):
            found += [one.id for _, one in page]
        return tuple(found)

    async def _rooms(self, call: ListCall, sources: tuple[str, ...]) -> Response:
        total = await asyncio.to_thread(self._hub.figures.open_rooms, sources)
        rooms = await asyncio.to_thread(self._hub.rooms.open_page, sources, call.skip, call.limit)
        return rooms_answer(total, rooms)

    async def _people(self, call: ListCall, sources: tuple[str, ...]) -> Response:
        if not call.room_id:
            raise ListError(400, "room_id is missing")
        return people_answer(await asyncio.to_thread(self._hub.rooms.open_named, sources, call.room_id), call)
