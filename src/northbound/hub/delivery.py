"""The delivery process: follows the log, folds rooms, routes, sends; the only writer of deliveries.db."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import prometheus_client as prometheus
import structlog
from msgspec.structs import replace
from prometheus_client.core import CounterMetricFamily

from northbound.backends.curl import CurlSender
from northbound.backends.sqlite.control import SqliteControlReader
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.backends.sqlite.statistics import SqliteStatisticView
from northbound.config import Config
from northbound.dialects import all_dialects
from northbound.hub.channel import Channel, serve_channel
from northbound.hub.meters import AlarmMeter, HeadMeter, LagMeter
from northbound.hub.notices import tell_alarms
from northbound.hub.process import RegistryWatch, run_process
from northbound.hub.system import Doorbell, Folder, SystemClock, SystemEntropy
from northbound.logic.addresses import AllowList
from northbound.logic.certificates import hub_keys, near_expiry
from northbound.logic.daily import counted_accounts
from northbound.logic.health import room_of
from northbound.logic.keys import with_keys
from northbound.logic.places import PLACES
from northbound.logic.route import RoutingTable, build_table, test_delivery
from northbound.model.account import Bus
from northbound.model.alarm import AlarmKind
from northbound.model.app import Endpoint, EndpointState, Registry
from northbound.model.certificate import Certificate
from northbound.model.delivery import Dead, Delivery, DeliveryState, Done, Stop
from northbound.model.errors import NotFound
from northbound.model.event import Event
from northbound.model.log import Logged, NotFolded, Receipt
from northbound.model.statistic import Counted
from northbound.stages.alarms import Alarms
from northbound.stages.control import Control
from northbound.stages.dead_letter import DeadLetters
from northbound.stages.deliver import Deliver, Settled
from northbound.stages.follow import Follow
from northbound.stages.health import HealthRules, Poisoned
from northbound.stages.statistics import Statistics
from northbound.web.told import hub_base

COMMAND_POLL = timedelta(milliseconds=250)
TRIM_EVERY = timedelta(minutes=10)
TRIM_PAUSE = 0.05  # seconds between two transactions that forget: 40,000 tries a second are more than are ever made
STALLED = 1.0  # seconds of pause after a command that could not be carried out
CERTIFICATES_EVERY = timedelta(seconds=5)  # how late an alarm about a certificate begins and ends
REMIND_EVERY = timedelta(days=1)
log = structlog.get_logger()


class Delivering:
    """The registry as the stages see it, and what they count."""

    def __init__(self, config: Config, folder: Folder, store: SqliteDeliveries, alarms: Alarms) -> None:
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
        """Take over a changed registry: keys resolved, endpoints that stopped by themselves marked."""
        apps = {one.id: one for one in registry.apps}
        keys = hub_keys(registry.certificates, self._base)
        self.certificates = registry.certificates
        stopped = self._store.stopped()
        self.table = build_table(registry)
        self.counted = counted_accounts(registry)
        self._buses = {one.id: one for one in registry.buses}
        self._endpoints = {}
        for one in self.table.endpoints.values():
            resolved = with_keys(one, apps.get(one.app_id), self._dialects[one.dialect], keys)
            if one.id in stopped and one.state is EndpointState.ENABLED:
                state = EndpointState.GONE if stopped[one.id].is_gone else EndpointState.FAILING
                resolved = replace(resolved, state=state)
            if resolved.retry.deadline >= self._lease:
                log.error("endpoint.deadline_over_lease", endpoint=one.id)
                resolved = replace(resolved, state=EndpointState.DISABLED)
            self._endpoints[one.id] = resolved
        self.changed = list(self._endpoints)

    def measure(self, *meters: HeadMeter | LagMeter) -> None:
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


async def main(config: Config, folder: Folder) -> None:
    """Run delivery until cancelled."""
    clock, entropy = SystemClock(), SystemEntropy()
    bell = Doorbell(folder, "delivery")
    store = SqliteDeliveries(folder.deliveries)
    alarms = Alarms(store, clock)
    hub = Delivering(config, folder, store, alarms)
    watch = RegistryWatch(folder, hub.on_registry)
    allow, proxy = AllowList.parse(config.allow_targets), config.egress_proxy or None
    sender, second = (CurlSender(allow=allow, proxy=proxy, max_connections=PLACES) for _ in range(2))
    intake = Channel(folder, "intake")
    dead_letters = _dead_letters(intake, hub, clock)
    deliver = Deliver(
        store,
        sender,
        all_dialects(),
        hub.endpoint,
        clock,
        entropy,
        wait_scale=config.wait_scale,
        lease=timedelta(seconds=config.lease_seconds),
        on_settled=hub.on_settled,
        settle=store.settle_aside,
        second=second,
        rules=HealthRules(
            fails=timedelta(hours=config.endpoint_fails_hours),
            probe_every=timedelta(seconds=config.probe_seconds),
            probes_gone=config.probe_gone,
            scale=config.wait_scale,
            on_stopped=hub.on_stopped,
            on_started=hub.on_recovered,
            on_poisoned=hub.on_poisoned,
        ),
        dead_letters=dead_letters,
    )
    deliver.recover()

    async def conclude(entries: Sequence[Logged]) -> int:
        return await intake.call(do="conclude", entries=list(entries))

    follow = Follow(
        SqliteLogReader(folder.events),
        store,
        all_dialects(),
        lambda: hub.table,
        conclude,
        deliver.take,
        commit=store.commit_aside,
        on_not_folded=hub.on_not_folded,
    )
    hub.measure(HeadMeter(deliver.heads), LagMeter(follow))

    statistics = Statistics(
        store,
        SqliteStatisticView(folder.deliveries),
        SqliteLogReader(folder.events),
        lambda: hub.counted,
        conclude,
        clock,
    )

    def started(endpoint_id: str) -> None:
        hub.start(endpoint_id)
        deliver.started(endpoint_id)

    control = Control(store, clock, deliver.take, lambda one: hub.test_event(one, clock.now()), started, deliver.hands)

    async def answer(call: bytes) -> Any:
        match msgspec.json.decode(call).get("do"):
            case "metrics":
                return {"text": prometheus.generate_latest(hub.registry).decode()}
            case "health":
                return follow.health() | {"backlog": deliver.lanes.size, "registry": watch.version}
            case "refresh":
                watch.refresh()
                return {}
            case "counts":
                return [[*key, count] for key, count in hub.counts.items()]
            case "idle":
                return {"idle": deliver.idle, "cursor": store.cursor()}
            case other:
                return {"unknown": other}

    channel = await serve_channel(folder, "delivery", answer)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow.run(bell))
            tasks.create_task(deliver.run())
            tasks.create_task(dead_letters.run())
            tasks.create_task(alarms.run())
            tasks.create_task(tell_alarms(config, store))
            tasks.create_task(statistics.run())
            tasks.create_task(_obey(SqliteControlReader(folder.control), control, statistics))
            tasks.create_task(_watch(watch, hub, deliver))
            tasks.create_task(_watch_certificates(hub, alarms, clock))
            tasks.create_task(trim(store, clock, timedelta(days=config.attempts_days)))
    finally:
        channel.close()
        intake.close()
        await sender.close()
        await second.close()
        store.close()


def _dead_letters(intake: Channel, hub: Delivering, clock: SystemClock) -> DeadLetters:
    """Return what puts events on their buses for dead letters, through the log's one writer."""

    async def put(receipt: Receipt, events: Sequence[Event]) -> None:
        await intake.call(do="put", receipt=receipt, events=list(events))

    return DeadLetters(put, hub.bus, clock)


