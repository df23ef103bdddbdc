"""The private line between the hub's processes: length-prefixed JSON over a Unix socket in the data folder."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from northbound.hub.system import Folder
from northbound.model.errors import HubError, StoreFailed

FRAME_MAX = 64 * 1024 * 1024  # one batch of conclusions is far smaller; a larger frame is a bug
CALL_TIMEOUT = 30.0
ALIVE = b'{"do":"alive"}'  # answered by every process from its loop, without a look at anything
_LENGTH = struct.Struct(">I")


def framed(content: bytes) -> bytes:
    """Return *content* as it goes over the line."""
    return _LENGTH.pack(len(content)) + content


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(4))
    if length > FRAME_MAX:
        raise StoreFailed("a frame on the private line is over its limit")
    return await reader.readexactly(length)


async def serve_channel(folder: Folder, name: str, answer: Callable[[bytes], Awaitable[Any]]) -> asyncio.Server:
    """Answer calls at socket *name*: *answer* takes the call's JSON and returns what is sent back as JSON."""
    folder.socket_file(f"{name}.sock").unlink(missing_ok=True)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                call = await _read_frame(reader)
                try:
                    reply: Any = {"ok": {} if call == ALIVE else await answer(call)}
                except HubError as error:
                    reply = {"error": error.message}
                writer.write(framed(msgspec.json.encode(reply)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):  # the last: our own stop
            pass
        finally:
            writer.close()

    return await asyncio.start_unix_server(talk, folder.socket(f"{name}.sock"))


class Channel:
    """One kept connection to another process; a call fails with `StoreFailed` when the other side is away."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._lock = asyncio.Lock()

    async def call(self, **words: Any) -> Any:
        """Send one call and return its answer."""
        content = msgspec.json.encode(words)
        async with self._lock:
            try:
                async with asyncio.timeout(CALL_TIMEOUT):
                    reader, writer = await self._connected()
                    writer.write(framed(content))
                    await writer.drain()
                    reply = msgspec.json.decode(await _read_frame(reader))
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.close()
                raise StoreFailed(f"the {self._name} process does not answer: {type(error).__name__}") from None
            except BaseException:  # cancelled: the answer is still to come, and is not the next caller's
                self.close()
                raise
        if "error" in reply:
            raise StoreFailed(reply["error"])
        return reply["ok"]

    def close(self) -> None:
        """Hang up."""
        if self._pair is not None:
            self._pair[1].close()
            self._pair = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._pair is None:
            self._pair = await asyncio.open_unix_connection(self._folder.socket(f"{self._name}.sock"))
        return self._pair
