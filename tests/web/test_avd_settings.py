"""The 3T settings page: two halves, each an ordinary subscription with its endpoint, saved whole or not at all."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from api_site import Site

from northbound.model.app import Endpoint, Subscription

URL = "https://there.test/room_event_history/feedback"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    one = Site(tmp_path_factory.mktemp("site") / "data")
    yield one
    one.close()


@pytest.fixture
def app(site: Site) -> str:
    return site.made("apps", {"name": "box"})["id"]


def put(site: Site, app: str, half: str = "media_server", /, match: str | None = None, **given: Any) -> Any:
    headers = {} if match is None else {"if_match": match}
    return site.call("PUT", f"avd-settings/{app}/{half}", {"url": URL} | given, **headers)


def test_each_half_is_a_subscription_with_its_endpoint(site: Site, app: str) -> None:
    """Done-when 4: the same kind of object as any other, told apart by who made it."""
    media = put(site, app, method="POST", check_code_key="canary-key-31").json
    master = put(site, app, "master", url="192.0.2.1:7443/x", release="2023-03-17")

    assert master.status == 422  # a private address
    master = put(site, app, "master", url="there.test:7443/warn", release="2023-03-17").json
    assert (
        master["scheme"], master["url"], master["events"],
    ) == ("http", "http://there.test:7443/warn", ["warning_notify"])  # fmt: skip
    assert (
        media["scheme"], media["method"], media["has_check_code_key"], len(media["events"]),
    ) == ("https", "POST", True, 12)  # fmt: skip
    made = {one["id"]: one for one in site.call("GET", f"subscriptions?app_id={app}").json["items"]}
    assert {media["subscription_id"], master["subscription_id"]} == set(made)
    assert [media["endpoint_id"]] == made[media["subscription_id"]]["endpoint_ids"]
    shown = site.call("GET", f"avd-settings/{app}")
    assert (media, master) == (shown.json["media_server"], shown.json["master"])
    endpoint = site.call("GET", f"endpoints/{media['endpoint_id']}").json
    assert (endpoint["dialect"], endpoint["method"], endpoint["options"]["release"]) == ("avd", "POST", "2024-07-04")
    assert b"canary-key-31" not in shown.body + site.call("GET", "audit?limit=50").body


def test_two_editors_never_overwrite_each_other(site: Site, app: str) -> None:
    first = put(site, app)

    assert (first.status, put(site, app).status) == (201, 428)
    second = put(site, app, match=first.headers["etag"], method="POST")
    assert (second.status, put(site, app, match=first.headers["etag"], method="GET").status) == (200, 412)
    assert site.call("GET", f"avd-settings/{app}/media_server").json["method"] == "POST"


def test_a_change_of_the_endpoint_alone_is_a_change_of_the_page(site: Site, app: str) -> None:
    """What is shown is what is in force, and its ETag moved."""
    first = put(site, app)

    site.call("PATCH", f"endpoints/{first.json['endpoint_id']}", {"url": "https://else.test/x"}, if_match="*")

    shown = site.call("GET", f"avd-settings/{app}/media_server")
    assert (shown.json["url"], put(site, app, match=first.headers["etag"]).status) == ("https://else.test/x", 412)


def test_a_key_stays_until_it_is_removed(site: Site, app: str) -> None:
    first = put(site, app, check_code_key="k")
    second = put(site, app, match=first.headers["etag"])
    third = put(site, app, match=second.headers["etag"], check_code_key=None)

    assert [one.json["has_check_code_key"] for one in (first, second, third)] == [True, True, False]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"release": "2023-03-17", "url": "http://there.test/x"}, "url"),
        ({"release": "2023-03-17", "url": "there.test/x", "method": "POST"}, "method"),
        ({"release": "1999"}, "release"),
        ({"url": "ftp://there.test/x"}, "url"),
        ({"url": "there test"}, "url"),
        ({"url": "http://127.0.0.1/x"}, "url"),
        ({"url": "http://u:p@there.test/x"}, "url"),
        ({"method": "PUT"}, "method"),
        ({"check_code_key": ""}, "check_code_key"),
    ],
)
def test_what_the_page_would_not_take_is_refused_and_nothing_is_made(
    site: Site, app: str, given: dict[str, Any], field: str
) -> None:
    """Ruling 30: releases before 2024-03-15 have neither scheme nor POST."""
    reply = put(site, app, **given)

    assert (422, field) == (reply.status, reply.json["field"])
    assert site.call("GET", f"endpoints?app_id={app}").json["items"] == []
    assert site.call("GET", f"avd-settings/{app}/media_server").status == 404


def test_a_release_tells_what_it_has(site: Site, app: str) -> None:
    old = put(site, app, url="there.test:80/x", release="before-2023-03-17").json

    assert ("stop_record" in old["events"], "start_record" in old["events"]) == (True, False)


def test_removing_a_half_removes_what_it_made(site: Site, app: str) -> None:
    made = put(site, app)

    stale = site.call("DELETE", f"avd-settings/{app}/media_server", if_match='"1"').status
    gone = site.call("DELETE", f"avd-settings/{app}/media_server", if_match=made.headers["etag"]).status

    control = site.web.control
    left = [*control.find(Endpoint, app_id=app), *control.find(Subscription, app_id=app)]
    assert (stale, gone, left) == (412, 204, [])
    assert site.call("DELETE", f"apps/{app}").status == 204


@pytest.mark.parametrize("kind", ["endpoints", "subscriptions"])
def test_a_page_whose_parts_were_removed_by_hand_is_set_up_anew(site: Site, app: str, kind: str) -> None:
    made = put(site, app).json
    site.call("DELETE", f"{kind}/{made[kind.removesuffix('s') + '_id']}")

    assert site.call("GET", f"avd-settings/{app}/media_server").status == 404
    assert put(site, app).status == 201


def test_somebody_elses_page_and_no_half_are_not_found(site: Site, app: str) -> None:
    """T1: the same words."""
    put(site, app)
    key = site.key_for(site.made("apps", {"name": "other"})["id"])

    foreign = site.call("GET", f"avd-settings/{app}", key=key)
    nowhere = site.call("GET", f"avd-settings/{app[:-1]}x", key=key)
    assert (foreign.status, nowhere.status) == (404, 404)
    assert json.loads(foreign.body)["detail"].replace(app, "") == nowhere.json["detail"].replace(f"{app[:-1]}x", "")
    assert site.call("PUT", f"avd-settings/{app}/gateway", {"url": URL}).status == 404
