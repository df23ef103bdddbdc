"""The log in memory: its one writer and its readers are the same object."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from northbound.backends.memory.alarms import with_alarms
from northbound.logic.entry import write_event
from northbound.model.alarm import Alarm
from northbound.model.errors import StoreFailed
from northbound.model.event import Event
from northbound.model.log import Appended, Logged, Origin, Receipt, partition_of, room_key

HORIZON = timedelta(days=30)  # how long an event id is remembered
QUARANTINE_KEPT = 200  # per source and error code


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A request in quarantine."""

    receipt: Receipt
    code: str
    message: str


class _Seen(msgspec.Struct, frozen=True):
    offset: int
    expires: datetime
    vendor: bytes


class MemoryLog:
    """A log whose every call is one step: nothing is seen half done. Set `failing` to a reason to fail all writes."""

    def __init__(
        self,
        log_id: str = "0000000000",
        *,
        horizon: timedelta = HORIZON,
        on_commit: Callable[[], None] = lambda: None,
    ) -> None:
        self.log_id = log_id
        self.failing: str | None = None
        self.receipts: list[Receipt] = []
        self.repeats: dict[int, list[int]] = {}  # offset -> receipts that brought the entry again
        self.refused: list[Refused] = []
        self.alarms: list[Alarm] = []
        self._horizon = horizon
        self._on_commit = on_commit
        self._entries: list[Logged | None] = []  # by offset; None: erased
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._concluded: set[tuple[str, str]] = set()

    # --- writing --------------------------------------------------------------------------------

    async def append(self, receipt: Receipt, events: Sequence[Event]) -> Appended:
        """Store *receipt* with its *events*, dropping those whose dedupe key is known."""
        self._check(events)
        self.receipts.append(receipt)
        number = len(self.receipts)
        ids: list[str] = []
        places: list[str | None] = []
        duplicates = conflicts = 0
        for event in events:
            known = self._known(receipt, event)
            if known is None:
                ids.append(self._observe(receipt, event, number))
                places.append(ids[-1])
            elif _same_words(known.vendor, bytes(event.vendor)):
                self._repeat(known.offset, number)
                duplicates += 1
                first = self._entries[known.offset]
                places.append(None if first is None else first.id)
            else:
                message = f"another event with the id {event.dedupe_key!r} is in the log"
                self._refuse(receipt, "conflict", message)
                conflicts += 1
                places.append(None)
        self._on_commit()
        return Appended(ids=tuple(ids), duplicates=duplicates, conflicts=conflicts, places=tuple(places))

    async def raise_alarms(self, alarms: Sequence[Alarm]) -> None:
        """Store *alarms*, repeated ones counted."""
        self._check(())
        self.alarms = with_alarms(self.alarms, alarms)

    async def conclude(self, entries: Sequence[Logged]) -> int:
        """Store derived *entries* under the ids they have, each once."""
        self._check([entry.event for entry in entries])
        new = 0
        for entry in entries:
            if (entry.source_id, entry.id) in self._concluded:
                continue
            self._concluded.add((entry.source_id, entry.id))
            offset, partition = len(self._entries), partition_of(room_key(entry.source_id, entry.event))
            self._entries.append(replace(entry, offset=offset, partition=partition, receipt_id=None))
            new += 1
        self._on_commit()
        return new

    async def quarantine(self, receipt: Receipt, code: str, message: str) -> None:
        """Keep a refused request; the oldest samples of its source and code make room."""
        self._check(())
        self._refuse(receipt, code, message)

    def erase(self, offset: int) -> None:
        """Take an entry out, as erasing a person does: its place stays empty."""
        self._entries[offset] = None

    # --- reading --------------------------------------------------------------------------------

    def read(self, after: int, limit: int) -> list[Logged]:
        """Return up to *limit* entries above *after*, in order."""
        found: list[Logged] = []
        for offset in range(max(after, -1) + 1, len(self._entries)):
            entry = self._entries[offset]
            if len(found) >= limit:
                break
            if entry is not None:
                found.append(entry)
        return found

    def head(self) -> int:
        """Return the largest readable offset, -1 when empty."""
        return next((one.offset for one in reversed(self._entries) if one is not None), -1)

    # --- inside ---------------------------------------------------------------------------------

    def _check(self, events: Sequence[Event]) -> None:
        """Refuse what a disk could not hold, before anything is changed."""
        if self.failing is not None:
            raise StoreFailed(f"nothing was stored: {self.failing}")
        for event in events:
            write_event(event)

    def _known(self, receipt: Receipt, event: Event) -> _Seen | None:
        known = None if event.dedupe_key is None else self._seen.get((receipt.source_id, event.dedupe_key))
        return None if known is None or known.expires < receipt.received_at else known

    def _observe(self, receipt: Receipt, event: Event, number: int) -> str:
        offset = len(self._entries)
        entry = Logged(
            id=f"ev_{self.log_id}_{offset:012d}",
            partition=partition_of(room_key(receipt.source_id, event)),
            offset=offset,
            source_id=receipt.source_id,
            recorded_at=receipt.received_at,
            proof=receipt.proof,
            origin=Origin.OBSERVED,
            event=event,
            receipt_id=number,
        )
        self._entries.append(entry)
        if event.dedupe_key is not None:
            expires = receipt.received_at + self._horizon
            self._seen[receipt.source_id, event.dedupe_key] = _Seen(offset, expires, bytes(event.vendor))
        return entry.id

    def _repeat(self, offset: int, number: int) -> None:
        numbers = self.repeats.setdefault(offset, [])
        if number not in numbers:
            numbers.append(number)

    def _refuse(self, receipt: Receipt, code: str, message: str) -> None:
        self.refused.append(Refused(receipt=receipt, code=code, message=message))
        alike = [
            number
            for number, one in enumerate(self.refused)
            if one.receipt.source_id == receipt.source_id and one.code == code
        ]
        if len(alike) > QUARANTINE_KEPT:
            del self.refused[alike[0]]


def _same_words(first: bytes, second: bytes) -> bool:
    return first == second or json.loads(first) == json.loads(second)
