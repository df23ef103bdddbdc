"""Calls in Aliyun's RPC style: both signatures against published vectors, reading and refusing, answers."""

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from northbound.doors.parameters import Parameters
from northbound.doors.rpc import (
    RpcError,
    answer,
    check_signature,
    check_time,
    is_call,
    read_call,
    refusal,
    v1_signature,
    v3_signature,
)
from northbound.doors.throttle import (
    ALWAYS,
    NONCES_MOST,
    SHARE,
    Allowance,
    Throttle,
    has_room,
    minute_of,
    nonce_of,
)
from northbound.model.wire import Request

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRET = b"AKSECRET"
SUBSCRIBE = {
    "AccessKeyId": "AKID",
    "Action": "CreateEventSubscribe",
    "AppId": "9qb1abcd",
    "CallbackUrl": "http://cb.example.com/callback?x=1",
    "ClientToken": "tok-1",
    "Events.1": "ChannelEvent",
    "Events.2": "UserEvent",
    "Format": "JSON",
    "SignatureMethod": "HMAC-SHA1",
    "SignatureNonce": "nonce-1",
    "SignatureVersion": "1.0",
    "Timestamp": "2026-01-02T03:04:05Z",
    "Users.1": "用户 2~*",
    "Version": "2018-01-11",
}
V3_HEADERS = (
    ("host", "ecs.cn-shanghai.aliyuncs.com"),
    ("x-acs-action", "RunInstances"),
    ("x-acs-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("x-acs-date", "2023-10-26T10:22:32Z"),
    ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d"),
    ("x-acs-version", "2014-05-26"),
)


def v1(parameters: dict[str, str], method: str = "POST", secret: bytes = SECRET, **how: Any) -> Request:
    """Return a signed V1 call with everything in the query."""
    signed = parameters | {"Signature": v1_signature(method, parameters, secret)}
    return Request(method=method, url="http://hub.test/?" + urlencode(signed, **how))


def refused(request: Request, secret: bytes = SECRET) -> str:
    with pytest.raises(RpcError) as caught:
        check_signature(request, read_call(request), secret)
    return caught.value.code


# --- signatures ------------------------------------------------------------------------------------------------------


def test_v1_is_the_documented_one():
    documented = {
        "AccessKeyId": "testid",
        "Action": "DescribeRegions",
        "Format": "XML",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
        "SignatureVersion": "1.0",
        "Timestamp": "2016-02-23T12:46:24Z",
        "Version": "2014-05-26",
    }
    assert v1_signature("GET", documented, b"testsecret") == "OLeaidS1JvxuMvnyHOwuJ+uX5qY="
    assert v1_signature("POST", SUBSCRIBE, SECRET) == "WNLLYj4VRBQgepgxSuhfaI13pXU="


def test_v3_is_the_documented_one():
    query = "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai"
    request = Request(method="POST", url=f"http://ecs.cn-shanghai.aliyuncs.com/?{query}", headers=V3_HEADERS)
    wanted = "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"

    assert v3_signature(request, [name for name, _ in V3_HEADERS], b"YourAccessKeySecret") == wanted


@pytest.mark.parametrize("how", [{}, {"quote_via": quote}])
def test_a_space_may_be_written_either_way(how: dict[str, Any]):
    request = v1(SUBSCRIBE, **how)

    check_signature(request, read_call(request), SECRET)
    assert read_call(request).parameters["Users.1"] == "用户 2~*"


def test_v1_covers_query_and_form_together():
    common = {name: value for name, value in SUBSCRIBE.items() if name not in {"AppId", "CallbackUrl"}}
    own = {name: SUBSCRIBE[name] for name in ("AppId", "CallbackUrl")}
    signed = common | {"Signature": v1_signature("POST", SUBSCRIBE, SECRET)}
    form = (("content-type", "application/x-www-form-urlencoded"),)
    url = "http://hub.test/?" + urlencode(signed)
    request = Request(method="POST", url=url, headers=form, body=urlencode(own).encode())

    check_signature(request, read_call(request), SECRET)
    other = Request(method="POST", url=url, headers=form, body=urlencode(own | {"AppId": "other"}).encode())
    assert refused(other) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("name", [name for name in SUBSCRIBE if name not in {"SignatureMethod", "SignatureVersion"}])
def test_no_parameter_can_be_changed(name: str):
    signed = SUBSCRIBE | {"Signature": v1_signature("POST", SUBSCRIBE, SECRET)}
    changed = {**signed, name: signed[name] + "x"} | ({"Format": "XML"} if name == "Format" else {})

    assert refused(Request(method="POST", url="http://hub.test/?" + urlencode(changed))) == "SignatureDoesNotMatch"


def v3(body: bytes = b"", drop: str = "", signed: tuple[str, ...] = (), **headers: str) -> Request:
    """Return a signed V3 call."""
    digest = hashlib.sha256(body).hexdigest()
    sent = dict(V3_HEADERS) | {"x-acs-content-sha256": digest} | headers
    names = signed or tuple(sorted(name for name in sent if name != drop))
    request = Request(method="POST", url="http://hub.test/?A=1", headers=tuple(sent.items()), body=body)
    mark = f"ACS3-HMAC-SHA256 Credential=AKID,SignedHeaders={';'.join(names)},Signature="
    return request.adding(("authorization", mark + v3_signature(request, names, SECRET)))


def test_v3_must_sign_what_it_sends():
    check_signature(v3(), read_call(v3()), SECRET)

    assert refused(v3(drop="x-acs-version")) == "IncompleteSignature"
    assert refused(v3(drop="host")) == "IncompleteSignature"
    assert refused(v3(signed=tuple(sorted(dict(V3_HEADERS), reverse=True)))) == "IncompleteSignature"
    assert refused(v3(**{"x-acs-content-sha256": "0" * 64})) == "SignatureDoesNotMatch"
    assert refused(v3().adding(("x-acs-version", "2018-01-11"))) == "SignatureDoesNotMatch"
    assert refused(v3(), b"other") == "SignatureDoesNotMatch"


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_time_far_away_is_refused_and_says_ours(minutes: int):
    call = read_call(v1(SUBSCRIBE))

    check_time(call, NOW + timedelta(minutes=minutes / 16 * 15))
    with pytest.raises(RpcError, match="set the clock") as caught:
        check_time(call, NOW + timedelta(minutes=minutes))
    assert caught.value.code == "InvalidTimeStamp.Expired"


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("Action=A&Action=B", "InvalidParameter"),
        ("Action=%4", "InvalidParameter"),
        ("Action=%ff", "InvalidParameter"),
        ("Version=1", "MissingAction"),
        ("Action=A", "MissingVersion"),
        ("Action=A&Version=1", "MissingAccessKeyId"),
        ("Action=A&Version=1&Format=YAML", "UnsupportedParameter"),
        ("&".join(f"Users.{number}=u" for number in range(10_000)), "InvalidParameter"),
        ("Action=" + "x" * 300_000, "InvalidParameter"),
    ],
)
def test_what_is_no_call_is_refused_by_name(query: str, code: str):
    with pytest.raises(RpcError) as caught:
        read_call(Request(method="GET", url=f"http://hub.test/?{query}"))
    assert caught.value.code == code


