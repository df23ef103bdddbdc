"""Call apps: admissions that nobody can bend, proxy addresses with the reason they are refused, who is told what."""

from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from northbound.dialects import dialect_named
from northbound.doors.mpaas import (
    Refusal,
    callback_pattern,
    callback_types,
    check_admission,
    read_media_proxy,
    sign_admission,
)
from northbound.logic.route import compile_for
from northbound.model.app import App
from northbound.model.call_app import CallApp
from northbound.model.errors import InvalidInput

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
APP = App(id="app_1", name="school", created_at=NOW, workspace_id="product")
KEY = generate_private_key(public_exponent=65_537, key_size=2_048)


def call_app_of(key: RSAPrivateKey, biz_name: str = "nbcall01") -> CallApp:
    return CallApp(
        id="call_1",
        app_id=APP.id,
        name="maths",
        biz_name=biz_name,
        created_at=NOW,
        secret=key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        public_key=key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


CALL_APP = call_app_of(KEY)


def signed(text: str, key: RSAPrivateKey = KEY) -> str:
    """Sign as a customer's server does, by the vendor's page and no code of ours."""
    return b64encode(key.sign(text.encode(), PKCS1v15(), NoDigestInfo())).decode()


def check(sign: str, uid: str, expire_time: int, *, now: datetime = NOW, biz_name: str | None = None) -> Refusal | None:
    return check_admission(CALL_APP, APP, sign=sign, uid=uid, expire_time=expire_time, now=now, biz_name=biz_name)


# --- admissions ------------------------------------------------------------------------------------------------------


def test_an_admission_is_the_page_formula():
    """One PKCS#1 v1.5 block over bizName + appId + workspaceId + uid + expireTime, base64."""
    sign, expire_time = sign_admission(CALL_APP, APP, "u_7", LATER)

    assert expire_time == 1767326645000
    assert signed(f"nbcall01app_1productu_7{expire_time}") == sign
    block = pow(int.from_bytes(b64decode(sign), "big"), 65_537, KEY.public_key().public_numbers().n).to_bytes(
        256, "big"
    )
    assert block[:2] == b"\x00\x01"
    assert block.endswith(b"\xff\x00nbcall01app_1productu_71767326645000")


def test_an_admission_is_good_again_and_again_until_it_expires():
    """Ruling 17: reusable until it expires."""
    sign, expire_time = sign_admission(CALL_APP, APP, "u_7", LATER)

    assert [check(sign, "u_7", expire_time) for _ in range(3)] == [None] * 3
    assert check(sign, "u_7", expire_time, now=LATER - timedelta(milliseconds=1)) is None
    assert check(sign, "u_7", expire_time, now=LATER) is Refusal.EXPIRED
    assert check(sign, "u_7", expire_time, biz_name="nbcall01") is None


def test_an_admission_is_for_its_own_uid_scene_and_time():
    """Ruling 17: whatever else is claimed is refused with the reason."""
    sign, expire_time = sign_admission(CALL_APP, APP, "u_7", LATER)
    other_key = generate_private_key(public_exponent=65_537, key_size=2_048)

    assert check(sign, "u_8", expire_time) is Refusal.OTHER_USER
    assert check(sign, "u_7", expire_time + 1) is Refusal.OTHER_TIME
    assert check(sign, "u_7", expire_time, biz_name="nbcall02") is Refusal.OTHER_APP
    assert check(signed(f"nbcall02app_1productu_7{expire_time}"), "u_7", expire_time) is Refusal.OTHER_APP
    assert check(signed(f"nbcall01app_2productu_7{expire_time}"), "u_7", expire_time) is Refusal.OTHER_APP
    assert check(signed(f"nbcall01app_1productu_7{expire_time}", other_key), "u_7", expire_time) is Refusal.NOT_SIGNED


def test_a_digit_of_the_time_never_becomes_one_of_the_uid():
    """Nothing separates uid and time: u_71 until 1767... must not pass for u_7 until the year 2530."""
    sign, expire_time = sign_admission(CALL_APP, APP, "u_71", LATER)

    assert check(sign, "u_7", int(f"1{expire_time}")) is Refusal.OTHER_USER
    short = signed("nbcall01app_1productu_717673266450")  # signed elsewhere, in a shorter unit
    assert check(short, "u_7", 17673266450) is Refusal.OTHER_USER
    with pytest.raises(InvalidInput, match="13 digits"):
        sign_admission(CALL_APP, APP, "u_7", datetime(1999, 1, 1, tzinfo=UTC))


@given(place=st.integers(0, 255), bit=st.integers(0, 7))
def test_an_altered_signature_is_refused(place: int, bit: int):
    sign, expire_time = sign_admission(CALL_APP, APP, "u_7", LATER)
    altered = bytearray(b64decode(sign))
    altered[place] ^= 1 << bit

    assert check(b64encode(altered).decode(), "u_7", expire_time) is Refusal.NOT_SIGNED


@given(st.text(max_size=40))
def test_any_text_for_a_signature_is_refused(text: str):
    assert check(text, "u_7", 1767326645000) is Refusal.NOT_SIGNED


@pytest.mark.parametrize("uid", ["", "a b", "a-b", "张三", "a" * 129, "a\n", "é"])
def test_a_uid_is_letters_digits_and_underscores(uid: str):
    with pytest.raises(InvalidInput, match="128 letters") as refused:
        sign_admission(CALL_APP, APP, uid, LATER)
    assert refused.value.field == "uid"


def test_what_does_not_fit_into_one_block_is_refused_with_the_numbers():
    long = replace(APP, workspace_id="w" * 150)

    with pytest.raises(InvalidInput, match=r"have 276 bytes together, .* 2048-bit key holds 245; .* shorter by 31"):
        sign_admission(CALL_APP, long, "u" * 100, LATER)
    assert sign_admission(CALL_APP, long, "u" * 69, LATER)


# --- the media proxy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "ips", "kept"),
    [
        ("example.aliyundoc.com", "1.2.3.4", ("1.2.3.4",)),
        ("proxy", "10.0.0.1; 2001:DB8::1 ;10.0.0.2", ("10.0.0.1", "2001:db8::1", "10.0.0.2")),
        ("10.0.0.9", "10.0.0.9", ("10.0.0.9",)),
        ("2001:db8::5", "2001:db8::5", ("2001:db8::5",)),
        ("", "", ()),
    ],
)
def test_a_media_proxy_is_a_bare_host_with_its_addresses(host: str, ips: str, kept: tuple[str, ...]):
    assert read_media_proxy(host, ips) == (host, kept)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("https://example.com", "has a scheme"),
        ("example.com:443", "has a port"),
        ("example.com/x", "has a path"),
        ("me@example.com", "has a user"),
        (" example.com", "holds a space"),
        ("例子.com", "xn--"),
        ("-a.com", "is not a host name"),
        ("a..com", "is not a host name"),
        ("1.2.3", "is not an IPv4"),
        ("1.2.3.4.5", "is not an IPv4"),
        ("[2001:db8::5]", "is not an IPv4"),
        ("a" * 254, "is not a host name"),
    ],
)
def test_a_wrong_proxy_address_is_refused_with_the_reason(host: str, why: str):
    with pytest.raises(InvalidInput, match=why) as refused:
        read_media_proxy(host, "1.2.3.4")
    assert refused.value.field == "media_proxy"


