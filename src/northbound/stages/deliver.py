"""Send what is due, judge the answers, settle: at least once, in room order, re-signed at each attempt."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import structlog
from msgspec.structs import replace

from northbound.dialects.base import Dialect
from northbound.logic.order import Lanes, Lease
from northbound.logic.retry import failure_verdict, free_retry, next_step
from northbound.model.app import Endpoint
from northbound.model.delivery import (
    Attempt,
    Dead,
    Delivery,
    Done,
    Exchange,
    Failure,
    FailureKind,
    Lane,
    NextStep,
    Verdict,
)
from northbound.model.errors import HubError
from northbound.model.wire import Request
from northbound.ports import Clock, DeliveryQueue, Entropy, Sender

SETTLE_ROWS = 256  # outcomes in one commit
SETTLE_WAIT = timedelta(milliseconds=20)  # how long an outcome may wait for others
IN_FLIGHT = 512  # exchanges under way, all endpoints together
CACHED = 20_000  # deliveries kept in memory between routing and sending
log = structlog.get_logger()


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """One try as it ended, for counting and for the live table."""

    delivery: Delivery
    endpoint: Endpoint
    attempt: Attempt
    step: NextStep


class _Outcome(msgspec.Struct, frozen=True, kw_only=True):
    lease: Lease
    deliveries: tuple[Delivery, ...]
    endpoint: Endpoint
    attempt: Attempt
    step: NextStep
    charged: bool


class Deliver:
    """The stage; `step` starts what is due, `settle` stores what ended."""

    def __init__(
        self,
        queue: DeliveryQueue,
        sender: Sender,
        dialects: Mapping[str, Dialect],
        endpoint: Callable[[str], Endpoint | None],
        clock: Clock,
        entropy: Entropy,
        *,
        wait_scale: float = 1.0,
        on_settled: Callable[[Settled], None] = lambda _: None,
    ) -> None:
        self._queue = queue
        self._sender = sender
        self._dialects = dialects
        self._endpoint = endpoint
        self._clock = clock
        self._entropy = entropy
        self._scale = wait_scale
        self._on_settled = on_settled
        self.lanes = Lanes(endpoint, _batch_size)
        self._cache: OrderedDict[int, Delivery] = OrderedDict()
        self._outcomes: list[_Outcome] = []
        self._in_flight = 0
        self._wake = asyncio.Event()

    def recover(self) -> int:
        """Queue all that waited when the process last ended; return how many."""
        now = self._clock.now()
        waiting = self._queue.waiting()
        for one in waiting:
            self.lanes.add(one.number, one.endpoint_id, one.order_key, one.lane, one.due_at, now)
        return len(waiting)

    def take(self, numbers: Sequence[int], deliveries: Sequence[Delivery]) -> None:
        """Queue what was just routed or replayed."""
        now = self._clock.now()
        for number, one in zip(numbers, deliveries, strict=True):
            self._cache[number] = one
            self.lanes.add(number, one.endpoint_id, one.order_key, one.lane, one.due_at, now)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        if deliveries:
            self._wake.set()

    def wake(self) -> None:
        """Look again: an endpoint changed."""
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, unsettled or waiting."""
        return not self._in_flight and not self._outcomes and not self.lanes.size

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            started = await self.step(IN_FLIGHT - self._in_flight)
            settled = await self.settle()
            if started or settled:
                await asyncio.sleep(0)
                continue
            self._wake.clear()
            try:
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def step(self, limit: int) -> int:
        """Start up to *limit* exchanges; return how many."""
        leases = self.lanes.lease(self._clock.now(), max(0, limit))
        for lease in leases:
            self._start(lease)
        return len(leases)

    async def settle(self) -> int:
        """Store what ended, in one commit of at most `SETTLE_ROWS`; return how many."""
        batch = self._outcomes[:SETTLE_ROWS]
        if not batch:
            return 0
        del self._outcomes[: len(batch)]
        now = self._clock.now()
        rows: list[tuple[int, Attempt | None, NextStep, Lane, int]] = []
        for one in batch:
            lanes = self.lanes.settle(one.lease, [one.step] * len(one.lease.numbers), now)
            for number, delivery, lane in zip(one.lease.numbers, one.deliveries, lanes, strict=True):
                attempts = delivery.attempts + one.charged
                rows.append((number, replace(one.attempt, delivery_id=delivery.id), one.step, lane, attempts))
                self._after(number, delivery, one, lane, attempts)
        self._queue.settle(rows)
        for one in batch:
            for delivery in one.deliveries:
                self._on_settled(Settled(delivery=delivery, endpoint=one.endpoint, attempt=one.attempt, step=one.step))
        return len(batch)

    # --- one exchange ---------------------------------------------------------------------------

    def _start(self, lease: Lease) -> None:
        endpoint = self._endpoint(lease.endpoint_id)
        loaded = [self._delivery(number) for number in lease.numbers]
        deliveries = tuple(one for one in loaded if one is not None)
        if endpoint is None or len(deliveries) != len(loaded):
            raise AssertionError(f"a lease of {lease.endpoint_id} without its endpoint or delivery")
        self._in_flight += 1
        try:
            request = self._request(deliveries, endpoint)
        except HubError as error:
            self._cannot_say(lease, deliveries, endpoint, error)
            return
        self._sender.submit(
            request,
            deadline=endpoint.retry.deadline,
            on_done=lambda exchange: self._ended(lease, deliveries, endpoint, exchange),
        )

    def _request(self, deliveries: tuple[Delivery, ...], endpoint: Endpoint) -> Request:
        dialect = self._dialects[endpoint.dialect]
        first = deliveries[0]
        request = dialect.encode([one.view for one in deliveries], endpoint)
        prev = "" if first.prev is None else str(first.prev)
        request = request.adding(
            ("northbound-delivery", first.id),
            ("northbound-attempt", str(first.attempts + 1)),
            ("northbound-seq", str(first.seq)),
            ("northbound-prev", prev),
        )
        return dialect.sign(request, endpoint, self._clock.now(), self._entropy.bytes(32))

    def _ended(self, lease: Lease, deliveries: tuple[Delivery, ...], endpoint: Endpoint, exchange: Exchange) -> None:
        verdict, charged = self._judged(endpoint, exchange)
        made = deliveries[0].attempts + charged
        step: NextStep
        if not charged and not verdict.accepted:
            step = free_retry(verdict, self._clock.now(), self._entropy.fraction(), scale=self._scale)
        else:
            step = next_step(
                verdict,
                made,
                endpoint.retry,
                self._clock.now(),
                self._entropy.fraction(),
                endpoint_ignores_gone=endpoint.ignore_gone,
                scale=self._scale,
            )
        attempt = Attempt(delivery_id=deliveries[0].id, number=made, exchange=exchange, verdict=verdict)
        self._in_flight -= 1
        self._outcomes.append(
            _Outcome(lease=lease, deliveries=deliveries, endpoint=endpoint, attempt=attempt, step=step, charged=charged)
        )
        if isinstance(step, Dead) and step.stop_endpoint:
            self._queue.stop_endpoint(endpoint.id, step.reason, self._clock.now())
            log.error("endpoint.gone", endpoint=endpoint.id)
        self._wake.set()

    def _judged(self, endpoint: Endpoint, exchange: Exchange) -> tuple[Verdict, bool]:
        outcome = exchange.outcome
        if isinstance(outcome, Failure):
            return failure_verdict(outcome), outcome.chargeable
        return self._dialects[endpoint.dialect].judge(exchange.request, outcome), True

    def _cannot_say(self, lease: Lease, deliveries: tuple[Delivery, ...], endpoint: Endpoint, error: HubError) -> None:
        """Settle what this endpoint's wire cannot send at all: a dead letter with the reason (D19)."""
        failure = Failure(kind=FailureKind.PROTOCOL, message=error.message)
        request = Request(method=endpoint.method, url=endpoint.url)
        exchange = Exchange(request=request, outcome=failure, started_at=self._clock.now(), duration_ms=0)
        made = deliveries[0].attempts + 1
        verdict = Verdict(accepted=False, reason=error.message)
        self._in_flight -= 1
        self._outcomes.append(
            _Outcome(
                lease=lease,
                deliveries=deliveries,
                endpoint=endpoint,
                attempt=Attempt(delivery_id=deliveries[0].id, number=made, exchange=exchange, verdict=verdict),
                step=Dead(reason=error.message),
                charged=True,
            )
        )

    def _after(self, number: int, delivery: Delivery, one: _Outcome, lane: Lane, attempts: int) -> None:
        if isinstance(one.step, Done | Dead):
            self._cache.pop(number, None)
            return
        waiting = replace(
            delivery, attempts=attempts, lane=lane, due_at=one.step.due_at, possible_duplicate=attempts > 0
        )
        self._cache[number] = waiting

    def _delivery(self, number: int) -> Delivery | None:
        return self._cache.get(number) or self._queue.load(number)

    def _pause(self) -> float:
        if self._outcomes:
            return SETTLE_WAIT.total_seconds()
        due = self.lanes.next_due()
        if due is None:
            return 1.0
        return max(0.001, min(1.0, _seconds_until(due, self._clock.now())))


def _seconds_until(due: datetime, now: datetime) -> float:
    return (due - now).total_seconds()


def _batch_size(endpoint: Endpoint) -> int:
    size = endpoint.options.get("batch", 1)
    return size if isinstance(size, int) else 1
