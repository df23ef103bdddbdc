"""Follow the log: fold rooms, conclude, route; conclusions are in the log before anything they cause is stored.

An entry that our code cannot fold or tell is set aside, which it alone pays for; what the world refuses is tried again.
"""

import asyncio
from collections import ChainMap, Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from traceback import format_tb, walk_tb
from typing import Any, Final, ParamSpec, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from northbound.dialects.base import Dialect
from northbound.logic.daily import account_tally
from northbound.logic.derive import Advance, Rooms, Step, advance, memory_key
from northbound.logic.route import Loss, RoutingTable, route
from northbound.logic.stats import tally
from northbound.model.delivery import Delivery
from northbound.model.errors import StoreFailed
from northbound.model.event import Traits
from northbound.model.log import Logged, NotFolded
from northbound.model.room import Memory, Room, Tally
from northbound.ports import Folded, LogReader, RoomStore, Wake

BATCH = 512  # entries folded and routed in one transaction
POLL = timedelta(milliseconds=250)  # the safety net when the doorbell is lost (S11)
STALLED = 1.0  # seconds of pause after a batch that could not be stored
CONCLUDED = 1_000  # conclusions handed to the log at once: large rooms that close together make hundreds of thousands
OURS: Final = "northbound."
FOLD: Final = "fold"
COUNT: Final = "count"
ROUTE: Final = "route"
WORLD = (StoreFailed, MemoryError)  # no fault of the entry that is folded: it is tried again
log = structlog.get_logger()
Conclude = Callable[[Sequence[Logged]], Awaitable[int]]
Given = ParamSpec("Given")
Found = TypeVar("Found")


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
        on_not_folded: Callable[[NotFolded], None] = lambda _: None,
    ) -> None:
        """*commit* stores like *store*, letting the loop go on while the disk works; without it *store* does.

        *on_not_folded* hears of each entry that was set aside, once that is stored.
        """
        self._reader = reader
        self._commit = commit
        self._store = store
        self._dialects = dialects
        self._table = table
        self._conclude = conclude
        self._on_routed = on_routed
        self._on_not_folded = on_not_folded
        self.set_aside: Counter[str] = Counter()  # entries since the start, by part
        self.stalled: str | None = None  # what the last batch failed of, while it is tried again

    def behind(self) -> int:
        """Return how many entries of the log are not folded yet."""
        return max(0, self._reader.head() - self._store.cursor())

    def health(self) -> dict[str, Any]:
        """Tell whether the log is being folded: `ok`, `reason`, how far `behind`, how many entries are set aside."""
        count, _ = self._store.not_folded(0)
        return {"ok": self.stalled is None, "reason": self.stalled, "behind": self.behind(), "not_folded": count}

    async def run(self, wake: Wake) -> None:
        """Follow for ever; a batch that cannot be read, stored or concluded is tried again."""
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
        for one, trace in batch.set_aside:
            self.set_aside[one.part] += 1
            log.error("follow.not_folded", **msgspec.structs.asdict(one), trace=trace)
            self._on_not_folded(one)
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
        folded = Folded(
            cursor=cursor,
            rooms=batch.rooms,
            memories=batch.memories,
            deliveries=batch.deliveries,
            tallies=batch.tallies,
            losses=[(loss.endpoint_id, loss.kind, loss.what, loss.event_type) for loss in batch.losses],
            past=batch.past,
            not_folded=[one for one, _ in batch.set_aside],
        )
        if self._commit is None:
            return self._store.commit(folded)
        return await self._commit(folded)


