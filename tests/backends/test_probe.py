"""Ports tried for real: a listener, one that never answers, a WebSocket server, a web server, nobody."""

import asyncio
import base64
import hashlib
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from northbound.backends.probe import SocketProbe
from northbound.logic.addresses import AllowList
from northbound.model.server import CheckedPort

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SHORT = timedelta(seconds=0.3)


async def shakes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
    accept = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
    status = "101 Switching Protocols" if head.startswith("GET /ws ") else "404 Not Found"
    lines = (f"HTTP/1.1 {status}", "Upgrade: websocket", "Connection: Upgrade", f"SEC-websocket-accept: {accept}")
    writer.write("\r\n".join((*lines, "", "")).encode())
    await writer.drain()
    writer.close()


async def lies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: wrong\r\n\r\n")
    await writer.drain()
    writer.close()


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)
    writer.close()


async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for _ in range(1_000):
        writer.write(b"x" * 1_000)
    writer.close()


def tried(talk: Talk | None, kind: str, *, path: str = "/ws", listed: str = "127.0.0.1") -> str | None:
    async def run() -> str | None:
        server = None if talk is None else await asyncio.start_server(talk, "127.0.0.1", 0)
        port = _closed_port() if server is None else server.sockets[0].getsockname()[1]
        probe = SocketProbe(AllowList.parse([listed]))
        try:
            return await probe.reach("127.0.0.1", CheckedPort(kind=kind, port=port, path=path), SHORT)
        finally:
            if server is not None:
                server.close()
                await asyncio.sleep(0.02)  # its tasks end

    return asyncio.run(run())


def _closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_listener_answers() -> None:
    assert None is tried(says_nothing, "tcp")


def test_a_websocket_server_answers() -> None:
    assert None is tried(shakes, "websocket")


@pytest.mark.parametrize(
    ("talk", "kind", "path", "why"),
    [
        (None, "tcp", "/", "no connection"),
        (None, "websocket", "/", "no connection"),
        (says_nothing, "websocket", "/ws", "no answer within 0.3 s"),
        (shakes, "websocket", "/other", "404 Not Found"),
        (lies, "websocket", "/ws", "accept key is wrong"),
        (hangs_up, "websocket", "/ws", "closed"),
        (never_ends, "websocket", "/ws", "no handshake"),
    ],
)
def test_what_does_not_answer_says_why(talk: Talk | None, kind: str, path: str, why: str) -> None:
    reason = tried(talk, kind, path=path)

    assert reason is not None and (why in reason or "reset" in reason.lower())


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "8.8.8.8", "169.254.169.254", "localhost", "0x7f.1", "::1"]
)
def test_what_is_not_listed_is_not_tried(address: str) -> None:
    """Public addresses neither: whoever may set a server up must not scan with us."""
    probe = SocketProbe(AllowList.parse(["192.0.2.1:80", "169.254.0.0/16"]))

    reason = asyncio.run(probe.reach(address, CheckedPort(kind="tcp", port=80), SHORT))

    assert reason is not None and ("check_targets" in reason or "plain" in reason)
