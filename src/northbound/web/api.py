"""The API as an ASGI application, built from the table of operations: keys, bodies, problems, in one place."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from northbound.dialects.base import read_json
from northbound.model.app import ApiKey
from northbound.model.errors import (
    Conflict,
    DecodeError,
    Forbidden,
    HubError,
    InvalidInput,
    NotFound,
    Overloaded,
    TooLarge,
)
from northbound.web.address import Networks, client_address
from northbound.web.call import ANYBODY, Answer, Call, Hub
from northbound.web.cycle import where
from northbound.web.doors.avd import RoomLists
from northbound.web.doors.plane import door_at_plane
from northbound.web.doors.rpc import ANY_METHOD, door_at_root
from northbound.web.operations import OPERATIONS, Operation, Role
from northbound.web.problems import MEDIA_TYPE, UNEXPECTED, problem, problem_of, refused_value
from northbound.web.shapes.pages import Problem

BODY_BYTES = 1024 * 1024
ONCE_KEY_LENGTH = 200
log = structlog.get_logger()

_WRONG_PATH = {404: ("Not found", "not_found", "there is nothing here; the paths are in /api/v1/openapi.json")}
_WRONG_PATH[405] = ("Method not allowed", "method_not_allowed", "this path takes other methods; see Allow")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_ALWAYS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def make_api(hub: Hub, *, trusted: Networks = ()) -> Starlette:
    """Return the application; *trusted* are the proxies whose forwarding header counts (ruling 7)."""

    async def tell_others() -> None:
        await _tell_others(hub)

    routes = [
        Route("/", door_at_root(hub, _endpoint(one, hub, trusted), tell_others), methods=ANY_METHOD, name=one.id)
        if one.path == "/"
        else Route(_pattern(one.path), _endpoint(one, hub, trusted), methods=[one.method], name=one.id)
        for one in OPERATIONS
    ]
    plane = door_at_plane(hub, trusted, tell_others)
    routes.append(Route("/openapi/{action:path}", plane, methods=ANY_METHOD, name="openapi"))
    routes += RoomLists(hub, trusted).routes()
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_route})
    app.router.redirect_slashes = False  # a redirect would be built from what the client says in Host
    return app


def _pattern(path: str) -> str:
    """Return a path as the router reads it: a room's key has slashes of its own."""
    return path.replace("{key}", "{key:path}")


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    title, code, detail = _WRONG_PATH.get(status, _WRONG_PATH[404])
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return _refusal(problem(status, title, detail, code), headers)


def _endpoint(operation: Operation, hub: Hub, trusted: Networks) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        response = await _answered(operation, hub, request, client_address(request.scope, trusted))
        hub.count(operation.id, response.status_code)
        if request.method == "HEAD" and isinstance(response, StreamingResponse):
            return Response(status_code=response.status_code, media_type=response.media_type)
        return response

    return answer


async def _answered(operation: Operation, hub: Hub, request: Request, address: str) -> Response:
    try:
        key = _caller(operation, hub, request, address)
        call = await _read_call(operation, hub, request, key)
        answer = await _again(operation, call) or await operation.run(call)
        if operation.changes:
            await _tell_others(hub)
        return _response(operation, answer)
    except HubError as error:
        return _refusal(problem_of(error), _headers_of(error))
    except ClientDisconnect:
        return Response(status_code=400)
    except Exception as error:  # noqa: BLE001 - the top of a call: logged without its words, which may hold a secret
        log.error("api.failed", operation=operation.id, error=type(error).__name__, at=where(error))  # noqa: TRY400
        status, title = UNEXPECTED
        return _refusal(problem(status, title, "this is our fault; the log says where", "internal"), {})


async def _again(operation: Operation, call: Call[Any, Any]) -> Answer | None:
    """Answer what an Idempotency-Key did before, None when it is to be done."""
    done = None if operation.again is None else call.done_before()
    if operation.again is None or done is None:
        return None
    try:
        return await operation.again(call, done)
    except NotFound:
        gone = "what this Idempotency-Key made was deleted meanwhile; choose a new one to make another"
        raise Conflict(gone, field="Idempotency-Key") from None


