"""What the console pages make for a customer: subscriptions and endpoints, which the hub's own API can change too."""

from collections.abc import Iterable, Sequence
from typing import Any

from northbound.model.app import Endpoint, EndpointState, Subscription
from northbound.model.errors import NotFound
from northbound.model.registry import Drop, Kind
from northbound.web.call import Call


def new_id(call: Call[Any, Any], prefix: str) -> str:
    """Return a random id for a part of what is being made."""
    return f"{prefix}_{call.hub.entropy.bytes(12).hex()}"


def held(call: Call[Any, Any], kind: type[Kind], identity: str) -> tuple[int, Kind] | None:
    """Return (revision, object), None when somebody removed it by hand."""
    try:
        return call.hub.objects.get(kind, identity)
    except NotFound:
        return None


def drops_of(call: Call[Any, Any], wanted: Iterable[tuple[type[Any], str]]) -> list[Drop]:
    """Return how to remove what was made, as far as it is still there."""
    return [Drop(kind=kind, id=identity) for kind, identity in wanted if held(call, kind, identity) is not None]


def state_of(subscription: Subscription, endpoints: Sequence[Endpoint]) -> str:
    """Return `enabled` where events are sent, `disabled` where the API took away the rule or all that it calls."""
    named = {target.endpoint_id for target in subscription.targets}
    is_called = any(one.id in named and one.state is EndpointState.ENABLED for one in endpoints)
    is_on = subscription.state == "enabled" and is_called
    return "enabled" if is_on else "disabled"
