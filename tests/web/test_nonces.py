"""A signed call is taken once: also after a restart, and when an account has used up its room for nonces."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import apsw
import pytest
from api_site import Site

from northbound.doors.rpc import SKEW, v1_signature
from northbound.doors.throttle import SHARE, nonce_of
from northbound.model.account import AccessKey, Account
from northbound.model.registry import Put
from northbound.model.wire import Request
from northbound.web.doors.rpc import RpcDoor

SECRET = b"of the test"
ACCOUNTS = ("1001", "1002")


class Clock:
    """A wall clock to be set; a steady one for which every call comes a minute after the one before."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
        self.steady = 0.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        self.steady += 60.0
        return self.steady


async def nobody() -> None:
    """No other process runs."""


class Caller:
    """Calls the door at `/` of a site with signed requests; `restart` opens all databases anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.site = Site(path)
        for account in ACCOUNTS:
            made = Account(id=account, name="a", created_at=self.clock.time, app_id=f"app_{account}")
            key = AccessKey(id=f"NB{account}", account_id=account, secret=SECRET, created_at=self.clock.time)
            puts = [Put(one=made), Put(one=key)]
            self.site.web.control.change(puts, (), who="test", now=self.clock.time)
        self._open()

    def _open(self) -> None:
        self.door = RpcDoor(replace(self.site.web.hub, clock=self.clock), nobody)

    def restart(self) -> None:
        self.site.close()
        self.site = Site(self.path)
        self._open()

    def signed(self, nonce: str, *, account: str = ACCOUNTS[0], at: datetime | None = None) -> Request:
        words = {
            "Action": "DescribeApps", "Version": "2018-01-11", "Format": "JSON", "AccessKeyId": f"NB{account}",
            "SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "SignatureNonce": nonce,
            "Timestamp": f"{at or self.clock.time:%Y-%m-%dT%H:%M:%SZ}",
        }  # fmt: skip
        words["Signature"] = v1_signature("GET", words, SECRET)
        return Request(method="GET", url="http://hub.test/?" + urlencode(words), headers=(("host", "hub.test"),))

    def says(self, request: Request) -> str:
        """Return the code of what is answered, `ok` for an answer."""
        answer = self.site.runner.run(self.door.take(request))
        return json.loads(answer.body).get("Code", "ok")


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    caller = Caller(tmp_path / "data")
    yield caller
    caller.site.close()


@pytest.mark.parametrize("minutes", [-15, -7, 0, 15])
def test_a_call_is_refused_again_for_as_long_as_its_time_would_let_it_in(caller: Caller, minutes: int) -> None:
    """Whatever the caller's clock said: after that its time refuses it."""
    signed_at = caller.clock.time + timedelta(minutes=minutes)
    request = caller.signed("n", at=signed_at)
    assert caller.says(request) == "ok"
    caller.clock.time = signed_at + SKEW
    for number in range(3):
        assert caller.says(caller.signed(f"other {number}")) == "ok"
    assert caller.says(request) == "SignatureNonceUsed"

    caller.clock.time += timedelta(seconds=1)

    assert caller.says(request) == "InvalidTimeStamp.Expired"


def test_a_call_is_refused_again_after_a_restart(caller: Caller) -> None:
    request = caller.signed("n")
    assert caller.says(request) == "ok"

    caller.restart()

    assert caller.says(request) == "SignatureNonceUsed"
    assert caller.says(caller.signed("another")) == "ok"


def test_a_clock_that_is_set_back_brings_no_call_back(caller: Caller) -> None:
    request = caller.signed("n")
    assert caller.says(request) == "ok"
    began = caller.clock.time
    caller.clock.time = began + 2 * SKEW
    assert caller.says(caller.signed("later")) == "ok"

    caller.clock.time = began

    assert caller.says(request) == "SignatureNonceUsed"


def test_what_is_over_is_forgotten(caller: Caller) -> None:
    for number in range(50):
        assert caller.says(caller.signed(f"n {number}")) == "ok"
    caller.clock.time += SKEW + timedelta(minutes=2)
    for number in range(3):
        assert caller.says(caller.signed(f"m {number}")) == "ok"

    owner = nonce_of(ACCOUNTS[0], "", "", caller.clock.time).owner
    assert caller.site.web.nonces.kept(owner) == (3, 3)


def fill(caller: Caller, owner: bytes, count: int) -> None:
    """Let *count* live nonces of *owner* be there, and open the databases on them."""
    until = nonce_of("", "", "", caller.clock.time + SKEW).until
    with closing(apsw.Connection(str(caller.site.folder.nonces))) as file:
        file.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO nonces SELECT CAST(? || printf('%016d', i) AS BLOB), ? FROM n",
            (count, owner, until),
        )
    caller.restart()


def test_an_account_at_its_share_is_throttled_and_nothing_that_is_good_is_forgotten(caller: Caller) -> None:
    first = caller.signed("first")
    assert caller.says(first) == "ok"
    owner = nonce_of(ACCOUNTS[0], "", "", caller.clock.time).owner

    fill(caller, owner, SHARE - 2)

    assert [caller.says(caller.signed(nonce)) for nonce in ("last", "one more")] == ["ok", "Throttling.User"]
    assert caller.says(first) == "Throttling.User"
    assert caller.site.web.nonces.kept(owner) == (SHARE, SHARE)
    assert caller.says(caller.signed("n", account=ACCOUNTS[1])) == "ok"


def test_what_others_have_used_is_counted_from_the_file(caller: Caller) -> None:
    """By which `has_room` decides what an account may still use when all room is taken."""
    fill(caller, b"somebody", 2_000)

    assert caller.says(caller.signed("n")) == "ok"
    owner = nonce_of(ACCOUNTS[0], "", "", caller.clock.time).owner
    assert caller.site.web.nonces.kept(owner) == (1, 2_001)
