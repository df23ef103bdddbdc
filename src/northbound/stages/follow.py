"""Follow the log: fold rooms, conclude, route; conclusions are in the log before anything they cause is stored."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from msgspec.structs import replace

from northbound.dialects.base import Dialect
from northbound.logic.daily import account_tally
from northbound.logic.derive import Step, advance, memory_key
from northbound.logic.route import Loss, RoutingTable, route
from northbound.logic.stats import tally
from northbound.model.delivery import Delivery
from northbound.model.event import Traits
from northbound.model.log import Logged
from northbound.model.room import Memory, Room, Tally
from northbound.ports import LogReader, RoomStore, Wake

BATCH = 512  # entries folded and routed in one transaction
POLL = timedelta(milliseconds=250)  # the safety net when the doorbell is lost (S11)
STALLED = 1.0  # seconds of pause after a batch that could not be stored
CONCLUDED = 1_000  # conclusions handed to the log at once: large rooms that close together make hundreds of thousands
log = structlog.get_logger()
Conclude = Callable[[Sequence[Logged]], Awaitable[int]]


class Follow:
    """The stage: reads the log behind its cursor, one bounded batch a step."""

    def __init__(
        self,
        reader: LogReader,
        store: RoomStore,
        dialects: Mapping[str, Dialect],
        table: Callable[[], RoutingTable],
        conclude: Conclude,
        on_routed: Callable[[Sequence[int], Sequence[Delivery]], None],
        commit: Callable[..., Awaitable[list[int]]] | None = None,
    ) -> None:
        """*commit* stores like *store*, letting the loop go on while the disk works; without it *store* does."""
        self._reader = reader
        self._commit = commit
        self._store = store
        self._dialects = dialects
        self._table = table
        self._conclude = conclude
        self._on_routed = on_routed
        self.stalled: str | None = None  # what the last batch failed of, while it is tried again

    def behind(self) -> int:
        """Return how many entries of the log are not folded yet."""
        return max(0, self._reader.head() - self._store.cursor())

    def health(self) -> dict[str, Any]:
        """Tell whether the log is being folded: `ok`, `reason`, and how far `behind`."""
        return {"ok": self.stalled is None, "reason": self.stalled, "behind": self.behind()}

    async def run(self, wake: Wake) -> None:
        """Follow for ever; a batch that cannot be stored, or concluded while the log is away, is tried again."""
        while True:
            try:
                read = await self.step(BATCH)
            except Exception as error:
                self.stalled = f"entries behind offset {self._store.cursor()} cannot be folded: {type(error).__name__}"
                log.exception("follow.stalled", cursor=self._store.cursor(), again_in=STALLED)
                await asyncio.sleep(STALLED)
                continue
            self.stalled = None
            if read == 0:
                await wake.wait(POLL)
            else:
                await asyncio.sleep(0)

    async def step(self, limit: int) -> int:
        """Fold and route up to *limit* entries; return how many were read."""
        cursor = self._store.cursor()
        entries = self._reader.read(cursor, limit)
        if not entries:
            return await self._pass_erased(cursor, limit)
        batch = Batch(self._store, self._dialects, self._table())
        for entry in entries:
            batch.take(entry)
        for first in range(0, len(batch.concluded), CONCLUDED):  # each is known by its id: half of them may be there
            await self._conclude(batch.concluded[first : first + CONCLUDED])
        numbers = await self._stored(batch, entries[-1].offset)
        self._on_routed(numbers, batch.deliveries)
        return len(entries)

    async def _pass_erased(self, cursor: int, limit: int) -> int:
        """Move the cursor over a stretch of erased entries, which reads as nothing; return how many there were."""
        head = self._reader.head()
        if head <= cursor or self._reader.read(cursor, limit):  # the second look is behind the head: no race
            return 0
        until = min(head, cursor + limit)
        await self._stored(Batch(self._store, self._dialects, self._table()), until)
        return until - cursor

    async def _stored(self, batch: "Batch", cursor: int) -> list[int]:
        outcome: dict[str, Any] = {
            "cursor": cursor,
            "rooms": batch.rooms,
            "memories": batch.memories,
            "deliveries": batch.deliveries,
            "tallies": batch.tallies,
            "losses": [(loss.endpoint_id, loss.kind, loss.what, loss.event_type) for loss in batch.losses],
            "past": batch.past,
        }
        if self._commit is None:
            return self._store.commit(**outcome)
        return await self._commit(**outcome)


class Batch:
    """The outcome of folding some entries, before it is stored."""

    def __init__(self, store: RoomStore, dialects: Mapping[str, Dialect], table: RoutingTable) -> None:
        self._store = store
        self._dialects = dialects
        self._table = table
        self._sent: dict[tuple[str, str], int] = {}
        self.rooms: dict[str, Room] = {}
        self.past: list[tuple[str, Room]] = []
        self.memories: dict[str, Memory] = {}
        self.deliveries: list[Delivery] = []
        self.losses: list[Loss] = []
        self.tallies: list[tuple[str, Tally]] = []
        self.concluded: list[Logged] = []

    def take(self, entry: Logged) -> None:
        """Fold one entry and route its steps."""
        key = memory_key(entry)
        memory = self.memories.get(key) or self._store.memory(key)
        moved = advance(entry, self._room, memory, _traits(entry, self._dialects))
        if moved.memory is not memory:
            self.memories[key] = moved.memory
        for step in moved.steps:
            self._settle(step)
        self.concluded.extend(moved.concluded)

    def _settle(self, step: Step) -> None:
        if step.after.instance != step.before.instance and (step.before.stays or step.before.recordings):
            self.past.append((step.key, _over(step)))
        self.rooms[step.key] = step.after
        app = self._table.app_of(step.logged.source_id)
        if app is None:
            return
        self.tallies.extend((app.id, one) for one in tally(step, self._table.zones[app.id]))
        account_id = self._table.accounts.get(app.id)
        if account_id is not None:
            zone = self._table.zones[account_id]
            self.tallies.extend((account_id, one) for one in account_tally(step, zone))
        if not step.deliver:
            return
        deliveries, losses = route(
            step, app, self._table, self._dialects, lambda endpoint_id: self._last_sent(endpoint_id, step.key)
        )
        for delivery in deliveries:
            self._sent[delivery.endpoint_id, step.key] = delivery.seq
        self.deliveries.extend(deliveries)
        self.losses.extend(losses)
        for loss in losses:
            if loss.kind == "failed":
                log.error("follow.cannot_say", event_id=step.logged.id, endpoint=loss.endpoint_id, reason=loss.what)

    def _room(self, key: str) -> Room | None:
        return self.rooms.get(key) or self._store.room(key)

    def _last_sent(self, endpoint_id: str, key: str) -> int | None:
        known = self._sent.get((endpoint_id, key))
        return known if known is not None else self._store.last_sent(endpoint_id, key)


def _over(step: Step) -> Room:
    """Return the instance that is over, without the recordings that went along into the next one."""
    along = step.after.recordings
    return replace(
        step.before, recordings={name: one for name, one in step.before.recordings.items() if name not in along}
    )


def _traits(entry: Logged, dialects: Mapping[str, Dialect]) -> Traits:
    dialect = dialects.get(entry.event.dialect)
    return dialect.traits if dialect is not None else Traits()


def refold(
    entries: Sequence[Logged], rooms: dict[str, Room], memories: dict[str, Memory], dialects: Mapping[str, Dialect]
) -> None:
    """Fold *entries* into *rooms* and *memories* without routing: what `rebuild --verify` compares with."""
    for entry in entries:
        key = memory_key(entry)
        memory = memories.get(key) or Memory()
        moved = advance(entry, rooms.get, memory, _traits(entry, dialects))
        if moved.memory is not memory:
            memories[key] = moved.memory
        for step in moved.steps:
            rooms[step.key] = step.after
