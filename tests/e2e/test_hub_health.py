"""A hub whose receivers stay away, come back, have certificates of their own, and take no large events."""

import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from msgspec.structs import replace

from certificates import Authority
from e2e.hub import Hub
from e2e.objects import WHSEC, new_app, new_endpoint, new_source, new_subscription, now, steadfast
from e2e.receiver import Receiver, wait_until
from e2e.test_hub_endpoints import join, people, set_up, states
from e2e.vendors import callback
from northbound.dialects import all_dialects
from northbound.hub.supervisor import prepare
from northbound.model.app import EndpointState, RetryPolicy
from northbound.model.errors import ConfigError
from northbound.model.wire import Key

pytestmark = pytest.mark.e2e

TWICE = RetryPolicy(attempts=2, waits=(timedelta(seconds=1),), deadline=timedelta(seconds=3))
SECOND = 1 / 3600 / 0.02  # hours that the scale of the tests makes one second of


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


@pytest.fixture(scope="module")
def hub(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    settings: dict[str, Any] = {
        "allow_targets": [receiver.address, "127.0.0.1"],
        "endpoint_fails_hours": SECOND,
        "probe_seconds": 20.0,
        "notices_url": receiver.url("standard-notices"),
        "notices_secret": WHSEC.decode(),
    }
    with Hub(tmp_path_factory.mktemp("health") / "data", **settings) as one:
        yield one.start()


def notices(receiver: Receiver, endpoint_id: str) -> list[str]:
    """Return the kinds of alarm that the second channel accepted about an endpoint."""
    standard = all_dialects()["standard"]
    found = receiver.accepted("standard-notices")
    for one in found:
        assert standard.verify(one.request, (Key(secret=WHSEC),), now(), {}) == "fresh"
    words = [msgspec.json.decode(one.request.body)["data"] for one in found]
    return [one["kind"] for one in words if one["endpoint_id"] == endpoint_id]


def test_an_endpoint_that_fails_is_stopped_probed_and_goes_on_in_order(hub: Hub, receiver: Receiver) -> None:
    """D15: stopped with a reason, told on a second channel, tried with the oldest, nothing skipped."""
    name = "standard-away"
    source, endpoint = set_up(hub, receiver, "away", lane_hold=timedelta(days=1))
    receiver.fail(name, 503)
    receiver.fail("standard-notices", 503, times=1)
    path = f"/api/v1/endpoints/{endpoint.id}"

    join(hub, source, "r", "u1", "u2", "u3")
    wait_until(lambda: hub.api("GET", path)[1]["state"] == "failing", 20, "the endpoint to be stopped")
    shown = hub.api("GET", path)[1]["stopped"]
    wait_until(lambda: "endpoint_stopped" in notices(receiver, endpoint.id), 20, "a notice")
    waiting = states(hub, endpoint)
    receiver.behave(name, None)
    receiver.wait_for(name, 3, 20)
    hub.wait_idle()
    wait_until(lambda: "endpoint_recovered" in notices(receiver, endpoint.id), 20, "another notice")

    assert shown["reason"].startswith("every attempt failed for")
    assert shown["probe_at"] > shown["at"]
    assert waiting == ["waiting"] * 3
    assert people(receiver.accepted(name)) == ["u1", "u2", "u3"]
    assert states(hub, endpoint) == ["delivered"] * 3
    after = hub.api("GET", path)[1]
    assert (after["state"], after["stopped"]) == ("enabled", None)
    alarms = hub.api("GET", f"/api/v1/alarms?endpoint_id={endpoint.id}")[1]["items"]
    over = {one["kind"]: one["is_over"] for one in alarms}
    assert (over["endpoint_stopped"], over["endpoint_recovered"]) == (True, False)
    metrics = hub.api("GET", "/metrics")[1]
    assert 'northbound_alarms_total{kind="endpoint_stopped",process="delivery"}' in metrics


def test_a_poisoned_head_is_skipped_by_the_api(hub: Hub, receiver: Receiver) -> None:
    """D14: an alarm names the delivery, an operator skips it, its room goes on in order, and the audit knows who."""
    name = "standard-skip"
    source, endpoint = set_up(hub, receiver, "skip", lane_hold=timedelta(days=1), fails_hours=0.0)
    receiver.fail(name, 500)
    join(hub, source, "r", "u1", "u2", "u3")

    def heads() -> list[Any]:
        path = f"/api/v1/alarms?kind=poison_head&endpoint_id={endpoint.id}"
        return hub.api("GET", path)[1]["items"]

    wait_until(heads, 20, "an alarm")
    (alarm,) = heads()
    path = f"/api/v1/deliveries/{alarm['what']}"

    def command_state() -> str:
        status, answer = hub.api("POST", f"{path}/skip", {"reason": "ticket 12"})
        assert status in {202, 409}, answer
        if status == 409:
            return "done"
        found: list[str] = []
        wait_until(
            lambda: (
                found.append(hub.api("GET", f"/api/v1/replays/{answer['command_id']}")[1]["state"])
                or found[-1] != "waiting"
            ),
            10,
            "the command",
        )
        return found[-1]

    wait_until(lambda: command_state() == "done", 20, "the head to be skipped")  # its attempts may be under way
    receiver.behave(name, None)
    receiver.wait_for(name, 2)
    hub.wait_idle()

    assert (alarm["room_id"], alarm["source_id"]) == ("r", source.id)
    assert people(receiver.accepted(name)) == ["u2", "u3"]
    assert states(hub, endpoint) == ["cancelled", "delivered", "delivered"]
    assert hub.api("GET", path)[1]["reason"] == "skipped: ticket 12"
    audit = hub.api("GET", "/api/v1/audit")[1]["items"]
    assert "command.skip" in [one["what"] for one in audit]
    wait_until(lambda: heads()[0]["is_over"], 10, "the alarm to be over")


# --- certificates of their own (D7) ----------------------------------------------------------------------------------


class Secure:
    """A receiver behind TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Take(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}/standard"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_an_endpoint_may_have_an_authority_of_its_own(hub: Hub, receiver: Receiver, tmp_path: Path) -> None:
    """D7: its private authority is trusted for it, not for a neighbour with the same URL; the API shows it."""
    authority = Authority("school authority")
    with Secure(authority.server(tmp_path)) as secure:
        other = new_endpoint(new_app("x"), "standard", secure.url, name="no-ca", retry=TWICE)
        source, endpoint = set_up(hub, receiver, "ca", others=(other,))
        path = f"/api/v1/endpoints/{endpoint.id}"
        status, shown = hub_patch(hub, path, {"url": secure.url, "ca_pem": authority.pem.decode()})

        join(hub, source, "r", "u1")
        wait_until(lambda: states(hub, endpoint) == ["delivered"], 20, "the delivery")
        refused = hub.rows(
            "deliveries",
            "SELECT DISTINCT failure FROM attempts JOIN deliveries ON deliveries.number = delivery"
            " WHERE endpoint_id = ?",
            other.id,
        )

    assert (status, len(secure.bodies)) == (200, 1)
    assert [one["subject"] for one in shown["ca"]] == ["CN=school authority"]
    assert refused == [("tls",)]


def hub_patch(hub: Hub, path: str, body: Any) -> tuple[int, Any]:
    """Change an object whatever its revision, and return when every process knows."""
    from e2e.hub import send
    from northbound.model.wire import Request

    headers = (
        ("authorization", f"Bearer {hub.admin_key}"),
        ("content-type", "application/json"),
        ("if-match", "*"),
    )
    url = f"http://{hub.config.listen}{path}"
    response = send(Request(method="PATCH", url=url, headers=headers, body=msgspec.json.encode(body)))
    return response.status, msgspec.json.decode(response.body)


# --- too large, too slow ---------------------------------------------------------------------------------------------


def test_an_event_over_the_wires_limit_is_a_dead_letter(hub: Hub, receiver: Receiver) -> None:
    """D19: nothing is sent, nothing is cut; the reason names the limit, the room goes on, other wires get it whole."""
    app = new_app("large")
    source = new_source(app, "standard")
    bus = new_endpoint(app, "aliyun_cvc", receiver.url("aliyun_cvc-large"))
    plain = new_endpoint(app, "standard", receiver.url("standard-large"))
    hub.set_up(app, source, bus, plain, new_subscription(app, bus, plain))

    for name in ("x" * 300_000, "short"):
        said = {"dialect": "avd", "room_id": "r", "participant_id": name[:9], "facts": {"room_name": name}}
        words = {"specversion": "1.0", "id": name[:9], "source": "t", "type": "participant.joined", "data": said}
        assert hub.post(callback(hub, source, words)).status == 200
    hub.wait_idle()

    assert states(hub, bus) == ["dead", "delivered"]
    assert "262144" in (hub.deliveries(bus)[0][5] or "")
    assert [b"short" in one.request.body for one in receiver.at("aliyun_cvc-large")] == [True]
    assert [len(one.request.body) > 300_000 for one in receiver.accepted("standard-large")] == [True, False]
    (number,) = hub.rows("deliveries", "SELECT number FROM deliveries WHERE endpoint_id = ? AND state='dead'", bus.id)
    (attempt,) = hub.api("GET", f"/api/v1/deliveries/{number[0]}/attempts")[1]["items"]
    assert (attempt["failure"], attempt["answer"]) == ("not_sent", None)


def test_a_lease_that_a_deadline_outlasts_is_refused(tmp_path: Path) -> None:
    """D12: `serve` names both; disabled endpoints do not matter."""
    with Hub(tmp_path / "data") as stopped:
        app = new_app("lease")
        endpoint = new_endpoint(app, "standard", "https://there.test/x", retry=steadfast(deadline=30.0))
        stopped.put(app, endpoint)
        prepare(stopped.config)
        short = msgspec.structs.replace(stopped.config, lease_seconds=30.0)

        with pytest.raises(ConfigError, match=rf"lease_seconds is 30 and endpoint {endpoint.id} .* 30 s"):
            prepare(short)
        stopped.put(replace(endpoint, state=EndpointState.DISABLED))
        prepare(short)
