"""Take callbacks at /in/{source}/{token}: bounded in size, time and number, then handed to the hub whole."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

from northbound.model.errors import Overloaded
from northbound.model.wire import Request, Response
from northbound.web.address import Networks, client_address
from northbound.web.body import BodyError, Gone, Reading, Receive, decompress, too_large
from northbound.web.cycle import where
from northbound.web.guard import Limits

log = structlog.get_logger()

Scope = MutableMapping[str, Any]
Send = Callable[[Any], Awaitable[None]]
Handle = Callable[[Request, str, str, str], Awaitable[Response]]

_ROUTE = re.compile(rb"/in/([A-Za-z0-9._~-]{1,128})/([A-Za-z0-9._~-]{1,256})")
_METHODS = ("GET", "POST")
_OURS = frozenset({"content-length", "transfer-encoding", "connection"})  # framing is ours, not a dialect's
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HEALTHY = Response.text(200, "ok")


class IntakeApp:
    """The intake as a bare ASGI application; deadlines are the guarded connection's.

    *handle* gets the request (its `url` built from the Host header; the hub puts the source's public one in its
    place), the source id, the path token and the client's address, and answers in the vendor's own style.
    """

    def __init__(
        self,
        handle: Handle,
        limits: Limits,
        *,
        trusted: Networks = (),
        reserve: float = 0.0,
        is_refused_last: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Of the pending limits the share *reserve* is for sources that *is_refused_last* tells by their ids (I14)."""
        self._handle = handle
        self._open = 1.0 - reserve  # the share for everybody
        self._is_refused_last = is_refused_last
        self._limits = limits
        self._trusted = trusted
        self._reading = Reading(limits)
        self.pending = 0
        self.pending_bytes = 0
        self.refusals: Counter[str] = Counter()  # by code: what no source's dialect had a say in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; say nothing to a client that left before its request was whole."""
        try:
            response = await self._answer(scope, receive)
        except BodyError as error:
            response = self._refuse(error.status, error.code, error.message)
        except Gone:
            return
        await _send(send, response)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        path: bytes = scope["raw_path"]
        method: str = scope["method"]
        if path == b"/healthz":
            return _HEALTHY if method in ("GET", "HEAD") else self._not_allowed("GET, HEAD")
        route = _ROUTE.fullmatch(path)
        if route is None:
            message = "no intake is here; call /in/<source>/<token> as the source's page shows"
            return self._refuse(404, "not_found", message)
        if method not in _METHODS:
            return self._not_allowed(", ".join(_METHODS))
        source_id, token = route[1].decode(), route[2].decode()
        if not self._has_place(source_id, 0):
            return self._overloaded()
        fields = _Fields(scope)
        if fields.length > self._limits.body_bytes:
            raise too_large(self._limits)
        body = decompress(await self._reading.read(receive), fields.coding, self._limits)
        if not self._has_place(source_id, len(body)):
            return self._overloaded()
        request = Request(method=method, url=_url(scope, fields.host), headers=fields.headers, body=body)
        return await self._bounded(request, source_id, token, client_address(scope, self._trusted))

    def _has_place(self, source_id: str, size: int) -> bool:
        """Tell whether one more request of *size* bytes may be pending."""
        requests, most = self._limits.pending_requests, self._limits.pending_bytes
        after = self.pending_bytes + size
        if self.pending >= requests or self.pending_bytes >= most or after > most:
            return False
        if self.pending < requests * self._open and after <= most * self._open:
            return True
        return self._is_refused_last(source_id)

    async def _bounded(self, request: Request, source_id: str, token: str, peer: str) -> Response:
        """Hand over, counted; whatever goes wrong is a 503, so that the vendor tries again."""
        size = len(request.body)
        self.pending += 1
        self.pending_bytes += size
        try:
            return await self._handle(request, source_id, token, peer)
        except Overloaded as error:
            return self._overloaded(error.retry_after)
        except asyncio.CancelledError:  # the drain deadline: nothing was promised yet
            log.warning("intake.cancelled", source_id=source_id)
            return self._overloaded()
        except Exception as error:  # noqa: BLE001 - the top of a request: logged, answered as retryable
            # Neither words nor locals: they may hold the token or the query.
            log.error("intake.failed", source_id=source_id, error=type(error).__name__, at=where(error))  # noqa: TRY400
            return self._overloaded()
        finally:
            self.pending -= 1
            self.pending_bytes -= size

    def _refuse(self, status: int, code: str, message: str, *headers: tuple[str, str]) -> Response:
        self.refusals[code] += 1
        return _refusal(status, code, message, *headers)

    def _not_allowed(self, allow: str) -> Response:
        return self._refuse(405, "method_not_allowed", f"callbacks are sent with: {allow}", ("allow", allow))

    def _overloaded(self, retry_after: int = 1) -> Response:
        return self._refuse(503, "overloaded", "not stored; send it again", ("retry-after", str(retry_after)))


class _Fields:
    """The header fields that the intake itself acts on, beside all of them as text."""

    def __init__(self, scope: Scope) -> None:
        self.headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        self.length = 0
        self.host = ""
        codings: list[str] = []
        for name, value in self.headers:
            if name == "host":
                self.host = value  # one, and a host name: the guard saw to it
            elif name == "content-length":
                self.length = int(value)  # digits: the parser saw to it
            elif name == "content-encoding":
                codings.append(value)
        self.coding = ",".join(codings).strip().lower()
        self.host = self.host or _own_host(scope)


def _own_host(scope: Scope) -> str:
    """Return the address that was called, for HTTP/1.0, which may name no host."""
    server, port = scope.get("server") or ("localhost", None)
    return f"{server}:{port}" if port else server


def _url(scope: Scope, host: str) -> str:
    """Build the absolute URL as called; forwarding headers have no say in it."""
    query: bytes = scope["query_string"]
    target = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
    return f"{scope['scheme']}://{host}{target.decode('latin-1')}"


def _refusal(status: int, code: str, message: str, *headers: tuple[str, str]) -> Response:
    body = json.dumps({"code": 1, "error": code, "message": message}).encode() + b"\n"
    extra = (("retry-after", "1"),) if status == 503 and not headers else ()
    accept = (("accept-encoding", "gzip, deflate"),) if status == 415 else ()
    return Response(status=status, headers=(("content-type", "application/json"), *extra, *accept, *headers), body=body)


async def _send(send: Send, response: Response) -> None:
    headers = [(b"content-length", b"%d" % len(response.body))]
    for name, value in response.headers:
        if _UNSENDABLE.search(value):
            raise ValueError("a response header holds control characters")  # our bug; the guard answers 503
        if name.lower() not in _OURS:
            headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": False})
