"""What vectors cannot say of the `aliyun_cvc` wire: fetching, own events that are unknown, and laws over any words."""

import json
import sys
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from hypothesis import given, settings
from hypothesis import strategies as st

from northbound.dialects.aliyun_cvc import DIALECT, EVENT_MAX, HALF_HOURS, KINDS
from northbound.dialects.aliyun_cvc.salvage import MARK, salvage
from northbound.dialects.aliyun_cvc.signature import (
    CERTIFICATE_HOSTS,
    HASH_METHOD,
    METHOD,
    ORDER_V1,
    SECRET,
    SIGNED_V1,
    SIGNED_V2,
    TIMESTAMP,
    TOKEN,
    URL,
    VERSION,
    is_trusted,
    public_key,
    signature_v1,
    string_to_sign,
)
from northbound.dialects.base import check_options
from northbound.model.app import App, Endpoint, RetryStrategy
from northbound.model.delivery import Fill, View
from northbound.model.errors import DecodeError, InvalidInput, Overloaded, SignatureError
from northbound.model.event import EventType
from northbound.model.wire import Key, Needs, Proof, Request, Response
from northbound.testing.vectors import ENTROPY, NOW, load, run_file, wire_text

FILES = [(name, file) for name, file in load() if file.dialect == DIALECT.name]
SIGNED_CASE = next(case for name, file in FILES if name.endswith("/signature.json") for case in file.cases)
CERTIFICATE, TOKEN_KEY = (key.key() for key in SIGNED_CASE.keys)
RSA, _ = (key.key() for key in SIGNED_CASE.send_keys)
TARGET = "http://hub.test/in/aliyun_cvc?x=1"


def endpoint(**options: Any) -> Endpoint:
    keys = (RSA, TOKEN_KEY)
    return Endpoint(
        id="e", app_id="a", url=TARGET, dialect=DIALECT.name, created_at=NOW, keys=keys, options=dict(options)
    )


def request(envelope: Any, **headers: str) -> Request:
    body = envelope if isinstance(envelope, bytes) else json.dumps(envelope, ensure_ascii=False).encode()
    return Request(method="POST", url=TARGET, headers=tuple(headers.items()), body=body)


def signed(**options: Any) -> Request:
    return DIALECT.sign(request({"type": KINDS[0], "n": 1}), endpoint(**options), NOW, ENTROPY)


def verify(request: Request, *keys: Key, now: datetime = NOW, **options: Any) -> Proof | Needs:
    return DIALECT.verify(request, keys or (CERTIFICATE, TOKEN_KEY), now, options)


@pytest.mark.parametrize(("name", "file"), FILES, ids=[name for name, _ in FILES])
def test_every_vector_holds(name: str, file: Any) -> None:
    """Every vector of this wire keeps the runner's laws."""
    outcomes = run_file(name, file)

    assert [(outcome.case, outcome.failures) for outcome in outcomes if outcome.failures] == []


# --- signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newline", "expected"),
    [(True, "iTbFcUs+fgFDxNS972UJ2DWljlo="), (False, "ThQEDAZtXOkcsQ8ZweBy8RVKLFs=")],
)
def test_v1_gives_the_independent_signature(*, newline: bool, expected: str) -> None:
    """A known temporary secret over a known request gives the signature computed by other code (facts 8)."""
    url = "http://127.0.0.1:8080/cb?x=1"
    headers = (
        (METHOD, "HMAC-SHA1"),
        (URL, "http://127.0.0.1:8080/cert.pem"),
        (TOKEN, "tok"),
        (TIMESTAMP, "1612167546574"),
        (VERSION, "1.0"),
    )
    sent = Request(method="POST", url=url, headers=headers, body=b'{"a":1}')

    assert expected == signature_v1(b"tmp-secret", string_to_sign(sent, url, ORDER_V1, newline=newline))


def test_a_certificate_that_is_not_there_is_asked_for() -> None:
    """A request that passes all other checks needs the certificate its header names, and nothing more."""
    needed = verify(signed(), TOKEN_KEY)

    assert needed == Needs(url=CERTIFICATE.url or "")


