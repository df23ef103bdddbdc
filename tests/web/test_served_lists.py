"""The vendors' lists of rooms as served: whose key sees which rooms, what is refused, and where they are polled."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from api_site import Site, tenant

LIST, PEOPLE = "/sdkapi/v2/room/list", "/sdkapi/v2/room/participate/list"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    one = Site(tmp_path_factory.mktemp("site") / "data", allow_targets=("127.0.0.1:9",))
    yield one
    one.close()


@pytest.fixture(scope="module")
def mine(site: Site) -> Any:
    one = tenant(site, "mine")
    one.key = site.key_for(one.app["id"], "rooms")
    for number in range(3):
        site.received(one.source, event="open", room_id=f"r{number}", trace_id=f"open-{number}")
        site.received(
            one.source, event="join", room_id=f"r{number}", user_id="u1", user_name="李雷", endpoint_type="ios",
            event_type="normal", trace_id=f"join-{number}",
        )  # fmt: skip
    site.received(one.source, event="open", room_id="over", trace_id="open-over")
    site.received(one.source, event="close", room_id="over", event_type="user", trace_id="close-over")
    site.settle()
    return one


@pytest.fixture(scope="module")
def theirs(site: Site) -> Any:
    return tenant(site, "theirs")


def ask(site: Site, path: str, **params: Any) -> tuple[int, Any]:
    reply = site.call("GET", f"{path}?{urlencode(params)}", key="")
    return reply.status, reply.json


def test_the_open_rooms_of_an_app_are_listed_page_by_page(site: Site, mine: Any, theirs: Any) -> None:
    """Each key sees its own app's rooms; closed ones are not listed."""
    first = ask(site, LIST, api_key=mine.key, limit=3)[1]
    second = ask(site, LIST, api_key=mine.key, limit=3, page=2)[1]

    rooms = [one["room_id"] for one in first["data"]["list"] + second["data"]["list"]]
    assert (0, 4, ["r0", "r1", "r2", mine.room]) == (first["code"], first["data"]["total"], rooms)
    person = first["data"]["list"][0]["participants"][0]
    assert tuple(person[name] for name in ("user_id", "user_name", "endpoint_type", "streams")) == (
        "u1",
        "李雷",
        "ios",
        [],
    )


def test_the_people_of_a_room_are_listed(site: Site, mine: Any) -> None:
    status, answer = ask(site, PEOPLE, api_key=mine.key, room_id="r1")

    assert (status, answer["data"]["total"], answer["data"]["list"][0]["user_id"]) == (200, 1, "u1")


def test_the_key_may_come_as_form_json_header_or_bearer(site: Site, mine: Any) -> None:
    body = urlencode({"api_key": mine.key, "room_id": "r1"}).encode()
    calls = [
        site.call("POST", PEOPLE, raw=body, key="", content_type="application/x-www-form-urlencoded"),
        site.call("POST", PEOPLE, {"api_key": mine.key, "room_id": "r1"}, key=""),
        site.call("GET", f"{PEOPLE}?room_id=r1", key=mine.key),
        site.call("GET", f"{PEOPLE}?room_id=r1", key="", api_key=mine.key),
    ]

    assert [one.json["code"] for one in calls] == [0, 0, 0, 0]


def test_a_room_of_nobody_of_somebody_else_and_one_that_is_over_look_the_same(
    site: Site, mine: Any, theirs: Any
) -> None:
    """T1: one answer for all three, byte for byte."""
    names = ("nowhere", theirs.room, "over")
    answers = {site.call("GET", f"{PEOPLE}?room_id={name}", key=mine.key).body for name in names}

    assert [json.loads(one)["code"] for one in answers] == [404]


@pytest.mark.parametrize(
    ("params", "code"),
    [({}, 401), ({"api_key": "nb_wrong"}, 401), ({"page": "x"}, 400), ({"limit": "1000"}, 400)],
)
def test_refusals_have_the_lists_shape(site: Site, params: dict[str, str], code: int) -> None:
    status, answer = ask(site, LIST, **params)

    assert (code, code, {"total": 0, "list": []}) == (status, answer["code"], answer["data"])


