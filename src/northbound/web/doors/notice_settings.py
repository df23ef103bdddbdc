"""Notice settings: anyRTC's console as calls of the API; enabling runs the health test (seed 003; ruling 29)."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import replace

from northbound.dialects.anyrtc import DIALECT as WIRE
from northbound.doors import anyrtc
from northbound.logic.retry import diagnosis
from northbound.model.app import App, Endpoint, Subscription, Target
from northbound.model.delivery import Failure
from northbound.model.errors import Conflict, Forbidden, HealthTestFailed
from northbound.model.notices import NoticeSettings, Notified
from northbound.model.registry import Drop, Put
from northbound.web.call import Answer, Call, etag
from northbound.web.doors.made import drops_of, held, new_id
from northbound.web.doors.targets import asked, checked_url
from northbound.web.resources.listing import listed_of
from northbound.web.resources.replays import enqueue
from northbound.web.resources.showing_notices import as_now, show_paths, show_settings
from northbound.web.shapes.notices import NewNoticeSettings, NoticeSettingsChange
from northbound.web.shapes.pages import Nothing
from northbound.web.shapes.setup import OfApp

PREFIX: Final = "notice"
KEPT: Final = timedelta(hours=1)  # what a change replaced stays so long, for what still waits there
MADE_MOST: Final = 50


async def listed(call: Call[OfApp, Nothing]) -> Answer:
    """List notice settings."""
    return listed_of(call, NoticeSettings, lambda revision, one: show_settings(call, revision, as_now(call, one)))


async def create(call: Call[Nothing, NewNoticeSettings]) -> Answer:
    """Keep new settings; nothing is sent before they are enabled."""
    given = call.body
    call.own(App, given.app_id)
    before = call.made_before(NoticeSettings, PREFIX)
    if before is not None:
        return _created(call, before[0], as_now(call, before[1]))
    _check_operator(call, wanted=given.redundant)
    settings = NoticeSettings(
        id=call.new_id(PREFIX),
        app_id=given.app_id,
        name=given.name,
        created_at=call.hub.clock.now(),
        product=anyrtc.read_product(given.product),
        event_types=anyrtc.read_event_types(given.product, given.event_types),
        url=given.url,
        second_url=given.second_url,
        secret=call.hub.entropy.bytes(16).hex().encode(),
        redundant=given.redundant,
        strict_reply=given.strict_reply,
        effective_delay=timedelta(seconds=given.effective_delay_seconds),
    )
    _check_urls(call, settings)
    return _created(call, call.put(settings), settings)


def _created(call: Call[Any, Any], revision: int, settings: NoticeSettings) -> Answer:
    location = ("location", f"/api/v1/notice-settings/{settings.id}")
    content = show_settings(call, revision, settings, reveal=True)
    return Answer(content=content, status=201, headers=(etag(revision), location))


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show settings with how each path fares."""
    return await _answer(call, *_own(call))


async def reveal(call: Call[Nothing, Nothing]) -> Answer:
    """Show settings with their secret; the audit keeps that it was asked for."""
    revision, settings = _own(call)
    call.hub.trail.note("notice_settings.revealed", settings.id, who=call.who, now=call.hub.clock.now())
    return Answer(content=show_settings(call, revision, settings, reveal=True), headers=(etag(revision),))


async def change(call: Call[Nothing, NoticeSettingsChange]) -> Answer:
    """Change settings; while they are enabled, a URL that is new passes the health test first, or nothing changes."""
    revision, known = _own(call)
    call.revision_for(revision)
    settings = _changed(known, call.body)
    if settings.redundant != known.redundant or settings.second_url != known.second_url:
        _check_operator(call, wanted=settings.redundant)
    _check_urls(call, settings)
    if known.state != "enabled":
        return await _answer(call, call.put(settings, revision), settings)
    fresh = [url for url in settings.urls if url not in known.urls or settings.strict_reply > known.strict_reply]
    if fresh:
        await _test(call, settings, fresh)
        settings = replace(settings, tested_at=call.hub.clock.now())
    return await _enabled(call, revision, known, settings)


def _changed(known: NoticeSettings, given: NoticeSettingsChange) -> NoticeSettings:
    names = ("name", "url", "second_url", "redundant", "strict_reply")
    plain = {name: getattr(given, name) for name in names if getattr(given, name) is not UNSET}
    product = known.product if given.product is UNSET else anyrtc.read_product(given.product)
    ticked = known.event_types if given.event_types is UNSET else given.event_types
    delay = known.effective_delay
    if given.effective_delay_seconds is not UNSET:
        delay = timedelta(seconds=given.effective_delay_seconds)
    return replace(
        known,
        **plain,
        product=product,
        event_types=anyrtc.read_event_types(product, ticked),
        effective_delay=delay,
    )


