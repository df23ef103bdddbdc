"""Deliveries kept in memory between routing and sending; whatever is not is read again."""

from collections import OrderedDict

from msgspec.structs import replace

from northbound.model.delivery import Delivery
from northbound.ports import DeliveryQueue

CACHED = 20_000  # deliveries


class Kept:
    """A bounded memory before the queue."""

    def __init__(self, queue: DeliveryQueue) -> None:
        self._queue = queue
        self._cache: OrderedDict[int, Delivery] = OrderedDict()
        self._maybe_sent: set[int] = set()  # under way, perhaps, when the last process ended

    def take(self, number: int, delivery: Delivery) -> None:
        """Keep what was just routed while there is room: those that came first are sent first, so they stay."""
        if len(self._cache) < CACHED:
            self._cache[number] = delivery

    def remember(self, number: int, delivery: Delivery) -> None:
        """Keep what waits for its next attempt; the one kept longest makes room."""
        self._cache[number] = delivery
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)

    def may_be_sent(self, number: int) -> None:
        """Note that a delivery may have been under way when the last process ended."""
        self._maybe_sent.add(number)

    def drop(self, number: int) -> None:
        """Forget a delivery: what became of it is stored."""
        self._maybe_sent.discard(number)
        self._cache.pop(number, None)

    def get(self, number: int) -> Delivery | None:
        """Return a delivery, from memory or disk."""
        known = self._cache.get(number) or self._queue.load(number)
        if known is not None and number in self._maybe_sent:
            return replace(known, possible_duplicate=True)
        return known
