"""What a vendor's door tells is true now, also after the same object was changed or removed by the hub's own API."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_site import Site
from vendor_calls import BRIDGE, LIVE, RTC, Customer, customer

from e2e.receiver import Receiver
from northbound.model.app import Endpoint, Subscription

URL = "https://there.test/said"
NEW = "https://there.test/now"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def site(tmp_path: Path, receiver: Receiver) -> Iterator[Site]:
    one = Site(tmp_path / "data", allow_targets=[receiver.address])
    yield one
    one.close()


@pytest.fixture
def by(site: Site) -> Customer:
    return customer(site)


def changed(site: Site, path: str, **words: Any) -> None:
    reply = site.call("PATCH", path, words, if_match="*")
    assert reply.status == 200, reply.body


def removed(site: Site, path: str) -> None:
    assert site.call("DELETE", path).status == 204


def left(site: Site) -> tuple[list[str], list[str]]:
    control = site.web.control
    return [one.id for _, one in control.find(Endpoint)], [one.id for _, one in control.find(Subscription)]


# --- Live ------------------------------------------------------------------------------------------------------------


def live_made(by: Customer, **more: str) -> str:
    given = {"CallbackUrl": URL, "Events__1": "ChannelEvent", "Events__2": "UserEvent", **more}
    return by.rpc("CreateEventSub", LIVE, AppId=by.app_id, **given).json["SubscribeId"]


def live_list(by: Customer) -> list[dict[str, Any]]:
    return by.rpc("ListEventSub", LIVE, AppId=by.app_id).json["Subscribers"]


def endpoint_of(site: Site, subscription_id: str) -> str:
    return site.call("GET", f"subscriptions/{subscription_id}").json["endpoint_ids"][0]


def test_live_lists_where_callbacks_go_now(site: Site, by: Customer) -> None:
    identity = live_made(by)

    changed(site, f"endpoints/{endpoint_of(site, identity)}", url=NEW)

    assert live_list(by)[0]["CallbackUrl"] == NEW


@pytest.mark.parametrize(
    ("pattern", "channel", "events", "users"),
    [
        ({"type": ["participant.joined"], "data": {"room_id": ["r2"]}}, "r2", ["UserEvent"], []),
        ({"type": ["room.opened"]}, "*", ["ChannelEvent"], []),
        ({}, "*", ["ChannelEvent", "UserEvent"], []),
        ({"data": {"room_id": ["r1"], "participant_id": ["u1", "u2", {"exists": False}]}}, "r1", None, ["u1", "u2"]),
        ({"type": [{"prefix": "room."}], "data": {"room_id": ["r1", "r2"]}}, "*", ["ChannelEvent"], []),
        ({"type": ["recording.started"]}, "*", [], []),
    ],
)
def test_live_says_a_changed_rule_as_near_as_it_can(
    site: Site, by: Customer, pattern: dict[str, Any], channel: str, events: list[str] | None, users: list[str]
) -> None:
    identity = live_made(by, ChannelId="r1", Users__1="u9")
    (before,) = live_list(by)

    changed(site, f"subscriptions/{identity}", pattern=pattern)

    (shown,) = live_list(by)
    told = (before["ChannelId"], before["Users"], before["Events"])
    assert told == ("r1", ["u9"], ["ChannelEvent", "UserEvent"])
    wanted = ["ChannelEvent", "UserEvent"] if events is None else events
    assert (shown["ChannelId"], shown["Events"], shown["Users"]) == (channel, wanted, users)


def test_live_counts_the_subscription_to_all_channels_as_it_is_now(site: Site, by: Customer) -> None:
    identity = live_made(by)

    changed(site, f"subscriptions/{identity}", pattern={"data": {"room_id": ["r1"]}})

    assert live_made(by) != identity


@pytest.mark.parametrize("what", ["subscriptions", "endpoints"])
@pytest.mark.parametrize("version", [RTC, LIVE])
def test_what_was_subscribed_by_a_call_goes_whole(site: Site, by: Customer, what: str, version: str) -> None:
    """Deleting either half by the API leaves nothing, and the vendor's way does not find it any more."""
    given = {"CallbackUrl": URL, "Events__1": "UserEvent", "AppId": by.app_id}
    if version == RTC:
        identity = by.rpc("CreateEventSubscribe", RTC, ClientToken="t", **given).json["SubscribeId"]
    else:
        identity = by.rpc("CreateEventSub", LIVE, **given).json["SubscribeId"]

    removed(site, f"{what}/{identity if what == 'subscriptions' else endpoint_of(site, identity)}")

    action = "DeleteEventSubscribe" if version == RTC else "DeleteEventSub"
    assert by.rpc(action, version, AppId=by.app_id, SubscribeId=identity).json["Code"] == "ResourceNotExist"
    assert (left(site), live_list(by)) == (([], []), [])


