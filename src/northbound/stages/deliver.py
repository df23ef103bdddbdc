"""Send what is due, judge the answers, settle: at least once, in room order, re-signed at each attempt."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import structlog
from msgspec.structs import replace

from northbound.dialects.base import Dialect
from northbound.logic.order import LaneKey, Lanes, Lease
from northbound.logic.retry import failure_verdict, free_retry, may_have_arrived, next_step
from northbound.logic.transform import shaped
from northbound.model.app import BodyForm, Endpoint
from northbound.model.delivery import (
    Attempt,
    Dead,
    Delivery,
    Exchange,
    Failure,
    FailureKind,
    Lane,
    NextStep,
    RetryAt,
    Verdict,
)
from northbound.model.errors import HubError, InvalidInput
from northbound.model.wire import Request
from northbound.ports import Clock, DeliveryQueue, Entropy, Sender

SETTLE_ROWS = 256  # outcomes in one commit
IN_FLIGHT = 512  # exchanges under way, all endpoints together
CACHED = 20_000  # deliveries kept in memory between routing and sending
LEASE = timedelta(seconds=120)  # how long an exchange may be under way; longer than every deadline (law 6)
SECOND_PATH = 2
STALLED = 1.0  # seconds of pause after a turn that failed, nothing being sent meanwhile
DELETED = Dead(reason="cancelled: the endpoint was deleted", cancelled=True)
log = structlog.get_logger()
Row = tuple[int, Attempt | None, NextStep, Lane, int]


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """One try as it ended, for counting and for the live table."""

    delivery: Delivery
    endpoint: Endpoint
    attempt: Attempt
    step: NextStep


class _Flight(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange under way, until `expires` on the monotonic clock."""

    lease: Lease
    deliveries: tuple[Delivery, ...]
    endpoint: Endpoint
    request: Request
    expires: float


