"""What the laws need of a storage, and the values they store in it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Never, Protocol

import msgspec

from northbound.model.alarm import Alarm
from northbound.model.delivery import Delivery, Lane, View
from northbound.model.errors import HubError
from northbound.model.event import Event, EventType, Facts
from northbound.model.log import Receipt
from northbound.model.room import DayStats
from northbound.model.wire import Proof, Request
from northbound.ports import DeliveryQueue, EventLog, History, LogReader, RoomStore
from northbound.stages.alarms import AlarmStore
from northbound.stages.control import ReplayStore
from northbound.stages.index import HistoryStore

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
HORIZON = timedelta(days=30)  # a storage under test remembers event ids for this long


class LawBroken(AssertionError):
    """A storage does not keep a promise."""


class Log(EventLog, AlarmStore, Protocol):
    """The log and the alarms beside it: one database, one writer."""


class Store(RoomStore, DeliveryQueue, ReplayStore, AlarmStore, Protocol):
    """Rooms and deliveries: one database, one writer."""

    def load(self, number: int) -> Delivery | None:
        """Return one delivery with what has become of it so far."""
        ...


class Searchable(History, HistoryStore, Protocol):
    """History with both its sides: searching and indexing."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of each kind the log's database holds, and the codes of its quarantine, oldest first."""

    receipts: int
    repeats: int
    quarantined: tuple[str, ...]


class Storage(Protocol):
    """One storage under test, empty at first."""

    @property
    def log(self) -> Log:
        """The log's one writer."""
        ...

    @property
    def reader(self) -> LogReader:
        """The log as another process reads it."""
        ...

    @property
    def store(self) -> Store:
        """Rooms and deliveries."""
        ...

    @property
    def history(self) -> Searchable:
        """History over this log."""
        ...

    def stored(self) -> Stored:
        """Count what the log's database holds beside the log."""
        ...

    def alarms(self) -> list[Alarm]:
        """Return the alarms of both databases, the one that began last first, without their ids."""
        ...

    def day(self, app_id: str, day: str) -> DayStats | None:
        """Return one app's figures of a day."""
        ...

    def erase(self, offset: int) -> None:
        """Take an entry out of the log, as erasing a person does."""
        ...

    def another_store(self) -> Store:
        """Return a new, empty store beside the first."""
        ...

    def reopen(self) -> None:
        """Close everything and open it again, as the next process does."""
        ...


class Torn(Sequence[Any]):
    """Values that cannot be read to their end: the process fails in the middle of storing them."""

    def __init__(self, *values: Any) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values) + 1

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __iter__(self) -> Iterator[Any]:
        yield from self._values
        raise TornError


class TornError(Exception):
    """What `Torn` raises."""


def expect(expected: object, found: object, says: str) -> None:
    """Raise `LawBroken`, naming the promise, unless *found* is what was *expected*."""
    if expected != found:
        raise LawBroken(f"{says}: expected {expected!r}, found {found!r}")


def broken(says: str) -> Never:
    """Raise `LawBroken`."""
    raise LawBroken(says)


async def refused(says: str, attempt: Any) -> None:
    """Raise `LawBroken` unless awaiting *attempt* raises one of our errors."""
    try:
        await attempt
    except HubError:
        return
    broken(says)


def event(
    room: str = "r1",
    person: str | None = None,
    *,
    kind: EventType = EventType.PARTICIPANT_UPDATED,
    key: str | None = None,
    words: str = '{"n":1}',
    facts: Facts | None = None,
    at: datetime | None = None,
) -> Event:
    """Return an event of a wire without conclusions, so that only what a law appends is in the log."""
    return Event(
        type=kind,
        dialect="northbound",
        room_id=room,
        participant_id=person,
        dedupe_key=key,
        occurred_at=at,
        facts=facts or Facts(),
        vendor=msgspec.Raw(words.encode()),
    )


def receipt(number: int = 0, *, source: str = "src_1", at: datetime | None = None) -> Receipt:
    """Return a request that was received *number* seconds after `NOW`."""
    request = Request(method="POST", url="http://hub.test/in", headers=(("x-n", str(number)),), body=b"\x00\xff body")
    received = at or NOW + timedelta(seconds=number)
    return Receipt(source_id=source, received_at=received, request=request, proof=Proof.CONTENT)


def delivery(number: int, *, endpoint: str = "ep_1", room: str = "src_1//r1", lane: Lane = Lane.LIVE) -> Delivery:
    """Return a delivery, routed *number* seconds after `NOW`, at place *number* of its room."""
    at = NOW + timedelta(seconds=number)
    return Delivery(
        id=f"dl_{number}_{endpoint}" + ("@cmd" if lane is Lane.REPLAY else ""),
        endpoint_id=endpoint,
        subscription_id="sub_1",
        source_id="src_1",
        event_id=f"ev_{number}",
        event_type=EventType.PARTICIPANT_JOINED.value,
        order_key=room,
        created_at=at,
        due_at=at,
        view=View(words=msgspec.Raw(b'{"n":1.50}'), lost=("facts.role",), invented=("seq",)),
        seq=number,
        lane=lane,
    )
