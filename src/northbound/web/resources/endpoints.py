"""Endpoints: where callbacks go."""

import re
from datetime import timedelta
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from northbound.config import Config
from northbound.dialects import dialect_named
from northbound.dialects.base import Dialect
from northbound.logic.addresses import AllowList, check_url
from northbound.logic.authority import read_authorities
from northbound.model.app import App, Endpoint, EndpointState, RetryPolicy
from northbound.model.errors import BlockedAddress, InvalidInput
from northbound.model.registry import Drop, Put
from northbound.model.wire import Key
from northbound.web.call import Answer, Call, etag
from northbound.web.resources.belonging import without
from northbound.web.resources.key_ring import check_form, check_keys, new_key_id, new_secret, read_keys, rotated
from northbound.web.resources.replays import enqueue
from northbound.web.resources.showing import show_endpoint
from northbound.web.resources.sources import check_public_url, check_settings
from northbound.web.shapes.pages import Nothing, page_of, read_cursor
from northbound.web.shapes.setup import Accepted, EndpointChange, NewEndpoint, OfApp, RetryGiven, Rotation

PREFIX = "ep"
NEUTRAL = "standard"  # the one wire whose receivers always expect a signature

_NO_SCHEME = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}(?:[/?].*)?")


async def listed(call: Call[OfApp, Nothing]) -> Answer:
    """List endpoints."""
    limit, after = call.query.limit, read_cursor(call.query.cursor, str, "")
    app_id = call.app_filter(call.query.app_id)
    found = call.hub.objects.find(Endpoint, after=after, app_id=app_id, limit=limit)
    stopped = await call.read(call.hub.figures.stopped) if found else {}
    items = [show_endpoint(revision, one, stopped, is_admin=call.is_admin) for revision, one in found]
    return Answer(content=page_of(items, limit, items[-1].id if items else ""))


async def create(call: Call[Nothing, NewEndpoint]) -> Answer:
    """Create an endpoint; its target is checked before anything is kept."""
    given, hub = call.body, call.hub
    _, app = call.own(App, given.app_id)
    before = call.made_before(Endpoint, PREFIX)
    if before is not None:
        return _created(*before)
    dialect = dialect_named(given.dialect)
    check_settings(dialect, given.options)
    keys = _first_keys(call, dialect)
    check_keys(keys, app, dialect)
    endpoint = Endpoint(
        id=call.new_id(PREFIX),
        app_id=given.app_id,
        url=_target(given.url, hub.config),
        dialect=given.dialect,
        created_at=hub.clock.now(),
        name=given.name,
        public_url=check_public_url(given.public_url),
        method=_method(given.method or dialect.methods[-1], dialect),
        keys=keys,
        options=given.options,
        retry=_retry(given.retry, dialect.retry, hub.config),
        max_in_flight=given.max_in_flight,
        ignore_gone=given.ignore_gone,
        lane_hold=timedelta(seconds=given.lane_hold_seconds),
        fails_hours=given.fails_hours,
        ca_pem=_ca(given.ca_pem),
    )
    return _created(call.put(endpoint), endpoint)


def _first_keys(call: Call[Nothing, NewEndpoint], dialect: Dialect) -> tuple[Key, ...]:
    """Return the keys as given; where none are, make one for the neutral wire."""
    entropy = call.hub.entropy
    if call.body.keys is not UNSET:
        return read_keys(call.body.keys, (), entropy)
    if dialect.name != NEUTRAL:
        return ()
    return (Key(id=new_key_id(entropy), secret=new_secret(entropy)),)


