"""Measure on a machine that is busy with other things: short interleaved windows, canaries, ratios within a round.

A round runs every subject once, in an order shuffled per round, between two canaries (a fixed CPU loop and an fsync
probe). A number is the median of ratios between two subjects of the same round; rounds whose canary is more than 25%
off the median are dropped and counted, and fewer than 5 good rounds make it "inconclusive". Rates alone say little.
"""

import os
import random  # noqa: TID251 - shuffles and resamples
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

GOOD_ROUNDS = 5  # fewer say nothing
CANARY_OFF = 0.25
EXTRA_ROUNDS = 4  # run at most so many more when too many were dropped
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One window of one subject: requests a second, CPU microseconds a request, and whatever else was seen."""

    rate: float
    cpu: float = 0.0
    p99_ms: float = 0.0
    extra: dict[str, float] = {}


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """How the machine felt: seconds of a fixed CPU loop, and of one fsync (median)."""

    loop: float
    fsync: float


class Round(msgspec.Struct, frozen=True, kw_only=True):
    samples: dict[str, Sample]
    canary: Canary


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """One published number: what it is, its goal, and how it came out."""

    name: str
    goal: str
    value: str
    verdict: str  # met, missed, inconclusive, or - without a goal
    notes: str = ""


# --- rounds ----------------------------------------------------------------------------------------------------------


def run_rounds(
    subjects: Mapping[str, Callable[[], Sample]], folder: Path, rounds: int, say: Callable[[str], None]
) -> list[Round]:
    """Run *subjects* in turn, *rounds* times and a few more if too many rounds are bad; return the good ones."""
    done: list[Round] = []
    before = canary(folder)
    while len(done) < rounds or (len(good(done)) < GOOD_ROUNDS and len(done) < rounds + EXTRA_ROUNDS):
        samples: dict[str, Sample] = {}
        for name in random.sample(list(subjects), len(subjects)):
            samples[name] = subjects[name]()
        after = canary(folder)
        felt = Canary(loop=(before.loop + after.loop) / 2, fsync=(before.fsync + after.fsync) / 2)
        done.append(Round(samples=samples, canary=felt))
        before = after
        rates = "  ".join(f"{name} {samples[name].rate:,.0f}/s" for name in subjects)
        say(f"  round {len(done)}: {rates}  [loop {felt.loop * 1e3:.0f} ms, fsync {felt.fsync * 1e6:.0f} us]")
    kept = good(done)
    say(f"  {len(kept)} good rounds, {len(done) - len(kept)} dropped for their canary")
    return kept


def good(rounds: Sequence[Round]) -> list[Round]:
    """Return the rounds whose canary is near the median of all."""
    if not rounds:
        return []
    loop = statistics.median(one.canary.loop for one in rounds)
    fsync = statistics.median(one.canary.fsync for one in rounds)
    return [
        one
        for one in rounds
        if abs(one.canary.loop / loop - 1) <= CANARY_OFF and abs(one.canary.fsync / fsync - 1) <= CANARY_OFF
    ]


def canary(folder: Path) -> Canary:
    """Feel the machine."""
    loops: list[float] = []
    for _ in range(5):
        start = time.perf_counter()
        total = 0
        for number in range(400_000):
            total += number & 7
        loops.append(time.perf_counter() - start)
    syncs: list[float] = []
    probe = folder / "canary"
    with probe.open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"x" * 600)
            start = time.perf_counter()
            os.fsync(file.fileno())
            syncs.append(time.perf_counter() - start)
    probe.unlink()
    return Canary(loop=statistics.median(loops), fsync=statistics.median(syncs))


# --- numbers ---------------------------------------------------------------------------------------------------------


def ratio_number(name: str, goal: float | None, rounds: Sequence[Round], ours: str, theirs: str) -> Number:
    """Return *ours* / *theirs* as the median of same-round ratios, with a bootstrap interval."""
    pairs = [one.samples[ours].rate / one.samples[theirs].rate for one in rounds]
    wanted = "-" if goal is None else f">= {goal:.2f}"
    cpu = f"CPU {_middle(rounds, ours, 'cpu'):.0f} / {_middle(rounds, theirs, 'cpu'):.0f} us"
    rates = f"{_middle(rounds, ours, 'rate'):,.0f} / {_middle(rounds, theirs, 'rate'):,.0f} a second"
    notes = f"{cpu} a request; {rates}; n={len(rounds)}"
    if len(rounds) < GOOD_ROUNDS:
        return Number(name=name, goal=wanted, value="-", verdict="inconclusive", notes=notes)
    median = statistics.median(pairs)
    low, high = bootstrap(pairs)
    verdict = "-" if goal is None else "met" if median >= goal else "missed"
    return Number(name=name, goal=wanted, value=f"{median:.2f} ({low:.2f}-{high:.2f})", verdict=verdict, notes=notes)


def plain_number(name: str, rounds: Sequence[Round], subject: str, field: str, unit: str) -> Number:
    """Return the median over rounds of something seen beside the rate; it has no goal."""
    values = [one.samples[subject].extra.get(field, 0.0) for one in rounds]
    few = len(values) < GOOD_ROUNDS
    value = "-" if few else f"{statistics.median(values):.1f} {unit}"
    return Number(name=name, goal="-", value=value, verdict="inconclusive" if few else "-", notes=f"n={len(values)}")


def _middle(rounds: Sequence[Round], subject: str, field: str) -> float:
    return statistics.median([getattr(one.samples[subject], field) for one in rounds] or [0.0])


def bootstrap(values: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """Return the middle 90% of medians of resamples."""
    medians = sorted(statistics.median(random.choices(values, k=len(values))) for _ in range(draws))
    return medians[draws // 20], medians[-draws // 20]


# --- processes, from /proc -------------------------------------------------------------------------------------------


def tree(pid: int) -> list[int]:
    """Return *pid* and all that descend from it."""
    found = [pid]
    for one in found:
        try:
            tasks = list(Path(f"/proc/{one}/task").iterdir())
        except OSError:
            continue
        for task in tasks:
            try:
                found.extend(int(child) for child in (task / "children").read_text().split())
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, user and system, of the process tree."""
    total = 0
    for one in tree(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(") ")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_mib(pid: int) -> tuple[float, float]:
    """Return (resident, proportional) MiB of the process tree; the first counts shared pages once a process."""
    resident = proportional = 0
    for one in tree(pid):
        resident += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * PAGE_KIB
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        proportional += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return resident / 1024, proportional / 1024
