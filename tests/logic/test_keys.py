"""Whose key signs and verifies: ruling 6."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from northbound.dialects import all_dialects
from northbound.logic.keys import lacks_key, verifying_keys, with_keys
from northbound.model.app import App, Endpoint, Source
from northbound.model.wire import Key, KeyKind, Request

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HUB = Key(id="hub", kind=KeyKind.RSA, secret=b"pem")
OWN = Key(id="own", secret=b"own")
APP = App(id="app", name="a", created_at=NOW, app_key=b"app-key")
KEYLESS = replace(APP, app_key=b"")
DIALECTS = all_dialects()


def endpoint(dialect: str, *keys: Key) -> Endpoint:
    return Endpoint(id="ep", app_id="app", url="https://there.test/", dialect=dialect, created_at=NOW, keys=keys)


def source(dialect: str, *keys: Key) -> Source:
    return Source(id="src", app_id="app", name="s", dialect=dialect, token="t", created_at=NOW, keys=keys)


@pytest.mark.parametrize(
    ("dialect", "own", "app", "signing", "verifying"),
    [
        ("aliyun_rtc", (), APP, ["app"], ["app"]),
        ("aliyun_rtc", (OWN,), APP, ["own", "app"], ["own"]),
        ("aliyun_rtc", (), KEYLESS, [], []),
        ("aliyun_rtc", (), None, [], []),
        ("aliyun_cvc", (OWN,), APP, ["hub", "own"], ["own"]),
        ("avd", (OWN,), APP, ["own"], ["own"]),
        ("avd", (), APP, [], []),
    ],
)
def test_whose_keys_sign_and_verify(dialect, own, app, signing, verifying) -> None:
    spoken = DIALECTS[dialect]

    assert signing == [key.id for key in with_keys(endpoint(dialect, *own), app, spoken, (HUB,)).keys]
    assert verifying == [key.id for key in verifying_keys(source(dialect, *own), app, spoken)]


@pytest.mark.parametrize(("days", "expected"), [(-1, b"app-key"), (0, b"own"), (1, b"own"), (2, b"app-key")])
def test_an_own_key_signs_while_it_is_valid_and_the_apps_signs_else(days: int, expected: bytes) -> None:
    """A set moment on our sending side: nothing is ever sent unsigned in between."""
    spoken = DIALECTS["aliyun_rtc"]
    dated = replace(OWN, valid_from=NOW, valid_until=NOW + timedelta(days=2))
    at = NOW + timedelta(days=days)
    signing = with_keys(endpoint("aliyun_rtc", dated), APP, spoken, (HUB,))

    sent = spoken.sign(Request(method="POST", url="https://there.test/", body=b"{}"), signing, at, bytes(32))

    assert spoken.verify(sent, [Key(secret=expected)], at, {})


def test_what_lacks_a_key() -> None:
    rtc, avd = DIALECTS["aliyun_rtc"], DIALECTS["avd"]

    assert lacks_key((), KEYLESS, rtc)
    assert not any([lacks_key((OWN,), KEYLESS, rtc), lacks_key((), APP, rtc), lacks_key((), KEYLESS, avd)])
