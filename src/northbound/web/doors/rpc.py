"""The door at `/`: Aliyun's RPC calls, verified, throttled, carried out and answered in the vendor's own shape."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from northbound.doors.rpc import (
    RpcCall,
    RpcError,
    answer,
    check_signature,
    check_time,
    is_call,
    read_call,
    refusal,
    wants_xml,
)
from northbound.doors.throttle import Throttle
from northbound.model.account import Account
from northbound.model.errors import Conflict, HubError, InvalidInput, NotFound, Overloaded, StoreFailed
from northbound.model.wire import Request, Response
from northbound.web.call import Hub
from northbound.web.cycle import where
from northbound.web.doors import aliyun_live, aliyun_rtc, bridge
from northbound.web.doors.calling import Action, Caller, key_of, new_request_id
from northbound.web.doors.nonces import use_nonce

METHODS: Final = ("GET", "POST")
ANY_METHOD: Final = (*METHODS, "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE")  # each is answered, most refused
BODY_BYTES: Final = 4 * 1024 * 1024  # a batch of events, percent-encoded
ACTIONS: Final[dict[tuple[str, str], Action]] = {
    (action.version, action.name): action for action in (*aliyun_rtc.ACTIONS, *aliyun_live.ACTIONS, *bridge.ACTIONS)
}
VERSIONS: Final = frozenset(version for version, _ in ACTIONS)
NAMES: Final = frozenset(name for _, name in ACTIONS)
# What our own floors refuse, in the words that the vendor documents.
CODES: Final[dict[type[HubError], tuple[str, int]]] = {
    NotFound: ("ResourceNotExist", 404),
    Conflict: ("ConcurrentModification", 409),
    InvalidInput: ("InputInvalid", 400),
    Overloaded: ("ServiceUnavailable", 503),
    StoreFailed: ("ServiceUnavailable", 503),
}
log = structlog.get_logger()
TellOthers = Callable[[], Awaitable[None]]


class RpcDoor:
    """Answers calls; remembers how often each account called what."""

    def __init__(self, hub: Hub, tell_others: TellOthers) -> None:
        self._hub = hub
        self._tell_others = tell_others
        self._throttle = Throttle()

    async def take(self, request: Request) -> Response:
        """Answer one call, whatever becomes of it; never with a stack trace."""
        request_id = new_request_id(self._hub)
        action, call = "unknown", None
        try:
            if request.method not in METHODS:
                raise RpcError("UnsupportedHTTPMethod", "This HTTP method is not supported; use GET or POST.", 405)
            call = read_call(request)
            action = call.action if call.action in NAMES else action
            response = await self._answered(request, call, request_id)
        except RpcError as error:
            response = self._refusal(error, request, call, request_id)
        except HubError as error:
            code, status = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), ("InternalError", 500))
            response = self._refusal(RpcError(code, error.message, status), request, call, request_id)
        except Exception as error:  # noqa: BLE001 - the top of a call: logged without its words, which may hold a secret
            log.error("rpc.failed", action=action, error=type(error).__name__, at=where(error))  # noqa: TRY400
            failed = RpcError("InternalError", "This is our fault; the log says where.", 500)
            response = self._refusal(failed, request, call, request_id)
        self._hub.count(f"rpc.{action}", response.status)
        return response

    def too_large(self, request: Request) -> Response:
        """Refuse a call whose body is not read to its end; *request* is without it."""
        refused = RpcError("InvalidParameter", f"the body is larger than {BODY_BYTES} bytes", 413)
        return self._refusal(refused, request, None, new_request_id(self._hub))

    async def _answered(self, request: Request, call: RpcCall, request_id: str) -> Response:
        action = _action(call)
        account = self._account(request, call)
        if not self._throttle.allows(account.id, call.action, action.allowance, self._hub.clock.monotonic()):
            raise RpcError("Throttling.User", "Request was denied due to user flow control.")
        caller = Caller(
            hub=self._hub,
            account=account,
            call=call,
            request=request,
            request_id=request_id,
            now=self._hub.clock.now(),
        )
        content = action.success(await action.run(caller))
        if action.changes:
            await self._tell_others()
        return answer(call, request_id, content)

    def _account(self, request: Request, call: RpcCall) -> Account:
        """Return whose call it is; raise unless time, signature and nonce hold."""
        moment = check_time(call, self._hub.clock.now())
        key = key_of(self._hub, call.access_key_id)
        check_signature(request, call, key.secret)
        use_nonce(self._hub, key, call.nonce, moment)
        return self._hub.objects.get(Account, key.account_id)[1]

    def _refusal(self, error: RpcError, request: Request, call: RpcCall | None, request_id: str) -> Response:
        host = (request.header("host") or "").partition(":")[0][:253]
        refused = refusal(error, request_id, host, xml=call.wants_xml if call else wants_xml(request))
        if error.status != 405:
            return refused
        return msgspec.structs.replace(refused, headers=(*refused.headers, ("allow", ", ".join(METHODS))))


def _action(call: RpcCall) -> Action:
    action = ACTIONS.get((call.version, call.action))
    if action is None and call.version not in VERSIONS:
        raise RpcError("NoSuchVersion", "Specified parameter Version is not valid.")
    if action is None:
        raise RpcError("InvalidApi.NotFound", "Specified api is not found, please check your url and method.", 404)
    return action


# --- on the way in and out -------------------------------------------------------------------------------------------


def door_at_root(
    hub: Hub, front: Callable[[HttpRequest], Awaitable[HttpResponse]], tell_others: TellOthers
) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """Return what answers at `/`: calls are carried out, everybody else gets the page for people."""
    door = RpcDoor(hub, tell_others)

    async def answer_at_root(request: HttpRequest) -> HttpResponse:
        heard = await heard_request(request, BODY_BYTES)
        if heard is not None and not is_call(heard):
            if request.method not in (*METHODS, "HEAD"):
                raise HTTPException(405, headers={"Allow": ", ".join((*METHODS, "HEAD"))})
            return await front(request)
        if heard is None:
            return written(door.too_large(_without_body(request)))
        return written(await door.take(heard))

    return answer_at_root


async def heard_request(request: HttpRequest, limit: int) -> Request | None:
    """Return a request as it was on the wire, None when its body is over *limit* bytes."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            return None
    return msgspec.structs.replace(_without_body(request), body=bytes(body))


def _without_body(request: HttpRequest) -> Request:
    scope = request.scope
    host = request.headers.get("host", "")
    query = scope["query_string"].decode("latin-1")
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    url = f"{scope['scheme']}://{host}{path}" + (f"?{query}" if query else "")
    return Request(method=request.method, url=url, headers=headers)


def written(response: Response) -> HttpResponse:
    """Return our response in the server's words."""
    made = HttpResponse(response.body, status_code=response.status)
    for name, value in response.headers:
        made.headers[name] = value
    made.headers["cache-control"] = "no-store"
    made.headers["x-content-type-options"] = "nosniff"
    return made
