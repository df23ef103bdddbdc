"""The demo end to end: real processes, the real API, a receiver that checks everything."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from northbound.hub.demo import demo_dialects, free_ports

pytestmark = pytest.mark.e2e

NORTHBOUND = [sys.executable, "-m", "northbound.cli"]
ROOT = Path(__file__).parents[2]
# Runs in every process of the hub before anything else: one wire's signing does nothing any more.
BROKEN = """
import os
from northbound.dialects import all_dialects
broken = type(all_dialects()[os.environ["BROKEN_DIALECT"]])
broken.sign = lambda self, request, *_: request
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NORTHBOUND_")}
    return kept | {"NO_COLOR": "1", "NO_PROXY": "127.0.0.1,localhost"} | more


def test_every_callback_arrives_verified_and_in_order() -> None:
    """Exit code 0, and the numbers are those of the stream."""
    done = subprocess.run(
        [*NORTHBOUND, "demo", "--speed", "20", "--json"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    account = json.loads(done.stdout)
    assert account["ok"] is True
    assert account["received"] == account["events"] == 170
    assert {row["dialect"] for row in account["dialects"]} == {dialect.name for dialect in demo_dialects()}
    for row in account["dialects"]:
        assert row["expected"] == row["delivered"] == row["verified"] > 0, row
        assert row["refused"] == row["disorder"] == 0
    assert done.stderr.count("Traceback") == 0


@pytest.mark.parametrize("name", [dialect.name for dialect in demo_dialects()])
def test_a_wire_that_does_not_sign_fails_the_demo(name: str, tmp_path: Path) -> None:
    """Whichever wire it is: the receiver knows the keys."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN)

    done = subprocess.run(
        [*NORTHBOUND, "demo", "--speed", "500", "--json"],
        env=environment(PYTHONPATH=str(tmp_path), BROKEN_DIALECT=name),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    account = json.loads(done.stdout)
    rows = {row["dialect"]: row for row in account["dialects"]}
    assert rows.pop(name)["verified"] == 0
    assert any(problem.startswith(f"/{name}: ") for problem in account["problems"])


class Served:
    """`serve --demo` on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.web, self.intake, self.receiver = free_ports(3)
        self.folder = folder
        command = [*NORTHBOUND, "serve", "--demo", "--speed", "500", "--data", str(folder)]
        ports = ["--listen", f"127.0.0.1:{self.web}", "--intake", f"127.0.0.1:{self.intake}"]
        self.process = subprocess.Popen(
            [*command, *ports, "--receiver-port", str(self.receiver)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(self, words: str) -> str:
        """Return the output up to the line that holds *words*."""
        assert self.process.stdout is not None
        seen = ""
        for line in self.process.stdout:
            seen += line
            if words in line:
                return seen
        pytest.fail(f"it ended without saying {words!r}:\n{seen}")

    def call(self, path: str) -> Any:
        key = (self.folder / "admin.key").read_text().strip()
        connection = http.client.HTTPConnection("127.0.0.1", self.web, timeout=10)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process.wait()


def test_serve_demo_stays_up_when_its_stream_is_through(tmp_path: Path) -> None:
    """Its rooms are what the log gives, and no key is printed."""
    first = Served(tmp_path / "data")
    try:
        said = first.wait_for("still serving")
        summary = http.client.HTTPConnection("127.0.0.1", first.receiver, timeout=10)
        summary.request("GET", "/summary")
        received = json.loads(summary.getresponse().read())
        summary.close()
        rebuilt = subprocess.run(
            [*NORTHBOUND, "rebuild", "--verify", "--data", str(tmp_path / "data")],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        code = first.stop()
    assert code == 0
    assert "callbacks arrived, verified and in order" in said
    assert (tmp_path / "data" / "admin.key").read_text().strip() not in said
    assert len(received["paths"]) == len(demo_dialects())
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr


def test_a_second_start_replays_into_a_new_source(tmp_path: Path) -> None:
    """And the endpoints follow the receiver to its new port."""
    for run in (1, 2):
        served = Served(tmp_path / "data")
        try:
            said = served.wait_for("still serving")
            sources = served.call("/api/v1/sources")["items"]
            apps = served.call("/api/v1/apps")["items"]
            endpoints = served.call("/api/v1/endpoints")["items"]
        finally:
            served.stop()
        assert "callbacks arrived, verified and in order" in said, said
        assert (len(apps), len(sources), len(endpoints)) == (1, run, len(demo_dialects()))
        assert {f":{served.receiver}/" in one["url"] for one in endpoints} == {True}


def test_a_taken_port_names_its_option_before_anything_starts(tmp_path: Path) -> None:
    for option in ("--listen", "--intake", "--receiver-port"):
        others = dict(zip(("--listen", "--intake", "--receiver-port"), free_ports(3), strict=True))
        listener = socket.create_server(("127.0.0.1", 0))
        others[option] = listener.getsockname()[1]
        arguments = [
            word
            for name, port in others.items()
            for word in (name, str(port) if name == "--receiver-port" else f"127.0.0.1:{port}")
        ]
        began = time.monotonic()
        done = subprocess.run(
            [*NORTHBOUND, "serve", "--demo", "--data", str(tmp_path / option), *arguments],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        listener.close()

        assert done.returncode == 2, done.stdout + done.stderr
        assert option in done.stderr
        assert "choose another port" in done.stderr
        assert "Traceback" not in done.stderr
        assert time.monotonic() - began < 20
