"""The 3T interface whole: both halves of its page, its lists, its port check, on a hub that is killed in between."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import pytest

from e2e.hub import Hub, free_port, send
from e2e.pages import Terminal, blocks
from e2e.receiver import Arrival, Receiver, wait_until
from northbound.model.wire import Request

pytestmark = pytest.mark.e2e

KEY = "northbound-secret"
ROOT = Path(__file__).parents[2]
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class MediaServer:
    """Ports of a media server that open and close: TCP ones, and one that speaks WebSocket."""

    def __init__(self) -> None:
        self.ports = {"tcp": free_port(), "websocket": free_port()}
        self._loop = asyncio.new_event_loop()
        self._servers: dict[str, asyncio.Server] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        for name in self.ports:
            self.open(name)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._servers):
            self.close(name)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def open(self, name: str) -> None:
        started = asyncio.start_server(self._talk, "127.0.0.1", self.ports[name])
        self._servers[name] = asyncio.run_coroutine_threadsafe(started, self._loop).result(10)

    def close(self, name: str) -> None:
        self._loop.call_soon_threadsafe(self._servers.pop(name).close)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            key = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
            accept = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
            writer.write(f"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture(scope="module")
def media() -> Iterator[MediaServer]:
    with MediaServer() as one:
        yield one


@pytest.fixture(scope="module")
def box(receiver: Receiver, media: MediaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    listen = f"127.0.0.1:{free_port()}"
    settings: dict[str, Any] = {
        "listen": listen,
        "allow_targets": [receiver.address, listen],
        "check_targets": [f"127.0.0.1:{port}" for port in media.ports.values()],
        "check_every": 0.1,
        "check_timeout": 1.0,
    }
    with Hub(tmp_path_factory.mktemp("box") / "data", **settings) as hub:
        yield hub.start()


def made(hub: Hub, method: str, path: str, body: Any) -> Any:
    status, answer = hub.api(method, f"/api/v1/{path}", body)
    assert status in {200, 201}, answer
    return answer


def params(arrival: Arrival) -> dict[str, str]:
    """Return a form's parameters, their check_code verified by the page's own words."""
    found = dict(parse_qsl(arrival.request.body.decode(), keep_blank_values=True))
    values = [value for name, value in sorted(found.items()) if value and name != "check_code"]
    assert hmac.new(KEY.encode(), "|".join(values).encode(), "sha256").hexdigest() == found.pop("check_code")
    return found


def test_each_half_delivers_its_own_events(box: Hub, receiver: Receiver, media: MediaServer) -> None:
    """A room's event goes to the media server's address, a closed port to the master's: done-when 4 for 3T.

    The web process is killed while a port is down: the incident goes on, nothing is told twice.
    """
    app = made(box, "POST", "apps", {"name": "halves"})["id"]
    source = made(box, "POST", "sources", {"app_id": app, "name": "box", "dialect": "avd"})
    for half in ("media_server", "master"):
        given = {"url": f"{receiver.address}/avd-{half}", "method": "POST", "check_code_key": KEY}
        made(box, "PUT", f"avd-settings/{app}/{half}", given)
    ports = [{"type": kind, "port": port} for kind, port in media.ports.items()]
    server = made(box, "POST", "servers", {"app_id": app, "name": "box1", "address": "127.0.0.1", "ports": ports})

    joined = {"event": "join", "room_id": "r1", "user_id": "u1", "event_type": "normal", "endpoint_type": "web"}
    send(Request(method="GET", url=f"{source['intake_url']}?{urlencode(joined | {'trace_id': 't-1'})}"))
    media.close("tcp")
    (first,) = (params(one) for one in receiver.wait_for("avd-master", 1))
    (room,) = (params(one) for one in receiver.wait_for("avd-media_server", 1))

    assert joined | {"trace_id": "t-1"} == room
    assert tuple(first[name] for name in ("event", "event_type", "box_code")) == (
        "warning_notify",
        "check_port",
        "box1",
    )
    assert [{"type": "tcp", "port": media.ports["tcp"]}] == json.loads(first["options"])
    assert str(UUID(first["trace_id"])) == first["trace_id"]

    box.kill("web")
    box.wait_ready()
    wait_until(lambda: _port(box, server, "tcp")["answers"] is False, 10, "a look after the restart")
    media.close("websocket")
    second = params(receiver.wait_for("avd-master", 2)[1])
    assert ports == json.loads(second["options"])
    assert second["trace_id"] != first["trace_id"]

    for name in media.ports:
        media.open(name)
    wait_until(lambda: _incidents(box, server)[0]["ended_at"], 10, "the end")
    (incident,) = _incidents(box, server)
    assert (incident["ending"], incident["notice_count"], incident["ports"]) == ("recovered", 2, [])
    assert [first["trace_id"], second["trace_id"]] == [one["id"] for one in incident["notices"]]
    assert all(one["told_at"] for one in incident["notices"])
    box.wait_idle()
    assert (len(receiver.at("avd-master")), len(receiver.at("avd-media_server"))) == (2, 1)
    assert box.api("DELETE", f"/api/v1/sources/src_ports_{app}")[0] == 409


def _incidents(hub: Hub, server: dict[str, Any]) -> list[dict[str, Any]]:
    return hub.api("GET", f"/api/v1/incidents?server_id={server['id']}")[1]["items"]


def _port(hub: Hub, server: dict[str, Any], kind: str) -> dict[str, Any]:
    ports = hub.api("GET", f"/api/v1/servers/{server['id']}")[1]["ports"]
    return next(one for one in ports if one["type"] == kind)


def test_only_what_the_operator_listed_is_looked_at(box: Hub) -> None:
    """Whoever may set up a server cannot look around inside."""
    app = made(box, "POST", "apps", {"name": "curious"})["id"]
    body = {"app_id": app, "name": "x", "ports": [{"type": "tcp", "port": 22}]}

    for address in ("127.0.0.1", "10.0.0.1", "8.8.8.8", "localhost", "169.254.169.254", "0"):
        status, answer = box.api("POST", "/api/v1/servers", body | {"address": address})
        assert status == 422, (address, answer)
    assert box.api("GET", f"/api/v1/sources?app_id={app}")[1]["items"] == []


def test_a_list_is_polled_and_compared(box: Hub) -> None:
    """One app's rooms are asked for as a vendor's, by another app's source that missed some of it."""
    theirs = made(box, "POST", "apps", {"name": "theirs"})["id"]
    ours = made(box, "POST", "apps", {"name": "ours"})["id"]
    key = made(box, "POST", "keys", {"name": "lists", "role": "rooms", "app_id": theirs})["secret"]
    vendor = made(box, "POST", "sources", {"app_id": theirs, "name": "vendor", "dialect": "avd"})
    room_list = {"url": f"http://{box.config.listen}", "key": key, "page_size": 2}
    here = made(box, "POST", "sources", {"app_id": ours, "name": "here", "dialect": "avd", "room_list": room_list})

    for number in range(5):
        _tell(vendor, event="open", room_id=f"r{number}")
        _tell(vendor, event="join", room_id=f"r{number}", user_id="u1", event_type="normal", endpoint_type="web")
    for number in range(4):
        _tell(here, event="open", room_id=f"r{number}")
        _tell(here, event="join", room_id=f"r{number}", user_id="u1", event_type="normal", endpoint_type="web")
    _tell(here, event="join", room_id="r0", user_id="u2", event_type="normal", endpoint_type="web")
    box.wait_idle()

    whole = made(box, "POST", f"sources/{here['id']}/poll", {})
    one = made(box, "POST", f"sources/{here['id']}/poll", {"room_id": "r0"})

    assert (whole["room_count"], whole["participant_count"], whole["difference_count"]) == (5, 5, 3)
    found = [(one["kind"], one["room_id"], one["participant_id"]) for one in whole["differences"]]
    assert found == [
        ("participant_extra", "r0", "u2"),
        ("room_missing", "r4", None),
        ("participant_missing", "r4", "u1"),
    ]
    assert (one["room_count"], one["difference_count"]) == (1, 1)
    assert made(box, "POST", f"sources/{here['id']}/poll", {"room_id": "r1"})["difference_count"] == 0


def _tell(source: dict[str, Any], **words: str) -> None:
    assert send(Request(method="GET", url=f"{source['intake_url']}?{urlencode(words)}")).status == 200


def test_the_documented_commands_run(box: Hub, receiver: Receiver, tmp_path: Path) -> None:
    """docs/vendors/avd.md, "Point your client here": typed as it stands, it delivers a room's event."""
    terminal = Terminal(box, tmp_path, receiver.url("avd-documented"))

    printed = terminal.run(*blocks("avd", "Point your client here"))

    assert '"total":0' in printed and '"code":404' in printed and "北向接口校验密钥" in printed
    url = re.search(r"request address +(http\S+)", printed)
    assert url is not None
    words = {"event": "open", "room_id": "18972290508", "trace_id": "t-9"}
    code = hmac.new(b"the box's check_code key", b"open|18972290508|t-9", "sha256").hexdigest()
    assert send(Request(method="GET", url=f"{url[1]}?{urlencode(words | {'check_code': code})}")).status == 200
    arrival = receiver.wait_for("avd-documented", 1)[0]
    assert "18972290508" in arrival.request.body.decode()
