"""What the web process asks of the storages: reads are bounded in rows and time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from northbound.model.account import Once
from northbound.model.alarm import Alarm, AlarmFilter, AlarmPlace
from northbound.model.app import ApiKey
from northbound.model.delivery import Delivery, DeliveryState, Exchange, Stop
from northbound.model.figures import Backlog, LossCount
from northbound.model.history import HistoryHit, HistoryQuery, SessionFilter
from northbound.model.log import Logged, Receipt
from northbound.model.registry import Drop, Kind, Object, Put
from northbound.model.room import DayStats, Room, RoomDay
from northbound.ports.work import LogReader


class ObjectStore(Protocol):
    """What is set up, object by object; one writer, each change with its audit entry."""

    def version(self) -> int:
        """Return the registry's version: it grows with every change."""
        ...

    def get(self, kind: type[Kind], identity: str) -> tuple[int, Kind]:
        """Return (revision, object); raise `NotFound`."""
        ...

    def find(
        self, kind: type[Kind], *, after: str = "", app_id: str | None = None, limit: int = 100
    ) -> list[tuple[int, Kind]]:
        """Return up to *limit* (revision, object) in id order after *after*, of one owner (`owner_of`) or all."""
        ...

    def put(self, one: Object, *, who: str, now: datetime, revision: int | None = None) -> int:
        """Create (*revision* None) or replace an object at *revision*; return the new one; raise `Conflict`."""
        ...

    def change(
        self, puts: Sequence[Put], drops: Sequence[Drop], *, who: str, now: datetime, once: Once | None = None
    ) -> None:
        """Do all of it in one transaction with its audit entries, or nothing; raise `Conflict`, `NotFound`.

        *once* is remembered with it; an older one of the same account, action and token is replaced.
        """
        ...

    def once(self, account_id: str, action: str, token: str, since: datetime) -> Once | None:
        """Return what was done under a client's token after *since*, None when nothing was."""
        ...

    def drop(self, kind: type[Any], identity: str, *, who: str, now: datetime) -> None:
        """Remove an object; raise `NotFound`."""
        ...


class KeyStore(Protocol):
    """API keys, kept by their hash."""

    def key_of(self, secret: str, now: datetime) -> ApiKey | None:
        """Return who holds *secret*, noting its use."""
        ...

    def add_key(self, key: ApiKey, secret: str, *, who: str, now: datetime) -> None:
        """Store a key."""
        ...

    def keys(self) -> list[ApiKey]:
        """Return all keys, without secrets."""
        ...

    def drop_key(self, identity: str, *, who: str, now: datetime) -> None:
        """Remove a key."""
        ...


class NonceStore(Protocol):
    """Nonces of signed calls that were taken; what is noted outlives the process. The first 8 bytes name the owner."""

    def use(self, nonce: bytes, until: int) -> bool:
        """Note a nonce until minute *until* (since 1970) is over; tell whether it was new; raise `StoreFailed`."""
        ...

    def kept(self, owner: bytes) -> tuple[int, int]:
        """Return how many are kept of *owner*, and of all."""
        ...

    def forget(self, before: int, most: int) -> None:
        """Drop up to *most* of those that were over before a minute; what is older is never new again."""
        ...


class CommandStore(Protocol):
    """What people ask of the delivery process, each carried out once."""

    def command(self, identity: str, body: dict[str, Any], *, who: str, now: datetime) -> None:
        """Ask for something under a new id."""
        ...

    def command_of(self, identity: str) -> dict[str, Any] | None:
        """Return what was asked for under *identity*, or None."""
        ...


