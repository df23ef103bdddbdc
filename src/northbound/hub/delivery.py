"""The delivery process: follows the log, folds rooms, routes, sends; the only writer of deliveries.db."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import prometheus_client as prometheus
import structlog

from northbound.backends.curl import CurlSender
from northbound.backends.sqlite.control import SqliteControlReader
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.backends.sqlite.statistics import SqliteStatisticView
from northbound.config import Config
from northbound.dialects import all_dialects
from northbound.hub.channel import Channel, serve_channel
from northbound.hub.delivering import Delivering
from northbound.hub.meters import HeadMeter, LagMeter
from northbound.hub.notices import tell_alarms
from northbound.hub.process import RegistryWatch, run_process
from northbound.hub.side_tasks import SideTasks
from northbound.hub.system import Doorbell, Folder, SystemClock, SystemEntropy
from northbound.logic.addresses import AllowList
from northbound.logic.certificates import near_expiry
from northbound.logic.places import PLACES
from northbound.model.alarm import AlarmKind
from northbound.model.event import Event
from northbound.model.log import Logged, Receipt
from northbound.stages.alarms import Alarms
from northbound.stages.commands import Commands
from northbound.stages.control import Control
from northbound.stages.dead_letter import DeadLetters
from northbound.stages.deliver import Deliver
from northbound.stages.follow import Follow
from northbound.stages.health import HealthRules
from northbound.stages.statistics import Statistics

TRIM_EVERY = timedelta(minutes=10)
TRIM_PAUSE = 0.05  # seconds between two transactions that forget: 40,000 tries a second are more than are ever made
CERTIFICATES_EVERY = timedelta(seconds=5)  # how late an alarm about a certificate begins and ends
REMIND_EVERY = timedelta(days=1)
log = structlog.get_logger()


class DeliveryParts:
    """The process's parts; `run` until cancelled, then `close`."""

    def __init__(self, config: Config, folder: Folder) -> None:
        self._config = config
        self._folder = folder
        self._clock = SystemClock()
        self._store = SqliteDeliveries(folder.deliveries)
        self._alarms = Alarms(self._store, self._clock)
        self._hub = Delivering(config, self._store, self._alarms)
        self._watch = RegistryWatch(folder, self._hub.on_registry)
        allow, proxy = AllowList.parse(config.allow_targets), config.egress_proxy or None
        self._senders = tuple(CurlSender(allow=allow, proxy=proxy, max_connections=PLACES) for _ in range(2))
        self._intake = Channel(folder, "intake")
        self._dead_letters = _dead_letters(self._intake, self._hub, self._clock)
        self._deliver = self._deliver_stage()
        self._follow = self._follow_stage()
        self._side = SideTasks("delivery")
        self._statistics = self._statistics_stage()
        self._commands = self._commands_stage()
        self._hub.measure(HeadMeter(self._deliver.heads), LagMeter(self._follow), self._side)

    async def run(self, bell: Doorbell) -> None:
        """Do the duties, of which any that breaks ends the process, and beside them what may begin anew."""
        beside: dict[str, Callable[[], Any]] = {
            "alarms": self._alarms.run,
            "notices": lambda: tell_alarms(self._config, self._store),
            "statistics": self._statistics.run,
            "registry": lambda: _watch(self._watch, self._hub, self._deliver),
            "certificates": lambda: _watch_certificates(self._hub, self._alarms, self._clock),
            "trim": lambda: trim(self._store, self._clock, timedelta(days=self._config.attempts_days)),
        }
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow.run(bell))
            tasks.create_task(self._deliver.run())
            tasks.create_task(self._dead_letters.run())
            tasks.create_task(self._commands.run())
            for name, begin in beside.items():
                tasks.create_task(self._side.keep(name, begin))

    async def answer(self, call: bytes) -> Any:
        """Answer a call on the private line."""
        match msgspec.json.decode(call).get("do"):
            case "metrics":
                return {"text": prometheus.generate_latest(self._hub.registry).decode()}
            case "health":
                return self._follow.health() | {
                    "backlog": self._deliver.lanes.size,
                    "registry": self._watch.version,
                }
            case "refresh":
                self._watch.refresh()
                return {}
            case "counts":
                return [[*key, count] for key, count in self._hub.counts.items()]
            case "idle":
                return {"idle": self._deliver.idle, "cursor": self._store.cursor()}
            case other:
                return {"unknown": other}

    async def close(self) -> None:
        """Hang up and close the database."""
        self._intake.close()
        for sender in self._senders:
            await sender.close()
        self._store.close()

    # --- the stages -----------------------------------------------------------------------------

    def _deliver_stage(self) -> Deliver:
        config, (sender, second) = self._config, self._senders
        stage = Deliver(
            self._store,
            sender,
            all_dialects(),
            self._hub.endpoint,
            self._clock,
            SystemEntropy(),
            wait_scale=config.wait_scale,
            lease=timedelta(seconds=config.lease_seconds),
            on_settled=self._hub.on_settled,
            settle=self._store.settle_aside,
            second=second,
            rules=HealthRules(
                fails=timedelta(hours=config.endpoint_fails_hours),
                probe_every=timedelta(seconds=config.probe_seconds),
                probes_gone=config.probe_gone,
                scale=config.wait_scale,
                on_stopped=self._hub.on_stopped,
                on_started=self._hub.on_recovered,
                on_poisoned=self._hub.on_poisoned,
            ),
            dead_letters=self._dead_letters,
        )
        stage.recover()
        return stage

    def _follow_stage(self) -> Follow:
        return Follow(
            SqliteLogReader(self._folder.events),
            self._store,
            all_dialects(),
            lambda: self._hub.table,
            self._conclude,
            self._deliver.take,
            commit=self._store.commit_aside,
            on_not_folded=self._hub.on_not_folded,
        )

    def _statistics_stage(self) -> Statistics:
        return Statistics(
            self._store,
            SqliteStatisticView(self._folder.deliveries),
            SqliteLogReader(self._folder.events),
            lambda: self._hub.counted,
            self._conclude,
            self._clock,
        )

    def _commands_stage(self) -> Commands:
        control = Control(
            self._store,
            self._clock,
            self._deliver.take,
            lambda one: self._hub.test_event(one, self._clock.now()),
            self._started,
            self._deliver.hands,
        )
        return Commands(SqliteControlReader(self._folder.control), control, self._statistics, self._store)

    async def _conclude(self, entries: Sequence[Logged]) -> int:
        return await self._intake.call(do="conclude", entries=list(entries))

    def _started(self, endpoint_id: str) -> None:
        self._hub.start(endpoint_id)
        self._deliver.started(endpoint_id)


async def main(config: Config, folder: Folder) -> None:
    """Run delivery until cancelled."""
    bell = Doorbell(folder, "delivery")
    delivery = DeliveryParts(config, folder)
    channel = await serve_channel(folder, "delivery", delivery.answer)
    try:
        await delivery.run(bell)
    finally:
        channel.close()
        await delivery.close()


def _dead_letters(intake: Channel, hub: Delivering, clock: SystemClock) -> DeadLetters:
    """Return what puts events on their buses for dead letters, through the log's one writer."""

    async def put(receipt: Receipt, events: Sequence[Event]) -> None:
        await intake.call(do="put", receipt=receipt, events=list(events))

    return DeadLetters(put, hub.bus, clock)


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
