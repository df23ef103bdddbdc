"""A real receiver beside a test: records what arrives, answers as its dialect would, fails on command."""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import httptools

from northbound.dialects import all_dialects
from northbound.model.wire import Headers, Request, Response


class Reply(NamedTuple):
    """How one request is answered: a status with a body, late, or not at all."""

    status: int = 200
    body: bytes | None = None  # None: as the dialect acknowledges
    headers: Headers = ()
    delay: float = 0.0
    hang_up: bool = False


class Arrival(NamedTuple):
    """One request as it arrived, and the status that it was answered with."""

    at: float
    name: str  # the first part of the path
    request: Request
    status: int

    @property
    def delivery(self) -> str:
        return self.request.header("northbound-delivery") or ""

    @property
    def attempt(self) -> int:
        return int(self.request.header("northbound-attempt") or 0)

    @property
    def seq(self) -> int:
        return int(self.request.header("northbound-seq") or -1)

    @property
    def prev(self) -> int | None:
        text = self.request.header("northbound-prev")
        return int(text) if text else None


Behaviour = Callable[[Arrival], Reply | None]


class Receiver:
    """Serves `http://127.0.0.1:<port>/<name>`; the name is a dialect, or `<dialect>-<anything>`."""

    def __init__(self) -> None:
        self.port = 0
        self.arrivals: list[Arrival] = []
        self.files: dict[str, bytes] = {}  # path -> content, for GET
        self._behaviours: dict[str, Behaviour] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._talks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, name: str) -> str:
        return f"http://{self.address}/{name}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    # --- commands -------------------------------------------------------------------------------

    def behave(self, name: str, behaviour: Behaviour | None) -> None:
        """Answer what arrives at *name* as *behaviour* says; None, or its None: well."""
        if behaviour is None:
            self._behaviours.pop(name, None)
        else:
            self._behaviours[name] = behaviour

    def fail(self, name: str, status: int = 500, *, times: int = 1_000_000, headers: Headers = ()) -> None:
        """Answer the next *times* requests with *status*."""
        left = [times]

        def failing(_: Arrival) -> Reply | None:
            left[0] -= 1
            return Reply(status=status, body=b"no", headers=headers) if left[0] >= 0 else None

        self.behave(name, failing)

    # --- what came ------------------------------------------------------------------------------

    def at(self, name: str) -> list[Arrival]:
        return [one for one in list(self.arrivals) if one.name == name]

    def accepted(self, name: str) -> list[Arrival]:
        return [one for one in self.at(name) if one.status == 200]

    def firsts(self, name: str) -> list[Arrival]:
        """Return the first arrival of each delivery, in order."""
        found: dict[str, Arrival] = {}
        for one in self.at(name):
            found.setdefault(one.delivery, one)
        return list(found.values())

    def by_delivery(self, name: str) -> dict[str, list[Arrival]]:
        found: dict[str, list[Arrival]] = defaultdict(list)
        for one in self.at(name):
            found[one.delivery].append(one)
        return dict(found)

    def wait_for(self, name: str, count: int, seconds: float = 10.0) -> list[Arrival]:
        """Return the accepted arrivals at *name* once there are *count*."""
        wait_until(lambda: len(self.accepted(name)) >= count, seconds, f"{count} arrivals at {name}")
        return self.accepted(name)

    # --- serving --------------------------------------------------------------------------------

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._talks):
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            for_ever = Exchange(reader)
            while (request := await for_ever.read(self.address)) is not None:
                if not await self._answer(request, writer):
                    return
        except (ConnectionError, httptools.HttpParserError, asyncio.CancelledError):
            return
        finally:
            self._talks.discard(task)
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        path = request.url.partition(self.address)[2].partition("?")[0]
        if path in self.files:
            _write(writer, Response(status=200, body=self.files[path]))
            return True
        name = path.strip("/").partition("/")[0]
        arrival = Arrival(time.monotonic(), name, request, 0)
        behaviour = self._behaviours.get(name)
        reply = (behaviour(arrival) if behaviour is not None else None) or Reply()
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.hang_up:
            self.arrivals.append(arrival)
            return False
        self.arrivals.append(arrival._replace(status=reply.status))
        _write(writer, _response(name, request, reply))
        await writer.drain()
        return True


def _response(name: str, request: Request, reply: Reply) -> Response:
    if reply.body is not None:
        return Response(status=reply.status, headers=reply.headers, body=reply.body)
    ack = all_dialects()[name.partition("-")[0]].ack(request, None)
    return Response(status=reply.status, headers=(*ack.headers, *reply.headers), body=ack.body)


def _write(writer: asyncio.StreamWriter, response: Response) -> None:
    lines = [f"HTTP/1.1 {response.status} Said", f"content-length: {len(response.body)}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + response.body)


class Exchange:
    """The requests of one connection, one after the other."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._parser = httptools.HttpRequestParser(self)
        self._done: list[tuple[str, bytes, Headers, bytes]] = []
        self._url, self._headers, self._body = b"", [], b""

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", [], b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        self._done.append((method, self._url, tuple(self._headers), self._body))

    async def read(self, address: str) -> Request | None:
        """Return the next request, its URL as the sender was told it; None at the end."""
        while not self._done:
            content = await self._reader.read(65536)
            if not content:
                return None
            self._parser.feed_data(content)
        method, target, headers, body = self._done.pop(0)
        return Request(method=method, url=f"http://{address}{target.decode('latin-1')}", headers=headers, body=body)


def wait_until(is_so: Callable[[], Any], seconds: float, what: str | Callable[[], str]) -> None:
    """Return when *is_so*; fail after *seconds*, naming *what* was waited for."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.01)
