"""The API on real databases: what each call does, and what no key, no body and no neighbour can make it do."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from api_site import BASE, CANARY, NOW, Process, Site, tenant
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from northbound.backends.sqlite.log import SqliteLog
from northbound.backends.sqlite.views import SqliteDeliveryReader, TimedReads
from northbound.dialects import all_dialects
from northbound.hub.system import Folder
from northbound.model.alarm import Alarm, AlarmKind
from northbound.model.app import App as AppRow
from northbound.model.delivery import (
    Failure,
    FailureKind,
    Stop,
)
from northbound.model.errors import Overloaded, StoreFailed
from northbound.model.log import Origin, Receipt
from northbound.model.wire import Proof, Request
from northbound.web import api, openapi
from northbound.web.operations import OPERATIONS, Operation, Role
from northbound.web.resources import figures

GOLDEN = Path(__file__).parent / "openapi.json"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path / "data", check_targets=("192.0.2.9",))
    yield one
    one.close()


@pytest.fixture(scope="module")
def quiet_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for tests that only ask."""
    one = Site(tmp_path_factory.mktemp("site") / "data")
    yield one
    one.close()


# --- the table -------------------------------------------------------------------------------------------------------


def test_openapi_is_the_golden_one():
    """The published description changes only on purpose: python -m northbound.web.openapi."""
    assert GOLDEN.read_text() == openapi.text()


def test_openapi_resolves_every_reference():
    document = openapi.document()
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))

    assert names <= set(document["components"]["schemas"])
    assert document["openapi"] == "3.1.0"


def test_operations_are_unique_and_in_both_languages():
    assert len({one.id for one in OPERATIONS}) == len(OPERATIONS)
    assert len({(one.method, one.path) for one in OPERATIONS}) == len(OPERATIONS)
    assert all(one.en and re.search(r"[\u4e00-\u9fff]", one.zh) for one in OPERATIONS)


def filled(operation: Operation, **values: Any) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: quote(str(values.get(match[1], "x"))), operation.path)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.id)
def test_no_key_no_answer(quiet_site: Site, operation: Operation):
    """Every call but the open ones asks for a key first, whatever it is sent."""
    reply = quiet_site.call(operation.method, filled(operation), key="", raw=b"[")

    if operation.role is Role.OPEN:
        assert reply.status in ({404} if "{" in operation.path else {200, 503})
    else:
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert reply.json["code"] == "unauthorized"


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.role is Role.ADMIN], ids=lambda one: one.id)
def test_readers_change_nothing(quiet_site: Site, operation: Operation):
    reader = quiet_site.key_for(None, "reader")

    reply = quiet_site.call(operation.method, filled(operation), {}, key=reader)

    assert (reply.status, reply.json["code"]) == (403, "forbidden")


def test_problems_have_one_shape(quiet_site: Site):
    for reply in (
        quiet_site.call("GET", "/nowhere"),
        quiet_site.call("PUT", "/api/v1/apps"),
        quiet_site.call("GET", "apps/app_0"),
        quiet_site.call("POST", "apps", raw=b"{"),
    ):
        assert reply.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "code", "field"} == set(reply.json)
        assert reply.status == reply.json["status"]


def test_keys_are_not_guessed(site: Site):
    """T9: after some unknown keys an address has to wait, but keys known to be good are still served."""
    assert site.call("GET", "apps").status == 200

    statuses = [site.call("GET", "apps", key=f"nb_{number}").status for number in range(25)]

    assert statuses == [401] * 20 + [429] * 5
    assert site.call("GET", "apps").status == 200


def test_removed_keys_stop_at_once(site: Site):
    made = site.made("keys", {"name": "soon gone", "role": "admin"})
    assert site.call("GET", "keys", key=made["secret"]).status == 200

    assert site.call("DELETE", f"keys/{made['id']}").status == 204

    assert site.call("GET", "keys", key=made["secret"]).status == 401
    last = site.call("GET", "keys").json["items"]
    assert site.call("DELETE", f"keys/{last[0]['id']}").status == 409


# --- one tenant and another (T1) -------------------------------------------------------------------------------------


ASKED = {"query_recording": "?sid=r1"}  # queries without which there is no answer
WHOLE: dict[str, Any] = {  # bodies of operations that refuse an empty one before they look
    "put_avd_half": {"url": "https://there.test"},
    "create_admission": {"uid": "u"},
    "check_admission": {"uid": "u", "expire_time": 1767326645000, "sign": "AAAA"},
}


def new_notices(site: Site, app_id: str) -> dict[str, Any]:
    given = {"app_id": app_id, "name": "n", "product": 3, "event_types": [31], "url": "https://there.test/x"}
    return site.made("notice-settings", given)


def foreign_calls(of: SimpleNamespace) -> list[tuple[str, str, Any]]:
    """Every operation that can name something, naming what belongs to *of*."""
    app, source, endpoint = of.app["id"], of.source["id"], of.endpoint["id"]
    paths = {"apps": app, "sources": source, "endpoints": endpoint, "subscriptions": of.subscription["id"],
             "call-apps": of.call_app, "notice-settings": of.notice, "avd-settings": app,
             "servers": of.server}  # fmt: skip
    calls: list[tuple[str, str, Any]] = []
    for one in OPERATIONS:
        if one.role is Role.OPEN or "{" not in one.path:
            continue
        values = {
            "id": {**paths, "events": of.event_id, "replays": of.command_id, "keys": of.key_id}.get(one.tag),
            "key": of.room_key,
            "number": of.numbers[0],
            "dialect": "avd",
            "half": "master",
        }
        body = WHOLE.get(one.id, {}) if one.method in {"POST", "PUT", "PATCH"} else None
        calls.append((one.method, filled(one, **values), body))
    pattern = {"pattern": {}, "endpoint_ids": [endpoint]}
    calls += [
        ("GET", f"/api/v1/{what}?{name}={value}", None)
        for what, name, value in [
            *((what, "app_id", app) for what in ("sources", "endpoints", "subscriptions", "stats/daily", "alarms")),
            *(
                (what, "source_id", source)
                for what in ("events", "events/stream", "rooms", "recordings", "quarantine", "alarms")
            ),
            *(
                (what, "endpoint_id", endpoint)
                for what in ("deliveries", "dead-letters", "dead-letters/count", "alarms")
            ),
        ]
    ]
    calls += [
        ("POST", "/api/v1/sources", {"app_id": app, "name": "x", "dialect": "avd"}),
        ("POST", "/api/v1/endpoints", {"app_id": app, "url": "https://a.test", "dialect": "avd"}),
        ("POST", "/api/v1/subscriptions", {"app_id": app, **pattern}),
        ("POST", "/api/v1/subscriptions", {"app_id": of.neighbour, **pattern}),
        ("POST", "/api/v1/subscriptions", {"app_id": of.neighbour, "pattern": {}, "endpoint_ids": [],
                                           "source_ids": [source]}),
        ("POST", "/api/v1/match", {"pattern": {}, "event_id": of.event_id}),
        ("POST", "/api/v1/keys", {"name": "x", "app_id": app}),
        ("POST", "/api/v1/replays", {"endpoint_id": endpoint, "all_failed": True}),
        ("POST", "/api/v1/replays", {"endpoint_id": endpoint, "since": "2026-01-01T00:00:00Z"}),
        ("POST", "/api/v1/replays", {"delivery_numbers": of.numbers}),
    ]  # fmt: skip
    return calls


