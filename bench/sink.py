"""A receiver that answers 200 as fast as Python can and keeps nothing; says its port on standard output."""

import asyncio
import re

import uvloop

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: sink\r\nDate: Sat, 22 Nov 2025 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Sink(asyncio.Protocol):
    """One connection; requests come one at a time, since nobody here sends ahead."""

    def connection_made(self, transport):
        self.transport = transport
        self.held = b""

    def data_received(self, data):
        data = self.held + data if self.held else data
        head = data.find(b"\r\n\r\n")
        length = LENGTH.search(data, 0, head) if head >= 0 else None
        if head < 0 or len(data) < head + 4 + (int(length[1]) if length else 0):
            self.held = data
            return
        self.held = b""
        self.transport.write(ANSWER)


async def serve():
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
