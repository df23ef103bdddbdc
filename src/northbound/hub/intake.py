"""The intake process: callbacks in, durable, answered; the only writer of events.db."""

import asyncio
import hmac
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import prometheus_client as prometheus
from msgspec.structs import replace
from prometheus_client.core import CounterMetricFamily

from northbound.backends.curl import CurlSender
from northbound.backends.sqlite.log import SqliteLog
from northbound.config import Config, split_address
from northbound.dialects import all_dialects
from northbound.dialects.base import sends_again
from northbound.hub.channel import serve_channel
from northbound.hub.meters import AlarmMeter, RefusalMeter
from northbound.hub.notices import tell_alarms
from northbound.hub.process import RegistryWatch, run_process
from northbound.hub.side_tasks import SideTasks
from northbound.hub.system import Doorbell, Folder, SystemClock
from northbound.logic.addresses import AllowList
from northbound.logic.customers import source_options
from northbound.logic.keys import verifying_keys
from northbound.model.app import Registry, Source
from northbound.model.errors import StoreFailed
from northbound.model.event import Event
from northbound.model.log import Logged, Receipt
from northbound.model.wire import Request, Response
from northbound.stages.alarms import Alarms
from northbound.stages.ingest import Ingest
from northbound.web.address import read_networks
from northbound.web.guard import Limits
from northbound.web.intake import IntakeApp
from northbound.web.server import Server, bind_socket, make_server
from northbound.web.told import as_told

FOLLOWERS = ("delivery", "web")


class Intake:
    """Find the source a request is for, and let the stage take it."""

    def __init__(self, stage: Ingest, config: Config) -> None:
        self._stage = stage
        self._config = config
        self._dialects = all_dialects()
        self._sources: dict[str, Source] = {}
        self.refusals: Counter[str] = Counter()  # by reason, of requests that are nobody's

    def on_registry(self, registry: Registry) -> None:
        """Take over a changed registry, keys resolved."""
        apps = {one.id: one for one in registry.apps}
        accounts = {one.app_id: one for one in registry.accounts}
        self._sources = {
            one.id: replace(
                one,
                keys=verifying_keys(one, apps.get(one.app_id), self._dialects[one.dialect]),
                options=source_options(one, accounts),
            )
            for one in registry.sources
        }

    def is_refused_last(self, source_id: str) -> bool:
        """Tell whether a source may use the reserve: its vendor does not send again what is refused (I14)."""
        source = self._sources.get(source_id)
        return source is not None and not sends_again(self._dialects[source.dialect], source.options)

    async def handle(self, request: Request, source_id: str, token: str, peer: str) -> Response:
        """Answer one request; an unknown source and a wrong token look the same from outside."""
        source = self._sources.get(source_id)
        known = source.token if source is not None else ""
        if source is None or not hmac.compare_digest(known.encode(), token.encode()) or source.state != "enabled":
            self.refusals["unknown_source"] += 1
            return Response.json(404, {"error": "not_found", "message": "there is no source here; check the URL"})
        return await self._stage.step(as_told(request, source, self._config), source, self._dialects[source.dialect])

    async def put(self, receipt: Receipt, events: list[Event]) -> dict[str, Any]:
        """Store what was put on an event bus; answer where each event is in the log, and which are new."""
        source = self._sources.get(receipt.source_id)
        if source is None:
            raise StoreFailed("the event bus is not known here; try again")
        return msgspec.to_builtins(await self._stage.put(receipt, events, source))


class Meters:
    """What the intake counts: plain numbers while it works, metrics when somebody asks."""

    def __init__(self, log: SqliteLog) -> None:
        self.registry = prometheus.CollectorRegistry()
        self.results: Counter[tuple[str, str]] = Counter()
        self._events: Counter[str] = Counter()
        self.registry.register(self)
        pending = prometheus.Gauge(
            "northbound_intake_pending", "Appends waiting for the writer", registry=self.registry
        )
        pending.set_function(lambda: log.pending[0])
        commits = prometheus.Gauge("northbound_intake_commits", "Commits since start", registry=self.registry)
        commits.set_function(lambda: log.commits)

    def count(self, source: Source, result: str, events: int) -> None:
        """Count one request."""
        self.results[source.id, result] += 1
        self._events[source.id] += events

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Say the counts as metrics."""
        requests = CounterMetricFamily(
            "northbound_intake_requests", "Callbacks by source and how they ended", labels=["source", "result"]
        )
        for key, number in self.results.items():
            requests.add_metric(key, number)
        events = CounterMetricFamily("northbound_intake_events", "Events stored, by source", labels=["source"])
        for source_id, number in self._events.items():
            events.add_metric([source_id], number)
        yield requests
        yield events


def limits_of(config: Config) -> Limits:
    """Return the server's limits as set."""
    return Limits(
        header_deadline=timedelta(seconds=config.header_timeout),
        body_deadline=timedelta(seconds=config.body_timeout),
        body_bytes=config.body_limit,
        connections=config.max_connections,
        pending_requests=config.pending_requests,
        pending_bytes=config.pending_bytes,
    )