@pytest.mark.parametrize("key", [{"url": "https://elsewhere.test/c.pem"}, {"valid_until": NOW}, {"url": None}])
def test_a_certificate_of_another_place_or_time_does_not_count(key: dict[str, Any]) -> None:
    """Only a valid certificate kept under exactly the named URL is used."""
    other = msgspec.structs.replace(CERTIFICATE, **key)

    assert isinstance(verify(signed(), TOKEN_KEY, other), Needs)


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({TIMESTAMP: "1"}, (TOKEN_KEY,)),
        ({TOKEN: "other"}, (TOKEN_KEY,)),
        ({URL: "https://evil.test/c.pem"}, (TOKEN_KEY,)),
        ({URL: "https://evil.test/c.pem"}, ()),
    ],
)
def test_a_stranger_cannot_make_us_fetch(change: dict[str, str], keys: tuple[Key, ...]) -> None:
    """Stale, without the token or pointing elsewhere: refused before anything is fetched (I6)."""
    with pytest.raises(SignatureError):
        DIALECT.verify(signed().adding(*change.items()), keys, NOW, {})


def test_a_key_of_a_kind_that_cannot_check_still_asks_for_a_signature() -> None:
    """A source with any key but a token never takes an unsigned request."""
    with pytest.raises(SignatureError):
        verify(request({}), Key(secret=b"shared"))


def test_an_outdated_token_is_no_token() -> None:
    """A token past its validity is refused, and does not make the source open."""
    old = msgspec.structs.replace(TOKEN_KEY, valid_until=NOW)

    with pytest.raises(SignatureError):
        verify(request({}, **{TOKEN: TOKEN_KEY.secret.decode()}), old)


