"""What every process of the hub does: logging, registry refresh, stopping, and leaving with its parent."""

import asyncio
import ctypes
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import msgspec
import structlog
import uvloop

from northbound.backends.sqlite.control import SqliteControlReader
from northbound.config import Config
from northbound.hub.system import Folder
from northbound.model.app import Registry
from northbound.model.errors import HubError

REFRESH = timedelta(milliseconds=500)  # how late a change of the registry may be seen when the bell is lost
CONFIG_VARIABLE = "_NORTHBOUND_CONFIG"
PARENT_VARIABLE = "_NORTHBOUND_PARENT"  # process id of the supervisor
DUMP = signal.SIGUSR1  # asked by the supervisor of one that hangs: every thread's place, on standard error
REFUSED = 2  # exit code when the settings or the folder do not let it start
PR_SET_PDEATHSIG = 1
GARBAGE_AFTER = 10_000  # new objects before their collection: nearly all of ours die without one


def run_process(main: Callable[[Config, Folder], Coroutine[Any, Any, None]]) -> None:
    """Run one process of the hub until SIGTERM or until its supervisor is gone."""
    config = msgspec.json.decode(os.environ[CONFIG_VARIABLE], type=Config)
    leave_with_parent()
    set_up_logging(config)
    faulthandler.register(DUMP, all_threads=True)  # functions and lines, no values
    gc.freeze()  # what is imported lives as long as the process: no collection need look at it
    gc.set_threshold(GARBAGE_AFTER, 20, 50)
    try:
        uvloop.run(_until_stopped(main(config, Folder(config.data))))
    except HubError as error:  # said in a line with what to do; a fault of ours keeps its traceback
        structlog.get_logger().error("process.refused", code=error.code, reason=error.message)
        sys.exit(REFUSED)


def leave_with_parent() -> None:
    """Ask the kernel for SIGTERM when the supervisor dies, so that a kill -9 of it leaves nothing running.

    The supervisor says who it is: one that died while we were still being loaded is not our parent any more, nobody
    would tell us, and the next hub on this folder would have a second writer beside it.
    """
    parent = int(os.environ.get(PARENT_VARIABLE) or os.getppid())
    if os.getppid() == parent:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)


async def _until_stopped(main: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(main)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all: the supervisor says who ends when
    try:
        await task
    except asyncio.CancelledError:
        return


def set_up_logging(config: Config) -> None:
    """Log events to standard error, one a line; never a secret, never a body."""
    level = logging.getLevelNamesMapping().get(config.log_level.upper(), logging.INFO)
    as_json = config.log_format == "json" or (config.log_format == "auto" and not sys.stderr.isatty())
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


class RegistryWatch:
    """Keep the newest registry at hand."""

    def __init__(self, folder: Folder, on_change: Callable[[Registry], None]) -> None:
        self._reader = SqliteControlReader(folder.control)
        self._on_change = on_change
        self._version = -1
        self.refresh()

    @property
    def version(self) -> int:
        """The version of the registry that was taken over last."""
        return self._version

    def refresh(self) -> None:
        """Load the registry when its version moved."""
        version = self._reader.version()
        if version != self._version:
            registry = self._reader.load()
            self._on_change(registry)
            self._version = registry.version

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(REFRESH.total_seconds())
            self.refresh()
