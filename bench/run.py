"""Measure the numbers we publish. `make bench`: a few minutes; `make bench BENCH=--full`: the long one, 10 GB of disk.

`BENCH="--only durable_intake,delivery --rounds 9"` runs a part. Ends with failure when a gate of fairness failed, not
when a goal was missed: a goal is read, a gate is held.
"""

import argparse
import importlib
import platform
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from load import Unfair, ensure_wrk
from measure import Number

from hub import WORK

NUMBERS = (
    "durable_intake",
    "delivery",
    "full_table",
    "memory",
    "beside_delivery",
    "beside_paging",
    "rules",
    "rpc_calls",
)
ROUNDS, ROUNDS_FULL = 7, 11
DISK_FULL = 12 * 2**30
HAS_SIZES = {"full_table", "memory"}  # those that `--full` makes larger


def main() -> int:
    options = _options()
    if options.full and shutil.disk_usage(WORK.parent.parent).free < DISK_FULL:
        print("--full writes about 10 GB and wants 12 GB free on this disk; free some, or run without --full")
        return 2
    ensure_wrk()
    WORK.mkdir(parents=True, exist_ok=True)
    rounds = options.rounds or (ROUNDS_FULL if options.full else ROUNDS)
    numbers: list[Number] = []
    failures: list[str] = []
    for name in options.only.split(",") if options.only else NUMBERS:
        start = time.monotonic()
        print(f"{name} ...", flush=True)
        module = importlib.import_module(name)
        extra = {"full": options.full} if name in HAS_SIZES else {}
        try:
            numbers += module.measure(rounds, _say, **extra)
        except Unfair as unfair:
            failures.append(f"{name}: {unfair}")
            print(f"  NOT FAIR: {unfair}")
        print(f"  took {time.monotonic() - start:.0f} s", flush=True)
    _report(numbers)
    for failure in failures:
        print(f"a gate failed: {failure}")
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the numbers we publish.")
    parser.add_argument("--full", action="store_true", help="10 million rows and 1 million events, more rounds")
    parser.add_argument("--only", default="", help=f"a comma-separated part of {', '.join(NUMBERS)}")
    parser.add_argument("--rounds", type=int, default=0)
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, flush=True)


def _report(numbers: list[Number]) -> None:
    width = max((len(one.name) for one in numbers), default=0)
    print(f"\nPython {platform.python_version()}, {platform.machine()}; medians of same-round ratios (90% interval)\n")
    for one in numbers:
        print(f"{one.name:{width}}  {one.value:18} goal {one.goal:10} {one.verdict:13} {one.notes}")


if __name__ == "__main__":
    sys.exit(main())