def test_a_certificate_without_an_rsa_key_is_refused() -> None:
    """A certificate of another kind of key is a named refusal, not a crash."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    pem = builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    with pytest.raises(SignatureError, match="no RSA key"):
        verify(signed(), TOKEN_KEY, msgspec.structs.replace(CERTIFICATE, secret=pem))


def test_a_signature_has_one_spelling() -> None:
    """Base64 with idle bits set means the same bytes and is refused all the same."""
    sent = signed(signature="v2")
    value = sent.header(SIGNED_V2) or ""
    idle = value[:-3] + chr(ord(value[-3]) + 1) + "=="

    with pytest.raises(SignatureError):
        verify(sent.adding((SIGNED_V2, idle)))


def test_the_public_url_is_what_is_signed() -> None:
    """An endpoint behind a proxy gets signatures over the URL it is known by (ruling 7)."""
    public = "https://callbacks.test/in"
    target = msgspec.structs.replace(endpoint(), public_url=public)

    sent = DIALECT.sign(request({}), target, NOW, ENTROPY)

    assert verify(msgspec.structs.replace(sent, url=public)) == Proof.FRESH
    assert sent.url == TARGET
    with pytest.raises(SignatureError):
        verify(sent)


def test_the_temporary_secret_does_not_give_away_the_entropy() -> None:
    """Every receiver can read the temporary secret: it is text, short enough, new with the entropy, and not it."""
    public = public_key(CERTIFICATE.secret, NOW)

    def secret(entropy: bytes) -> bytes:
        sent = DIALECT.sign(request({}), endpoint(), NOW, entropy)
        return public.recover_data_from_signature(b64decode(sent.header(SECRET) or ""), PKCS1v15(), None)

    one = secret(ENTROPY)

    assert one.isascii()
    assert len(one) <= 117
    assert ENTROPY.hex().encode() != one != secret(bytes(32))


@pytest.mark.parametrize(("chosen", "there"), [("v1", SIGNED_V1), ("v2", SIGNED_V2)])
def test_one_generation_alone_has_no_word_of_the_other(chosen: str, there: str) -> None:
    """Each generation can be sent alone."""
    names = {name for name, _ in signed(signature=chosen).headers}

    others = {"v1": {SIGNED_V2, HASH_METHOD}, "v2": {SIGNED_V1, METHOD, SECRET}}[chosen]
    assert there in names
    assert not names & others


@pytest.mark.parametrize("signature", ["none", "both"])
def test_without_an_rsa_key_only_the_token_is_sent(signature: str) -> None:
    """No RSA key, or signatures switched off: the token stands alone."""
    keys = (TOKEN_KEY,) if signature == "both" else (TOKEN_KEY, RSA)
    target = msgspec.structs.replace(endpoint(signature=signature), keys=keys)

    sent = DIALECT.sign(request({}), target, NOW, ENTROPY)

    assert sent.headers == ((TOKEN, "tok"),)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"url": None}, "no certificate URL"),
        ({"secret": b"not a key"}, "PEM private key"),
        ({"secret": b"ec"}, "not an RSA key"),
    ],
)
def test_a_key_that_cannot_sign_is_named(change: dict[str, Any], says: str) -> None:
    """A useless key is told by name, without its content, before anything unsigned is sent."""
    if change.get("secret") == b"ec":
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        change = {"secret": pem}
    target = msgspec.structs.replace(endpoint(), keys=(msgspec.structs.replace(RSA, **change),))

    with pytest.raises(InvalidInput, match=says) as caught:
        DIALECT.sign(request({}), target, NOW, ENTROPY)

    assert "not a key" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "allowed", "expected"),
    [
        ("https://cn-hongkong-eventbridge.oss-accelerate.aliyuncs.com/a/b.pem", CERTIFICATE_HOSTS, True),
        ("https://cn-hangzhou-eventbridge.oss-cn-hangzhou.aliyuncs.com:443/b.pem", CERTIFICATE_HOSTS, True),
        ("https://cn-hangzhou-eventbridge.oss-cn-nowhere.aliyuncs.com/b.pem", CERTIFICATE_HOSTS, False),
        ("https://xcn-hangzhou-eventbridge.oss-accelerate.aliyuncs.com/b.pem", CERTIFICATE_HOSTS, False),
        ("https://cn-hangzhou-eventbridgexoss-accelerate.aliyuncs.com/b.pem", CERTIFICATE_HOSTS, False),
        ("https://cn-hangzhou-eventbridge.oss-accelerate.aliyuncs.com./b.pem", CERTIFICATE_HOSTS, False),
        ("https://cn-hangzhou-eventbridge.oss-accelerate.aliyuncs.com/b.pem\n", CERTIFICATE_HOSTS, False),
        ("https://cn-hangzhou-eventbridge.oss-accelerate.aliyuncs.com", CERTIFICATE_HOSTS, False),
        ("https://certificates.test/b.pem", "Certificates.test", True),
        ("http://certificates.test/b.pem", "certificates.test", False),
        ("http://127.0.0.1:7070/cert.pem", f"{CERTIFICATE_HOSTS}, http://127.0.0.1:7070/", True),
        ("http://127.0.0.1:7070/cert.pem", "http://127.0.0.1:7070/cert.pem", True),
        ("http://127.0.0.1:70701/cert.pem", "http://127.0.0.1:7070", False),
        ("http://127.0.0.1:7070/certificate.pem", "http://127.0.0.1:7070/cert", False),
        ("http://[::1]:7070/cert.pem", "http://[::1]:7070", True),
        ("https://anywhere.test/c.pem", "", False),
        ("https://anywhere.test/c.pem", " , ", False),
    ],
)
def test_certificates_come_from_listed_places_only(*, url: str, allowed: str, expected: bool) -> None:
    """A host counts as a whole, a URL up to a slash; look-alikes do not."""
    assert expected is is_trusted(url, allowed)


CHANGES: dict[str, Callable[[str], str]] = {
    TIMESTAMP: lambda value: str(int(value) + 1),
    VERSION: lambda value: value + "1",
    URL: lambda value: value.replace("certificate.pem", "other.pem"),
    METHOD: lambda _: "HMAC-SHA256",
    HASH_METHOD: lambda _: "SHA512",
    SECRET: lambda value: value[::-1],
    SIGNED_V1: lambda value: value[::-1],
    SIGNED_V2: lambda value: value[::-1],
}


@settings(deadline=None, max_examples=60)
@given(
    what=st.sampled_from(("body", "url", *CHANGES)),
    signature=st.sampled_from(("v1", "v2", "both")),
    at=st.integers(0, 40),
    to=st.binary(min_size=1, max_size=1),
)
def test_any_changed_signed_value_is_refused(what: str, signature: str, at: int, to: bytes) -> None:
    """Whatever part of a signed request is changed, it no longer counts."""
    sent = signed(signature=signature)
    if what == "body":
        changed = msgspec.structs.replace(sent, body=sent.body[:at] + to + sent.body[at:])
    elif what == "url":
        changed = msgspec.structs.replace(sent, url=sent.url + "&y=2")
    else:
        before = sent.header(what)
        changed = sent if before is None else sent.adding((what, CHANGES[what](before)))
    other_place = msgspec.structs.replace(CERTIFICATE, url=(CERTIFICATE.url or "").replace("certificate", "other"))

    if changed == sent:
        assert verify(sent) == Proof.FRESH
        return
    with pytest.raises(SignatureError):
        verify(changed, CERTIFICATE, other_place, TOKEN_KEY)


@settings(deadline=None, max_examples=25)
@given(seconds=st.integers(-200, 200), window=st.integers(0, 120))
def test_a_signature_counts_inside_its_window_only(seconds: int, window: int) -> None:
    """Sent too long ago or too far ahead is refused, whatever the window."""
    later = NOW + timedelta(seconds=seconds)
    if abs(seconds) <= window:
        assert verify(signed(), now=later, window_seconds=window) == Proof.FRESH
        return
    with pytest.raises(SignatureError):
        verify(signed(), now=later, window_seconds=window)


# --- words -----------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
KNOWN = st.sampled_from(
    "meetingUUID meetingName action time groupId userId state startTime callState meetingCount meetingTime".split()
)
WORDS = st.dictionaries(KNOWN | TEXTS, VALUES, max_size=8)
ENVELOPES = st.dictionaries(st.sampled_from("id source subject time specversion extra".split()), VALUES, max_size=6)


@settings(deadline=None, max_examples=100)
@given(words=WORDS, envelope=ENVELOPES, kind=st.sampled_from(KINDS), as_text=st.booleans(), told=st.booleans())
def test_any_words_survive_the_round_trip(
    words: dict[str, Any], envelope: dict[str, Any], kind: str, *, as_text: bool, told: bool
) -> None:
    """What was read and sent again is the same event in the same words, and nothing is lost or invented."""
    given_words = {"meetingUUID": "m", "userId": "u", "action": "member_leave"} | (words if told else {})
    given_words |= {name: "x" for name in ("meetingUUID", "userId", "action") if not _is_text(given_words[name])}
    data = json.dumps(given_words, ensure_ascii=False) if as_text else given_words
    came = request(envelope | {"type": kind, "data": data})

    (event,) = DIALECT.decode(came, {})
    (view,) = DIALECT.view(event, _fill(), {"envelope": "current"})
    sent = DIALECT.encode([view], endpoint())
    again = DIALECT.decode(sent, {})

    assert [event] == again
    assert wire_text(came.body) == wire_text(sent.body)
    assert (view.lost, view.invented) == ((), ())


@settings(deadline=None, max_examples=100)
@given(body=st.binary(max_size=60) | TEXTS.map(str.encode) | st.text('{}[]":/\\,da t', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Hostile bytes are refused as malformed; nothing else is raised."""
    with suppress(DecodeError):
        assert DIALECT.decode(request(body), {})