async def _obey(commands: SqliteControlReader, control: Control, statistics: Statistics) -> None:
    """Carry out commands as they come; one that cannot be stored, say on a full disk, is tried again."""
    last = 0
    while True:
        found: list[tuple[int, str, dict[str, Any]]] = []
        try:
            found = commands.commands_after(last)
            for number, identity, body in found:
                if body.get("do") == "statistic":
                    await statistics.again(identity, str(body.get("account_id")), str(body.get("day")))
                elif control.step(identity, body) is None:
                    break  # it has more pages: after everybody else had a turn
                last = number
        except Exception:
            log.exception("command.stalled", after=last, again_in=STALLED)
            await asyncio.sleep(STALLED)
            continue
        await asyncio.sleep(0 if found else COMMAND_POLL.total_seconds())


async def _watch(watch: RegistryWatch, hub: Delivering, deliver: Deliver) -> None:
    """Follow the registry; endpoints that changed get a turn again, deleted ones are forgotten."""
    while True:
        await asyncio.sleep(0.25)
        watch.refresh()
        for endpoint_id in hub.changed:
            deliver.lanes.resume(endpoint_id)
        if hub.changed:
            hub.changed = []
            deliver.wake()


async def _watch_certificates(hub: Delivering, alarms: Alarms, clock: SystemClock) -> None:
    """Raise an alarm while the certificate that signs expires soon and none follows it."""
    was_near = True  # whatever the last process raised may be over by now
    raised_at: datetime | None = None
    while True:
        now = clock.now()
        one = near_expiry(hub.certificates, now)
        if one is not None and (raised_at is None or now - raised_at >= REMIND_EVERY):
            facts = {"certificate": one.id, "expires": one.expires_at.isoformat()}
            alarms.raise_alarm(AlarmKind.CERTIFICATE_EXPIRES, app_id="", facts=facts)
            raised_at = now
        if one is None and was_near:
            alarms.end_alarm(AlarmKind.CERTIFICATE_EXPIRES, app_id="")
            raised_at = None
        was_near = one is not None
        await asyncio.sleep(CERTIFICATES_EVERY.total_seconds())


async def trim(store: SqliteDeliveries, clock: SystemClock, keep: timedelta) -> None:
    """Forget tries older than *keep* for ever, a transaction at a time, with a turn for everybody else between two."""
    while True:
        try:
            forgotten = store.trim(clock.now() - keep)
        except Exception:
            log.exception("attempts.not_trimmed", again_in=TRIM_EVERY.total_seconds())
            forgotten = 0
        await asyncio.sleep(TRIM_PAUSE if forgotten else TRIM_EVERY.total_seconds())


if __name__ == "__main__":
    run_process(main)
