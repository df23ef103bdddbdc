"""What clients may take from a server: limits and deadlines, counted for all its connections together."""

import asyncio
from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Protocol

import msgspec

from northbound.model.errors import ConfigError
from northbound.web.address import Networks, address_key


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client, and all clients together, may take from a server."""

    # A descriptor and some 10 KiB each; lowered to what the process may open. Above: 503 and close.
    connections: int = 8192
    # One stranger must not hold every place. A listed proxy is exempt: its clients share its address.
    connections_per_address: int = 1024
    # From the first byte of a request (or from connecting) to its last header: a client has them ready.
    header_deadline: timedelta = timedelta(seconds=5)
    # Between requests: long enough that a vendor's pool reuses the connection, short enough to forget the dead.
    idle_deadline: timedelta = timedelta(seconds=30)
    # From the last header to the last byte of the body; the vendors themselves wait 3 to 10 s for the whole.
    body_deadline: timedelta = timedelta(seconds=5)
    # An answer that nobody reads is dropped with its connection: it holds memory.
    write_deadline: timedelta = timedelta(seconds=10)
    # After a refusal, so that the client can read it: closing on unread bytes resets the connection.
    linger_deadline: timedelta = timedelta(seconds=1)
    # At stop, for what is already in work.
    drain_deadline: timedelta = timedelta(seconds=10)
    # The longest GET callback we know has about 1 KiB; above 16 KiB it is an attack: 414.
    request_line_bytes: int = 16 * 1024
    # All header names and values of a request; common servers allow 8 to 32 KiB in total.
    header_bytes: int = 32 * 1024
    header_count: int = 100
    # Requests sent ahead on one connection; each costs some 3 KiB while it waits.
    pipeline: int = 16
    # One body, before and after decompression; the largest batch of any vendor is far below.
    body_bytes: int = 1024 * 1024
    # JSON of a real callback deflates 3 to 20 times; a bomb a thousand times.
    inflate_ratio: int = 100
    # Requests and bytes in `handle` at once: two group commits' worth. Above: 503 and try again.
    pending_requests: int = 4096
    pending_bytes: int = 8 * 1024 * 1024
    # Bodies that come in parts, all together, while they are incomplete.
    reading_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse limits that shut everybody out."""
        for name in self.__struct_fields__:
            value: Any = getattr(self, name)
            if value <= type(value)(0):
                raise ConfigError(f"limits.{name} must be above zero", field=f"limits.{name}")
        if self.body_bytes > self.pending_bytes:
            raise ConfigError("limits.pending_bytes must hold at least one body (limits.body_bytes)")


class Expiring(Protocol):
    """A connection as the sweep sees it: two moments, and what to do when one has passed."""

    read_deadline: float
    write_deadline: float

    def expire(self, now: float) -> None:
        """Act on the deadline that has passed."""
        ...


class Gate:
    """What the connections of one server share: limits as seconds, counts by address, one periodic sweep.

    One sweep instead of a timer for each request: a deadline is then a stored number, and late by a sweep at most.
    """

    def __init__(self, limits: Limits, trusted: Networks = ()) -> None:
        self.limits = limits
        self.trusted = trusted
        self.header = limits.header_deadline.total_seconds()
        self.idle = limits.idle_deadline.total_seconds()
        self.body = limits.body_deadline.total_seconds()
        self.write = limits.write_deadline.total_seconds()
        self.linger = limits.linger_deadline.total_seconds()
        self.interval = min(0.5, max(0.02, min(self.header, self.idle, self.body, self.write, self.linger) / 4))
        self.refusals: Counter[str] = Counter()  # by code, for the metrics
        self._total = 0
        self._addresses: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, peer: str) -> str | None:
        """Count a connection from *peer* in and return the key to `release` it by; None when there is no place."""
        key = address_key(peer, self.trusted)
        if self._total >= self.limits.connections:
            return None
        if key and self._addresses[key] >= self.limits.connections_per_address:
            return None
        self._total += 1
        if key:
            self._addresses[key] += 1
        return key

    def release(self, key: str) -> None:
        """Count a connection out."""
        self._total -= 1
        if key:
            self._addresses[key] -= 1
            if not self._addresses[key]:
                del self._addresses[key]

    def start(self, connections: Collection[Expiring]) -> None:
        """Sweep *connections* (the server's live set) from now on."""
        loop = asyncio.get_running_loop()

        def sweep() -> None:
            self._timer = loop.call_later(self.interval, sweep)
            now = loop.time()
            for connection in tuple(connections):
                if connection.read_deadline <= now or connection.write_deadline <= now:
                    connection.expire(now)

        sweep()

    def stop(self) -> None:
        """End the sweep."""
        if self._timer is not None:
            self._timer.cancel()
