"""Guard one HTTP/1.1 connection: uvicorn's httptools protocol with every deadline and cap that it leaves open.

What is refused is answered once, after everything that came before it, and then the connection closes. A read that
ends in refused bytes is refused whole: if the framing cannot be trusted at its end, it cannot be at its start.
"""

import asyncio
import re
from enum import Enum
from typing import Any, Never
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from northbound.web.cycle import FAULTS, MALFORMED, Cycle, Exit, Flow, refusal
from northbound.web.guard import Gate

NEVER = float("inf")
UNREAD_BYTES = 16 * 1024  # of answers in our memory before the client counts as not reading
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
PARSED_MOST = 60_000  # bytes of a target that the parser of targets takes: its offsets have 16 bits
FRAMING_BYTES = 16 * 1024  # chunk sizes, extensions and trailers, beside six bytes for each byte of body


class Phase(Enum):
    """What a connection waits for."""

    IDLE = "a first byte"
    HEAD = "the rest of the headers"
    BODY = "the rest of the body"
    WORK = "our answer"
    LINGER = "the client to have read our refusal"
    CLOSING = "the last bytes to be sent"


class Refused(Exception):
    """Stop the parser inside a callback; the reason is in `GuardedProtocol.fault`."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, gate: Gate, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self.gate = gate
        self.phase = Phase.IDLE
        self.read_deadline = NEVER
        self.write_deadline = NEVER
        self.fault: str = ""  # key of FAULTS, set before a callback raises Refused
        self._app: Any = self.app  # the union that uvicorn declares is wider than what it calls
        self._key: str | None = None
        self._deaf = False  # nothing more is parsed
        self._active = 0  # requests begun and not answered
        self._fresh: list[RequestResponseCycle] = []  # completed by the read being parsed
        self._late: bytes | None = None  # a refusal that waits for earlier answers
        self._upgrading = False
        self._begun = 0  # requests seen, to know whether a read began one
        self._head_bytes = 0
        self._field_count = 0
        self._body_bytes = 0
        self._wire_bytes = -1  # -1: the read that ended the headers is not counted

    # --- the connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as in the base
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=UNREAD_BYTES, low=0)
        self.flow = Flow(transport, self.pipeline)
        self._exit = Exit(transport, self.finish)
        self.read_deadline = self.loop.time() + self.gate.header
        self._key = self.gate.admit(self.client[0] if self.client else "")
        if self._key is None:
            self._deaf = True
            self.transport.write(self._bytes("connections"))
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._deaf = True
        self.pipeline.clear()
        if self._key is not None:
            self.gate.release(self._key)
            self._key = None

    def eof_received(self) -> bool | None:  # pyright: ignore[reportIncompatibleMethodOverride] - the base never keeps a half-closed one
        cycle = self.cycle
        if self.scheme == "https" or self._deaf or not self._active or cycle.more_body:
            return None  # nothing whole is unanswered: close
        cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self.flow.pause_reading()
        self.write_deadline = self.loop.time() + self.gate.write

    def resume_writing(self) -> None:
        super().resume_writing()
        self.write_deadline = NEVER
        self.flow.resume_reading()

    def shutdown(self) -> None:
        if self._active:
            self.cycle.keep_alive = False
        else:
            self._close()

    def expire(self, now: float) -> None:
        """Act on a deadline that has passed: refuse what is half sent, close what is idle, cut what does not read."""
        if self.write_deadline <= now or self.phase is Phase.CLOSING:
            self.gate.refusals["write_deadline"] += 1
            self.transport.abort()
        elif self._active and self.flow.read_paused:
            self.read_deadline = now + self.gate.header  # the client cannot send: we are not reading
        elif self.phase is Phase.HEAD:
            self.refuse("header_deadline")
        elif self.phase is Phase.BODY:
            self.refuse("body_deadline")
        else:
            self._close()

    def finish(self) -> None:
        """Close after an answer; when the request was not read to its end, let the answer be read first."""
        if self.cycle.more_body:
            self._linger()
        else:
            self._close()

    def refuse(self, reason: str) -> None:
        """Answer with the fault *reason* (or as malformed) after whatever is in work, drop the rest, and close."""
        if self._deaf:
            return
        self._deaf = True
        self.read_deadline = NEVER
        answered_already = self._void_unfinished()
        if answered_already or self.transport.is_closing():
            self._close()
        elif self._active:
            self._late = self._bytes(reason)
            self.flow.pause_reading()
        else:
            self.transport.write(self._bytes(reason))
            self._linger()

    def _void_unfinished(self) -> bool:
        """Take back the requests of this read and the incomplete one; tell whether one has begun to be answered."""
        voided = list(self._fresh)
        if self._active and self.cycle.more_body and not self.cycle.response_complete:
            voided.append(self.cycle)
        for cycle in voided:
            cycle.disconnected = True
            cycle.message_event.set()
        kept = [entry for entry in self.pipeline if entry[0] not in voided]
        self.pipeline.clear()
        self.pipeline.extend(kept)
        self._active -= len(voided)
        return any(cycle.response_started for cycle in voided)

    def _bytes(self, reason: str) -> bytes:
        self.gate.refusals[reason or "malformed"] += 1
        return refusal(*FAULTS.get(reason, MALFORMED))

    def _linger(self) -> None:
        self._deaf = True
        self.phase = Phase.LINGER
        self.read_deadline = self.loop.time() + self.gate.linger
        self.flow.resume_reading()

    def _close(self) -> None:
        self._deaf = True
        self.phase = Phase.CLOSING
        self.read_deadline = self.loop.time() + self.gate.write  # what is still to be sent may take that long
        self.transport.close()

    # --- the parser --------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        was_idle, begun = self.phase is Phase.IDLE, self._begun
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self.refuse(self.fault)
            return
        self._fresh.clear()
        if self.phase is Phase.HEAD:
            if begun == self._begun or was_idle:
                self._head_bytes += len(data)
            if self._head_bytes > self.gate.limits.header_bytes + self.gate.limits.request_line_bytes:
                self.refuse("header")
        elif self.phase is Phase.BODY:
            self._wire_bytes = 0 if self._wire_bytes < 0 else self._wire_bytes + len(data)
            if self._wire_bytes > FRAMING_BYTES + 7 * self._body_bytes:
                self.refuse("framing")

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parse the request again without its offer to switch protocols: the parser would skip its body.

        Some HTTP clients offer HTTP/2 on every first request (`Upgrade: h2c`), bodies included.
        """
        if self.parser.get_method() == b"CONNECT":
            self.refuse("connect")
            return
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection" and b"close" in value.lower():
                lines.append(b"connection: close")
            elif name not in (b"connection", b"upgrade", b"http2-settings"):
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._upgrading = False
        self.phase = Phase.IDLE
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.phase = Phase.HEAD
        self.read_deadline = self.loop.time() + self.gate.header
        self._begun += 1
        self._head_bytes = 0
        self._body_bytes = 0
        self._wire_bytes = -1

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.gate.limits.request_line_bytes:
            self._stop("request_line")

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            self._upgrading = True
            return
        self._check_head()
        cycle = self._open_cycle()
        self.cycle = cycle
        self.phase = Phase.BODY
        self._active += 1
        if self._active == 1:
            self.read_deadline = self.loop.time() + self.gate.body
            self._start_asgi_task(cycle, self._app)
            return
        if len(self.pipeline) >= self.gate.limits.pipeline:
            self._stop("pipeline")
        self.read_deadline = NEVER  # until it is this one's turn
        self.flow.pause_reading()
        self.pipeline.appendleft((cycle, self._app))

    def _check_head(self) -> None:
        """Refuse what the parser lets pass: too much, transfer codings we do not undo, an unclear host."""
        limits, headers = self.gate.limits, self.headers
        self._field_count = len(headers)
        if len(headers) > limits.header_count:
            self._stop("header")
        size = hosts = 0
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"host":
                hosts += 1
                if not _HOST.fullmatch(value):
                    self._stop("host")
            elif name == b"transfer-encoding" and (
                value.lower() != b"chunked" or self.parser.get_http_version() != "1.1"
            ):
                self._stop("transfer")
        if size > limits.header_bytes:
            self._stop("header")
        if hosts != 1 and (hosts or self.parser.get_http_version() == "1.1"):
            self._stop("host")

    def _open_cycle(self) -> Cycle:
        version = self.parser.get_http_version()
        if version != "1.1":
            if version != "1.0":
                self._stop("version")
            self.scope["http_version"] = version
        path, query = _split(self.url)
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["path"] = unquote(path.decode("ascii")) if b"%" in path else path.decode("ascii")
        self.scope["raw_path"] = path
        self.scope["query_string"] = query
        return Cycle(
            self._exit,
            scope=self.scope,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,  # a path holds its source's token
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        self._body_bytes += len(body)
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        if len(self.headers) != self._field_count:
            self._stop("trailer")
        self.phase = Phase.WORK
        self.read_deadline = NEVER
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self._fresh.append(self.cycle)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._active -= 1
        if self.phase in (Phase.LINGER, Phase.CLOSING) or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            if cycle.more_body:
                self.read_deadline = self.loop.time() + self.gate.body
            self._start_asgi_task(cycle, app)
        elif self._late is not None:
            self.transport.write(self._late)
            self._linger()
        elif self.phase is Phase.WORK:
            self.phase = Phase.IDLE
            self.read_deadline = self.loop.time() + self.gate.idle

    def _stop(self, reason: str) -> Never:
        self.fault = reason
        raise Refused


def _split(url: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request's target."""
    if len(url) > PARSED_MOST and url.startswith(b"/"):
        path, _, query = url.partition(b"#")[0].partition(b"?")
        return path, query
    target = httptools.parse_url(url)
    return target.path or b"/", target.query or b""