def test_a_foreign_key_finds_nothing(site: Site):
    """T1: on every route, whatever belongs to another app is not found, in the words used for what does not exist."""
    ours, theirs = tenant(site, "ours"), tenant(site, "theirs")
    key = site.made("keys", {"name": "theirs", "app_id": theirs.app["id"], "role": "admin"})
    ours.command_id = site.call("POST", f"endpoints/{ours.endpoint['id']}/test").json["command_id"]
    ours.key_id = site.made("keys", {"name": "ours", "app_id": ours.app["id"]})["id"]
    ours.neighbour = theirs.app["id"]
    ours.notice = new_notices(site, ours.app["id"])["id"]
    ours.call_app = site.made("call-apps", {"app_id": ours.app["id"], "name": "ours"})["id"]
    server = {"app_id": ours.app["id"], "name": "box", "address": "192.0.2.9", "ports": [{"type": "tcp", "port": 80}]}
    ours.server = site.made("servers", server)["id"]
    calls = foreign_calls(ours)

    replies = [(method, target, site.call(method, target, body, key=key["secret"])) for method, target, body in calls]

    assert len(calls) > 40
    for method, target, reply in replies:
        assert (reply.status, reply.json["code"]) == (404, "not_found"), (method, target, reply.body)
        assert None is reply.json["field"]
    absent = site.call("GET", "sources/src_0", key=key["secret"]).json["detail"]
    foreign = site.call("GET", f"sources/{ours.source['id']}", key=key["secret"]).json["detail"]
    assert absent.replace("src_0", "") == foreign.replace(ours.source["id"], "")


def test_lists_hold_only_what_is_ones_own(site: Site):
    ours, theirs = tenant(site, "ours"), tenant(site, "theirs")
    key = site.made("keys", {"name": "theirs", "app_id": theirs.app["id"], "role": "admin"})["secret"]
    foreign = [
        ours.app["id"],
        ours.source["id"],
        ours.endpoint["id"],
        ours.subscription["id"],
        ours.room,
        ours.event_id,
    ]

    for one in OPERATIONS:
        if one.method != "GET" or "{" in one.path or one.role is Role.OPEN or one.id == "stream_events":
            continue
        reply = site.call("GET", one.path + ASKED.get(one.id, ""), key=key)
        assert reply.status == 200, (one.id, reply.body)
        assert not [name for name in foreign if name.encode() in reply.body], one.id
    assert len(site.call("GET", "events", key=key).json["items"]) == 3
    assert site.call("POST", "apps", {"name": "more"}, key=key).status == 403
    made = site.call("POST", "keys", {"name": "own"}, key=key)
    assert made.json["app_id"] == theirs.app["id"]


def test_secrets_are_in_no_answer_but_the_first(site: Site):
    """T8: a canary given as every secret is found in no list, page, request, answer or audit entry."""
    one = tenant(site, "careful", secret=CANARY)
    site.call("PATCH", f"apps/{one.app['id']}", {"app_key": CANARY}, if_match="*")
    account = site.call("POST", "accounts", {"name": "careful"}).json
    call_app = site.made("call-apps", {"app_id": one.app["id"], "name": "careful"})
    site.call("PUT", f"avd-settings/{one.app['id']}/master", {"url": "https://there.test", "check_code_key": CANARY})
    body = {"app_id": one.app["id"], "name": "box", "address": "192.0.2.9", "ports": [{"type": "tcp", "port": 80}]}
    server = site.made("servers", body)
    room_list = {"room_list": {"url": "https://there.test", "key": CANARY}}
    site.call("PATCH", f"sources/{one.source['id']}", room_list, if_match="*")
    notices = new_notices(site, one.app["id"])
    paths = {"apps": one.app["id"], "accounts": account["id"], "sources": one.source["id"],
             "call-apps": call_app["id"], "avd-settings": one.app["id"], "notice-settings": notices["id"],
             "servers": server["id"],
             "endpoints": one.endpoint["id"], "subscriptions": one.subscription["id"],
             "events": one.event_id, "system": site.call("GET", "certificates").json["items"][0]["id"]}  # fmt: skip

    for operation in OPERATIONS:
        if operation.method != "GET" or operation.id in {"stream_events", "get_replay"}:
            continue
        values = {"id": paths.get(operation.tag), "key": one.room_key, "number": one.numbers[0], "dialect": "avd",
                  "half": "master"}  # fmt: skip
        query = ASKED.get(operation.id, "") + ("?app_id=" + one.app["id"]) * ("daily" in operation.id)
        reply = site.call("GET", filled(operation, **values) + query)
        assert reply.status in {200, 503}, (operation.id, reply.body)
        assert CANARY.encode() not in reply.body, operation.id
        assert call_app["key"][-200:-100].encode() not in reply.body, operation.id
        assert notices["secret"].encode() not in reply.body, operation.id

    assert site.call("POST", f"apps/{one.app['id']}/reveal").json["app_key"] == CANARY
    assert site.call("POST", f"sources/{one.source['id']}/reveal").json["keys"][0]["secret"] == CANARY
    assert site.call("POST", f"endpoints/{one.endpoint['id']}/reveal").json["keys"][0]["secret"] == CANARY
    said = [entry["what"] for entry in site.call("GET", "audit").json["items"]]
    assert said[:3] == ["endpoint.revealed", "source.revealed", "app.revealed"]
    reader = site.key_for(None, "reader")
    token = one.source["intake_url"].rpartition("/")[2]
    assert token.encode() not in site.call("GET", f"sources/{one.source['id']}", key=reader).body


# --- setting up ------------------------------------------------------------------------------------------------------


def test_apps_live_and_go(site: Site):
    app = site.made("apps", {"name": "三体", "time_zone": "Europe/Berlin"})
    assert app["app_key"]
    assert app["biz_name"].startswith("biz")

    shown = site.call("GET", f"apps/{app['id']}")
    assert "app_key" not in shown.json
    assert shown.headers["etag"] == '"1"'
    changed = site.call("PATCH", f"apps/{app['id']}", {"name": "new"}, if_match=shown.headers["etag"])
    assert tuple(changed.json[name] for name in ("name", "time_zone", "revision")) == ("new", "Europe/Berlin", 2)
    site.made("sources", {"app_id": app["id"], "name": "s", "dialect": "avd"})
    assert site.call("DELETE", f"apps/{app['id']}").status == 409
    for source in site.call("GET", f"sources?app_id={app['id']}").json["items"]:
        assert site.call("DELETE", f"sources/{source['id']}").status == 204
    assert site.call("DELETE", f"apps/{app['id']}").status == 204
    assert site.call("GET", f"apps/{app['id']}").status == 404


