"""Kill -9 each process of a real hub again and again under load, then prove that nothing was lost, doubled or swapped.

    python -m tests.soak [--kills 200] [--seconds 900] [--seed N] [--keep]

Every callback that was answered 2xx must be in the log exactly once, and every entry that is for anybody outside must
have reached every endpoint, in room order. Prints one line and exits 1 on any violation.
"""

import argparse
import contextlib
import http.client
import os
import random  # noqa: TID251 - seeded, so that a run can be repeated
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import msgspec

from e2e.hub import Hub, send
from e2e.objects import new_app, new_endpoint, new_source, new_subscription, steadfast
from e2e.proof import Proof
from e2e.receiver import Arrival, Receiver, Reply, wait_until
from e2e.vendors import avd, callback, notice
from northbound.hub.supervisor import PROCESSES
from northbound.model.app import Source
from northbound.model.wire import Key, Request, Response

POSTERS = 4
ROOMS_EACH = 2
PAUSE = 0.02  # seconds between a poster's callbacks
CALM = 0.6  # a process lives up to this long after it became ready
EARLY = 0.2  # share of the kills that come while the process starts
REPEATED = 0.05  # share of the callbacks that the vendor sends twice
ROOM_EVENTS = 40  # until a room is closed and opened again
IDLE_SECONDS = 120.0
SHOWN = 20  # violations printed


class Soak:
    """One run: a hub, a receiver, posters, killers, and what they remember."""

    def __init__(self, folder: Path, receiver: Receiver, *, kills: int, seconds: float, seed: int) -> None:
        self.hub = Hub(folder, allow_targets=[receiver.address], log_level="error")
        self.receiver = receiver
        self.kills_wanted = kills
        self.ends_at = time.monotonic() + seconds
        self.seed = seed
        self.kills: Counter[str] = Counter()
        self.acked: dict[tuple[str, str], int] = {}  # (source, id on the wire) -> times answered 2xx
        self.made: list[str] = []  # names of apps whose creation was answered
        self.failures: list[str] = []
        self.stop = threading.Event()
        app = new_app("soak")
        self.app = app
        self.sources = [
            new_source(app, "avd", keys=(Key(secret=b"k3y"),)),
            new_source(app, "anyrtc", keys=(Key(secret=b"notice-key"),)),
        ]
        self.endpoints = [
            new_endpoint(app, "standard", receiver.url("standard"), retry=steadfast()),
            new_endpoint(app, "avd", receiver.url("avd"), retry=steadfast(deadline=0.5)),
        ]
        self.hub.put(app, *self.sources, *self.endpoints, new_subscription(app, *self.endpoints))

    def run(self) -> None:
        """Load and kill until every process died often enough, then let everything come to rest."""
        self.receiver.behave("avd", moody(self._dice("receiver")))
        self.hub.start()
        loads = [self._thread(self._post, number) for number in range(POSTERS)]
        loads.append(self._thread(self._manage))
        killers = [self._thread(self._kill, name) for name in PROCESSES]
        for one in killers:
            one.join()
        self.stop.set()
        for one in loads:
            one.join()
        self.receiver.behave("avd", None)
        if not self.failures:
            self.hub.wait_ready()
            self.hub.wait_idle(IDLE_SECONDS)

    def _dice(self, whose: str) -> random.Random:
        return random.Random(f"{self.seed}/{whose}")  # noqa: S311 - repeatable, not secret

    def _thread(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                self.failures.append(f"{work.__name__}{arguments}: {type(error).__name__}: {error}")
                self.stop.set()

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    # --- load -----------------------------------------------------------------------------------

    def _post(self, number: int) -> None:
        dice = self._dice(f"poster {number}")
        source = self.sources[number % len(self.sources)]
        rooms = [happenings(source, f"p{number}r{room}", dice) for room in range(ROOMS_EACH)]
        while not self.stop.is_set():
            words = next(dice.choice(rooms))
            request = callback(self.hub, source, words)
            for _ in range(2 if dice.random() < REPEATED else 1):
                self._acknowledged(source, words, request)
            time.sleep(PAUSE * 2 * dice.random())

    def _acknowledged(self, source: Source, words: dict[str, Any], request: Request) -> None:
        response = self.hub.post(request, seconds=60)
        if response.status != 200:
            raise AssertionError(f"a good callback was answered {response.status}: {response.body[:200]!r}")
        key = (source.id, str(words.get("trace_id") or words.get("noticeId")))
        self.acked[key] = self.acked.get(key, 0) + 1

    def _manage(self) -> None:
        """Write through the API meanwhile: what was answered as made must be there, once."""
        number = 0
        while not self.stop.is_set():
            name = f"made-{number}"
            number += 1
            if self._made(name) == 201:
                self.made.append(name)
            time.sleep(0.1)

    def _made(self, name: str) -> int:
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status = self._ask_for(name).status
                if status < 500:
                    return status
            time.sleep(0.05)

    def _ask_for(self, name: str) -> Response:
        headers = (("authorization", f"Bearer {self.hub.admin_key}"), ("idempotency-key", f"soak-{name}"))
        url = f"http://{self.hub.config.listen}/api/v1/apps"
        return send(Request(method="POST", url=url, headers=headers, body=msgspec.json.encode({"name": name})))

    # --- kills ----------------------------------------------------------------------------------

    def _kill(self, name: str) -> None:
        dice = self._dice(f"kill {name}")
        last: int | None = None
        while self.kills[name] < self.kills_wanted and time.monotonic() < self.ends_at and not self.stop.is_set():
            pid = self._next_pid(name, last)
            if dice.random() < EARLY:
                time.sleep(0.5 * dice.random())
            else:
                self._wait_ready(name, pid)
                time.sleep(CALM * dice.random())
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills[name] += 1
            last = pid

    def _next_pid(self, name: str, last: int | None) -> int:
        found: list[int] = []

        def is_there() -> bool:
            pid = self.hub.pid(name)
            found[:] = [pid] if pid is not None and pid != last else []
            return bool(found)

        wait_until(is_there, 30, f"{name} to be started again")
        return found[0]

    def _wait_ready(self, name: str, pid: int) -> None:
        """Wait until *pid* works; a process that leaves by itself (its peer died) is waited for no longer."""
        deadline = time.monotonic() + 30
        while not self.hub.is_ready(name) and self.hub.pid(name) == pid:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} was not ready within 30 s\n{self.hub.tail()}")
            time.sleep(0.02)


