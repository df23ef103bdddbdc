"""Number 2: delivery with room order, routing and durable outcomes against a hand-rolled client's bare POST.

Ours: a log of events of 2,000 rooms waits; the real delivery process folds, concludes, routes, signs and sends all of
it as CloudEvents to one endpoint and has stored every outcome when the clock stops. Theirs: an asyncio + httptools
client posts as many ready bodies of the same size over as many connections to the same receiver and keeps nothing.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop
from corpus import avd_events
from load import Unfair
from measure import Number, Sample, cpu_seconds, ratio_number, run_rounds

from hub import Hub, start_sink, stop, work_folder
from northbound.backends.sqlite.log import SqliteLog
from northbound.dialects import dialect_named
from northbound.dialects.base import write_params
from northbound.model.log import Receipt
from northbound.model.wire import Proof, Request

GOAL = 0.50
EVENTS = 12_000
IN_FLIGHT = 256  # places of the endpoint: an exchange holds its own until its outcome is on disk
OURS, THEIRS = "delivery", "hand-rolled"


def measure(rounds: int, say: Callable[[str], None]) -> list[Number]:
    sink, port = start_sink()
    try:
        with work_folder("delivery") as folder:
            template = folder / "template"
            hub = Hub(template, "avd", sink=port, in_flight=IN_FLIGHT)
            fill_log(hub, EVENTS)
            kept = run_rounds(
                {OURS: lambda: _deliver(template, folder / "round", port), THEIRS: lambda: _post(port)},
                folder,
                rounds,
                say,
            )
        return [
            ratio_number("delivery with durable outcomes / hand-rolled client's bare POST", GOAL, kept, OURS, THEIRS)
        ]
    finally:
        stop(sink)


def fill_log(hub: Hub, count: int) -> None:
    """Put *count* events into the hub's log as the intake would."""
    avd, options, now = dialect_named("avd"), {}, datetime.now(UTC)

    async def fill() -> None:
        log = SqliteLog(hub.folder.events)
        waiting = []
        for (_, values), _ in zip(avd_events(), range(count), strict=False):
            request = Request(method="GET", url=f"http://127.0.0.1/in/src?{write_params(values.items())}")
            receipt = Receipt(source_id="src", received_at=now, request=request, proof=Proof.CONTENT)
            waiting.append(log.append(receipt, avd.decode(request, options)))
            if len(waiting) == 4096:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)
        log.close()

    asyncio.run(fill())


def _deliver(template: Path, path: Path, port: int) -> Sample:
    shutil.copytree(template, path, ignore=shutil.ignore_patterns("run"))
    hub = Hub(path, "avd", sink=port)
    hub.folder.create()
    try:
        process = hub.start_delivery()
        cpu, start = cpu_seconds(process.pid), time.perf_counter()
        patience = start + 120
        head = EVENTS - 1
        while True:
            time.sleep(0.02)
            state = hub.ask("delivery", do="idle")
            if state["idle"] and state["cursor"] >= head:
                break
            if time.perf_counter() > patience:
                raise Unfair("not everything was delivered in two minutes")
        elapsed, spent = time.perf_counter() - start, cpu_seconds(process.pid) - cpu
        hub.stop()
        delivered = hub.scalar(hub.folder.deliveries, "SELECT count(*) FROM deliveries WHERE state = 'delivered'")
        attempts = hub.scalar(hub.folder.deliveries, "SELECT count(*) FROM attempts WHERE accepted = 1")
        if delivered < EVENTS or attempts < EVENTS:
            raise Unfair(f"{EVENTS} events, but {delivered} deliveries and {attempts} attempts are on disk")
        return Sample(rate=delivered / elapsed, cpu=spent * 1e6 / delivered)
    finally:
        hub.stop()
        shutil.rmtree(path)


def _post(port: int) -> Sample:
    """Let a process of its own post, so that it starts as fresh as ours."""
    command = [sys.executable, __file__, str(port), str(EVENTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate, cpu = msgspec.json.decode(done.stdout)
    return Sample(rate=rate, cpu=cpu)


if __name__ == "__main__":
    from sender import run_hand_rolled

    print(msgspec.json.encode(uvloop.run(run_hand_rolled(int(sys.argv[2]), int(sys.argv[1])))).decode())
    sys.stdout.flush()
    os._exit(0)