def test_two_editors_do_not_overwrite_each_other(site: Site):
    app = site.made("apps", {"name": "a"})
    target = f"apps/{app['id']}"

    assert site.call("PATCH", target, {"name": "b"}).status == 428
    assert site.call("PATCH", target, {"name": "b"}, if_match='"1"').status == 200
    late = site.call("PATCH", target, {"name": "c"}, if_match='"1"')
    assert (late.status, late.json["code"]) == (412, "stale")
    assert site.call("DELETE", target, if_match='"1"').status == 412
    assert site.call("PATCH", target, {"name": "c"}, if_match="x").status == 422
    assert site.call("GET", target).json["name"] == "b"


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("POST", "keys", {"name": "k", "role": "root"}, "admin, reader, rooms"),
        ("POST", "endpoints", {"retry": {"strategy": "never"}}, "fixed, schedule, "),
        ("POST", "endpoints", {"keys": [{"secret": "s"}, {"kind": "x", "secret": "s"}]}, "shared, "),
        ("GET", "deliveries?state=lost", None, "waiting, delivered, dead, dropped, cancelled"),
    ],
)
def test_a_value_that_is_none_of_a_list_is_refused_with_the_list(
    site: Site, method: str, path: str, body: Any, told: str
):
    refused = site.call(method, path, body)

    assert refused.status == 422
    assert f"; it is one of: {told}" in refused.json["detail"], refused.json["detail"]
    assert refused.json["field"]


def test_every_post_heeds_an_idempotency_key(site: Site):
    """What is made under no id of the key's: nothing is done twice, the answer is the first's without its secret."""
    account = site.made("accounts", {"name": "mine"})
    app = site.made("apps", {"name": "a"})
    endpoint = site.made("endpoints", {"app_id": app["id"], "url": "https://a.test/x", "dialect": "standard"})
    calls: list[tuple[str, Any, Any, str]] = [
        ("accounts", {"name": "c"}, {"name": "d"}, "access_key_secret"),
        (f"accounts/{account['id']}/access-keys", None, None, "access_key_secret"),
        (f"endpoints/{endpoint['id']}/rotate", {"overlap_seconds": 60}, {"overlap_seconds": 61}, "keys"),
        ("certificates", {"valid_days": 40}, {"valid_days": 41}, ""),
    ]
    for path, body, other, secret in calls:
        first = site.call("POST", path, body, idempotency_key="once")
        done = len(site.call("GET", "audit?limit=500").json["items"])
        again = site.call("POST", path, body, idempotency_key="once")
        apart = site.call("POST", path, body, idempotency_key="twice")

        assert first.status == again.status == apart.status, (path, again.json)
        told = [{name: value for name, value in one.json.items() if name != secret} for one in (first, again)]
        assert told[0] == told[1], path
        assert secret == "" or first.json[secret] != again.json.get(secret), path
        assert "whsec_" not in json.dumps(again.json)
        if other is not None:
            refused = site.call("POST", path, other, idempotency_key="once")
            assert (refused.status, refused.json["field"]) == (409, "Idempotency-Key")
        entries = site.call("GET", "audit?limit=500").json["items"]
        made = [one["what"] for one in entries[: len(entries) - done]]
        assert len(made) == len(set(made)), f"{path}: once more by the other key, and no more"


def test_what_was_made_once_and_deleted_is_not_made_anew_by_a_late_repeat(site: Site):
    account = site.made("accounts", {"name": "mine"})
    path = f"accounts/{account['id']}/access-keys"
    first = site.call("POST", path, idempotency_key="once").json["access_key_id"]
    site.call("DELETE", f"{path}/{first}")

    again = site.call("POST", path, idempotency_key="once")

    assert (again.status, again.json["field"]) == (409, "Idempotency-Key")
    assert "deleted meanwhile" in again.json["detail"]
    assert len(site.call("GET", path).json["items"]) == 1


def test_a_repeated_create_creates_once(site: Site):
    """Idempotency-Key: the same answer again, another body refused, another caller apart."""
    first = site.made("apps", {"name": "a"}, idempotency_key="k-1")
    again = site.made("apps", {"name": "a"}, idempotency_key="k-1")
    other = site.call("POST", "apps", {"name": "b"}, idempotency_key="k-1")
    app_id = first["id"]
    endpoint = {"app_id": app_id, "url": "https://a.test/x", "dialect": "standard"}
    made = [site.made("endpoints", endpoint, idempotency_key="k-1") for _ in range(2)]
    tests = [
        site.call("POST", f"endpoints/{made[0]['id']}/test", idempotency_key="k-1").json["command_id"] for _ in range(2)
    ]
    keys = [site.call("POST", "keys", {"name": "k"}, idempotency_key="k-1") for _ in range(2)]

    assert first == again
    assert (other.status, other.json["field"]) == (409, "Idempotency-Key")
    assert made[0] == made[1]
    assert tests[0] == tests[1]
    assert [one.status for one in keys] == [201, 201]
    assert keys[0].json["id"] == keys[1].json["id"]
    assert ["secret" in one.json for one in keys] == [True, False]
    assert len(site.call("GET", "apps").json["items"]) == 1
    assert site.call("POST", "apps", {"name": "a"}, idempotency_key="k" * 201).status == 422


def test_unknown_members_are_refused_by_name(site: Site):
    app_id = site.made("apps", {"name": "a"})["id"]
    for what, body, field in [
        ("apps", {"name": "a", "nmae": 1}, "nmae"),
        ("apps", {}, "name"),
        ("apps", {"name": "a", "time_zone": "Mars/Olympus"}, "time_zone"),
        ("sources", {"app_id": app_id, "name": "s", "dialect": "no"}, "dialect"),
        ("sources", {"app_id": app_id, "name": "s", "dialect": "avd", "options": {"x": 1}}, "options.x"),
        ("sources", {"app_id": app_id, "name": "s", "dialect": "avd", "keys": [{"sekret": "x"}]}, "keys[0].sekret"),
        ("sources", {"app_id": app_id, "name": "s", "dialect": "avd", "keys": [{}]}, "keys[0].secret"),
        (
            "sources",
            {"app_id": app_id, "name": "s", "dialect": "standard", "keys": [{"secret": "whsec_not base64"}]},
            "keys[0].secret",
        ),
        ("endpoints", {"app_id": app_id, "url": "https://a.test", "dialect": "avd", "method": "PUT"}, "method"),
        ("endpoints", {"app_id": app_id, "url": "https://a.test", "dialect": "mpaas", "method": "GET"}, "method"),
        ("keys", {"name": "k", "role": "king"}, "role"),
        ("subscriptions", {"app_id": app_id, "pattern": {}, "endpoint_ids": [], "view": "no"}, "view"),
    ]:
        reply = site.call("POST", what, body)
        assert (422, field) == (reply.status, reply.json["field"]), reply.body
    reply = site.call("GET", "apps?limt=3")
    assert (reply.status, reply.json["field"]) == (422, "limt")


