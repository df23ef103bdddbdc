"""Tell each account its day at its midnight, each day once: whatever died meanwhile, and however late it is made up.

A statistic is written, with the day its account came to, before the log is asked to take it, under an id made of
account and day; it is asked again until the log has it, which knows the id. So no day is lost and none told twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Protocol

import structlog

from northbound.logic.daily import (
    PRESENCE_KEPT,
    check_day,
    counts_of_day,
    differing,
    due_days,
    entry_of,
    next_look,
    statistic_of,
    zone_of,
)
from northbound.logic.stats import day_end, day_start
from northbound.model.account import Account
from northbound.model.errors import Conflict, HubError, NotFound
from northbound.model.event import Counts
from northbound.model.log import Logged
from northbound.model.statistic import Counted, DayBasis, Statistic
from northbound.ports import Clock, LogReader

EVERY = timedelta(seconds=1)
CATCH_UP = 31  # days of one account told in one step, after a long rest
log = structlog.get_logger()
Conclude = Callable[[Sequence[Logged]], Awaitable[int]]


class StatisticView(Protocol):
    """What is read of statistics; callable from any thread."""

    def basis(self, account_id: str, source_ids: Sequence[str], day: str, span: tuple[datetime, datetime]) -> DayBasis:
        """Return what a day is counted from, as of one moment."""
        ...

    def told(self, account_id: str, before: str, limit: int) -> list[Statistic]:
        """Return statistics of days before a day, the newest day first, of a day the newest telling first."""
        ...

    def told_of(self, account_id: str, day: str) -> list[Statistic]:
        """Return each telling of a day, in order."""
        ...

    def progress(self, account_id: str) -> str:
        """Return the day up to which an account was told, empty at the beginning."""
        ...


class StatisticStore(Protocol):
    """What is written of statistics; the writer of the rooms."""

    def cursor(self) -> int:
        """Return the offset up to which the log was folded."""
        ...

    def tell(
        self,
        one: Statistic | None,
        *,
        through: tuple[str, str, int] | None = None,
        command_id: str | None = None,
        result: Any = None,
    ) -> None:
        """Write a statistic that is about to be told, how far its account came, and the command that asked for it."""
        ...

    def unstored(self) -> list[Statistic]:
        """Return the statistics that the log may not have yet."""
        ...

    def stored(self, statistics: Sequence[Statistic]) -> None:
        """Note that the log has *statistics*."""
        ...

    def command_result(self, command_id: str) -> Any | None:
        """Return the result of a command carried out before."""
        ...


def count_day(view: StatisticView, counted: Counted, day: str, now: datetime) -> Counts:
    """Count a day of an account as it is known now; it reads the database."""
    account, zone = counted.account, zone_of(counted.account)
    span = (day_start(day, zone), day_end(day, zone))
    return counts_of_day(account, day, view.basis(account.id, counted.source_ids, day, span), now)


class Statistics:
    """The stage: `step` tells what is due, `again` tells a past day that counts otherwise by now."""

    def __init__(
        self,
        store: StatisticStore,
        view: StatisticView,
        reader: LogReader,
        accounts: Callable[[], Sequence[Counted]],
        conclude: Conclude,
        clock: Clock,
    ) -> None:
        self._store = store
        self._view = view
        self._reader = reader
        self._accounts = accounts
        self._conclude = conclude
        self._clock = clock
        self._turn = asyncio.Lock()  # a day is counted and written by one at a time
        self._heads: dict[tuple[str, str], int] = {}
        self._quiet: dict[str, tuple[Account, datetime]] = {}  # until when there is nothing to do for an account

    async def run(self) -> None:
        """Look every second; what cannot be stored or read now is tried again; other faults end it."""
        while True:
            try:
                await self.step()
            except HubError as error:
                log.warning("statistics.stalled", code=error.code, reason=error.message)
            await asyncio.sleep(EVERY.total_seconds())

    async def step(self) -> int:
        """Tell every account the days that are due; return how many the log took."""
        async with self._turn:
            told = await self._hand_over()
            for counted in self._accounts():
                known = self._quiet.get(counted.account.id)
                if known is None or known[0] != counted.account or known[1] <= self._clock.now():
                    await self._tell_due(counted)
            return told + await self._hand_over()

    async def again(self, command_id: str, account_id: str, day: str) -> Any:
        """Tell a past day that was not told, or counts otherwise by now, as a correction; once for each command."""
        async with self._turn:
            done = self._store.command_result(command_id)
            if done is not None:
                return done
            try:
                one, result = await self._corrected(account_id, day)
            except HubError as error:
                one, result = None, {"error": error.code, "message": error.message}
            self._store.tell(one, command_id=command_id, result=result)
            log.info("statistic.asked", command=command_id, account=account_id, day=day, told=one is not None)
            try:
                await self._hand_over()
            except HubError as error:  # the next step hands it to the log
                log.warning("statistics.stalled", code=error.code, reason=error.message)
            return result

    async def _corrected(self, account_id: str, day: str) -> tuple[Statistic | None, dict[str, Any]]:
        counted = next((one for one in self._accounts() if one.account.id == account_id), None)
        if counted is None:
            raise NotFound(f"there is no account {account_id!r}")
        if not counted.account.meeting_push:
            raise Conflict("meeting message push is off: turn it on to have a statistic sent")
        now = self._clock.now()
        check_day(counted.account, day, now)
        told = self._view.told_of(account_id, day)
        counts = await self._count(counted, day, now)
        if told and not differing(told[-1].counts, counts):
            return None, {"event_id": told[-1].event_id, "told": False}
        one = statistic_of(counted, day, len(told), counts, now)
        return one, {"event_id": one.event_id, "told": True}

    async def _tell_due(self, counted: Counted) -> None:
        account, now = counted.account, self._clock.now()
        needed = int((now - PRESENCE_KEPT).timestamp())
        last = await asyncio.to_thread(self._view.progress, account.id)
        for day in islice(due_days(account, last, now), CATCH_UP):
            if not self._is_folded(account.id, day):
                return
            known = self._view.told_of(account.id, day)  # somebody may have asked for it before we came to it
            one = None if known else statistic_of(counted, day, 0, await self._count(counted, day, now), now)
            self._store.tell(one, through=(account.id, day, needed))
            del self._heads[account.id, day]
            if one is not None:
                log.info("statistic.told", account=account.id, day=day, event_id=one.event_id)
        if next(due_days(account, await asyncio.to_thread(self._view.progress, account.id), now), None) is None:
            self._store.tell(None, through=(account.id, "", needed))
            self._quiet[account.id] = (account, next_look(account, now))

    def _is_folded(self, account_id: str, day: str) -> bool:
        """Tell whether all that was stored until we first saw the day over is counted."""
        head = self._heads.setdefault((account_id, day), self._reader.head())
        return self._store.cursor() >= head

    async def _count(self, counted: Counted, day: str, now: datetime) -> Counts:
        return await asyncio.to_thread(count_day, self._view, counted, day, now)

    async def _hand_over(self) -> int:
        """Have the log take what it may not have; it drops what it knows."""
        waiting = self._store.unstored()
        if not waiting:
            return 0
        taken = await self._conclude([entry_of(one) for one in waiting])
        self._store.stored(waiting)
        return taken
