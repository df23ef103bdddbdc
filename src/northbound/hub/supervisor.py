"""Start the hub's three processes, start them again when they die, stop them all; nothing is left running."""

import contextlib
import fcntl
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TypeVar

import apsw
import msgspec
import structlog

from northbound.backends.sqlite.control import ApiKey, SqliteControl
from northbound.backends.sqlite.database import open_writer
from northbound.backends.sqlite.history import DAMAGED, open_index
from northbound.config import Config, split_address
from northbound.hub.keys import ensure_certificate, write_private
from northbound.hub.process import CONFIG_VARIABLE, DUMP, PARENT_VARIABLE
from northbound.hub.system import Folder
from northbound.hub.watchdog import Watchdog
from northbound.logic.addresses import AllowList
from northbound.model.app import Endpoint, EndpointState
from northbound.model.errors import ConfigError, StoreFailed
from northbound.web.address import read_networks
from northbound.web.server import bind_socket, check_tls

PROCESSES = ("intake", "delivery", "web")
RESTART_WAIT = 0.2  # seconds before a process that died is started again, doubled up to the most
RESTART_MOST = 5.0
CALM = 10.0  # seconds a process must live for its next wait to be short again
STOP_WAIT = 15.0
PATIENCE = 60.0  # seconds without an answer: a statement in a loop may take 5, a commit on a slow disk longer
DUMP_WAIT = 1.0  # seconds that a process has to write down where it hangs
ENDPOINTS_MOST = 1_000_000
log = structlog.get_logger()