def test_sources_say_where_the_vendor_sends(site: Site):
    app_id = site.made("apps", {"name": "a"})["id"]
    source = site.made("sources", {"app_id": app_id, "name": "s", "dialect": "avd", "keys": [{"secret": "k"}]})

    assert re.fullmatch(rf"https://hub\.test/in/{source['id']}/[A-Za-z0-9_-]{{32}}", source["intake_url"])
    assert source["public_url"] == ""  # none of its own: what is told follows the setting
    assert source["ack_budget_ms"] == 200
    assert source["keys"][0]["secret"] == "k"
    key_id = source["keys"][0]["id"]
    changed = site.call(
        "PATCH",
        f"sources/{source['id']}",
        {"keys": [{"id": key_id}, {"secret_base64": "AAH/"}], "state": "disabled"},
        if_match="*",
    )
    assert changed.status == 200
    revealed = site.call("POST", f"sources/{source['id']}/reveal").json
    assert [one.get("secret", one.get("secret_base64")) for one in revealed["keys"]] == ["k", "AAH/"]
    assert revealed["state"] == "disabled"


def test_a_source_with_a_url_of_its_own_tells_that_one(site: Site):
    app_id = site.made("apps", {"name": "a"})["id"]
    own = "https://callbacks.example.com/rtc"
    source = site.made("sources", {"app_id": app_id, "name": "s", "dialect": "aliyun_rtc", "public_url": own})
    asked = site.call("PATCH", f"sources/{source['id']}", {"public_url": own + "?a=b"}, if_match="*")

    assert (source["public_url"], source["intake_url"]) == (own, own)
    assert (asked.status, asked.json["field"]) == (422, "public_url")


def test_an_apps_wire_needs_the_apps_key_or_one_of_its_own(site: Site):
    """Ruling 6; the answer says what to do."""
    app = site.made("apps", {"name": "a"})
    revision, keyless = site.web.control.get(AppRow, app["id"])
    url = {"url": "https://there.test/x"}
    made = [("sources", {"name": "s"}), ("endpoints", url)]
    own = {"keys": [{"secret": "k"}]}
    signed_by = []
    for what, body in made:
        body |= {"app_id": app["id"], "dialect": "aliyun_rtc"}
        signed_by += [site.made(what, body).get("signed_by"), site.made(what, body | own).get("signed_by")]
    site.web.control.put(replace(keyless, app_key=b""), who="t", now=NOW, revision=revision)

    for what, body in made:
        refused = site.call("POST", what, body)
        assert (refused.status, refused.json["field"]) == (422, "keys")
        assert "set its app_key, or give keys here" in refused.json["detail"]
        known = site.made(what, body | own)
        bare = site.call("PATCH", f"{what}/{known['id']}", {"keys": []}, if_match="*")
        assert (bare.status, bare.json["field"]) == (422, "keys")
    assert signed_by == [None, None, "app", "endpoint"]


def test_open_rooms_are_suspect_until_they_are_heard_of_again(site: Site):
    """Ruling 5: a callback of their source was not stored in time, and nobody knows of which room it was."""
    one, other = tenant(site, "a"), tenant(site, "b")
    site.received(one.source, event="open", room_id="quiet", trace_id="q-1")
    site.received(one.source, event="open", room_id="gone", trace_id="g-1")
    site.received(one.source, event="close", room_id="gone", event_type="user", trace_id="g-2")
    site.settle()
    at = site.web.clock.now() + timedelta(milliseconds=1)
    missed = Alarm(
        kind=AlarmKind.OVER_BUDGET, first_at=at, last_at=at, app_id=one.app["id"], source_id=one.source["id"]
    )
    site.runner.run(site.log.raise_alarms([missed]))
    time.sleep(0.002)

    def suspects() -> dict[str, Any]:
        shown = {room["id"]: room["suspect"] for room in site.call("GET", "rooms").json["items"]}
        detail = site.call("GET", f"rooms/{one.room_key}").json
        assert detail["suspect"] == shown[one.room]
        assert "suspect" not in detail["room"]  # not folded: a rebuild finds the same rooms
        return shown

    marked = suspects()
    site.received(one.source, event="join", room_id=one.room, user_id="u2", event_type="normal", trace_id="a-9")
    site.settle()
    heard = suspects()

    mark = {"reason": "over_budget", "at": at.isoformat().replace("+00:00", "Z")}
    assert marked == {one.room: mark, "quiet": mark, "gone": None, other.room: None}
    assert heard == {one.room: None, "quiet": mark, "gone": None, other.room: None}


def test_readiness_says_which_version_of_the_registry_is_in_force(site: Site):
    """What was set up is known everywhere when each process has the version that the answer names."""
    before = site.call("GET", "/readyz", key="").json["registry"]
    site.made("apps", {"name": "a"})

    assert site.call("GET", "/readyz", key="").json["registry"] > before


def spellings() -> list[str]:
    text = (Path(__file__).parents[1] / "logic" / "test_addresses.py").read_text()
    block = text[text.index("SPELLINGS = [") : text.index("\n]\n")]
    return [*re.findall(r'^    "(http[^"\\]+)",', block, re.MULTILINE), "127.0.0.1:80/x", "a.test/x", "", "http://"]


def test_private_targets_are_refused_alike(site: Site):
    """D5: every spelling, at create and at change, in the same words."""
    app_id = site.made("apps", {"name": "a"})["id"]
    good = site.made("endpoints", {"app_id": app_id, "url": "https://a.test/x", "dialect": "standard"})
    targets = spellings()
    assert len(targets) > 60

    for url in targets:
        created = site.call("POST", "endpoints", {"app_id": app_id, "url": url, "dialect": "standard"})
        changed = site.call("PATCH", f"endpoints/{good['id']}", {"url": url}, if_match="*")
        assert (created.status, created.json["code"], created.json["field"]) == (422, "blocked_address", "url"), url
        assert created.json == changed.json

    assert len(site.call("GET", "endpoints").json["items"]) == 1


def test_listed_targets_are_allowed(tmp_path: Path):
    """What the operator lists may be reached; a target without scheme means http (ruling 30)."""
    site = Site(tmp_path / "data", allow_targets=("127.0.0.1:7099",))
    try:
        app_id = site.made("apps", {"name": "a"})["id"]
        made = site.made("endpoints", {"app_id": app_id, "url": "127.0.0.1:7099/x", "dialect": "avd"})
        other = site.call("POST", "endpoints", {"app_id": app_id, "url": "http://127.0.0.1:7098/", "dialect": "avd"})
    finally:
        site.close()

    assert made["url"] == "http://127.0.0.1:7099/x"
    assert other.status == 422


