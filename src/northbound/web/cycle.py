"""Carry one request through the application, and the words of every refusal."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import structlog
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

log = structlog.get_logger()


class Flow(FlowControl):
    """Keep reading paused while requests queue or the client does not read, whoever asks to resume."""

    def __init__(self, transport: asyncio.Transport, queue: deque[Any]) -> None:
        super().__init__(transport)
        self._queue = queue

    def resume_reading(self) -> None:
        if self.read_paused and not self._queue and not self.write_paused:
            super().resume_reading()


class Exit:
    """What a cycle sees of the transport: head and body leave in one write, and `close` is the guard's."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.is_closing = transport.is_closing
        self.close = close  # lets a refusal be read first
        self._write = transport.write
        self._holding = False
        self._head = b""

    def hold(self) -> None:
        """Keep the next write back until the one after it: uvloop makes a system call and a packet of each."""
        self._holding = True

    def write(self, part: bytes) -> None:
        """Write *part* after what was held back."""
        if self._holding:
            self._holding = False
            self._head = part
            return
        if self._head:
            part = self._head + part
            self._head = b""
        self._write(part)


class Cycle(RequestResponseCycle):
    """One request and its answer: an early answer closes, a failed application is a 503 and never a 500."""

    def __init__(self, exit_: Exit, **rest: Any) -> None:
        super().__init__(transport=cast("asyncio.Transport", exit_), **rest)
        self.exit = exit_
        self._opening: Any = None

    async def run_asgi(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            log.warning("http.cancelled", at="drain deadline")
        except Exception as error:  # noqa: BLE001 - the top of a request: logged without its words, answered below
            log.error("http.failed", error=type(error).__name__, at=where(error))  # noqa: TRY400 - words may be secret
        try:
            if not self.response_started:
                self._opening = None
                await self._send_unavailable()
            elif not self.response_complete and not self.disconnected:
                self.transport.close()
        finally:
            self.on_response = _nothing

    async def send(self, message: Any) -> None:
        if self.response_started:
            await super().send(message)
        elif message["type"] == "http.response.start" and self._opening is None:
            self._opening = message  # until its first body part
        else:
            await self._open(self._opening)
            await super().send(message)

    async def _open(self, opening: Any) -> None:
        self.keep_alive = self.keep_alive and not self.more_body
        if opening is None or self.disconnected:
            return  # the application's mistake, which the base names; or nobody to answer
        if self.scope["method"] != "HEAD":  # its body is not written
            self.exit.hold()
        await super().send(opening)

    async def _send_unavailable(self) -> None:
        body = one_line("unavailable", "the request was not processed; send it again")
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers += [(b"retry-after", b"1"), (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": 503, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _nothing() -> None:
    """Take the place of a callback so that cycle and protocol do not hold each other."""


def where(error: BaseException) -> str:
    """Name the place *error* was raised at, without its words, which may hold a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    code = trace.tb_frame.f_code
    return f"{code.co_filename.rpartition('/')[2]}:{code.co_name}:{trace.tb_lineno}"


def one_line(code: str, message: str) -> bytes:
    """Return the neutral JSON error body."""
    return json.dumps({"code": 1, "error": code, "message": message}).encode() + b"\n"


def refusal(status: int, code: str, message: str) -> bytes:
    """Return a whole refusing response for the wire."""
    body = one_line(code, message)
    retry = b"retry-after: 1\r\n" if status == 503 else b""
    head = b"content-type: application/json\r\nconnection: close\r\n%scontent-length: %d\r\n\r\n" % (retry, len(body))
    return STATUS_LINE[status] + head + body


Fault = tuple[int, str, str]
MALFORMED: Fault = (400, "malformed", "this is not well-formed HTTP/1.1; nothing in it was processed")
FAULTS: dict[str, Fault] = {
    "request_line": (414, "too_long", "the path and query are too long; send the parameters in the body of a POST"),
    "header": (400, "header_too_large", "the headers are too large or too many; send fewer and shorter ones"),
    "pipeline": (400, "pipeline", "too many requests were sent ahead; await answers"),
    "transfer": (400, "malformed", "the only transfer encoding understood is one `chunked`, in HTTP/1.1"),
    "host": (400, "malformed", "send exactly one Host header that holds a host name"),
    "version": (400, "malformed", "speak HTTP/1.1 or HTTP/1.0"),
    "trailer": (400, "malformed", "trailer fields are not accepted; send them as headers"),
    "framing": (400, "malformed", "the chunks carry far more framing than body"),
    "connect": (405, "method_not_allowed", "this is no proxy; send callbacks as POST or GET"),
    "header_deadline": (408, "timeout", "the headers did not arrive in time"),
    "body_deadline": (408, "timeout", "the body did not arrive in time"),
    "connections": (503, "overloaded", "too many connections; try again"),
}