@settings(deadline=None, max_examples=100)
@given(words=st.dictionaries(TEXTS, TEXTS, max_size=4), note=st.text(st.characters(codec="utf-8"), max_size=8))
def test_bare_quotes_and_comments_are_salvaged_whatever_they_hold(words: dict[str, str], note: str) -> None:
    """The page's two slips together are recovered to exactly what was meant."""
    inner = json.dumps(words, ensure_ascii=False)
    comment = note.replace("\n", "").replace("\r", "")

    repaired = salvage(f'{{"data":"{inner}",//{comment}\n"id":"1"//{comment}\n}}'.encode())

    assert {"data": inner, "id": "1"} == json.loads(repaired)


@pytest.mark.parametrize("piece", ['\\"', '"', "{", '{"data":"{', "[", "//", '{"data"', " "])
def test_salvaging_takes_work_in_proportion(piece: str) -> None:
    """No body makes the salvage step search over and over: four times the size, four times the work."""

    def calls(size: int) -> int:
        counted = [0]

        def count(frame: object, event: str, argument: object) -> None:
            counted[0] += event in ("call", "c_call")

        body = request(b"{" + (piece * (size // len(piece))).encode())
        sys.setprofile(count)
        try:
            with pytest.raises(DecodeError):
                DIALECT.decode(body, {})
        finally:
            sys.setprofile(None)
        return counted[0]

    assert calls(64_000) <= 4 * calls(16_000) + 200


@given(text=st.text('{}[]":/\\,da \n', max_size=200))
def test_salvaging_never_reads_on_in_vain(text: str) -> None:
    """Whatever may begin a mark is one: so nothing is read twice, and reading ends with the text."""
    for place, letter in enumerate(text):
        begins = letter in '"{}[]' or text.startswith("//", place)

        assert begins is (MARK.match(text, place) is not None)


def test_an_unknown_action_is_sent_again_as_it_came() -> None:
    """What we do not understand keeps its words on the way to the same wire, and has none in another's."""
    data = {"meetingUUID": "m", "userId": "u", "action": "member_wave", "n": 1.50}
    came = request({"type": KINDS[1], "data": data})

    (event,) = DIALECT.decode(came, {})

    assert EventType.UNKNOWN is event.type
    assert wire_text(came.body) == wire_text(DIALECT.view(event, _fill(), {})[0].words)
    assert DIALECT.view(msgspec.structs.replace(event, dialect="elsewhere"), _fill(), {}) == ()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (KINDS[0], KINDS[0]),
        ("aliyuncvc:meetingEvent:MemberOperate", "aliyuncvc:MeetingEvent:MemberOperate"),
        ("aliyuncvc:meetingevent:MemberOperate", "aliyuncvc:meetingevent:MemberOperate"),
        (7, ""),
        (None, ""),
    ],
)
def test_kinds_are_named_in_one_letter_case(word: Any, expected: str) -> None:
    """Both registered spellings are one kind; another spelling is its own (ruling 13)."""
    assert expected == DIALECT.kind(msgspec.Raw(json.dumps({"type": word} if word is not None else {}).encode()))


def test_answers_are_plain_text() -> None:
    """A stored event is answered 200 with a word; a refusal says why, and what may be tried again is 503."""
    came = request({})

    assert _answer(DIALECT.ack(came, None)) == (200, b"received")
    assert _answer(DIALECT.ack(came, SignatureError("no"))) == (403, b"signature: no")
    assert _answer(DIALECT.ack(came, Overloaded("full"))) == (503, b"overloaded: full")


def test_the_vendor_retries_with_back_off() -> None:
    """The wire's own strategy is the default: four attempts in total, five seconds each (ruling 4)."""
    assert (RetryStrategy.BACKOFF_RETRY, 4, timedelta(seconds=5)) == (
        DIALECT.retry.strategy,
        DIALECT.retry.attempts,
        DIALECT.retry.deadline,
    )


def test_options_are_checked() -> None:
    """Every default is allowed; an offset that is none is refused with those that are."""
    check_options(DIALECT, {option.name: option.default for option in DIALECT.options})

    assert {"-12:00", "+05:30", "+08:00", "+14:00"} <= set(HALF_HOURS)
    with pytest.raises(InvalidInput, match=r"\+08:00"):
        check_options(DIALECT, {"zone_offset": "8"})


def _answer(response: Response) -> tuple[int, bytes]:
    return response.status, response.body


def _is_text(value: Any) -> bool:
    return value not in (None, "") and not isinstance(value, bool | dict | list)


def _fill() -> Fill:
    return Fill(event_id="ev", recorded_at=NOW, app=App(id="a", name="a", created_at=datetime(2026, 1, 1, tzinfo=UTC)))


def test_an_event_larger_than_the_bus_takes_is_refused_whole():
    """D19: at the limit it is sent, one byte above it nothing is."""
    frame = len(msgspec.json.encode({"id": ""}))
    largest, larger = ({"id": "x" * (EVENT_MAX - frame + extra)} for extra in (0, 1))

    sent = DIALECT.encode([View(words=msgspec.Raw(msgspec.json.encode(largest)))], endpoint())

    assert len(sent.body) == EVENT_MAX == 262_144
    with pytest.raises(InvalidInput, match="262145 bytes"):
        DIALECT.encode([View(words=msgspec.Raw(msgspec.json.encode(larger)))], endpoint())