def test_an_endpoint_that_another_subscription_calls_stays(site: Site, by: Customer) -> None:
    identity = live_made(by)
    shared = endpoint_of(site, identity)
    other = site.made("subscriptions", {"app_id": by.app_id, "pattern": {}, "endpoint_ids": [shared]})

    removed(site, f"subscriptions/{identity}")

    assert left(site) == ([shared], [other["id"]])


def test_an_endpoint_of_ones_own_stays_when_a_rule_goes(site: Site, by: Customer) -> None:
    own = site.made("endpoints", {"app_id": by.app_id, "url": NEW, "dialect": "standard"})["id"]
    identity = live_made(by)
    made = endpoint_of(site, identity)
    changed(site, f"subscriptions/{identity}", endpoint_ids=[made, own])

    removed(site, f"subscriptions/{identity}")

    assert left(site) == ([own], [])


# --- EventBridge -----------------------------------------------------------------------------------------------------

TARGET = {
    "Id": "t1", "Type": "http", "Endpoint": URL, "PushRetryStrategy": "BACKOFF_RETRY", "ErrorsTolerance": "ALL",
    "ParamList": [
        {"ResourceKey": "url", "Form": "CONSTANT", "Value": URL}, {"ResourceKey": "Body", "Form": "ORIGINAL"},
        {"ResourceKey": "token", "Form": "CONSTANT", "Value": "s3cret"},
    ],
}  # fmt: skip


def rule_made(by: Customer) -> str:
    """Make the rule r1 with one target; return the target's endpoint."""
    rule = {"EventBusName": "default", "RuleName": "r1", "FilterPattern": '{"source":["a"]}'}
    reply = by.rpc("CreateRule", BRIDGE, EventTargets=json.dumps([TARGET]), Description="said", **rule)
    assert reply.json["Success"], reply.body
    ((_, kept),) = by.site.web.control.find(Subscription)
    return kept.targets[0].endpoint_id


def rules_told(by: Customer) -> list[dict[str, Any]]:
    """Return the rule r1 in each of the answers of both interfaces."""
    named = {"EventBusName": "default", "RuleName": "r1"}
    found = [by.rpc("GetRule", BRIDGE, **named).json["Data"], by.plane("getRule", named).json]
    found += by.rpc("ListRules", BRIDGE, EventBusName="default").json["Data"]["Rules"]
    return found + by.plane("listRules", {"EventBusName": "default"}).json["Rules"]


def targets_told(by: Customer) -> list[dict[str, Any]]:
    named = {"EventBusName": "default", "RuleName": "r1"}
    whole = (
        by.rpc("ListTargets", BRIDGE, **named).json["Data"]["Targets"] + by.plane("listTargets", named).json["Targets"]
    )
    short = [target for rule in rules_told(by) for target in rule["Targets"]]
    assert {target["Endpoint"] for target in whole} == {target["Endpoint"] for target in short}
    return whole


def test_both_bridges_tell_a_rule_as_it_is_now(site: Site, by: Customer) -> None:
    rule_made(by)
    identity = site.web.control.find(Subscription)[0][1].id

    changed(site, f"subscriptions/{identity}", pattern={"source": ["b"]}, state="disabled")

    told = [(one["FilterPattern"], one["Status"], one["Description"]) for one in rules_told(by)]
    assert [(json.loads(pattern), status, said) for pattern, status, said in told] == [
        ({"source": ["b"]}, "DISABLE", "said")
    ] * 4


