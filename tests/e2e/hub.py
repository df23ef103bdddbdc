"""A real hub beside a test: the supervisor with its three processes, on free ports and a folder of its own.

Whoever uses it sets objects up before `start` (or changes them through `control` while it runs), posts callbacks as
vendors do, kills what it likes by pid, and reads the databases. Leaving the `with` ends everything, also after a
failure, and fails itself when something is left running.
"""

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from e2e import processes
from e2e.objects import now
from e2e.receiver import wait_until
from northbound.backends.sqlite.control import SqliteControl
from northbound.backends.sqlite.database import open_reader
from northbound.config import Config
from northbound.hub.process import CONFIG_VARIABLE
from northbound.hub.supervisor import PROCESSES, prepare
from northbound.hub.system import Folder
from northbound.model.app import App, Endpoint, Source, Subscription
from northbound.model.wire import Request, Response

SEEN_SECONDS = 20.0  # each process looks several times a second whether anything was set up
START_SECONDS = 30.0
RETRIES_SECONDS = 30.0  # how long a vendor keeps trying
_LENGTH = struct.Struct(">I")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Hub:
    """One hub; `with Hub(folder, ...) as hub`, then `hub.start()`."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        listen, intake = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        base = {"data": str(folder), "listen": listen, "intake": intake, "wait_scale": 0.02, "log_format": "json"}
        self.config = msgspec.convert({**base, **settings}, Config)
        self.folder = Folder(self.config.data)
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._ours: dict[int, str] = {}  # every process seen, by pid: its start time, which no other one shares
        self.folder.create()
        (self.folder.path / processes.LOGS).mkdir()
        prepare(self.config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- starting and ending ---------------------------------------------------------------------

    def start(self, *, patience: float | None = None) -> Self:
        """Start the supervisor and return when every process works; *patience* is with one that answers nothing."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NORTHBOUND_")}
        environment[CONFIG_VARIABLE] = msgspec.json.encode(self.config).decode()
        if patience is not None:
            environment[processes.PATIENCE_VARIABLE] = str(patience)
        with (self.folder.path / processes.LOGS / "supervisor.err").open("ab") as errors:
            self._supervisor = subprocess.Popen(
                [sys.executable, processes.__file__, "supervise"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )
        self.wait_ready()
        return self

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when every process answers."""
        for name in PROCESSES:
            wait_until(lambda name=name: self.is_ready(name), seconds, lambda name=name: f"{name} ready\n{self.tail()}")

    def is_ready(self, name: str) -> bool:
        """Tell whether process *name* answers."""
        assert self._supervisor is not None and self._supervisor.poll() is None, self.tail()
        if self.pid(name) is None:
            return False
        try:
            if name == "delivery":
                return bool(self.ask(name, "health")["ok"])
            address = self.config.listen if name == "web" else self.config.intake
            return _get(address, "/healthz").status == 200
        except (OSError, http.client.HTTPException, EOFError):
            return False

    def stop(self) -> int | None:
        """End the supervisor, and with it everything; return its exit code."""
        if self._supervisor is None:
            return None
        self.children()
        self._supervisor.terminate()
        try:
            code = self._supervisor.wait(40)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            code = self._supervisor.wait(10)
        self._supervisor = None
        self._expect_nothing_left()
        return code

    def kill_supervisor(self) -> None:
        """Kill the parent alone; its children must leave by themselves."""
        assert self._supervisor is not None
        self.children()
        self._supervisor.kill()
        self._supervisor.wait(10)
        self._supervisor = None
        self._expect_nothing_left()

    def _expect_nothing_left(self) -> None:
        deadline = time.monotonic() + 10
        while left := [pid for pid, started in self._ours.items() if _start_time(pid) == started]:
            if time.monotonic() > deadline:
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"processes were left running: {left}")
            time.sleep(0.02)

    # --- its processes ---------------------------------------------------------------------------

    def children(self) -> dict[str, int]:
        """Return the pids of the processes that run, by name."""
        assert self._supervisor is not None
        found: dict[str, int] = {}
        for pid in _children_of(self._supervisor.pid):
            started, words = _start_time(pid), _command_line(pid)
            if started is not None and words[-2:-1] == ["run"]:  # not between fork and exec
                self._ours[pid] = started
                found[words[-1]] = pid
        return found

    def pid(self, name: str) -> int | None:
        return self.children().get(name)

    def kill(self, name: str) -> int:
        """Kill process *name* by SIGKILL; return the pid it had."""
        wait_until(lambda: self.pid(name), START_SECONDS, f"{name} to run")
        pid = self.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    def hang(self, name: str) -> None:
        """Have process *name* stand still for ever, as by a lock that nobody lets go; it can be killed."""
        pid = self.pid(name)
        assert pid is not None
        os.kill(pid, processes.HANG)

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[int]:
        """Hold process *name* still meanwhile, unless it is killed."""
        pid = self.pid(name)
        assert pid is not None
        started = _start_time(pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            if _start_time(pid) == started:
                os.kill(pid, signal.SIGCONT)

    def die_at(self, point: str) -> Path:
        """Let a process die when it comes to *point* next; the file that is returned is gone when it did."""
        flag = self.folder.path / f"die-{point}"
        flag.touch()
        return flag

    def ask(self, name: str, what: str) -> Any:
        """Return a process's answer on the private line."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(self.folder.socket(f"{name}.sock"))
            call = json.dumps({"do": what}).encode()
            line.sendall(_LENGTH.pack(len(call)) + call)
            (length,) = _LENGTH.unpack(_exactly(line, 4))
            return json.loads(_exactly(line, length))["ok"]

    def wait_idle(self, seconds: float = 20.0) -> None:
        """Return when everything stored is folded, routed, sent and settled."""

        def is_idle() -> bool:
            try:
                told = self.ask("delivery", "idle")
            except (OSError, EOFError):
                return False
            if not told["idle"] or told["cursor"] != self.head():
                return False
            # What was routed this moment waits in the database before it waits in memory.
            return not self.rows("deliveries", "SELECT 1 FROM deliveries WHERE state = 'waiting' LIMIT 1")

        wait_until(is_idle, seconds, "delivery to be idle")

    def logs(self, name: str = "") -> str:
        """Return what the processes (or one) said on standard error."""
        folder = self.folder.path / processes.LOGS
        return "".join(path.read_text() for path in sorted(folder.glob(f"{name or '*'}.err")))

    def tail(self) -> str:
        """Return the end of what was said, for a failure's message."""
        return self.logs()[-4000:]

    # --- setting up ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def control(self) -> Iterator[SqliteControl]:
        control = SqliteControl(self.folder.control)
        try:
            yield control
        finally:
            control.close()

    def put(self, *objects: App | Source | Endpoint | Subscription) -> None:
        """Create or replace objects; running processes see them within a second."""
        with self.control() as control:
            for one in objects:
                known = [revision for revision, old in control.find(type(one), limit=10_000) if old.id == one.id]
                control.put(one, who="test", now=now(), revision=known[0] if known else None)

    def set_up(self, *objects: App | Source | Endpoint | Subscription) -> None:
        """Create or replace objects while the hub runs, and return when every process knows them."""
        self.put(*objects)
        self.wait_seen()

    def wait_seen(self) -> None:
        """Return when every process knows what is set up by now."""
        with self.control() as control:
            version = control.version()
        for name in ("intake", "delivery"):
            wait_until(
                lambda name=name: self.ask(name, "health")["registry"] >= version, SEEN_SECONDS, f"{name} to see it"
            )

    def command(self, **body: Any) -> str:
        """Ask the delivery process for something; return the command's id."""
        identity = f"cmd_{secrets.token_hex(6)}"
        with self.control() as control:
            control.command(identity, body, who="test", now=now())
        return identity

    def intake_url(self, source: Source) -> str:
        return f"http://{self.config.intake}/in/{source.id}/{source.token}"

    # --- as vendors do ---------------------------------------------------------------------------

    def post(self, request: Request, *, seconds: float = RETRIES_SECONDS) -> Response:
        """Send a callback again and again, the same one, until it is not refused as "later" and not cut off."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                response = send(request)
            except (OSError, http.client.HTTPException):
                response = None
            if response is not None and response.status < 500:
                return response
            assert time.monotonic() < deadline, f"the intake took no callback for {seconds:g} s"
            time.sleep(0.02)

    # --- as callers of the API do ----------------------------------------------------------------

    @property
    def admin_key(self) -> str:
        return self.folder.admin_key.read_text().strip()

    def api(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> tuple[int, Any]:
        """Call the API; return status and content (JSON where it is)."""
        headers = (("authorization", f"Bearer {key or self.admin_key}"), ("content-type", "application/json"))
        content = b"" if body is None else json.dumps(body).encode()
        url = f"http://{self.config.listen}{path}"
        response = send(Request(method=method, url=url, headers=headers, body=content))
        try:
            return response.status, json.loads(response.body)
        except ValueError:
            return response.status, response.body.decode(errors="replace")

    # --- the databases, read only ----------------------------------------------------------------

    def rows(self, database: str, statement: str, *values: Any) -> list[Any]:
        """Return what *statement* finds in `<database>.db`."""
        connection = open_reader(self.folder.path / f"{database}.db")
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def head(self) -> int:
        return self.rows("events", "SELECT coalesce(max(offset), -1) FROM log")[0][0]

    def events(self, source: Source | None = None) -> list[dict[str, Any]]:
        """Return the log, each entry's event with what is known beside it."""
        rows = self.rows(
            "events",
            "SELECT offset, id, source_id, receipt_id, proof, origin, cause_id, event FROM log"
            " WHERE ?1 IS NULL OR source_id = ?1 ORDER BY offset",
            source.id if source else None,
        )
        names = ("offset", "id", "source_id", "receipt_id", "proof", "origin", "cause_id")
        return [{**json.loads(row[7]), **dict(zip(names, row, strict=False))} for row in rows]

    def quarantine(self, source: Source) -> list[tuple[str, str, bytes]]:
        """Return (code, message, body) of what was refused, oldest first."""
        return self.rows(
            "events", "SELECT code, message, body FROM quarantine WHERE source_id = ? ORDER BY id", source.id
        )

    def deliveries(self, endpoint: Endpoint) -> list[tuple[str, str, str, int, str, str | None]]:
        """Return (id, state, lane, attempts, order key, reason) in the order of routing."""
        return self.rows(
            "deliveries",
            "SELECT id, state, lane, attempts, order_key, reason FROM deliveries WHERE endpoint_id = ? ORDER BY number",
            endpoint.id,
        )

    def room(self, source: Source, room_id: str, scope: str = "") -> dict[str, Any] | None:
        """Return a room as projected."""
        key = f"{source.id}/{scope}/{room_id}"
        found = self.rows("deliveries", "SELECT state FROM rooms WHERE key = ?", key)
        return json.loads(found[0][0]) if found else None


# --- plain HTTP ------------------------------------------------------------------------------------------------------


def send(request: Request, *, timeout: float = 10.0) -> Response:
    """Send one request on a connection of its own."""
    host, _, target = request.url.partition("://")[2].partition("/")
    connection = http.client.HTTPConnection(host, timeout=timeout)
    try:
        has_host = request.header("host") is not None
        connection.putrequest(request.method, f"/{target}", skip_host=has_host, skip_accept_encoding=True)
        for name, value in request.headers:
            connection.putheader(name, value)
        if request.body or request.method != "GET":
            connection.putheader("content-length", str(len(request.body)))
        connection.endheaders(request.body or None)
        answer = connection.getresponse()
        return Response(status=answer.status, headers=tuple(answer.getheaders()), body=answer.read())
    finally:
        connection.close()


def _get(address: str, path: str) -> Response:
    return send(Request(method="GET", url=f"http://{address}{path}"), timeout=2)


def _exactly(line: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        part = line.recv(count - len(content))
        if not part:
            raise EOFError
        content += part
    return content


# --- /proc -----------------------------------------------------------------------------------------------------------


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat behind the command's name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _children_of(parent: int) -> list[int]:
    every = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in every if (fields := _stat(pid)) is not None and fields[1] == str(parent)]


def _start_time(pid: int) -> str | None:
    """Return when a process began; None when there is none, or only its remains."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else fields[19]


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    except OSError:
        return []
