"""What goes together: what a vendor's door made, an endpoint and the subscription it was made for."""

from typing import Any, Final

from msgspec.structs import replace

from northbound.model.account import Maker
from northbound.model.app import Endpoint, Subscription
from northbound.model.errors import NotFound
from northbound.model.registry import Drop, Put
from northbound.web.call import Call

KEPT_EMPTY: Final = frozenset({Maker.API, Maker.EVENTBRIDGE})  # whose subscriptions may be without any endpoint


def made_for(call: Call[Any, Any], one: Subscription) -> list[str]:
    """Return the ids of the endpoints that the door of *one* made for it and that no other subscription names."""
    if one.made_by is Maker.API:
        return []
    found = {target.endpoint_id for target in one.targets if _maker(call, target.endpoint_id) is one.made_by}
    for other in call.hub.every(Subscription, one.app_id) if found else ():
        if other.id != one.id:
            found -= {target.endpoint_id for target in other.targets}
    return sorted(found)


def without(call: Call[Any, Any], endpoint: Endpoint) -> tuple[list[Put], list[Drop]]:
    """Return how the subscriptions that name *endpoint* go on without it.

    One that a vendor's door made of subscription and callback URL does not: without the URL it is nothing there.
    """
    puts: list[Put] = []
    drops: list[Drop] = []
    for one in list(call.hub.every(Subscription, endpoint.app_id)):
        kept = tuple(target for target in one.targets if target.endpoint_id != endpoint.id)
        if len(kept) == len(one.targets):
            continue
        if kept or one.made_by in KEPT_EMPTY:
            puts.append(_put(call, one, kept))
        else:
            drops.append(Drop(kind=Subscription, id=one.id))
    return puts, drops


def _put(call: Call[Any, Any], one: Subscription, kept: Any) -> Put:
    revision, newest = call.own(Subscription, one.id)
    return Put(one=replace(newest, targets=kept, changed_at=call.hub.clock.now()), revision=revision)


def _maker(call: Call[Any, Any], endpoint_id: str) -> Maker | None:
    try:
        return call.hub.objects.get(Endpoint, endpoint_id)[1].made_by
    except NotFound:
        return None
