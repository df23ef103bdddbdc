"""`northbound source` beside a hub that is played: what is asked of it, what is said, what never is."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from running import as_json, hub_beside, run

from northbound.cli import vendor_service
from northbound.cli.output import Unreachable
from northbound.cli.pasting import REMOVE, STEPS, steps
from northbound.cli.vendor_service import Login, Rtc
from northbound.dialects import all_dialects
from northbound.model.errors import ConfigError, Forbidden, InvalidInput, NotFound

LOGIN = Login(access_key_id="AK-canary", access_key_secret="secret-canary", region="cn-hangzhou", endpoint="v.test")


@pytest.mark.parametrize("vendor", sorted(STEPS))
def test_what_to_paste_names_every_value_in_both_languages(vendor: str) -> None:
    english, chinese = steps(vendor, "src_1", "http://hub.test/in/src_1/tok", "s3cret")

    for text in (english, chinese):
        assert "http://hub.test/in/src_1/tok" in text and "src_1" in text and "{" not in text
    assert english.isascii() and not chinese.isascii()
    assert vendor in all_dialects() and len(REMOVE[vendor]) == 2


def test_a_client_that_is_not_installed_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alibabacloud_rtc20180111.client", None)

    with pytest.raises(ConfigError, match=r"pip install 'northbound\[connect\]'"):
        Rtc(LOGIN)


def test_commands_without_a_vendor_need_no_client() -> None:
    """The clients are imported when one is used, and not before."""
    code = "import sys, northbound.cli.main; print([n for n in sys.modules if n.startswith(('alibabacloud', 'Tea'))])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "[]"


class VendorError(Exception):
    def __init__(self, code: str, status_code: int | None, message: str) -> None:
        super().__init__(message)
        self.code, self.status_code, self.message = code, status_code, message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (VendorError("SignatureDoesNotMatch", 400, "for secret-canary of AK-canary"), Forbidden),
        (VendorError("InvalidAccessKeyId.NotFound", 404, "AK-canary"), Forbidden),
        (VendorError("ResourceNotExist", 404, "gone"), NotFound),
        (VendorError("InputInvalid", 400, "no"), InvalidInput),
        (VendorError("", None, "GET http://v.test/?AccessKeyId=AK-canary&Signature=secret-canary"), Unreachable),
        (TimeoutError("GET http://v.test/?AccessKeyId=AK-canary"), Unreachable),
    ],
)
def test_what_the_vendor_says_is_ours_to_tell_without_the_keys(error: Exception, kind: type[Exception]) -> None:
    def call(*_: Any) -> Any:
        raise error

    with pytest.raises(kind) as caught:
        vendor_service._called(call, None, None, LOGIN)

    assert "canary" not in str(caught.value) and "canary" not in repr(LOGIN)


def test_a_refusal_with_status_200_is_a_refusal() -> None:
    body = SimpleNamespace(success=False, code="EventRuleNotExist", message="no such rule")

    with pytest.raises(NotFound):
        vendor_service._called(lambda *_: SimpleNamespace(body=body), None, None, LOGIN)


def test_without_keys_nothing_is_made() -> None:
    with hub_beside(lambda *_: as_json(500, {})) as hub:
        ended = run(
            "source", "connect", "aliyun_rtc", "--app", "a", "--server", hub.url, "--key", "nb_x",
            ALIBABA_CLOUD_ACCESS_KEY_ID="", ALIBABA_CLOUD_ACCESS_KEY_SECRET="",
        )  # fmt: skip

    assert (ended.exit_code, hub.calls) == (2, [])
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in ended.stderr


def test_an_unknown_vendor_is_refused_by_name() -> None:
    ended = run("source", "connect", "zoom", "--app", "a", "--server", "http://127.0.0.1:9", "--key", "nb_x")

    assert ended.exit_code == 2 and "aliyun_rtc" in ended.stderr


def test_a_source_set_up_by_hand_has_nothing_to_check() -> None:
    source = {
        "id": "src_1",
        "dialect": "avd",
        "connection": {},
        "intake_url": "http://h/in/src_1/t",
        "state": "enabled",
    }
    with hub_beside(lambda *_: as_json(200, source)) as hub:
        ended = run("source", "show", "src_1", "--check", "--server", hub.url, "--key", "nb_x")

    assert ended.exit_code == 2 and "by hand" in ended.stderr


def test_a_token_the_vendor_may_have_forgotten_is_not_sent_again() -> None:
    """A repeat after a day would subscribe a second time; so it is not tried."""
    old = (datetime.now(UTC) - timedelta(days=1)).isoformat()

    with pytest.raises(InvalidInput, match="newest events"):
        Rtc(LOGIN).look({"At": old, "SubscribeId": "s", "AppId": "a", "ClientToken": "t"}, "http://h.test")
