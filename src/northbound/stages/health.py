"""Stop endpoints whose every attempt fails for too long, try them now and then, start them when they accept (D15)."""

import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from northbound.logic.health import failing_changes, fails_too_long, is_poison, next_probe
from northbound.logic.order import APART, LaneKey, Lease
from northbound.model.app import Endpoint, EndpointState
from northbound.model.delivery import Attempt, Dead, Delivery, HealthChange, Lane, NextStep, RetryAt, Stop
from northbound.ports import DeliveryQueue, Entropy

PROBES = 64  # stopped endpoints tried at once: those that answer nothing must not take the places of the others
STOPPED = frozenset({EndpointState.FAILING, EndpointState.GONE})


class Poisoned(msgspec.Struct, frozen=True, kw_only=True):
    """A room's head that fails on and on; `is_over`: the room goes on."""

    endpoint: Endpoint
    number: int
    order_key: str
    attempts: int
    reason: str
    is_over: bool = False


class Heads:
    """The rooms whose head is poison, by lane; *tell* hears of each failure beyond the usual, and of the end."""

    def __init__(self, tell: Callable[[Poisoned], None]) -> None:
        self._tell = tell
        self._held: dict[LaneKey, Poisoned] = {}

    def note(
        self,
        lease: Lease,
        delivery: Delivery,
        endpoint: Endpoint,
        attempt: Attempt,
        step: NextStep,
        lane: Lane,
        *,
        is_charged: bool,
    ) -> None:
        """Look at what became of a lane's head, now in *lane*; what was set aside holds up no room."""
        if lease.lane in APART:
            return
        attempts, leaves = delivery.attempts + is_charged, lane is not lease.lane
        if is_poison(step, attempts, leaves=leaves):
            head = self._held[lease.lane_key] = Poisoned(
                endpoint=endpoint,
                number=lease.numbers[0],
                order_key=delivery.order_key,
                attempts=attempts,
                reason=attempt.verdict.reason,
            )
            self._tell(head)
        if leaves or not isinstance(step, RetryAt):
            self.mended(lease.lane_key)

    def mended(self, key: LaneKey) -> None:
        """Say that a room goes on, if its head was poison."""
        head = self._held.pop(key, None)
        if head is not None:
            self._tell(replace(head, is_over=True))

    def counts(self) -> Counter[str]:
        """Return how many rooms wait for a poisoned head, by endpoint id."""
        return Counter(key[0] for key in self._held)


class HealthRules:
    """What the settings say: how long an endpoint may fail (0: for ever), and how often a stopped one is tried.

    And who is told. *on_stopped* is awaited before a stop is stored, so that after a crash it is told again rather
    than never.
    """

    def __init__(
        self,
        *,
        fails: timedelta = timedelta(hours=120),
        probe_every: timedelta = timedelta(seconds=300),
        probes_gone: bool = False,
        scale: float = 1.0,
        on_stopped: Callable[[Endpoint, Stop], Awaitable[None]] | None = None,
        on_started: Callable[[Endpoint], None] = lambda _: None,
        on_poisoned: Callable[[Poisoned], None] = lambda _: None,
    ) -> None:
        self.fails = fails
        self.probe_every = probe_every * scale
        self.probes_gone = probes_gone
        self.scale = scale
        self.on_stopped = on_stopped
        self.on_started = on_started
        self.on_poisoned = on_poisoned


