"""Number 1: durable intake against the same server with a store that does nothing, at 64 and 256 connections.

Both are the real intake process behind the guarded server, verifying, decoding and answering signed `avd` callbacks;
they differ in the log's append alone. Beside it: mean rows of a commit, and the 99th percentile of a commit.
"""

import statistics
from collections.abc import Callable
from pathlib import Path

import msgspec
from corpus import avd_requests, write_corpus
from load import Load, Unfair, run_wrk
from measure import Number, Sample, cpu_seconds, plain_number, ratio_number, run_rounds

from hub import Hub, work_folder

GOALS = {64: 0.45, 256: 0.55}
SECONDS = 2
CORPUS = 60_000  # more than a window can send
KINDS = {"no-op": "no-op", "durable": "timed"}


def measure(rounds: int, say: Callable[[str], None]) -> list[Number]:
    with work_folder("intake") as folder:
        subjects = {kind: _Subject(kind, folder) for kind in KINDS}
        windows = {
            f"{kind} {connections}": lambda subject=subject, connections=connections: subject.window(connections)
            for kind, subject in subjects.items()
            for connections in GOALS
        }
        try:
            for subject in subjects.values():
                subject.window(64)  # warm
            kept = run_rounds(windows, folder, rounds, say)
        finally:
            for subject in subjects.values():
                subject.hub.stop()
        numbers = [
            ratio_number(
                f"durable intake / no-op store, {many} connections", goal, kept, f"durable {many}", f"no-op {many}"
            )
            for many, goal in GOALS.items()
        ]
        numbers += [
            plain_number(f"mean rows of a commit, {many} connections", kept, f"durable {many}", "rows", "rows")
            for many in GOALS
        ]
        return [*numbers, _commit_number(subjects["durable"].hub)]


def _commit_number(hub: Hub) -> Number:
    noted = msgspec.json.decode((hub.path / "commits.json").read_bytes())
    times = sorted(seconds * 1000 for _, seconds in noted)
    value = f"{times[len(times) * 99 // 100]:.1f} ms"
    middle = statistics.median(times)
    notes = f"median {middle:.1f} ms, longest {times[-1]:.0f} ms of {len(times):,} commits under full load"
    return Number(name="one commit, 99th percentile", goal="-", value=value, verdict="-", notes=notes)


class _Subject:
    """One intake process and its corpus."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.is_durable = kind == "durable"
        self.hub = Hub(folder / kind, "avd")
        self.process = self.hub.start_intake(KINDS[kind])
        self.corpus = folder / f"{kind}.corpus"
        self.requests = avd_requests("src")
        if not self.is_durable:
            write_corpus(self.corpus, "src", self.requests, CORPUS)

    def window(self, connections: int) -> Sample:
        if self.is_durable:
            write_corpus(self.corpus, "src", self.requests, CORPUS)
        before, cpu = self._commits(), cpu_seconds(self.process.pid)
        stored = self._receipts()
        load = run_wrk(self.hub.port, self.corpus, connections, SECONDS, may_wrap=not self.is_durable)
        spent = cpu_seconds(self.process.pid) - cpu
        rows = check_rows(load, connections, self._receipts() - stored) if self.is_durable else 0
        commits = self._commits() - before
        extra = {"rows": rows / commits} if commits else {}
        return Sample(rate=load.rate, cpu=spent * 1e6 / load.requests, p99_ms=load.p99 / 1000, extra=extra)

    def _commits(self) -> int:
        text = self.hub.ask("intake", do="metrics")["text"]
        return int(
            next(float(line.split()[1]) for line in text.splitlines() if line.startswith("northbound_intake_commits"))
        )

    def _receipts(self) -> int:
        return self.hub.scalar(self.hub.folder.events, "SELECT coalesce(max(id), 0) FROM receipts")


def check_rows(load: Load, connections: int, rows: int) -> int:
    """Hold the counts together: each 2xx has its row; what wrk hung up on at the end may have one (never answered)."""
    if not load.requests <= rows <= load.requests + connections:
        raise Unfair(f"{load.requests} answers were 2xx, but the log took {rows} requests")
    return rows
