"""The log as other processes and tools read it: by offset, each read one short statement."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from northbound.backends.sqlite.database import open_reader, query
from northbound.model.event import Event
from northbound.model.log import Logged, Origin, Receipt
from northbound.model.wire import Proof, Request

_EVENT = msgspec.json.Decoder(Event)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Return *moment* as Unix microseconds."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_micros(value: int) -> datetime:
    """Return Unix microseconds as aware UTC."""
    return _EPOCH + timedelta(microseconds=value)


def event_id(log_id: str, offset: int) -> str:
    """Return the id of an observed entry: unique to this log, growing with the offset."""
    return f"ev_{log_id}_{offset:012d}"


class SqliteLogReader:
    """The log as other processes and tools read it; each read is one short statement."""

    def __init__(self, path: Path) -> None:
        self._db = open_reader(path)
        self._log_id = ""

    @property
    def log_id(self) -> str:
        """The log's own id; empty until its writer has made one, which may be after we opened it."""
        if not self._log_id:
            row = self._db.execute(query("events.about_get"), ("log_id",)).fetchone()
            self._log_id = row[0] if row else ""
        return self._log_id

    def read(self, after: int, limit: int) -> list[Logged]:
        """Return up to *limit* entries above *after* in order."""
        rows = self._db.execute(query("events.log_after"), (after, limit)).fetchall()
        return [logged_of(row, self.log_id) for row in rows if row[9] is not None]

    def head(self) -> int:
        """Return the largest offset, -1 when empty."""
        row = self._db.execute(query("events.log_head")).fetchone()
        return -1 if row is None or row[0] is None else row[0]

    def at(self, offset: int) -> Logged | None:
        """Return the entry at *offset*."""
        row = self._db.execute(query("events.log_at"), (offset,)).fetchone()
        return None if row is None or row[9] is None else logged_of(row, self.log_id)

    def receipt(self, number: int) -> Receipt | None:
        """Return a request as received, or None when erased or unknown."""
        row = self._db.execute(query("events.receipt_get"), (number,)).fetchone()
        return None if row is None or row[4] is None else receipt_of(row)

    def repeats(self, offset: int) -> list[int]:
        """Return the receipts that repeated the entry at *offset*."""
        rows: list[Any] = self._db.execute(query("events.repeats_of"), (offset,)).fetchall()
        return [row[0] for row in rows]

    def quarantined(self, before: int, limit: int) -> list[dict[str, Any]]:
        """Return refused requests, newest first."""
        rows = self._db.execute(query("events.quarantine_list"), (before, limit)).fetchall()
        names = ("id", "source_id", "received_at", "proof", "code", "message", "method", "url", "headers", "body")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def verify_chain(self, limit: int = 2000) -> tuple[int, int | None]:
        """Recompute digests and chain; return (entries checked, first offset that does not hold or None)."""
        chain, offset, checked = b"", -1, 0
        rows: list[Any]
        while rows := self._db.execute(query("events.log_chain"), (offset, limit)).fetchall():
            for row in rows:
                offset, digest, stored, event, salt, body, _ = row
                held = event is None or salt is None or hashlib.sha256(salt + (body or b"") + event).digest() == digest
                chain = hashlib.sha256(chain + offset.to_bytes(8, "big") + digest).digest()
                if not held or chain != stored:
                    return checked, offset
                checked += 1
        return checked, None

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


def receipt_of(row: Sequence[Any]) -> Receipt:
    """Return a request from its row."""
    headers = tuple((name, value) for name, value in json.loads(row[6]))
    request = Request(method=row[4], url=row[5], headers=headers, body=row[7])
    return Receipt(source_id=row[1], received_at=from_micros(row[2]), request=request, proof=Proof(row[3]))


def logged_of(row: Sequence[Any], log_id: str) -> Logged:
    """Return an entry from its row."""
    offset = row[0]
    return Logged(
        id=row[2] or event_id(log_id, offset),
        partition=row[1],
        offset=offset,
        source_id=row[3],
        receipt_id=row[4],
        recorded_at=from_micros(row[5]),
        proof=Proof(row[6]),
        origin=Origin(row[7]),
        cause_id=row[8],
        event=_with_own_raw(_EVENT.decode(row[9])),
    )


def _with_own_raw(event: Event) -> Event:
    """Detach the vendor's words from the row's buffer, so that keeping an event does not keep its row."""
    return replace(event, vendor=event.vendor.copy())
