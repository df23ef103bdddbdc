"""What runs in the processes of an end-to-end hub: the real supervisor, and the real parts with points to die at.

    python processes.py supervise        the parent, restarting soon
    python processes.py run <name>       one part; its standard error goes to a file of its own

A part dies by SIGKILL at a named point when the data folder holds a file `die-<point>`; the file is removed first, so
that it dies once. Nothing else of the parts is changed.
"""

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from northbound.config import Config
from northbound.hub.process import CONFIG_VARIABLE, leave_with_parent, run_process, set_up_logging
from northbound.hub.supervisor import PATIENCE, Supervisor

RESTART_WAIT = 0.05
RESTART_MOST = 0.1
PATIENCE_VARIABLE = "_NORTHBOUND_TEST_PATIENCE"  # seconds without an answer before a part counts as hung
HANG = signal.SIGUSR2
LOGS = "logs"  # folder of the captured standard errors, inside the data folder


class QuickSupervisor(Supervisor):
    """The supervisor, its parts started through this file."""

    def __init__(self, config: Config) -> None:
        patience = float(os.environ.get(PATIENCE_VARIABLE) or PATIENCE)
        super().__init__(config, restart_wait=RESTART_WAIT, restart_most=RESTART_MOST, patience=patience)

    def command(self, name: str) -> list[str]:
        return [sys.executable, str(Path(__file__).resolve()), "run", name]


def read_config() -> Config:
    return msgspec.json.decode(os.environ[CONFIG_VARIABLE], type=Config)


def supervise() -> None:
    config = read_config()
    leave_with_parent()
    set_up_logging(config)
    supervisor = QuickSupervisor(config)
    try:
        supervisor.start()
        supervisor.watch()
    finally:
        supervisor.stop()


def run(name: str) -> None:
    folder = Path(read_config().data)
    errors = os.open(folder / LOGS / f"{name}.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(errors, 2)
    os.close(errors)
    signal.signal(HANG, lambda *_: hang())
    part = import_module(f"northbound.hub.{name}")
    POINTS.get(name, lambda _: None)(folder)
    run_process(part.main)


def hang() -> None:
    """Wait for a lock that nobody lets go, in the thread of the loop."""
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


# --- points to die at ------------------------------------------------------------------------------------------------


def die_at(folder: Path, point: str) -> None:
    try:
        (folder / f"die-{point}").unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(kind: type[Any], method: str, *, before: Callable[[], None] = int, after: Callable[[], None] = int) -> None:
    """Call *before* and *after* around a method, which may be a coroutine."""
    real = getattr(kind, method)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        before()
        result = real(*arguments, **named)
        after()
        return result

    async def awaited(*arguments: Any, **named: Any) -> Any:
        before()
        result = await real(*arguments, **named)
        after()
        return result

    setattr(kind, method, awaited if inspect.iscoroutinefunction(real) else wrapped)


def intake_points(folder: Path) -> None:
    """before-commit: every row is written, nothing committed. after-commit: on disk, nobody told."""
    from northbound.backends.sqlite.log import SqliteLog

    wrap(SqliteLog, "_append_rows", after=lambda: die_at(folder, "before-commit"))
    wrap(SqliteLog, "_transaction", after=lambda: die_at(folder, "after-commit"))


def delivery_points(folder: Path) -> None:
    """after-conclude: conclusions logged, rooms not stored. after-route: stored, not sent. before-settle: received."""
    from northbound.backends.sqlite.deliveries import SqliteDeliveries

    for method in ("commit", "commit_aside"):
        wrap(
            SqliteDeliveries,
            method,
            before=lambda: die_at(folder, "after-conclude"),
            after=lambda: die_at(folder, "after-route"),
        )
    for method in ("settle", "settle_aside"):
        wrap(SqliteDeliveries, method, before=lambda: die_at(folder, "before-settle"))


POINTS: dict[str, Callable[[Path], None]] = {"intake": intake_points, "delivery": delivery_points}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["supervise"]:
            supervise()
        case ["run", name]:
            run(name)
        case other:
            sys.exit(f"not known: {other}")
