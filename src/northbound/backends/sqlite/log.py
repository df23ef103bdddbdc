"""The log on SQLite: one writer thread commits whatever came while the last commit ran; readers follow by offset.

An append returns after the commit that holds it (`synchronous=FULL`). If the database fails a write-ahead sync once,
the log stops taking anything until it is opened again: what such a sync left on disk is not known (fault S5).
"""

import asyncio
import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import msgspec
import structlog

from northbound.backends.sqlite.alarms import OF_EVENTS, mark_told, store_alarms, untold_alarms
from northbound.backends.sqlite.checkpoint import Checkpointer
from northbound.backends.sqlite.database import open_writer, query
from northbound.backends.sqlite.disk import in_words, is_disk_unsound
from northbound.backends.sqlite.forgetting import Forgetting
from northbound.backends.sqlite.reader import event_id, micros
from northbound.logic.entry import write_event
from northbound.model.alarm import Alarm
from northbound.model.errors import Overloaded, StoreFailed
from northbound.model.event import Event
from northbound.model.log import Appended, Logged, Origin, Receipt, partition_of, room_key

HORIZON = timedelta(days=30)  # how long an event id is remembered
BATCH_ROWS = 512  # items in one transaction: beyond it latency grows, not throughput
PENDING_ITEMS = 8192  # appends waiting for the writer; above it callers are told to come back
PENDING_BYTES = 64 * 1024 * 1024
WAL_CAP = 1024 * 1024 * 1024  # bytes; a write-ahead log that a foreign reader keeps growing (S7)
QUARANTINE_KEPT = 200  # per source and error code
CONFLICT = -1  # an offset that no entry has

log = structlog.get_logger()

_ENCODER = msgspec.json.Encoder()
_EVENT = msgspec.json.Decoder(Event)


class _Item:
    """One append on its way to the writer thread: `run` makes its rows, `future` tells its caller."""

    __slots__ = ("future", "result", "run", "size")

    def __init__(self, run: Callable[[], Any], future: asyncio.Future[Any], size: int) -> None:
        self.run = run
        self.future = future
        self.size = size
        self.result: Any = None


