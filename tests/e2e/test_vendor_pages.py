"""The vendors' pages say how to point a client here: their commands are run as they stand, then an event comes in."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

import independent_signatures as independent
from e2e.hub import Hub, send
from e2e.pages import PAGES, Terminal, blocks, values
from e2e.receiver import Receiver, wait_until
from northbound.model.wire import Request

pytestmark = pytest.mark.e2e


def happens(hub: Hub, app_id: str, *events: dict[str, str]) -> None:
    """Let things happen in a room that another vendor's box tells of."""
    given = {"app_id": app_id, "name": "box", "dialect": "avd"}
    status, source = hub.api("POST", "/api/v1/sources", given)
    assert status == 201, source
    for event in events:
        form = "&".join(f"{name}={value}" for name, value in event.items())
        request = Request(method="GET", url=f"{source['intake_url']}?{form}")
        assert send(request).status == 200


def test_the_readmes_own_hub(hub: Hub, receiver: Receiver, tmp_path: Path) -> None:
    """What the README has a newcomer paste makes an app, and mPaaS' callbacks arrive as 3T's."""
    text = (PAGES.parents[1] / "README.md").read_text().partition("\n## 中文\n")[0]
    setting_up, playing = re.findall(r"^```sh\n(api=.*?|northbound trigger.*?)^```$", text, re.MULTILINE | re.DOTALL)
    key = tmp_path / "admin.key"
    key.write_text(hub.admin_key)
    block = setting_up + playing.replace("northbound trigger", "northbound trigger --json")
    for shown, meant in (
        ("http://127.0.0.1:7070", f"http://{hub.config.listen}"),
        ("northbound-data/admin.key", str(key)),
        ("http://127.0.0.1:7099/", receiver.url("avd-readme")),
    ):
        assert shown in block
        block = block.replace(shown, meant)

    Terminal(hub, tmp_path, receiver.url("avd-readme")).run(block)
    arrivals = receiver.wait_for("avd-readme", 2)

    told = [dict(parse_qsl(one.request.body.decode())) for one in arrivals]
    assert [(t["event"], t["room_id"], t["user_id"]) for t in told] == [("join", "r1", "u1"), ("leave", "r1", "u1")]


def test_the_page_of_call_apps(hub: Hub, receiver: Receiver, tmp_path: Path) -> None:
    """Rooms go to one URL and recordings to the other, under the call app's own bizName."""
    terminal = Terminal(hub, tmp_path, receiver.url("mpaas-page"))

    made, changed, admission = values(terminal.run(*blocks("mpaas")))
    happens(
        hub,
        made["app_id"],
        {"event": "open", "room_id": "r1", "trace_id": "p-1"},
        {"event": "start_record", "room_id": "r1", "exporter_id": "x1", "exporter_type": "hls", "trace_id": "p-2"},
    )
    arrivals = receiver.wait_for("mpaas-page", 2)

    assert (changed["media_proxy"], changed["egress_ips"]) == ("example.aliyundoc.com", "10.0.0.1;2001:db8::1")
    assert (admission["biz_name"], admission["uid"]) == (made["biz_name"], "u_7")
    told = {one.request.url.rpartition("/")[2]: json.loads(one.request.body) for one in arrivals}
    assert {name: words["eventCode"] for name, words in told.items()} == {"rooms": 1, "recordings": 10}
    assert {words["bizName"] for words in told.values()} == {made["biz_name"]}


def test_the_page_of_notice_settings(hub: Hub, receiver: Receiver, tmp_path: Path) -> None:
    """The health test comes first; then what is ticked, signed with the secret that was generated."""
    setting_up, asking = blocks("anyrtc")
    terminal = Terminal(hub, tmp_path, receiver.url("anyrtc-page"))

    enabled, changed = values(terminal.run(setting_up))
    happens(
        hub,
        enabled["app_id"],
        {"event": "open", "room_id": "r2", "trace_id": "q-1"},
        {"event": "start_record", "room_id": "r2", "exporter_id": "x2", "exporter_type": "hls", "trace_id": "q-2"},
    )
    health, told = receiver.wait_for("anyrtc-page", 2)
    _, revealed = hub.api("POST", f"/api/v1/notice-settings/{enabled['id']}/reveal")
    helpers = setting_up.partition("APP=")[0]
    wait_until(lambda: hub.api("GET", "/api/v1/recordings/query?sid=x2")[0] == 200, 10, "the search to catch up")
    (standing,) = values(terminal.run(helpers, asking, SID="x2"))

    assert (enabled["state"], changed["event_types"]) == ("enabled", [31, 40, 41])
    assert json.loads(health.request.body)["payload"] == {}
    words = json.loads(told.request.body)
    assert (words["eventType"], words["payload"]["sid"], words["payload"]["sequence"]) == (40, "x2", 0)
    for arrival in (health, told):
        headers = {name.lower(): value for name, value in arrival.request.headers}
        keys = [("shared", revealed["secret"].encode())]
        assert independent.CHECKS["anyrtc"](
            independent.Signed(arrival.request.url, headers, arrival.request.body, keys, {})
        )
    assert (standing["status"], standing["sid"], standing["sequence"]) == (4, "x2", 0)
