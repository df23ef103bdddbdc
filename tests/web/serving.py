"""A real intake server on a loopback port, and raw clients for it."""

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta

import uvloop

from northbound.model.wire import Request, Response
from northbound.web.guard import Limits
from northbound.web.intake import IntakeApp
from northbound.web.server import Server, bind_socket, make_server

HOST = b"Host: hub.test\r\n"
POST = b"POST /in/src/tok HTTP/1.1\r\n" + HOST
SHORT = timedelta(seconds=0.25)
QUICK = Limits(
    header_deadline=SHORT, idle_deadline=SHORT, body_deadline=SHORT, write_deadline=SHORT, linger_deadline=SHORT
)


class Hub:
    """A running server and what its hub was given."""

    def __init__(self, limits: Limits, handle: Callable[[Request], Awaitable[Response]] | None, **options) -> None:
        self.calls: list[tuple[Request, str, str, str]] = []
        self._handle = handle
        trusted = options.get("trusted", ())
        shedding = {name: options.pop(name) for name in ("reserve", "is_refused_last") if name in options}
        self.app = IntakeApp(self.handle, limits, trusted=trusted, **shedding)
        self.listener = bind_socket("127.0.0.1", 0, "--intake")
        self.port: int = self.listener.getsockname()[1]
        self.server: Server = make_server(self.app, self.listener, limits, **options)
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self.server.serve())

    async def handle(self, request: Request, source_id: str, token: str, peer: str) -> Response:
        self.calls.append((request, source_id, token, peer))
        return await self._handle(request) if self._handle else Response.text(200, "stored")

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def say(self, *parts: bytes, half_close: bool = False) -> bytes:
        """Send *parts* one by one and return everything that comes until the server closes."""
        with self.connect() as client:
            for index, part in enumerate(parts):
                if index:
                    time.sleep(0.02)
                with contextlib.suppress(OSError):
                    client.sendall(part)
            if half_close:
                client.shutdown(socket.SHUT_WR)
            return everything(client)


@contextlib.contextmanager
def running(limits: Limits = QUICK, handle=None, **options) -> Iterator[Hub]:
    hub = Hub(limits, handle, **options)
    hub.thread.start()
    while not hub.server.started:
        time.sleep(0.005)
    try:
        yield hub
    finally:
        hub.server.stop()
        hub.thread.join(15)
        assert not hub.thread.is_alive()


def everything(client: socket.socket, *, patient: bool = False) -> bytes:
    """Read until the server closes; a client that is not *patient* ends its side when told `connection: close`."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            got += part
            if b"connection: close" in part and not patient:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_WR)
    return got


def answer(client: socket.socket) -> tuple[int, bytes]:
    """Read one response with a length."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = client.recv(65536)
        assert part, f"closed after {got!r}"
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])
    while len(body) < length:
        body += client.recv(65536)
    return int(head[9:12]), body


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", said)]


def post(body: bytes, *headers: bytes) -> bytes:
    return POST + b"".join(h + b"\r\n" for h in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
