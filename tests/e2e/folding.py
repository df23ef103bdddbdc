"""Fold and route a hub's log once more by itself, to hold what the hub did against it."""

from collections import defaultdict

from e2e.hub import Hub
from northbound.backends.sqlite.control import SqliteControlReader
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.dialects import all_dialects
from northbound.logic.route import build_table
from northbound.model.log import Logged
from northbound.model.room import Memory, Room
from northbound.ports import Folded
from northbound.stages.follow import Batch


def read_log(hub: Hub) -> list[Logged]:
    """Return the whole log."""
    reader = SqliteLogReader(hub.folder.events)
    entries: list[Logged] = []
    while page := reader.read(entries[-1].offset if entries else -1, 1000):
        entries.extend(page)
    reader.close()
    return entries


def folded(hub: Hub, entries: list[Logged]) -> Batch:
    """Return what *entries* lead to with what is set up now: rooms, conclusions, steps and deliveries."""
    reader = SqliteControlReader(hub.folder.control)
    table = build_table(reader.load())
    reader.close()
    batch = Batch(_Nothing(), all_dialects(), table)
    for entry in entries:
        batch.take(entry)
    return batch


def routed(batch: Batch) -> dict[str, dict[str, list[str]]]:
    """Return the ids of *batch*'s deliveries by endpoint and room."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for one in batch.deliveries:
        found[one.endpoint_id][one.order_key].append(one.id)
    return {endpoint_id: dict(rooms) for endpoint_id, rooms in found.items()}


class _Nothing:
    """A store that holds nothing yet and is never written to."""

    def cursor(self) -> int:
        return -1

    def room(self, key: str) -> Room | None:
        return None

    def memory(self, name: str) -> Memory:
        return Memory()

    def last_sent(self, endpoint_id: str, key: str) -> int | None:
        return None

    def commit(self, folded: Folded) -> list[int]:
        raise AssertionError("nothing is stored here")