def test_a_body_over_the_limit_is_refused(site: Site) -> None:
    reply = site.call("POST", LIST, raw=b"a=" + b"x" * 70_000, key="")

    assert (reply.status, reply.json["code"]) == (413, 413)


def test_a_key_for_all_apps_lists_nothing(site: Site) -> None:
    """An app's rooms are asked for with that app's key."""
    assert site.call("GET", LIST).json["code"] == 403


def test_a_key_for_lists_opens_nothing_else(site: Site, mine: Any) -> None:
    """It stands in URLs, so it must not read events."""
    assert site.call("GET", "events", key=mine.key).status == 403
    assert site.call("POST", "keys", {"name": "k", "role": "rooms"}).status == 422


# --- where a source's list is asked for ------------------------------------------------------------------------------


def test_a_room_list_is_set_kept_and_removed_without_showing_its_key(site: Site, mine: Any) -> None:
    path = f"sources/{mine.source['id']}"
    given = {"url": "http://127.0.0.1:9/box", "key": "canary-of-the-list", "fields": {"room.id": "roomNo"}}

    made = site.call("PATCH", path, {"room_list": given}, if_match="*")
    kept = site.call("PATCH", path, {"room_list": {"url": "http://127.0.0.1:9"}}, if_match="*")
    gone = site.call("PATCH", path, {"room_list": None}, if_match="*")

    assert tuple(made.json["room_list"][name] for name in ("has_key", "fields")) == (True, {"room.id": "roomNo"})
    assert (
        kept.json["room_list"]["has_key"],
        kept.json["room_list"]["fields"],
        gone.json["room_list"],
    ) == (True, {}, None)
    assert (
        b"canary-of-the-list" not in made.body + site.call("GET", "audit?limit=50").body + site.call("GET", path).body
    )
    assert b"Y2FuYXJ5LW9mLXRoZS1saXN0" not in site.call("GET", "audit?limit=50").body  # as base64


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"url": "http://10.0.0.1/"}, "blocked_address"),
        ({"url": "file:///etc/passwd"}, "blocked_address"),
        ({"url": "http://127.0.0.1:9", "fields": {"nothing": "x"}}, "invalid"),
        ({"url": "http://127.0.0.1:9", "page_size": 0}, "invalid"),
        ({"url": "http://127.0.0.1:9", "key": "a\nb"}, "invalid"),
    ],
)
def test_a_room_list_that_cannot_be_asked_is_refused(site: Site, mine: Any, given: Any, code: str) -> None:
    reply = site.call("PATCH", f"sources/{mine.source['id']}", {"room_list": given}, if_match="*")

    assert (422, code) == (reply.status, reply.json["code"])


def test_only_a_wire_with_a_list_has_one(site: Site, mine: Any) -> None:
    body = {"app_id": mine.app["id"], "name": "x", "dialect": "mpaas", "room_list": {"url": "http://127.0.0.1:9"}}

    assert site.call("POST", "sources", body).status == 422


def test_polling_says_why_it_failed(site: Site, mine: Any) -> None:
    """Nobody listens there; a source without a list; somebody else's source."""
    path = f"sources/{mine.source['id']}"
    site.call("PATCH", path, {"room_list": {"url": "http://127.0.0.1:9"}}, if_match="*")

    failed = site.call("POST", f"{path}/poll", {})
    site.call("PATCH", path, {"room_list": None}, if_match="*")
    without = site.call("POST", f"{path}/poll", {})
    foreign = site.call("POST", f"{path}/poll", {}, key=site.key_for(tenant(site, "third").app["id"]))

    assert (failed.status, failed.json["code"]) == (502, "poll_failed")
    assert (without.status, foreign.status) == (422, 404)
