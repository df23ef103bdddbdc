"""The door at `/openapi/*`: EventBridge's data plane, verified, throttled, carried out, answered in its own shape."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from northbound.doors.bridge import BATCH_BYTES
from northbound.doors.eventbridge import (
    PlaneCall,
    answer,
    check_signature,
    check_time,
    read_call,
    refusal,
)
from northbound.doors.rpc import RpcError
from northbound.doors.throttle import Throttle
from northbound.model.account import Account
from northbound.model.errors import HubError
from northbound.model.wire import Proof, Request, Response
from northbound.web.address import Networks, client_address
from northbound.web.call import Hub
from northbound.web.cycle import where
from northbound.web.doors.calling import key_of, new_request_id
from northbound.web.doors.customer import Customer
from northbound.web.doors.nonces import use_nonce
from northbound.web.doors.plane_actions import ACTIONS, PlaneCaller
from northbound.web.doors.rpc import CODES, heard_request, written

BODY_BYTES: Final = 2 * BATCH_BYTES  # above the limit of a batch, so that its refusal is the documented one
log = structlog.get_logger()


class PlaneDoor:
    """Answers calls; remembers how often each account called what."""

    def __init__(self, hub: Hub, tell_others: Callable[[], Awaitable[None]]) -> None:
        self._hub = hub
        self._tell_others = tell_others
        self._throttle = Throttle()

    async def take(self, request: Request, address: str) -> Response:
        """Answer one call, whatever becomes of it; never with a stack trace."""
        request_id = new_request_id(self._hub)
        action = "unknown"
        try:
            call = read_call(request)
            action = call.action if call.action in ACTIONS else action
            response = await self._answered(request, call, request_id, address)
        except RpcError as error:
            response = refusal(error, request_id)
        except HubError as error:
            code, status = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), ("InternalError", 500))
            response = refusal(RpcError(code, error.message, status), request_id)
        except Exception as error:  # noqa: BLE001 - the top of a call: logged without its words, which may hold a secret
            log.error("plane.failed", action=action, error=type(error).__name__, at=where(error))  # noqa: TRY400
            response = refusal(RpcError("InternalError", "This is our fault; the log says where.", 500), request_id)
        self._hub.count(f"openapi.{action}", response.status)
        return response

    async def _answered(self, request: Request, call: PlaneCall, request_id: str, address: str) -> Response:
        account, proof = self._verified(request, call)
        action = ACTIONS.get(call.action)
        if action is None:
            raise RpcError("InvalidApi.NotFound", "Specified api is not found, please check the path.", 404)
        if not self._throttle.allows(account.id, call.action, action.allowance, self._hub.clock.monotonic()):
            raise RpcError("Throttling.User", "Request was denied due to user flow control.")
        by = Customer(hub=self._hub, account=account, who=call.access_key_id, now=self._hub.clock.now())
        content = await action.run(PlaneCaller(by=by, request=request, proof=proof, address=address))
        if action.changes:
            await self._tell_others()
        return answer(request_id, account.id, content)

    def _verified(self, request: Request, call: PlaneCall) -> tuple[Account, Proof]:
        """Return whose call it is and what that proves; raise unless time, signature and nonce hold."""
        check_time(call, self._hub.clock.now())
        key = key_of(self._hub, call.access_key_id)
        proof = check_signature(request, call, key.secret)
        use_nonce(self._hub, key, call.nonce, call.date)
        return self._hub.objects.get(Account, key.account_id)[1], proof

    def too_large(self) -> Response:
        """Refuse a call whose body is not read to its end."""
        refused = RpcError("EventSizeExceed", f"a call has at most {BATCH_BYTES} bytes; send fewer events at once", 409)
        return refusal(refused, new_request_id(self._hub))


def door_at_plane(
    hub: Hub, trusted: Networks, tell_others: Callable[[], Awaitable[None]]
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Return what answers below `/openapi/`."""
    door = PlaneDoor(hub, tell_others)

    async def answer_call(request: HttpRequest) -> HttpResponse:
        heard = await heard_request(request, BODY_BYTES)
        if heard is None:
            return written(door.too_large())
        return written(await door.take(heard, client_address(request.scope, trusted)))

    return answer_call
