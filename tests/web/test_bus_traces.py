"""What EventBridge's actions tell of the events on a bus, however much else the hub holds."""

import json
import time
from collections import Counter
from typing import Any

import pytest
from api_site import NOW, Site
from vendor_calls import BRIDGE, Customer, customer

from northbound.model.app import App
from northbound.model.registry import Put

RULES = 25


@pytest.fixture
def school(site: Site) -> Customer:
    """A customer whose meetings are pushed."""
    one = customer(site)
    assert site.call("POST", f"accounts/{one.account_id}/meeting-push/enable").status == 200
    return one


def opened(site: Site, school: Customer) -> str:
    """Return the id of a room's opening that went the whole way."""
    source = site.made("sources", {"app_id": school.app_id, "name": "box", "dialect": "avd"})
    (event_id,) = site.received(source, event="open", room_id="r", trace_id="t-1")
    site.settle()
    return event_id


def asked(school: Customer, action: str, **words: str) -> Any:
    return school.rpc(action, BRIDGE, EventBusName="default", **words).json["Data"]


def listed(school: Customer, **words: str) -> list[str]:
    now = int(time.time() * 1000)
    around = {"StartTime": str(now - 60_000), "EndTime": str(now + 60_000), "Limit": "10"}
    found = asked(school, "QueryTracedEvents", **around, **words)
    return [event["EventId"] for event in found["Events"]]


def test_a_buss_events_are_listed_however_many_apps_there_are(site: Site, school: Customer):
    """An account's apps are told among all of the hub's, of which other accounts may have any number."""
    others = [App(id=f"app_{number:05}", name="other", created_at=NOW) for number in range(600)]
    site.web.control.change([Put(one=other) for other in others], (), who="test", now=NOW)

    event_id = opened(site, school)

    assert listed(school) == [event_id]


def test_every_rule_that_sent_an_event_on_is_told(site: Site, school: Customer):
    target = json.dumps([{"Id": "t", "Type": "http", "Endpoint": "https://there.test/x"}])
    names = [f"rule{number:02}" for number in range(RULES)]
    for name in names:
        made = {"RuleName": name, "FilterPattern": "{}", "EventTargets": target}
        assert asked(school, "CreateRule", **made)["RuleARN"]

    event_id = opened(site, school)

    steps = asked(school, "QueryEventTraces", EventId=event_id)
    assert Counter(step["Action"] for step in steps) == {"PutEvent": 1, "FilterEvent": RULES}
    assert {step.get("RuleName") for step in steps} == {None, *names}
    assert [listed(school, MatchedRule=name) for name in names] == [[event_id]] * RULES
