"""Measure what the guard costs: the same application behind plain uvicorn and behind the guarded connection.

Run `python bench/intake_guard.py`. Both servers run as processes of their own; a raw-socket keep-alive loop loads them
in turn, in short interleaved windows, since only ratios taken side by side mean anything on a shared machine.
"""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import uvicorn
import uvloop

from northbound.model.wire import Request, Response
from northbound.web.guard import Limits
from northbound.web.intake import IntakeApp
from northbound.web.server import bind_socket, make_server

CONNECTIONS = 64
WINDOW_SECONDS = 1.5
ROUNDS = 5
BODY = b'{"event":"join","room_id":"18972290508","user_id":"1","padding":"' + b"x" * 430 + b'"}'
REQUEST = (
    b"POST /in/source-1/77e19b23-529c-41f7-b2a6-349d4539c8ac HTTP/1.1\r\nHost: 127.0.0.1:7071\r\n"
    b"User-Agent: bench\r\nAccept: */*\r\nContent-Type: application/json\r\nX-Signature: 0123456789abcdef\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
) + BODY


async def handle(request: Request, source_id: str, token: str, peer: str) -> Response:
    return Response.text(200, "ok")


async def serve(kind: str) -> None:
    limits = Limits()
    app = IntakeApp(handle, limits)
    listener = bind_socket("127.0.0.1", 0, "--port")
    if kind == "guarded":
        server = make_server(app, listener, limits)
        running = server.serve()
    else:
        config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", interface="asgi3", log_config=None)
        config.access_log, config.proxy_headers, config.server_header = False, False, False
        server = uvicorn.Server(config)
        running = server.serve([listener])
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(server, "should_exit", True))
    print(listener.getsockname()[1], flush=True)
    await running


class Load(asyncio.Protocol):
    """One connection that asks again as soon as it has its answer."""

    answers = 0
    errors = 0

    def connection_made(self, transport):
        self.transport = transport
        self.held = b""
        transport.write(REQUEST)

    def data_received(self, data):
        self.held += data
        if not self.held.startswith(b"HTTP/1.1 200"):
            Load.errors += 1
            self.transport.abort()
        elif self.held.endswith(b"\r\n\r\nok"):  # plain uvicorn sends head and body apart
            self.held = b""
            Load.answers += 1
            self.transport.write(REQUEST)


async def load(port: int) -> float:
    loop = asyncio.get_running_loop()
    Load.answers = 0
    before = time.perf_counter()
    opened = [await loop.create_connection(Load, "127.0.0.1", port) for _ in range(CONNECTIONS)]
    await asyncio.sleep(WINDOW_SECONDS)
    rate = Load.answers / (time.perf_counter() - before)
    for transport, _ in opened:
        transport.abort()
    await asyncio.sleep(0.05)
    return rate


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    kinds = ["plain", "guarded"]
    servers = {kind: subprocess.Popen([sys.executable, __file__, kind], stdout=subprocess.PIPE) for kind in kinds}
    ports = {kind: int(server.stdout.readline()) for kind, server in servers.items()}
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    micros: dict[str, list[float]] = {kind: [] for kind in kinds}
    try:
        for turn in range(ROUNDS + 1):
            kinds.reverse()
            for kind in kinds:
                before = cpu_seconds(servers[kind].pid)
                rate = uvloop.run(load(ports[kind]))
                if turn:  # the first round warms up
                    rates[kind].append(rate)
                    micros[kind].append((cpu_seconds(servers[kind].pid) - before) * 1e6 / Load.answers)
    finally:
        for server in servers.values():
            server.terminate()
            server.wait(10)
    for kind in sorted(kinds):
        print(f"{kind:8} {statistics.median(rates[kind]):8.0f} req/s {min(micros[kind]):6.1f} us CPU a request (least)")
    pairs = [guarded / plain for guarded, plain in zip(rates["guarded"], rates["plain"], strict=True)]
    median, least, most = statistics.median(pairs), min(pairs), max(pairs)
    print(f"ratio guarded/plain: median {median:.3f}, from {least:.3f} to {most:.3f}, n={ROUNDS}")
    print(f"answers that were not 200: {Load.errors}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        uvloop.run(serve(sys.argv[1]))
    else:
        main()