class IntakeParts:
    """The process's parts: what stores, who may send, and the server."""

    def __init__(self, config: Config, folder: Folder) -> None:
        self._config = config
        dialects = all_dialects()
        self._log = SqliteLog(
            folder.events,
            horizon=timedelta(days=config.horizon_days),
            on_commit=Doorbell(folder, "intake", FOLLOWERS).ring,
            fresh=lambda name: dialects[name].fresh if name in dialects else (),
        )
        clock = SystemClock()
        self._sender = CurlSender(allow=AllowList.parse(config.allow_targets), proxy=config.egress_proxy or None)
        self._meters = Meters(self._log)
        self._alarms = Alarms(self._log, clock)
        self._side = SideTasks("intake")
        self._intake = Intake(Ingest(self._log, self._sender, clock, self._meters.count, self._alarms), config)
        self._watch = RegistryWatch(folder, self._intake.on_registry)
        self._server = self._bound_server()

    async def run(self) -> None:
        """Serve, and beside it what may begin anew; whatever ends first ends the process."""
        serving = asyncio.ensure_future(self._server.serve())
        beside = asyncio.gather(
            self._side.keep("registry", self._watch.run),
            self._side.keep("alarms", self._alarms.run),
            self._side.keep("notices", lambda: tell_alarms(self._config, self._log)),
        )
        try:
            done, _ = await asyncio.wait({serving, beside}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._server.stop()
            await asyncio.gather(serving, return_exceptions=True)
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)

    async def answer(self, call: bytes) -> Any:
        """Answer a call on the private line."""
        words = msgspec.json.decode(call, type=dict[str, msgspec.Raw])
        match msgspec.json.decode(words["do"]):
            case "conclude":
                return await self._log.conclude(msgspec.json.decode(words["entries"], type=list[Logged]))
            case "put":
                receipt = msgspec.json.decode(words["receipt"], type=Receipt)
                return await self._intake.put(receipt, msgspec.json.decode(words["events"], type=list[Event]))
            case "metrics":
                return {"text": prometheus.generate_latest(self._meters.registry).decode()}
            case "health":
                state = {"ok": self._log.failed is None, "reason": self._log.failed, "pending": self._log.pending[0]}
                return state | {"registry": self._watch.version}
            case "counts":
                return [[source, result, count] for (source, result), count in self._meters.results.items()]
            case "refresh":
                self._watch.refresh()
                return {}
            case other:
                return {"unknown": other}

    async def close(self) -> None:
        """Close what sends and what stores."""
        await self._sender.close()
        self._log.close()

    def _bound_server(self) -> Server:
        """Return the server, bound to its address, its refusals among the figures."""
        config, limits = self._config, limits_of(self._config)
        host, port = split_address(config.intake, "intake")
        trusted = read_networks(config.trusted_proxies, "trusted_proxies")
        app = IntakeApp(
            self._intake.handle,
            limits,
            trusted=trusted,
            reserve=config.pending_reserve,
            is_refused_last=self._intake.is_refused_last,
        )
        server = make_server(
            app,
            bind_socket(host, port, "--intake"),
            limits,
            tls_cert=config.tls_cert or None,
            tls_key=config.tls_key or None,
            trusted=trusted,
        )
        refusals = RefusalMeter(app.refusals, server.gate.refusals, self._intake.refusals)
        for meter in (AlarmMeter(self._alarms, "intake"), self._side, refusals):
            self._meters.registry.register(meter)
        return server


async def main(config: Config, folder: Folder) -> None:
    """Run the intake until cancelled."""
    intake = IntakeParts(config, folder)
    channel = await serve_channel(folder, "intake", intake.answer)
    try:
        await intake.run()
    finally:
        channel.close()
        await intake.close()


if __name__ == "__main__":
    run_process(main)
