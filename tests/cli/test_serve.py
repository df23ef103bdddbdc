"""serve as a person starts it, and the commands that talk to it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import run, sink_beside

from northbound.cli.client import Client
from northbound.cli.output import Unreachable
from northbound.hub.demo import free_ports
from northbound.model.wire import Key
from northbound.testing.sink import Mount, Sink

pytestmark = pytest.mark.e2e

NORTHBOUND = [sys.executable, "-m", "northbound.cli"]
WAIT = 30.0


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NORTHBOUND_")}
    return kept | {"NO_COLOR": "1", "NO_PROXY": "127.0.0.1,localhost"}


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*NORTHBOUND, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=WAIT)
        finally:
            process.kill()
            process.wait()


class Hub:
    """A hub that serves one folder, with a receiver on its list."""

    def __init__(self, folder: Path, sink: Sink) -> None:
        self.data, self.sink = str(folder), sink
        web, intake = free_ports(2)
        self.url = f"http://127.0.0.1:{web}"
        self.arguments = ["serve", "--data", self.data, "--listen", f"127.0.0.1:{web}"]
        self.arguments += ["--intake", f"127.0.0.1:{intake}", "--allow-target", f"127.0.0.1:{sink.port}", "--json"]

    def client(self) -> Client:
        key = (Path(self.data) / "admin.key").read_text().strip()
        client = Client(self.url, key)
        until(lambda: is_ready(client))
        return client


def is_ready(client: Client) -> bool:
    with contextlib.suppress(Unreachable):
        return client.get("/readyz")[0] == 200
    return False


def until(is_so: object) -> None:
    assert callable(is_so)
    end = time.monotonic() + WAIT
    while not is_so():
        assert time.monotonic() < end, "it did not come true in time"
        threading.Event().wait(0.05)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with sink_beside(Mount(path="/out", dialect="standard", keys=(Key(secret=b"out"),))) as sink:
        yield Hub(tmp_path / "data", sink)


def test_ctrl_c_ends_a_hub_without_an_error(hub: Hub) -> None:
    """A terminal sends SIGINT to every process of the hub at once; they end in the supervisor's order all the same."""
    with subprocess.Popen(
        [*NORTHBOUND, *hub.arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as serving:
        try:
            assert serving.stdout is not None and serving.stdout.readline()
            hub.client()
            os.killpg(serving.pid, signal.SIGINT)
            said = serving.communicate(timeout=WAIT)[1]
        finally:
            serving.kill()

    assert (serving.returncode, said) == (0, "")


def test_an_event_goes_through_is_listened_to_and_replayed(hub: Hub) -> None:
    """trigger -> intake -> delivery -> sink; listen shows it; replay sends it once more."""
    with started(*hub.arguments) as serving, sink_beside(Mount(path="", dialect="standard", is_checked=False)) as local:
        assert serving.stdout is not None
        words = json.loads(serving.stdout.readline())
        client = hub.client()
        app_id = client.call("POST", "/apps", {"name": "a"})["id"]
        key = {"kind": "shared", "secret": "in"}
        source = client.call("POST", "/sources", {"app_id": app_id, "name": "s", "dialect": "avd", "keys": [key]})
        endpoint = client.call(
            "POST",
            "/endpoints",
            {
                "app_id": app_id,
                "url": f"{hub.sink.url}/out",
                "dialect": "standard",
                "keys": [{"kind": "shared", "secret": "out"}],
            },
        )
        client.call("POST", "/subscriptions", {"app_id": app_id, "pattern": {}, "endpoint_ids": [endpoint["id"]]})
        arguments = ("listen", str(local.port), "--data", hub.data, "--server", hub.url)
        with started(*arguments):
            join = ("trigger", "--dialect", "avd", "--event", "join", "--url", source["intake_url"], "--room", "r1")

            def fired() -> bool:
                return run(*join, "--secret", "in").exit_code == 0 and hub.sink.tallies["/out"].verified > 0

            until(fired)
            until(lambda: run(*join, "--secret", "in").exit_code == 0 and local.tallies[""].requests > 0)

        wrong = run(*join, "--secret", "other")
        before = hub.sink.tallies["/out"].first
        again = run(
            *("replay", "--endpoint", endpoint["id"], "--since", "1h", "--yes", "--json"),
            *("--data", hub.data, "--server", hub.url),
        )
        assert again.exit_code == 0, again.output
        sent = json.loads(again.stdout)["count"]
        until(lambda: hub.sink.tallies["/out"].again >= sent)

    assert words["web"] == hub.url
    assert words["admin_key_file"].startswith(hub.data)
    assert wrong.exit_code == 1
    assert sent == before
    assert hub.sink.tallies["/out"].refused == 0
    assert serving.returncode == 0
    assert run("rebuild", "--verify", "--data", hub.data).exit_code == 0
    assert run("log", "verify", "--data", hub.data).exit_code == 0
    assert run("rebuild", "--data", hub.data).exit_code == 0


def test_one_folder_is_served_once(hub: Hub) -> None:
    with started(*hub.arguments) as serving:
        assert serving.stdout is not None
        serving.stdout.readline()
        ports = [f"127.0.0.1:{port}" for port in free_ports(2)]

        second = subprocess.run(
            [*NORTHBOUND, "serve", "--data", hub.data, "--listen", ports[0], "--intake", ports[1]],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )

    assert second.returncode == 2
    assert "--data" in second.stderr
    assert "Traceback" not in second.stderr


def test_the_wrong_key_is_refused(hub: Hub) -> None:
    with started(*hub.arguments) as serving:
        assert serving.stdout is not None
        serving.stdout.readline()
        hub.client()

        done = run("replay", "--failed", "--server", hub.url, "--key", "nb_wrong")

    assert done.exit_code == 4
    assert "nb_wrong" not in done.output
