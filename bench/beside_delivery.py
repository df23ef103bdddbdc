"""Intake beside a busy delivery against intake alone: does sending slow down what vendors wait for?

One hub with a backlog that delivery works off at full speed; it is halted (SIGSTOP) while intake is measured alone.
The generator and the receiver share the two cores with both, so on a small machine this is a hard test.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from corpus import avd_requests, write_corpus
from delivery import fill_log
from durable_intake import CORPUS, check_rows
from load import Unfair, run_wrk
from measure import Number, Sample, cpu_seconds, ratio_number, run_rounds

from hub import Hub, start_sink, stop, work_folder

BACKLOG = 20_000
CONNECTIONS = 64
SECONDS = 2


def measure(rounds: int, say: Callable[[str], None]) -> list[Number]:
    sink, port = start_sink()
    try:
        with work_folder("beside") as folder:
            hub = Hub(folder / "hub", "avd", sink=port)
            fill_log(hub, BACKLOG)
            try:
                subject = _Subject(hub, folder)
                subject.window(busy=True)
                kept = run_rounds(
                    {"beside": lambda: subject.window(busy=True), "alone": lambda: subject.window(busy=False)},
                    folder,
                    rounds,
                    say,
                )
            finally:
                hub.stop()
        name = f"intake beside a busy delivery / alone, {CONNECTIONS} connections"
        return [ratio_number(name, None, kept, "beside", "alone")]
    finally:
        stop(sink)


class _Subject:
    """The hub's intake, and its delivery, halted but in busy windows."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub = hub
        self.intake = hub.start_intake().pid
        self.delivery = hub.start_delivery().pid
        self.corpus = folder / "corpus"
        self.requests = avd_requests("src")
        os.kill(self.delivery, signal.SIGSTOP)

    def window(self, *, busy: bool) -> Sample:
        write_corpus(self.corpus, "src", self.requests, CORPUS)
        stored, cpu = self._receipts(), cpu_seconds(self.intake)
        if busy:
            os.kill(self.delivery, signal.SIGCONT)
        load = run_wrk(self.hub.port, self.corpus, CONNECTIONS, SECONDS)
        if busy:
            if self.hub.ask("delivery", do="idle")["idle"]:
                raise Unfair("delivery had nothing to do; give it a larger backlog")
            os.kill(self.delivery, signal.SIGSTOP)
            time.sleep(0.05)
        spent = cpu_seconds(self.intake) - cpu
        check_rows(load, CONNECTIONS, self._receipts() - stored)
        return Sample(rate=load.rate, cpu=spent * 1e6 / load.requests, p99_ms=load.p99 / 1000)

    def _receipts(self) -> int:
        return self.hub.scalar(self.hub.folder.events, "SELECT coalesce(max(id), 0) FROM receipts")
