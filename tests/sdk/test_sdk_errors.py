"""Every refusal of the RPC door as the clients raise it, and what no client can send; nothing is ever half created."""

import hmac
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import uuid4
from xml.etree import ElementTree as ET

import pytest
from alibabacloud_rtc20180111 import models as m
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkrtc.request.v20180111.DescribeAppKeyRequest import DescribeAppKeyRequest
from darabonba.exceptions import DaraException

from e2e.hub import send
from e2e.receiver import Receiver
from northbound.model.app import Endpoint, Subscription
from northbound.model.wire import Request, Response
from sdk.asked import REPLAYED, RTC, WRONG_KEY, WRONG_SECRET
from sdk.between import Between
from sdk.clients import LEGACY, NOBODY, SIGNATURES, code_of, legacy, refused_by, rtc
from sdk.customer import Customer
from sdk.table import Record


@pytest.fixture(autouse=True)
def _nothing_made(customer: Customer) -> Iterator[None]:
    """Whatever is refused leaves nothing behind."""
    yield
    with customer.hub.control() as control:
        assert control.find(Subscription, app_id=customer.app_id) == []
        assert control.find(Endpoint, app_id=customer.app_id) == []


def key_of(customer: Customer, signature: str, **other: Any) -> Any:
    return rtc(customer, signature, **other).describe_app_key(m.DescribeAppKeyRequest(app_id=customer.app_id))


# --- who calls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_token_of_a_temporary_key_is_taken_along(record: Record, customer: Customer, signature: str) -> None:
    """STS fields are accepted and signed; the secret decides."""
    with record("DescribeAppKey", sdk=RTC, signature=signature, case="with a security token"):
        assert key_of(customer, signature, security_token="sts-token").body.app_key == customer.app_key


def test_the_older_clients_refusals(record: Record, customer: Customer) -> None:
    def refusal(**changed: str) -> str:
        request = DescribeAppKeyRequest()
        request.set_AppId(customer.app_id)
        with pytest.raises(ServerException) as caught:
            legacy(replace(customer, **changed), request)
        assert len(caught.value.get_request_id()) == 36
        return code_of(caught.value)

    with record("DescribeAppKey", sdk=LEGACY, signature="V1", case=WRONG_KEY) as row:
        row.result = refusal(access_key_id=NOBODY)
        assert row.result == "InvalidAccessKeyId.NotFound"
    with record("DescribeAppKey", sdk=LEGACY, signature="V1", case=WRONG_SECRET) as row:
        row.result = refusal(access_key_secret="guessed")
        assert row.result == "InvalidAccessKeySecret"  # told by the client: both strings to sign are the same
    with record("DescribeAppKey", sdk=LEGACY, signature="V1", case=REPLAYED) as row:
        with Between(customer.address, times=2) as between:
            row.result = refusal(address=between.address)
        assert row.result == "SignatureNonceUsed"


# --- what is called --------------------------------------------------------------------------------------------------


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("no AppId", {"app_id": None}, "MissingAppId"),
    ("no CallbackUrl", {"callback_url": None}, "MissingCallbackUrl"),
    ("no ClientToken", {"client_token": None}, "MissingClientToken"),
    ("no Events", {"events": None}, "MissingEvents"),
    ("another event", {"events": ["ChannelEvent", "RoomEvent"]}, "InvalidParameter"),
    ("17 events", {"events": ["UserEvent"] * 17}, "InvalidParameter"),
    ("65 users", {"channel_id": "r1", "users": [f"u{number}" for number in range(65)]}, "InvalidParameter"),
    ("users that are long together", {"channel_id": "r1", "users": [f"{n:04}" + "用" * 90 for n in range(64)]},
     "InvalidParameter"),
    ("a user of 129 characters", {"channel_id": "r1", "users": ["u" * 129]}, "InvalidParameter"),
    ("users without a channel", {"users": ["u1"]}, "MissingChannelId"),
    ("users of every channel", {"channel_id": "*", "users": ["u1"]}, "MissingChannelId"),
    ("a token of 65 characters", {"client_token": "t" * 65}, "InvalidParameter"),
    ("a token that is not ASCII", {"client_token": "令牌"}, "InvalidParameter"),
    ("a URL that is none", {"callback_url": "callback"}, "InputInvalid"),
    ("another scheme", {"callback_url": "ftp://receiver.test/x"}, "InputInvalid"),
    ("an address inside", {"callback_url": "http://169.254.169.254/latest"}, "InputInvalid"),
    ("a URL of 3,000 characters", {"callback_url": "https://receiver.test/" + "x" * 3000}, "InvalidParameter"),
    ("a Role that is no number", {"role": "boss"}, "InvalidParameter"),
    ("NeedCallbackAuth neither true nor false", {"need_callback_auth": "maybe"}, "InvalidParameter"),
    ("an AppId that there is not", {"app_id": "nowhere"}, "ResourceNotExist"),
]  # fmt: skip


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize(("case", "changed", "code"), WRONG, ids=[case for case, _, _ in WRONG])
def test_what_is_missing_or_wrong(
    record: Record,
    customer: Customer,
    receiver: Receiver,
    signature: str,
    case: str,
    changed: dict[str, Any],
    code: str,
) -> None:
    given = {
        "app_id": customer.app_id, "callback_url": receiver.url("aliyun_rtc"), "client_token": "t",
        "events": ["UserEvent"], **changed,
    }  # fmt: skip
    with record("CreateEventSubscribe", sdk=RTC, signature=signature, case=case) as row:
        client = rtc(customer, signature)
        row.result = refused_by(lambda: client.create_event_subscribe(m.CreateEventSubscribeRequest(**given)))
        assert row.result == code


