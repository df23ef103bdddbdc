"""The vendors' pages tell a customer where to point a client: their commands and programs run as they stand."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from e2e.receiver import Receiver
from northbound.cli import app
from sdk.customer import Customer
from sdk.test_sdk_subscriptions import place

PAGE = Path(__file__).parents[2] / "docs" / "vendors" / "aliyun_rtc.md"


def blocks(language: str) -> list[str]:
    part = PAGE.read_text().partition("### Point your client here")[2].partition("\n### ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def test_the_page_about_rtc_can_be_followed(customer: Customer, receiver: Receiver) -> None:
    hub = customer.hub
    server = ["--server", f"http://{hub.config.listen}", "--key", hub.admin_key]
    create_account, create_app = blocks("sh")[0].splitlines()
    said: dict[str, str] = {}
    for line in (create_account, create_app):
        words = shlex.split(line.replace("$ACCOUNT", said.get("id", "")))[1:]
        done = CliRunner().invoke(app, [*words, *server])
        assert done.exit_code == 0, done.output
        said = {**said, **json.loads(done.output)}
    name = place()
    environment = {
        **os.environ, "ACCESS_KEY_ID": said["access_key_id"], "ACCESS_KEY_SECRET": said["access_key_secret"],
        "APP_ID": said["id"], "CALLBACK_URL": receiver.url(name), "NORTHBOUND": hub.config.listen,
    }  # fmt: skip

    programs = blocks("python")
    assert len(programs) == 2
    for program in programs:
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        identity = done.stdout.split()[0]
        status, shown = hub.api("GET", f"/api/v1/subscriptions/{identity}")
        assert (status, shown["app_id"]) == (200, said["id"])
