"""What is hidden of a request that is shown, and that nothing else of it changes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from northbound.logic.mask import MASK, masked
from northbound.model.wire import Request

steady = settings(deadline=None, derandomize=True)  # a busy machine is no failure
SECRETS = frozenset({"check_code", "token", "x-signature"})
CANARY = "canary-5150"


def shown_url(url: str) -> str:
    return masked(Request(method="GET", url=url), SECRETS).url


def shown_body(body: bytes) -> bytes:
    return masked(Request(method="POST", url="http://h/", body=body), SECRETS).body


def test_headers_are_masked_by_name_in_any_case() -> None:
    """Named headers and credentials; order, spelling and the rest stay."""
    headers = (
        ("X-Signature", CANARY),
        ("Authorization", CANARY),
        ("Cookie", CANARY),
        ("Proxy-Authorization", CANARY),
        ("token ", CANARY),
        ("X-Other", "kept"),
        ("Referer", f"https://h/in/src/{CANARY}?a=1"),
        ("x-signature", CANARY),
    )

    request = masked(Request(method="POST", url="http://h/", headers=headers), SECRETS)

    assert request.headers == (
        ("X-Signature", MASK),
        ("Authorization", MASK),
        ("Cookie", MASK),
        ("Proxy-Authorization", MASK),
        ("token ", MASK),
        ("X-Other", "kept"),
        ("Referer", f"https://h/in/src/{MASK}?a=1"),
        ("x-signature", MASK),
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/x?a=1&token=s&b=%20+2", "http://h/x?a=1&token=***&b=%20+2"),
        ("http://h/x?Token=s&TOKEN=t", "http://h/x?Token=***&TOKEN=***"),
        ("http://h/x?t%6Fken=s", "http://h/x?t%6Fken=***"),
        ("http://h/x?+token+=s", "http://h/x?+token+=***"),
        ("http://h/x?token=a=b", "http://h/x?token=***"),
        ("http://h/x?token=", "http://h/x?token=***"),
        ("http://h/x?token", "http://h/x?token"),
        ("http://h/x?mytoken=s&%zz=%&=&&", "http://h/x?mytoken=s&%zz=%&=&&"),
        ("http://h/x?a#token=s", "http://h/x?a#token=***"),
        ("http://user:pass@h/x", "http://***@h/x"),
        ("//user:p@ss@h/x", "//***@h/x"),
        ("http://h/x@y", "http://h/x@y"),
        ("https://h/in/room-source/s3cret", "https://h/in/room-source/***"),
        ("https://h/in/room-source/s3cret?event=join", "https://h/in/room-source/***?event=join"),
        ("https://h/prefix/in/src/s3cret/more", "https://h/prefix/in/src/***/more"),
        ("https://h//in//src//s3cret", "https://h//in//src//***"),
        ("https://h/in/src/s3%63ret", "https://h/in/src/***"),
        ("https://h/in%2Fsrc%2fs3cret", "https://h/in/src/***"),
        ("https://h/%69n/src/s3cret", "https://h/in/src/***"),
        ("/in/src/s3cret", "/in/src/***"),
        ("https://h/in/src", "https://h/in/src"),
        ("https://h/inside/src/x", "https://h/inside/src/x"),
        ("", ""),
    ],
)
def test_urls_are_masked_in_path_query_and_user_info(url: str, shown: str) -> None:
    assert shown == shown_url(url)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        # forms
        (b"event=join&token=s&user=%E5", b"event=join&token=***&user=%E5"),
        (b"check_code=ab%2", b"check_code=***"),
        (b"a=\xff\xfe&token=\xff", b"a=\xff\xfe&token=***"),
        (b'MsgId=1&Contents=[{"a":1}]&x-signature=s', b'MsgId=1&Contents=[{"a":1}]&x-signature=***'),
        # JSON: types, places, white space, repeated and escaped names
        (b'{"token":"s","a":1}', b'{"token":"***","a":1}'),
        (b'{ "a" : 1.0 , "token" : 5 }', b'{ "a" : 1.0 , "token" : "***" }'),
        (b'{"token":null}', b'{"token":"***"}'),
        (b'{"token":{"a":[1,{"b":2}]},"c":[3]}', b'{"token":"***","c":[3]}'),
        (b'{"token":["s","t"],"c":3}', b'{"token":"***","c":3}'),
        (b'{"TOKEN":"s","token":"t"}', b'{"TOKEN":"***","token":"***"}'),
        (b'{"t\\u006fken":"s"}', b'{"t\\u006fken":"***"}'),
        (b'{"token":"a\\"b,}","c":"\\\\"}', b'{"token":"***","c":"\\\\"}'),
        (b'\xef\xbb\xbf\n{"token":"s"}\n', b'\xef\xbb\xbf\n{"token":"***"}\n'),
        (b'[{"token":"s"},{"token":"t","a":"token"}]', b'[{"token":"***"},{"token":"***","a":"token"}]'),
        (b'{"a":{"token":"s"}}', b'{"a":{"token":"***"}}'),
        (b'{"data":"{\\"token\\":\\"s\\",\\"a\\":1}"}', b'{"data":"{\\"token\\":\\"***\\",\\"a\\":1}"}'),
        (b'{"a":"token","b":["token"],"token-b":"x"}', b'{"a":"token","b":["token"],"token-b":"x"}'),
        # what is no JSON after all: cut short, bare, unescaped, one bracket too many
        (b'{"token":"s', b'{"token":"***"'),
        (b'{"token":"s\\', b'{"token":"***"'),
        (b'{"token":', b'{"token":"***"'),
        (b'{"token":}', b'{"token":"***"}'),
        (b'{"token":[1,2', b'{"token":"***"'),
        (b"{token: s t, a: 1}", b'{token: "***", a: 1}'),
        (b"{'token': 's', 'a': 1}", b"{'token': '***', 'a': 1}"),
        (b'{"data":"{"token":"s"}"}', b'{"data":"{"token":"***"}"}'),
        (b'{"a":1}} {"token":"s"}', b'{"a":1}} {"token":"***"}'),
        (b'{"a":[1,"token":"s"}', b'{"a":[1,"token":"***"}'),
        (b'{"\xff":"\xfe","token":"\xff"}', b'{"\xff":"\xfe","token":"***"}'),
        # neither
        (b"", b""),
        (b"\x00\xff\xd8", b"\x00\xff\xd8"),
        (b"token", b"token"),
    ],
)
def test_bodies_are_masked_in_place(body: bytes, shown: bytes) -> None:
    """Only the values go; all other bytes stay as they came."""
    assert shown == shown_body(body)


def test_credentials_are_masked_whatever_the_dialect_names() -> None:
    request = Request(method="GET", url=f"http://h/?authorization={CANARY}", headers=(("COOKIE", CANARY),))

    assert CANARY not in repr(masked(request, frozenset()))


@steady
@given(st.binary() | st.text("{}[]\",:\\token' =&%", max_size=60).map(str.encode), st.text(max_size=40))
def test_no_bytes_make_it_fail(body: bytes, url: str) -> None:
    """Masking never fails, and masking twice shows no more and no less."""
    once = masked(Request(method="POST", url=url, headers=(("a", url),), body=body), SECRETS)

    assert once == masked(once, SECRETS)


plain_names = st.text('ab"\\:, {[\u00e9', max_size=6)  # cannot spell a secret's name
values = st.recursive(
    st.none() | st.booleans() | st.integers() | plain_names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_names, inner, max_size=3),
)


@steady
@given(st.dictionaries(plain_names, values, max_size=4), st.sampled_from(sorted(SECRETS)), values)
def test_json_stays_json_and_only_the_secret_goes(words: dict[str, object], name: str, value: object) -> None:
    """A well-formed body stays well-formed and equal, but for the named member."""
    shown = shown_body(json.dumps({**words, name: value}).encode())

    assert {**words, name: MASK} == json.loads(shown)


def test_a_large_body_is_masked_in_one_pass() -> None:
    """Hostile shapes take time in proportion to their size."""
    body = b'{"a":"' + b"\\" * 300_000 + b'token":"s","token' * 10_000

    assert MASK.encode() in shown_body(body)