class Supervisor:
    """The parent process. `start`, then `watch` for ever or `poll` now and then, at last `stop`.

    A process that dies is started again after *restart_wait* seconds, doubled up to *restart_most* while it dies soon.
    One that runs and answers nothing for *patience* seconds is killed, and so started again.
    """

    def __init__(
        self,
        config: Config,
        *,
        restart_wait: float = RESTART_WAIT,
        restart_most: float = RESTART_MOST,
        patience: float = PATIENCE,
    ) -> None:
        self._config = config
        self._restart_wait = restart_wait
        self._restart_most = restart_most
        self._patience = patience
        self.folder = Folder(config.data)
        self._lock: IO[str] | None = None
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._watchdogs: dict[str, Watchdog] = {}
        self._hung: dict[str, float] = {}  # when to kill those that hang and were asked where
        self._waits: dict[str, float] = dict.fromkeys(PROCESSES, restart_wait)
        self._due: dict[str, float] = {}
        self._stopping = False

    def start(self) -> None:
        """Prepare the folder and start all processes; raise `ConfigError` when a port or the folder is taken."""
        check_start(self._config)
        self._take_folder()
        for name in ("listen", "intake"):
            host, port = split_address(getattr(self._config, name), name)
            bind_socket(host, port, f"--{name}").close()
        prepare(self._config)
        for name in PROCESSES:
            self._spawn(name)

    def poll(self) -> None:
        """Kill what hangs, and start again what died, after its wait."""
        now = time.monotonic()
        for name, process in self._running.items():
            if process.poll() is None:
                self._look_after(name, process, now)
        for name, process in list(self._running.items()):
            if process.poll() is None:
                continue
            del self._running[name]
            self._watchdogs.pop(name).close()
            self._hung.pop(name, None)
            lived = now - self._started[name]
            soon = min(self._restart_most, self._waits[name] * 2)
            self._waits[name] = self._restart_wait if lived > CALM else soon
            self._due[name] = now + self._waits[name]
            if not self._stopping:
                log.error("process.died", process=name, code=process.returncode, again_in=self._waits[name])
        for name in [name for name, due in self._due.items() if due <= now]:
            del self._due[name]
            self._spawn(name)

    def watch(self) -> None:
        """Keep the processes running until SIGTERM or SIGINT."""
        stopped: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: stopped.append(received))
        while not stopped:
            self.poll()
            time.sleep(0.1)
        self.stop()

    def pid_of(self, name: str) -> int | None:
        """Return the process id of *name* while it runs."""
        process = self._running.get(name)
        return process.pid if process is not None and process.poll() is None else None

    def command(self, name: str) -> list[str]:
        """Return the command line of process *name*."""
        return [sys.executable, "-m", f"northbound.hub.{name}"]

    def stop(self) -> None:
        """Ask every process to finish, in the order of the flow; end what does not."""
        self._stopping = True
        for watchdog in self._watchdogs.values():
            watchdog.close()
        for name in PROCESSES:
            process = self._running.pop(name, None)
            if process is None:
                continue
            process.terminate()
            try:
                process.wait(timeout=STOP_WAIT)
            except subprocess.TimeoutExpired:
                log.warning("process.ended_by_force", process=name)
                process.kill()
                process.wait()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _look_after(self, name: str, process: subprocess.Popen[bytes], now: float) -> None:
        """Have a process that hangs say where it stands, and kill it a moment later: it may not hear that any more."""
        watchdog = self._watchdogs[name]
        if name in self._hung:
            if now >= self._hung[name]:
                process.kill()
            return
        watchdog.look(now)
        if watchdog.is_hung(self._patience):
            log.error("process.hung", process=name, silent=round(watchdog.silent, 1))
            process.send_signal(DUMP)
            self._hung[name] = now + DUMP_WAIT

    def _take_folder(self) -> None:
        try:
            self.folder.create()
            self._lock = self.folder.lock.open("w")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigError(
                f"the folder {self.folder.path} cannot be written: {reason}; choose another --data", field="data"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            raise ConfigError(
                f"another northbound is serving the folder {self.folder.path}; stop it or choose --data"
            ) from None

    def _spawn(self, name: str) -> None:
        settings = msgspec.json.encode(self._config).decode()
        environment = {**os.environ, CONFIG_VARIABLE: settings, PARENT_VARIABLE: str(os.getpid())}
        self._running[name] = subprocess.Popen(self.command(name), env=environment, stdin=subprocess.DEVNULL)  # noqa: S603 - ourselves
        self._started[name] = time.monotonic()
        self._watchdogs[name] = Watchdog(self.folder, name)


def prepare(config: Config) -> None:
    """Make what the processes expect: folder, databases at their newest schema, first certificate, admin key."""
    folder = Folder(config.data)
    folder.create()
    for path, schema in (
        (folder.events, "events"),
        (folder.deliveries, "deliveries"),
        (folder.nonces, "nonces"),
    ):
        _opened(path, lambda path=path, schema=schema: open_writer(path, schema)).close()
    index, was_damaged = _opened(folder.index, lambda: open_index(folder.index))
    index.close()
    if was_damaged:
        log.error("index.damaged", file=f"{folder.index.name}{DAMAGED}")
    control = _opened(folder.control, lambda: SqliteControl(folder.control))
    with contextlib.closing(control):
        ensure_certificate(control)
        if not folder.admin_key.exists():
            secret = f"nb_{secrets.token_urlsafe(32)}"
            key = ApiKey(id=f"key_{secrets.token_hex(6)}", role="admin", app_id=None, name="first admin key")
            control.add_key(key, secret, who="northbound", now=datetime.now(UTC))
            write_private(folder.admin_key, f"{secret}\n".encode())
        check_lease(config, [one for _, one in control.find(Endpoint, limit=ENDPOINTS_MOST)])


Opened = TypeVar("Opened")


def _opened(path: Path, open_: Callable[[], Opened]) -> Opened:
    """Open a database; raise `ConfigError` with what to do when it is none, cannot be written, or is too new for us."""
    try:
        return open_()
    except StoreFailed as error:
        raise ConfigError(f"{path} cannot be used: {error.message}", field="data") from None
    except (apsw.Error, OSError) as error:
        advice = (
            "remove it, it is made again at start"
            if path.name in {"index.db", "nonces.db"}
            else "serve a folder that `northbound backup` made, or repair the disk"
        )
        raise ConfigError(f"{path} cannot be used ({error}); {advice}", field="data") from None


def check_start(config: Config) -> None:
    """Refuse settings that a process would refuse at its start; raise `ConfigError`."""
    AllowList.parse(config.allow_targets)
    AllowList.parse(config.check_targets, "check_targets")
    read_networks(config.trusted_proxies, "trusted_proxies")
    check_tls(config.tls_cert, config.tls_key)


def check_lease(config: Config, endpoints: Sequence[Endpoint]) -> None:
    """Refuse a lease that an enabled endpoint's deadline would outlast (D12): it would be sent to twice at once."""
    lease = timedelta(seconds=config.lease_seconds)
    enabled = [one for one in endpoints if one.state is EndpointState.ENABLED]
    longest = max(enabled, key=lambda one: one.retry.deadline, default=None)
    if longest is not None and longest.retry.deadline >= lease:
        seconds = longest.retry.deadline.total_seconds()
        raise ConfigError(
            f"lease_seconds is {config.lease_seconds:g} and endpoint {longest.id} has a deadline of {seconds:g} s, "
            f"which must be shorter: set lease_seconds above {seconds:g}, or start with it and lower the endpoint's "
            "retry.deadline_seconds",
            field="lease_seconds",
        )
