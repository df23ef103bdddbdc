"""Send what is due, judge the answers, settle: at least once, in room order, re-signed at each attempt."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import structlog
from msgspec.structs import replace

from northbound.dialects.base import Dialect
from northbound.logic.order import LaneKey, Lanes, Lease, history_of
from northbound.logic.places import PLACES
from northbound.logic.retry import failure_verdict, free_retry, held, may_have_arrived, next_step
from northbound.logic.transform import reshaped
from northbound.model.app import Endpoint
from northbound.model.delivery import (
    NO_CHANGE,
    Attempt,
    Dead,
    Delivery,
    Done,
    Exchange,
    Failure,
    FailureKind,
    HealthChange,
    Lane,
    NextStep,
    RetryAt,
    Verdict,
)
from northbound.model.errors import HubError, InvalidInput
from northbound.model.wire import Request
from northbound.ports import Clock, DeliveryQueue, Entropy, Sender
from northbound.stages.cancel import DELETED, Row, cancel_all
from northbound.stages.dead_letter import DeadLetters
from northbound.stages.hands import Hands
from northbound.stages.health import Heads, Health, HealthRules
from northbound.stages.kept import Kept
from northbound.stages.under_way import Flight, Outcome

SETTLE_ROWS = 256  # outcomes in one commit
LEASE = timedelta(seconds=120)  # how long an exchange may be under way; longer than every deadline (law 6)
SECOND_PATH = 2
STALLED = 1.0  # seconds of pause after a turn that failed, nothing being sent meanwhile
log = structlog.get_logger()


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """One try as it ended, for counting and for the live table."""

    delivery: Delivery
    endpoint: Endpoint
    attempt: Attempt
    step: NextStep


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
        settle: Callable[[Sequence[Row], HealthChange], Awaitable[None]] | None = None,
        second: Sender | None = None,
        rules: HealthRules | None = None,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        """*settle* stores like *queue*, beside the loop; *second* sends what goes on a second path, apart (D20).

        *dead_letters* puts what is given up on the endpoint's bus for such events, before it is settled.
        """
        self._dead_letters = dead_letters
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
        rules = rules or HealthRules(scale=wait_scale)
        self.health = Health(queue, endpoint, self._steady, entropy, rules)
        self.heads = Heads(rules.on_poisoned)
        self.lanes = Lanes(endpoint, self._batch_size)
        self.kept = Kept(queue)
        self.hands = Hands(queue, self.lanes, self.kept, self.heads, endpoint, self._steady, self.wake)
        self._flights: dict[LaneKey, Flight] = {}
        self._outcomes: list[Outcome] = []
        self._looks = 0  # asked for, for what waits for endpoints that were deleted
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
                self.kept.may_be_sent(one.number)
        self._looks += 1
        self.health.recover()
        return len(waiting)

    def take(self, numbers: Sequence[int], deliveries: Sequence[Delivery]) -> None:
        """Queue what was just routed or replayed, due at once."""
        now = self._steady()
        for number, one in zip(numbers, deliveries, strict=True):
            self.kept.take(number, one)
            self.lanes.add(number, one.endpoint_id, one.order_key, one.lane, now, now)
            self._looks += self._endpoint(one.endpoint_id) is None
        if deliveries:
            self._wake.set()

    def wake(self) -> None:
        """Look again: an endpoint changed."""
        self._looks += 1
        self._wake.set()

    def started(self, endpoint_id: str) -> None:
        """Go on with an endpoint that somebody started by hand, as if it had never failed."""
        self.health.forget(endpoint_id)
        self.lanes.resume(endpoint_id)
        self.wake()

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, unsettled or waiting."""
        return not self._flights and not self._outcomes and not self.lanes.size  # what is being put is in its lane

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
        if self._looks:
            await self.cancel_deleted()
        self.probe()
        return bool(await self.step(PLACES - len(self._flights)) or settled)

    async def step(self, limit: int) -> int:
        """Start up to *limit* exchanges; return how many."""
        return self._begin(self.lanes.lease(self._steady(), max(0, limit)))

    async def settle(self) -> int:
        """Store what ended, in one commit of at most `SETTLE_ROWS`; return how many.

        When the commit fails, nothing is settled: leases and outcomes stay, and the next call tries them again.
        """
        now = self._steady()
        batch = [self._unless_deleted(one) for one in self._outcomes[:SETTLE_ROWS]]
        if not batch:
            return 0
        for one in batch:
            if not isinstance(one.step, Done) and one.step.stop_endpoint:
                await self.health.stop(one.endpoint, one.step)
        lanes = [self.lanes.destined(one.lease, one.in_lane, now) for one in batch]
        change = self._change_of(batch)
        await self._store(
            [row for one, lane in zip(batch, lanes, strict=True) for row in self._rows(one, lane)], change
        )
        del self._outcomes[: len(batch)]
        self.health.apply(change)
        for one, lane in zip(batch, lanes, strict=True):
            self.lanes.settle(one.lease, one.in_lane, lane, now)
            if one.lease.is_probe:
                self.health.probing.discard(one.endpoint.id)
        for one, lane in zip(batch, lanes, strict=True):
            self._conclude(one, lane)
        for one in batch:
            await self._look_after(one)
        return len(batch)

    def probe(self) -> int:
        """Start an attempt for each stopped endpoint that is to be tried now; return how many."""
        if len(self._flights) >= PLACES:
            return 0
        leases = [lease for name in self.health.due() if (lease := self.lanes.probe(name)) is not None]
        for lease in leases:
            self.health.probing.add(lease.endpoint_id)
        return self._begin(leases)

    async def cancel_deleted(self) -> int:
        """Settle as cancelled what waits for endpoints that were deleted (D13); return how many."""
        cancelled, looks = 0, self._looks
        for endpoint_id in self.lanes.endpoint_ids():
            if self._endpoint(endpoint_id) is None:
                self.health.forget(endpoint_id)
                cancelled += await cancel_all(endpoint_id, self.lanes, self.kept, self._store)
        self._looks -= looks  # what was asked for meanwhile is still to come
        return cancelled

    # --- one exchange ---------------------------------------------------------------------------

    def _begin(self, leases: Sequence[Lease]) -> int:
        """Start the exchanges of *leases*; return how many there were. What cannot be read is given back."""
        for lease in leases:
            try:
                endpoint, deliveries = self._read(lease)
            except Exception:
                log.exception("delivery.not_readable", endpoint=lease.endpoint_id, again_in=STALLED)
                now = self._steady()
                self.lanes.give_back(lease, now + timedelta(seconds=STALLED), now)
                self.health.probing.discard(lease.endpoint_id)
            else:
                self._start(lease, endpoint, deliveries)
        return len(leases)

    def _read(self, lease: Lease) -> tuple[Endpoint, tuple[Delivery, ...]]:
        endpoint = self._endpoint(lease.endpoint_id)
        loaded = [self.kept.get(number) for number in lease.numbers]
        deliveries = tuple(one for one in loaded if one is not None)
        if endpoint is None or len(deliveries) != len(loaded):
            raise AssertionError(f"a lease of {lease.endpoint_id} without its endpoint or delivery")
        return endpoint, deliveries

    def _start(self, lease: Lease, endpoint: Endpoint, deliveries: tuple[Delivery, ...]) -> None:
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
        flight = Flight(lease=lease, deliveries=deliveries, endpoint=endpoint, request=request, expires=expires)
        self._flights[lease.lane_key] = flight
        sender = self._second if endpoint.path == SECOND_PATH else self._sender
        sender.submit(
            request,
            deadline=endpoint.retry.deadline,
            on_done=lambda exchange: self._ended(flight, exchange),
            ca_pem=endpoint.ca_pem.encode() or None,
        )

    def _request(self, deliveries: tuple[Delivery, ...], endpoint: Endpoint) -> Request:
        dialect = self._dialects[endpoint.dialect]
        first, last = deliveries[0], deliveries[-1]
        other = next((one.dialect for one in deliveries if one.dialect not in {"", endpoint.dialect}), None)
        if other is not None:
            raise InvalidInput(f"it was routed in the words of {other}, and the endpoint speaks {endpoint.dialect} now")
        request = reshaped(dialect.encode([one.view for one in deliveries], endpoint), endpoint.body).adding(
            ("northbound-delivery", first.id),
            ("northbound-attempt", str(first.attempts + 1)),
            ("northbound-seq", str(last.seq)),
            ("northbound-prev", "" if first.prev is None else str(first.prev)),
            ("northbound-room", history_of(first.order_key)),
        )
        if endpoint.path:
            request = request.adding(("northbound-path", str(endpoint.path)))
        if any(one.possible_duplicate for one in deliveries):
            request = request.adding(("northbound-possible-duplicate", "1"))
        return dialect.sign(request, endpoint, self._clock.now(), self._entropy.bytes(32))

    def _ended(self, flight: Flight, exchange: Exchange) -> None:
        if self._flights.get(flight.lease.lane_key) is not flight:
            return  # its lease ended by time before: what is known of it is settled already
        del self._flights[flight.lease.lane_key]
        endpoint = flight.endpoint
        verdict, is_charged = self._judged(endpoint, exchange)
        made = flight.deliveries[0].attempts + 1
        step: NextStep
        if flight.lease.is_probe and not verdict.accepted:  # tried for the endpoint's sake: its policy is not used up
            is_charged = False
            due_at = self.health.probe_at(endpoint.id) or self._clock.now()
            step = RetryAt(due_at=due_at, reason=verdict.reason)
        elif not is_charged and not verdict.accepted:
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
        failure = Failure(kind=FailureKind.NOT_SENT, message=reason)
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
        step = held(step, endpoint, self._clock.now())
        one = Outcome(
            lease=lease,
            deliveries=deliveries,
            endpoint=endpoint,
            attempt=attempt,
            step=step,
            in_lane=self._in_lane(step),
            charged=is_charged,
        )
        self.lanes.ended(lease)
        if one.is_telling:
            self.lanes.learn(endpoint.id, attempt.exchange, is_accepted=isinstance(step, Done))
        if self._dead_letters is not None and endpoint.dead_letter_bus and isinstance(step, Dead):
            self._dead_letters.take(endpoint, deliveries, lambda: self._is_over(one))
        else:
            self._is_over(one)

    def _is_over(self, one: Outcome) -> None:
        self._outcomes.append(one)
        self._wake.set()

    def _unless_deleted(self, one: Outcome) -> Outcome:
        if isinstance(one.step, RetryAt) and self._endpoint(one.endpoint.id) is None:
            self._looks += 1
            return replace(one, step=DELETED, in_lane=DELETED)
        return one

    def _rows(self, one: Outcome, lane: Lane) -> list[Row]:
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

    def _conclude(self, one: Outcome, lane: Lane) -> None:
        for number, delivery in zip(one.lease.numbers, one.deliveries, strict=True):
            self.kept.drop(number)
            if isinstance(one.step, RetryAt):
                arrived = delivery.possible_duplicate or may_have_arrived(one.attempt.exchange.outcome)
                attempts = delivery.attempts + one.charged
                waiting = replace(
                    delivery, attempts=attempts, lane=lane, due_at=one.step.due_at, possible_duplicate=arrived
                )
                self.kept.remember(number, waiting)
            self._on_settled(Settled(delivery=delivery, endpoint=one.endpoint, attempt=one.attempt, step=one.step))
        self.heads.note(one.lease, one.deliveries[0], one.endpoint, one.attempt, one.step, lane, is_charged=one.charged)

    def _change_of(self, batch: Sequence[Outcome]) -> HealthChange:
        """Return what a batch says of its endpoints."""
        outcomes = [(one.endpoint.id, isinstance(one.step, Done)) for one in batch if one.is_telling]
        in_vain = [one.endpoint.id for one in batch if one.lease.is_probe and isinstance(one.step, RetryAt)]
        return self.health.changes(outcomes, in_vain)

    async def _look_after(self, one: Outcome) -> None:
        """Start an endpoint that accepts again, stop one that fails for too long."""
        if isinstance(one.step, Done):
            if self.health.accepted(one.endpoint, is_probe=one.lease.is_probe):
                self.lanes.resume(one.endpoint.id)
        elif one.is_telling:
            await self.health.stop_failing(one.endpoint, one.attempt.verdict.reason)

    async def _store(self, rows: Sequence[Row], change: HealthChange = NO_CHANGE) -> None:
        if self._settle_aside is None:
            self._queue.settle(rows, change)
            await asyncio.sleep(0)
        else:
            await self._settle_aside(rows, change)

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
