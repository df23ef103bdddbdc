"""RTC 2018-01-11: event subscriptions (seed 002; facts 1.1, 1.2, 1.7; rulings 21-24)."""

import hashlib
from datetime import timedelta
from typing import Any, Final

import msgspec

from northbound.dialects import dialect_named
from northbound.doors.parameters import invalid
from northbound.doors.rpc import RpcError
from northbound.doors.throttle import Allowance
from northbound.logic.addresses import AllowList, check_url
from northbound.model.account import Maker, Once
from northbound.model.app import App, Endpoint, Subscription, Target
from northbound.model.errors import BlockedAddress, InvalidInput, NotFound
from northbound.model.registry import Drop
from northbound.web.doors.calling import ANSWERS, Action, Caller

VERSION: Final = "2018-01-11"
ALLOWANCE: Final = Allowance(1_000, 60)
DIALECT: Final = "aliyun_rtc"
TOKEN_LONGEST: Final = 64
URL_LONGEST: Final = 2_048
EVENTS: Final = {
    "ChannelEvent": ("room.opened", "room.closed"),
    "UserEvent": (
        "participant.joined",
        "participant.left",
        "participant.updated",
        "track.published",
        "track.unpublished",
    ),
}
ROLES: Final = {1: "broadcaster", 2: "audience"}
ANY_CHANNEL: Final = "*"


async def create_event_subscribe(caller: Caller) -> ANSWERS:
    """Subscribe to a channel's events, or to all of an app; the same ClientToken makes one subscription."""
    given = caller.parameters
    _, app = caller.app(given.text("AppId"))
    token = _token(caller)
    fingerprint = hashlib.sha256(msgspec.json.encode(sorted(given.given.items()))).hexdigest()
    before = caller.hub.objects.once(caller.account.id, "CreateEventSubscribe", token, caller.now - timedelta(days=1))
    if before is not None and before.fingerprint != fingerprint:
        raise RpcError("IdempotentParameterMismatch", "This ClientToken was used with other parameters.")
    if before is not None:
        return before.answer
    subscription, endpoint = _made(caller, app)
    content = {"SubscribeId": subscription.id}
    once = Once(
        account_id=caller.account.id,
        action="CreateEventSubscribe",
        token=token,
        fingerprint=fingerprint,
        answer=content,
    )
    caller.change((endpoint, subscription), once=once)
    return content


async def delete_event_subscribe(caller: Caller) -> ANSWERS:
    """Remove a subscription with its endpoint; what still waits for it is cancelled."""
    _, app = caller.app(caller.parameters.text("AppId"))
    subscription = own_subscription(caller, app, caller.parameters.text("SubscribeId"))
    drops = [Drop(kind=Subscription, id=subscription.id)]
    drops += [Drop(kind=Endpoint, id=target.endpoint_id) for target in subscription.targets]
    caller.change((), drops)
    return {}


def own_subscription(caller: Caller, app: App, identity: str) -> Subscription:
    """Return a subscription that was made through this door for this app; any other is not found."""
    try:
        found = caller.hub.objects.get(Subscription, identity)[1]
    except NotFound:
        found = None
    if found is None or found.app_id != app.id or found.made_by is not Maker.ALIYUN_RTC:
        raise RpcError("ResourceNotExist", "The specified SubscribeId does not exist.", 404)
    return found


def _token(caller: Caller) -> str:
    token = caller.parameters.text("ClientToken", longest=TOKEN_LONGEST)
    if not token.isascii() or not token.isprintable():
        raise invalid("ClientToken", f"has 1 to {TOKEN_LONGEST} ASCII characters")
    return token


def _made(caller: Caller, app: App) -> tuple[Subscription, Endpoint]:
    given = caller.parameters
    channel = given.text("ChannelId", longest=128, default="")
    users = given.listed("Users", most=64)
    if users and not channel:
        raise RpcError("MissingChannelId", "ChannelId is mandatory when Users is given.")
    role = given.integer("Role", least=-(2**31), most=2**31, default=0)
    events = events_of(given.listed("Events", most=16, needed=True))
    identity = caller.new_id()
    wire: dict[str, Any] = {
        "ChannelId": channel,
        "CallbackUrl": target_url(caller, "CallbackUrl"),
        "Events": events,
        "Users": users,
        "Role": role,
        "NeedCallbackAuth": given.boolean("NeedCallbackAuth"),
    }
    endpoint = Endpoint(
        id=caller.new_id("ep_"),
        app_id=app.id,
        url=wire["CallbackUrl"],
        dialect=DIALECT,
        created_at=caller.now,
        options={"subscribe_id": identity, "app_id": app.id},
        retry=dialect_named(DIALECT).retry,
    )
    subscription = Subscription(
        id=identity,
        app_id=app.id,
        created_at=caller.now,
        pattern=pattern_of(events, channel, users, role),
        targets=(Target(endpoint_id=endpoint.id),),
        made_by=Maker.ALIYUN_RTC,
        wire=wire,
    )
    return subscription, endpoint


def events_of(given: list[str]) -> list[str]:
    """Return the event kinds asked for, each once; refuse others."""
    for name in given:
        if name not in EVENTS:
            raise invalid("Events", f"holds {' or '.join(EVENTS)}")
    return list(dict.fromkeys(given))


def target_url(caller: Caller, name: str) -> str:
    """Return a URL that may be called (D5); the guard decides again whenever a connection is opened or used again."""
    url = caller.parameters.text(name, longest=URL_LONGEST)
    try:
        check_url(url, AllowList.parse(caller.hub.config.allow_targets))
    except (BlockedAddress, InvalidInput) as error:
        raise RpcError("InputInvalid", f"{name}: {error.message}") from None
    return url


def pattern_of(events: list[str], channel: str, users: list[str], role: int) -> str:
    """Say a subscription in the pattern language, over the neutral view; filters of users spare a room's own events."""
    data: dict[str, Any] = {}
    if channel and channel != ANY_CHANNEL:
        data["room_id"] = [channel]
    if users:
        data["participant_id"] = [*users, {"exists": False}]
    if role in ROLES:
        data["facts"] = {"role": [ROLES[role], {"exists": False}]}
    pattern: dict[str, Any] = {"type": [kind for name in events for kind in EVENTS[name]]}
    return msgspec.json.encode(pattern | ({"data": data} if data else {})).decode()


ACTIONS: Final = (
    Action(name="CreateEventSubscribe", version=VERSION, run=create_event_subscribe, allowance=ALLOWANCE, changes=True),
    Action(name="DeleteEventSubscribe", version=VERSION, run=delete_event_subscribe, allowance=ALLOWANCE, changes=True),
)
