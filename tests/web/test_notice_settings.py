"""Notice settings by the API: the health test decides what is enabled, operators open the second path, queries."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from api_site import Site, tenant

from e2e.receiver import Receiver, Reply
from northbound.model.app import Endpoint, Subscription
from northbound.model.notices import NoticeSettings


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def site(tmp_path: Path, receiver: Receiver) -> Iterator[Site]:
    receiver.arrivals.clear()
    one = Site(tmp_path / "data", allow_targets=[receiver.address, "127.0.0.1:9"])
    yield one
    one.close()


@pytest.fixture
def app_id(site: Site) -> str:
    return site.made("apps", {"name": "school"})["id"]


def new(site: Site, app_id: str, url: str, **more: Any) -> dict[str, Any]:
    given = {"app_id": app_id, "name": "recordings", "product": 3, "event_types": [40, 31], "url": url}
    return site.made("notice-settings", {**given, **more})


def made(site: Site) -> tuple[list[Endpoint], list[Subscription]]:
    control = site.web.control
    return [one for _, one in control.find(Endpoint)], [one for _, one in control.find(Subscription)]


def test_settings_are_kept_and_send_nothing_before_they_are_enabled(site: Site, receiver: Receiver, app_id: str):
    one = new(site, app_id, receiver.url("anyrtc"))
    shown = site.call("GET", f"notice-settings/{one['id']}").json

    assert (one["state"], one["event_types"], one["effective_delay_seconds"]) == ("disabled", [31, 40], 0)
    assert one["secret"] and "secret" not in shown
    assert (shown["paths"], shown["subscription_id"]) == ([], None)
    assert site.call("POST", f"notice-settings/{one['id']}/reveal").json["secret"] == one["secret"]
    assert site.call("GET", "audit").json["items"][0]["what"] == "notice_settings.revealed"
    assert receiver.arrivals == []
    assert made(site) == ([], [])


def test_enabling_sends_the_test_notice_and_makes_what_delivers(site: Site, receiver: Receiver, app_id: str):
    """One POST as documented, signed; then an endpoint and a subscription like any other."""
    one = new(site, app_id, receiver.url("anyrtc"))
    reply = site.call("POST", f"notice-settings/{one['id']}/enable")

    (arrival,) = receiver.at("anyrtc")
    words = json.loads(arrival.request.body)
    assert (words["eventType"], words["payload"]) == (10, {})
    assert arrival.request.header("Ar-Signature")
    assert (reply.status, reply.json["state"]) == (200, "enabled")
    (endpoint,), (subscription,) = made(site)
    assert (endpoint.url, endpoint.dialect, endpoint.path) == (receiver.url("anyrtc"), "anyrtc", 0)
    assert endpoint.keys[0].secret.decode() == one["secret"]
    assert (subscription.made_by, subscription.id) == ("anyrtc", reply.json["subscription_id"])
    assert json.loads(subscription.pattern) == {"productId": [3], "eventType": [31, 40]}
    assert [(path["path"], path["endpoint_id"]) for path in reply.json["paths"]] == [(0, endpoint.id)]
    assert site.call("GET", f"subscriptions/{subscription.id}").json["made_by"] == "anyrtc"


@pytest.mark.parametrize(
    ("answer", "strict", "why"),
    [
        (Reply(status=404, body=b"no"), False, "answered 404"),
        (Reply(status=204), False, "answered 204"),
        (Reply(status=201, body=b"{}"), False, "answered 201"),
        (Reply(status=302, headers=(("location", "/x"),)), False, "redirects"),
        (Reply(status=200, body=b"fine"), True, "not JSON"),
        (Reply(hang_up=True), False, "closed the connection"),
    ],
)
def test_what_does_not_answer_200_is_not_enabled(
    site: Site, receiver: Receiver, app_id: str, answer: Reply, *, strict: bool, why: str
):
    """The page: the service opens only when the callback URL is implemented and answers 200; else it says why."""
    one = new(site, app_id, receiver.url("anyrtc"), strict_reply=strict)
    receiver.behave("anyrtc", lambda _: answer)

    reply = site.call("POST", f"notice-settings/{one['id']}/enable")
    receiver.behave("anyrtc", None)

    assert (reply.status, reply.json["code"], reply.json["field"]) == (422, "health_test_failed", "url")
    assert why in reply.json["detail"]
    assert made(site) == ([], [])
    assert site.call("GET", f"notice-settings/{one['id']}").json["state"] == "disabled"
    assert site.call("POST", f"notice-settings/{one['id']}/enable").status == 200


@pytest.mark.parametrize(("product", "event_type"), [(1, 101), (3, 31)])
def test_the_test_notice_is_of_the_product_that_the_settings_are_for(
    site: Site, receiver: Receiver, app_id: str, product: int, event_type: int
):
    one = new(site, app_id, receiver.url("anyrtc"), product=product, event_types=[event_type])
    assert site.call("POST", f"notice-settings/{one['id']}/enable").status == 200

    (arrival,) = receiver.at("anyrtc")

    words = json.loads(arrival.request.body)
    assert (words["productId"], words["eventType"], words["payload"]) == (product, 10, {})


def test_a_200_without_json_counts_unless_strict(site: Site, receiver: Receiver, app_id: str):
    receiver.behave("anyrtc", lambda _: Reply(body=b"fine"))
    one = new(site, app_id, receiver.url("anyrtc"))

    reply = site.call("POST", f"notice-settings/{one['id']}/enable")
    stricter = site.call("PATCH", f"notice-settings/{one['id']}", {"strict_reply": True}, if_match="*")
    receiver.behave("anyrtc", None)

    assert (reply.status, stricter.status) == (200, 422)
    assert made(site)[0][0].options == {}


def test_a_changed_url_is_tested_before_anything_changes(site: Site, receiver: Receiver, app_id: str):
    one = new(site, app_id, receiver.url("anyrtc"))
    path = f"notice-settings/{one['id']}"
    site.call("POST", f"{path}/enable")
    before = made(site)

    dead = site.call("PATCH", path, {"url": "http://127.0.0.1:9/x", "event_types": [41]}, if_match="*")
    assert (dead.status, dead.json["code"]) == (422, "health_test_failed")
    assert "refused" in dead.json["detail"]
    assert made(site) == before
    moved = site.call("PATCH", path, {"url": receiver.url("anyrtc-b"), "event_types": [41]}, if_match="*")
    assert moved.status == 200
    (endpoint,), (subscription,) = made(site)
    assert (endpoint.id, endpoint.url) == (before[0][0].id, receiver.url("anyrtc-b"))
    assert (subscription.id, json.loads(subscription.pattern)["eventType"]) == (before[1][0].id, [41])
    assert len(receiver.at("anyrtc-b")) == 1
    site.call("PATCH", path, {"event_types": [42]}, if_match="*")
    assert len(receiver.at("anyrtc-b")) == 1  # what goes where it went is not tested again


def test_two_editors_never_overwrite_each_other(site: Site, receiver: Receiver, app_id: str):
    one = new(site, app_id, receiver.url("anyrtc"))
    path = f"notice-settings/{one['id']}"

    assert site.call("PATCH", path, {"name": "a"}).status == 428
    assert site.call("PATCH", path, {"name": "a"}, if_match='"1"').status == 200
    assert site.call("PATCH", path, {"event_types": [41]}, if_match='"1"').status == 412
    assert site.call("GET", path).json["event_types"] == [31, 40]


def test_an_effective_delay_lets_the_old_settings_stand_until_then(site: Site, receiver: Receiver, app_id: str):
    """Ruling 29: a change takes effect later, without a gap and without an overlap."""
    one = new(site, app_id, receiver.url("anyrtc"), effective_delay_seconds=300)
    path = f"notice-settings/{one['id']}"
    enabled = site.call("POST", f"{path}/enable").json
    (first,) = made(site)[1]
    changed = site.call("PATCH", path, {"event_types": [41]}, if_match="*").json

    assert enabled["effective_at"] > enabled["tested_at"]
    subscriptions = {subscription.id: subscription for subscription in made(site)[1]}
    old, young = subscriptions.pop(first.id), subscriptions.pop(changed["subscription_id"])
    assert subscriptions == {}
    assert old.pattern == first.pattern and old.ends_at == young.begins_at
    assert old.changed_at >= young.created_at and young.changed_at is None
    assert json.loads(young.pattern)["eventType"] == [41]
    disabled = site.call("POST", f"{path}/disable").json
    assert (disabled["state"], disabled["subscription_id"]) == ("disabled", None)
    assert site.call("GET", f"subscriptions/{young.id}").json["ends_at"]
    assert site.call("DELETE", path).status == 204
    assert made(site) == ([], [])


def test_the_second_path_is_opened_by_the_operator(site: Site, receiver: Receiver, app_id: str):
    """The page: redundant notices are opened on request."""
    customer = site.key_for(app_id)
    one = new(site, app_id, receiver.url("anyrtc"))
    path = f"notice-settings/{one['id']}"
    site.call("POST", f"{path}/enable", key=customer)

    asked = site.call("PATCH", path, {"redundant": True}, key=customer, if_match="*")
    given = {"app_id": app_id, "name": "n", "product": 3, "event_types": [31], "url": receiver.url("anyrtc")}
    direct = site.call("POST", "notice-settings", {**given, "redundant": True}, key=customer)
    assert [(asked.status, asked.json["code"]), direct.status] == [(403, "forbidden"), 403]
    opened = site.call("PATCH", path, {"redundant": True, "second_url": receiver.url("anyrtc-2")}, if_match="*").json
    assert [(one["path"], one["url"]) for one in opened["paths"]] == [
        (1, receiver.url("anyrtc")), (2, receiver.url("anyrtc-2")),
    ]  # fmt: skip
    assert len(receiver.at("anyrtc-2")) == 1
    assert len(made(site)[1][0].targets) == 2
    assert site.call("PATCH", path, {"event_types": [31]}, key=customer, if_match="*").status == 200
    closed = site.call("PATCH", path, {"redundant": False}, if_match="*").json
    assert [one["path"] for one in closed["paths"]] == [0]
    assert [len(kind) for kind in made(site)] == [1, 1]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"product": 2}, "product"),
        ({"event_types": [101]}, "event_types"),
        ({"event_types": []}, "event_types"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"second_url": "gopher://x.test/"}, "second_url"),
        ({"effective_delay_seconds": -1}, "effective_delay_seconds"),
    ],
)
def test_bad_values_are_refused_by_name(
    site: Site, receiver: Receiver, app_id: str, change: dict[str, Any], field: str
):
    one = new(site, app_id, receiver.url("anyrtc"))
    changed = site.call("PATCH", f"notice-settings/{one['id']}", change, if_match="*")
    given = {"app_id": app_id, "name": "n", "product": 3, "event_types": [31], "url": receiver.url("anyrtc")}
    created = site.call("POST", "notice-settings", {**given, **change})

    assert [(one.status, one.json["field"]) for one in (changed, created)] == [(422, field)] * 2
    assert len(site.web.control.find(NoticeSettings)) == 1


def test_removing_settings_removes_what_they_made(site: Site, receiver: Receiver, app_id: str):
    one = new(site, app_id, receiver.url("anyrtc"), redundant=True)
    site.call("POST", f"notice-settings/{one['id']}/enable")
    assert [len(kind) for kind in made(site)] == [2, 1]
    assert site.call("DELETE", f"apps/{app_id}").status == 409
    assert site.call("DELETE", f"endpoints/{made(site)[0][0].id}").status == 204  # by hand

    assert site.call("DELETE", f"notice-settings/{one['id']}").status == 204
    assert made(site) == ([], [])
    assert site.call("DELETE", f"apps/{app_id}").status == 204


# --- the recording query ---------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(site: Site) -> SimpleNamespace:
    return tenant(site, "school")


def test_a_recording_is_asked_for_by_sid_or_channel(site: Site, recorded: SimpleNamespace):
    """The page: after a fatal error ask how the recording stands; here the projection answers."""
    by_sid = site.call("GET", "recordings/query?sid=r1").json
    by_channel = site.call("GET", f"recordings/query?cname={recorded.room}").json

    assert by_sid == by_channel
    assert (by_sid["sid"], by_sid["cname"], by_sid["room_key"]) == ("r1", recorded.room, recorded.room_key)
    assert (by_sid["status"], by_sid["status_name"], by_sid["sequence"]) == (4, "recorder_started", 0)
    site.received(recorded.source, event="stop_record", room_id=recorded.room, exporter_id="r1", trace_id="t-9",
                  exporter_type="hls", event_type="success")  # fmt: skip
    site.settle()
    later = site.call("GET", "recordings/query?sid=r1").json
    assert (later["status"], later["sequence"]) == (6, 1)


def test_what_is_not_recorded_has_status_0_and_what_is_unknown_is_not_found(site: Site, recorded: SimpleNamespace):
    site.received(recorded.source, event="open", room_id="quiet", trace_id="q-1")
    site.settle()

    quiet = site.call("GET", "recordings/query?cname=quiet").json
    assert (quiet["status"], quiet["status_name"], quiet["sid"], quiet["sequence"]) == (0, "not_started", None, None)
    for query in ("sid=nobody", "cname=nowhere", f"sid={recorded.room}"):
        assert site.call("GET", f"recordings/query?{query}").status == 404
    for query in ("", "?sid=a&cname=b"):
        assert site.call("GET", f"recordings/query{query}").json["field"] == "sid"
    stranger = site.key_for(site.made("apps", {"name": "other"})["id"])
    assert site.call("GET", "recordings/query?sid=r1", key=stranger).status == 404
    assert site.call("GET", f"recordings/query?sid=r1&app_id={recorded.app['id']}").status == 200
