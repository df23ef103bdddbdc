"""What the tests of the API share: a site on databases of its own, a tenant with one of everything, the process."""

import asyncio
import http.client
import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import urlencode

import uvloop

from northbound.backends.sqlite.control import SqliteControlReader
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.log import SqliteLog
from northbound.config import Config
from northbound.dialects import all_dialects
from northbound.hub import web as web_process
from northbound.hub.supervisor import prepare
from northbound.hub.system import Folder
from northbound.logic import route as routing
from northbound.logic.route import build_table
from northbound.model.app import App as AppRow
from northbound.model.app import Endpoint
from northbound.model.delivery import Attempt, Dead, Exchange, Failure, Lane, Verdict
from northbound.model.log import Receipt
from northbound.model.wire import Proof, Request, Response
from northbound.stages.control import Control
from northbound.stages.follow import Follow
from northbound.stages.index import Index
from northbound.web import api

BASE = "/api/v1"
CANARY = "canary-5eCreT-7731"
NOW = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Site:
    """The web process's parts on databases of their own, called without sockets; tests play the other processes."""

    def __init__(self, path: Path, **settings_: Any) -> None:
        self.config = Config(data=str(path), public_intake="https://hub.test", **settings_)
        self.folder = Folder(self.config.data)
        prepare(self.config)
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.admin = self.folder.admin_key.read_text().strip()
        self.web = web_process.Web(self.config, self.folder)
        self.app = api.make_api(self.web.hub)
        self.log = SqliteLog(self.folder.events)
        self.store = SqliteDeliveries(self.folder.deliveries)

    def close(self) -> None:
        self.log.close()
        self.store.close()
        self.web.close()
        self.runner.run(self.web.sender.close())
        self.runner.close()

    def call(
        self, method: str, target: str, body: Any = None, *, key: str | None = None, raw: bytes | None = None, **headers
    ) -> Reply:
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        key = self.admin if key is None else key
        fields = [(b"host", b"hub.test")]
        if key:
            fields.append((b"authorization", f"Bearer {key}".encode()))
        fields += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return self.runner.run(self.ask(method, target, content, fields))

    async def ask(self, method: str, target: str, content: bytes, fields: list[tuple[bytes, bytes]]) -> Reply:
        path, _, query = target.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path if path.startswith("/") else BASE + "/" + path, "raw_path": path.encode(),
            "query_string": query.encode(), "root_path": "", "headers": fields, "client": ("192.0.2.7", 1),
            "server": ("hub.test", 80), "state": {},
        }  # fmt: skip
        sent: list[dict[str, Any]] = []
        incoming = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return incoming.pop(0) if incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], headers, b"".join(one.get("body", b"") for one in sent[1:]))

    def made(self, what: str, body: Any, **more: Any) -> Any:
        reply = self.call("POST", what, body, **more)
        assert reply.status == 201, reply.body
        return reply.json

    def key_for(self, app_id: str | None, role: str = "admin") -> str:
        return self.made("keys", {"name": "k", "role": role, "app_id": app_id})["secret"]

    # --- the other processes ----------------------------------------------------------------------

    def received(self, source: dict[str, Any], /, **params: str) -> list[str]:
        """Play the intake: one callback of the 3T wire."""
        url = f"{source['intake_url']}?{urlencode(params)}"
        request = Request(method="GET", url=url, headers=(("authorization", CANARY),))
        events = all_dialects()["avd"].decode(request, {})
        receipt = Receipt(source_id=source["id"], received_at=datetime.now(UTC), request=request, proof=Proof.NONE)
        return list(self.runner.run(self.log.append(receipt, events)).ids)

    def settle(self) -> None:
        """Play delivery (without sending) and let history catch up."""

        async def step() -> None:
            follow = Follow(self.web.log, self.store, all_dialects(), lambda: table, self.log.conclude, lambda *_: None)
            while await follow.step(500):
                pass
            index = Index(self.web.log, self.web.history)
            while await index.step(500):
                pass

        reader = SqliteControlReader(self.folder.control)
        registry = reader.load()
        reader.close()
        table = build_table(registry)
        self.runner.run(step())

    def fail(self, number: int, outcome: Response | Failure) -> None:
        """Play a try that ended badly for good."""
        request = Request(
            method="POST", url="https://there.test/x", headers=(("Authorization", CANARY),), body=b'{"a":1}'
        )
        exchange = Exchange(request=request, outcome=outcome, started_at=NOW, duration_ms=7, address="198.18.0.9")
        verdict = Verdict(accepted=False, reason="the receiver answered 500")
        attempt = Attempt(delivery_id="", number=1, exchange=exchange, verdict=verdict)
        self.store.settle([(number, attempt, Dead(reason="gave up"), Lane.LIVE, 1)])

    def obey(self) -> None:
        """Play the delivery process's commands."""
        control = Control(self.store, self.web.clock, lambda *_: None, self._test_event, lambda _: None)
        rows = self.web.control._db.execute("SELECT id, body FROM commands ORDER BY number").fetchall()
        for identity, body in rows:
            control.step(identity, json.loads(body))

    def _test_event(self, endpoint_id: str) -> list[Any]:
        endpoint = self.web.control.get(Endpoint, endpoint_id)[1]
        app = self.web.control.get(AppRow, endpoint.app_id)[1]
        return routing.test_delivery(endpoint, app, all_dialects(), NOW)


