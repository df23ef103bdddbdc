"""Endpoints that stop, authorities of their own, and what is done to single deliveries, through the API."""

from datetime import timedelta
from typing import Any

import pytest
from api_site import NOW, Site, tenant

from certificates import Authority
from northbound.model.delivery import DeliveryState, Stop

LATER = NOW + timedelta(seconds=300)


@pytest.fixture
def app_id(site: Site) -> str:
    return site.made("apps", {"name": "a"})["id"]


def wanted(app_id: str, **fields: Any) -> dict[str, Any]:
    return {"app_id": app_id, "url": "https://there.test/x", "dialect": "standard", **fields}


@pytest.mark.parametrize(
    ("stop", "state"),
    [
        (Stop(reason="410", at=NOW), "gone"),
        (Stop(reason="every attempt failed", at=NOW, is_gone=False, probe_at=LATER), "failing"),
    ],
)
def test_a_stopped_endpoint_says_why_since_when_and_when_it_is_tried(site: Site, app_id: str, stop: Stop, state: str):
    """D15: the state in force; somebody who disables it is believed before."""
    made = site.made("endpoints", wanted(app_id))
    site.store.stop_endpoint(made["id"], stop)

    shown = site.call("GET", f"endpoints/{made['id']}").json
    listed = site.call("GET", "endpoints").json["items"][0]
    disabled = site.call("POST", f"endpoints/{made['id']}/disable").json

    assert (shown["state"], shown["stopped"]["reason"]) == (state, stop.reason)
    assert shown["stopped"]["at"].startswith("2026-03-01T04:00:00")
    assert (shown["stopped"]["probe_at"] is None) == (stop.probe_at is None)
    assert (listed["state"], disabled["state"]) == (state, "disabled")


def test_how_long_it_may_fail_is_the_settings_unless_it_is_given(site: Site, app_id: str):
    made = site.made("endpoints", wanted(app_id))
    own = site.made("endpoints", wanted(app_id, fails_hours=0))
    target = f"endpoints/{own['id']}"

    changed = site.call("PATCH", target, {"fails_hours": 1.5}, if_match="*").json
    kept = site.call("PATCH", target, {"name": "x"}, if_match="*").json
    cleared = site.call("PATCH", target, {"fails_hours": None}, if_match="*").json

    assert (made["fails_hours"], own["fails_hours"]) == (None, 0)
    assert (changed["fails_hours"], kept["fails_hours"], cleared["fails_hours"]) == (1.5, 1.5, None)
    assert site.call("POST", "endpoints", wanted(app_id, fails_hours=-1)).status == 422


def test_a_private_authority_is_shown_so_that_it_can_be_known_again(site: Site, app_id: str):
    """D7: subject, fingerprint and last day; taken away by an empty one."""
    authority = Authority("school authority")
    made = site.made("endpoints", wanted(app_id, ca_pem=authority.pem.decode()))
    (shown,) = made["ca"]

    cleared = site.call("PATCH", f"endpoints/{made['id']}", {"ca_pem": ""}, if_match="*").json

    assert shown["subject"] == "CN=school authority"
    assert len(shown["sha256"]) == 64 and shown["expires_at"].endswith("Z")
    assert "BEGIN CERTIFICATE" not in str(made)
    assert cleared["ca"] == []


def test_what_is_no_certificate_is_refused(site: Site, app_id: str):
    """A key beside it above all: it would be kept and shown to nobody who could miss it."""
    pem = Authority().pem.decode()
    for given, says in [
        ("hello", "PEM"),
        (pem.replace("M", "!", 3), "PEM"),
        (pem + "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", "private key"),
        (pem * 11, "at most 10"),
    ]:
        reply = site.call("POST", "endpoints", wanted(app_id, ca_pem=given))
        assert (reply.status, reply.json["field"]) == (422, "ca_pem"), given
        assert says in reply.json["detail"]
        assert "AAAA" not in reply.json["detail"]


def test_a_dead_letter_is_sent_again_once_and_knows_by_what(site: Site):
    """All dead letters leave out what was sent again already, unless it is asked for."""
    one = tenant(site, "ours")
    wish = {"endpoint_id": one.endpoint["id"], "all_failed": True}
    first = site.call("POST", "replays", wish | {"dry_run": False}).json
    site.obey()
    (dead,) = site.call("GET", "dead-letters").json["items"]

    again = site.call("POST", "replays", wish).json["count"]
    asked = site.call("POST", "replays", wish | {"again": True}).json["count"]

    assert (first["count"], again, asked) == (1, 0, 1)
    replacement = site.call("GET", f"deliveries/{dead['replaced_by']}").json
    assert (replacement["event_id"], replacement["lane"], replacement["replaced_by"]) == (
        dead["event_id"],
        "replay",
        None,
    )
    assert site.call("POST", "replays", {"delivery_numbers": one.numbers, "again": True}).json["field"] == "again"


def test_only_what_waits_is_skipped_or_sent_now(site: Site):
    one = tenant(site, "ours")
    dead, waiting = one.numbers[0], one.numbers[1]

    for what in ("skip", "resend"):
        refused = site.call("POST", f"deliveries/{dead}/{what}")
        taken = site.call("POST", f"deliveries/{waiting}/{what}")
        assert (refused.status, refused.json["code"]) == (409, "conflict")
        assert taken.status == 202
        assert site.call("GET", f"replays/{taken.json['command_id']}").json["state"] == "waiting"
    audit = site.call("GET", "audit").json["items"]
    assert {"command.skip", "command.resend"} <= {entry["what"] for entry in audit}


def test_a_possible_duplicate_is_one_that_may_have_arrived(site: Site):
    """The dead letter was answered by a 500; nothing else was tried."""
    one = tenant(site, "ours")

    shown = {number: site.call("GET", f"deliveries/{number}").json for number in one.numbers}

    assert shown[one.numbers[0]]["state"] == DeliveryState.DEAD
    assert [found["possible_duplicate"] for found in shown.values()] == [True] + [False] * (len(shown) - 1)
