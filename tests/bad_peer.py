"""A peer that behaves badly on purpose: a raw server on loopback whose URL path chooses what goes wrong.

    async with BadPeer() as peer:
        exchange = await sender.send(Request(method="POST", url=peer.url("hang")), deadline=...)
        assert peer.received == [...]

`BadPeer(tls=context)` speaks TLS, `ConnectProxy()` is an egress proxy. Both end every connection when they close.
"""

import asyncio
import gzip
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

INTERNAL = "http://169.254.169.254/latest/meta-data/?token=canary"
BOMB = gzip.compress(b"\0" * 50_000_000)  # 48 KiB that would unpack to 50 MB


@dataclass
class Received:
    """One request as it came; `connection` counts the connections of the peer from 1."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def mode(self) -> str:
        return self.target.strip("/").partition("?")[0].partition("/")[0]

    @property
    def query(self) -> str:
        return unquote(self.target.partition("?")[2])


class _Server:
    """Accepts on a free loopback port and cuts every connection at the end."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = 0
        self.connections = 0
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, ssl=self._tls, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._talk(reader, writer, self.connections)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        raise NotImplementedError


@dataclass
class _Turn:
    """What a mode has at hand: the request, the way back, and whether the connection goes on."""

    request: Received
    writer: asyncio.StreamWriter
    nth: int  # of the requests on this connection, from 1
    keep: bool = field(default=False)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: str, *headers: str, body: bytes = b"ok") -> None:
        head = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
        await self.write("\r\n".join(head).encode("latin-1") + body)
        self.keep = True

    def reset(self) -> None:
        # Linger of zero makes the close a RST.
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER
        self.writer.transport.abort()
        self.keep = False


async def _forever() -> None:
    await asyncio.Event().wait()


async def _ok(turn: _Turn) -> None:
    await turn.answer("200 OK", "Content-Type: text/plain")


async def _echo(turn: _Turn) -> None:
    await turn.answer("200 OK", body=turn.request.body)


async def _hang(turn: _Turn) -> None:
    await _forever()


async def _drip(turn: _Turn) -> None:
    """Headers at once, then one byte of the body ten times a second, so that no pause is ever long."""
    await turn.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        await turn.write(b"x")
        await asyncio.sleep(0.1)


async def _slow_headers(turn: _Turn) -> None:
    await turn.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        await turn.write(b"x")
        await asyncio.sleep(0.05)


async def _endless(turn: _Turn) -> None:
    await turn.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await turn.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")


async def _announced(turn: _Turn) -> None:
    await turn.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
    await _forever()


async def _bomb(turn: _Turn) -> None:
    await turn.answer("200 OK", "Content-Encoding: gzip", body=BOMB)


async def _transfer_bomb(turn: _Turn) -> None:
    chunk = f"{len(BOMB):x}\r\n".encode() + BOMB + b"\r\n0\r\n\r\n"
    await turn.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + chunk)
    turn.keep = True


async def _huge_headers(turn: _Turn) -> None:
    await turn.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        await turn.write(b"X-Filler: " + b"y" * 1_000 + b"\r\n")


async def _many_interim(turn: _Turn) -> None:
    while True:
        await turn.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)


async def _interim(turn: _Turn) -> None:
    await turn.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    await turn.answer("202 Accepted", "X-Final: yes")


async def _redirect(turn: _Turn) -> None:
    await turn.answer("302 Found", f"Location: {turn.request.query or INTERNAL}", body=b"")


async def _reset(turn: _Turn) -> None:
    turn.reset()


async def _close(turn: _Turn) -> None:
    return


async def _cut(turn: _Turn) -> None:
    await turn.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


async def _garbage(turn: _Turn) -> None:
    await turn.write(b"220 mail.example ESMTP ready\r\n\r\n")


async def _bad_status(turn: _Turn) -> None:
    await turn.write(b"HTTP/1.1 2OO OKAY\r\nContent-Length: 0\r\n\r\n")


async def _gone(turn: _Turn) -> None:
    await turn.answer("410 Gone")


