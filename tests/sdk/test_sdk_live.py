"""CreateEventSub and its family, Live 2016-11-01: subscriptions that can be listed, changed and looked back on."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from alibabacloud_live20161101 import models as m
from darabonba.exceptions import DaraException

from e2e.receiver import Receiver
from e2e.vendors import avd, message
from independent_signatures import ali_rtc
from northbound.model.app import Subscription
from sdk.asked import LIVE, LOOP
from sdk.clients import SIGNATURES, code_of, live
from sdk.customer import Customer
from sdk.table import Record
from sdk.test_sdk_subscriptions import patched
from sdk.test_sdk_subscriptions import subscribed as rtc_subscribed

BOTH = ["ChannelEvent", "UserEvent"]
IN_CHINA = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{3})?")


def place() -> str:
    return f"aliyun_rtc-{uuid4().hex[:8]}"


def subscribed(customer: Customer, url: str, signature: str = "V3", **other: Any) -> str:
    wanted = m.CreateEventSubRequest(**{"app_id": customer.app_id, "callback_url": url, "events": BOTH, **other})
    return live(customer, signature).create_event_sub(wanted).body.subscribe_id


def listed(customer: Customer, signature: str = "V3") -> list[Any]:
    return live(customer, signature).list_event_sub(m.ListEventSubRequest(app_id=customer.app_id)).body.subscribers


def log_request(customer: Customer, identity: str | None, **other: Any) -> m.ListEventSubEventRequest:
    now = int(time.time())
    given = {"start_time": now - 3600, "end_time": now + 60, "page_no": 1, "page_size": 10, **other}
    return m.ListEventSubEventRequest(app_id=customer.app_id, subscribe_id=identity, **given)


def is_recent(text: str) -> bool:
    told = datetime.fromisoformat(text).replace(tzinfo=UTC) - timedelta(hours=8)
    return abs(told - datetime.now(UTC)) < timedelta(minutes=2)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_subscription_from_its_making_to_its_end(
    record: Record, customer: Customer, receiver: Receiver, signature: str
) -> None:
    first, then = place(), place()
    client = live(customer, signature)
    with record("CreateEventSub", sdk=LIVE, signature=signature):
        identity = subscribed(customer, receiver.url(first), signature, channel_id="r1", users=["u1"])
    with record("ListEventSub", sdk=LIVE, signature=signature):
        (shown,) = listed(customer, signature)
        assert (shown.sub_id, shown.channel_id, shown.callback_url) == (identity, "r1", receiver.url(first))
        assert (shown.events, shown.users, shown.roles) == (BOTH, ["u1"], None)
        assert shown.create_time == shown.modify_time
        assert is_recent(shown.create_time)
        assert IN_CHINA.fullmatch(shown.create_time)
    with record("UpdateEventSub", sdk=LIVE, signature=signature):
        client.update_event_sub(
            m.UpdateEventSubRequest(
                app_id=customer.app_id, subscribe_id=identity, callback_url=receiver.url(then), events=["UserEvent"],
            )
        )  # fmt: skip
        (shown,) = listed(customer, signature)
        assert (shown.sub_id, shown.channel_id, shown.callback_url) == (identity, "*", receiver.url(then))
        assert (shown.events, shown.users or []) == (["UserEvent"], [])
        customer.vendor("avd").tells(avd("open", "r2"), avd("join", "r2", "u2"))
        customer.hub.wait_idle()
        assert receiver.at(first) == []
        (joined,) = receiver.at(then)
    with record("ListEventSubEvent", sdk=LIVE, signature=signature):
        told = client.list_event_sub_event(log_request(customer, identity)).body
        assert (told.count, told.has_more) == (1, False)
        (one,) = told.logs
        assert (one.app_id, one.sub_id, one.url) == (customer.app_id, identity, receiver.url(then))
        assert (one.code, one.data) == (200, joined.request.body.decode())
        assert one.message_id == json.loads(one.data)["MsgId"]
        assert one.cost >= 0
        assert is_recent(one.time)
        assert IN_CHINA.fullmatch(one.time)
    with record("DeleteEventSub", sdk=LIVE, signature=signature):
        client.delete_event_sub(m.DeleteEventSubRequest(app_id=customer.app_id, subscribe_id=identity))
        assert not listed(customer, signature)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_callback_arrives_signed_where_the_client_said(
    record: Record, customer: Customer, receiver: Receiver, signature: str
) -> None:
    """The client subscribes, a 3T event comes in, and a check that knows nothing of ours accepts what goes out.

    The family has no parameter for signing, so its callbacks are signed once the endpoint's option says so.
    """
    name = place()
    with record("CreateEventSub", sdk=LIVE, signature=signature, case=LOOP):
        identity = subscribed(customer, receiver.url(name), signature)
        with customer.hub.control() as control:
            (target,) = control.get(Subscription, identity)[1].targets
        changed_options(customer, target.endpoint_id, callback_auth="signed")
        customer.vendor("avd").tells(avd("open", "r1"), avd("join", "r1", "u1"))
        opened, joined = receiver.wait_for(name, 2)

        for one in (opened, joined):
            stamp = one.request.header("Ali-Rtc-Timestamp") or ""
            assert one.request.header("Ali-Rtc-Signature") == ali_rtc("127.0.0.1", stamp, customer.app_key.encode())
        words = json.loads(joined.request.body)
        assert (words["SubscribeId"], words["AppId"], words["ChannelId"]) == (identity, customer.app_id, "r1")
        person = words["Contents"][0]["UserEvent"]
        assert (person["UserId"], person["EventTag"], person["Role"]) == ("u1", "Join", 1)


def changed_options(customer: Customer, endpoint_id: str, **changed: str) -> None:
    """Change options of an endpoint by the API, and return when delivery knows."""
    _, endpoint = customer.hub.api("GET", f"/api/v1/endpoints/{endpoint_id}")
    assert patched(customer, endpoint_id, {"options": endpoint["options"] | changed}, customer.hub.admin_key) == 200
    customer.hub.wait_seen()


def test_callbacks_are_spelled_as_this_family_does(customer: Customer, receiver: Receiver) -> None:
    """A publishing is told medium by medium, under `SubscribeId`, labelled JSON, unsigned."""
    name = place()
    identity = subscribed(customer, receiver.url(name), events=["UserEvent"])
    vendor = customer.vendor("aliyun_rtc", options={"unsigned": "accept"})
    vendor.tells(message("Join", "r1", "u1"), message("Publish", "r1", "u1", Medias=[1, 2]))
    _, *published = receiver.wait_for(name, 3)

    words = [json.loads(one.request.body) for one in published]
    assert {one["SubscribeId"] for one in words} == {identity}
    assert {one["ChannelId"] for one in words} == {"r1"}
    tags = [one["Contents"][0]["UserEvent"]["EventTag"] for one in words]
    assert sorted(tags) == ["PublishAudio", "PublishVideo"]
    assert {one.request.header("content-type") for one in published} == {"application/json"}
    assert {one.request.header("Ali-Rtc-Signature") for one in published} == {None}


def test_the_log_tells_failures_and_goes_on_page_by_page(customer: Customer, receiver: Receiver) -> None:
    name = place()
    receiver.fail(name, 500, times=2)
    identity = subscribed(customer, receiver.url(name), events=["ChannelEvent"])
    other = subscribed(customer, receiver.url(place()), channel_id="other")
    vendor = customer.vendor("avd")
    vendor.tells(avd("open", "r1"))
    receiver.wait_for(name, 1)
    vendor.tells(avd("close", "r1"))
    receiver.wait_for(name, 2)
    customer.hub.wait_idle()
    client = live(customer)

    whole = client.list_event_sub_event(log_request(customer, None)).body
    assert [one.code for one in whole.logs] == [200, 200, 500, 500]
    assert [one.time for one in whole.logs] == sorted((one.time for one in whole.logs), reverse=True)
    pages = [
        client.list_event_sub_event(log_request(customer, identity, page_no=number, page_size=3)).body
        for number in (1, 2, 3)
    ]
    assert [(one.count, one.has_more) for one in pages] == [(3, True), (1, False), (0, False)]
    assert [one.to_map() for page in pages for one in page.logs or []] == [one.to_map() for one in whole.logs]
    assert client.list_event_sub_event(log_request(customer, other)).body.count == 0
    earlier = int(time.time()) - 3600
    before = log_request(customer, identity, start_time=earlier - 60, end_time=earlier)
    assert client.list_event_sub_event(before).body.count == 0


@pytest.mark.parametrize(
    ("case", "asked"),
    [
        ("over 7 days", {"start_time": -8 * 86400}),
        ("older than 7 days", {"start_time": -9 * 86400, "end_time": -8 * 86400}),
        ("ends before it begins", {"end_time": -7200}),
        ("PageSize 101", {"page_size": 101}),
        ("PageNo 0", {"page_no": 0}),
        ("no StartTime", {"start_time": None}),
    ],
)
def test_windows_and_pages_are_as_documented(
    record: Record, customer: Customer, case: str, asked: dict[str, int | None]
) -> None:
    now = int(time.time())
    given = {name: now + value if name.endswith("time") and value else value for name, value in asked.items()}
    with record("ListEventSubEvent", sdk=LIVE, signature="V3", case=case) as row:
        with pytest.raises(DaraException) as refused:
            live(customer).list_event_sub_event(log_request(customer, None, **given))
        row.result = code_of(refused.value)
        assert row.result in {"InputInvalid", "InvalidParameter", "MissingStartTime"}


def test_an_app_has_twenty_subscriptions_one_of_them_to_all_channels(
    record: Record, customer: Customer, receiver: Receiver
) -> None:
    url = receiver.url("aliyun_rtc")
    everything = subscribed(customer, url, channel_id="*")
    with record("CreateEventSub", sdk=LIVE, signature="V3", case="a second one to all channels") as row:
        with pytest.raises(DaraException) as refused:
            subscribed(customer, url)
        row.result = code_of(refused.value)
        assert row.result == "InputInvalid"
    ids = [subscribed(customer, url, channel_id=f"r{number}") for number in range(19)]
    with record("CreateEventSub", sdk=LIVE, signature="V3", case="the 21st of an AppId") as row:
        with pytest.raises(DaraException) as refused:
            subscribed(customer, url, channel_id="one too many")
        row.result = code_of(refused.value)
        assert row.result == "InputInvalid"
    with pytest.raises(DaraException):
        live(customer).update_event_sub(
            m.UpdateEventSubRequest(app_id=customer.app_id, subscribe_id=ids[0], callback_url=url, events=BOTH)
        )
    live(customer).update_event_sub(
        m.UpdateEventSubRequest(app_id=customer.app_id, subscribe_id=everything, callback_url=url, events=BOTH)
    )

    assert [one.sub_id for one in listed(customer)] == [everything, *ids]
    with customer.hub.control() as control:
        assert len(control.find(Subscription, app_id=customer.app_id)) == 20


def test_the_families_do_not_see_each_others(customer: Customer, receiver: Receiver) -> None:
    other = rtc_subscribed(customer, receiver.url("aliyun_rtc"))
    with pytest.raises(DaraException) as refused:
        live(customer).delete_event_sub(m.DeleteEventSubRequest(app_id=customer.app_id, subscribe_id=other))

    assert code_of(refused.value) == "ResourceNotExist"
    assert not listed(customer)
