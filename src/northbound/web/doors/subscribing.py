"""What both families of event subscriptions do: one subscription, one endpoint, one transaction."""

from typing import Final

from msgspec.structs import replace

from northbound.dialects import dialect_named
from northbound.doors.parameters import invalid
from northbound.doors.rpc import RpcError
from northbound.doors.subscriptions import Asked, pattern_of
from northbound.logic.addresses import AllowList, check_url
from northbound.logic.keys import lacks_key
from northbound.logic.route import NEUTRAL, compile_for
from northbound.model.account import Maker
from northbound.model.app import App, Endpoint, Subscription, Target
from northbound.model.errors import BlockedAddress, InvalidInput, NotFound, PatternError
from northbound.model.registry import Drop
from northbound.web.doors.calling import Caller

DIALECT: Final = "aliyun_rtc"
URL_LONGEST: Final = 2_048
FAMILIES: Final = {Maker.ALIYUN_RTC: "rtc", Maker.ALIYUN_LIVE: "live"}


def made(caller: Caller, app: App, asked: Asked, maker: Maker, ids: tuple[str, str]) -> tuple[Endpoint, Subscription]:
    """Return what stands for a subscription, under *ids* of subscription and endpoint; nothing is stored yet."""
    if asked.is_signed and lacks_key((), app, dialect_named(DIALECT)):
        raise RpcError("InputInvalid", "NeedCallbackAuth: the app has no AppKey to sign with; give it one first.")
    identity, endpoint_id = ids
    endpoint = Endpoint(
        id=endpoint_id,
        app_id=app.id,
        url=asked.url,
        dialect=DIALECT,
        created_at=caller.now,
        made_by=maker,
        options={
            "family": FAMILIES[maker],
            "subscribe_id": identity,
            "app_id": app.id,
            "callback_auth": "signed" if asked.is_signed else "none",
        },
        retry=dialect_named(DIALECT).retry,
    )
    subscription = Subscription(
        id=identity,
        app_id=app.id,
        created_at=caller.now,
        pattern=checked_pattern(asked),
        targets=(Target(endpoint_id=endpoint.id),),
        made_by=maker,
        wire=asked.wire,
    )
    return endpoint, subscription


def changed(subscription: Subscription, caller: Caller, asked: Asked) -> Subscription:
    """Return *subscription* to what is asked for now."""
    return replace(subscription, pattern=checked_pattern(asked), wire=asked.wire, changed_at=caller.now)


def checked_pattern(asked: Asked) -> str:
    """Return the subscription's pattern; refuse one that would not be matched with."""
    pattern = pattern_of(asked)
    try:
        compile_for(NEUTRAL, pattern)
    except PatternError:
        raise invalid("Users", "is too long as a whole; subscribe with fewer users") from None
    return pattern


def own(caller: Caller, app: App, maker: Maker) -> tuple[int, Subscription]:
    """Return (revision, the subscription that the call names); made elsewhere or for another app: not found."""
    identity = caller.parameters.text("SubscribeId")
    try:
        revision, found = caller.hub.objects.get(Subscription, identity)
    except NotFound:
        revision, found = 0, None
    if found is None or found.app_id != app.id or found.made_by is not maker:
        raise RpcError("ResourceNotExist", "The specified SubscribeId does not exist.", 404)
    return revision, found


def endpoint_of(caller: Caller, subscription: Subscription) -> tuple[int, Endpoint] | None:
    """Return (revision, endpoint) of a subscription, None when somebody removed it by the API."""
    try:
        return caller.hub.objects.get(Endpoint, subscription.targets[0].endpoint_id) if subscription.targets else None
    except NotFound:
        return None


def remove(caller: Caller, subscription: Subscription) -> None:
    """Remove a subscription with its endpoint; what still waits for it is cancelled."""
    drops = [Drop(kind=Subscription, id=subscription.id)]
    found = endpoint_of(caller, subscription)
    if found is not None and found[1].made_by is not Maker.API:
        drops.append(Drop(kind=Endpoint, id=found[1].id))
    caller.change((), drops)


def target_url(caller: Caller, name: str = "CallbackUrl") -> str:
    """Return a URL that may be called (D5); the guard decides again whenever a connection is opened or used again."""
    url = caller.parameters.text(name, longest=URL_LONGEST)
    try:
        check_url(url, AllowList.parse(caller.hub.config.allow_targets))
    except (BlockedAddress, InvalidInput) as error:
        raise RpcError("InputInvalid", f"{name}: {error.message}") from None
    return url