def test_both_bridges_tell_a_target_as_it_is_now(site: Site, by: Customer) -> None:
    endpoint = rule_made(by)
    before = targets_told(by)
    retry = {"strategy": "EXPONENTIAL_DECAY_RETRY", "attempts": 177}
    keys = [{"kind": "token", "secret": "new-token"}]

    changed(site, f"endpoints/{endpoint}", url=NEW, retry=retry, max_in_flight=3, keys=keys)

    assert [{name: one[name] for name in TARGET} for one in before] == [TARGET, TARGET]
    for one in targets_told(by):
        assert (one["Id"], one["Endpoint"], one["PushRetryStrategy"]) == ("t1", NEW, "EXPONENTIAL_DECAY_RETRY")
        assert one["ConcurrentConfig"] == {"Concurrency": 3}
        assert [param.get("Value") for param in one["ParamList"]] == [NEW, None, "new-token"]


def test_a_schedule_of_our_own_is_told_as_the_default(site: Site, by: Customer) -> None:
    endpoint = rule_made(by)

    changed(site, f"endpoints/{endpoint}", retry={"strategy": "fixed", "attempts": 9, "waits_seconds": [1]})

    assert {one["PushRetryStrategy"] for one in targets_told(by)} == {"BACKOFF_RETRY"}


def test_a_target_added_by_the_api_is_a_target_there(site: Site, by: Customer) -> None:
    """It is known by its endpoint's id, others keep theirs; taking it off the rule leaves somebody's endpoint alone."""
    made = rule_made(by)
    rule = site.web.control.find(Subscription)[0][1]
    own = [
        site.made("endpoints", {"app_id": rule.app_id, "url": url, "dialect": "standard"})["id"]
        for url in (NEW, NEW + "2")
    ]
    changed(site, f"subscriptions/{rule.id}", endpoint_ids=[made, *own])

    told = {one["Id"]: one for one in targets_told(by)}
    named = {"EventBusName": "default", "RuleName": "r1"}
    added = by.rpc("PutTargets", BRIDGE, Targets=json.dumps([TARGET | {"Id": "t2"}]), **named)
    ids = {one["Id"] for one in targets_told(by)}
    gone = by.rpc("DeleteTargets", BRIDGE, TargetIds=json.dumps(own), **named)

    assert set(told) == {"t1", *own}
    assert (told[own[0]]["Endpoint"], told[own[0]]["Type"]) == (NEW, "https")
    assert [one.json["Data"]["ErrorEntriesCount"] for one in (added, gone)] == [0, 0]
    assert ids == {"t1", "t2", *own}
    assert {one["Id"] for one in targets_told(by)} == {"t1", "t2"}
    assert set(own) < set(left(site)[0])


def test_a_rule_keeps_the_name_that_it_is_known_by(site: Site, by: Customer) -> None:
    rule_made(by)
    identity = site.web.control.find(Subscription)[0][1].id

    refused = site.call("PATCH", f"subscriptions/{identity}", {"name": "r2"}, if_match="*")

    assert (refused.status, refused.json["field"]) == (422, "name")
    assert {one["RuleName"] for one in rules_told(by)} == {"r1"}


def test_a_rule_goes_with_its_targets_and_a_target_alone(site: Site, by: Customer) -> None:
    endpoint = rule_made(by)

    removed(site, f"endpoints/{endpoint}")
    alone = targets_told(by), len(rules_told(by))
    removed(site, f"subscriptions/{site.web.control.find(Subscription)[0][1].id}")

    named = {"EventBusName": "default", "RuleName": "r1"}
    assert alone == ([], 4)
    assert by.rpc("GetRule", BRIDGE, **named).json["Code"] == "EventRuleNotExist"
    assert left(site) == ([], [])
    rule_made(by)
    removed(site, f"subscriptions/{site.web.control.find(Subscription)[0][1].id}")
    assert left(site) == ([], [])


# --- call apps -------------------------------------------------------------------------------------------------------