def tenant(site: Site, name: str, secret: str = "k3y") -> SimpleNamespace:  # noqa: S107 - a test key
    """An app with one of everything, an event delivered and one dead letter."""
    app = site.made("apps", {"name": name})
    source = site.made(
        "sources",
        {"app_id": app["id"], "name": "box", "dialect": "avd", "keys": [{"kind": "shared", "secret": secret}]},
    )
    endpoint = site.made(
        "endpoints",
        {"app_id": app["id"], "url": "https://there.test/x", "dialect": "standard", "keys": [{"secret": secret}]},
    )
    subscription = site.made("subscriptions", {"app_id": app["id"], "pattern": {}, "endpoint_ids": [endpoint["id"]]})
    room = f"room-of-{name}"
    ids = site.received(source, event="open", room_id=room, trace_id=f"{name}-1")
    site.received(source, event="join", room_id=room, user_id="u1", event_type="normal", trace_id=f"{name}-2")
    site.received(source, event="open", room_id=room, trace_id=f"{name}-1")  # a repeat
    site.received(
        source, event="start_record", room_id=room, exporter_id="r1", exporter_type="hls", trace_id=f"{name}-3"
    )
    site.settle()
    numbers = [one["number"] for one in site.call("GET", f"deliveries?endpoint_id={endpoint['id']}").json["items"]]
    site.fail(min(numbers), Response(status=500, headers=(("set-cookie", secret),), body=b"no " * 3000))
    return SimpleNamespace(
        app=app, source=source, endpoint=endpoint, subscription=subscription, event_id=ids[0], room=room,
        room_key=f"{source['id']}//{room}", numbers=sorted(numbers),
    )  # fmt: skip


class Process:
    """The web process in a thread, on a free port."""

    def __init__(self, path: Path) -> None:
        self.config = Config(data=str(path), listen="127.0.0.1:0")
        prepare(self.config)
        self.folder = Folder(self.config.data)
        self.key = self.folder.admin_key.read_text().strip()
        self.ports: list[int] = []
        self.started = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        def bind(host: str, port: int, option_name: str) -> Any:
            listener = bind_socket(host, port, option_name)
            self.ports.append(listener.getsockname()[1])
            return listener

        async def main() -> None:
            self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()
            self.loop.call_later(0.05, self.started.set)
            with suppress(asyncio.CancelledError):
                await web_process.main(self.config, self.folder)

        bind_socket = web_process.bind_socket
        web_process.bind_socket = bind
        try:
            uvloop.run(main())
        finally:
            web_process.bind_socket = bind_socket
            self.started.set()

    def __enter__(self) -> Self:
        self.thread.start()
        assert self.started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.task.cancel)
        self.thread.join(timeout=15)
        assert not self.thread.is_alive()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=10)
