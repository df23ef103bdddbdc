"""Load an intake with `wrk`, which this installs from Debian when it is missing."""

import shutil
import subprocess
from pathlib import Path

import msgspec


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What the generator counted in one window; percentiles in microseconds (closed loop: compare, never quote)."""

    requests: int
    micros: int
    p50: int
    p99: int
    not_2xx: int
    broken: int
    wraps: int

    @property
    def rate(self) -> float:
        return self.requests * 1e6 / self.micros


class Unfair(Exception):
    """A gate failed: whatever was measured is worth nothing."""


def ensure_wrk() -> None:
    """Install the generator when it is not there."""
    if shutil.which("wrk"):
        return
    print("installing wrk with apt-get ...", flush=True)
    for command in (["update"], ["install", "-y", "--no-install-recommends", "wrk"]):
        done = subprocess.run(["apt-get", "-qq", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"wrk is missing, and apt-get {command[0]} failed; install wrk\n{done.stderr[-500:]}")


def run_wrk(port: int, corpus: Path, connections: int, seconds: int, *, may_wrap: bool = False) -> Load:
    """Send *corpus* over *connections* for *seconds*; every answer must be a 2xx."""
    script = Path(__file__).with_name("wrk.lua")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/", "--", str(corpus)], capture_output=True, text=True, check=True
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise Unfair(f"wrk said nothing of use: {done.stdout[-300:]} {done.stderr[-300:]}")
    load = msgspec.json.decode(line.removeprefix("RESULT "), type=Load)
    if load.not_2xx or load.broken:
        raise Unfair(f"{load.not_2xx} answers were not 2xx, {load.broken} were broken off")
    if load.wraps and not may_wrap:
        raise Unfair("the corpus was too short: ids were sent again that were meant to be new")
    return load
