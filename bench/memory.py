"""Number 4: what all processes together keep resident after 1 million events, taken in, folded and delivered.

The whole of `serve` (supervisor, intake, delivery, web) runs; events come through the intake and go on to a receiver.
Without `--full` it is 100 thousand events, and the number says so.
"""

import time
from collections.abc import Callable
from pathlib import Path

from corpus import avd_requests, write_corpus
from load import run_wrk
from measure import Number, resident_mib

from hub import Hub, start_sink, stop, work_folder

GOAL_MIB = 400
EVENTS, EVENTS_FULL = 100_000, 1_000_000
CHUNK = 100_000
CONNECTIONS = 32
PATIENCE = 1800.0  # seconds for delivery to catch up


def measure(rounds: int, say: Callable[[str], None], *, full: bool) -> list[Number]:
    wanted = EVENTS_FULL if full else EVENTS
    sink, port = start_sink()
    try:
        with work_folder("memory") as folder:
            hub = Hub(folder / "hub", "avd", sink=port)
            try:
                process = hub.start_all()
                at_start, _ = resident_mib(process.pid)
                taken = _take(hub, folder, wanted)
                peak = _catch_up(hub, process.pid)
                time.sleep(2)
                resident, proportional = resident_mib(process.pid)
            finally:
                hub.stop()
            delivered = hub.scalar(hub.folder.deliveries, "SELECT count(*) FROM deliveries WHERE state = 'delivered'")
    finally:
        stop(sink)
    say(f"  {taken:,} callbacks taken, {delivered:,} deliveries; {at_start:.0f} MiB at the start, {peak:.0f} at most")
    return [
        Number(
            name=f"all processes resident after {wanted // 1000:,} k events",
            goal=f"< {GOAL_MIB} MiB",
            value=f"{resident:.0f} MiB",
            verdict="met" if resident < GOAL_MIB else "missed",
            notes=f"{proportional:.0f} with shared pages counted once; {at_start:.0f} at the start, {peak:.0f} at most",
        )
    ]


def _take(hub: Hub, folder: Path, wanted: int) -> int:
    """Load the intake until *wanted* events are in the log."""
    requests, corpus = avd_requests("src"), folder / "corpus"
    while (taken := hub.scalar(hub.folder.events, "SELECT coalesce(max(id), 0) FROM receipts")) < wanted:
        write_corpus(corpus, "src", requests, min(CHUNK, wanted - taken + 20_000))
        run_wrk(hub.port, corpus, CONNECTIONS, 3, may_wrap=True)
    return taken


def _catch_up(hub: Hub, pid: int) -> float:
    """Wait until all is delivered; return the most that was resident meanwhile."""
    peak, patience = 0.0, time.monotonic() + PATIENCE
    while time.monotonic() < patience:
        peak = max(peak, resident_mib(pid)[0])
        state = hub.ask("delivery", do="idle")
        head = hub.scalar(hub.folder.events, "SELECT max(offset) FROM log")
        if state["idle"] and state["cursor"] >= head:
            return peak
        time.sleep(0.5)
    raise SystemExit("delivery did not catch up")
