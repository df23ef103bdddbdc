"""A customer's own event sources: who may say what on a bus, and where it is taken (facts 3.1, 3.4; ruling 13).

Here an event source is a `Source` of the hub on that bus. With HTTP parameters it has an intake URL, its webhook, which
takes one EventBridge event a request; without any it is a name, whose events come by PutEvents. The vendor's sources
that read other products' queues, logs and timers have nothing to read here and are refused with that reason.
"""

from base64 import urlsafe_b64encode
from typing import Any

import msgspec
from msgspec.structs import replace

from northbound.doors.bridge import PAGE_MOST, SOURCES_MOST, VIEW, BridgeError, check_source_name
from northbound.model.account import Bus
from northbound.model.app import Source
from northbound.model.errors import NotFound
from northbound.model.registry import Drop, Put
from northbound.web.doors.buses import Listed, description_of, get_bus, paged, source_stem, sources_of
from northbound.web.doors.customer import Customer
from northbound.web.told import told_url

METHOD = "POST"
HTTP = "SourceHttpEventParameters"
ELSEWHERE = (
    "SourceMNSParameters",
    "SourceRocketMQParameters",
    "SourceRabbitMQParameters",
    "SourceKafkaParameters",
    "SourceSLSParameters",
    "SourceScheduledEventParameters",
    "SourceOSSEventParameters",
)


class Webhook(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """How a source is called over HTTP."""

    type: str | None = None
    method: list[str] | None = None
    security_config: str | None = None
    ip: list[str] | None = None
    referer: list[str] | None = None


class EventSource(msgspec.Struct, frozen=True, kw_only=True):
    """An event source on its bus; `url` is where its webhook is called, empty without one."""

    bus: Bus
    kept: Source
    url: str


def create_source(
    by: Customer, bus_name: str, name: str, *, description: str = "", webhook: Webhook | None = None
) -> EventSource:
    """Register an event source on a bus."""
    bus = get_bus(by, bus_name)
    check_source_name(name)
    known = sources_of(by, bus)
    if any(source.name == name for _, source in known):
        what = f"The event source [{name}] of event bus [{bus.name}] already existed!"
        raise BridgeError("EventSourceAlreadyExist", what)
    if len(known) >= SOURCES_MOST:
        what = (
            f"The current count of event source is [{len(known)}], which will exceed the limit quota [{SOURCES_MOST}]"
        )
        raise BridgeError("EventSourceCountExceedLimit", what)
    source = Source(
        id=f"{source_stem(bus)}{name}",
        app_id=by.account.app_id,
        name=name,
        dialect=VIEW,
        token=urlsafe_b64encode(by.hub.entropy.bytes(24)).decode(),
        created_at=by.now,
        bus_id=bus.id,
    )
    source = _said(source, description, webhook)
    by.change((Put(one=source),))
    return _shown(by, bus, source)


def update_source(
    by: Customer, bus_name: str, name: str, *, description: str | None = None, webhook: Webhook | None = None
) -> EventSource:
    """Change what is given of an event source; its webhook's URL stays."""
    bus = get_bus(by, bus_name)
    revision, source = _source(by, bus, name)
    kept = webhook or (msgspec.convert(source.wire[HTTP], Webhook) if HTTP in source.wire else None)
    said = source.wire.get("Description", "") if description is None else description
    source = _said(source, said, kept)
    by.change((Put(one=source, revision=revision),))
    return _shown(by, bus, source)


def delete_source(by: Customer, bus_name: str, name: str) -> None:
    """Remove an event source; its webhook answers no more."""
    bus = get_bus(by, bus_name)
    by.change((), (Drop(kind=Source, id=_source(by, bus, name)[1].id),))


def list_sources(
    by: Customer, bus_name: str, prefix: str = "", limit: int = PAGE_MOST, token: str = ""
) -> Listed[EventSource]:
    """Return a page of a bus's event sources whose names begin with *prefix*, by name."""
    bus = get_bus(by, bus_name)
    page = paged([source for _, source in sources_of(by, bus)], lambda source: source.name, prefix, limit, token)
    items = tuple(_shown(by, bus, source) for source in page.items)
    return Listed(items=items, next_token=page.next_token, total=page.total)


def refuse_elsewhere(name: str) -> BridgeError:
    """Return the refusal of a source that would read another product."""
    return BridgeError(
        "EventSourceTypeInvalid",
        f"The event source type[{name}] is invalid! Here a source is an HTTP webhook ({HTTP}) or, without parameters, "
        "a name that PutEvents uses.",
    )


def _source(by: Customer, bus: Bus, name: str) -> tuple[int, Source]:
    try:
        return by.hub.objects.get(Source, f"{source_stem(bus)}{name}")
    except NotFound:
        what = f"The event source [{name[:127]}] of event bus [{bus.name}] not existed!"
        raise BridgeError("EventSourceNotExist", what) from None


def _said(source: Source, description: str, webhook: Webhook | None) -> Source:
    wire: dict[str, Any] = {"Description": description_of(description)} if description else {}
    if webhook is not None:
        _check(webhook)
        wire[HTTP] = msgspec.to_builtins(webhook)
    return replace(source, wire=wire, state="disabled" if webhook is None else "enabled")


def _check(webhook: Webhook) -> None:
    if webhook.type not in (None, "HTTP", "HTTPS", "HTTP&HTTPS"):
        raise _invalid("Type is HTTP, HTTPS or HTTP&HTTPS")
    if webhook.method is not None and METHOD not in webhook.method:
        raise _invalid("Method must hold POST, by which events come")
    if webhook.security_config not in (None, "", "none"):
        raise _invalid("SecurityConfig is none here: the token in the webhook's URL is what keeps strangers out")


def _invalid(what: str) -> BridgeError:
    return BridgeError("HttpSourceParametersInvalid", f"The parameters of http source is invalid. {what}.")


def _shown(by: Customer, bus: Bus, source: Source) -> EventSource:
    url = told_url(source, by.hub.config) if HTTP in source.wire else ""
    return EventSource(bus=bus, kept=source, url=url)
