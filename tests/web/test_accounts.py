"""Accounts by API: the switch "meeting message push" with its grant, who may turn it, and what the audit tells."""

from pathlib import Path
from typing import Any

import pytest
from api_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Any:
    site = Site(tmp_path)
    yield site
    site.close()


def account_of(site: Site, name: str = "c") -> tuple[dict[str, Any], str]:
    """Return a new account and a key of its own."""
    account = site.made("accounts", {"name": name})
    return account, site.key_for(account["app_id"])


def audit(site: Site) -> list[tuple[str, Any, Any]]:
    return [(one["what"], one["before"], one["after"]) for one in site.call("GET", "audit").json["items"]]


def test_the_page_in_order_refused_granted_repeated(site: Site):
    """Ruling 16: a named error without the right, the grant step, and the same call again."""
    account, key = account_of(site)
    target = f"accounts/{account['id']}"

    refused = site.call("POST", f"{target}/meeting-push/enable", key=key)
    assert (refused.status, refused.json["code"]) == (403, "grant_missing")
    assert f"/api/v1/{target}/grants" in refused.json["detail"]
    assert site.call("GET", target, key=key).json["grants"] == []
    assert site.call("POST", f"{target}/grants", key=key).status == 403, "nobody grants himself a right"

    granted = site.call("POST", f"{target}/grants", {"grant": "link_services"})
    assert (granted.status, granted.json["grants"]) == (200, ["link_services"])
    on = site.call("POST", f"{target}/meeting-push/enable", key=key)
    assert on.status == 200
    assert (on.json["meeting_push"], on.json["grants"]) == (True, ["link_services", "meeting_push"])
    assert on.json["meeting_push_since"]
    assert site.call("GET", target, key=key).json == on.json


def test_switch_and_grant_are_one_change_in_the_audit(site: Site):
    account, _ = account_of(site)
    before = site.web.control.version()
    site.call("POST", f"accounts/{account['id']}/meeting-push/enable")

    what, old, new = audit(site)[0]
    assert site.web.control.version() == before + 1
    assert what == "account.changed"
    assert (old.get("grants"), old.get("meeting_push")) == (None, None)
    assert (new["grants"], new["meeting_push"]) == (["meeting_push"], True)
    again = site.call("POST", f"accounts/{account['id']}/meeting-push/enable")
    assert (again.status, again.json["revision"]) == (200, 2)
    assert site.web.control.version() == before + 1, "what is on is not turned on again"


def test_off_keeps_the_grant_and_a_used_grant_stays(site: Site):
    account, key = account_of(site)
    target = f"accounts/{account['id']}"
    site.call("POST", f"{target}/meeting-push/enable")

    assert site.call("DELETE", f"{target}/grants/meeting_push").status == 409
    off = site.call("POST", f"{target}/meeting-push/disable", key=key)
    assert (off.json["meeting_push"], off.json["grants"]) == (False, ["meeting_push"])
    assert site.call("POST", f"{target}/meeting-push/enable", key=key).status == 200, "the grant is still there"
    site.call("POST", f"{target}/meeting-push/disable")
    assert site.call("DELETE", f"{target}/grants/meeting_push", key=key).status == 403
    assert site.call("DELETE", f"{target}/grants/meeting_push").status == 204
    assert site.call("DELETE", f"{target}/grants/meeting_push").status == 404
    assert site.call("POST", f"{target}/meeting-push/enable", key=key).status == 403


def test_readers_and_strangers_turn_nothing(site: Site):
    account, _ = account_of(site)
    other = account_of(site, "other")[1]
    reader = site.key_for(account["app_id"], "reader")
    paths = [f"accounts/{account['id']}/{rest}" for rest in ("meeting-push/enable", "meeting-push/disable", "grants")]

    assert [site.call("POST", path, key=reader).status for path in paths] == [403] * 3
    assert [site.call("POST", path, key=other).status for path in paths] == [404] * 3
    assert site.call("DELETE", f"accounts/{account['id']}/grants/meeting_push", key=other).status == 404
    assert site.call("POST", f"accounts/{account['id']}/grants", {"grant": "everything"}).status == 422


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"subject": 7}, "options.subject"),
        ({"meeting_time_unit": "hours"}, "options.meeting_time_unit"),
        ({"accept_signature": "v2"}, "options.accept_signature"),
        ({"envelope": "current"}, "options.envelope"),
    ],
)
def test_options_of_an_account_are_those_of_what_is_sent(site: Site, options: dict[str, Any], field: str):
    account, _ = account_of(site)
    target = f"accounts/{account['id']}"

    refused = site.call("PATCH", target, {"options": options}, if_match="*")
    assert (refused.status, refused.json["field"]) == (422, field)
    good = {"subject": "acs:aliyuncvc:{region}:{account}:{room}", "meeting_time_unit": "minutes"}
    kept = site.call("PATCH", target, {"options": good, "members": "joins", "time_zone": "UTC"}, if_match="*").json
    assert (kept["options"], kept["members"], kept["time_zone"]) == (good, "joins", "UTC")


def test_an_endpoints_zone_is_a_real_one(site: Site):
    app = site.made("apps", {"name": "a"})
    body = {"app_id": app["id"], "url": "https://there.test/x", "dialect": "aliyun_cvc"}

    refused = site.call("POST", "endpoints", body | {"options": {"zone": "Mars/Olympus"}})
    assert (refused.status, refused.json["field"]) == (422, "options.zone")
    assert site.made("endpoints", body | {"options": {"zone": "Europe/Berlin"}})["options"] == {"zone": "Europe/Berlin"}
