"""D20: every notice on two paths that share nothing; one dead, then both deliver; the API tells which one failed."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from e2e.hub import Hub
from e2e.objects import new_app, new_source
from e2e.receiver import Arrival, Receiver, Reply, wait_until
from northbound.model.app import Source
from northbound.model.wire import Request

pytestmark = [pytest.mark.e2e, pytest.mark.faults]


def started(hub: Hub, name: str, url: str, second_url: str = "") -> tuple[Source, dict[str, Any]]:
    """Set up an app whose recordings are told on two paths."""
    app = new_app(name)
    source = new_source(app, "avd")
    hub.set_up(app, source)
    given = {"app_id": app.id, "name": name, "product": 3, "event_types": [40, 41], "url": url,
             "second_url": second_url, "redundant": True}  # fmt: skip
    status, settings = hub.api("POST", "/api/v1/notice-settings", given)
    assert status == 201, settings
    status, settings = hub.api("POST", f"/api/v1/notice-settings/{settings['id']}/enable")
    assert status == 200, settings
    return source, settings


def record(hub: Hub, source: Source, *names: str) -> None:
    for name in names:
        query = f"event=start_record&room_id={name}&exporter_id={name}&exporter_type=hls&trace_id={source.id}-{name}"
        assert hub.post(Request(method="GET", url=f"{hub.intake_url(source)}?{query}")).status == 200


def told(arrivals: list[Arrival]) -> dict[str, tuple[str, str, int]]:
    """Return what a receiver drops repeats by, for each recording: noticeId, sid, sequence."""
    found: dict[str, tuple[str, str, int]] = {}
    for arrival in arrivals:
        words = json.loads(arrival.request.body)
        if words["payload"]:
            payload = words["payload"]
            found[payload["sid"]] = (words["noticeId"], payload["sid"], payload["sequence"])
    return found


def paths_of(hub: Hub, settings: dict[str, Any]) -> dict[int, dict[str, Any]]:
    shown = hub.api("GET", f"/api/v1/notice-settings/{settings['id']}")[1]
    return {one["path"]: one for one in shown["paths"]}


def test_one_dead_path_then_both_deliver(hub: Hub, receiver: Receiver) -> None:
    """The live path gets everything at once; the API names the dead one; later both get the same notices."""
    source, settings = started(hub, "dead_path", receiver.url("anyrtc-one"), receiver.url("anyrtc-two"))
    receiver.behave("anyrtc-two", lambda _: Reply(hang_up=True))

    record(hub, source, "a", "b")
    receiver.wait_for("anyrtc-one", 3)  # the health test is one
    wait_until(lambda: paths_of(hub, settings)[2]["dead_letters"] == 2, 20, "the dead path to give up")
    dead = paths_of(hub, settings)
    letters = hub.api("GET", f"/api/v1/dead-letters?endpoint_id={dead[2]['endpoint_id']}")[1]["items"]
    receiver.behave("anyrtc-two", None)
    record(hub, source, "c")
    replay = {"endpoint_id": dead[2]["endpoint_id"], "all_failed": True, "dry_run": False}
    assert hub.api("POST", "/api/v1/replays", replay)[0] in (200, 202)
    receiver.wait_for("anyrtc-two", 4)
    receiver.wait_for("anyrtc-one", 4)

    assert (dead[1]["accepted"], dead[1]["failed"], dead[1]["dead_letters"]) == (2, 0, 0)
    assert (dead[2]["accepted"], dead[2]["failed"]) == (0, 6)
    assert [one["path"] for one in letters] == [2, 2]
    one, two = (told(receiver.accepted(f"anyrtc-{name}")) for name in ("one", "two"))
    assert set(one) == {"a", "b", "c"}
    assert one == two
    headers = {arrival.request.header("northbound-path") for arrival in receiver.at("anyrtc-two")[1:]}
    assert headers == {"2"}


def test_a_path_that_hangs_does_not_slow_the_other(hub: Hub, receiver: Receiver) -> None:
    """Forty rooms on the live path while the other has not answered once."""
    source, settings = started(hub, "slow_path", receiver.url("anyrtc-quick"), receiver.url("anyrtc-slow"))
    hold = threading.Event()

    def slow(_: Arrival) -> Reply | None:
        return None if hold.is_set() else Reply(delay=6.0)

    receiver.behave("anyrtc-slow", slow)
    record(hub, source, *(f"room{number}" for number in range(40)))
    receiver.wait_for("anyrtc-quick", 41)
    seen: list[dict[int, dict[str, Any]]] = []

    def is_settled() -> bool:
        seen.append(paths_of(hub, settings))
        return seen[-1][1]["accepted"] == 40

    wait_until(is_settled, 20, "the live path to be done")
    hold.set()
    receiver.wait_for("anyrtc-slow", 41, seconds=30)

    assert (seen[-1][1]["accepted"], seen[-1][2]["accepted"]) == (40, 0)
    assert told(receiver.accepted("anyrtc-quick")) == told(receiver.accepted("anyrtc-slow"))


class Listening(ThreadingHTTPServer):
    """A receiver that notes by which connection each path's notices came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.ports: dict[str | None, list[int]] = defaultdict(list)


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listening

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.ports[self.headers["northbound-path"]].append(self.client_address[1])
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def listening() -> Iterator[Listening]:
    with Listening() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


def test_the_paths_share_no_connection(tmp_path: Any, listening: Listening) -> None:
    """To one and the same URL: whatever breaks a connection of one path leaves the other's alone."""
    address = f"127.0.0.1:{listening.server_address[1]}"
    with Hub(tmp_path / "data", allow_targets=[address]) as hub:
        hub.start()
        source, _ = started(hub, "apart", f"http://{address}/x")
        for number in range(20):
            record(hub, source, f"r{number}")
        wait_until(lambda: len(listening.ports["1"]) == len(listening.ports["2"]) == 20, 20, "all notices twice")

    assert set(listening.ports["1"]).isdisjoint(listening.ports["2"])
    assert len(set(listening.ports["1"])) < 20  # connections are kept, each by its own path