def _caller(operation: Operation, hub: Hub, request: Request, address: str) -> ApiKey:
    if operation.role is Role.OPEN:
        return ANYBODY
    key = hub.access.key_of(request.headers.get("authorization"), address)
    if key.role == "rooms":
        raise Forbidden("this key is for the vendors' lists of rooms alone; use a reader's or an admin's")
    if operation.role is Role.ADMIN and key.role != "admin":
        raise Forbidden("this key may only read; use an admin key")
    return key


async def _tell_others(hub: Hub) -> None:
    """Let the other processes know before the caller does, so that a vendor may send to a new source at once."""
    # Whoever does not answer looks by itself, a moment later.
    await asyncio.gather(*(hub.ask(name, "refresh") for name in ("intake", "delivery")), return_exceptions=True)


# --- reading ---------------------------------------------------------------------------------------------------------


async def _read_call(operation: Operation, hub: Hub, request: Request, key: ApiKey) -> Call[Any, Any]:
    content = await _read_body(request) if operation.method in {"POST", "PUT", "PATCH"} else b""
    once_key = request.headers.get("idempotency-key")
    if once_key is not None and not (0 < len(once_key) <= ONCE_KEY_LENGTH):
        raise InvalidInput(f"Idempotency-Key has 1 to {ONCE_KEY_LENGTH} characters", field="Idempotency-Key")
    return Call(
        hub=hub,
        operation=f"{operation.id} {request.scope['path']}",
        key=key,
        path=request.path_params,
        query=_query(operation, request),
        body=_decoded(operation, content),
        fingerprint=hashlib.sha256(content).hexdigest(),
        if_match=request.headers.get("if-match"),
        once_key=once_key if operation.method == "POST" else None,
        last_event_id=request.headers.get("last-event-id"),
    )


async def _read_body(request: Request) -> bytes:
    if request.headers.get("content-encoding", "identity") not in {"", "identity"}:
        raise DecodeError("send the body plain, without Content-Encoding")
    parts: list[bytes] = []
    held = 0
    async for part in request.stream():
        held += len(part)
        if held > BODY_BYTES:
            raise TooLarge(f"the body is larger than {BODY_BYTES} bytes; send less at once")
        parts.append(part)
    return b"".join(parts)


def _decoded(operation: Operation, content: bytes) -> Any:
    kind = operation.body
    if kind is None:
        if content.strip() not in {b"", b"{}"}:
            raise InvalidInput("this call takes no body")
        return None
    content = content.strip() or b"{}"
    read_json(content)  # refuses what two parsers could read in two ways
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise refused_value(error, "the body", kind) from None
    except msgspec.DecodeError:
        raise DecodeError("the body is not JSON") from None


def _query(operation: Operation, request: Request) -> Any:
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise InvalidInput("a query parameter is given twice", field=name[:64])
        if _CONTROL.search(name + value):
            raise InvalidInput("a query parameter holds control characters", field=name[:64])
        given[name] = value
    try:
        return msgspec.convert(given, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise refused_value(error, "the query", operation.query) from None


# --- answering -------------------------------------------------------------------------------------------------------


def _response(operation: Operation, answer: Answer) -> Response:
    headers = {"cache-control": "no-store"} | dict(answer.headers) | _ALWAYS
    if answer.stream is not None:
        return StreamingResponse(answer.stream, media_type=answer.media_type, headers=headers)
    if answer.status == 204:
        return Response(status_code=204, headers=headers)
    content = answer.content if isinstance(answer.content, bytes) else msgspec.json.encode(answer.content)
    return Response(content, status_code=answer.status, media_type=answer.media_type, headers=headers)


def _refusal(refused: Problem, headers: dict[str, str]) -> Response:
    return Response(
        msgspec.json.encode(refused),
        status_code=refused.status,
        media_type=MEDIA_TYPE,
        headers={"cache-control": "no-store"} | headers | _ALWAYS,
    )


def _headers_of(error: HubError) -> dict[str, str]:
    if isinstance(error, Overloaded):
        return {"retry-after": str(error.retry_after)}
    return {"unauthorized": {"www-authenticate": "Bearer"}, "too_many_tries": {"retry-after": "60"}}.get(error.code, {})
