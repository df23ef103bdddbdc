"""Event buses: the one model under both of EventBridge's interfaces (facts 3.4). All raise `BridgeError`."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from northbound.doors.bridge import (
    BUSES_MOST,
    DEFAULT_BUS,
    DESCRIPTION_LONGEST,
    PAGE_MOST,
    RESERVED,
    RULES_MOST,
    SOURCES_MOST,
    VIEW,
    BridgeError,
    check_bus_name,
    no_bus,
    rule_stem,
)
from northbound.model.account import Bus
from northbound.model.app import Endpoint, Source, Subscription
from northbound.model.registry import Drop, Put
from northbound.web.doors.customer import Customer

One = TypeVar("One")


class Listed(msgspec.Struct, Generic[One], frozen=True, kw_only=True):
    """A page of a list: `next_token` is empty at the end, `total` counts all pages."""

    items: tuple[One, ...]
    next_token: str
    total: int


def create_bus(by: Customer, name: str, description: str = "") -> Bus:
    """Create a custom bus with the source by which events are put on it."""
    check_bus_name(name)
    known = _buses(by)
    if any(bus.name == name for _, bus in known):
        raise BridgeError("EventBusAlreadyExist", f"The event bus [{name}] already existed!")
    custom = sum(bus.name != DEFAULT_BUS for _, bus in known)
    if custom >= BUSES_MOST:
        raise _too_many("event bus", custom, BUSES_MOST, "EventBusCountExceedLimit")
    source = Source(
        id=by.new_id("src_"),
        app_id=by.account.app_id,
        name=f"event bus {name}",
        dialect=VIEW,
        token=urlsafe_b64encode(by.hub.entropy.bytes(24)).decode(),
        created_at=by.now,
    )
    bus = Bus(
        id=by.new_id("bus_"),
        account_id=by.account.id,
        name=name,
        source_id=source.id,
        created_at=by.now,
        region=by.account.region,
        description=description_of(description),
    )
    by.change((Put(one=source), Put(one=bus)))
    return bus


def update_bus(by: Customer, name: str, description: str) -> Bus:
    """Change a bus's description."""
    revision, bus = _bus(by, name)
    bus = replace(bus, description=description_of(description))
    by.change((Put(one=bus, revision=revision),))
    return bus


def delete_bus(by: Customer, name: str) -> None:
    """Remove a custom bus that has neither rules nor event sources of the customer any more."""
    _, bus = _bus(by, name)
    if name == DEFAULT_BUS or name.startswith(RESERVED):
        raise BridgeError("EventBusNameInvalid", f"The event bus name [{name}] is invalid! This bus cannot be deleted.")
    if rules_of(by, bus):
        raise BridgeError(
            "EventBusRuleNotEmptyForDelete",
            f"The rules of eventbus [{name}] exist, please delete them before delete event bus.",
        )
    if sources_of(by, bus):
        raise BridgeError(
            "EventBusSourceNotEmptyForDelete",
            f"The source of eventbus [{name}] exist, please delete them before delete event bus.",
        )
    if _takes_dead_letters(by, bus):
        raise BridgeError(
            "EventBusRuleNotEmptyForDelete",
            f"Targets of other rules send their dead letters to eventbus [{name}], please change them first.",
        )
    by.change((), (Drop(kind=Bus, id=bus.id), Drop(kind=Source, id=bus.source_id)))


def _takes_dead_letters(by: Customer, bus: Bus) -> bool:
    after = ""
    while found := by.hub.objects.find(Endpoint, after=after, app_id=by.account.app_id, limit=PAGE_MOST):
        if any(endpoint.dead_letter_bus == bus.id for _, endpoint in found):
            return True
        after = found[-1][1].id
    return False


def get_bus(by: Customer, name: str) -> Bus:
    """Return one of the account's buses."""
    return _bus(by, name)[1]


def list_buses(by: Customer, prefix: str = "", limit: int = PAGE_MOST, token: str = "") -> Listed[Bus]:
    """Return a page of the buses whose names begin with *prefix*, by name."""
    found = sorted((bus for _, bus in _buses(by)), key=lambda bus: bus.name)
    return paged(found, lambda bus: bus.name, prefix, limit, token)


def rules_of(by: Customer, bus: Bus) -> list[tuple[int, Subscription]]:
    """Return (revision, rule) of a bus, by name."""
    stem = rule_stem(bus)
    found = by.hub.objects.find(Subscription, after=stem, limit=RULES_MOST + 1)
    return [one for one in found if one[1].id.startswith(stem)]


def source_stem(bus: Bus) -> str:
    """Return what the ids of a bus's event sources begin with; their names follow."""
    return f"es_{bus.id.removeprefix('bus_')}_"


def sources_of(by: Customer, bus: Bus) -> list[tuple[int, Source]]:
    """Return (revision, source) of the customer's own event sources on a bus, by name."""
    stem = source_stem(bus)
    found = by.hub.objects.find(Source, after=stem, limit=SOURCES_MOST + 1)
    return [one for one in found if one[1].id.startswith(stem)]


def paged(found: Sequence[One], name: Callable[[One], str], prefix: str, limit: int, token: str) -> Listed[One]:
    """Return a page of what is sorted by *name*; the token is the last name of the page before."""
    if not 1 <= limit <= PAGE_MOST:
        raise BridgeError(
            "LimitSizeInvalid", f"The limit size of page is invalid, use a whole number from 1 to {PAGE_MOST}."
        )
    if len(token) > 256:
        raise BridgeError("NextTokenInvalid", "The next token of page is invalid; send the one that was answered.")
    kept = [one for one in found if name(one).startswith(prefix)]
    rest = [one for one in kept if name(one) > token]
    page = tuple(rest[:limit])
    return Listed(items=page, next_token=name(page[-1]) if len(rest) > limit else "", total=len(kept))


def _bus(by: Customer, name: str) -> tuple[int, Bus]:
    wanted = name or DEFAULT_BUS
    found = next((one for one in _buses(by) if one[1].name == wanted), None)
    if found is None:
        raise no_bus(name)
    return found


def _buses(by: Customer) -> list[tuple[int, Bus]]:
    return by.hub.objects.find(Bus, app_id=by.account.id, limit=BUSES_MOST + 2)


def description_of(text: str) -> str:
    """Return a description; raise for one that is too long."""
    if len(text) > DESCRIPTION_LONGEST:
        raise BridgeError(
            "DescriptionInvalid", f"The description is longer than {DESCRIPTION_LONGEST} characters; shorten it.", 400
        )
    return text


def _too_many(noun: str, count: int, most: int, code: str) -> BridgeError:
    return BridgeError(code, f"The current count of {noun} is [{count}], which will exceed the limit quota [{most}]")
