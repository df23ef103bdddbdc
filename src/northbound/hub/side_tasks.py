"""What a process does beside its duty: one that breaks is begun anew, and takes nothing else along."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import structlog
from prometheus_client.core import CounterMetricFamily

PAUSE = 1.0  # seconds before what broke is begun anew
log = structlog.get_logger()


class SideTasks:
    """Side tasks of one process, and how often each broke since it started."""

    def __init__(self, process: str) -> None:
        self._process = process
        self.broken: Counter[str] = Counter()

    async def keep(self, name: str, begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do what *begin* begins, for ever; a fault is logged and counted, and it is begun anew after `PAUSE`."""
        while True:
            try:
                await begin()
            except Exception:
                self.broken[name] += 1
                log.exception("side_task.broken", task=name, again_in=PAUSE)
            await asyncio.sleep(PAUSE)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Say the counts as metrics."""
        family = CounterMetricFamily(
            "northbound_side_task_broken", "How often a side task broke and was begun anew", labels=["task", "process"]
        )
        for name, number in self.broken.items():
            family.add_metric([name, self._process], number)
        yield family