def test_a_call_app_shows_its_callbacks_as_they_are_now(site: Site, by: Customer) -> None:
    given = {"app_id": by.app_id, "name": "maths", "recording_callback_url": URL, "room_callback_url": URL}
    one = site.made("call-apps", given)
    recording, room = one["recording_callback"], one["room_callback"]

    changed(site, f"endpoints/{recording['endpoint_id']}", url=NEW)
    changed(site, f"subscriptions/{room['subscription_id']}", state="disabled")

    (shown,) = site.call("GET", "call-apps").json["items"]
    assert (recording["url"], recording["state"]) == (URL, "enabled")
    assert (shown["recording_callback"]["url"], shown["recording_callback"]["state"]) == (NEW, "enabled")
    assert (shown["room_callback"]["url"], shown["room_callback"]["state"]) == (URL, "disabled")


@pytest.mark.parametrize("what", ["subscription", "endpoint"])
def test_a_callback_removed_by_hand_is_gone_from_the_page(site: Site, by: Customer, what: str) -> None:
    one = site.made("call-apps", {"app_id": by.app_id, "name": "maths", "room_callback_url": URL})

    removed(site, f"{what}s/{one['room_callback'][f'{what}_id']}")

    assert site.call("GET", f"call-apps/{one['id']}").json["room_callback"] is None
    assert left(site) == ([], [])
    changed(site, f"call-apps/{one['id']}", room_callback_url=NEW)
    assert site.call("GET", f"call-apps/{one['id']}").json["room_callback"]["url"] == NEW
    removed(site, f"call-apps/{one['id']}")
    assert left(site) == ([], [])


# --- notice settings -------------------------------------------------------------------------------------------------


def noticed(site: Site, by: Customer, url: str, **more: Any) -> dict[str, Any]:
    given = {"app_id": by.app_id, "name": "n", "product": 3, "event_types": [31, 40], "url": url, **more}
    one = site.made("notice-settings", given)
    reply = site.call("POST", f"notice-settings/{one['id']}/enable")
    assert reply.status == 200, reply.body
    return reply.json


def settings_now(site: Site) -> dict[str, Any]:
    (listed,) = site.call("GET", "notice-settings").json["items"]
    shown = site.call("GET", f"notice-settings/{listed['id']}").json
    assert {name: shown[name] for name in listed} == listed
    return shown


def test_notice_settings_are_shown_as_they_are_now(site: Site, by: Customer, receiver: Receiver) -> None:
    one = noticed(site, by, receiver.url("anyrtc-a"), redundant=True, second_url=receiver.url("anyrtc-b"))
    first, second = [path["endpoint_id"] for path in one["paths"]]

    changed(site, f"endpoints/{first}", url=receiver.url("anyrtc-c"), options={"strict_reply": True})
    changed(site, f"subscriptions/{one['subscription_id']}", pattern={"productId": [3], "eventType": [1, 41]})

    shown = settings_now(site)
    assert (shown["url"], shown["second_url"], shown["strict_reply"]) == (
        receiver.url("anyrtc-c"),
        receiver.url("anyrtc-b"),
        True,
    )
    assert (shown["event_types"], shown["state"]) == ([1, 41], "enabled")
    removed(site, f"endpoints/{first}")
    shown = settings_now(site)
    assert (shown["url"], shown["redundant"], len(shown["paths"])) == (receiver.url("anyrtc-b"), False, 1)
    assert shown["paths"][0]["endpoint_id"] == second


def test_saving_another_setting_keeps_what_the_api_changed(site: Site, by: Customer, receiver: Receiver) -> None:
    one = noticed(site, by, receiver.url("anyrtc-a"))
    changed(site, f"endpoints/{one['paths'][0]['endpoint_id']}", url=receiver.url("anyrtc-c"))

    changed(site, f"notice-settings/{one['id']}", event_types=[1])

    shown = settings_now(site)
    assert (shown["url"], shown["event_types"], shown["paths"][0]["url"]) == (
        receiver.url("anyrtc-c"),
        [1],
        receiver.url("anyrtc-c"),
    )