class _Outcome(msgspec.Struct, frozen=True, kw_only=True):
    lease: Lease
    deliveries: tuple[Delivery, ...]
    endpoint: Endpoint
    attempt: Attempt
    step: NextStep
    in_lane: NextStep  # the same by the lanes' clock
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
        lease: timedelta = LEASE,
        on_settled: Callable[[Settled], None] = lambda _: None,
        settle: Callable[[Sequence[Row]], Awaitable[None]] | None = None,
        second: Sender | None = None,
    ) -> None:
        """*settle* stores like *queue*, letting the loop go on while the disk works; without it *queue* does.

        *second* sends what goes on a second path, so that the two share no connection and no limit (D20).
        """
        self._queue = queue
        self._sender = sender
        self._second = second or sender
        self._dialects = dialects
        self._endpoint = endpoint
        self._clock = clock
        self._entropy = entropy
        self._scale = wait_scale
        self._lease = lease.total_seconds()
        self._on_settled = on_settled
        self._settle_aside = settle
        self.lanes = Lanes(endpoint, self._batch_size)
        self._cache: OrderedDict[int, Delivery] = OrderedDict()
        self._maybe_sent: set[int] = set()  # under way, perhaps, when the last process ended
        self._flights: dict[LaneKey, _Flight] = {}
        self._outcomes: list[_Outcome] = []
        self._look_for_deleted = False
        self._wake = asyncio.Event()
        self._began = clock.now(), clock.monotonic()

    def recover(self) -> int:
        """Queue all that waited when the process last ended; return how many."""
        now = self._steady()
        waiting = self._queue.waiting()
        for one in waiting:
            tried = one.attempts > 0
            due_at = one.due_at if tried else now
            is_first = self.lanes.add(one.number, one.endpoint_id, one.order_key, one.lane, due_at, now, tried=tried)
            if is_first:
                self._maybe_sent.add(one.number)
        self._look_for_deleted = True
        return len(waiting)

    def take(self, numbers: Sequence[int], deliveries: Sequence[Delivery]) -> None:
        """Queue what was just routed or replayed, due at once."""
        now = self._steady()
        for number, one in zip(numbers, deliveries, strict=True):
            if len(self._cache) < CACHED:  # those that came first are sent first: they stay
                self._cache[number] = one
            self.lanes.add(number, one.endpoint_id, one.order_key, one.lane, now, now)
            self._look_for_deleted = self._look_for_deleted or self._endpoint(one.endpoint_id) is None
        if deliveries:
            self._wake.set()

    def wake(self) -> None:
        """Look again: an endpoint changed."""
        self._look_for_deleted = True
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, unsettled or waiting."""
        return not self._flights and not self._outcomes and not self.lanes.size

    async def run(self) -> None:
        """Deliver for ever; while the store refuses, nothing is sent: it could only be sent again and again."""
        while True:
            self._wake.clear()
            try:
                is_busy = await self.turn()
            except Exception:
                log.exception("delivery.stalled", again_in=STALLED)
                await asyncio.sleep(STALLED)
                continue
            if is_busy:
                await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def turn(self) -> bool:
        """Settle what ended, then start what is due; tell whether there was anything to do."""
        self._expire()
        settled = await self.settle()
        if self._look_for_deleted:
            await self.cancel_deleted()
        return bool(await self.step(IN_FLIGHT - len(self._flights)) or settled)

    async def step(self, limit: int) -> int:
        """Start up to *limit* exchanges; return how many."""
        leases = self.lanes.lease(self._steady(), max(0, limit))
        for lease in leases:
            self._start(lease)
        return len(leases)

    async def settle(self) -> int:
        """Store what ended, in one commit of at most `SETTLE_ROWS`; return how many.

        When the commit fails, nothing is settled: leases and outcomes stay, and the next call tries them again.
        """
        now = self._steady()
        batch = [self._unless_deleted(one) for one in self._outcomes[:SETTLE_ROWS]]
        if not batch:
            return 0
        for one in batch:
            if isinstance(one.step, Dead) and one.step.stop_endpoint:
                self._queue.stop_endpoint(one.endpoint.id, one.step.reason, self._clock.now())
        lanes = [self.lanes.destined(one.lease, one.in_lane, now) for one in batch]
        await self._store([row for one, lane in zip(batch, lanes, strict=True) for row in self._rows(one, lane)])
        del self._outcomes[: len(batch)]
        for one, lane in zip(batch, lanes, strict=True):
            self.lanes.settle(one.lease, one.in_lane, lane, now)
            self._conclude(one, lane)
        return len(batch)

    async def cancel_deleted(self) -> int:
        """Settle as cancelled what waits for endpoints that were deleted (D13); return how many."""
        cancelled = 0
        for endpoint_id in self.lanes.endpoint_ids():
            if self._endpoint(endpoint_id) is None:
                cancelled += await self._cancel(endpoint_id)
        self._look_for_deleted = False
        return cancelled

    # --- one exchange ---------------------------------------------------------------------------

    def _start(self, lease: Lease) -> None:
        endpoint = self._endpoint(lease.endpoint_id)
        loaded = [self._delivery(number) for number in lease.numbers]
        deliveries = tuple(one for one in loaded if one is not None)
        if endpoint is None or len(deliveries) != len(loaded):
            raise AssertionError(f"a lease of {lease.endpoint_id} without its endpoint or delivery")
        while True:
            try:
                request = self._request(deliveries, endpoint)
                break
            except Exception as error:  # noqa: BLE001 - a dialect's fault ends this delivery, not the stage
                if len(deliveries) == 1:
                    self._cannot_say(lease, deliveries[0], endpoint, error)
                    return
                lease = self.lanes.shrink(lease, len(deliveries) // 2)
                deliveries = deliveries[: len(lease.numbers)]
        expires = self._clock.monotonic() + self._lease
        flight = _Flight(lease=lease, deliveries=deliveries, endpoint=endpoint, request=request, expires=expires)
        self._flights[lease.lane_key] = flight
        sender = self._second if endpoint.path == SECOND_PATH else self._sender
        sender.submit(request, deadline=endpoint.retry.deadline, on_done=lambda exchange: self._ended(flight, exchange))

    def _request(self, deliveries: tuple[Delivery, ...], endpoint: Endpoint) -> Request:
        dialect = self._dialects[endpoint.dialect]
        first, last = deliveries[0], deliveries[-1]
        other = next((one.dialect for one in deliveries if one.dialect not in {"", endpoint.dialect}), None)
        if other is not None:
            raise InvalidInput(f"it was routed in the words of {other}, and the endpoint speaks {endpoint.dialect} now")
        request = _reshaped(dialect.encode([one.view for one in deliveries], endpoint), endpoint).adding(
            ("northbound-delivery", first.id),
            ("northbound-attempt", str(first.attempts + 1)),
            ("northbound-seq", str(last.seq)),
            ("northbound-prev", "" if first.prev is None else str(first.prev)),
        )
        if endpoint.path:
            request = request.adding(("northbound-path", str(endpoint.path)))
        if any(one.possible_duplicate for one in deliveries):
            request = request.adding(("northbound-possible-duplicate", "1"))
        return dialect.sign(request, endpoint, self._clock.now(), self._entropy.bytes(32))

    def _ended(self, flight: _Flight, exchange: Exchange) -> None:
        if self._flights.get(flight.lease.lane_key) is not flight:
            return  # its lease ended by time before: what is known of it is settled already
        del self._flights[flight.lease.lane_key]
        endpoint = flight.endpoint
        verdict, is_charged = self._judged(endpoint, exchange)
        made = flight.deliveries[0].attempts + 1
        step: NextStep
        if not is_charged and not verdict.accepted:
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
        attempt = Attempt(delivery_id=flight.deliveries[0].id, number=made, exchange=exchange, verdict=verdict)
        self._note(flight.lease, flight.deliveries, endpoint, attempt, step, is_charged=is_charged)

    def _judged(self, endpoint: Endpoint, exchange: Exchange) -> tuple[Verdict, bool]:
        outcome = exchange.outcome
        if isinstance(outcome, Failure):
            return failure_verdict(outcome), outcome.chargeable
        try:
            return self._dialects[endpoint.dialect].judge(exchange.request, outcome), True
        except Exception as error:  # noqa: BLE001 - an answer that breaks its dialect is an answer not accepted
            return Verdict(accepted=False, reason=f"the answer cannot be judged: {type(error).__name__}"), True

    def _cannot_say(self, lease: Lease, delivery: Delivery, endpoint: Endpoint, error: Exception) -> None:
        """Settle what this endpoint's wire cannot send at all: a dead letter with the reason (D19)."""
        reason = error.message if isinstance(error, HubError) else f"it cannot be written: {type(error).__name__}"
        failure = Failure(kind=FailureKind.PROTOCOL, message=reason)
        request = Request(method=endpoint.method, url=endpoint.url)
        exchange = Exchange(request=request, outcome=failure, started_at=self._clock.now(), duration_ms=0)
        verdict = Verdict(accepted=False, reason=reason)
        attempt = Attempt(delivery_id=delivery.id, number=delivery.attempts + 1, exchange=exchange, verdict=verdict)
        self._note(lease, (delivery,), endpoint, attempt, Dead(reason=reason), is_charged=True)

    def _expire(self) -> None:
        """End leases whose exchange never told how it ended (law 6); it may have arrived."""
        now = self._clock.monotonic()
        while self._flights:
            flight = next(iter(self._flights.values()))
            if flight.expires > now:
                return
            log.error("delivery.lease_expired", endpoint=flight.endpoint.id)
            failure = Failure(kind=FailureKind.TIMEOUT, message="the exchange did not end within its lease")
            started, length = self._clock.now() - timedelta(seconds=self._lease), round(self._lease * 1000)
            self._ended(
                flight, Exchange(request=flight.request, outcome=failure, started_at=started, duration_ms=length)
            )

    # --- what came of it ------------------------------------------------------------------------

    def _note(
        self,
        lease: Lease,
        deliveries: tuple[Delivery, ...],
        endpoint: Endpoint,
        attempt: Attempt,
        step: NextStep,
        *,
        is_charged: bool,
    ) -> None:
        if isinstance(step, Dead) and endpoint.stops_when_dead and not step.cancelled:
            step = replace(step, stop_endpoint=True)
        self._outcomes.append(
            _Outcome(
                lease=lease,
                deliveries=deliveries,
                endpoint=endpoint,
                attempt=attempt,
                step=step,
                in_lane=self._in_lane(step),
                charged=is_charged,
            )
        )
        self._wake.set()

    def _unless_deleted(self, one: _Outcome) -> _Outcome:
        if isinstance(one.step, RetryAt) and self._endpoint(one.endpoint.id) is None:
            self._look_for_deleted = True
            return replace(one, step=DELETED, in_lane=DELETED)
        return one

    def _rows(self, one: _Outcome, lane: Lane) -> list[Row]:
        return [
            (
                number,
                one.attempt if number == one.lease.numbers[0] else replace(one.attempt, delivery_id=delivery.id),
                one.step,
                lane,
                delivery.attempts + one.charged,
            )
            for number, delivery in zip(one.lease.numbers, one.deliveries, strict=True)
        ]

    def _conclude(self, one: _Outcome, lane: Lane) -> None:
        for number, delivery in zip(one.lease.numbers, one.deliveries, strict=True):
            self._maybe_sent.discard(number)
            self._cache.pop(number, None)
            if isinstance(one.step, RetryAt):
                arrived = delivery.possible_duplicate or may_have_arrived(one.attempt.exchange.outcome)
                attempts = delivery.attempts + one.charged
                waiting = replace(
                    delivery, attempts=attempts, lane=lane, due_at=one.step.due_at, possible_duplicate=arrived
                )
                self._remember(number, waiting)
            self._on_settled(Settled(delivery=delivery, endpoint=one.endpoint, attempt=one.attempt, step=one.step))
        if isinstance(one.step, Dead) and one.step.stop_endpoint:
            log.error("endpoint.gone", endpoint=one.endpoint.id)

    async def _store(self, rows: Sequence[Row]) -> None:
        if self._settle_aside is None:
            self._queue.settle(rows)
            await asyncio.sleep(0)
        else:
            await self._settle_aside(rows)

    async def _cancel(self, endpoint_id: str) -> int:
        lanes = self.lanes.lanes_of(endpoint_id)
        cancelled = 0
        while lanes:
            rows: list[Row] = []
            chunk: list[tuple[LaneKey, int]] = []
            while lanes and len(rows) < SETTLE_ROWS:
                numbers = self.lanes.waiting_in(lanes[-1])
                chunk.append((lanes.pop(), len(numbers)))
                rows += [self._cancelled(number) for number in numbers]
            await self._store(rows)
            for key, count in chunk:
                self.lanes.forget(key, count)
            cancelled += len(rows)
        log.warning("delivery.cancelled", endpoint=endpoint_id, count=cancelled, reason=DELETED.reason)
        return cancelled

    def _cancelled(self, number: int) -> Row:
        self._maybe_sent.discard(number)
        known = self._delivery(number)
        self._cache.pop(number, None)
        lane, attempts = (known.lane, known.attempts) if known is not None else (Lane.LIVE, 0)
        return (number, None, DELETED, lane, attempts)

    # --- what is kept in memory -----------------------------------------------------------------

    def _remember(self, number: int, delivery: Delivery) -> None:
        self._cache[number] = delivery
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)

    def _delivery(self, number: int) -> Delivery | None:
        known = self._cache.get(number) or self._queue.load(number)
        if known is not None and number in self._maybe_sent:
            return replace(known, possible_duplicate=True)
        return known

    def _batch_size(self, endpoint: Endpoint) -> int:
        size, dialect = endpoint.options.get("batch", 1), self._dialects.get(endpoint.dialect)
        if dialect is None or not isinstance(size, int):
            return 1
        return min(max(1, size), dialect.batch_max)

    def _pause(self) -> float:
        due = self.lanes.next_due()
        if due is None:
            return 1.0
        return max(0.001, min(1.0, (due - self._steady()).total_seconds()))

    # --- time -----------------------------------------------------------------------------------

    def _steady(self) -> datetime:
        """Return the lanes' time: the wall clock's at our start, moved on by the monotonic one, never set (S13)."""
        began, at = self._began
        return began + timedelta(seconds=self._clock.monotonic() - at)

    def _in_lane(self, step: NextStep) -> NextStep:
        """Return *step*, just decided by the wall clock, by the lanes' time: the wait is the same."""
        if not isinstance(step, RetryAt):
            return step
        return replace(step, due_at=self._steady() + (step.due_at - self._clock.now()))


def _reshaped(request: Request, endpoint: Endpoint) -> Request:
    """Return *request* with the body that its target asked for, before it is signed; raise `InvalidInput`."""
    if endpoint.body.form is BodyForm.ORIGINAL:
        return request
    made = shaped(request.body, endpoint.body)
    request = replace(request, body=made.body)
    return request if made.content_type is None else request.adding(("content-type", made.content_type))
