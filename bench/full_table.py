"""Number 3: durable intake with 10 million rows in the log against an empty one, for a wire with time in its ids.

Both are the real intake taking signed CloudEvents, whose stored keys start with the event's time. The big log is
written directly in large transactions, about 10 GB; without `--full` it has 1 million rows, and the number says so.
"""

import contextlib
import hashlib
import os
import random  # noqa: TID251 - the same rows every time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
from corpus import ROOMS, standard_requests, write_corpus
from durable_intake import check_rows
from load import run_wrk
from measure import Number, Sample, cpu_seconds, ratio_number, run_rounds

from hub import Hub, work_folder
from northbound.backends.sqlite.database import query
from northbound.model.log import partition_of

GOAL = 0.70
CONNECTIONS = 64
SECONDS = 2
CORPUS = 40_000
ROWS, ROWS_FULL = 1_000_000, 10_000_000
CHUNK = 100_000


def measure(rounds: int, say: Callable[[str], None], *, full: bool) -> list[Number]:
    rows = ROWS_FULL if full else ROWS
    with work_folder("table") as folder:
        filled = Hub(folder / "filled", "standard")
        load_rows(filled.folder.events, rows, say)
        hubs = {"filled": filled, "empty": Hub(folder / "empty", "standard")}
        pids = {name: hub.start_intake().pid for name, hub in hubs.items()}
        windows = {name: lambda name=name: _window(hubs[name], pids[name], folder) for name in hubs}
        try:
            for window in windows.values():
                window()  # warm
            kept = run_rounds(windows, folder, rounds, say)
        finally:
            for hub in hubs.values():
                hub.stop()
    name = f"durable intake with {rows // 1_000_000} M rows / empty, {CONNECTIONS} connections"
    return [ratio_number(name, GOAL, kept, "filled", "empty")]


def _window(hub: Hub, pid: int, folder: Path) -> Sample:
    corpus = folder / "corpus"
    write_corpus(corpus, "src", standard_requests("src"), CORPUS)
    cpu, stored = cpu_seconds(pid), _receipts(hub)
    load = run_wrk(hub.port, corpus, CONNECTIONS, SECONDS)
    check_rows(load, CONNECTIONS, _receipts(hub) - stored)
    return Sample(rate=load.rate, cpu=(cpu_seconds(pid) - cpu) * 1e6 / load.requests, p99_ms=load.p99 / 1000)


def _receipts(hub: Hub) -> int:
    return hub.scalar(hub.folder.events, "SELECT coalesce(max(id), 0) FROM receipts")


# --- the bulk loader -------------------------------------------------------------------------------------------------


def load_rows(path: Path, count: int, say: Callable[[str], None]) -> None:
    """Write *count* events of the last weeks with receipts, keys and a sound chain, the same ones every time."""
    dice = random.Random(7)
    begin = datetime.now(UTC) - timedelta(days=20)
    last = (-1, b"")
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=20000; PRAGMA cache_size=-262144")
        for start in range(0, count, CHUNK):
            receipts, log, seen = [], [], []
            for receipt, entry, key in _rows(range(start, min(start + CHUNK, count)), last[1], begin, count, dice):
                receipts.append(receipt)
                log.append(entry)
                seen.append(key)
                last = (entry[0], entry[-1])
            with connection:
                connection.executemany(query("events.receipt_add"), receipts)
                connection.executemany(query("events.log_add"), log)
                connection.executemany(query("events.seen_add"), seen)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size / 2**30
    os.sync()
    say(f"  {count:,} rows loaded, {size:.1f} GiB")


Row = tuple[Any, ...]


def _rows(
    numbers: range, chain: bytes, begin: datetime, count: int, dice: random.Random
) -> Iterator[tuple[Row, Row, Row]]:
    step = 20 * 86_400_000_000 // count  # microseconds: spread over the weeks
    micros = int(begin.timestamp() * 1_000_000)
    expires = int(begin.timestamp()) + 40 * 86_400
    headers = b'[["content-type","application/cloudevents+json"]]'
    for number in numbers:
        when = micros + number * step
        stamp = datetime.fromtimestamp(when / 1e6, UTC).isoformat()
        room, name = f"1897{number % ROOMS:07}", f"ev_{dice.getrandbits(96):024x}"
        words = f'{{"specversion":"1.0","id":"{name}","source":"bench","type":"room.opened","time":"{stamp}"}}'
        key = f"{when // 1000:013d}|bench {name}"
        event = (
            f'{{"type":"room.opened","dialect":"standard","room_id":"{room}","occurred_at":"{stamp}",'
            f'"dedupe_key":"{key}","vendor":{words}}}'
        ).encode()
        body, salt = words.encode(), number.to_bytes(16, "big")
        digest = hashlib.sha256(salt + body + event).digest()
        chain = hashlib.sha256(chain + number.to_bytes(8, "big") + digest).digest()
        url = "http://127.0.0.1/in/src/token"
        part = partition_of(f"src//{room}")
        yield (
            (number + 1, "src", when, "fresh", "POST", url, headers, body, salt),
            (number, part, None, "src", number + 1, when, "fresh", "observed", None, event, None, digest, chain),
            ("src", key, number, expires, digest[:8]),
        )
