"""Follow the log for history: make entries searchable behind everybody else, one bounded batch a step."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import ParamSpec, Protocol, TypeVar

import msgspec
import structlog

from northbound.model.errors import HubError, StoreDamaged
from northbound.model.log import Logged
from northbound.ports import LogReader, Wake

BATCH = 2_000  # entries made searchable in one transaction
POLL = timedelta(milliseconds=500)  # the safety net when the doorbell is lost (S11)
GATHER = timedelta(milliseconds=100)  # a moment for more to come: many small batches make a slow index
STALLED = timedelta(seconds=2)  # the pause after a batch that failed
log = structlog.get_logger()
Given = ParamSpec("Given")
Done = TypeVar("Done")


class HistoryStore(Protocol):
    """What indexing needs of history; one writer. Everything in it comes from the log."""

    def cursor(self) -> int:
        """Return the offset of the newest entry that is searchable, -1 at the beginning."""
        ...

    def add(self, entries: Sequence[Logged], *, after: int) -> bool:
        """Store *entries*, read behind offset *after*, with the cursor; False when the cursor is elsewhere by now."""
        ...

    def skip(self, *, after: int, until: int) -> bool:
        """Move the cursor from *after* to *until*, between which all is erased; False when it is elsewhere by now."""
        ...

    @property
    def is_damaged(self) -> bool:
        """Whether somebody found the storage damaged; so until it is renewed, also when that failed."""
        ...

    def renew(self) -> None:
        """Set a damaged storage aside and begin a new one."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def verify(self, entries: Sequence[Logged], *, after: int, until: int) -> int | None:
        """Return the first offset behind *after*, up to *until*, that is not stored as *entries* say."""
        ...

    def damage(self) -> str | None:
        """Return what is wrong with the storage itself, None when it is sound."""
        ...


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How far behind the log history is: entries, and the age of the oldest of them."""

    events: int
    behind_seconds: float


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What comparing history with the log showed; `first_wrong` and `damage` are None when all is well."""

    entries: int
    first_wrong: int | None = None
    damage: str | None = None


class Index:
    """The stage; only `run` leaves the caller's thread, so its reader must not be used by anybody else."""

    def __init__(self, reader: LogReader, history: HistoryStore) -> None:
        self._reader = reader
        self._history = history
        self.unsearchable = 0  # entries since the start that our code could not make searchable

    async def run(self, wake: Wake) -> None:
        """Follow for ever, in a worker thread: pages are served meanwhile."""
        started = False
        while True:
            try:
                if not started:
                    await _to_the_end(self._start)
                    started = True
                count = await _to_the_end(self._sound_batch, BATCH)
            except HubError as error:
                log.warning("index.stalled", code=error.code, reason=error.message)
                await asyncio.sleep(STALLED.total_seconds())
                continue
            except Exception:
                log.exception("index.broken", again_in=STALLED.total_seconds())
                await asyncio.sleep(STALLED.total_seconds())
                continue
            if count == 0:
                await wake.wait(POLL)
            if count < BATCH:
                await asyncio.sleep(GATHER.total_seconds())

    async def step(self, limit: int) -> int:
        """Make up to *limit* entries searchable; return how many were read, or passed because they were erased.

        A damaged storage is set aside and made anew: the log holds all of it.
        """
        return self._sound_batch(limit)

    def lag(self, now: datetime) -> Lag:
        """Return how far behind history is."""
        cursor = self._history.cursor()
        waiting = self._reader.read(cursor, 1)
        if not waiting:
            return Lag(events=max(0, self._reader.head() - cursor), behind_seconds=0.0)
        age = (now - waiting[0].recorded_at).total_seconds()
        return Lag(events=max(1, self._reader.head() - cursor), behind_seconds=max(0.0, age))

    def rebuild(self) -> int:
        """Forget everything and index the log from its beginning; return how many entries there were."""
        self._history.clear()
        total = 0
        while count := self._batch(BATCH):
            total += count
        return total

    def verify(self) -> Verified:
        """Compare what is searchable, up to the cursor, with the log."""
        damage = self._history.damage()
        cursor, after, total = self._history.cursor(), -1, 0
        while damage is None and after < cursor:
            entries = [one for one in self._reader.read(after, BATCH) if one.offset <= cursor]
            until = entries[-1].offset if entries else min(cursor, after + BATCH)  # a page may be erased entirely
            wrong = self._wrong(entries, after, until)
            if wrong is not None:
                return Verified(entries=total, first_wrong=wrong)
            after = until
            total += len(entries)
        return Verified(entries=total, damage=damage)

    def _start(self) -> None:
        """Begin anew when history is ahead of the log: the log came back from an older backup."""
        if self._history.cursor() <= self._reader.head():
            return
        log.warning("index.ahead_of_log")
        try:
            self._history.clear()
        except StoreDamaged:
            self._renew()

    def _sound_batch(self, limit: int) -> int:
        if self._history.is_damaged:
            self._renew()
        try:
            return self._batch(limit)
        except StoreDamaged:
            if not self._history.is_damaged:  # it is the log that cannot be read: a new search would not be better
                raise
            self._renew()
        return self._batch(limit)

    def _renew(self) -> None:
        log.error("index.damaged", cursor=self._history.cursor(), head=self._reader.head())
        self._history.renew()

    def _add(self, entries: Sequence[Logged], after: int) -> None:
        """Make *entries* searchable; one that our code fails on is passed, and costs nobody else the search."""
        try:
            self._history.add(entries, after=after)
        except HubError:
            raise
        except Exception:
            if len(entries) > 1:
                for entry in entries:
                    self._add([entry], after)
                    after = entry.offset
                return
            log.exception("index.passed", event_id=entries[0].id, offset=entries[0].offset)
            self.unsearchable += 1
            self._history.skip(after=after, until=entries[0].offset)

    def _wrong(self, entries: Sequence[Logged], after: int, until: int) -> int | None:
        """Return the first offset that is not stored as *entries* say; of one that our code fails on nothing may be."""
        try:
            return self._history.verify(entries, after=after, until=until)
        except HubError:
            raise
        except Exception:  # noqa: BLE001 - whatever it was when it was passed
            if len(entries) <= 1:
                return self._history.verify([], after=after, until=until)
        places = [*(entry.offset for entry in entries[:-1]), until]
        for entry, place in zip(entries, places, strict=True):
            wrong = self._wrong([entry], after, place)
            if wrong is not None:
                return wrong
            after = place
        return None

    def _batch(self, limit: int) -> int:
        """Make up to *limit* entries searchable, or pass a stretch that reads as nothing; return how many places."""
        after = self._history.cursor()
        entries = self._reader.read(after, limit)
        if entries:
            self._add(entries, after)
            return len(entries)
        head = self._reader.head()
        if head <= after or self._reader.read(after, limit):  # the second look is behind the head: no race
            return 0
        until = min(head, after + limit)
        self._history.skip(after=after, until=until)
        return until - after


async def _to_the_end(work: Callable[Given, Done], *given: Given.args, **named: Given.kwargs) -> Done:
    """Do *work* in a worker thread; who is cancelled waits for its end, before which nothing it uses may be closed."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *given, **named))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise
