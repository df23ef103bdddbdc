"""How fast is the sender? CurlSender against a hand-rolled asyncio + httptools client, 64 at once, loopback.

Both do the whole job for every request: bytes from a `Request`, a deadline, a size cap, an `Exchange` back. Only the
sender also guards, retries dead connections and speaks TLS. The sink is a process of its own and answers at once.
Rounds are interleaved; the ratio is the median of same-round ratios. Run: python bench/sender.py [rounds] [requests]
"""

import asyncio
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httptools
import uvloop

from northbound.backends.curl import REPLY_CAP, CurlSender
from northbound.logic.addresses import AllowList
from northbound.model.delivery import Exchange, Failure, FailureKind
from northbound.model.wire import Request, Response

AT_ONCE = 64
DEADLINE = timedelta(seconds=5)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: sink\r\nDate: Sat, 22 Nov 2025 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
)


class Sink(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_message_complete(self):
        self.transport.write(ANSWER)


async def serve_sink():
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class HandRolled(asyncio.Protocol):
    """One kept-alive connection of the reference client."""

    def connection_made(self, transport):
        self.transport = transport
        self.loop = asyncio.get_running_loop()

    def send(self, request: Request, deadline: timedelta, on_done: Callable[[Exchange], None]) -> None:
        self.request, self.on_done = request, on_done
        self.headers, self.body, self.size = [], [], 0
        self.started_at, self.started = datetime.now(UTC), time.monotonic()
        self.parser = httptools.HttpResponseParser(self)
        self.timer = self.loop.call_later(deadline.total_seconds(), self.expire)
        url = httptools.parse_url(request.url.encode())
        lines = [f"{request.method} {url.path.decode()} HTTP/1.1", f"Host: {url.host.decode()}:{url.port}"]
        for name, value in request.headers:
            if "\r" in value or "\n" in value:
                raise ValueError(name)
            lines.append(f"{name}: {value}")
        lines.append(f"Content-Length: {len(request.body)}\r\n\r\n")
        self.transport.write("\r\n".join(lines).encode("latin-1") + request.body)

    def data_received(self, data):
        self.size += len(data)
        if self.size > REPLY_CAP:
            self.end(Failure(kind=FailureKind.TOO_LARGE, message="too large"))
            return
        self.parser.feed_data(data)

    def on_header(self, name, value):
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body):
        self.body.append(body)

    def on_message_complete(self):
        status = self.parser.get_status_code()
        self.end(Response(status=status, headers=tuple(self.headers), body=b"".join(self.body)))

    def expire(self):
        self.end(Failure(kind=FailureKind.TIMEOUT, message="timeout"))

    def end(self, outcome):
        self.timer.cancel()
        took = round((time.monotonic() - self.started) * 1000)
        host, port = self.transport.get_extra_info("peername")
        exchange = Exchange(
            request=self.request,
            outcome=outcome,
            started_at=self.started_at,
            duration_ms=took,
            address=f"{host}:{port}",
        )
        self.loop.call_soon(self.on_done, exchange)


def make_request(port: int, number: int) -> Request:
    return Request(
        method="POST",
        url=f"http://127.0.0.1:{port}/hook",
        headers=(
            ("content-type", "application/json"),
            ("webhook-id", f"msg_{number:012}"),
            ("webhook-timestamp", "1763776800"),
            ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
        ),
        body=b"x" * 700,
    )


async def drive(total: int, port: int, senders: list) -> None:
    """Keep every sender busy with one request after the other until *total* are done."""
    done = asyncio.get_running_loop().create_future()
    started = ended = 0

    def start(sender):
        nonlocal started

        def on_done(exchange: Exchange) -> None:
            nonlocal ended
            assert isinstance(exchange.outcome, Response), exchange.outcome
            ended += 1
            if ended == total:
                done.set_result(None)
            elif started < total:
                start(sender)

        started += 1
        sender(make_request(port, started), on_done)

    for sender in senders:
        start(sender)
    await done


async def measure(total: int, port: int, senders: list) -> tuple[float, float]:
    await drive(AT_ONCE * 4, port, senders)
    usage, clock = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await drive(total, port, senders)
    elapsed, after = time.perf_counter() - clock, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return total / elapsed, cpu / total * 1e6


async def run_curl(total: int, port: int) -> tuple[float, float]:
    sender = CurlSender(allow=AllowList.parse([f"127.0.0.1:{port}"]))

    def send(request, on_done):
        sender.submit(request, deadline=DEADLINE, on_done=on_done)

    try:
        return await measure(total, port, [send] * AT_ONCE)
    finally:
        await sender.close()


async def run_hand_rolled(total: int, port: int) -> tuple[float, float]:
    loop = asyncio.get_running_loop()
    pairs = [await loop.create_connection(HandRolled, "127.0.0.1", port) for _ in range(AT_ONCE)]

    def sender_of(protocol):
        return lambda request, on_done: protocol.send(request, DEADLINE, on_done)

    try:
        return await measure(total, port, [sender_of(protocol) for _, protocol in pairs])
    finally:
        for transport, _ in pairs:
            transport.close()


def main(rounds: int, total: int) -> None:
    sink = subprocess.Popen([sys.executable, __file__, "--sink"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(sink.stdout.readline())
        runs = {"hand-rolled": run_hand_rolled, "sender": run_curl}
        results = {name: [] for name in runs}
        for number in range(rounds):
            for name in sorted(runs, reverse=number % 2 == 1):
                results[name].append(uvloop.run(runs[name](total, port)))
    finally:
        sink.terminate()
        sink.wait()
    for name, rows in results.items():
        rate, cpu = statistics.median(row[0] for row in rows), [row[1] for row in rows]
        print(f"{name:12} {rate:8.0f}/s  CPU {statistics.median(cpu):5.1f} us/request (min {min(cpu):.1f})")
    pairs = list(zip(results["sender"], results["hand-rolled"], strict=True))
    ratio = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
    cpu_ratio = statistics.median(theirs[1] / ours[1] for ours, theirs in pairs)
    print(f"sender / hand-rolled: {ratio:.2f} by rate, {cpu_ratio:.2f} by CPU (medians of {rounds} same-round ratios)")


if __name__ == "__main__":
    if sys.argv[1:] == ["--sink"]:
        uvloop.run(serve_sink())
    else:
        numbers = [int(text) for text in sys.argv[1:]]
        main(*(numbers + [7, 6000][len(numbers) :]))
