"""The registry as the delivery process sees it, what it counts, and what it says of what happens to endpoints."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import prometheus_client as prometheus
import structlog
from msgspec.structs import replace
from prometheus_client.core import CounterMetricFamily

from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.config import Config
from northbound.dialects import all_dialects
from northbound.hub.meters import AlarmMeter, HeadMeter, LagMeter
from northbound.hub.side_tasks import SideTasks
from northbound.logic.certificates import hub_keys
from northbound.logic.daily import counted_accounts
from northbound.logic.health import room_of
from northbound.logic.keys import with_keys
from northbound.logic.route import RoutingTable, build_table, test_delivery
from northbound.model.account import Bus
from northbound.model.alarm import AlarmKind
from northbound.model.app import Endpoint, EndpointState, Registry
from northbound.model.certificate import Certificate
from northbound.model.delivery import Dead, Delivery, DeliveryState, Done, Stop
from northbound.model.errors import NotFound
from northbound.model.log import NotFolded
from northbound.model.statistic import Counted
from northbound.stages.alarms import Alarms
from northbound.stages.deliver import Settled
from northbound.stages.health import Poisoned
from northbound.web.told import hub_base

log = structlog.get_logger()


class Delivering:
    """The registry as the stages see it, and what they count."""

    def __init__(self, config: Config, store: SqliteDeliveries, alarms: Alarms) -> None:
        self._store = store
        self._alarms = alarms
        self._base = hub_base(config)
        self.certificates: tuple[Certificate, ...] = ()
        self._lease = timedelta(seconds=config.lease_seconds)
        self._dialects = all_dialects()
        self._endpoints: dict[str, Endpoint] = {}
        self.table: RoutingTable = build_table(Registry())
        self.counted: tuple[Counted, ...] = ()
        self._buses: dict[str, Bus] = {}
        self.changed: list[str] = []
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.registry = prometheus.CollectorRegistry()
        self.registry.register(self)
        self.registry.register(AlarmMeter(alarms, "delivery"))
        self._seconds = prometheus.Histogram(
            "northbound_delivery_seconds", "Time from being stored to being accepted", registry=self.registry
        )

    def on_registry(self, registry: Registry) -> None:
        """Take over a changed registry: keys resolved, endpoints that stopped by themselves marked.

        Whole or not at all: what waits for an endpoint that is not there is cancelled.
        """
        apps = {one.id: one for one in registry.apps}
        keys = hub_keys(registry.certificates, self._base)
        stopped = self._store.stopped()
        table, counted = build_table(registry), counted_accounts(registry)
        endpoints: dict[str, Endpoint] = {}
        for one in table.endpoints.values():
            resolved = with_keys(one, apps.get(one.app_id), self._dialects[one.dialect], keys)
            if one.id in stopped and one.state is EndpointState.ENABLED:
                state = EndpointState.GONE if stopped[one.id].is_gone else EndpointState.FAILING
                resolved = replace(resolved, state=state)
            if resolved.retry.deadline >= self._lease:
                log.error("endpoint.deadline_over_lease", endpoint=one.id)
                resolved = replace(resolved, state=EndpointState.DISABLED)
            endpoints[one.id] = resolved
        self.certificates, self.table, self.counted = registry.certificates, table, counted
        self._buses = {one.id: one for one in registry.buses}
        self._endpoints = endpoints
        self.changed = list(endpoints)

    def measure(self, *meters: HeadMeter | LagMeter | SideTasks) -> None:
        """Count what *meters* tell among the process's figures."""
        for one in meters:
            self.registry.register(one)

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint with the keys that sign for it."""
        return self._endpoints.get(endpoint_id)

    def bus(self, bus_id: str) -> Bus | None:
        """Return an event bus, None when it was deleted."""
        return self._buses.get(bus_id)

    async def on_stopped(self, endpoint: Endpoint, stop: Stop) -> None:
        """Mark an endpoint that stopped by itself at once, and say so before it is stored."""
        known = self._endpoints.get(endpoint.id)
        if known is not None and known.state is EndpointState.ENABLED:
            state = EndpointState.GONE if stop.is_gone else EndpointState.FAILING
            self._endpoints[endpoint.id] = replace(known, state=state)
        log.error("endpoint.stopped", endpoint=endpoint.id, reason=stop.reason)
        self._raise(AlarmKind.ENDPOINT_STOPPED, endpoint, reason=stop.reason)
        await self._alarms.flush()

    def on_recovered(self, endpoint: Endpoint) -> None:
        """Mark an endpoint that accepted when it was tried."""
        log.info("endpoint.recovered", endpoint=endpoint.id)
        self.start(endpoint.id)
        self._raise(AlarmKind.ENDPOINT_RECOVERED, endpoint)

    def start(self, endpoint_id: str) -> None:
        """Mark an endpoint as enabled at once."""
        known = self._endpoints.get(endpoint_id)
        if known is not None:
            kind = AlarmKind.ENDPOINT_STOPPED
            self._alarms.end_alarm(kind, app_id=known.app_id, endpoint_id=endpoint_id)
            if known.state is not EndpointState.DISABLED:
                self._endpoints[endpoint_id] = replace(known, state=EndpointState.ENABLED)

    def on_poisoned(self, head: Poisoned) -> None:
        """Say that a room's head fails on and on, or that the room goes on."""
        source_id, room_id = room_of(head.order_key)
        about: dict[str, str] = {
            "app_id": head.endpoint.app_id,
            "source_id": source_id,
            "endpoint_id": head.endpoint.id,
            "room_id": room_id,
            "what": str(head.number),
        }
        if head.is_over:
            self._alarms.end_alarm(AlarmKind.POISON_HEAD, **about)
            return
        facts = {"attempts": str(head.attempts), "reason": head.reason}
        self._alarms.raise_alarm(AlarmKind.POISON_HEAD, **about, facts=facts)

    def on_not_folded(self, one: NotFolded) -> None:
        """Say that an entry of the log was set aside."""
        app = self.table.app_of(one.source_id)
        facts = {"part": one.part, "reason": one.reason}
        about = {"app_id": "" if app is None else app.id, "source_id": one.source_id, "what": one.event_id}
        self._alarms.raise_alarm(AlarmKind.NOT_FOLDED, **about, facts=facts)

    def _raise(self, kind: AlarmKind, endpoint: Endpoint, **facts: str) -> None:
        self._alarms.raise_alarm(kind, app_id=endpoint.app_id, endpoint_id=endpoint.id, facts=facts)

    def on_settled(self, settled: Settled) -> None:
        """Count one try, and log it in one line."""
        step = settled.step
        result = "accepted" if isinstance(step, Done) else "dead" if isinstance(step, Dead) else "retry"
        endpoint = settled.endpoint
        self.counts[endpoint.id, endpoint.dialect, result] += 1
        exchange = settled.attempt.exchange
        if result == "accepted":
            self._seconds.observe((exchange.started_at - settled.delivery.created_at).total_seconds())
            return
        if isinstance(step, Dead) and step.state is DeliveryState.DEAD:
            self._raise(AlarmKind.DEAD_LETTERS, endpoint, reason=step.reason)
        log.warning(
            "delivery.attempted",
            delivery=settled.delivery.id,
            endpoint=endpoint.id,
            attempt=settled.attempt.number,
            result=result,
            reason=settled.attempt.verdict.reason,
            ms=exchange.duration_ms,
        )

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Say the counts as metrics."""
        attempts = CounterMetricFamily(
            "northbound_delivery_attempts",
            "Tries by endpoint, dialect and how they ended",
            labels=["endpoint", "dialect", "result"],
        )
        for key, number in self.counts.items():
            attempts.add_metric(key, number)
        yield attempts

    def test_event(self, endpoint_id: str, now: Any) -> list[Delivery]:
        """Return a well-formed test delivery for the endpoint."""
        endpoint = self._endpoints.get(endpoint_id)
        app = None if endpoint is None else self.table.apps.get(endpoint.app_id)
        if endpoint is None or app is None:
            raise NotFound(f"there is no endpoint {endpoint_id!r}")
        return test_delivery(endpoint, app, self._dialects, now)