class Batch:
    """The outcome of folding some entries, before it is stored."""

    def __init__(self, store: RoomStore, dialects: Mapping[str, Dialect], table: RoutingTable) -> None:
        self._store = store
        self._dialects = dialects
        self.table = table  # whom the next entry is told, and counted for
        self._sent: dict[tuple[str, str], int] = {}
        self.rooms: dict[str, Room] = {}
        self.past: list[tuple[str, Room]] = []
        self.memories: dict[str, Memory] = {}
        self.deliveries: list[Delivery] = []
        self.losses: list[Loss] = []
        self.tallies: list[tuple[str, Tally]] = []
        self.concluded: list[Logged] = []
        self.set_aside: list[tuple[NotFolded, str]] = []  # with where it happened, for the log

    def take(self, entry: Logged) -> None:
        """Fold one entry, count it and route its steps; a part that fails is set aside whole.

        What cannot be folded has no other part. Raise `StoreFailed` when the rooms cannot be read.
        """
        folded = self._try(entry, FOLD, self._folded, entry)
        if folded is None:
            return
        moved, was = folded
        tallies = self._try(entry, COUNT, self._counted, moved)
        routed = self._try(entry, ROUTE, self._routed, moved)
        if moved.memory is not was:
            self.memories[memory_key(entry)] = moved.memory
        for step in moved.steps:
            if step.after.instance != step.before.instance and (step.before.stays or step.before.recordings):
                self.past.append((step.key, _over(step)))
            self.rooms[step.key] = step.after
        self.concluded.extend(moved.concluded)
        self.tallies.extend(tallies or ())
        if routed is not None:
            self._send(*routed)

    def _try(
        self, entry: Logged, part: str, work: Callable[Given, Found], *given: Given.args, **named: Given.kwargs
    ) -> Found | None:
        """Return what *work* gives; None when it fails on *entry*, of which the part is set aside then."""
        try:
            return work(*given, **named)
        except WORLD:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it must stop no other entry
            self.set_aside.append(_not_folded(entry, part, error))
            return None

    def _folded(self, entry: Logged) -> tuple[Advance, Memory]:
        """Return what *entry* leads to, and what was remembered before."""
        key = memory_key(entry)
        memory = self.memories.get(key) or _from_store(self._store.memory, key)
        return fold(entry, self._room, memory, self._dialects), memory

    def _counted(self, moved: Advance) -> list[tuple[str, Tally]]:
        """Return what the steps of an entry add to the figures of its app and account."""
        tallies: list[tuple[str, Tally]] = []
        for step in moved.steps:
            app = self.table.app_of(step.logged.source_id)
            if app is None:
                continue
            tallies.extend((app.id, one) for one in tally(step, self.table.zones[app.id]))
            account_id = self.table.accounts.get(app.id)
            if account_id is not None:
                zone = self.table.zones[account_id]
                tallies.extend((account_id, one) for one in account_tally(step, zone))
        return tallies

    def _routed(self, moved: Advance) -> tuple[list[Delivery], list[tuple[str, Loss]]]:
        """Return whom the steps of an entry are sent to, and what gets lost, with the event it is lost of."""
        found: tuple[list[Delivery], list[tuple[str, Loss]]] = ([], [])
        sent = ChainMap[tuple[str, str], int]({}, self._sent)
        for step in moved.steps:
            app = self.table.app_of(step.logged.source_id)
            if app is None or not step.deliver:
                continue
            deliveries, losses = route(
                step, app, self.table, self._dialects, lambda name, key=step.key: self._last_sent(sent, name, key)
            )
            sent.update({(delivery.endpoint_id, step.key): delivery.seq for delivery in deliveries})
            found[0].extend(deliveries)
            found[1].extend((step.logged.id, loss) for loss in losses)
        return found

    def _send(self, deliveries: Sequence[Delivery], losses: Sequence[tuple[str, Loss]]) -> None:
        self.deliveries.extend(deliveries)
        for delivery in deliveries:
            self._sent[delivery.endpoint_id, delivery.order_key] = delivery.seq
        for event_id, loss in losses:
            self.losses.append(loss)
            if loss.kind == "failed":
                log.error("follow.cannot_say", event_id=event_id, endpoint=loss.endpoint_id, reason=loss.what)

    def _room(self, key: str) -> Room | None:
        return self.rooms.get(key) or _from_store(self._store.room, key)

    def _last_sent(self, sent: Mapping[tuple[str, str], int], endpoint_id: str, key: str) -> int | None:
        known = sent.get((endpoint_id, key))
        return known if known is not None else _from_store(self._store.last_sent, endpoint_id, key)


def fold(entry: Logged, rooms: Rooms, memory: Memory, dialects: Mapping[str, Dialect]) -> Advance:
    """Return what *entry* leads to; the same for whoever follows the log and whoever folds it again."""
    dialect = dialects.get(entry.event.dialect)
    return advance(entry, rooms, memory, dialect.traits if dialect is not None else Traits())


def _from_store(look: Callable[Given, Found], *names: Given.args, **more: Given.kwargs) -> Found:
    """Look something up; a storage that cannot be read is no fault of the entry, words of one room that cannot are."""
    try:
        return look(*names, **more)
    except msgspec.MsgspecError:
        raise
    except Exception as error:
        raise StoreFailed(f"the rooms cannot be read: {type(error).__name__}") from error


def _not_folded(entry: Logged, part: str, error: Exception) -> tuple[NotFolded, str]:
    """Return *entry* as set aside, and the trace; of the error only its class is told: it may quote a value."""
    codes = [(frame.f_globals.get("__name__", ""), frame.f_code.co_name) for frame, _ in walk_tb(error.__traceback__)]
    module, function = next((one for one in reversed(codes) if one[0].startswith(OURS)), codes[-1])
    one = NotFolded(
        offset=entry.offset,
        event_id=entry.id,
        source_id=entry.source_id,
        part=part,
        reason=f"{type(error).__name__} in {module.rpartition('.')[2]}.{function}",
    )
    return one, "".join(format_tb(error.__traceback__))


def _over(step: Step) -> Room:
    """Return the instance that is over, without the recordings that went along into the next one."""
    along = step.after.recordings
    return replace(
        step.before, recordings={name: one for name, one in step.before.recordings.items() if name not in along}
    )


def refold(
    entries: Sequence[Logged], rooms: dict[str, Room], memories: dict[str, Memory], dialects: Mapping[str, Dialect]
) -> None:
    """Fold *entries* into *rooms* and *memories* without routing: what `rebuild --verify` compares with.

    What cannot be folded changes nothing, as in `Batch`.
    """
    for entry in entries:
        key = memory_key(entry)
        memory = memories.get(key) or Memory()
        try:
            moved = fold(entry, rooms.get, memory, dialects)
        except Exception as error:  # noqa: BLE001 - as in `Batch`
            log.warning("refold.not_folded", offset=entry.offset, reason=type(error).__name__)
            continue
        if moved.memory is not memory:
            memories[key] = moved.memory
        for step in moved.steps:
            rooms[step.key] = step.after
