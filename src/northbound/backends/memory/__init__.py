"""All storages in plain memory, with the laws of the real ones: for tests and the simulator."""

from northbound.backends.memory.deliveries import MemoryDeliveries
from northbound.backends.memory.history import MemoryHistory
from northbound.backends.memory.log import MemoryLog

__all__ = ["MemoryDeliveries", "MemoryHistory", "MemoryLog"]