def test_endpoints_have_their_dialects_defaults(site: Site):
    app_id = site.made("apps", {"name": "a"})["id"]
    standard = site.made("endpoints", {"app_id": app_id, "url": "https://a.test/x", "dialect": "standard"})
    plain = site.made("endpoints", {"app_id": app_id, "url": "https://a.test/x", "dialect": "avd"})
    none = site.made("endpoints", {"app_id": app_id, "url": "https://a.test/x", "dialect": "standard", "keys": []})

    assert standard["keys"][0]["secret"].startswith("whsec_")
    assert "secret" not in site.call("GET", f"endpoints/{standard['id']}").json["keys"][0]
    assert tuple(standard["retry"][name] for name in ("attempts", "strategy", "deadline_seconds")) == (
        8,
        "schedule",
        15.0,
    )
    assert (plain["retry"]["attempts"], plain["retry"]["waits_seconds"], plain["keys"]) == (4, [5.0], [])
    assert none["keys"] == []


def test_a_deadline_must_be_shorter_than_the_lease(site: Site):
    """D12."""
    app_id = site.made("apps", {"name": "a"})["id"]
    body = {"app_id": app_id, "url": "https://a.test/x", "dialect": "avd"}

    refused = site.call("POST", "endpoints", {**body, "retry": {"deadline_seconds": 60}})
    made = site.made("endpoints", {**body, "retry": {"deadline_seconds": 59, "attempts": 2, "waits_seconds": [1, 2]}})
    changed = site.call("PATCH", f"endpoints/{made['id']}", {"retry": {"deadline_seconds": 61}}, if_match="*")

    assert (refused.status, refused.json["field"]) == (422, "retry.deadline_seconds")
    assert changed.status == 422
    assert made["retry"]["waits_seconds"] == [1.0, 2.0]


def test_endpoints_are_rotated_stopped_and_tested(site: Site):
    app_id = site.made("apps", {"name": "a"})["id"]
    made = site.made("endpoints", {"app_id": app_id, "url": "https://a.test/x", "dialect": "standard"})
    target = f"endpoints/{made['id']}"

    rotated = site.call("POST", f"{target}/rotate", {"at": "2030-01-01T00:00:00Z", "overlap_seconds": 60}).json
    site.store.stop_endpoint(made["id"], Stop(reason="410", at=NOW))
    stopped = site.call("GET", target).json["stopped"]
    disabled = site.call("POST", f"{target}/disable").json
    enabled = site.call("POST", f"{target}/enable").json
    tested = site.call("POST", f"{target}/test")
    before = site.call("GET", f"replays/{tested.json['command_id']}").json
    site.obey()
    after = site.call("GET", f"replays/{tested.json['command_id']}").json

    old, new = rotated["keys"]
    assert (old["valid_until"], new["valid_from"]) == ("2030-01-01T00:01:00Z", "2030-01-01T00:00:00Z")
    assert "secret" in new
    assert "secret" not in old
    assert stopped["reason"] == "410"
    assert (disabled["state"], enabled["state"]) == ("disabled", "enabled")
    assert tested.status == 202
    assert (before["state"], after["state"], after["do"], after["result"]) == ("waiting", "done", "test", {"count": 1})
    assert None is site.call("GET", target).json["stopped"]


def test_subscriptions_are_compiled_when_saved(site: Site):
    one = tenant(site, "a")
    body = {"app_id": one.app["id"], "endpoint_ids": [one.endpoint["id"]]}

    bad = site.call("POST", "subscriptions", {**body, "pattern": {"type": "x"}})
    warned = site.made("subscriptions", {**body, "pattern": '{"type": ["participant.join"]}'})
    vendor = site.made("subscriptions", {**body, "pattern": {"event": ["join"]}, "view": "avd"})
    changed = site.call("PATCH", f"subscriptions/{vendor['id']}", {"view": "standard"}, if_match="*")

    assert (bad.status, bad.json["code"]) == (422, "pattern")
    assert "participant.joined" in warned["warnings"][0]
    assert vendor["pattern"] == '{"event": ["join"]}'
    assert changed.status == 422
    assert site.call("DELETE", f"endpoints/{one.endpoint['id']}").status == 204
    assert site.call("GET", f"subscriptions/{vendor['id']}").json["endpoint_ids"] == []