def _created(revision: int, endpoint: Endpoint) -> Answer:
    location = ("location", f"/api/v1/endpoints/{endpoint.id}")
    content = show_endpoint(revision, endpoint, {}, is_admin=True, reveal=True)
    return Answer(content=content, status=201, headers=(etag(revision), location))


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show an endpoint."""
    return await _answer(call, *call.own(Endpoint, call.path["id"]))


async def reveal(call: Call[Nothing, Nothing]) -> Answer:
    """Show an endpoint with its secrets; the audit keeps that it was asked for."""
    revision, endpoint = call.own(Endpoint, call.path["id"])
    call.hub.trail.note("endpoint.revealed", endpoint.id, who=call.who, now=call.hub.clock.now())
    return await _answer(call, revision, endpoint, reveal=True)


async def change(call: Call[Nothing, EndpointChange]) -> Answer:
    """Change an endpoint; what waits goes to the new target, signed anew."""
    revision, endpoint = call.own(Endpoint, call.path["id"])
    call.revision_for(revision)
    endpoint = _changed(endpoint, call.body, call)
    return await _answer(call, call.put(endpoint, revision), endpoint)


def _changed(endpoint: Endpoint, given: EndpointChange, call: Call[Nothing, EndpointChange]) -> Endpoint:
    config, dialect = call.hub.config, dialect_named(endpoint.dialect)
    changes: dict[str, Any] = {
        name: getattr(given, name)
        for name in ("name", "options", "max_in_flight", "ignore_gone", "fails_hours")
        if getattr(given, name) is not UNSET
    }
    if given.options is not UNSET:
        check_settings(dialect, given.options)
    # The target is looked at again at each change: what may be reached is a setting that changes too (D5).
    changes["url"] = _target(endpoint.url if given.url is UNSET else given.url, config)
    if given.method is not UNSET:
        changes["method"] = _method(given.method, dialect)
    if given.keys is not UNSET:
        changes["keys"] = read_keys(given.keys, endpoint.keys, call.hub.entropy)
        check_keys(changes["keys"], call.own(App, endpoint.app_id)[1], dialect)
    if given.retry is not UNSET:
        changes["retry"] = _retry(given.retry, endpoint.retry, config)
    if given.public_url is not UNSET:
        changes["public_url"] = check_public_url(given.public_url)
    if given.ca_pem is not UNSET:
        changes["ca_pem"] = _ca(given.ca_pem)
    if given.lane_hold_seconds is not UNSET:
        changes["lane_hold"] = timedelta(seconds=given.lane_hold_seconds)
    return replace(endpoint, **changes)


async def remove(call: Call[Nothing, Nothing]) -> Answer:
    """Remove an endpoint, also from the subscriptions that name it; what waits for it is cancelled."""
    revision, endpoint = call.own(Endpoint, call.path["id"])
    if call.if_match is not None:
        call.revision_for(revision)
    puts, drops = without(call, endpoint)
    drops.append(Drop(kind=Endpoint, id=endpoint.id))
    call.hub.objects.change(puts, drops, who=call.who, now=call.hub.clock.now())
    return Answer(status=204)


async def enable(call: Call[Nothing, Nothing]) -> Answer:
    """Enable an endpoint, also one that stopped by itself."""
    revision, endpoint = call.own(Endpoint, call.path["id"])
    _target(endpoint.url, call.hub.config)
    if endpoint.state is not EndpointState.ENABLED:
        endpoint = replace(endpoint, state=EndpointState.ENABLED)
        revision = call.put(endpoint, revision)
    enqueue(call, {"do": "start_endpoint", "endpoint_id": endpoint.id}, endpoint.app_id)
    content = show_endpoint(revision, endpoint, {}, is_admin=True)
    return Answer(content=content, headers=(etag(revision),))


async def disable(call: Call[Nothing, Nothing]) -> Answer:
    """Disable an endpoint; what waits for it keeps waiting."""
    revision, endpoint = call.own(Endpoint, call.path["id"])
    if endpoint.state is not EndpointState.DISABLED:
        endpoint = replace(endpoint, state=EndpointState.DISABLED)
        revision = call.put(endpoint, revision)
    return await _answer(call, revision, endpoint)


async def test(call: Call[Nothing, Nothing]) -> Answer:
    """Send a test event on the path that all deliveries take."""
    _, endpoint = call.own(Endpoint, call.path["id"])
    _target(endpoint.url, call.hub.config)
    command_id = enqueue(call, {"do": "test", "endpoint_id": endpoint.id}, endpoint.app_id)
    return Answer(content=Accepted(command_id=command_id), status=202)


async def rotate(call: Call[Nothing, Rotation]) -> Answer:
    """Give an endpoint a new key, from now or a set moment on; the answer shows it."""
    revision, endpoint = call.own(Endpoint, call.path["id"])
    if dialect_named(endpoint.dialect).key_scope == "app" and not endpoint.keys:
        raise InvalidInput(
            "this dialect signs with the app's key; change app_key of the app, or give the endpoint keys"
        )
    keys = rotated(endpoint.keys, call.body, call.hub.clock.now(), call.hub.entropy)
    check_form(keys, dialect_named(endpoint.dialect))
    endpoint = replace(endpoint, keys=keys)
    call.change([Put(one=endpoint, revision=revision)], noting={"id": endpoint.id})
    revision += 1
    shown = show_endpoint(revision, endpoint, await call.read(call.hub.figures.stopped), is_admin=True)
    newest = show_endpoint(revision, endpoint, {}, is_admin=True, reveal=True).keys[-1]
    return Answer(content=replace(shown, keys=[*shown.keys[:-1], newest]), headers=(etag(revision),))


async def rotated_before(call: Call[Any, Any], done: dict[str, str]) -> Answer:
    """Answer a rotation once more: the endpoint as it is now, without the new key's secret."""
    revision, endpoint = call.own(Endpoint, done["id"])
    return await _answer(call, revision, endpoint)