def happenings(source: Source, room: str, dice: random.Random) -> Iterator[dict[str, Any]]:
    """Yield what happens in one room, for ever: it opens, people come, come again and go, it closes."""
    instance = 0
    while True:
        instance += 1
        present: dict[int, str] = {}
        yield said(source, "open", room, instance)
        for step in range(ROOM_EVENTS):
            user = dice.randrange(1, 6)
            stays = present.get(user)
            if stays is None or (source.dialect == "anyrtc" and dice.random() < 0.3):
                present[user] = f"us-{instance}-{step}"  # somebody who is there comes anew: the old stay is concluded
                yield said(source, "join", room, instance, user, present[user])
            else:
                del present[user]
                yield said(source, "leave", room, instance, user, stays)
        yield said(source, "close", room, instance)


NOTICES = {"open": 101, "close": 102, "join": 103, "leave": 104}


def said(
    source: Source, what: str, room: str, instance: int, user: int | None = None, stay: str | None = None
) -> dict[str, Any]:
    if source.dialect == "avd":
        return avd(what, room, None if user is None else f"u{user}")
    person = {} if user is None else {"uid": user, "platform": 7, "uSId": stay}
    reason = {"reason": 1} if what == "leave" else {}
    return notice(NOTICES[what], room, channelSId=f"{room}-{instance}", **person, **reason)


def moody(dice: random.Random) -> Callable[[Arrival], Reply | None]:
    """Fail now and then: a refusal, a hang-up, an answer after the deadline, and spells of nothing but refusals."""
    spell_ends = [0.0]

    def reply(arrival: Arrival) -> Reply | None:
        roll = dice.random()
        if roll < 0.002:
            spell_ends[0] = arrival.at + 2.0
        if arrival.at < spell_ends[0] or roll < 0.06:
            return Reply(status=500, body=b"not now")
        if roll < 0.08:
            return Reply(hang_up=True)
        return Reply(delay=0.8) if roll < 0.085 else None

    return reply


# --- the command -----------------------------------------------------------------------------------------------------


def soak(*, kills: int, seconds: float, seed: int, keep: bool = False) -> tuple[str, list[str]]:
    """Run once; return the summary line and the violations."""
    began = time.monotonic()
    parent = Path(tempfile.mkdtemp(prefix="northbound-soak-"))
    try:
        with Receiver() as receiver:
            run = Soak(parent / "data", receiver, kills=kills, seconds=seconds, seed=seed)
            with run.hub:
                run.run()
                proof = Proof(run)
                wrong = proof.violations()
                code = run.hub.stop()
            if code != 0:
                wrong.append(f"the supervisor ended with {code}")
        return _summary(run, proof, wrong, time.monotonic() - began), wrong
    finally:
        if not keep:
            shutil.rmtree(parent, ignore_errors=True)


def _summary(run: Soak, proof: Proof, wrong: list[str], seconds: float) -> str:
    killed = " ".join(f"{name} {run.kills[name]}" for name in PROCESSES)
    arrivals = len(run.receiver.arrivals)
    firsts = sum(len(run.receiver.by_delivery(one.dialect)) for one in run.endpoints)
    told = sum(run.acked.values())
    verdict = f"{len(wrong)} VIOLATIONS" if wrong else "no violation"
    return (
        f"soak: {verdict}; kill -9: {killed}; callbacks answered 2xx: {told} ({len(run.acked)} events); log entries: "
        f"{len(proof.entries)} ({len(proof.folded.concluded)} concluded); deliveries: {firsts} in {arrivals} tries; "
        f"apps made: {len(run.made)}; {seconds:.0f} s; seed {run.seed}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="of each process")
    parser.add_argument("--seconds", type=float, default=1800.0, help="stop killing after so long")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", action="store_true", help="keep the data folder")
    options = parser.parse_args()
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    print(f"soak: seed {seed}, {options.kills} kills of each process", flush=True)
    line, wrong = soak(kills=options.kills, seconds=options.seconds, seed=seed, keep=options.keep)
    for one in wrong[:SHOWN]:
        print(f"  {one}")
    print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
