"""Call apps by the API: made, edited by two, called back, revealed, admitted, removed."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from api_site import Site

from e2e.receiver import Receiver, Reply
from northbound.model.app import Endpoint, Subscription
from northbound.model.call_app import CallApp

URL = "https://there.test/cb"


def new(site: Site, app: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    app = app or site.made("apps", {"name": "school", "workspace_id": "product"})
    return site.made("call-apps", {"app_id": app["id"], "name": "maths", **more})


def made(site: Site) -> tuple[list[Endpoint], list[Subscription]]:
    control = site.web.control
    return [one for _, one in control.find(Endpoint)], [one for _, one in control.find(Subscription)]


def test_a_call_app_is_made_with_its_names_and_key(site: Site):
    """The page: bizName and key are generated, recording is off, the time of making is kept."""
    one = new(site)
    shown = site.call("GET", f"call-apps/{one['id']}")

    assert one["biz_name"].startswith("nbcall")
    assert (one["automatic_recording"], one["workspace_id"], one["media_proxy"]) == (False, "product", "")
    assert one["recording_callback"] is None and one["room_callback"] is None
    assert one["key"] and "key" not in shown.json
    assert {name: value for name, value in one.items() if name != "key"} == shown.json
    assert new(site)["biz_name"] != one["biz_name"]
    assert made(site) == ([], [])


def test_the_key_is_shown_once_and_by_an_audited_reveal(site: Site):
    one = new(site, recording_callback_url=URL)
    site.call("PATCH", f"call-apps/{one['id']}", {"name": "new"}, if_match="*")
    for path in ("call-apps", f"call-apps/{one['id']}", "audit", "subscriptions", "endpoints"):
        assert one["key"][40:80].encode() not in site.call("GET", path).body, path

    assert site.call("POST", f"call-apps/{one['id']}/reveal").json["key"] == one["key"]
    assert site.call("GET", "audit").json["items"][0]["what"] == "call_app.revealed"
    reader = site.key_for(None, "reader")
    assert site.call("POST", f"call-apps/{one['id']}/reveal", key=reader).status == 403


def test_a_callback_url_makes_an_endpoint_and_a_subscription(site: Site):
    """Recording and room have a URL each; both are objects like any other, named by who made them."""
    one = new(site, recording_callback_url=f"{URL}/recording", room_callback_url=f"{URL}/room")
    subscriptions = {item["id"]: item for item in site.call("GET", "subscriptions").json["items"]}
    endpoints = {item["id"]: item for item in site.call("GET", "endpoints").json["items"]}

    for name in ("recording", "room"):
        callback = one[f"{name}_callback"]
        subscription = subscriptions.pop(callback["subscription_id"])
        endpoint = endpoints.pop(callback["endpoint_id"])
        assert (subscription["made_by"], subscription["endpoint_ids"]) == ("mpaas", [endpoint["id"]])
        assert (endpoint["url"], endpoint["dialect"], callback["url"]) == (f"{URL}/{name}", "mpaas", f"{URL}/{name}")
        assert endpoint["options"] == {"biz_name": one["biz_name"]}
        kinds = json.loads(subscription["pattern"])["type"]
        assert ("room.opened" in kinds, "recording.started" in kinds) == (name == "room", name == "recording")
    assert (subscriptions, endpoints) == ({}, {})


def test_saving_moves_makes_and_removes_callbacks(site: Site):
    one = new(site, room_callback_url=URL)
    path = f"call-apps/{one['id']}"

    moved = site.call("PATCH", path, {"room_callback_url": f"{URL}/2"}, if_match='"1"').json
    assert moved["room_callback"] == {**one["room_callback"], "url": f"{URL}/2"}
    assert [endpoint.url for endpoint in made(site)[0]] == [f"{URL}/2"]
    both = site.call("PATCH", path, {"recording_callback_url": URL}, if_match='"2"').json
    assert both["room_callback"] == moved["room_callback"] and len(made(site)[0]) == 2
    gone = site.call("PATCH", path, {"room_callback_url": ""}, if_match='"3"').json
    assert gone["room_callback"] is None
    endpoints, subscriptions = made(site)
    assert [endpoint.id for endpoint in endpoints] == [gone["recording_callback"]["endpoint_id"]]
    assert [one.id for one in subscriptions] == [gone["recording_callback"]["subscription_id"]]


def test_what_was_removed_by_hand_is_made_again(site: Site):
    one = new(site, room_callback_url=URL)
    assert site.call("DELETE", f"endpoints/{one['room_callback']['endpoint_id']}").status == 204

    again = site.call("PATCH", f"call-apps/{one['id']}", {"room_callback_url": URL}, if_match="*").json

    assert again["room_callback"]["endpoint_id"] != one["room_callback"]["endpoint_id"]
    assert [len(kind) for kind in made(site)] == [1, 1]


def test_two_editors_never_overwrite_each_other(site: Site):
    one = new(site)
    path = f"call-apps/{one['id']}"

    assert site.call("PATCH", path, {"name": "first"}).status == 428
    assert site.call("PATCH", path, {"name": "first"}, if_match='"1"').status == 200
    late = site.call("PATCH", path, {"automatic_recording": True, "room_callback_url": URL}, if_match='"1"')

    assert (late.status, late.json["code"]) == (412, "stale")
    shown = site.call("GET", path)
    assert (shown.json["name"], shown.json["automatic_recording"], shown.headers["etag"]) == ("first", False, '"2"')
    assert made(site) == ([], [])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"room_callback_url": "ftp://there.test/"}, "room_callback_url"),
        ({"recording_callback_url": "http://127.0.0.1/"}, "recording_callback_url"),
        ({"media_proxy": "https://example.com", "egress_ips": "1.2.3.4"}, "media_proxy"),
        ({"media_proxy": "example.com", "egress_ips": "1.2.3.4\uff1b1.2.3.5"}, "egress_ips"),
        ({"media_proxy": "example.com"}, "egress_ips"),
        ({"biz_name": "mine"}, "biz_name"),
    ],
)
def test_bad_values_are_refused_by_name_and_nothing_is_half_made(site: Site, change: dict[str, str], field: str):
    one = new(site)
    whole = {"room_callback_url": f"{URL}/ok", **change}
    reply = site.call("PATCH", f"call-apps/{one['id']}", whole, if_match="*")
    created = site.call("POST", "call-apps", {"app_id": one["app_id"], "name": "n", **whole})

    assert (reply.status, reply.json["field"]) == (422, field)
    assert (created.status, created.json["field"]) == (422, field)
    assert made(site) == ([], [])
    assert len(site.web.control.find(CallApp)) == 1


def test_a_media_proxy_is_kept_and_taken_out_again(site: Site):
    one = new(site, media_proxy="example.aliyundoc.com", egress_ips="10.0.0.1;2001:DB8::1")
    assert (one["media_proxy"], one["egress_ips"]) == ("example.aliyundoc.com", "10.0.0.1;2001:db8::1")

    path = f"call-apps/{one['id']}"
    assert site.call("PATCH", path, {"egress_ips": ""}, if_match="*").json["field"] == "egress_ips"
    gone = site.call("PATCH", path, {"egress_ips": "", "media_proxy": ""}, if_match="*").json
    assert (gone["media_proxy"], gone["egress_ips"]) == ("", "")
    assert site.call("POST", f"{path}/test-proxy", {}).json["field"] == "media_proxy"


def test_saving_reaches_nobody_the_button_asks_the_guard(site: Site):
    """Ruling 20: a proxy inside the customer's network is kept; to try it, the operator must allow it."""
    one = new(site, media_proxy="10.0.0.1", egress_ips="10.0.0.1")
    reply = site.call("POST", f"call-apps/{one['id']}/test-proxy", {})

    assert (reply.status, reply.json["code"]) == (422, "blocked_address")


