"""`northbound source connect`, hub to hub: one is the vendor behind its own doors, the other subscribes there.

The command line runs as a program of its own, with the vendors' unmodified clients, and the keys in its environment.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from e2e.hub import Hub, free_port, send
from e2e.receiver import wait_until
from e2e.vendors import avd
from northbound.model.wire import Request

pytestmark = pytest.mark.e2e


class Pair:
    """The vendor with a customer's account, and the hub that connects to it."""

    def __init__(self, vendor: Hub, here: Hub) -> None:
        self.vendor, self.here = vendor, here
        self.account = made(vendor, "accounts", {"name": "customer"})
        self.vendor_app = made(vendor, "apps", {"name": "school", "account_id": self.account["id"]})
        self.box = made(vendor, "sources", {"app_id": self.vendor_app["id"], "name": "box", "dialect": "avd"})
        self.app = ""  # ours, another one for each test

    def cli(self, *arguments: str, secret: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line against the connecting hub."""
        given = {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": self.account["access_key_id"],
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret or self.account["access_key_secret"],
            "NORTHBOUND_SERVER": f"http://{self.here.config.listen}",
            "NORTHBOUND_API_KEY": self.here.admin_key,
            "NO_COLOR": "1",
            "NO_PROXY": "127.0.0.1",
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("NORTHBOUND_", "ALIBABA_"))}
        command = [sys.executable, "-m", "northbound.cli", *arguments]
        ended = subprocess.run(command, env=clean | given, capture_output=True, text=True, timeout=60, check=False)
        assert self.account["access_key_secret"] not in ended.stdout + ended.stderr
        return ended

    def connected(self, vendor: str, *options: str) -> dict[str, Any]:
        place = ("--endpoint", self.vendor.config.listen, "--protocol", "http", "--json")
        ended = self.cli("source", "connect", vendor, "--app", self.app, *place, *options)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def happens(self, room: str) -> None:
        """Somebody joins a room at the vendor."""
        for words in (avd("open", room), avd("join", room, "u1")):
            url = f"{self.box['intake_url']}?{urlencode(words)}"
            assert send(Request(method="GET", url=url)).status == 200

    def proofs(self, source: dict[str, Any]) -> list[str]:
        """Return what each callback of a source proved, from the log."""
        query = "SELECT proof FROM log WHERE source_id = ? AND origin = 'observed' ORDER BY offset"
        return [row[0] for row in self.here.rows("events", query, source["id"])]

    def members(self, source: dict[str, Any], room: str) -> list[str]:
        """Return who is in a room as the connecting hub has it."""
        rooms = self.here.api("GET", f"/api/v1/rooms?source_id={source['id']}")[1]["items"]
        keys = [one["key"] for one in rooms if one["key"].endswith(f"/{room}")]
        return list(self.here.api("GET", f"/api/v1/rooms/{keys[0]}")[1]["room"].get("participants", ())) if keys else []


def made(hub: Hub, what: str, body: dict[str, Any]) -> dict[str, Any]:
    status, answer = hub.api("POST", f"/api/v1/{what}", body)
    assert status == 201, answer
    return answer


@pytest.fixture
def pair(hubs: Pair) -> Pair:
    hubs.app = made(hubs.here, "apps", {"name": "ours"})["id"]
    return hubs


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    intake, listen = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    folder: Path = tmp_path_factory.mktemp("pair")
    with (
        Hub(folder / "vendor", listen=listen, allow_targets=[intake]) as vendor,
        Hub(folder / "here", intake=intake, allow_targets=[listen]) as here,
    ):
        yield Pair(vendor.start(), here.start())


def test_rtc_is_subscribed_checked_shown_and_removed(pair: Pair) -> None:
    """CreateEventSubscribe by the vendor's client; a signed callback reaches log and projection; then it is gone."""
    answer = pair.connected("aliyun_rtc", "--vendor-app", pair.vendor_app["id"])
    source, connection = answer["source"], answer["source"]["connection"]
    theirs = pair.vendor.api("GET", f"/api/v1/subscriptions/{connection['SubscribeId']}")[1]
    assert connection["SubscribeId"] in answer["vendor_says"]
    assert (theirs["made_by"], connection["NeedCallbackAuth"]) == ("aliyun_rtc", "true")

    pair.happens("maths")
    wait_until(lambda: pair.members(source, "maths") == ["u1"], 20, "the join in the projection")

    assert {"sender"} == set(pair.proofs(source))
    shown = pair.cli("source", "show", source["id"], "--check")
    assert shown.returncode == 0 and connection["SubscribeId"] in shown.stdout, shown.stderr
    wait_until(lambda: "participant.joined" in pair.cli("source", "show", source["id"]).stdout, 20, "its newest events")
    assert source["id"] in pair.cli("source", "list").stdout

    gone = pair.cli("source", "disconnect", source["id"])
    assert gone.returncode == 0, gone.stderr
    assert pair.vendor.api("GET", f"/api/v1/subscriptions/{connection['SubscribeId']}")[0] == 404
    assert pair.here.api("GET", f"/api/v1/sources/{source['id']}")[0] == 404
    before = len(pair.proofs(source))
    pair.happens("later")
    pair.vendor.wait_idle()
    pair.here.wait_idle()
    assert before == len(pair.proofs(source)) > 0


def test_a_subscription_removed_at_the_vendor_is_told_as_gone(pair: Pair) -> None:
    """Asking by the ClientToken subscribes anew there; that is undone, and nothing is left by the check."""
    before = _subscriptions(pair)
    source = pair.connected("aliyun_rtc", "--vendor-app", pair.vendor_app["id"])["source"]
    identity = source["connection"]["SubscribeId"]
    assert pair.vendor.api("DELETE", f"/api/v1/subscriptions/{identity}")[0] == 204

    shown = pair.cli("source", "show", source["id"], "--check")

    assert shown.returncode != 0 and f"no longer has the subscription {identity}" in shown.stderr
    assert _subscriptions(pair) == before
    assert pair.cli("source", "disconnect", source["id"]).returncode == 0


def test_meetings_come_by_a_rule_with_a_target(pair: Pair) -> None:
    """CreateRule by the vendor's client; the event is signed by certificate and carries the source's token."""
    push = pair.vendor.api("POST", f"/api/v1/accounts/{pair.account['id']}/meeting-push/enable")
    assert push[0] == 200, push
    answer = pair.connected("aliyun_cvc", "--certificates", f"http://{pair.vendor.config.listen}/certs/")
    source, connection = answer["source"], answer["source"]["connection"]
    assert "matches a meeting's event" in answer["vendor_says"]

    pair.happens("meeting-1")
    wait_until(lambda: pair.members(source, "meeting-1") == ["u1"], 20, "the join in the projection")

    assert {"fresh"} == set(pair.proofs(source))
    assert pair.cli("source", "show", source["id"], "--check").returncode == 0
    rules = [one for one in _subscriptions(pair) if one["made_by"] == "eventbridge"]
    assert [connection["RuleName"]] == [one["name"] for one in rules]
    assert pair.cli("source", "disconnect", source["id"]).returncode == 0
    assert [one for one in _subscriptions(pair) if one["made_by"] == "eventbridge"] == []


def test_callbacks_that_are_refused_are_shown(pair: Pair) -> None:
    """The certificates of another service lie elsewhere; without being told, the source takes none of its callbacks."""
    assert pair.vendor.api("POST", f"/api/v1/accounts/{pair.account['id']}/meeting-push/enable")[0] == 200
    source = pair.connected("aliyun_cvc")["source"]

    pair.happens("meeting-2")

    refused = "refused: x-eventbridge-signature-url names a place"
    wait_until(lambda: refused in pair.cli("source", "show", source["id"]).stdout, 20, "the refusal")
    told = json.loads(pair.cli("source", "show", source["id"], "--json").stdout)
    assert (told["newest_events"], told["newest_refused"]["code"]) == ([], "signature")
    assert pair.cli("source", "disconnect", source["id"]).returncode == 0


def _subscriptions(pair: Pair) -> list[dict[str, Any]]:
    return pair.vendor.api("GET", "/api/v1/subscriptions?limit=100")[1]["items"]


@pytest.mark.parametrize(
    ("options", "secret", "code", "says"),
    [
        (("--vendor-app", "app_of_nobody"), None, 4, "ResourceNotExist"),
        (("--vendor-app", "app_of_nobody", "--app-key", "k"), None, 4, "ResourceNotExist"),
        (("--vendor-app", "x"), "wrong-secret", 4, "SignatureDoesNotMatch"),
        ((), None, 2, "--vendor-app"),
        (("--vendor-app", "x", "--endpoint", "127.0.0.1:9"), None, 3, "cannot be reached"),
    ],
)
def test_what_is_refused_leaves_nothing(
    pair: Pair, options: tuple[str, ...], secret: str | None, code: int, says: str
) -> None:
    place = ("--endpoint", pair.vendor.config.listen, "--protocol", "http")

    ended = pair.cli("source", "connect", "aliyun_rtc", "--app", pair.app, *place, *options, secret=secret)

    assert (code, True) == (ended.returncode, says in ended.stderr), ended.stderr
    assert "Traceback" not in ended.stderr
    assert pair.here.api("GET", f"/api/v1/sources?app_id={pair.app}")[1]["items"] == []


def test_without_rights_to_remove_the_source_stays_unless_forced(pair: Pair) -> None:
    source = pair.connected("aliyun_rtc", "--vendor-app", pair.vendor_app["id"])["source"]

    refused = pair.cli("source", "disconnect", source["id"], secret="wrong-secret")
    stays = pair.here.api("GET", f"/api/v1/sources/{source['id']}")[0]
    forced = pair.cli("source", "disconnect", source["id"], "--force")

    assert (refused.returncode, stays, forced.returncode) == (4, 200, 0)


@pytest.mark.parametrize("vendor", ["avd", "mpaas", "anyrtc"])
def test_where_there_is_no_call_it_says_what_to_paste(pair: Pair, vendor: str) -> None:
    """In both languages, with the URL that is this source's own, and for 3T with a key that is then checked."""
    ended = pair.cli("source", "connect", vendor, "--app", pair.app, "--json")
    told = json.loads(ended.stdout)

    source = pair.here.api("GET", f"/api/v1/sources/{told['id']}")[1]
    assert source["intake_url"] == told["intake_url"]
    for language in ("en", "zh"):
        assert told["intake_url"] in told[language] and told["id"] in told[language]
    if vendor == "avd":
        assert told["secret"] in told["en"]
        assert send(Request(method="GET", url=f"{told['intake_url']}?{urlencode(avd('open', 'r'))}")).status == 403
    plain = pair.cli("source", "connect", vendor, "--app", pair.app).stdout
    assert "http://" in plain
    gone = pair.cli("source", "disconnect", told["id"])
    assert gone.returncode == 0 and ("停用" in gone.stdout or "清空" in gone.stdout)