async def _answer(call: Call[Any, Any], revision: int, endpoint: Endpoint, *, reveal: bool = False) -> Answer:
    stopped = await call.read(call.hub.figures.stopped)
    content = show_endpoint(revision, endpoint, stopped, is_admin=call.is_admin, reveal=reveal)
    return Answer(content=content, headers=(etag(revision),))


def _target(url: str, config: Config) -> str:
    """Return the URL as it will be called; raise `BlockedAddress` for what may not be reached (D5).

    `host:port/path` means http: one vendor's pages write it so (ruling 30).
    """
    full = f"http://{url}" if _NO_SCHEME.fullmatch(url) else url
    try:
        check_url(full, AllowList.parse(config.allow_targets))
    except BlockedAddress:
        raise
    except ValueError:
        raise BlockedAddress("blocked address: the URL cannot be read", field="url") from None
    return full


def _ca(pem: str) -> str:
    read_authorities(pem)
    return pem


def _method(method: str, dialect: Dialect) -> str:
    if method not in dialect.methods:
        raise InvalidInput(f"{dialect.name} is sent with: {', '.join(dialect.methods)}", field="method")
    return method


def _retry(given: RetryGiven | None, known: RetryPolicy, config: Config) -> RetryPolicy:
    """Return *known* with what is given; refuse a deadline that a lease does not outlast (D12)."""
    policy = known
    if given is not None:
        changes: dict[str, Any] = {
            name: getattr(given, name)
            for name in ("strategy", "attempts", "forget")
            if getattr(given, name) is not UNSET
        }
        if given.waits_seconds is not UNSET:
            changes["waits"] = tuple(timedelta(seconds=seconds) for seconds in given.waits_seconds)
        if given.deadline_seconds is not UNSET:
            changes["deadline"] = timedelta(seconds=given.deadline_seconds)
        policy = replace(known, **changes)
    if not timedelta() < policy.deadline < timedelta(seconds=config.lease_seconds):
        raise InvalidInput(
            f"the deadline must be above 0 and below the setting lease_seconds ({config.lease_seconds:g})",
            field="retry.deadline_seconds",
        )
    return policy
