"""What the stages need from outside."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from northbound.model.app import Registry
from northbound.model.delivery import (
    NO_CHANGE,
    Attempt,
    Delivery,
    Exchange,
    HealthChange,
    Lane,
    NextStep,
    Stop,
)
from northbound.model.event import Event
from northbound.model.log import Appended, Logged, NotFolded, Receipt
from northbound.model.room import Memory, Room, Tally
from northbound.model.wire import Request


class Clock(Protocol):
    """The only way to know the time."""

    def now(self) -> datetime:
        """Return the time as aware UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        ...


class Entropy(Protocol):
    """The only way to roll dice."""

    def bytes(self, count: int) -> bytes:
        """Return *count* unpredictable bytes."""
        ...

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        ...


class Wake(Protocol):
    """A doorbell: it may be lost, so whoever waits also polls."""

    def ring(self) -> None:
        """Tell the followers that there is more."""
        ...

    async def wait(self, at_most: timedelta) -> None:
        """Return when rung, or after *at_most*."""
        ...


class EventLog(Protocol):
    """The one writer of the log. When a call returns, it is on disk; when it raises, nothing of it is."""

    async def append(self, receipt: Receipt, events: Sequence[Event]) -> Appended:
        """Store *receipt* with its *events*, dropping those whose dedupe key is known; raise `StoreFailed`."""
        ...

    async def conclude(self, entries: Sequence[Logged]) -> int:
        """Store derived *entries* under the ids they have; known ids are dropped; return how many were new."""
        ...

    async def quarantine(self, receipt: Receipt, code: str, message: str) -> None:
        """Keep a request that is not taken into the log, bounded per source; the oldest samples make room."""
        ...


class LogReader(Protocol):
    """The log from the other processes; every read is bounded and short."""

    def read(self, after: int, limit: int) -> list[Logged]:
        """Return up to *limit* entries with an offset above *after*, in order."""
        ...

    def head(self) -> int:
        """Return the largest readable offset, -1 when empty."""
        ...


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """What folding the log up to `cursor` led to: rooms and past instances by key, memories by source.

    `tallies` are by app id, `losses` (endpoint id, kind, what, event type). `not_folded` are entries that were set
    aside: all are counted, and the newest `NOT_FOLDED_KEPT` are kept.
    """

    cursor: int
    rooms: Mapping[str, Room] = {}
    memories: Mapping[str, Memory] = {}
    deliveries: Sequence[Delivery] = ()
    tallies: Sequence[tuple[str, Tally]] = ()
    losses: Sequence[tuple[str, str, str, str]] = ()
    past: Sequence[tuple[str, Room]] = ()
    not_folded: Sequence[NotFolded] = ()


class RoomStore(Protocol):
    """Rooms, source memories and the routing cursor; one writer."""

    def cursor(self) -> int:
        """Return the offset of the newest entry whose consequences are stored."""
        ...

    def room(self, key: str) -> Room | None:
        """Return the newest instance of the room, from memory or disk."""
        ...

    def memory(self, key: str) -> Memory:
        """Return what derivation remembers of a source."""
        ...

    def last_sent(self, endpoint_id: str, key: str) -> int | None:
        """Return the last place of a room's log that the endpoint was sent (law 5)."""
        ...

    def commit(self, folded: Folded) -> list[int]:
        """Store it all in one transaction, the cursor with what it led to; return the numbers of the deliveries."""
        ...

    def not_folded(self, limit: int) -> tuple[int, list[NotFolded]]:
        """Return how many entries were set aside, and up to *limit* of those kept, the newest first."""
        ...


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What the scheduler must know of a delivery that waits."""

    number: int
    endpoint_id: str
    order_key: str
    lane: Lane
    due_at: datetime
    created_at: datetime
    attempts: int


class DeliveryQueue(Protocol):
    """Deliveries on their way, attempts and dead letters; same writer and database as the rooms."""

    def waiting(self) -> list[Waiting]:
        """Return all that wait, in the order they were routed."""
        ...

    def load(self, number: int) -> Delivery | None:
        """Return one delivery with what has become of it so far."""
        ...

    def settle(
        self,
        outcomes: Sequence[tuple[int, Attempt | None, NextStep, Lane, int]],
        health: HealthChange = NO_CHANGE,
    ) -> None:
        """Store each (number, attempt, next step, lane from now on, attempts so far) in one transaction.

        With them what they say of their endpoints; a failed attempt that may have arrived stays noted (D11).
        """
        ...

    def stop_endpoint(self, endpoint_id: str, stop: Stop) -> None:
        """Note that an endpoint stopped by itself."""
        ...

    def start_endpoint(self, endpoint_id: str) -> None:
        """Forget that an endpoint stopped or failed."""
        ...

    def stopped(self) -> dict[str, Stop]:
        """Return the endpoints that stopped by themselves."""
        ...

    def failing(self) -> dict[str, datetime]:
        """Return since when every attempt of an endpoint failed, for those of which the last one did."""
        ...


class RegistryReader(Protocol):
    """What is set up, by version."""

    def version(self) -> int:
        """Return the current version, cheaply."""
        ...

    def load(self) -> Registry:
        """Return everything that is set up."""
        ...


class Sender(Protocol):
    """The one guarded way out."""

    def submit(
        self,
        request: Request,
        *,
        deadline: timedelta,
        on_done: Callable[[Exchange], None],
        ca_pem: bytes | None = None,
    ) -> None:
        """Send *request*; call *on_done* in the loop's thread with how it ended, whatever happens.

        The certificates *ca_pem* stand instead of the public authorities.
        """
        ...

    async def send(self, request: Request, *, deadline: timedelta) -> Exchange:
        """Send *request* and return how it ended."""
        ...
