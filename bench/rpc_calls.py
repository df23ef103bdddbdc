"""Measure what an RPC call costs: signature check and idempotent create, p50 of CPU a call, V1 and V3.

The door is driven in this process, over the control.db of a throw-away folder: what is counted is reading, verifying,
storing once (subscription, endpoint, token and audit in one transaction) and answering, without HTTP around it. Calls
are signed beforehand by the door's own functions. Run it by hand, or with `make bench BENCH="--only rpc_calls"`.
"""

import asyncio
import hashlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from measure import Number

from hub import work_folder
from northbound.config import Config
from northbound.doors.rpc import v1_signature, v3_signature
from northbound.hub.supervisor import prepare
from northbound.hub.system import Folder
from northbound.hub.web import Web
from northbound.model.account import AccessKey, Account
from northbound.model.app import App
from northbound.model.registry import Put
from northbound.model.wire import Request
from northbound.web.doors.rpc import RpcDoor

CALLS = 300  # of each kind in a round
SECRET = b"secret-of-the-bench"
NOW = datetime.now(UTC)
KINDS = ("create", "again")
EMPTY = hashlib.sha256(b"").hexdigest()


class Clock:
    """Now, and seconds that pass so fast that no call is one too many."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        self.passed += 1.0
        return self.passed


def words_of(number: int, batch: str) -> dict[str, str]:
    """Return what one call says."""
    return {
        "AppId": "app_bench", "CallbackUrl": "http://127.0.0.1:9/cb", "ChannelId": f"r{number}",
        "ClientToken": f"t-{number}-{batch}", "Events.1": "UserEvent", "Users.1": "u1", "NeedCallbackAuth": "True",
    }  # fmt: skip


def calls(kind: str, signature: str, batch: str) -> Iterator[Request]:
    """Yield signed calls, each with a nonce of its own; *again* says what a create of the batch said before."""
    action = "CreateEventSubscribe"
    stamp = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    for number in range(CALLS):
        given = words_of(number, batch)
        nonce = f"{batch}-{kind}-{signature}-{number}"
        if signature == "V1":
            given |= {
                "Action": action, "Version": "2018-01-11", "Format": "JSON", "AccessKeyId": "NBBENCH",
                "SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "SignatureNonce": nonce, "Timestamp": stamp,
            }  # fmt: skip
            given["Signature"] = v1_signature("POST", given, SECRET)
            yield Request(method="POST", url="http://hub.test/?" + urlencode(given), headers=(("host", "hub.test"),))
            continue
        headers = (
            ("accept", "application/json"), ("host", "hub.test"), ("x-acs-action", action),
            ("x-acs-content-sha256", EMPTY), ("x-acs-date", stamp), ("x-acs-signature-nonce", nonce),
            ("x-acs-version", "2018-01-11"),
        )  # fmt: skip
        plain = Request(method="POST", url="http://hub.test/?" + urlencode(given), headers=headers)
        names = [name for name, _ in headers]
        said = f"Credential=NBBENCH,SignedHeaders={';'.join(names)},Signature={v3_signature(plain, names, SECRET)}"
        yield plain.adding(("authorization", f"ACS3-HMAC-SHA256 {said}"))


async def cpu_of(door: RpcDoor, requests: list[Request]) -> list[float]:
    """Return the CPU microseconds of each call; every one must succeed."""
    spent: list[float] = []
    for request in requests:
        before = time.thread_time_ns()
        answer = await door.take(request)
        spent.append((time.thread_time_ns() - before) / 1000)
        assert answer.status == 200, answer.body
    return spent


def opened(folder: Path) -> Web:
    """Return a web process's parts, with one customer."""
    config = Config(data=str(folder), listen="127.0.0.1:0", intake="127.0.0.1:0", allow_targets=("127.0.0.1:9",))
    prepare(config)
    web = Web(config, Folder(config.data))
    app = App(id="app_bench", name="bench", created_at=NOW, account_id="1", app_key=b"key")
    account = Account(id="1", name="bench", created_at=NOW, app_id=app.id)
    key = AccessKey(id="NBBENCH", account_id="1", secret=SECRET, created_at=NOW)
    web.control.change([Put(one=one) for one in (app, account, key)], (), who="bench", now=NOW)
    return web


async def nobody() -> None:
    """Tell no other process: none runs."""


def measure(rounds: int, say: Callable[[str], None]) -> list[Number]:
    """Return p50 and p99 of CPU for each kind of call."""
    spent: dict[tuple[str, str], list[float]] = {(kind, one): [] for kind in KINDS for one in ("V1", "V3")}
    with work_folder("rpc_calls") as folder:
        web = opened(folder / "data")
        try:
            door = RpcDoor(replace(web.hub, clock=Clock()), nobody)
            for number in range(rounds):
                for (kind, signature), values in spent.items():
                    requests = list(calls(kind, signature, f"{number}-{signature}"))
                    values.extend(asyncio.run(cpu_of(door, requests)))
                say("  " + "  ".join(f"{k} {s} {statistics.median(v):.0f} us" for (k, s), v in spent.items()))
        finally:
            web.close()
    return [number_of(kind, signature, values) for (kind, signature), values in spent.items()]


def number_of(kind: str, signature: str, values: list[float]) -> Number:
    says = {"create": "signature check and create", "again": "signature check, the same create again"}[kind]
    p99: Any = statistics.quantiles(values, n=100)[98]
    return Number(
        name=f"RPC {signature}: {says}, CPU a call",
        goal="-", value=f"{statistics.median(values):.0f} us", verdict="-", notes=f"p99 {p99:.0f} us",
    )  # fmt: skip


if __name__ == "__main__":
    for one in measure(3, print):
        print(f"{one.name:48} {one.value:10} {one.notes}")
