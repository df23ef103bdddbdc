"""What a process does beside its duty may break, and takes nothing else along."""

import asyncio

import prometheus_client as prometheus
import pytest

from northbound.hub import side_tasks
from northbound.hub.side_tasks import SideTasks


def test_a_side_task_that_breaks_is_begun_anew_and_counted_and_costs_nobody_else(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(side_tasks, "PAUSE", 0)
    begun: list[str] = []

    async def breaking() -> None:
        begun.append("breaking")
        if len(begun) < 4:
            raise ValueError("no such certificate")
        recovered.set()
        await asyncio.Event().wait()

    async def steady() -> None:
        begun.append("steady")
        await asyncio.Event().wait()

    async def scenario() -> None:
        nonlocal recovered
        recovered = asyncio.Event()
        tasks = [asyncio.ensure_future(side.keep(one.__name__, one)) for one in (steady, breaking)]
        async with asyncio.timeout(20):
            await recovered.wait()
        assert not any(one.done() for one in tasks)
        for one in tasks:
            one.cancel()
        assert all(
            isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*tasks, return_exceptions=True)
        )

    recovered = asyncio.Event()
    side = SideTasks("delivery")
    registry = prometheus.CollectorRegistry()
    registry.register(side)
    asyncio.run(scenario())

    assert begun == ["steady", "breaking", "breaking", "breaking"]
    text = prometheus.generate_latest(registry).decode()
    assert 'northbound_side_task_broken_total{process="delivery",task="breaking"} 2.0' in text