async def enable(call: Call[Nothing, Nothing]) -> Answer:
    """Run the health test, and enable what passes; otherwise nothing is enabled and the refusal says why."""
    revision, known = _own(call)
    _check_urls(call, known)
    await _test(call, known, known.urls)
    settings = replace(known, state="enabled", tested_at=call.hub.clock.now())
    return await _enabled(call, revision, known, settings)


async def disable(call: Call[Nothing, Nothing]) -> Answer:
    """Notify no longer of what happens from now on; what waits still goes out."""
    revision, known = _own(call)
    if known.state == "disabled":
        return await _answer(call, revision, known)
    now = call.hub.clock.now()
    settings, puts = _ended(call, replace(known, state="disabled"), now + known.effective_delay)
    return await _stored(call, revision, settings, puts, _outdated(call, settings))


async def remove(call: Call[Nothing, Nothing]) -> Answer:
    """Remove settings with all that was made for them; what waits is cancelled."""
    revision, settings = _own(call)
    if call.if_match is not None:
        call.revision_for(revision)
    drops = _drops(call, settings.made)
    drops.append(Drop(kind=NoticeSettings, id=settings.id))
    call.hub.objects.change((), drops, who=call.who, now=call.hub.clock.now())
    return Answer(status=204)


def _own(call: Call[Any, Any]) -> tuple[int, NoticeSettings]:
    """Return (revision, settings as they are now) of those that the call names."""
    revision, settings = call.own(NoticeSettings, call.path["id"])
    return revision, as_now(call, settings)


# --- what may be set, and the health test ----------------------------------------------------------------------------


def _check_operator(call: Call[Any, Any], *, wanted: bool) -> None:
    """Refuse the second path to whoever is a customer of this hub: its operator opens it, as the vendor does."""
    if wanted and call.key.app_id is not None:
        raise Forbidden("redundant notices are opened by the operator: ask for it, with a key for all apps")


def _check_urls(call: Call[Any, Any], settings: NoticeSettings) -> None:
    checked_url(call.hub, settings.url, "url")
    if settings.second_url:
        checked_url(call.hub, settings.second_url, "second_url")


async def _test(call: Call[Any, Any], settings: NoticeSettings, urls: Sequence[str]) -> None:
    """Send the test notice to each of *urls* once; raise `HealthTestFailed` unless all answer as they must."""
    hub = call.hub
    for url in dict.fromkeys(urls):
        endpoint = anyrtc.endpoint_for(settings, "health", 0, hub.clock.now())
        endpoint = replace(endpoint, url=url, options=endpoint.options | {"health_product": settings.product})
        entropy = hub.entropy.bytes(32)
        request = WIRE.sign(WIRE.probe(endpoint, entropy), endpoint, hub.clock.now(), entropy)
        exchange = await asked(hub, request, endpoint.retry.deadline)
        if isinstance(exchange.outcome, Failure):
            reason = exchange.outcome.message
        else:
            verdict = WIRE.judge(exchange.request, exchange.outcome)
            if verdict.accepted:
                continue
            reason = verdict.reason
        field = "url" if url == settings.url else "second_url"
        raise HealthTestFailed(
            f"the health test failed, nothing was enabled: {reason}. {diagnosis(exchange.outcome)} "
            "The callback URL must be implemented and answer 200.",
            field=field,
        )


# --- what settings make ----------------------------------------------------------------------------------------------


async def _enabled(call: Call[Any, Any], revision: int, known: NoticeSettings, settings: NoticeSettings) -> Answer:
    """Store enabled settings with what they make: in place, or beside what they replace until the delay is over."""
    now = call.hub.clock.now()
    current = settings.made[-1] if settings.made else None
    if current is not None and current.ends_at is None and not settings.effective_delay and known.state == "enabled":
        return await _in_place(call, revision, settings, current)
    at = now + settings.effective_delay
    puts: list[Put] = []
    if current is not None and current.ends_at is None:
        settings, puts = _ended(call, settings, at)
    paths = range(1, 3) if settings.redundant else range(1)
    endpoints = [anyrtc.endpoint_for(settings, new_id(call, "ep"), path, now) for path in paths]
    ids = tuple(one.id for one in endpoints)
    subscription = anyrtc.subscription_for(settings, new_id(call, "sub"), ids, now, at)
    settings = replace(settings, made=(*settings.made, Notified(subscription_id=subscription.id, endpoint_ids=ids)))
    puts += [Put(one=one) for one in (*endpoints, subscription)]
    return await _stored(call, revision, settings, puts, _outdated(call, settings))


