"""Intake while a client pages through 10,000 subscriptions once a second against intake with the client at rest.

Intake and the web process of one hub run; the client, a process of its own, walks the whole list by the API, 20 pages
of 500, and starts the next walk a second after the one before began. It is halted (SIGSTOP) while intake is measured
alone. All of it, the generator too, shares the two cores. A window counts only when the client walked in it.
"""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from corpus import avd_requests, write_corpus
from durable_intake import CORPUS, check_rows
from load import Unfair, run_wrk
from measure import Number, Sample, cpu_seconds, plain_number, ratio_number, run_rounds

from hub import Hub, stop, work_folder
from northbound.backends.sqlite.control import SqliteControl
from northbound.model.app import Subscription, Target
from northbound.model.registry import Put

GOAL = 0.95
SUBSCRIPTIONS = 10_000
PAGE = 500
EVERY = 1.0  # seconds from the start of one walk to the start of the next
CONNECTIONS = 64
SECONDS = 3
NO_PORT = 9


def measure(rounds: int, say: Callable[[str], None]) -> list[Number]:
    with work_folder("paging") as folder:
        hub = Hub(folder / "hub", "avd", sink=NO_PORT)
        fill_registry(hub)
        client: subprocess.Popen[bytes] | None = None
        try:
            subject = _Subject(hub, folder)
            client = subject.client
            subject.window(paging=True)
            kept = run_rounds(
                {"paging": lambda: subject.window(paging=True), "alone": lambda: subject.window(paging=False)},
                folder,
                rounds,
                say,
            )
        finally:
            if client is not None:
                client.send_signal(signal.SIGCONT)
                stop(client)
            hub.stop()
    name = f"intake while a client pages through {SUBSCRIPTIONS:,} subscriptions a second / alone"
    return [
        ratio_number(name, GOAL, kept, "paging", "alone"),
        plain_number("CPU of the web process for one walk of 20 pages", kept, "paging", "walk", "ms"),
    ]


def fill_registry(hub: Hub) -> None:
    """Add the subscriptions, none of which matches what comes in."""
    now = datetime.now(UTC)
    with closing(SqliteControl(hub.folder.control)) as control:
        puts = [
            Put(
                one=Subscription(
                    id=f"sub_{number:05}",
                    app_id="app",
                    created_at=now,
                    name=f"subscription {number}",
                    pattern=f'{{"type":["participant.joined"],"data":{{"room_id":["elsewhere-{number}"]}}}}',
                    targets=(Target(endpoint_id="end"),),
                )
            )
            for number in range(SUBSCRIPTIONS)
        ]
        control.change(puts, (), who="bench", now=now)


class _Subject:
    """A hub's intake, its web process, and the client, halted but in windows of paging."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub = hub
        self.intake = hub.start_intake().pid
        self.web = hub.start_web().pid
        self.corpus = folder / "corpus"
        self.requests = avd_requests("src")
        self.walks = folder / "walks"
        self.walks.touch()
        command = [sys.executable, __file__, hub.config.listen, str(hub.folder.admin_key), str(self.walks)]
        self.client = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        while not self.walks.stat().st_size:
            if self.client.poll() is not None:
                raise Unfair(f"the client ended with {self.client.returncode}")
            time.sleep(0.05)
        self.client.send_signal(signal.SIGSTOP)

    def window(self, *, paging: bool) -> Sample:
        write_corpus(self.corpus, "src", self.requests, CORPUS)
        stored, cpu = self._receipts(), cpu_seconds(self.intake)
        walked, web = self.walks.stat().st_size, cpu_seconds(self.web)
        if paging:
            self.client.send_signal(signal.SIGCONT)
        load = run_wrk(self.hub.port, self.corpus, CONNECTIONS, SECONDS)
        if paging:
            self.client.send_signal(signal.SIGSTOP)
        spent, web = cpu_seconds(self.intake) - cpu, cpu_seconds(self.web) - web
        walked = self.walks.stat().st_size - walked
        if paging and walked < SECONDS - 1:
            raise Unfair(f"the client came to {walked} walks in {SECONDS} seconds")
        check_rows(load, CONNECTIONS, self._receipts() - stored)
        extra = {"walk": web * 1000 / walked} if walked else {}
        return Sample(rate=load.rate, cpu=spent * 1e6 / load.requests, p99_ms=load.p99 / 1000, extra=extra)

    def _receipts(self) -> int:
        return self.hub.scalar(self.hub.folder.events, "SELECT coalesce(max(id), 0) FROM receipts")


def walk_for_ever(listen: str, key: str, walks: Path) -> None:
    """Page through the whole list once a second; note each complete walk by one byte."""
    line = http.client.HTTPConnection(listen)
    headers = {"authorization": f"Bearer {key}"}
    with walks.open("ab", buffering=0) as noted:
        while True:
            began = time.monotonic()
            seen, cursor = 0, ""
            while True:
                line.request("GET", f"/api/v1/subscriptions?limit={PAGE}{cursor}", headers=headers)
                answer = line.getresponse()
                page = msgspec.json.decode(answer.read())
                assert answer.status == 200, page
                seen += len(page["items"])
                if page["next_cursor"] is None:
                    break
                cursor = f"&cursor={page['next_cursor']}"
            assert seen > SUBSCRIPTIONS, seen
            noted.write(b".")
            time.sleep(max(0.0, began + EVERY - time.monotonic()))


if __name__ == "__main__":
    try:
        walk_for_ever(sys.argv[1], Path(sys.argv[2]).read_text().strip(), Path(sys.argv[3]))
    except KeyboardInterrupt:
        os._exit(0)