def test_another_accounts_app_and_subscription(
    record: Record, customer: Customer, new_customer: Callable[[], Customer], receiver: Receiver
) -> None:
    """T1: the same words as for what is nowhere, and the other's are left alone."""
    other = new_customer()
    url = receiver.url("aliyun_rtc")
    asked = m.CreateEventSubscribeRequest(app_id=other.app_id, callback_url=url, client_token="t", events=["UserEvent"])
    theirs = rtc(other).create_event_subscribe(asked).body.subscribe_id
    with record("CreateEventSubscribe", sdk=RTC, signature="V3", case="another account's AppId") as row:
        row.result = refused_by(lambda: rtc(customer).create_event_subscribe(asked))
        assert row.result == "ResourceNotExist"
    for case, app_id in (("in its app", other.app_id), ("in one's own app", customer.app_id)):
        with record("DeleteEventSubscribe", sdk=RTC, signature="V3", case=f"another account's, {case}") as row:
            gone = m.DeleteEventSubscribeRequest(app_id=app_id, subscribe_id=theirs)
            row.result = refused_by(lambda gone=gone: rtc(customer).delete_event_subscribe(gone))
            assert row.result == "ResourceNotExist"
    with customer.hub.control() as control:
        assert control.get(Subscription, theirs)[1].app_id == other.app_id


def test_ten_thousand_users(record: Record, customer: Customer, receiver: Receiver) -> None:
    """In a form and in a query they are counted and refused in the vendor's shape."""
    users = {f"Users.{number}": "u" for number in range(1, 10_001)}
    with record("CreateEventSubscribe", sdk="by hand", signature="V1", case="10,000 users in a form") as row:
        row.result = code_in(by_hand(customer, create(customer, receiver) | users))
        assert row.result == "InvalidParameter"
    with record("CreateEventSubscribe", sdk=RTC, signature="V3", case="10,000 users in the query") as row:
        given = {"app_id": customer.app_id, "callback_url": "https://receiver.test/", "client_token": "t"}
        asked = m.CreateEventSubscribeRequest(**given, channel_id="r1", events=["UserEvent"], users=["u"] * 10_000)
        with pytest.raises(DaraException) as caught:
            rtc(customer).create_event_subscribe(asked)
        row.result = caught.value.code
        assert row.result == "InvalidParameter"


# --- what no client sends --------------------------------------------------------------------------------------------
# Signed here once more by the page's rules, with nothing of ours.


def create(customer: Customer, receiver: Receiver) -> dict[str, str]:
    return {
        "Action": "CreateEventSubscribe", "Version": "2018-01-11", "Format": "JSON", "AppId": customer.app_id,
        "CallbackUrl": receiver.url("aliyun_rtc"), "ClientToken": uuid4().hex, "Events.1": "UserEvent",
    }  # fmt: skip