def test_lists_come_in_pages(site: Site):
    made = {site.made("apps", {"name": f"a{number}"})["id"] for number in range(7)}
    found: list[str] = []
    cursor = ""
    while True:
        page = site.call("GET", f"apps?limit=3{cursor}").json
        found += [one["id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert sorted(made) == found
    for bad in ("!", "e30", "MTIz", "bnVsbA"):
        assert site.call("GET", f"apps?cursor={bad}").status == 422
        assert site.call("GET", f"recordings?cursor={bad}").status == 422
    for number in (-1, 2**63, 2**200):
        text = api_cursor(number)
        for what in ("deliveries", "dead-letters", "events", "quarantine", "audit"):
            assert site.call("GET", f"{what}?cursor={text}").status == 422, (what, number)


def api_cursor(value: Any) -> str:
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


# --- looking ---------------------------------------------------------------------------------------------------------


def test_an_event_shows_its_way_through_the_hub(site: Site):
    """Receipt, repeats, words, deliveries: one page tells what happened to it."""
    one = tenant(site, "a")

    found = site.call("GET", f"events?source_id={one.source['id']}&type=participant.joined").json["items"]
    detail = site.call("GET", f"events/{one.event_id}").json

    assert [event["participant_id"] for event in found] == ["u1"]
    assert detail["event"]["type"] == "room.opened"
    assert "/***?" in detail["receipt"]["request"]["url"]
    assert ["authorization", "***"] in detail["receipt"]["request"]["headers"]
    assert len(detail["repeats"]) == 1
    assert [one.numbers[0]] == [delivery["number"] for delivery in detail["deliveries"]]
    assert detail["deliveries"][0]["state"] == "dead"
    for absent in ("ev_x_1", one.event_id[:-1] + "99", one.event_id + ".1", one.event_id + ".x", "%00", "ev__1"):
        assert site.call("GET", f"events/{absent}").status == 404
    assert len(site.call("GET", f"events?q={one.room}").json["items"]) == 3


def test_derived_events_are_found_by_their_id(site: Site):
    app_id = site.made("apps", {"name": "a"})["id"]
    source = site.made("sources", {"app_id": app_id, "name": "s", "dialect": "avd"})
    (first,) = site.received(source, event="join", room_id="9", user_id="1", event_type="normal", trace_id="1")
    cause = site.web.log.find(first)
    assert cause is not None
    derived = replace(cause, id=f"{first}.1", origin=Origin.DERIVED, cause_id=first, receipt_id=None)
    site.runner.run(site.log.conclude([derived]))

    conclusions = site.call("GET", f"events/{first}").json["conclusions"]

    assert conclusions == [f"{first}.1"]
    found = site.call("GET", f"events/{conclusions[0]}").json
    assert (found["event"]["origin"], found["receipt"]) == ("derived", None)
    assert found["event"]["cause_id"] == first


def test_events_are_said_in_other_words(site: Site):
    one = tenant(site, "a")
    joined = site.call("GET", "events?type=participant.joined").json["items"][0]["id"]

    own = site.call("GET", f"events/{joined}/views/avd").json
    foreign = site.call("GET", f"events/{joined}/views/aliyun_rtc").json
    none = site.call("GET", f"events/{one.event_id}/views/no")

    assert tuple(own["views"][0][name] for name in ("kind", "lost", "invented")) == ("join", [], [])
    assert foreign["views"][0]["invented"]
    assert (none.status, none.json["field"]) == (422, "dialect")


def test_match_says_why(site: Site):
    one = tenant(site, "a")
    asked = {"pattern": {"type": ["room.opened", "room.open"], "data": {"room_id": ["other"]}}}

    by_id = site.call("POST", "match", {**asked, "event_id": one.event_id}).json
    given = site.call("POST", "match", {**asked, "event": {"type": "room.opened", "data": {"room_id": "other"}}}).json
    vendor = site.call("POST", "match", {"pattern": {"event": ["open"]}, "event_id": one.event_id, "view": "avd"}).json

    assert (by_id["matched"], given["matched"], vendor["matched"]) == (False, True, True)
    assert [(f["path"], f["matched"]) for f in by_id["findings"]] == [("$.type", True), ("$.data.room_id", False)]
    assert by_id["view"] == "standard"
    assert "room.opened" in by_id["warnings"][0]
    assert site.call("POST", "match", asked).status == 422
    assert site.call("POST", "match", {**asked, "event": [1]}).status == 422


def test_rooms_and_recordings_are_shown(site: Site):
    one = tenant(site, "a")
    rooms = site.call("GET", f"rooms?open=true&source_id={one.source['id']}").json["items"]
    room = site.call("GET", "/api/v1/rooms/" + quote(one.room_key)).json
    recordings = site.call("GET", "recordings").json["items"]

    assert [(one.room_key, 1, True)] == [(r["key"], r["participants"], r["open"]) for r in rooms]
    assert "u1" in room["room"]["participants"]
    assert [("r1", one.room_key)] == [(r["recording"]["id"], r["room_key"]) for r in recordings]
    assert site.call("GET", "rooms?open=false").json["items"] == []
    assert site.call("GET", "rooms/x").status == 404


def test_past_rooms_and_their_recordings_are_shown(site: Site):
    app_id = site.made("apps", {"name": "a"})["id"]
    source = site.made("sources", {"app_id": app_id, "name": "s", "dialect": "avd"})
    for day in ("1", "2"):
        site.received(source, event="open", room_id="9", trace_id=f"o{day}")
        site.received(source, event="join", room_id="9", user_id="u", event_type="normal", trace_id=f"j{day}")
        site.received(
            source, event="start_record", room_id="9", exporter_id=day, exporter_type="hls", trace_id=f"r{day}"
        )
        site.received(source, event="close", room_id="9", trace_id=f"c{day}")
    site.settle()

    room = site.call("GET", f"rooms/{source['id']}//9").json
    pages: list[Any] = []
    cursor = ""
    while cursor is not None:
        page = site.call("GET", "recordings?limit=1" + (f"&cursor={cursor}" if cursor else "")).json
        pages += page["items"]
        cursor = page["next_cursor"]

    assert (room["room"]["instance"], [one.get("instance", 1) for one in room["past"]]) == (2, [1])
    assert [(one["recording"]["id"], one["room_instance"]) for one in pages] == [("2", 2), ("1", 1)]


def test_tries_show_both_sides_masked(site: Site):
    one = tenant(site, "a", secret=CANARY)
    number = one.numbers[0]
    site.fail(one.numbers[1], Failure(kind=FailureKind.TLS, message="the certificate expired"))

    tries = site.call("GET", f"deliveries/{number}/attempts").json["items"]
    failed = site.call("GET", f"deliveries/{one.numbers[1]}/attempts").json["items"]
    reader = site.call("GET", f"deliveries/{number}/attempts", key=site.key_for(None, "reader")).json["items"]

    assert (
        tries[0]["answer"]["status"], tries[0]["answer"]["cut"], len(tries[0]["answer"]["body"])
    ) == (500, True, 4096)  # fmt: skip
    assert tries[0]["request"]["headers"] == [["Authorization", "***"]]
    assert tries[0]["answer"]["headers"] == [["set-cookie", "***"]]
    assert "body" not in reader[0]["answer"]
    assert (failed[0]["failure"], failed[0]["answer"]) == ("tls", None)
    assert failed[0]["diagnosis"]
    delivery = site.call("GET", f"deliveries/{number}").json
    assert (delivery["state"], delivery["reason"], delivery["due_at"]) == ("dead", "gave up", None)
    assert delivery["words"]["type"] == "room.opened"
    for absent in ("0", "x", "9" * 30, "-1", "²"):
        assert site.call("GET", f"deliveries/{absent}").status == 404


def test_replays_are_counted_then_done_once(site: Site):
    one = tenant(site, "a")
    endpoint = one.endpoint["id"]
    since = {"endpoint_id": endpoint, "since": "2020-01-01T00:00:00Z"}

    counts = [
        site.call("POST", "replays", body).json["count"]
        for body in ({"all_failed": True}, {"endpoint_id": endpoint, "all_failed": True}, since,
                     {"delivery_numbers": one.numbers[:2]})
    ]  # fmt: skip
    assert counts == [1, 1, 3, 2]
    assert site.call("GET", "dead-letters/count").json["count"] == 1
    assert [one.numbers[0]] == [d["number"] for d in site.call("GET", "dead-letters").json["items"]]
    body = {**since, "dry_run": False}
    replies = [site.call("POST", "replays", body, idempotency_key="r1").json for _ in range(2)]
    site.obey()
    site.obey()
    done = site.call("GET", f"replays/{replies[0]['command_id']}").json

    assert replies[0] == replies[1]
    assert (done["state"], done["result"]) == ("done", {"count": 3})
    assert len(site.call("GET", f"deliveries?endpoint_id={endpoint}").json["items"]) == 6
    assert len(site.call("GET", "deliveries?state=waiting").json["items"]) == 5
    assert len(site.call("GET", f"deliveries?event_id={one.event_id}").json["items"]) == 2
    for wrong in ({}, {"all_failed": True, **since}, {"since": since["since"]}, {**since, "until": since["since"]},
                  {"endpoint_id": endpoint, "until": since["since"]}, {"delivery_numbers": []}):  # fmt: skip
        assert site.call("POST", "replays", wrong).status == 422, wrong
    assert site.call("POST", "replays", {"delivery_numbers": [10**9]}).status == 404


def test_figures_stand_without_the_other_processes(site: Site):
    one = tenant(site, "a")
    today = site.call("GET", f"stats/daily?app_id={one.app['id']}").json
    stats = site.call("GET", "stats").json

    assert (today["meetings"], today["joins"], today["members"]) == (1, 1, 1)
    assert today["participant_seconds"] > 0
    assert [one.room_key] == [room["room_key"] for room in today["rooms"]]
    assert tuple(stats[name] for name in ("events", "rooms_open", "index_lag", "unavailable")) == (
        3,
        1,
        0,
        ["intake", "delivery"],
    )
    (endpoint,) = stats["endpoints"]
    assert (endpoint["backlog"], endpoint["dead_letters"]) == (2, 1)
    for wrong in ("2026-13-01", "2026-02-30", "x", "0000-01-01"):
        assert site.call("GET", f"stats/daily?app_id={one.app['id']}&day={wrong}").status == 422
    assert site.call("GET", "stats/daily").status == 422
    assert figures.ROOMS_COUNTED >= 1000


def meeting_event(kind: str, number: int, **words: Any) -> bytes:

    return json.dumps(
        {"id": f"e-{number}", "source": "acs.aliyuncvc", "type": f"aliyuncvc:MeetingEvent:{kind}", "data": words}
    ).encode()


def test_a_vendors_statistic_that_differs_is_a_dispute_with_both(site: Site):
    """R15: two met for a minute; the vendor counts one meeting too many, then corrects all but the peak."""
    app = site.made("apps", {"name": "a", "time_zone": "Asia/Shanghai"})
    source = site.made("sources", {"app_id": app["id"], "name": "m", "dialect": "aliyun_cvc"})
    begin = 1595334000000  # 2020-07-21 20:20 there
    told = 1595350800000  # 01:00 of the day after
    member = {"meetingUUID": "m-1", "groupId": "g"}
    wrong = {"meetingCount": 2, "meetingTime": 60, "meetingMember": 2, "meetingConcurrency": 2}

    def play(number: int, kind: str, **words: Any) -> None:
        body = meeting_event(kind, number, **words)
        request = Request(method="POST", url=source["intake_url"], body=body)
        receipt = Receipt(source_id=source["id"], received_at=NOW, request=request, proof=Proof.NONE)
        site.runner.run(site.log.append(receipt, all_dialects()["aliyun_cvc"].decode(request, {})))

    def shown(day: str) -> list[Any]:
        site.settle()
        return site.call("GET", f"stats/daily?app_id={app['id']}&day={day}").json["statistics"]

    play(1, "MeetingStateEvent", meetingUUID="m-1", action="meeting_start", time=begin)
    play(2, "MemberStateEvent", **member, userId="u1", action="member_join", time=begin + 1000)
    play(3, "MemberStateEvent", **member, userId="u2", action="member_join", time=begin + 2000)
    play(4, "MeetingStateEvent", meetingUUID="m-1", action="meeting_end", time=begin + 60_000)
    assert shown("2020-07-21") == []
    play(5, "MeetingStatistic", time=told, **wrong)
    (first,) = shown("2020-07-21")
    play(6, "MeetingStatistic", time=told + 1, **wrong | {"meetingCount": 1, "meetingConcurrency": 3})
    (second,) = shown("2020-07-21")

    assert (first["source_id"], first["told_at"]) == (source["id"], "2020-07-21T17:00:00Z")
    assert first["ours"] == {"meetings": 1, "seconds": 60, "members": 2, "peak": 2}
    assert first["theirs"] == {"meetings": 2, "seconds": 60, "members": 2, "peak": 2}
    assert first["disputes"] == [{"figure": "meetings", "ours": 1, "theirs": 2}]
    assert second["disputes"] == [{"figure": "peak", "ours": 2, "theirs": 3}]
    assert site.call("GET", f"events/{second['event_id']}").status == 200
    assert shown("2020-07-22") == shown("2020-07-20") == []
    assert site.call("GET", f"stats/daily?app_id={app['id']}&day=9999-12-31").status == 422


def test_stats_take_the_counts_of_the_others(site: Site, monkeypatch: pytest.MonkeyPatch):
    one = tenant(site, "a")
    told = {
        "intake": [[one.source["id"], "stored", 5], ["src_gone", "stored", 1]],
        "delivery": [[one.endpoint["id"], "standard", "accepted", 4], [one.endpoint["id"], "standard", "dead", 1]],
    }

    async def ask(process: str, what: str) -> Any:
        return told[process]

    object.__setattr__(site.web.hub, "ask", ask)
    stats = site.call("GET", "stats").json

    assert [{"source_id": one.source["id"], "results": {"stored": 5}}] == stats["sources"]
    assert (stats["endpoints"][0]["delivered"], stats["endpoints"][0]["dead"]) == (4, 1)


def test_quarantine_shows_what_was_refused(site: Site):
    one = tenant(site, "a")
    request = Request(
        method="POST", url=one.source["intake_url"], headers=(("cookie", CANARY),), body=b"\xff\x00" * 9000
    )
    receipt = Receipt(source_id=one.source["id"], received_at=NOW, request=request, proof=Proof.NONE)
    site.runner.run(site.log.quarantine(receipt, "signature", "it does not match"))

    reply = site.call("GET", f"quarantine?source_id={one.source['id']}")
    (item,) = reply.json["items"]

    assert (item["code"], item["message"]) == ("signature", "it does not match")
    assert item["request"]["body_base64"]
    assert CANARY.encode() not in reply.body


def test_dialects_and_open_pages(quiet_site: Site):
    names = [one["name"] for one in quiet_site.call("GET", "dialects").json["items"]]
    page = quiet_site.call("GET", "/", key="")
    ready = quiet_site.call("GET", "/readyz", key="")
    metrics = quiet_site.call("GET", "/metrics", key="")

    assert sorted(all_dialects()) == names
    assert "事件中枢".encode() in page.body
    assert b"event hub" in page.body
    assert (ready.status, ready.json["ok"]) == (503, False)
    assert b'northbound_process_up{process="intake"} 0' in metrics.body
    assert b"northbound_web_requests" in metrics.body
    assert quiet_site.call("GET", "/certs/callback.pem", key="").body.startswith(b"-----BEGIN CERTIFICATE")
    assert quiet_site.call("GET", "/api/v1/openapi.json", key="").json == json.loads(openapi.text())
    assert quiet_site.call("HEAD", "/healthz", key="").status == 200


# --- bounded and hostile ---------------------------------------------------------------------------------------------


def test_bodies_are_bounded_and_strict(quiet_site: Site):
    for content, status in [
        (b"x" * (api.BODY_BYTES + 1), 413),
        (b"[" * 100_000, 400),
        (b'{"name":"a","name":"b"}', 400),
        (b'{"name":"\\ud800"}', 400),
        (b'{"name":"a"} x', 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (b"null", 422),
    ]:
        assert status == quiet_site.call("POST", "apps", raw=content).status, content[:30]
    assert quiet_site.call("POST", "apps", {"name": "a"}, content_encoding="gzip").status == 400
    assert quiet_site.call("GET", "apps?limit=1&limit=2").status == 422
    assert quiet_site.call("GET", "events?q=%00").status == 422


def test_a_slow_read_ends(site: Site, monkeypatch: pytest.MonkeyPatch):
    """No page holds a database's write-ahead log open for longer than the limit."""
    monkeypatch.setattr("northbound.backends.sqlite.views.READ_SECONDS", 0.05)
    reads = TimedReads(site.folder.deliveries)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    with pytest.raises(Overloaded, match="ask for less"):
        reads.select(endless, ())

    assert reads.select("SELECT 1", ()) == [(1,)]
    reads.close()


def test_a_database_that_cannot_be_read_is_a_503(tmp_path: Path):
    (tmp_path / "x.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreFailed):
        SqliteDeliveryReader(tmp_path / "x.db").room("a")
    with pytest.raises(StoreFailed):
        SqliteDeliveryReader(tmp_path / "none.db").room("a")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
likely = json_values | st.sampled_from(
    [
        *("avd", "standard", "enabled", "{}", "https://a.test/x", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"),
        *("admin", 1, 0.5, 1e308, -1, {"batch": 2**70}, {"type": [{"prefix": "a"}]}, [{"secret": "x", "kind": "rsa"}]),
        *({"deadline_seconds": 1e-9}, {"waits_seconds": [0.0, 604800]}, "0001-01-01T00:00:00+12:00", "a\u0000b"),
    ]
)
writes = [one for one in OPERATIONS if one.method in {"POST", "PATCH"}]
members = {one.id: list(getattr(one.body, "__struct_fields__", ())) for one in writes}


def valid(operation: Operation, of: SimpleNamespace) -> dict[str, Any]:
    """A body that the operation takes."""
    app_id, endpoint_id = of.app["id"], of.endpoint["id"]
    return {
        "create_app": {"name": "a"},
        "create_source": {"app_id": app_id, "name": "s", "dialect": "avd"},
        "create_endpoint": {"app_id": app_id, "url": "https://a.test/x", "dialect": "avd"},
        "create_subscription": {"app_id": app_id, "pattern": {}, "endpoint_ids": [endpoint_id]},
        "create_key": {"name": "k"},
        "create_replay": {"endpoint_id": endpoint_id, "since": "2026-01-01T00:00:00Z"},
        "match": {"pattern": {}, "event_id": of.event_id},
    }.get(operation.id, {})


@pytest.fixture(scope="module")
def somebody(quiet_site: Site) -> SimpleNamespace:
    return tenant(quiet_site, "somebody")


@settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_body_makes_the_api_fail(quiet_site: Site, somebody: SimpleNamespace, data: st.DataObject):
    """Bad input is refused or accepted, never an error of ours: any JSON, and bodies that are nearly right."""
    operation = data.draw(st.sampled_from(writes))
    changed = st.dictionaries(st.sampled_from(members[operation.id] or ["x"]), likely, min_size=1, max_size=3)
    body = data.draw(changed.map(lambda one: {**valid(operation, somebody), **one}) | json_values)
    known = {"apps": somebody.app, "sources": somebody.source, "endpoints": somebody.endpoint}
    name = known.get(operation.tag, somebody.subscription)["id"]
    path = re.sub(r"\{\w+\}", data.draw(st.just(name) | st.from_regex(r"[a-z%]{0,9}", fullmatch=True)), operation.path)

    reply = quiet_site.call(operation.method, path, body, if_match="*")

    assert reply.status < 500, (operation.id, body, reply.body)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([one for one in OPERATIONS if one.method == "GET" and one.id not in {"stream_events", "readyz"}]),
    st.text(max_size=12),
    st.dictionaries(
        st.sampled_from(
            ["limit", "cursor", "source_id", "app_id", "endpoint_id", "since", "day", "q", "state", "open"]
        ),
        st.text(max_size=12) | st.integers().map(str),
        max_size=3,
    ),
)
def test_no_query_makes_the_api_fail(quiet_site: Site, operation: Operation, name: str, query: dict[str, str]):
    path = re.sub(r"\{\w+\}", lambda _: name.replace("?", ""), operation.path)

    reply = quiet_site.call("GET", f"{path}?{urlencode(query)}")

    assert reply.status < 500, (operation.id, reply.body)


# --- the process -----------------------------------------------------------------------------------------------------


def test_the_process_serves_and_streams(tmp_path: Path):
    """Real sockets: an app is made, an event is logged by another process, a stream tells of it, history finds it."""
    with Process(tmp_path / "data") as process:
        headers = {"Authorization": f"Bearer {process.key}", "Host": "hub.test"}
        http_ = process.connect()

        def ask(method: str, target: str, body: Any = None) -> Any:
            http_.request(method, BASE + target, body and json.dumps(body), headers)
            return json.loads(http_.getresponse().read())

        app = ask("POST", "/apps", {"name": "a"})
        source = ask("POST", "/sources", {"app_id": app["id"], "name": "s", "dialect": "avd"})
        stream = process.connect()
        stream.request("GET", f"{BASE}/events/stream?types=participant.joined&after=-1", headers=headers)
        answer = stream.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
        assert answer.readline() == b": northbound\n"
        ids = append(process.folder, source)
        lines = [answer.readline() for _ in range(5)]
        stream.close()
        found: Any = []
        for _ in range(100):
            found = ask("GET", "/events?type=participant.joined")["items"]
            if found:
                break
            threading.Event().wait(0.05)
        http_.close()

    assert lines[:3] == [b"\n", b"id: 1\n", b"event: participant.joined\n"]
    assert ids[1] == json.loads(lines[3].removeprefix(b"data: "))["id"]
    assert [ids[1]] == [one["id"] for one in found]


def append(folder: Folder, source: dict[str, Any]) -> list[str]:
    async def write() -> list[str]:
        log = SqliteLog(folder.events)
        ids: list[str] = []
        for number, event in enumerate(("open", "join")):
            words = {"event": event, "room_id": "9", "user_id": "1", "event_type": "normal", "trace_id": str(number)}
            request = Request(method="GET", url=f"{source['intake_url']}?{urlencode(words)}")
            receipt = Receipt(
                source_id=source["id"], received_at=NOW + timedelta(seconds=number), request=request, proof=Proof.NONE
            )
            ids += (await log.append(receipt, all_dialects()["avd"].decode(request, {}))).ids
        log.close()
        return ids

    return asyncio.run(write())
