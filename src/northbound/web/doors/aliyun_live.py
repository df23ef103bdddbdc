"""Live 2016-11-01: the newer event subscriptions, which can be listed, changed and looked back on (facts 1.1, 1.2)."""

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from northbound.doors.rpc import RpcError
from northbound.doors.subscriptions import ANY_CHANNEL, Asked, channel_and_users, events_of, in_china, told_now
from northbound.doors.throttle import Allowance
from northbound.model.account import Maker
from northbound.model.app import App, Subscription
from northbound.model.registry import Put
from northbound.model.wire import Response
from northbound.ports import LISTED_ENDPOINT, AttemptRow
from northbound.web.doors.calling import ANSWERS, Action, Caller
from northbound.web.doors.subscribing import changed, endpoint_of, made, own, remove, target_url

VERSION: Final = "2016-11-01"
ALLOWANCE: Final = Allowance(100, 1)
LOOKING_BACK: Final = Allowance(50, 1)
SUBSCRIPTIONS_MOST: Final = 20  # of one AppId, one of them to all channels
USERS_MOST: Final = 30
EVENTS_MOST: Final = 5
PREFIX: Final = "live"  # of the ids: those of one app are found together
SPAN: Final = timedelta(days=7)
SLACK: Final = timedelta(minutes=1)  # the page's granularity: a window of exactly seven days has aged meanwhile
PAGE_MOST: Final = 100
PAGES_MOST: Final = 10_000
MAKER: Final = Maker.ALIYUN_LIVE


async def create_event_sub(caller: Caller) -> ANSWERS:
    """Subscribe to a channel's events, or once to all of an app."""
    app = _app(caller)
    asked = _asked(caller)
    _check_room(asked, _subscriptions(caller, app))
    ids = caller.new_id(PREFIX), caller.new_id(LISTED_ENDPOINT)
    caller.change(made(caller, app, asked, MAKER, ids))
    return {"SubscribeId": ids[0]}


async def update_event_sub(caller: Caller) -> ANSWERS:
    """Replace what a subscription is to and where its callbacks go."""
    app = _app(caller)
    revision, subscription = own(caller, app, MAKER)
    asked = _asked(caller)
    _check_room(asked, [one for one in _subscriptions(caller, app) if one.id != subscription.id])
    found = endpoint_of(caller, subscription)
    if found is None:
        raise RpcError(
            "ResourceNotExist", "The callback of this SubscribeId was deleted; delete it and subscribe.", 404
        )
    puts = [Put(one=changed(subscription, caller, asked), revision=revision)]
    if found[1].url != asked.url:
        puts.append(Put(one=replace(found[1], url=asked.url), revision=found[0]))
    caller.change(puts)
    return {}


async def delete_event_sub(caller: Caller) -> ANSWERS:
    """Remove a subscription with its endpoint."""
    remove(caller, own(caller, _app(caller), MAKER)[1])
    return {}


async def list_event_sub(caller: Caller) -> ANSWERS:
    """List an app's subscriptions of this family."""
    return {"Subscribers": [_shown(caller, one) for one in _subscriptions(caller, _app(caller))]}


async def list_event_sub_event(caller: Caller) -> ANSWERS:
    """List callbacks that were sent, the newest first: each attempt is one."""
    given = caller.parameters
    app = _app(caller)
    since, until = _window(caller)
    page = given.integer("PageNo", least=1, most=PAGES_MOST)
    size = given.integer("PageSize", least=1, most=PAGE_MOST)
    wanted = [own(caller, app, MAKER)[1]] if given.text("SubscribeId", default="") else _subscriptions(caller, app)
    names = {target.endpoint_id: one.id for one in wanted for target in one.targets}
    found = await caller.read(
        caller.hub.deliveries.callbacks, tuple(names), (since, until), skip=(page - 1) * size, limit=size + 1
    )
    logs = [_logged(one, app, names[endpoint_id]) for endpoint_id, one in found[:size]]
    return {"Count": len(logs), "HasMore": len(found) > size, "Logs": logs}


