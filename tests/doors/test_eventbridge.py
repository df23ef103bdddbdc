"""EventBridge's data plane: its signature against the vector, events read, checked and given the bus's attributes."""

import json
from base64 import b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from northbound.doors.bridge import BATCH_BYTES, EVENT_BYTES
from northbound.doors.eventbridge import Given, check_signature, check_time, read_call, refusal, signature
from northbound.doors.events import (
    as_put,
    bus_named,
    check_event,
    read_event_list,
    read_events,
)
from northbound.doors.rpc import RpcError
from northbound.doors.targets import GivenTarget
from northbound.model.account import Account, Bus
from northbound.model.wire import Proof, Request

NOW = datetime(2026, 1, 2, 3, 4, 5, 179_000, tzinfo=UTC)
SECRET = b"AKSECRET"
HEADERS = (
    ("content-type", "application/json; charset=utf-8"),
    ("date", "Fri, 02 Jan 2026 03:04:05 GMT"),
    ("x-acs-signature-nonce", "n1"),
    ("x-acs-signature-method", "HMAC-SHA1"),
    ("x-acs-signature-version", "1.0"),
    ("x-eventbridge-version", "2015-06-06"),
)
ACCOUNT = Account(id="1234567890123456", name="a", created_at=NOW, app_id="app_1")
BUS = Bus(id="bus_1", account_id=ACCOUNT.id, name="demo", source_id="src_1", created_at=NOW)
EVENT: dict[str, Any] = {
    "id": "e-1",
    "source": "acs.demo",
    "specversion": "1.0",
    "type": "demo:order:paid",
    "datacontenttype": "application/json",
    "subject": "s",
    "data": {"n": 1.50, "名": "值"},
    "aliyuneventbusname": "demo",
}


def call(path: str = "/openapi/getEventBus", body: bytes = b"{}", **headers: str) -> Request:
    """Return a signed call."""
    request = Request(method="POST", url=f"http://hub.test{path}", headers=HEADERS, body=body)
    request = request.adding(*((name.replace("_", "-"), value) for name, value in headers.items()))
    return request.adding(("authorization", f"acs:AKID:{signature(request, SECRET)}"))


def refused(request: Request, secret: bytes = SECRET) -> str:
    with pytest.raises(RpcError) as caught:
        check_signature(request, read_call(request), secret)
    return caught.value.code


# --- the call --------------------------------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_vector():
    request = Request(method="POST", url="http://hub.test/openapi/getEventBus", headers=HEADERS)

    assert signature(request, SECRET) == "QO7oCfEBS9tqzmyPHS1GP1NiQUA="


def test_a_query_is_signed_in_order_and_decoded():
    one, other = call("/openapi/getRule?b=2&a=x%20y"), call("/openapi/getRule?a=x+y&b=2")

    assert one.header("authorization") == other.header("authorization")
    assert check_signature(one, read_call(one), SECRET) is Proof.SENDER


def test_only_a_hash_of_the_body_covers_it():
    body = b'[{"id":"e-1"}]'
    hashed = call(body=body, content_md5=b64encode(md5(body, usedforsecurity=False).digest()).decode())

    assert check_signature(call(body=body), read_call(call(body=body)), SECRET) is Proof.SENDER
    assert check_signature(hashed, read_call(hashed), SECRET) is Proof.FRESH
    other = Request(method="POST", url=hashed.url, headers=hashed.headers, body=b"[]")
    assert refused(other) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("name", ["content-type", "date", "x-acs-signature-nonce"])
