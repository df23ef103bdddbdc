"""What every action of the vendors' management interfaces has at hand: who calls, with what, and the hub."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from northbound.doors.parameters import Parameters
from northbound.doors.rpc import RpcCall, RpcError
from northbound.doors.throttle import Allowance
from northbound.model.account import AccessKey, Account, Once
from northbound.model.app import App
from northbound.model.errors import NotFound
from northbound.model.registry import Drop, Object, Put
from northbound.model.wire import Request
from northbound.web.call import Hub

Given = ParamSpec("Given")
Found = TypeVar("Found")
ANSWERS = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """One verified call. Whatever belongs to another account is not found, in the same words as what is nowhere."""

    hub: Hub
    account: Account
    call: RpcCall
    request: Request  # as it came
    request_id: str
    now: datetime
    parameters: Parameters = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", Parameters(self.call.parameters))

    @property
    def who(self) -> str:
        """The caller as the audit names it: the access key."""
        return self.call.access_key_id

    def app(self, identity: str) -> tuple[int, App]:
        """Return (revision, app) of this account; raise the documented refusal for any other."""
        try:
            revision, app = self.hub.objects.get(App, identity)
        except NotFound:
            revision, app = 0, None
        if app is None or app.account_id != self.account.id:
            raise RpcError("ResourceNotExist", "The specified AppId does not exist.", 404)
        return revision, app

    def change(self, puts: Sequence[Object | Put], drops: Sequence[Drop] = (), once: Once | None = None) -> None:
        """Do it all in one transaction, in the caller's name."""
        wanted = [one if isinstance(one, Put) else Put(one=one) for one in puts]
        self.hub.objects.change(wanted, drops, who=self.who, now=self.now, once=once)

    async def read(self, view: Callable[Given, Found], *args: Given.args, **kwargs: Given.kwargs) -> Found:
        """Run a read of a view beside the loop, so that a slow one holds nobody up."""
        return await asyncio.to_thread(view, *args, **kwargs)

    def new_id(self, prefix: str = "") -> str:
        """Return a random id of 24 hex digits after *prefix*."""
        return prefix + self.hub.entropy.bytes(12).hex()


def key_of(hub: Hub, identity: str) -> AccessKey:
    """Return the access key of a call; raise the documented refusal for one that is not there or disabled."""
    try:
        key = hub.objects.get(AccessKey, identity)[1]
    except NotFound:
        raise RpcError("InvalidAccessKeyId.NotFound", "Specified access key is not found.", 404) from None
    if key.state != "enabled":
        raise RpcError("InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
    return key


def new_request_id(hub: Hub) -> str:
    """Return a new id of a call as the vendor writes one: 32 hex digits in capitals, in five groups."""
    digits = hub.entropy.bytes(16).hex().upper()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action of one version: what runs it, how often an account may call it, whether it changes what is set up."""

    name: str
    version: str
    run: Callable[[Caller], Awaitable[ANSWERS]]
    allowance: Allowance
    changes: bool = False
    success: Callable[[ANSWERS], ANSWERS] = lambda answers: answers  # the envelope that this product's answers have
