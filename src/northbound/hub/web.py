"""The web process: API, health and metrics; the only writer of control.db, index.db and nonces.db."""

import asyncio
from datetime import timedelta
from typing import Any

import prometheus_client as prometheus

from northbound.backends.curl import CurlSender
from northbound.backends.probe import SocketProbe
from northbound.backends.sqlite.alarms import SqliteAlarmView
from northbound.backends.sqlite.control import SqliteControl
from northbound.backends.sqlite.history import SqliteHistory
from northbound.backends.sqlite.nonces import SqliteNonces
from northbound.backends.sqlite.statistics import SqliteStatisticView
from northbound.backends.sqlite.views import SqliteDeliveryReader, SqliteLogView
from northbound.config import Config, split_address
from northbound.doors.avd_master import source_id_of, warning
from northbound.hub.channel import Channel, serve_channel
from northbound.hub.meters import IndexMeter
from northbound.hub.process import run_process
from northbound.hub.side_tasks import SideTasks
from northbound.hub.system import Doorbell, Folder, SystemClock, SystemEntropy
from northbound.logic.addresses import AllowList
from northbound.model.app import Source
from northbound.model.errors import StoreFailed
from northbound.model.log import Receipt
from northbound.model.server import Incident, Notice
from northbound.model.wire import Proof
from northbound.stages.index import Index
from northbound.stages.ingest import Certificates
from northbound.stages.port_check import PortCheck
from northbound.web import openapi
from northbound.web.access import Access
from northbound.web.address import read_networks
from northbound.web.api import make_api
from northbound.web.call import Hub
from northbound.web.guard import Limits
from northbound.web.server import bind_socket, make_server
from northbound.web.told import told_url

DRAIN = timedelta(seconds=5)  # at stop, for calls in work; streams end at once
REQUEST_LINE = 256 * 1024  # vendors' clients write a whole rule with its targets, or 10,000 users, into the query
CONNECTIONS = 1024  # people, dashboards and scripts; vendors' callbacks have a server of their own
LIST_BYTES = 8 * 1024 * 1024  # of one answer: a page of a vendor's list of rooms with everybody in them
ASK_SECONDS = 2.0  # another process that is slower than this is away, for a page


class Lines:
    """The private lines to the other processes: one for each call, so that no answer is taken for another's."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    async def ask(self, process: str, what: str, **words: Any) -> Any:
        """Return a process's answer to a call; raise `StoreFailed` when it is away."""
        channel = Channel(self._folder, process)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await channel.call(do=what, **words)
        except TimeoutError:
            raise StoreFailed(f"the {process} process does not answer in {ASK_SECONDS:g} s") from None
        finally:
            channel.close()


class Meters:
    """What this process counts."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self._calls = prometheus.Counter(
            "northbound_web_requests",
            "API calls by operation and status",
            ["operation", "status"],
            registry=self.registry,
        )

    def count(self, operation: str, status: int) -> None:
        """Count one call."""
        self._calls.labels(operation, str(status)).inc()

    def text(self) -> str:
        """Return the figures as Prometheus text."""
        return prometheus.generate_latest(self.registry).decode()


class Web:
    """The process's parts, for `main` and for tests."""

    def __init__(self, config: Config, folder: Folder) -> None:
        self.clock = SystemClock()
        self.control = SqliteControl(folder.control)
        self.nonces = SqliteNonces(folder.nonces)
        self.log = SqliteLogView(folder.events)
        self.views = SqliteDeliveryReader(folder.deliveries)
        self.statistics = SqliteStatisticView(folder.deliveries)
        self.history = SqliteHistory(folder.index, self.log.head)
        self.alarms = SqliteAlarmView(folder.deliveries, folder.events)
        self.meters = Meters()
        self.sender = CurlSender(
            allow=AllowList.parse(config.allow_targets), proxy=config.egress_proxy or None, reply_cap=LIST_BYTES
        )
        self.lines = Lines(folder)
        self.ports = PortCheck(
            self.control,
            SocketProbe(AllowList.parse(config.check_targets, "check_targets")),
            self._tell,
            self.clock,
            every=timedelta(seconds=config.check_every),
            timeout=timedelta(seconds=config.check_timeout),
            failures=config.check_failures,
        )
        described = openapi.text().encode()
        self.hub = Hub(
            config=config,
            objects=self.control,
            keys=self.control,
            commands=self.control,
            trail=self.control,
            nonces=self.nonces,
            log=self.log,
            deliveries=self.views,
            rooms=self.views,
            figures=self.views,
            statistics=self.statistics,
            alarms=self.alarms,
            history=self.history,
            clock=self.clock,
            entropy=SystemEntropy(),
            ask=self.lines.ask,
            certificate_at=Certificates(self.sender, self.clock).key_at,
            description=lambda: described,
            metrics=self.meters.text,
            count=self.meters.count,
            access=Access(self.control, self.clock),
            port_reasons=self.ports.reasons,
            sender=self.sender,
        )

    async def _tell(self, incident: Incident, notice: Notice) -> None:
        """Have a notice stored as if a master had sent it."""
        source = self.control.get(Source, source_id_of(incident.app_id))[1]
        request, event = warning(incident, notice, told_url(source, self.hub.config))
        receipt = Receipt(source_id=source.id, received_at=self.clock.now(), request=request, proof=Proof.NONE)
        await self.lines.ask("intake", "put", receipt=receipt, events=[event])

    def close(self) -> None:
        """Close the databases."""
        self.history.close()
        self.alarms.close()
        self.statistics.close()
        self.views.close()
        self.log.close()
        self.nonces.close()
        self.control.close()


def limits_of(config: Config) -> Limits:
    """Return the server's limits; a page's caller may be as slow as a vendor, not slower."""
    return Limits(
        header_deadline=timedelta(seconds=config.header_timeout),
        body_deadline=timedelta(seconds=config.body_timeout),
        drain_deadline=DRAIN,
        connections=CONNECTIONS,
        request_line_bytes=REQUEST_LINE,
    )


async def main(config: Config, folder: Folder) -> None:
    """Run the web process until cancelled."""
    bell = Doorbell(folder, "web")
    web = Web(config, folder)
    trusted = read_networks(config.trusted_proxies, "trusted_proxies")
    host, port = split_address(config.listen, "listen")
    server = make_server(
        make_api(web.hub, trusted=trusted),
        bind_socket(host, port, "--listen"),
        limits_of(config),
        tls_cert=config.tls_cert or None,
        tls_key=config.tls_key or None,
        trusted=trusted,
    )

    async def answer(_: bytes) -> Any:
        return {"ok": True}

    channel = await serve_channel(folder, "web", answer)
    serving = asyncio.ensure_future(server.serve())
    index = Index(web.log, web.history)
    web.meters.registry.register(IndexMeter(web.history, index))
    indexing = asyncio.ensure_future(index.run(bell))
    side = SideTasks("web")
    web.meters.registry.register(side)
    checking = asyncio.ensure_future(side.keep("port_check", web.ports.run))
    try:
        done, _ = await asyncio.wait({serving, indexing, checking}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        channel.close()
        web.hub.closing.set()
        server.stop()
        indexing.cancel()
        checking.cancel()
        await asyncio.gather(serving, indexing, checking, return_exceptions=True)
        await web.sender.close()
        web.close()
        bell.close()


if __name__ == "__main__":
    run_process(main)