class SqliteLog:
    """The one writer of events.db."""

    def __init__(
        self,
        path: Path,
        *,
        horizon: timedelta = HORIZON,
        on_commit: Callable[[], None] | None = None,
        fresh: Callable[[str], Collection[str]] = lambda _: (),
    ) -> None:
        """*fresh* names, by dialect, the members of an event's words that are new each time it is sent (I17)."""
        self._fresh = fresh
        self._db = open_writer(path, "events")
        self._cursor = self._db.cursor()
        self._horizon = horizon
        self._on_commit = on_commit or (lambda: None)
        self.log_id = self._about("log_id") or self._new_log_id()
        head = self._db.execute(query("events.log_last")).fetchone()
        self._offset: int = head[0] if head else -1
        self._chain: bytes = head[1] if head else b""
        self._receipt: int = self._scalar(query("events.receipt_last")) or 0
        self._forgetting = Forgetting(self._db, self._offset)
        self._received_at = datetime.min.replace(tzinfo=UTC)  # of the newest request of this process
        self._lock = threading.Condition()
        self._pending: list[_Item] = []
        self._pending_bytes = 0
        self._stop = False
        self._failed: str | None = None
        self.commits = 0
        self.rows = 0
        self._checkpointer = Checkpointer(path, self._db)
        self._thread = threading.Thread(target=self._work, name="log-writer", daemon=True)
        self._thread.start()

    # --- the port -------------------------------------------------------------------------------

    async def append(self, receipt: Receipt, events: Sequence[Event]) -> Appended:
        """Store *receipt* with its *events*; durable when it returns."""
        bodies = [write_event(event) for event in events]
        size = len(receipt.request.body) + 512
        return await self._submit(lambda: self._append_rows(receipt, events, bodies), size)

    async def conclude(self, entries: Sequence[Logged]) -> int:
        """Store derived *entries* under their ids, each once."""
        bodies = [write_event(entry.event) for entry in entries]
        return await self._submit(lambda: self._conclude_rows(entries, bodies), 512 * len(entries))

    async def quarantine(self, receipt: Receipt, code: str, message: str) -> None:
        """Keep a refused request as a sample."""
        await self._submit(lambda: self._quarantine_rows(receipt, code, message), len(receipt.request.body))

    async def raise_alarms(self, alarms: Sequence[Alarm]) -> None:
        """Store *alarms* beside what else is pending."""
        await self._submit(lambda: store_alarms(self._cursor, alarms), 512 * len(alarms))

    async def untold(self, since: datetime, limit: int) -> list[Alarm]:
        """Return alarms that the second channel does not have, oldest first."""
        return await self._submit(lambda: untold_alarms(self._cursor, since, limit, OF_EVENTS), 0)

    async def mark_told(self, ids: Sequence[str]) -> None:
        """Note that the second channel has alarms."""
        await self._submit(lambda: mark_told(self._cursor, ids), 0)

    @property
    def pending(self) -> tuple[int, int]:
        """Appends and bytes waiting for the writer."""
        return len(self._pending), self._pending_bytes

    @property
    def failed(self) -> str | None:
        """Why the log stopped taking anything, or None."""
        return self._failed

    def close(self) -> None:
        """Commit what is pending and stop."""
        with self._lock:
            self._stop = True
            self._lock.notify()
        self._thread.join(timeout=30)
        self._checkpointer.close()
        self._db.close()

    # --- handing over ---------------------------------------------------------------------------

    async def _submit(self, run: Callable[[], Any], size: int) -> Any:
        if self._failed is not None:
            raise StoreFailed(f"the log is not taking events: {self._failed}")
        if len(self._pending) >= PENDING_ITEMS or self._pending_bytes > PENDING_BYTES:
            raise Overloaded("too many events are waiting to be stored; send it again shortly")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        item = _Item(run, future, size)
        with self._lock:
            self._pending.append(item)
            self._pending_bytes += size
            self._lock.notify()
        result = await future
        if isinstance(result, Exception):
            raise result
        return result

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._pending and not self._stop:
                    if not self._lock.wait(timeout=5.0):
                        break
                batch = self._pending[:BATCH_ROWS]
                del self._pending[: len(batch)]
                self._pending_bytes -= sum(item.size for item in batch)
                stopping = self._stop and not batch
            if stopping:
                return
            if not batch:
                self._forget_old()
                continue
            self._commit(batch)
            _answer(batch)
            self._checkpointer.tidy()

    # --- one transaction ------------------------------------------------------------------------

    def _commit(self, batch: list[_Item]) -> None:
        before = (self._offset, self._chain, self._receipt)
        reason = self._refusal()
        if reason is not None:
            _fail(batch, reason)
            return
        try:
            self._transaction(batch)
        except Exception as error:  # noqa: BLE001 - every caller is told, whatever it was; the thread goes on
            self._offset, self._chain, self._receipt = before
            if is_disk_unsound(error):
                self._failed = f"{in_words(error)}; restart after the disk is sound"
                _fail(batch, self._failed)
            elif len(batch) == 1 or isinstance(error, apsw.FullError | apsw.BusyError | apsw.IOError):
                _fail(batch, in_words(error))
            else:  # one bad row must not fail its neighbours
                for item in batch:
                    self._commit([item])
            return
        self._ring()

    def _refusal(self) -> str | None:
        """Return why nothing may be stored now, or None."""
        if self._failed is None and self._checkpointer.failed is not None:
            self._failed = f"{self._checkpointer.failed}; restart after the disk is sound"
        if self._failed is not None:
            return self._failed
        if self._checkpointer.wal_bytes > WAL_CAP and self._checkpointer.is_held():
            return "the write-ahead log is over its cap; a foreign reader holds it open"
        return None

    def _transaction(self, batch: list[_Item]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for item in batch:
                item.result = item.run()
            self._forgetting.beside(self._offset, self._received_at)
            self._db.execute("COMMIT")
        except BaseException:
            if not self._db.get_autocommit():
                self._db.execute("ROLLBACK")
            raise
        self.commits += 1
        self.rows += len(batch)

    def _ring(self) -> None:
        """Tell the followers; what is stored is stored, whether they hear it or not."""
        try:
            self._on_commit()
        except Exception:
            log.exception("log.bell_failed")

    def _append_rows(self, receipt: Receipt, events: Sequence[Event], bodies: Sequence[bytes]) -> Appended:
        self._receipt += 1
        self._received_at = receipt.received_at
        number, when, salt = self._receipt, micros(receipt.received_at), os.urandom(16)
        request = receipt.request
        headers = _ENCODER.encode(request.headers)
        self._cursor.execute(
            query("events.receipt_add"),
            (
                number,
                receipt.source_id,
                when,
                receipt.proof.value,
                request.method,
                request.url,
                headers,
                request.body,
                salt,
            ),
        )
        ids: list[str] = []
        places: list[str | None] = []
        duplicates = conflicts = 0
        for event, body in zip(events, bodies, strict=True):
            words = hashlib.blake2b(event.vendor, digest_size=8).digest() if event.dedupe_key else b""
            known = self._known(receipt, event, words, number) if event.dedupe_key else None
            if known is None:
                entry = self._entry(receipt, event, body, number, when, salt)
                ids.append(entry)
                self._remember(receipt, event, words)
                places.append(entry)
                continue
            duplicates += known >= 0
            conflicts += known == CONFLICT
            places.append(None if known == CONFLICT else event_id(self.log_id, known))
        return Appended(ids=tuple(ids), duplicates=duplicates, conflicts=conflicts, places=tuple(places))

    def _known(self, receipt: Receipt, event: Event, words: bytes, number: int) -> int | None:
        """None: new. The first one's offset: a repeat. `CONFLICT`: the id is known with other words (I17)."""
        row = self._cursor.execute(query("events.seen_get"), (receipt.source_id, event.dedupe_key)).fetchone()
        if row is None or row[2] < receipt.received_at.timestamp():
            return None
        if row[1] != words and not self._same_words(row[0], event):
            self._quarantine_rows(receipt, "conflict", f"another event with the id {event.dedupe_key!r} is in the log")
            return CONFLICT
        self._cursor.execute(query("events.repeat_add"), (number, row[0]))
        return row[0]

    def _same_words(self, offset: int, event: Event) -> bool:
        row = self._cursor.execute(query("events.log_at"), (offset,)).fetchone()
        if row is None or row[9] is None:
            return True
        first = _EVENT.decode(row[9])
        fresh = frozenset(self._fresh(event.dialect))
        return _steady(first, fresh) == _steady(event, fresh)

    def _remember(self, receipt: Receipt, event: Event, words: bytes) -> None:
        if event.dedupe_key is None:
            return
        expires = int((receipt.received_at + self._horizon).timestamp())
        self._cursor.execute(
            query("events.seen_add"), (receipt.source_id, event.dedupe_key, self._offset, expires, words)
        )

    def _entry(self, receipt: Receipt, event: Event, body: bytes, number: int, when: int, salt: bytes) -> str:
        digest = hashlib.sha256(salt + receipt.request.body + body).digest()
        key = room_key(receipt.source_id, event)
        self._add(
            key=key,
            identity=None,
            source_id=receipt.source_id,
            receipt_id=number,
            when=when,
            proof=receipt.proof.value,
            origin=Origin.OBSERVED.value,
            cause_id=None,
            body=body,
            salt=None,
            digest=digest,
        )
        return event_id(self.log_id, self._offset)

    def _add(
        self,
        *,
        key: str,
        identity: str | None,
        source_id: str,
        receipt_id: int | None,
        when: int,
        proof: str,
        origin: str,
        cause_id: str | None,
        body: bytes,
        salt: bytes | None,
        digest: bytes,
    ) -> None:
        self._offset += 1
        offset = self._offset
        self._chain = hashlib.sha256(self._chain + offset.to_bytes(8, "big") + digest).digest()
        self._cursor.execute(
            query("events.log_add"),
            (
                offset,
                partition_of(key),
                identity,
                source_id,
                receipt_id,
                when,
                proof,
                origin,
                cause_id,
                body,
                salt,
                digest,
                self._chain,
            ),
        )

    def _conclude_rows(self, entries: Sequence[Logged], bodies: Sequence[bytes]) -> int:
        new = 0
        for entry, body in zip(entries, bodies, strict=True):
            key = f"derived|{entry.id}"
            if self._cursor.execute(query("events.seen_get"), (entry.source_id, key)).fetchone() is not None:
                continue
            salt = os.urandom(16)
            self._add(
                key=room_key(entry.source_id, entry.event),
                identity=entry.id,
                source_id=entry.source_id,
                receipt_id=None,
                when=micros(entry.recorded_at),
                proof=entry.proof.value,
                origin=entry.origin.value,
                cause_id=entry.cause_id,
                body=body,
                salt=salt,
                digest=hashlib.sha256(salt + body).digest(),
            )
            expires = int((entry.recorded_at + self._horizon).timestamp())
            self._cursor.execute(query("events.seen_add"), (entry.source_id, key, self._offset, expires, b""))
            new += 1
        return new

    def _quarantine_rows(self, receipt: Receipt, code: str, message: str) -> None:
        request = receipt.request
        headers = _ENCODER.encode(request.headers)
        self._cursor.execute(
            query("events.quarantine_add"),
            (
                receipt.source_id,
                micros(receipt.received_at),
                receipt.proof.value,
                code,
                message,
                request.method,
                request.url,
                headers,
                request.body,
            ),
        )
        self._cursor.execute(query("events.quarantine_trim"), (receipt.source_id, code, QUARANTINE_KEPT))

    def _forget_old(self) -> None:
        """Forget expired event ids, a chunk at a time, while nothing else is to do."""
        if self._refusal() is not None:
            return
        try:
            self._forgetting.idle()
        except apsw.Error as error:
            if is_disk_unsound(error):
                self._failed = f"{in_words(error)}; restart after the disk is sound"
            log.warning("log.not_forgotten", reason=in_words(error))

    def _about(self, name: str) -> str | None:
        row = self._db.execute(query("events.about_get"), (name,)).fetchone()
        return row[0] if row else None

    def _new_log_id(self) -> str:
        identity = os.urandom(5).hex()
        with self._db:
            self._db.execute(query("events.about_set"), ("log_id", identity))
        return identity

    def _scalar(self, statement: str) -> Any:
        row = self._db.execute(statement).fetchone()
        return row[0] if row else None


def _steady(event: Event, fresh: frozenset[str]) -> Any:
    """Return an event's words without those that are new each time."""
    words = json.loads(bytes(event.vendor))
    return {name: value for name, value in words.items() if name not in fresh} if isinstance(words, dict) else words


def _answer(batch: list[_Item]) -> None:
    """Tell every caller in its loop's thread; a loop that is gone has nobody waiting any more."""
    for loop in {item.future.get_loop() for item in batch}:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_tell, [item for item in batch if item.future.get_loop() is loop])


def _tell(batch: list[_Item]) -> None:
    for item in batch:
        if not item.future.done():
            item.future.set_result(item.result)


def _fail(batch: list[_Item], reason: str) -> None:
    for item in batch:  # an error each: a shared one would gather the traceback of every caller
        item.result = StoreFailed(f"nothing was stored: {reason}")