def test_the_button_tells_whether_the_proxy_is_reached(tmp_path: Path):
    """Whoever takes the connection is reachable, whatever it says; a closed port is not."""
    with Receiver() as receiver:
        site = Site(tmp_path / "data", allow_targets=["127.0.0.0/8"])
        one = new(site, media_proxy="127.0.0.1", egress_ips="127.0.0.1")
        path = f"call-apps/{one['id']}/test-proxy"
        receiver.behave("", lambda _: Reply(status=404, body=b"who?"))
        tried = site.call("POST", path, {"port": receiver.port}).json
        receiver.behave("", lambda _: Reply(hang_up=True))
        silent = site.call("POST", path, {"port": receiver.port}).json
    closed = site.call("POST", path, {"port": receiver.port}).json
    site.close()

    assert (tried["result"], tried["address"]) == ("reachable", f"127.0.0.1:{receiver.port}")
    assert silent["result"] == "reachable" and "closed the connection" in silent["reason"]
    assert closed["result"] == "unreachable" and "refused" in closed["reason"]


def test_an_admission_is_made_and_checked(site: Site):
    one = new(site, automatic_recording=True)
    path = f"call-apps/{one['id']}/admissions"
    reader = site.key_for(one["app_id"], "reader")
    admission = site.call("POST", path, {"uid": "u_7", "valid_seconds": 60})
    given = {name: admission.json[name] for name in ("uid", "expire_time", "sign")}

    assert admission.status == 201
    assert (admission.json["biz_name"], admission.json["workspace_id"]) == (one["biz_name"], "product")
    good = site.call("POST", f"{path}/check", given, key=reader).json
    assert good == {"admitted": True, "code": None, "reason": None, "automatic_recording": True}
    for change, code in [
        ({"uid": "u_8"}, "other_user"),
        ({"expire_time": given["expire_time"] + 1}, "other_time"),
        ({"biz_name": new(site)["biz_name"]}, "other_app"),
        ({"sign": "AAAA"}, "not_signed"),
    ]:
        verdict = site.call("POST", f"{path}/check", {**given, **change}, key=reader).json
        assert (verdict["admitted"], verdict["code"]) == (False, code) and verdict["reason"]
    other = new(site)
    assert site.call("POST", f"call-apps/{other['id']}/admissions/check", given).json["code"] == "not_signed"
    assert site.call("POST", path, {"uid": "a-b"}).json["field"] == "uid"
    assert site.call("POST", f"{path}/check", {**given, "expire_time": 17}).json["field"] == "expire_time"
    assert site.call("POST", path, {"uid": "u_7"}, key=reader).status == 403


