"""Put what could not be delivered on a bus for such events, before it is settled: neither lost nor there twice."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from northbound.doors.events import as_dead_letter
from northbound.model.account import Bus
from northbound.model.app import Endpoint
from northbound.model.delivery import Delivery
from northbound.model.errors import StoreFailed
from northbound.model.event import Event
from northbound.model.log import Receipt
from northbound.model.wire import Proof, Request
from northbound.ports import Clock

AGAIN = 1.0  # seconds of pause after a put that failed: the intake is away, or its disk is full
log = structlog.get_logger()
Put = Callable[[Receipt, Sequence[Event]], Awaitable[Any]]


class DeadLetters:
    """The stage beside the one that sends: a put that takes long holds nobody else up.

    An event lies on a bus once, by its source and id. So a put that is repeated after a crash changes nothing, and
    an event that comes back to a bus it was on already goes no further: rings of buses end.
    """

    def __init__(self, put: Put, bus: Callable[[str], Bus | None], clock: Clock) -> None:
        """*put* appends through the log's writer; *bus* tells a bus by its id, None when it was deleted."""
        self._put = put
        self._bus = bus
        self._clock = clock
        self._waiting: deque[tuple[Endpoint, tuple[Delivery, ...], Callable[[], None]]] = deque()
        self._wake = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be put."""
        return not self._waiting

    def take(self, endpoint: Endpoint, deliveries: tuple[Delivery, ...], on_put: Callable[[], None]) -> None:
        """Put *deliveries* on the endpoint's bus; call *on_put* when they are on disk there."""
        self._waiting.append((endpoint, deliveries, on_put))
        self._wake.set()

    async def run(self) -> None:
        """Put for ever; what cannot be put now is put later, and is not settled before."""
        while True:
            self._wake.clear()
            try:
                await self.step()
            except StoreFailed as error:
                log.warning("dead_letter.not_put", waiting=len(self._waiting), reason=error.message)
                await asyncio.sleep(AGAIN)
                continue
            await self._wake.wait()

    async def step(self) -> int:
        """Put what waits, in order; return how many outcomes; raise `StoreFailed` at the first that cannot be put."""
        done = 0
        while self._waiting:
            endpoint, deliveries, on_put = self._waiting[0]
            for delivery in deliveries:
                try:
                    await self._put_one(endpoint, delivery)
                except StoreFailed:
                    raise
                except Exception:  # a fault of ours: a dead letter all the same, and the others go on
                    log.exception("dead_letter.cannot_be_put", endpoint=endpoint.id, delivery=delivery.id)
            self._waiting.popleft()
            on_put()
            done += 1
        return done

    async def _put_one(self, endpoint: Endpoint, delivery: Delivery) -> None:
        bus = self._bus(endpoint.dead_letter_bus)
        if bus is None:
            log.warning("dead_letter.no_bus", endpoint=endpoint.id, delivery=delivery.id)
            return
        event = as_dead_letter(delivery)
        request = Request(
            method="PUT",
            url=f"dead-letter:{delivery.id}",
            headers=(("northbound-event", delivery.event_id), ("northbound-delivery", delivery.id)),
            body=bytes(event.vendor),
        )
        receipt = Receipt(source_id=bus.source_id, received_at=self._clock.now(), request=request, proof=Proof.NONE)
        await self._put(receipt, [event])
