"""RTC 2018-01-11: event subscriptions (seed 002; facts 1.1, 1.2, 1.7; rulings 6, 21, 22)."""

import hashlib
from datetime import timedelta
from typing import Final

import msgspec

from northbound.doors.parameters import invalid
from northbound.doors.rpc import RpcError
from northbound.doors.subscriptions import Asked, channel_and_users, events_of
from northbound.doors.throttle import Allowance
from northbound.model.account import Maker, Once
from northbound.model.app import Subscription
from northbound.model.errors import NotFound
from northbound.web.doors import aliyun_rooms
from northbound.web.doors.calling import ANSWERS, Action, Caller
from northbound.web.doors.subscribing import made, own, remove, target_url

VERSION: Final = "2018-01-11"
ALLOWANCE: Final = Allowance(1_000, 60)
TOKEN_LONGEST: Final = 64
USERS_MOST: Final = 64
EVENTS_MOST: Final = 16
CREATE: Final = "CreateEventSubscribe"
KEPT: Final = timedelta(days=1)  # how long a ClientToken is remembered


async def create_event_subscribe(caller: Caller) -> ANSWERS:
    """Subscribe to a channel's events, or to all of an app; the same ClientToken makes one subscription.

    An answer is repeated while its subscription is there: a client that asks again wants one that works.
    Nothing is awaited between looking for the token and storing it, so that of two calls at once one comes first.
    """
    given = caller.parameters
    _, app = caller.app(given.text("AppId"))
    token = given.text("ClientToken", longest=TOKEN_LONGEST)
    if not token.isascii() or not token.isprintable():
        raise invalid("ClientToken", f"has 1 to {TOKEN_LONGEST} ASCII characters")
    fingerprint = hashlib.sha256(msgspec.json.encode(sorted(given.given.items()))).hexdigest()
    before = caller.hub.objects.once(caller.account.id, CREATE, token, caller.now - KEPT)
    if before is not None and before.fingerprint != fingerprint:
        raise RpcError("IdempotentParameterMismatch", "This ClientToken was used with other parameters.")
    if before is not None and _is_there(caller, before.answer["SubscribeId"]):
        return before.answer
    channel, users = channel_and_users(given, users_most=USERS_MOST)
    asked = Asked(
        channel=channel,
        url=target_url(caller),
        events=events_of(given, most=EVENTS_MOST),
        users=users,
        role=given.integer("Role", least=-(2**63), most=2**63 - 1, default=0),
        is_signed=given.boolean("NeedCallbackAuth"),
    )
    ids = caller.new_id(), caller.new_id("ep_")
    answer = {"SubscribeId": ids[0]}
    once = Once(account_id=caller.account.id, action=CREATE, token=token, fingerprint=fingerprint, answer=answer)
    caller.change(made(caller, app, asked, Maker.ALIYUN_RTC, ids), once=once)
    return answer


def _is_there(caller: Caller, identity: str) -> bool:
    try:
        caller.hub.objects.get(Subscription, identity)
    except NotFound:
        return False
    return True


async def delete_event_subscribe(caller: Caller) -> ANSWERS:
    """Remove a subscription with its endpoint."""
    _, app = caller.app(caller.parameters.text("AppId"))
    remove(caller, own(caller, app, Maker.ALIYUN_RTC)[1])
    return {}


ACTIONS: Final = (
    Action(name=CREATE, version=VERSION, run=create_event_subscribe, allowance=ALLOWANCE, changes=True),
    Action(name="DeleteEventSubscribe", version=VERSION, run=delete_event_subscribe, allowance=ALLOWANCE, changes=True),
    *(Action(name=name, version=VERSION, run=run, allowance=ALLOWANCE) for name, run in aliyun_rooms.READS.items()),
)
