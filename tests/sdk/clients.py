"""The vendors' clients, pointed at a hub as a customer would: endpoint and protocol, nothing else is changed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from alibabacloud_eventbridge20200401.client import Client as EventBridgeClient
from alibabacloud_live20161101.client import Client as LiveClient
from alibabacloud_rtc20180111.client import Client as RtcClient
from alibabacloud_tea_openapi.models import Config
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from darabonba.exceptions import DaraException

from sdk.customer import Customer

LEGACY = "aliyun-python-sdk-rtc"
SIGNATURES = ("V1", "V3")
_ALGORITHM = {"V1": {"signature_algorithm": "v2"}, "V3": {}}  # the modern clients' name for V1 is v2


def config(customer: Customer, signature: str, **other: Any) -> Config:
    """Return the settings of a modern client."""
    given = {
        "access_key_id": customer.access_key_id,
        "access_key_secret": customer.access_key_secret,
        "endpoint": customer.address,
        "protocol": "http",
        **_ALGORITHM[signature],
        **other,
    }
    return Config(**given)


def rtc(customer: Customer, signature: str = "V3", **other: Any) -> RtcClient:
    return RtcClient(config(customer, signature, **other))


def live(customer: Customer, signature: str = "V3", **other: Any) -> LiveClient:
    return LiveClient(config(customer, signature, **other))


def eventbridge(customer: Customer, signature: str = "V3", **other: Any) -> EventBridgeClient:
    return EventBridgeClient(config(customer, signature, **other))


def legacy(customer: Customer, request: Any) -> Any:
    """Carry out a request of the older client, which asks for JSON whatever it is told; return the answer."""
    client = AcsClient(customer.access_key_id, customer.access_key_secret, "cn-hangzhou", auto_retry=False)
    request.set_endpoint(customer.address)
    request.set_protocol_type("http")
    with client.session:
        return json.loads(client.do_action_with_exception(request))


def code_of(error: BaseException) -> str:
    """Return the code by which a client names a refusal."""
    if isinstance(error, ServerException):
        return error.get_error_code()
    assert isinstance(error, DaraException), error
    return error.code


NOBODY = "LTAInobodyatall"
STATUSES = {
    "InvalidAccessKeyId.NotFound": 404,
    "InvalidApi.NotFound": 404,
    "ResourceNotExist": 404,
}


def refused_by(call: Callable[[], Any]) -> str:
    """Return the code of a refusal that has the documented shape and status."""
    with pytest.raises(DaraException) as caught:
        call()
    error = caught.value
    is_bridge = error.data.pop("Success", None) is False
    assert error.status_code == STATUSES.get(error.code, 409 if is_bridge and error.status_code == 409 else 400)
    assert set(error.data) == {"RequestId", "HostId", "Code", "Message", "statusCode"}
    assert error.data["HostId"] == "127.0.0.1"
    assert len(error.data["RequestId"]) == 36
    assert "Traceback" not in str(error.data)
    return error.code