@given(st.text(alphabet=st.characters(codec="latin-1"), max_size=200), st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(query: str, body: bytes):
    form = (("content-type", "application/x-www-form-urlencoded"),)
    request = Request(method="POST", url="http://hub.test/?" + query.replace("#", ""), headers=form, body=body)
    is_call(request)
    with suppress(RpcError):
        read_call(request)


def test_people_are_told_from_calls():
    assert not is_call(Request(method="GET", url="http://hub.test/"))
    assert not is_call(Request(method="GET", url="http://hub.test/?utm_source=x&Reaction=1"))
    assert is_call(v1(SUBSCRIBE))
    assert is_call(Request(method="POST", url="http://hub.test/", headers=(("x-acs-action", "X"),)))


def test_lists_keep_their_numbers_order():
    given_ = Parameters({"Users.10": "j", "Users.2": "b", "Users.1": "a", "Userss.1": "z"})

    assert given_.listed("Users", most=64) == ["a", "b", "j"]
    assert Parameters({"Users": ""}).listed("Users", most=64) == []
    for wrong in (
        {"Users": "a"},
        {"Users.0": "a"},
        {"Users.x": "a"},
        {"Users.1": ""},
        {f"Users.{n}": "u" for n in range(1, 66)},
    ):
        with pytest.raises(RpcError, match="Users"):
            Parameters(wrong).listed("Users", most=64)


@pytest.mark.parametrize("sign", ["\x00", "\t", "\n", "\x1b", "\x7f", "\x85"])
def test_what_names_a_channel_or_user_holds_no_control_character(sign: str):
    for place in (f"a{sign}b", f"{sign}a", f"a{sign}"):
        given_ = Parameters({"ChannelId": place, "Users.1": "ann", "Users.2": place})
        for ask in (lambda one: one.identity("ChannelId"), lambda one: one.listed("Users", most=64)):
            with pytest.raises(RpcError) as refused:
                ask(given_)
            assert refused.value.code == "InvalidParameter"
            assert place not in refused.value.message


def test_what_names_a_channel_or_user_may_be_any_other_text():
    name = "教室 7 \N{SLIGHTLY SMILING FACE} é"
    given_ = Parameters({"ChannelId": name, "Users.1": name})

    assert given_.identity("ChannelId") == name
    assert given_.listed("Users", most=64) == [name]


# --- answers ---------------------------------------------------------------------------------------------------------


def test_answers_are_json_or_xml_as_asked():
    call = read_call(v1(SUBSCRIBE))
    told = answer(call, "R-1", {"SubscribeId": "s<1>", "Users": ["a", "b"], "Ok": True})

    assert json.loads(told.body) == {"RequestId": "R-1", "SubscribeId": "s<1>", "Users": ["a", "b"], "Ok": True}
    assert told.header("x-acs-request-id") == "R-1"
    written = answer(read_call(v1(SUBSCRIBE | {"Format": "XML"})), "R-1", {"SubscribeId": "s<1>", "Users": ["a", "b"]})
    root = ET.fromstring(written.body)  # noqa: S314 - our own words
    assert root.tag == "CreateEventSubscribeResponse"
    assert [(one.tag, one.text) for one in root] == [
        ("RequestId", "R-1"),
        ("SubscribeId", "s<1>"),
        ("Users", "a"),
        ("Users", "b"),
    ]


def test_without_a_format_the_answer_is_xml():
    parameters = {name: value for name, value in SUBSCRIBE.items() if name != "Format"}

    assert read_call(v1(parameters)).wants_xml
    assert not read_call(v3()).wants_xml


def test_a_refusal_is_well_formed_whatever_it_repeats():
    told = refusal(RpcError("X", "a \x00 b </Error> ]]>"), "R-1", "<host>", xml=True)

    root = ET.fromstring(told.body)  # noqa: S314 - our own words
    assert root.findtext("Message") == "a \ufffd b </Error> ]]>"


# --- counting --------------------------------------------------------------------------------------------------------


def test_only_so_many_calls_in_a_window():
    throttle, few = Throttle(), Allowance(2, 60)

    assert [throttle.allows("a", "X", few, now) for now in (0, 1, 2, 59, 60.5, 60.6)] == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]
    assert throttle.allows("a", "Y", few, 2)
    assert throttle.allows("b", "X", few, 2)


def test_a_nonce_is_one_accounts_and_keys_own_until_its_time_is_over():
    kinds = {nonce_of(*words, NOW) for words in (("1", "k", "n"), ("2", "k", "n"), ("1", "j", "n"), ("1", "k", "m"))}

    assert len({one.owner + one.digest for one in kinds}) == 4
    assert len({one.owner for one in kinds}) == 2
    assert {one.until for one in kinds} == {minute_of(NOW)}
    assert nonce_of("1", "k", "n", NOW + timedelta(minutes=1)).until == minute_of(NOW) + 1
    assert len(nonce_of("1", "k", "n" * 100_000, NOW).digest) == 16


@pytest.mark.parametrize(
    ("own", "every", "is_room"),
    [
        (0, 0, True),
        (SHARE - 1, SHARE - 1, True),
        (SHARE, SHARE, False),
        (ALWAYS - 1, NONCES_MOST, True),
        (ALWAYS, NONCES_MOST, False),
        (ALWAYS, NONCES_MOST - 1, True),
    ],
)
def test_an_account_has_a_share_and_some_room_whatever_others_do(own: int, every: int, *, is_room: bool):
    assert has_room(own, every) is is_room