class AuditTrail(Protocol):
    """Who did what, when."""

    def audit(self, before: int, limit: int) -> list[dict[str, Any]]:
        """Return entries below a number, newest first."""
        ...

    def note(self, what: str, identity: str, *, who: str, now: datetime) -> None:
        """Add what changed nothing: a secret was shown."""
        ...


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was refused, with why; the body may be cut."""

    id: int
    receipt: Receipt
    code: str
    message: str


class LogView(LogReader, Protocol):
    """The log as pages read it."""

    def find(self, event_id: str) -> Logged | None:
        """Return the entry with this id, observed or derived."""
        ...

    def at(self, offset: int) -> Logged | None:
        """Return the entry at *offset*."""
        ...

    def conclusions(self, logged: Logged) -> list[str]:
        """Return the ids of what was derived from the entry."""
        ...

    def keyed(self, source_id: str, first: str, last: str, limit: int) -> list[Logged]:
        """Return entries of a source whose dedupe keys are from *first* up to below *last*, while they are known."""
        ...

    def receipts(self, logged: Logged) -> list[tuple[int, Receipt]]:
        """Return the request that brought the entry, then those that repeated it; the newest few of many."""
        ...

    def quarantined(self, source_ids: Sequence[str] | None, before: int, limit: int) -> list[Quarantined]:
        """Return refused requests below an id, newest first; None: of every source."""
        ...


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries; None asks for no such limit."""

    endpoint_ids: tuple[str, ...] | None = None
    state: DeliveryState | None = None
    event_id: str | None = None


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One try as stored."""

    number: int
    exchange: Exchange
    accepted: bool
    reason: str


LISTED_ENDPOINT = "epl_"  # what ids of endpoints begin with whose callbacks are looked back on by endpoint and time


class DeliveryView(Protocol):
    """Deliveries, tries, dead letters and commands as pages read them; callable from any thread."""

    def deliveries(self, wanted: DeliveryFilter, before: int, limit: int) -> list[tuple[int, Delivery]]:
        """Return (number, delivery) below a number, newest first."""
        ...

    def deliveries_of(self, logged: Logged, limit: int) -> list[tuple[int, Delivery]]:
        """Return the deliveries that routing made of one entry."""
        ...

    def numbered(self, numbers: Sequence[int]) -> list[tuple[int, Delivery]]:
        """Return those of *numbers* that exist, in order."""
        ...

    def attempts(self, number: int) -> list[AttemptRow]:
        """Return the tries of a delivery, oldest first."""
        ...

    def callbacks(
        self, endpoint_ids: Sequence[str], span: tuple[datetime, datetime], *, skip: int, limit: int
    ) -> list[tuple[str, AttemptRow]]:
        """Return (endpoint id, try) of tries begun in *span*, newest first; ids begin with `LISTED_ENDPOINT`."""
        ...

    def dead(self, endpoint_ids: Sequence[str] | None, after: int, limit: int) -> list[tuple[int, Delivery]]:
        """Return dead letters above a number."""
        ...

    def count(
        self, endpoint_ids: Sequence[str] | None, span: tuple[datetime, datetime] | None, *, again: bool = True
    ) -> int:
        """Return how many dead letters there are, or how many live deliveries were made in *span*.

        Without *again* those dead letters that were not sent again.
        """
        ...

    def command_result(self, command_id: str) -> Any | None:
        """Return what came of a command, None while it waits."""
        ...


class AlarmView(Protocol):
    """Alarms of all processes as pages read them; callable from any thread."""

    def alarms(self, wanted: AlarmFilter, before: AlarmPlace, limit: int) -> list[tuple[AlarmPlace, Alarm]]:
        """Return (place, alarm) below a place, the one that began last first."""
        ...


Position = tuple[int, str, int]  # newest instances (0) or past ones (1), room key, instance


class RoomView(Protocol):
    """Rooms and recordings as pages read them; callable from any thread."""

    def room(self, key: str) -> Room | None:
        """Return the newest instance of a room."""
        ...

    def past(self, key: str, limit: int) -> list[Room]:
        """Return instances that are over, newest first."""
        ...

    def rooms(
        self, source_ids: Sequence[str] | None, after: str, limit: int, *, is_open: bool | None = None
    ) -> list[tuple[str, Room]]:
        """Return (key, room) in key order after a key."""
        ...

    def open_page(self, source_ids: Sequence[str], skip: int, limit: int) -> list[Room]:
        """Return open rooms in key order after the first *skip*."""
        ...

    def open_named(self, source_ids: Sequence[str], room_id: str) -> list[Room]:
        """Return the open rooms called *room_id*, a few at most: several sources may have one."""
        ...

    def named(self, source_ids: Sequence[str], room_id: str, limit: int) -> list[tuple[str, Room]]:
        """Return (key, room) of the rooms with an id, in any scope of some sources."""
        ...

    def sessions(self, wanted: SessionFilter, skip: int, limit: int) -> tuple[int, list[tuple[str, Room]]]:
        """Return how many openings there are, and (app id, room instance) of a page of them."""
        ...

    def recordings(
        self, source_ids: Sequence[str] | None, after: Position, limit: int
    ) -> list[tuple[Position, str, Room]]:
        """Return up to *limit* room instances that hold recordings, the newest instances first, after a position."""
        ...


class FigureView(Protocol):
    """Figures as pages read them; callable from any thread."""

    def backlog(self) -> list[Backlog]:
        """Return what waits, by endpoint."""
        ...

    def dead_letters(self) -> dict[str, int]:
        """Return how many dead letters each endpoint has."""
        ...

    def losses(self, endpoint_ids: Sequence[str] | None) -> list[LossCount]:
        """Return what was lost and invented."""
        ...

    def open_rooms(self, source_ids: Sequence[str] | None) -> int:
        """Return how many rooms are open."""
        ...

    def day(self, app_id: str, day: str) -> DayStats | None:
        """Return one app's finished figures of a day."""
        ...

    def day_rooms(self, app_id: str, day: str) -> list[RoomDay]:
        """Return the figures of each room of the day."""
        ...

    def uncounted(self, app_id: str, day: str, people: Sequence[str]) -> int:
        """Return how many of *people*, each named once, are not among the members of an app's day."""
        ...

    def stopped(self) -> dict[str, Stop]:
        """Return the endpoints that stopped by themselves."""
        ...


class History(Protocol):
    """What was, searchable; built from the log and rebuildable; callable from any thread."""

    def search(self, wanted: HistoryQuery) -> list[HistoryHit]:
        """Return hits below its `before`, newest first; raise `Overloaded` when it takes over 5 s."""
        ...

    def timeline(self, wanted: HistoryQuery, after: int = -1) -> list[HistoryHit]:
        """Return hits above offset *after*, oldest first: what happened in a room, or to a person."""
        ...

    def lag(self) -> int:
        """Return how many entries of the log are not searchable yet."""
        ...