async def _in_place(call: Call[Any, Any], revision: int, settings: NoticeSettings, current: Notified) -> Answer:
    """Change what is there: what waits goes to the new target, and dead letters can be sent there again."""
    hub, now = call.hub, call.hub.clock.now()
    paths = range(1, 3) if settings.redundant else range(1)
    puts: list[Put] = []
    ids: list[str] = []
    for place, path in enumerate(paths):
        identity = current.endpoint_ids[place] if place < len(current.endpoint_ids) else new_id(call, "ep")
        wanted, stored = anyrtc.endpoint_for(settings, identity, path, now), held(call, Endpoint, identity)
        if stored is None:
            puts.append(Put(one=wanted))
        else:
            kept = {name: getattr(wanted, name) for name in ("url", "name", "options", "path")}
            puts.append(Put(one=replace(stored[1], **kept), revision=stored[0]))
            if stored[1].url != wanted.url:
                enqueue(call, {"do": "start_endpoint", "endpoint_id": identity}, settings.app_id)
        ids.append(identity)
    wanted = anyrtc.subscription_for(settings, current.subscription_id, ids, now, None)
    stored = held(call, Subscription, current.subscription_id)
    if stored is not None:
        targets = tuple(Target(endpoint_id=one) for one in ids)
        wanted = replace(
            stored[1], name=wanted.name, pattern=wanted.pattern, wire=wanted.wire, targets=targets, changed_at=now
        )
    puts.append(Put(one=wanted, revision=None if stored is None else stored[0]))
    left = [Notified(subscription_id="", endpoint_ids=current.endpoint_ids[len(ids) :])]
    made = (*settings.made[:-1], replace(current, endpoint_ids=tuple(ids)))
    drops = _drops(call, left)
    hub.objects.change([Put(one=replace(settings, made=made), revision=revision), *puts], drops, who=call.who, now=now)
    return await _answer(call, revision + 1, replace(settings, made=made))


def _ended(call: Call[Any, Any], settings: NoticeSettings, at: Any) -> tuple[NoticeSettings, list[Put]]:
    """Return settings whose newest subscription ends at a time, and that subscription to put."""
    if not settings.made:
        return settings, []
    current, now = settings.made[-1], call.hub.clock.now()
    stored = held(call, Subscription, current.subscription_id)
    puts = [] if stored is None else [Put(one=replace(stored[1], ends_at=at, changed_at=now), revision=stored[0])]
    return replace(settings, made=(*settings.made[:-1], replace(current, ends_at=at))), puts


def _outdated(call: Call[Any, Any], settings: NoticeSettings) -> tuple[Notified, ...]:
    """Return what ended long ago; refuse what would pile up until then."""
    since = call.hub.clock.now() - KEPT
    if len(settings.made) > MADE_MOST:
        raise Conflict("this was changed too often within an hour; wait until an earlier change is over")
    return tuple(one for one in settings.made if one.ends_at is not None and one.ends_at < since)


async def _stored(
    call: Call[Any, Any], revision: int, settings: NoticeSettings, puts: Sequence[Put], outdated: Sequence[Notified]
) -> Answer:
    settings = replace(settings, made=tuple(one for one in settings.made if one not in outdated))
    wanted = [Put(one=settings, revision=revision), *puts]
    call.hub.objects.change(wanted, _drops(call, outdated), who=call.who, now=call.hub.clock.now())
    return await _answer(call, revision + 1, settings)


def _drops(call: Call[Any, Any], made: Sequence[Notified]) -> list[Drop]:
    """Return how to remove what was made, as far as nobody removed it by hand."""
    wanted: list[tuple[type[Any], str]] = []
    for one in made:
        wanted += [(Subscription, one.subscription_id), *((Endpoint, identity) for identity in one.endpoint_ids)]
    return drops_of(call, wanted)


async def _answer(call: Call[Any, Any], revision: int, settings: NoticeSettings) -> Answer:
    content = replace(show_settings(call, revision, settings), paths=await show_paths(call, settings))
    return Answer(content=content, headers=(etag(revision),))
