"""Gather alarms without waiting, and store them once a second: whoever raises one is never held up by it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

import structlog
from msgspec.structs import replace

from northbound.model.alarm import Alarm, AlarmKind, plain
from northbound.model.errors import Overloaded, StoreFailed
from northbound.ports import Clock

GATHERED = 512  # alarms told apart between two stores; above it those of a source or endpoint are one
EVERY = timedelta(seconds=1)
log = structlog.get_logger()
Key = tuple[str, str | None, str | None, str | None, str | None, str | None]


class AlarmStore(Protocol):
    """A process's alarms, in the database that it alone writes."""

    async def raise_alarms(self, alarms: Sequence[Alarm]) -> None:
        """Store *alarms*: one that is known (`Alarm.key`) and not over is counted, one that `is_over` ends it.

        A known one counts within `WINDOW` of its begin, those of `CONDITIONS` until they are over. Beyond
        `ROWS_A_WINDOW` new ones of a kind and source (or endpoint) they are told as one, and of those stored the
        newest `KEPT` stay, so that no sender fills the disk. Raise `StoreFailed` when nothing was stored.
        """
        ...


class Alarms:
    """The stage, one in each process that has something to say; a crash loses at most the last second of it."""

    def __init__(self, store: AlarmStore, clock: Clock, on_stored: Callable[[], None] = lambda: None) -> None:
        """*on_stored* is called after alarms were stored."""
        self._store = store
        self._clock = clock
        self._on_stored = on_stored
        self._gathered: dict[Key, Alarm] = {}
        self.counts: Counter[AlarmKind] = Counter()

    def raise_alarm(
        self,
        kind: AlarmKind,
        *,
        app_id: str,
        source_id: str | None = None,
        endpoint_id: str | None = None,
        room_id: str | None = None,
        what: str | None = None,
        facts: dict[str, str] | None = None,
    ) -> None:
        """Raise an alarm; the same one within a window is counted. Texts are cut and made printable here."""
        self.counts[kind] += 1
        now = self._clock.now()
        self._gather(
            Alarm(
                kind=kind,
                first_at=now,
                last_at=now,
                app_id=app_id,
                source_id=source_id,
                endpoint_id=endpoint_id,
                room_id=None if room_id is None else plain(room_id),
                what=None if what is None else plain(what),
                facts={name: plain(value) for name, value in (facts or {}).items()},
            )
        )

    def end_alarm(
        self,
        kind: AlarmKind,
        *,
        app_id: str,
        source_id: str | None = None,
        endpoint_id: str | None = None,
        room_id: str | None = None,
        what: str | None = None,
    ) -> None:
        """Say that an alarm is over; without one this says nothing."""
        now = self._clock.now()
        self._gather(
            Alarm(
                kind=kind,
                first_at=now,
                last_at=now,
                app_id=app_id,
                source_id=source_id,
                endpoint_id=endpoint_id,
                room_id=None if room_id is None else plain(room_id),
                what=None if what is None else plain(what),
                count=0,
                is_over=True,
            )
        )

    async def flush(self) -> int:
        """Store what was gathered; return how much. What cannot be stored stays gathered."""
        taken, self._gathered = self._gathered, {}
        if not taken:
            return 0
        try:
            await self._store.raise_alarms(list(taken.values()))
        except (StoreFailed, Overloaded) as error:
            newer, self._gathered = self._gathered, taken
            for one in newer.values():
                self._gather(one)
            log.warning("alarms.not_stored", count=len(taken), reason=error.message)
            return 0
        self._on_stored()
        return len(taken)

    async def run(self) -> None:
        """Store for ever, and a last time when cancelled."""
        try:
            while True:
                await asyncio.sleep(EVERY.total_seconds())
                try:
                    await self.flush()
                except Exception:
                    log.exception("alarms.broken")
        finally:
            await self.flush()

    def _gather(self, one: Alarm) -> None:
        known = self._gathered.get(one.key)
        if known is None and len(self._gathered) >= GATHERED:
            one = one.blurred()
            known = self._gathered.get(one.key)
        if known is not None and known.is_over and not one.is_over:
            known = replace(known, is_over=False)
        self._gathered[one.key] = one if known is None else known.merged(one)