def test_no_signed_header_can_be_changed(name: str):
    value = call().header(name) or ""
    assert refused(call().adding((name, value.replace("2026", "2027") + " "))) == "SignatureDoesNotMatch"
    assert refused(call(), b"other") == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Request(method="GET", url="http://hub.test/openapi/getRule"), "InvalidApi.NotFound"),
        (call("/openapi/"), "InvalidApi.NotFound"),
        (call("/openapi/a/b/c"), "InvalidApi.NotFound"),
        (call().adding(("authorization", "Bearer x")), "IncompleteSignature"),
        (call().adding(("x-acs-signature-method", "HMAC-SHA256")), "IncompleteSignature"),
        (call().adding(("x-acs-signature-nonce", "")), "MissingParameter"),
        (call().adding(("date", "yesterday")), "InvalidTimeStamp.Format"),
        (Request(method="POST", url=call().url, headers=(*call().headers, ("Date", "x"))), "IncompleteSignature"),
    ],
)
def test_what_is_no_call_is_refused_by_name(request_: Request, code: str):
    with pytest.raises(RpcError) as caught:
        read_call(request_)
    assert caught.value.code == code
    told = json.loads(refusal(caught.value, "R-1").body)
    assert (told["code"], told["requestId"], set(told)) == (code, "R-1", {"code", "message", "requestId"})


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_date_far_away_is_refused(sign: int):
    read = read_call(call())

    check_time(read, read.date + sign * timedelta(minutes=15))
    with pytest.raises(RpcError, match="set the clock"):
        check_time(read, read.date + sign * timedelta(minutes=15, seconds=1))


@given(st.binary(max_size=300))
def test_any_body_is_read_or_refused(body: bytes):
    with suppress(RpcError):
        Given(body)
    with suppress(RpcError):
        for words in read_events(body):
            check_event(words)


def test_parameters_are_read_by_their_kinds():
    told = Given(b'{"Name": "n", "Limit": "7", "Ids": ["a"], "Empty": "", "Null": null, "Wrong": {"a": 1}}')

    assert (told.text("Name"), told.text("Null", "d"), told.text_if_given("Empty")) == ("n", "d", None)
    assert (told.number("Limit", 3), told.number("Other", 3), told.texts("Ids", 1)) == (7, 3, ["a"])
    for refused_, code in (
        (lambda: told.text("Empty"), "MissingEmpty"),
        (lambda: told.text("Wrong"), "JsonAttributeInvalid"),
        (lambda: told.number("Name", 1), "JsonAttributeInvalid"),
        (lambda: told.texts("Ids", 0), "JsonAttributeInvalid"),
        (lambda: told.listed("Wrong", GivenTarget), "JsonAttributeInvalid"),
        (lambda: Given(b"[]"), "JsonAttributeInvalid"),
        (lambda: Given(b"{"), "JsonAttributeInvalid"),
    ):
        with pytest.raises(RpcError) as caught:
            refused_()
        assert caught.value.code == code


# --- events ----------------------------------------------------------------------------------------------------------


def events(*given: dict[str, Any]) -> bytes:
    return json.dumps(given or [EVENT]).encode()


def test_one_event_or_several():
    assert len(read_events(json.dumps(EVENT).encode())) == 1
    assert len(read_events(events(EVENT, EVENT))) == 2
    for wrong, code in (
        (b"[]", "JsonAttributeInvalid"),
        (b"3", "JsonAttributeInvalid"),
        (b"[1]", "JsonAttributeInvalid"),
    ):
        with pytest.raises(RpcError) as caught:
            read_events(wrong)
        assert (caught.value.code, caught.value.status) == (code, 409)


@pytest.mark.parametrize("body", [events(*[EVENT] * 17), b" " * (BATCH_BYTES + 1)])
def test_a_call_has_its_limits(body: bytes):
    with pytest.raises(RpcError) as caught:
        read_events(body)
    assert (caught.value.code, caught.value.status) == ("EventSizeExceed", 409)