def test_a_call_app_is_its_own_apps_alone(site: Site):
    """T1: a key of another app finds nothing, in the words of what is nowhere."""
    one = new(site)
    stranger = site.key_for(site.made("apps", {"name": "other"})["id"])

    for method, path, body in [
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("DELETE", "", None),
        ("POST", "/reveal", None),
        ("POST", "/admissions", {"uid": "u"}),
    ]:
        reply = site.call(method, f"call-apps/{one['id']}{path}", body, key=stranger, if_match="*")
        assert (reply.status, reply.json["detail"]) == (404, f"there is no call app {one['id']!r}")
    assert site.call("GET", "call-apps", key=stranger).json["items"] == []
    assert site.call("POST", "call-apps", {"app_id": one["app_id"], "name": "x"}, key=stranger).status == 404


def test_removing_a_call_app_removes_what_it_made(site: Site):
    one = new(site, recording_callback_url=URL, room_callback_url=URL)
    assert site.call("DELETE", f"apps/{one['app_id']}").json["detail"].startswith("the app still has call apps")

    assert site.call("DELETE", f"call-apps/{one['id']}").status == 204
    assert made(site) == ([], [])
    assert site.call("DELETE", f"apps/{one['app_id']}").status == 204
    said = [entry["what"] for entry in site.call("GET", "audit").json["items"]]
    assert said.count("endpoint.deleted") == said.count("subscription.deleted") == 2


def test_the_same_call_twice_makes_one(site: Site):
    app = site.made("apps", {"name": "school"})
    body = {"app_id": app["id"], "name": "maths", "room_callback_url": URL}
    first, again = (site.call("POST", "call-apps", body, idempotency_key="once").json for _ in range(2))

    assert first["id"] == again["id"] and first["key"] == again["key"]
    assert [len(kind) for kind in made(site)] == [1, 1]


def test_the_same_call_twice_at_once_makes_one(site: Site):
    """A key takes its time to make, and the second call comes meanwhile."""
    app = site.made("apps", {"name": "school"})
    body = json.dumps({"app_id": app["id"], "name": "maths", "room_callback_url": URL}).encode()
    fields = [(b"authorization", f"Bearer {site.admin}".encode()), (b"idempotency-key", b"once")]

    async def both() -> list[Any]:
        return await asyncio.gather(*(site.ask("POST", "call-apps", body, fields) for _ in range(2)))

    first, second = site.runner.run(both())
    assert (first.status, second.status) == (201, 201), second.body
    assert first.json == second.json
    assert [len(kind) for kind in made(site)] == [1, 1]
