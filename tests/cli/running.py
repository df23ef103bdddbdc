"""What the tests of the command line share: the runner, and servers that run beside a test."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from click.testing import Result
from typer.testing import CliRunner

from northbound.cli import app
from northbound.testing.sink import Mount, Sink

VARIABLES = {"NO_COLOR": "1", "COLUMNS": "200", "NORTHBOUND_API_KEY": None, "NORTHBOUND_SERVER": None}


def run(*arguments: str, given: bytes | str | None = None, **variables: str) -> Result:
    """Run a command in this process; how it logs, into a stream that ends with it, is not left to later tests."""
    logging = structlog.get_config()
    try:
        return CliRunner(env={**VARIABLES, **variables}).invoke(app, list(arguments), input=given)
    finally:
        structlog.configure(**logging)


@contextmanager
def sink_beside(*mounts: Mount, **options: Any) -> Iterator[Sink]:
    """Serve a receiver in a thread of its own."""
    receiver = Sink(mounts, **options)
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with receiver:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


class Called:
    """What a fake hub was asked: (method, path, headers, body)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, str], Any]] = []
        self.url = ""


@contextmanager
def hub_beside(answer: Callable[[str, str, Any], tuple[int, bytes, str]]) -> Iterator[Called]:
    """Serve *answer*(method, path, body) -> (status, content, media type) as a hub would."""
    called = Called()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._take()

        def do_POST(self) -> None:
            self._take()

        def _take(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.loads(content) if content else None
            called.calls.append((self.command, self.path, dict(self.headers), body))
            status, words, media = answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("content-type", media)
            self.send_header("content-length", str(len(words)))
            self.end_headers()
            self.wfile.write(words)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    called.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield called
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def as_json(status: int, content: Any) -> tuple[int, bytes, str]:
    return status, json.dumps(content).encode(), "application/json"
