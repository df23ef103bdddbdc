"""The real clock, dice and doorbells: the only place that touches them."""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path


class SystemClock:
    """Wall clock for stamps, monotonic clock for spans."""

    def now(self) -> datetime:
        """Return the time as aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return time.monotonic()


class SystemEntropy:
    """The system's dice."""

    def bytes(self, count: int) -> bytes:
        """Return *count* unpredictable bytes."""
        return os.urandom(count)

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return (int.from_bytes(os.urandom(7), "big") >> 3) / (1 << 53)


class Folder:
    """The data folder: where each file of the hub is. Socket paths stay short however long the folder's name is."""

    def __init__(self, data: str) -> None:
        self.path = Path(data)
        self.events = self.path / "events.db"
        self.deliveries = self.path / "deliveries.db"
        self.control = self.path / "control.db"
        self.index = self.path / "index.db"
        self.nonces = self.path / "nonces.db"
        self.admin_key = self.path / "admin.key"
        self.lock = self.path / "serve.lock"
        self._run = self.path / "run"
        self._descriptor: int | None = None

    def create(self) -> None:
        """Make the folder, readable by its owner alone."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._run.mkdir(exist_ok=True, mode=0o700)

    def socket(self, name: str) -> str:
        """Return a path for socket *name*; a Unix socket path holds 107 bytes, so long ones go by descriptor."""
        plain = str(self._run / name)
        if len(plain.encode()) < 100:
            return plain
        if self._descriptor is None:
            self._descriptor = os.open(self._run, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._descriptor}/{name}"

    def socket_file(self, name: str) -> Path:
        """Return the socket's file, for removing a left-over."""
        return self._run / name


class Doorbell:
    """A datagram socket to be rung at, and the ringing of others; lost rings are made up for by polling."""

    def __init__(self, folder: Folder, name: str, others: Sequence[str] = ()) -> None:
        self._folder = folder
        self._others = others
        self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setblocking(False)
        self._in = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._in.setblocking(False)
        folder.socket_file(f"{name}.bell").unlink(missing_ok=True)
        self._in.bind(folder.socket(f"{name}.bell"))

    def ring(self) -> None:
        """Tell the others that there is more; callable from any thread."""
        for name in self._others:
            try:
                self._out.sendto(b"!", self._folder.socket(f"{name}.bell"))
            except OSError:  # not there, or rung enough already
                continue

    async def wait(self, at_most: timedelta) -> None:
        """Return when rung, or after *at_most*."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(at_most.total_seconds()):
                await loop.sock_recv(self._in, 1)
        except TimeoutError:
            return
        self._drain()

    def close(self) -> None:
        """Be rung no more."""
        self._in.close()
        self._out.close()

    def _drain(self) -> None:
        try:
            while self._in.recv(64):
                pass
        except BlockingIOError:
            return
