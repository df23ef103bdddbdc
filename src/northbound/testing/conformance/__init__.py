"""What every storage must promise, as laws that run against any of them.

A law is a coroutine that takes an empty `Storage` and raises `LawBroken`. To hold a new backend to them, write its
`Storage` and run each of `LAWS` against a fresh one.
"""

from collections.abc import Awaitable, Callable

from northbound.testing.conformance import alarms, deliveries, history, log, rooms
from northbound.testing.conformance.storage import LawBroken, Storage, Store, Stored

Law = Callable[[Storage], Awaitable[None]]
LAWS: tuple[Law, ...] = (*log.LAWS, *rooms.LAWS, *deliveries.LAWS, *alarms.LAWS, *history.LAWS)

__all__ = ["LAWS", "Law", "LawBroken", "Storage", "Store", "Stored"]
