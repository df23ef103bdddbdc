"""An event's trace when its rules are others by now than those that it was routed by."""

from types import SimpleNamespace
from typing import Any

import pytest
from api_site import Site, tenant


@pytest.fixture
def sent(site: Site) -> SimpleNamespace:
    """A room's opening that one rule sent."""
    return tenant(site, "a")


def trace(site: Site, one: SimpleNamespace) -> Any:
    reply = site.call("GET", f"events/{one.event_id}/trace")
    assert reply.status == 200, reply.body
    return reply.json


def rule(site: Site, one: SimpleNamespace) -> Any:
    (found,) = trace(site, one)["rules"]
    return found


def test_a_rule_that_nobody_touched_is_as_it_was(site: Site, sent: SimpleNamespace):
    found = rule(site, sent)

    assert (found["outcome"], found["changed_since"]) == ("sent", False)


@pytest.mark.parametrize(
    "change", [{"pattern": {"type": ["room.closed"]}}, {"source_ids": []}, {"state": "disabled"}, {"endpoint_ids": []}]
)
def test_a_rule_that_was_changed_after_it_sent_says_so(site: Site, sent: SimpleNamespace, change: dict[str, Any]):
    """Its findings are those of today: they may say that what was sent does not match."""
    etag = site.call("GET", f"subscriptions/{sent.subscription['id']}").headers["etag"]
    assert site.call("PATCH", f"subscriptions/{sent.subscription['id']}", change, if_match=etag).status == 200

    found = rule(site, sent)

    assert (found["outcome"], found["changed_since"]) == ("sent", True)
    if "pattern" in change:
        assert [one["matched"] for one in found["findings"]] == [False]


def test_a_rule_for_another_source_by_now_still_sent_what_it_sent(site: Site, sent: SimpleNamespace):
    other = site.made("sources", {"app_id": sent.app["id"], "name": "other", "dialect": "avd"})
    path = f"subscriptions/{sent.subscription['id']}"
    change = {"source_ids": [other["id"]]}
    assert site.call("PATCH", path, change, if_match=site.call("GET", path).headers["etag"]).status == 200

    found = rule(site, sent)

    assert (found["outcome"], found["changed_since"]) == ("sent", True)


def test_a_rule_that_was_made_later_was_not_there_then(site: Site, sent: SimpleNamespace):
    made = site.made("subscriptions", {"app_id": sent.app["id"], "pattern": {}, "endpoint_ids": [sent.endpoint["id"]]})

    found = {one["subscription_id"]: one for one in trace(site, sent)["rules"]}

    assert (found[made["id"]]["outcome"], found[made["id"]]["changed_since"]) == ("later", True)


def test_a_rule_that_sent_and_was_deleted_is_told_as_gone(site: Site, sent: SimpleNamespace):
    identity = sent.subscription["id"]
    assert site.call("DELETE", f"subscriptions/{identity}").status == 204

    found = trace(site, sent)

    assert [(one["subscription_id"], one["outcome"], one["changed_since"]) for one in found["rules"]] == [
        (identity, "gone", True)
    ]
    assert [one["subscription_id"] for one in found["deliveries"]] == [identity]
