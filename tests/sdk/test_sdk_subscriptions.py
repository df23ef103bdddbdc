"""CreateEventSubscribe and its relatives, as customers' programs call them."""

import pytest
from alibabacloud_rtc20180111 import models as m
from aliyunsdkrtc.request.v20180111.CreateEventSubscribeRequest import CreateEventSubscribeRequest

from e2e.receiver import Receiver
from sdk.clients import LEGACY, RTC, SIGNATURES, legacy, rtc
from sdk.customer import Customer
from sdk.table import Record


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_subscription_is_made_and_removed(
    record: Record, customer: Customer, receiver: Receiver, signature: str
) -> None:
    client = rtc(customer, signature)
    with record("CreateEventSubscribe", sdk=RTC, signature=signature):
        asked = m.CreateEventSubscribeRequest(
            app_id=customer.app_id, callback_url=receiver.url("aliyun_rtc"), client_token="t", events=["ChannelEvent"]
        )
        made = client.create_event_subscribe(asked)
        assert made.body.subscribe_id
        assert made.body.request_id == made.headers["x-acs-request-id"]
    with record("DeleteEventSubscribe", sdk=RTC, signature=signature):
        gone = client.delete_event_subscribe(
            m.DeleteEventSubscribeRequest(app_id=customer.app_id, subscribe_id=made.body.subscribe_id)
        )
        assert gone.body.request_id


def test_the_older_client_does_the_same(record: Record, customer: Customer, receiver: Receiver) -> None:
    with record("CreateEventSubscribe", sdk=LEGACY, signature="V1"):
        asked = CreateEventSubscribeRequest()
        asked.set_AppId(customer.app_id)
        asked.set_CallbackUrl(receiver.url("aliyun_rtc"))
        asked.set_ClientToken("t")
        asked.set_Eventss(["ChannelEvent"])
        assert legacy(customer, asked)["SubscribeId"]