def test_a_rule_that_ticks_cannot_say_leaves_them(site: Site, by: Customer, receiver: Receiver) -> None:
    one = noticed(site, by, receiver.url("anyrtc-a"))

    changed(site, f"subscriptions/{one['subscription_id']}", pattern={"payload": {"cname": ["r1"]}})

    assert settings_now(site)["event_types"] == [31, 40]


def test_notice_settings_switched_off_by_the_api_are_off(site: Site, by: Customer, receiver: Receiver) -> None:
    one = noticed(site, by, receiver.url("anyrtc-a"))

    changed(site, f"subscriptions/{one['subscription_id']}", state="disabled")

    assert settings_now(site)["state"] == "disabled"
    site.call("POST", f"notice-settings/{one['id']}/enable")
    assert settings_now(site)["state"] == "enabled"


@pytest.mark.parametrize("what", ["subscriptions", "endpoints"])
def test_notices_removed_by_hand_are_off_and_whole_again_when_enabled(
    site: Site, by: Customer, receiver: Receiver, what: str
) -> None:
    one = noticed(site, by, receiver.url("anyrtc-a"))

    removed(site, f"{what}/{one['subscription_id'] if what == 'subscriptions' else one['paths'][0]['endpoint_id']}")

    shown = settings_now(site)
    assert (shown["state"], shown["subscription_id"], left(site)) == ("disabled", None, ([], []))
    site.call("POST", f"notice-settings/{one['id']}/enable")
    assert (settings_now(site)["state"], [len(ids) for ids in left(site)]) == ("enabled", [1, 1])
    removed(site, f"notice-settings/{one['id']}")
    assert left(site) == ([], [])


# --- 3T --------------------------------------------------------------------------------------------------------------


def half(site: Site, by: Customer) -> dict[str, Any] | None:
    return site.call("GET", f"avd-settings/{by.app_id}").json["media_server"]


def test_a_half_is_shown_as_it_is_now(site: Site, by: Customer) -> None:
    made = site.call("PUT", f"avd-settings/{by.app_id}/media_server", {"url": URL}).json

    changed(site, f"endpoints/{made['endpoint_id']}", url=NEW, method="POST")
    changed(site, f"subscriptions/{made['subscription_id']}", pattern={"type": ["room.opened"]}, state="disabled")

    shown = half(site, by)
    assert shown is not None and (made["state"], len(made["events"])) == ("enabled", 12)
    assert (shown["url"], shown["method"], shown["events"], shown["state"]) == (NEW, "POST", ["open"], "disabled")


@pytest.mark.parametrize("what", ["subscription", "endpoint"])
def test_a_half_that_lost_a_part_is_gone_whole(site: Site, by: Customer, what: str) -> None:
    made = site.call("PUT", f"avd-settings/{by.app_id}/media_server", {"url": URL}).json

    removed(site, f"{what}s/{made[f'{what}_id']}")

    assert (half(site, by), left(site)) == (None, ([], []))
    assert site.call("PUT", f"avd-settings/{by.app_id}/media_server", {"url": URL}).status == 201


# --- once ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone_by", ["vendor", "api"])
def test_a_token_does_not_answer_for_a_subscription_that_is_gone(site: Site, by: Customer, gone_by: str) -> None:
    """The repeat makes a new one, which later repeats are answered with."""
    given = {"CallbackUrl": URL, "Events__1": "UserEvent", "AppId": by.app_id, "ClientToken": "t"}

    def asked() -> str:
        return by.rpc("CreateEventSubscribe", RTC, **given).json["SubscribeId"]

    first = asked()
    repeated = asked()
    if gone_by == "vendor":
        by.rpc("DeleteEventSubscribe", RTC, AppId=by.app_id, SubscribeId=first)
    else:
        removed(site, f"subscriptions/{first}")
    second = asked()

    assert (repeated == first, second != first, asked() == second, left(site)[1]) == (True, True, True, [second])
    other = by.rpc("CreateEventSubscribe", RTC, **given | {"ChannelId": "r1"})
    assert other.json["Code"] == "IdempotentParameterMismatch"
