"""A secret in a callback URL: whole to whoever may change it and in its customer's own list, masked everywhere else."""

import json
from typing import Any

import pytest
from api_site import Site
from vendor_calls import BRIDGE, LIVE, Customer, customer

SECRET = "canary-9931"
URL = f"https://there.test/cb?room=r1&Token={SECRET}&api_key={SECRET}"
MASKED = "https://there.test/cb?room=r1&Token=***&api_key=***"


@pytest.fixture
def by(site: Site) -> Customer:
    return customer(site)


def everywhere(site: Site, by: Customer) -> list[str]:
    """Put the URL at every place that takes one; return where it is shown."""
    made = site.made("endpoints", {"app_id": by.app_id, "url": URL, "public_url": URL, "dialect": "avd"})
    call_app = site.made("call-apps", {"app_id": by.app_id, "name": "n", "room_callback_url": URL})
    notice = site.made(
        "notice-settings",
        {"app_id": by.app_id, "name": "n", "product": 3, "event_types": [1], "url": URL, "second_url": URL},
    )
    site.call("PUT", f"avd-settings/{by.app_id}/media_server", {"url": URL.partition("//")[2]})
    source = {"app_id": by.app_id, "name": "s", "dialect": "avd", "room_list": {"url": URL, "key": "k"}}
    identity = site.made("sources", source)["id"]
    shown = [f"endpoints/{made['id']}", f"call-apps/{call_app['id']}", f"notice-settings/{notice['id']}"]
    lists = ["endpoints", "call-apps", "notice-settings", "sources"]
    return [
        *shown,
        *lists,
        f"avd-settings/{by.app_id}",
        f"avd-settings/{by.app_id}/media_server",
        f"sources/{identity}",
    ]


def test_readers_see_no_secret_in_a_url(site: Site, by: Customer) -> None:
    places = everywhere(site, by)
    reader = site.key_for(None, "reader")

    for place in places:
        reply = site.call("GET", place, key=reader)
        assert reply.status == 200 and SECRET.encode() not in reply.body, place
        assert b"***" in reply.body, place
        assert SECRET.encode() in site.call("GET", place).body, place
    assert site.call("GET", places[0], key=reader).json["url"] == MASKED


def test_the_audit_holds_no_secret_of_a_url(site: Site, by: Customer) -> None:
    """Nor in the words of a door, of which it keeps the whole object, before and after."""
    everywhere(site, by)
    target = {"Id": "t", "Type": "http", "Endpoint": URL, "ParamList": [{"ResourceKey": "url", "Value": URL}]}
    rule = {"EventBusName": "default", "RuleName": "r", "FilterPattern": "{}"}
    assert by.rpc("CreateRule", BRIDGE, EventTargets=json.dumps([target]), **rule).json["Success"]
    by.rpc("CreateEventSub", LIVE, AppId=by.app_id, CallbackUrl=URL, Events__1="UserEvent")

    audit = site.call("GET", "audit?limit=100")

    assert SECRET.encode() not in audit.body
    assert MASKED in {(one["after"] or {}).get("url") for one in audit.json["items"]}


def test_a_vendors_own_list_shows_its_customer_the_whole_url(site: Site, by: Customer) -> None:
    by.rpc("CreateEventSub", LIVE, AppId=by.app_id, CallbackUrl=URL, Events__1="UserEvent")

    (told,) = by.rpc("ListEventSub", LIVE, AppId=by.app_id).json["Subscribers"]

    assert told["CallbackUrl"] == URL


def test_what_an_admin_reads_can_be_sent_back(site: Site, by: Customer) -> None:
    made = site.made("endpoints", {"app_id": by.app_id, "url": URL, "dialect": "avd"})

    shown: dict[str, Any] = site.call("GET", f"endpoints/{made['id']}").json
    reply = site.call("PATCH", f"endpoints/{made['id']}", {"url": shown["url"]}, if_match="*")

    assert (shown["url"], reply.status, reply.json["url"]) == (URL, 200, URL)
