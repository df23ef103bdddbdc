"""CreateEventSubscribe and DeleteEventSubscribe as customers' programs call them, and the callbacks that follow."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from alibabacloud_rtc20180111 import models as m
from aliyunsdkrtc.request.v20180111.CreateEventSubscribeRequest import CreateEventSubscribeRequest
from aliyunsdkrtc.request.v20180111.DeleteEventSubscribeRequest import DeleteEventSubscribeRequest
from darabonba.exceptions import DaraException

from e2e.hub import send
from e2e.receiver import Arrival, Receiver
from e2e.vendors import avd, message
from independent_signatures import ali_rtc
from northbound.model.account import Maker
from northbound.model.app import Subscription
from northbound.model.wire import Request
from sdk.asked import LOOP, RTC
from sdk.clients import LEGACY, SIGNATURES, code_of, legacy, rtc
from sdk.customer import Customer
from sdk.table import Record

BOTH = ["ChannelEvent", "UserEvent"]


def place() -> str:
    """Return a name at the receiver that nobody else uses."""
    return f"aliyun_rtc-{uuid4().hex[:8]}"


def asked(customer: Customer, url: str, **other: Any) -> m.CreateEventSubscribeRequest:
    given = {
        "app_id": customer.app_id, "callback_url": url, "client_token": uuid4().hex, "events": BOTH, **other,
    }  # fmt: skip
    return m.CreateEventSubscribeRequest(**given)


def subscribed(customer: Customer, url: str, **other: Any) -> str:
    return rtc(customer).create_event_subscribe(asked(customer, url, **other)).body.subscribe_id


def stored(customer: Customer) -> list[Subscription]:
    with customer.hub.control() as control:
        return [one for _, one in control.find(Subscription, app_id=customer.app_id)]


def words_of(arrival: Arrival) -> dict[str, Any]:
    return json.loads(arrival.request.body)


def told(arrivals: list[Arrival]) -> list[tuple[str, str | None]]:
    """Return (tag, user) of each callback."""
    contents = [words_of(one)["Contents"][0] for one in arrivals]
    bodies = [one[one["Event"]] for one in contents]
    return [(body["EventTag"], body.get("UserId")) for body in bodies]


# --- making and removing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_subscription_is_made_and_removed(
    record: Record, customer: Customer, receiver: Receiver, signature: str
) -> None:
    client = rtc(customer, signature)
    with record("CreateEventSubscribe", sdk=RTC, signature=signature):
        wanted = asked(
            customer, receiver.url("aliyun_rtc"), channel_id="频道 1", users=["user1", "用户2"], role=1,
            need_callback_auth=True,
        )  # fmt: skip
        made = client.create_event_subscribe(wanted)
        (kept,) = stored(customer)
        assert made.body.subscribe_id == kept.id
        assert made.body.request_id == made.headers["x-acs-request-id"]
    with record("DeleteEventSubscribe", sdk=RTC, signature=signature):
        gone = client.delete_event_subscribe(
            m.DeleteEventSubscribeRequest(app_id=customer.app_id, subscribe_id=made.body.subscribe_id)
        )
        assert gone.body.request_id == gone.headers["x-acs-request-id"]
        assert stored(customer) == []

    assert kept.made_by is Maker.ALIYUN_RTC
    assert kept.wire == {
        "ChannelId": "频道 1", "CallbackUrl": receiver.url("aliyun_rtc"), "Events": BOTH, "Users": ["user1", "用户2"],
        "Role": 1, "NeedCallbackAuth": True,
    }  # fmt: skip
    trail = customer.hub.api("GET", "/api/v1/audit?limit=20")[1]["items"]
    whats = [one["what"] for one in trail if one["who"] == customer.access_key_id]
    assert whats == ["endpoint.deleted", "subscription.deleted", "subscription.created", "endpoint.created"]


def test_the_older_client_does_the_same(record: Record, customer: Customer, receiver: Receiver) -> None:
    with record("CreateEventSubscribe", sdk=LEGACY, signature="V1"):
        create = CreateEventSubscribeRequest()
        create.set_AppId(customer.app_id)
        create.set_CallbackUrl(receiver.url("aliyun_rtc"))
        create.set_ClientToken("t")
        create.set_Eventss(BOTH)
        create.set_NeedCallbackAuth(True)
        made = legacy(customer, create)
        (kept,) = stored(customer)
        assert made["SubscribeId"] == kept.id
    with record("DeleteEventSubscribe", sdk=LEGACY, signature="V1"):
        delete = DeleteEventSubscribeRequest()
        delete.set_AppId(customer.app_id)
        delete.set_SubscribeId(kept.id)
        assert list(legacy(customer, delete)) == ["RequestId"]
        assert stored(customer) == []


def test_it_is_a_subscription_like_any_other(customer: Customer, receiver: Receiver) -> None:
    identity = subscribed(customer, receiver.url("aliyun_rtc"))

    status, shown = customer.hub.api("GET", f"/api/v1/subscriptions/{identity}")
    assert status == 200
    assert shown["app_id"] == customer.app_id


# --- the loop --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_callback_arrives_signed_where_the_client_said(
    record: Record, customer: Customer, receiver: Receiver, signature: str
) -> None:
    """The client subscribes, a 3T event comes in, and a check that knows nothing of ours accepts what goes out."""
    name = place()
    with record("CreateEventSubscribe", sdk=RTC, signature=signature, case=LOOP):
        wanted = asked(customer, receiver.url(name), need_callback_auth=True)
        identity = rtc(customer, signature).create_event_subscribe(wanted).body.subscribe_id
        customer.vendor("avd").tells(avd("open", "r1"), avd("join", "r1", "u1"))
        opened, joined = receiver.wait_for(name, 2)

        for one in (opened, joined):
            stamp = one.request.header("Ali-Rtc-Timestamp") or ""
            assert one.request.header("Ali-Rtc-Signature") == ali_rtc("127.0.0.1", stamp, customer.app_key.encode())
            assert one.request.header("content-type") == "application/x-www-form-urlencoded"
    words = words_of(joined)
    assert (words["SubscribeID"], words["AppId"], words["ChannelID"]) == (identity, customer.app_id, "r1")
    person = words["Contents"][0]["UserEvent"]
    assert (person["UserId"], person["EventTag"], person["Role"]) == ("u1", "Join", 1)
    assert words_of(opened)["Contents"][0]["ChannelEvent"]["EventTag"] == "Open"


def test_without_auth_nothing_is_signed(customer: Customer, receiver: Receiver) -> None:
    name = place()
    subscribed(customer, receiver.url(name))
    customer.vendor("avd").tells(avd("open", "r1"))

    (opened,) = receiver.wait_for(name, 1)
    assert opened.request.header("Ali-Rtc-Signature") is None
    assert opened.request.header("Ali-Rtc-Timestamp") is None


def test_own_words_leave_under_this_subscriptions_id(customer: Customer, receiver: Receiver) -> None:
    """An event that came by the same wire is told as it came, but for what names the subscription."""
    name = place()
    identity = subscribed(customer, receiver.url(name))
    came = message("Join", "r1", "u1") | {"Extra": {"kept": 1.50}}
    customer.vendor("aliyun_rtc", options={"unsigned": "accept"}).tells(came)

    (joined,) = receiver.wait_for(name, 1)
    words = words_of(joined)
    assert words["SubscribeID"] == identity
    assert words | {"SubscribeID": "sub", "MsgTimestamp": None} == came
    assert b'"kept":1.5' in joined.request.body


def test_the_label_of_the_body_is_a_switch_of_each_subscription(customer: Customer, receiver: Receiver) -> None:
    """Ruling 21."""
    name = place()
    identity = subscribed(customer, receiver.url(name))
    with customer.hub.control() as control:
        endpoint_id = control.get(Subscription, identity)[1].targets[0].endpoint_id
    status, endpoint = customer.hub.api("GET", f"/api/v1/endpoints/{endpoint_id}")
    assert status == 200
    key = customer.hub.admin_key
    changed = patched(customer, endpoint_id, {"options": endpoint["options"] | {"content_type": "json"}}, key)
    assert changed == 200
    customer.vendor("avd").tells(avd("open", "r1"))

    (opened,) = receiver.wait_for(name, 1)
    assert opened.request.header("content-type") == "application/json"
    assert words_of(opened)["SubscribeID"] == identity


def patched(customer: Customer, endpoint_id: str, body: dict[str, Any], key: str) -> int:
    headers = (("authorization", f"Bearer {key}"), ("content-type", "application/json"), ("if-match", "*"))
    url = f"http://{customer.address}/api/v1/endpoints/{endpoint_id}"
    return send(Request(method="PATCH", url=url, headers=headers, body=json.dumps(body).encode())).status


# --- whose events ----------------------------------------------------------------------------------------------------

CAST = ("a-broadcaster", "a-listener")


def performance() -> list[dict[str, Any]]:
    """A broadcaster and a listener come, publish and go; only their joins tell the roles."""
    broadcaster, listener = CAST
    room = f"r-{uuid4().hex[:6]}"
    silent = [message(tag, room, user) for tag in ("Publish", "Leave") for user in CAST]
    for one in silent:
        del one["Contents"][0]["UserEvent"]["Role"]
    return [message("Join", room, broadcaster, Role=1), message("Join", room, listener, Role=2), *silent]


@pytest.mark.parametrize(("role", "heard"), [(1, CAST[:1]), (2, CAST[1:]), (3, CAST), (None, CAST)])
def test_a_role_limits_whose_messages_come(
    customer: Customer, receiver: Receiver, role: int | None, heard: tuple[str, ...]
) -> None:
    """1 broadcasters, 2 audience, anything else both; also what does not carry the role itself (seed 002)."""
    name = place()
    subscribed(customer, receiver.url(name), events=["UserEvent"], role=role)
    customer.vendor("aliyun_rtc", options={"unsigned": "accept"}).tells(*performance())
    customer.hub.wait_idle()

    expected = [(tag, user) for tag in ("Join", "Publish", "Leave") for user in heard]
    assert sorted(told(receiver.at(name))) == sorted(expected)


def test_a_room_is_told_of_whatever_the_role(customer: Customer, receiver: Receiver) -> None:
    name = place()
    subscribed(customer, receiver.url(name), role=2)
    customer.vendor("avd").tells(avd("open", "r1"), avd("join", "r1", "u1"), avd("close", "r1"))
    customer.hub.wait_idle()

    assert told(receiver.at(name)) == [("Open", None), ("Close", None)]


def test_users_and_channel_limit_what_comes(customer: Customer, receiver: Receiver) -> None:
    name = place()
    subscribed(customer, receiver.url(name), channel_id="r1", users=["u1", "300"])
    vendor = customer.vendor("avd")
    for room in ("r1", "r2"):
        vendor.tells(avd("open", room), *(avd("join", room, user) for user in ("u1", "u2", "300")))
    customer.hub.wait_idle()

    assert told(receiver.at(name)) == [("Open", None), ("Join", "u1"), ("Join", "300")]


def test_only_the_app_and_kinds_asked_for_are_told(customer: Customer, receiver: Receiver) -> None:
    name = place()
    subscribed(customer, receiver.url(name), events=["ChannelEvent"])
    customer.vendor("avd", app_id=customer.another_app()).tells(avd("open", "elsewhere"))
    customer.vendor("avd").tells(avd("open", "here"), avd("join", "here", "u1"))
    customer.hub.wait_idle()

    assert [words_of(one)["ChannelID"] for one in receiver.at(name)] == ["here"]


# --- once ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_token_subscribes_once(record: Record, customer: Customer, receiver: Receiver, signature: str) -> None:
    with record("CreateEventSubscribe", sdk=RTC, signature=signature, case="the same ClientToken again"):
        client = rtc(customer, signature)
        wanted = asked(customer, receiver.url("aliyun_rtc"))
        ids = {client.create_event_subscribe(wanted).body.subscribe_id for _ in range(3)}
        assert [one.id for one in stored(customer)] == list(ids)
    with record("CreateEventSubscribe", sdk=RTC, signature=signature, case="its ClientToken for something else") as row:
        other = asked(customer, receiver.url("aliyun_rtc"), client_token=wanted.client_token, channel_id="r1")
        with pytest.raises(DaraException) as refused:
            client.create_event_subscribe(other)
        row.result = code_of(refused.value)
        assert row.result == "IdempotentParameterMismatch"
        assert len(stored(customer)) == 1


def test_two_calls_at_once_subscribe_once(customer: Customer, receiver: Receiver) -> None:
    wanted = asked(customer, receiver.url("aliyun_rtc"))
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(lambda: rtc(customer).create_event_subscribe(wanted)) for _ in range(16)]
        ids = {call.result().body.subscribe_id for call in calls}

    assert [one.id for one in stored(customer)] == list(ids)


def test_a_token_is_known_after_a_restart(customer: Customer, receiver: Receiver) -> None:
    wanted = asked(customer, receiver.url("aliyun_rtc"))
    first = rtc(customer).create_event_subscribe(wanted).body.subscribe_id
    customer.hub.kill("web")
    customer.hub.wait_ready()

    assert rtc(customer).create_event_subscribe(wanted).body.subscribe_id == first
    assert len(stored(customer)) == 1