@pytest.mark.parametrize(
    ("ips", "why"),
    [
        ("1.2.3.4\uff1b1.2.3.5", "full-width semicolon"),
        ("1.2.3.4,1.2.3.5", "comma"),
        ("1.2.3.4\uff0c1.2.3.5", "comma"),
        ("1.2.3.4;", "nothing stands at place 2"),
        ("1.2.3.4;;1.2.3.5", "nothing stands at place 2"),
        ("1.2.3.4;1.2.3.400", "address 2 is not"),
        ("1.2.3.4/24", "a network is not one"),
        ("1.2.3.4:80", "without a port"),
        ("example.com", "is not an IPv4 or IPv6"),
        ("fe80::1%eth0", "not an address that a host sends from"),
        ("0.0.0.0", "not an address that a host sends from"),
        ("224.0.0.1", "not an address that a host sends from"),
        ("1.2.3.4;1.2.3.4", "given twice"),
        ("2001:db8::1;2001:DB8:0::1", "given twice"),
        ("1.2.3.04", "is not an IPv4"),
        (";".join(f"10.0.0.{number}" for number in range(101)), "more than 100"),
    ],
)
def test_each_egress_address_is_looked_at(ips: str, why: str):
    """Ruling 20: v4 or v6, an ASCII semicolon between, and the reason for whatever is refused."""
    with pytest.raises(InvalidInput, match=why) as refused:
        read_media_proxy("example.com", ips)
    assert refused.value.field == "egress_ips"


def test_a_proxy_and_its_addresses_come_together():
    with pytest.raises(InvalidInput, match="together") as without:
        read_media_proxy("example.com", "")
    with pytest.raises(InvalidInput, match="together") as alone:
        read_media_proxy("", "1.2.3.4")

    assert (without.value.field, alone.value.field) == ("egress_ips", "media_proxy")


# --- callbacks -------------------------------------------------------------------------------------------------------


def test_the_two_callbacks_share_all_there_are_words_for():
    spoken = {kind.value for kind in dialect_named("mpaas").types}

    assert set(callback_types("room")) | set(callback_types("recording")) == spoken
    assert not set(callback_types("room")) & set(callback_types("recording"))


@pytest.mark.parametrize(
    ("data", "is_told"),
    [
        ({}, True),
        ({"scope": "nbcall01"}, True),
        ({"scope": "nbcall02"}, False),
        ({"scope": "9qb1abcd"}, True),
    ],
)
def test_a_callback_is_not_told_of_another_scene(data: dict[str, str], *, is_told: bool):
    """Ruling 17: a room is (bizName, roomId); what another call app's terminals do stays there."""
    pattern = compile_for("standard", callback_pattern("room", "nbcall01"))

    assert pattern.matches({"type": "room.opened", "data": data}) is is_told
    assert not pattern.matches({"type": "recording.started", "data": data})