def signed(customer: Customer, given: dict[str, str], method: str) -> str:
    """Return *given* with the common parameters and `Signature`, form-encoded."""
    common = {
        "AccessKeyId": customer.access_key_id, "SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0",
        "SignatureNonce": uuid4().hex, "Timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }  # fmt: skip
    words = "&".join(f"{quote(name, '')}={quote(value, '')}" for name, value in sorted((given | common).items()))
    text = f"{method}&%2F&{quote(words, '')}"
    digest = hmac.digest(f"{customer.access_key_secret}&".encode(), text.encode(), "sha1")
    return f"{words}&Signature={quote(b64encode(digest).decode(), '')}"


def by_hand(customer: Customer, given: dict[str, str], *, method: str = "POST", after: str = "") -> Response:
    """Send a signed call, in the form (POST) or the query (GET), *after* it what was not signed."""
    words = signed(customer, given, method) + after
    if method == "GET":
        return send(Request(method="GET", url=f"http://{customer.address}/?{words}"))
    headers = (("content-type", "application/x-www-form-urlencoded"),)
    return send(Request(method="POST", url=f"http://{customer.address}/", headers=headers, body=words.encode()))


def code_in(response: Response) -> str:
    """Return the code of a refusal as JSON or XML, whose request id is also in the header."""
    if (response.header("content-type") or "").startswith("application/json"):
        words = json.loads(response.body)
    else:
        root = ET.fromstring(response.body)  # noqa: S314 - our own answer
        assert root.tag == "Error"
        words = {child.tag: child.text for child in root}
    assert words["RequestId"] == response.header("x-acs-request-id")
    assert len(words["RequestId"]) == 36
    assert set(words) == {"RequestId", "HostId", "Code", "Message"}
    return words["Code"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("case", "after", "code"),
    [
        ("a parameter twice", "&Events.1=ChannelEvent", "InvalidParameter"),
        ("half a percent sign", "&Users.1=%E7%9", "InvalidParameter"),
        ("a percent sign at the end", "&Users.1=100%", "InvalidParameter"),
        ("no UTF-8", "&Users.1=%FF%FE", "InvalidParameter"),
        ("a name of 200 characters", f"&{'x' * 200}=1", "InvalidParameter"),
        ("1,001 parameters", "".join(f"&p{number}=" for number in range(1001)), "InvalidParameter"),
        ("what was not signed", "&Role=1", "SignatureDoesNotMatch"),
    ],
)
def test_a_call_that_is_not_well_formed(
    record: Record, customer: Customer, receiver: Receiver, method: str, case: str, after: str, code: str
) -> None:
    with record("CreateEventSubscribe", sdk="by hand", signature="V1", case=f"{case} ({method})") as row:
        row.result = code_in(by_hand(customer, create(customer, receiver), method=method, after=after))
        assert row.result == code


def test_a_body_over_the_limit(record: Record, customer: Customer, receiver: Receiver) -> None:
    with record("CreateEventSubscribe", sdk="by hand", signature="V1", case="a parameter of 5 MiB") as row:
        big = "&Users.1=" + "u" * 5 * 1024 * 1024
        with suppress(ConnectionError):  # the server may close while the rest is still being sent
            answer = by_hand(customer, create(customer, receiver), after=big)
            assert answer.status == 413
            assert code_in(answer) == "InvalidParameter"
        row.result = "HTTP 413"


def test_answers_are_xml_where_no_format_is_asked_for(record: Record, customer: Customer) -> None:
    """The classic rule; and nothing that is said comes back as markup."""
    apps = {"Action": "DescribeApps", "Version": "2018-01-11"}
    entity = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'
    with record("DescribeApps", sdk="by hand", signature="V1", case="XML, entities in what is said"):
        customer.another_app(entity[:100])
        root = ET.fromstring(by_hand(customer, apps, method="GET").body)  # noqa: S314 - our own answer
        assert root.tag == "DescribeAppsResponse"
        names = [one.text for one in root.findall("AppList/App/AppName")]
        assert entity[:100] in names
        assert root.findtext("TotalNum") == "3"
    with record("DescribeApps", sdk="by hand", signature="V1", case="XML refusal, entities in a parameter") as row:
        answer = by_hand(customer, {"Action": entity, "Version": "2018-01-11"})
        assert (answer.header("content-type") or "").startswith("application/xml")
        row.result = code_in(answer)
        assert row.result == "InvalidApi.NotFound"
    with record("DescribeApps", sdk="by hand", signature="V1", case="Format=xml in small letters"):
        assert by_hand(customer, apps | {"Format": "xml"}).body.startswith(b"<?xml")
    with record("DescribeApps", sdk="by hand", signature="V1", case="Format=json in small letters"):
        assert by_hand(customer, apps | {"Format": "json"}).body.startswith(b"{")
    with record("DescribeApps", sdk="by hand", signature="V1", case="another Format") as row:
        row.result = code_in(by_hand(customer, apps | {"Format": "YAML"}))
        assert row.result == "UnsupportedParameter"


@pytest.mark.parametrize("name", ["Action", "Version", "AccessKeyId", "SignatureNonce", "Timestamp", "Signature"])
def test_what_every_call_needs(record: Record, customer: Customer, name: str) -> None:
    with record("DescribeApps", sdk="by hand", signature="V1", case=f"no {name}") as row:
        words = signed(customer, {"Action": "DescribeApps", "Version": "2018-01-11"}, "GET").split("&")
        kept = "&".join(word for word in words if not word.startswith(f"{name}="))
        row.result = code_in(send(Request(method="GET", url=f"http://{customer.address}/?{kept}")))
        assert row.result == f"Missing{name}"


def test_a_person_at_the_same_place_gets_the_page_for_people(customer: Customer) -> None:
    answer = send(Request(method="GET", url=f"http://{customer.address}/"))

    assert answer.status == 200
    assert answer.header("x-acs-request-id") is None