class Health:
    """What is known of each endpoint, as stored; the stage that sends asks and tells it."""

    def __init__(
        self,
        queue: DeliveryQueue,
        endpoint: Callable[[str], Endpoint | None],
        now: Callable[[], datetime],
        entropy: Entropy,
        rules: HealthRules,
    ) -> None:
        self._queue = queue
        self._endpoint = endpoint
        self._now = now
        self._entropy = entropy
        self._rules = rules
        self._failing: dict[str, datetime] = {}
        self._stops: dict[str, Stop] = {}
        self._due: list[tuple[datetime, str]] = []
        self.probing: set[str] = set()

    def recover(self) -> None:
        """Read what the last process knew; probes that are due meanwhile are spread anew."""
        now = self._now()
        self._failing = self._queue.failing()
        self._stops = {}
        for endpoint_id, stop in self._queue.stopped().items():
            if stop.probe_at is not None and stop.probe_at <= now:
                stop = replace(stop, probe_at=now + self._rules.probe_every * self._entropy.fraction())  # noqa: PLW2901
            self._keep(endpoint_id, stop)

    # --- what attempts say ------------------------------------------------------------------------

    def changes(self, outcomes: Sequence[tuple[str, bool]], probed: Sequence[str]) -> HealthChange:
        """Return what (endpoint id, accepted) change, and the next probe of those *probed* in vain; changes nothing."""
        now = self._now()
        known = {name: self._stops[name].probe_at for name in probed if name in self._stops}
        probes = {name: at for name, at in known.items() if at is not None}
        return HealthChange(failing=failing_changes(self._failing, outcomes, now), probes=probes)

    def apply(self, change: HealthChange) -> None:
        """Remember what was stored."""
        for endpoint_id, since in change.failing.items():
            if since is None:
                self._failing.pop(endpoint_id, None)
            else:
                self._failing[endpoint_id] = since

    async def stop_failing(self, endpoint: Endpoint, reason: str) -> None:
        """Stop *endpoint* if every attempt failed for too long; *reason* is that of the last."""
        since, now = self._failing.get(endpoint.id), self._now()
        if since is None or endpoint.id in self._stops:
            return
        if fails_too_long(endpoint, since, now, self._rules.fails, scale=self._rules.scale):
            hours = (now - since) / self._rules.scale / timedelta(hours=1)
            told = f"every attempt failed for {hours:.0f} h, the last with: {reason}"
            await self._stop(endpoint, Stop(reason=told, at=now, is_gone=False, probe_at=self.next_probe()))

    async def stop(self, endpoint: Endpoint, step: Dead | RetryAt) -> None:
        """Stop *endpoint* after a 410, or rather than give something up: then nobody but a person starts it again."""
        if isinstance(step, Dead):
            await self.stop_gone(endpoint, step.reason)
        elif endpoint.id not in self._stops:
            await self._stop(endpoint, Stop(reason=step.reason, at=self._now(), is_gone=False))

    async def stop_gone(self, endpoint: Endpoint, reason: str) -> None:
        """Stop *endpoint* after a 410."""
        known = self._stops.get(endpoint.id)
        if known is not None and known.is_gone:
            return
        probe_at = self.next_probe() if self._rules.probes_gone else None
        await self._stop(endpoint, Stop(reason=reason, at=self._now(), probe_at=probe_at))

    def accepted(self, endpoint: Endpoint, *, is_probe: bool) -> bool:
        """Start a stopped endpoint that accepted; one that is gone only by a probe; tell whether it was started."""
        stop = self._stops.get(endpoint.id)
        if stop is None or (stop.is_gone and not is_probe):
            return False
        self._queue.start_endpoint(endpoint.id)
        self.forget(endpoint.id)
        self._rules.on_started(endpoint)
        return True

    def forget(self, endpoint_id: str) -> None:
        """Know nothing of an endpoint any more: it was started, or deleted."""
        self._stops.pop(endpoint_id, None)
        self._failing.pop(endpoint_id, None)
        self.probing.discard(endpoint_id)

    # --- probes -----------------------------------------------------------------------------------

    def due(self) -> list[str]:
        """Return the stopped endpoints to be tried now, within `PROBES`; each gets its next time."""
        now = self._now()
        found: list[str] = []
        while self._due and self._due[0][0] <= now and len(self.probing) + len(found) < PROBES:
            at, endpoint_id = heapq.heappop(self._due)
            stop = self._stops.get(endpoint_id)
            if stop is None or stop.probe_at != at:  # started, or planned anew
                continue
            self._keep(endpoint_id, replace(stop, probe_at=self.next_probe()))
            endpoint = self._endpoint(endpoint_id)
            if endpoint is not None and endpoint.state in STOPPED and endpoint_id not in self.probing:
                found.append(endpoint_id)
        return found

    def next_probe(self) -> datetime:
        """Return a time for the next probe."""
        return next_probe(self._now(), self._rules.probe_every, self._entropy.fraction())

    def probe_at(self, endpoint_id: str) -> datetime | None:
        """Return when a stopped endpoint is tried next."""
        stop = self._stops.get(endpoint_id)
        return None if stop is None else stop.probe_at

    # --- inside -----------------------------------------------------------------------------------

    async def _stop(self, endpoint: Endpoint, stop: Stop) -> None:
        if self._rules.on_stopped is not None:
            await self._rules.on_stopped(endpoint, stop)
        self._queue.stop_endpoint(endpoint.id, stop)
        self._keep(endpoint.id, stop)

    def _keep(self, endpoint_id: str, stop: Stop) -> None:
        self._stops[endpoint_id] = stop
        if stop.probe_at is not None:
            heapq.heappush(self._due, (stop.probe_at, endpoint_id))
