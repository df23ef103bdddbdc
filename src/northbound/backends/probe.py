"""Try a port of a media server: a TCP connection, or a WebSocket handshake (RFC 6455), within a deadline."""

import asyncio
import contextlib
import hashlib
import os
from base64 import b64encode
from datetime import timedelta
from typing import Final

from northbound.logic.addresses import AllowList, check_listed
from northbound.model.errors import BlockedAddress
from northbound.model.server import CheckedPort

HEAD_MOST: Final = 8 * 1024  # bytes of an answer's head
_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class SocketProbe:
    """Connects to listed addresses alone; looked at again before every connection."""

    def __init__(self, allow: AllowList) -> None:
        self._allow = allow

    async def reach(self, address: str, port: CheckedPort, within: timedelta) -> str | None:
        """Return None when the port answers as its kind should, else why it does not."""
        try:
            check_listed(address, port.port, self._allow)
            async with asyncio.timeout(within.total_seconds()):
                return await self._tried(address, port)
        except BlockedAddress as error:
            return error.message
        except TimeoutError:
            return f"no answer within {within.total_seconds():g} s"
        except asyncio.IncompleteReadError:
            return "the connection was closed during the handshake"
        except asyncio.LimitOverrunError:
            return "the answer is no handshake"
        except OSError as error:
            return f"no connection: {error.strerror or type(error).__name__}"

    async def _tried(self, address: str, port: CheckedPort) -> str | None:
        reader, writer = await asyncio.open_connection(address, port.port, limit=HEAD_MOST)
        try:
            return None if port.kind == "tcp" else await _shaken(reader, writer, address, port)
        finally:
            with contextlib.suppress(OSError):
                writer.transport.abort()  # nothing is owed: neither side waits for the other


async def _shaken(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, port: CheckedPort
) -> str | None:
    """Shake hands; return None when the other side does, and with the right word."""
    key = b64encode(os.urandom(16))
    host = f"[{address}]" if ":" in address else address
    writer.write(
        f"GET {port.path} HTTP/1.1\r\nHost: {host}:{port.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n".encode()
    )
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    status = lines[0].split(b" ")[1:2]
    if not lines[0].startswith(b"HTTP/1.1 ") or status != [b"101"]:
        return f"no WebSocket handshake: {lines[0][:60].decode('latin-1')!a}"
    pairs = [line.partition(b":") for line in lines[1:]]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    wanted = b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
    if headers.get(b"sec-websocket-accept") != wanted:
        return "the WebSocket handshake's accept key is wrong"
    return None
