"""The hub's real processes on a throw-away folder, started and stopped by the bench."""

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import msgspec
from corpus import SECRET, TOKEN

from northbound.backends.sqlite.control import SqliteControl
from northbound.config import Config
from northbound.hub.process import CONFIG_VARIABLE
from northbound.hub.supervisor import prepare
from northbound.hub.system import Folder
from northbound.model.app import App, Endpoint, RetryPolicy, Source, Subscription, Target
from northbound.model.wire import Key

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "bench"  # on the disk of the checkout: a folder in memory would make every sync free
START_SECONDS = 20.0
DEADLINE = timedelta(seconds=50)  # of one delivery; longer than a process is ever stopped between windows
_LENGTH = struct.Struct(">I")


@contextlib.contextmanager
def work_folder(name: str) -> Iterator[Path]:
    """Give a folder for one number, gone afterwards."""
    folder = WORK / f"{name}-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Hub:
    """One data folder with an app, a source of *dialect*, and perhaps an endpoint at *sink*."""

    def __init__(self, path: Path, dialect: str, *, sink: int | None = None, in_flight: int = 64) -> None:
        self.path = path
        self.port = free_port()
        self.config = Config(
            data=str(path),
            listen=f"127.0.0.1:{free_port()}",
            intake=f"127.0.0.1:{self.port}",
            allow_targets=() if sink is None else (f"127.0.0.1:{sink}",),
            log_level="error",
        )
        self.folder = Folder(str(path))
        self._running: list[subprocess.Popen[bytes]] = []
        if not self.folder.events.exists():
            prepare(self.config)
            self._set_up(dialect, sink, in_flight)

    def _set_up(self, dialect: str, sink: int | None, in_flight: int) -> None:
        now = datetime.now(UTC)
        things: list[Any] = [
            App(id="app", name="bench", created_at=now),
            Source(
                id="src",
                app_id="app",
                name="bench",
                dialect=dialect,
                token=TOKEN,
                created_at=now,
                keys=(Key(id="k", secret=SECRET),),
            ),
        ]
        if sink is not None:
            target = Endpoint(
                id="end",
                app_id="app",
                url=f"http://127.0.0.1:{sink}/hook",
                dialect="standard",
                created_at=now,
                keys=(Key(id="k", secret=SECRET),),
                retry=RetryPolicy(deadline=DEADLINE),
                max_in_flight=in_flight,
            )
            things += [
                target,
                Subscription(id="sub", app_id="app", created_at=now, targets=(Target(endpoint_id="end"),)),
            ]
        with contextlib.closing(SqliteControl(self.folder.control)) as control:
            for one in things:
                control.put(one, who="bench", now=now)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start `python` with *command* as a process of this hub."""
        environment = {**os.environ, CONFIG_VARIABLE: msgspec.json.encode(self.config).decode()}
        process = subprocess.Popen([sys.executable, *command], env=environment, stdin=subprocess.DEVNULL)
        self._running.append(process)
        return process

    def start_intake(self, kind: str = "real") -> subprocess.Popen[bytes]:
        """Start the intake as `serve` does, or one of the variants of variants.py; return when it answers."""
        variant = str(Path(__file__).with_name("variants.py"))
        process = self.start(*(("-m", "northbound.hub.intake") if kind == "real" else (variant, kind)))
        _await(process, lambda: _is_open(self.port))
        return process

    def start_all(self) -> subprocess.Popen[bytes]:
        """Start all of `serve` under its supervisor; return when intake and delivery are there."""
        process = self.start(str(Path(__file__).with_name("variants.py")), "serve")
        _await(process, lambda: _is_open(self.port) and self.folder.socket_file("delivery.sock").exists())
        return process

    def start_delivery(self) -> subprocess.Popen[bytes]:
        """Start delivery; return as soon as its private line is there, which is when it begins to work."""
        line = self.folder.socket_file("delivery.sock")
        line.unlink(missing_ok=True)
        process = self.start("-m", "northbound.hub.delivery")
        _await(process, line.exists)
        return process

    def start_web(self) -> subprocess.Popen[bytes]:
        """Start the web process; return when it answers."""
        process = self.start("-m", "northbound.hub.web")
        _await(process, lambda: _is_open(int(self.config.listen.rpartition(":")[2])))
        return process

    def ask(self, name: str, **words: Any) -> Any:
        """Ask a process over its private line."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(30)
            line.connect(self.folder.socket(f"{name}.sock"))
            content = msgspec.json.encode(words)
            line.sendall(_LENGTH.pack(len(content)) + content)
            file = line.makefile("rb")
            (length,) = _LENGTH.unpack(file.read(4))
            return msgspec.json.decode(file.read(length))["ok"]

    @staticmethod
    def scalar(path: Path, statement: str) -> int:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        with contextlib.closing(connection):
            return connection.execute(statement).fetchone()[0]

    def stop(self, processes: Sequence[subprocess.Popen[bytes]] | None = None) -> None:
        """Stop all processes, or those given, also when they are halted."""
        for process in list(processes or self._running):
            if process.poll() is None:
                process.terminate()
                process.send_signal(signal.SIGCONT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._running.remove(process)


def start_sink() -> tuple[subprocess.Popen[bytes], int]:
    """Start the receiver that answers 200 to everything; return it and its port."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("sink.py"))], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(20)


def _is_open(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _await(process: subprocess.Popen[bytes], is_there: Any) -> None:
    patience = time.monotonic() + START_SECONDS
    while not is_there():
        if process.poll() is not None or time.monotonic() > patience:
            raise SystemExit(f"a process of the hub did not start (exit code {process.poll()})")
        time.sleep(0.002)