def test_all_events_name_one_bus():
    other = EVENT | {"aliyuneventbusname": "other"}
    without = {name: value for name, value in EVENT.items() if name != "aliyuneventbusname"}

    assert bus_named(read_events(events(EVENT, EVENT))) == "demo"
    assert bus_named(read_events(events(without)), "demo") == "demo"
    for wrong, name, code in (
        (events(EVENT, other), "", "PutEventsRequestMoreThanOneEventBus"),
        (events(EVENT, without), "", "PutEventsRequestMoreThanOneEventBus"),
        (events(EVENT), "other", "PutEventsRequestMoreThanOneEventBus"),
        (events(without), "", "EventBusEmpty"),
    ):
        with pytest.raises(RpcError) as caught:
            bus_named(read_events(wrong), name)
        assert (caught.value.code, caught.value.status) == (code, 409)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"id": None}, "EventIdEmpty"),
        ({"id": " "}, "EventIdEmpty"),
        ({"id": "x" * 129}, "JsonAttributeInvalid"),
        ({"source": ""}, "EventSourceInvalid"),
        ({"source": "x" * 129}, "EventSourceInvalid"),
        ({"type": 3}, "EventTypeInvalid"),
        ({"type": "x" * 65}, "EventTypeInvalid"),
        ({"specversion": "2.0"}, "EventSpecversionInvalid"),
        ({"subject": "x" * 513}, "JsonAttributeInvalid"),
        ({"subject": "a\nb"}, "JsonAttributeInvalid"),
        ({"time": "yesterday"}, "JsonAttributeInvalid"),
        ({"datacontenttype": "json"}, "EventContentTypeInvalid"),
        ({"data_base64": "e30="}, "JsonAttributeInvalid"),
        ({"data": None, "data_base64": "***"}, "JsonAttributeInvalid"),
        ({"Upper": "x"}, "JsonAttributeInvalid"),
        ({"nested": {"a": 1}}, "JsonAttributeInvalid"),
        ({"data": "x" * EVENT_BYTES}, "EventSizeExceed"),
    ],
)
def test_what_is_wrong_with_an_event_is_said(change: dict[str, Any], code: str):
    (words,) = read_events(events(EVENT | change))

    found = check_event(words)

    assert found is not None
    assert found.code == code


@pytest.mark.parametrize("name", ["id", "source", "subject"])
def test_the_longest_texts_are_taken(name: str):
    longest = {"id": 128, "source": 128, "subject": 512}[name]

    assert check_event(read_events(events(EVENT | {name: "字" * longest}))[0]) is None


def test_the_bus_adds_its_attributes_and_nobody_else_does():
    (words,) = read_events(events(EVENT | {"aliyunaccountid": "somebody else", "own": "kept", "unset": None}))

    put = json.loads(as_put(words, ACCOUNT, BUS, NOW, "192.0.2.7"))

    assert put == EVENT | {
        "own": "kept",
        "aliyunaccountid": ACCOUNT.id,
        "aliyunregionid": "cn-hangzhou",
        "aliyunpublishtime": "2026-01-02T03:04:05.179Z",
        "aliyunpublishaddr": "192.0.2.7",
    }
    assert b'"n": 1.5' not in as_put(words, ACCOUNT, BUS, NOW, "")


@pytest.mark.parametrize(
    ("media", "content", "name", "value"),
    [
        ("application/json; charset=utf-8", b'{"a": 1.0}', "data", {"a": 1.0}),
        ("application/json", b"\xef\xbb\xbf[1]", "data", [1]),
        ("application/octet-stream", b'{"a": 1}', "data_base64", "eyJhIjogMX0="),
        ("application/json", b"{no json", "data_base64", "e25vIGpzb24="),
    ],
)
def test_json_in_base64_is_seen_by_patterns(media: str, content: bytes, name: str, value: Any):
    given_ = {key: one for key, one in EVENT.items() if key != "data"}
    given_ |= {"datacontenttype": media, "data_base64": b64encode(content).decode()}
    (words,) = read_events(events(given_))

    assert check_event(words) is None
    put = json.loads(as_put(words, ACCOUNT, BUS, NOW, ""))
    assert (put[name], len({"data", "data_base64"} & put.keys())) == (value, 1)


def test_the_control_plane_writes_attributes_in_pascal_case():
    given_ = [{"Id": "e-1", "Source": "s", "SpecVersion": "1.0", "Type": "t", "DataContentType": "text/plain",
               "Data": "x", "Extensions": {"own": "1"}}]  # fmt: skip

    (words,) = read_event_list(json.dumps(given_))

    assert {name: json.loads(bytes(value)) for name, value in words.items()} == {
        "id": "e-1", "source": "s", "specversion": "1.0", "type": "t", "datacontenttype": "text/plain",
        "data": "x", "own": "1",
    }  # fmt: skip