def _app(caller: Caller) -> App:
    return caller.app(caller.parameters.text("AppId"))[1]


def _asked(caller: Caller) -> Asked:
    given = caller.parameters
    channel, users = channel_and_users(given, users_most=USERS_MOST)
    events = events_of(given, most=EVENTS_MOST)
    # This family has no NeedCallbackAuth: its page tells of no signature.
    return Asked(channel=channel, url=target_url(caller), events=events, users=users, is_signed=False)


def _subscriptions(caller: Caller, app: App) -> list[Subscription]:
    found = caller.hub.objects.find(Subscription, after=PREFIX, app_id=app.id, limit=SUBSCRIPTIONS_MOST + 1)
    ours = [one for _, one in takewhile(lambda pair: pair[1].id.startswith(PREFIX), found)]
    return sorted(ours, key=lambda one: (one.created_at, one.id))


def _check_room(asked: Asked, others: list[Subscription]) -> None:
    if len(others) >= SUBSCRIPTIONS_MOST:
        raise RpcError("InputInvalid", f"An AppId has at most {SUBSCRIPTIONS_MOST} subscriptions; delete one first.")
    if not asked.channel and any(not told_now(one, "").channel for one in others):
        raise RpcError("InputInvalid", "The AppId has a subscription to all channels already; update that one.")


def _window(caller: Caller) -> tuple[datetime, datetime]:
    given = caller.parameters
    since, until = (
        datetime.fromtimestamp(given.integer(name, least=0, most=2**33), UTC) for name in ("StartTime", "EndTime")
    )
    if until <= since:
        raise RpcError("InputInvalid", "EndTime is after StartTime, both in seconds since 1970.")
    if until - since > SPAN or since < caller.now - SPAN - SLACK:
        raise RpcError("InputInvalid", "StartTime and EndTime are at most 7 days apart, and in the last 7 days.")
    return since, until


def _shown(caller: Caller, one: Subscription) -> dict[str, Any]:
    found = endpoint_of(caller, one)
    told = told_now(one, "" if found is None else found[1].url)
    return {
        "SubId": one.id,
        "ChannelId": told.channel or ANY_CHANNEL,
        "CallbackUrl": told.url,
        "Events": told.events,
        "Users": told.users,
        "CreateTime": in_china(one.created_at),
        "ModifyTime": in_china(one.changed_at or one.created_at),
    }


class _Message(msgspec.Struct, frozen=True, rename="pascal"):
    msg_id: str = ""


def _message_id(body: bytes) -> str:
    """Return the callback's own id; none where somebody reshaped its body by the API."""
    try:
        return msgspec.json.decode(body, type=_Message).msg_id
    except msgspec.MsgspecError:
        return ""


def _logged(one: AttemptRow, app: App, subscription_id: str) -> dict[str, Any]:
    exchange = one.exchange
    outcome = exchange.outcome
    return {
        "AppId": app.id,
        "SubId": subscription_id,
        "MessageId": _message_id(exchange.request.body),
        "Data": exchange.request.body.decode(errors="replace"),
        "Url": exchange.request.url,
        "Code": outcome.status if isinstance(outcome, Response) else 0,
        "Cost": exchange.duration_ms,
        "Time": in_china(exchange.started_at, milliseconds=True),
    }


ACTIONS: Final = (
    Action(name="CreateEventSub", version=VERSION, run=create_event_sub, allowance=ALLOWANCE, changes=True),
    Action(name="UpdateEventSub", version=VERSION, run=update_event_sub, allowance=ALLOWANCE, changes=True),
    Action(name="DeleteEventSub", version=VERSION, run=delete_event_sub, allowance=ALLOWANCE, changes=True),
    Action(name="ListEventSub", version=VERSION, run=list_event_sub, allowance=ALLOWANCE),
    Action(name="ListEventSubEvent", version=VERSION, run=list_event_sub_event, allowance=LOOKING_BACK),
)