async def _busy(turn: _Turn) -> None:
    """Take the Retry-After from the query: `/busy?-5`, `/busy?soon`, `/busy?Wed, 21 Oct 2099 07:28:00 GMT`."""
    after = turn.request.query
    await turn.answer("429 Too Many Requests", *([f"Retry-After: {after}"] if after else []))


async def _late(turn: _Turn) -> None:
    """Answer properly, later than most deadlines of tests."""
    await asyncio.sleep(0.6)
    await turn.answer("200 OK")


async def _idle_close(turn: _Turn) -> None:
    """Answer as if the connection stayed open, then close it while the client is idle."""
    await turn.answer("200 OK")
    turn.keep = False


async def _idle_reset(turn: _Turn) -> None:
    await turn.answer("200 OK")
    await asyncio.sleep(0.002)
    turn.reset()


async def _close_on_second(turn: _Turn) -> None:
    """Serve the first request of a connection; take the second one and close without a word."""
    if turn.nth == 1:
        await turn.answer("200 OK")


async def _reset_on_second(turn: _Turn) -> None:
    if turn.nth == 1:
        await turn.answer("200 OK")
    else:
        turn.reset()


async def _status(turn: _Turn) -> None:
    """Answer with the status of the query: `/status?503`."""
    await turn.answer(f"{turn.request.query} Asked-For")


MODES: dict[str, Callable[[_Turn], Awaitable[None]]] = {
    "ok": _ok,
    "echo": _echo,
    "hang": _hang,
    "drip": _drip,
    "slow-headers": _slow_headers,
    "endless": _endless,
    "announced": _announced,
    "bomb": _bomb,
    "transfer-bomb": _transfer_bomb,
    "huge-headers": _huge_headers,
    "many-interim": _many_interim,
    "interim": _interim,
    "redirect": _redirect,
    "reset": _reset,
    "close": _close,
    "cut": _cut,
    "garbage": _garbage,
    "bad-status": _bad_status,
    "410": _gone,
    "429": _busy,
    "late": _late,
    "idle-close": _idle_close,
    "idle-reset": _idle_reset,
    "close-on-second": _close_on_second,
    "reset-on-second": _reset_on_second,
    "status": _status,
}


class BadPeer(_Server):
    """Serves every mode of `MODES` under its name, and keeps what it received."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        super().__init__(tls=tls, host=host)
        self.received: list[Received] = []
        self._more = asyncio.Condition()

    def url(self, mode: str = "ok", *, host: str | None = None) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{host or self.host}:{self.port}/{mode}"

    async def wait_for(self, count: int) -> None:
        """Return once *count* requests were received."""
        async with self._more:
            await self._more.wait_for(lambda: len(self.received) >= count)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        nth = 0
        while True:
            request = await read_request(reader, connection)
            self.received.append(request)
            async with self._more:
                self._more.notify_all()
            nth += 1
            turn = _Turn(request=request, writer=writer, nth=nth)
            await MODES[request.mode](turn)
            if not turn.keep:
                break
        if not writer.transport.is_closing():
            writer.close()
            await writer.wait_closed()


async def read_request(reader: asyncio.StreamReader, connection: int) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    pairs = [line.partition(":") for line in lines]
    headers = [(name, value.removeprefix(" ")) for name, _, value in pairs]
    request = Received(method=method, target=target, headers=headers, body=b"", connection=connection)
    request.body = await reader.readexactly(int(request.header("content-length") or 0))
    return request


class ConnectProxy(_Server):
    """An HTTP proxy for CONNECT: tunnels, or answers *refusal* (as "407 Proxy Authentication Required")."""

    def __init__(self, *, refusal: str | None = None, hangs: bool = False) -> None:
        super().__init__()
        self.asked: list[Received] = []
        self._refusal = refusal
        self._hangs = hangs

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        request = await read_request(reader, connection)
        self.asked.append(request)
        if self._hangs:
            await _forever()
        if self._refusal is not None:
            writer.write(f"HTTP/1.1 {self._refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        host, _, port = request.target.rpartition(":")
        there_reader, there_writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\nX-Proxy: secret\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, there_writer))
                group.create_task(_pump(there_reader, writer))
        finally:
            there_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
