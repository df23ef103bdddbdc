"""Show notice settings, and how each of their paths fares."""

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from northbound.doors.anyrtc import told_now
from northbound.model.app import Endpoint, Subscription
from northbound.model.errors import StoreFailed
from northbound.model.notices import NoticeSettings
from northbound.web.call import Call
from northbound.web.doors.made import held, state_of
from northbound.web.resources.showing import show_url
from northbound.web.shapes.notices import NoticeSettingsShown, PathShown


def show_settings(
    call: Call[Any, Any], revision: int, settings: NoticeSettings, *, reveal: bool = False
) -> NoticeSettingsShown:
    """Show notice settings."""
    current = settings.made[-1] if settings.made and settings.made[-1].ends_at is None else None
    found = None if current is None else held(call, Subscription, current.subscription_id)
    return NoticeSettingsShown(
        id=settings.id,
        app_id=settings.app_id,
        name=settings.name,
        created_at=settings.created_at,
        product=settings.product,
        event_types=list(settings.event_types),
        url=show_url(settings.url, is_admin=call.is_admin),
        second_url=show_url(settings.second_url, is_admin=call.is_admin),
        redundant=settings.redundant,
        strict_reply=settings.strict_reply,
        effective_delay_seconds=round(settings.effective_delay.total_seconds()),
        state=settings.state,
        tested_at=settings.tested_at,
        effective_at=None if found is None else found[1].begins_at,
        subscription_id=None if found is None else found[1].id,
        revision=revision,
        secret=settings.secret.decode() if reveal else UNSET,
    )


def as_now(call: Call[Any, Any], settings: NoticeSettings) -> NoticeSettings:
    """Return settings with what is true of what was made for them, whoever changed or removed it since."""
    current = settings.made[-1] if settings.made else None
    subscription = None if current is None else held(call, Subscription, current.subscription_id)
    if current is None or current.ends_at is not None or subscription is None:
        return replace(settings, state="disabled")
    named = {target.endpoint_id for target in subscription[1].targets}
    endpoints = [one for one in _endpoints(call, settings) if one.id in named]
    if not endpoints:
        return replace(settings, state="disabled")
    now = told_now(settings, subscription[1], endpoints, call.hub.clock.now())
    made = (*settings.made[:-1], replace(current, endpoint_ids=tuple(one.id for one in endpoints)))
    return replace(now, state=state_of(subscription[1], endpoints), made=made)


async def show_paths(call: Call[Any, Any], settings: NoticeSettings) -> list[PathShown]:
    """Show each path of what was made last: where it goes, what waits, what failed (D20)."""
    endpoints = list(_endpoints(call, settings))
    if not endpoints:
        return []
    figures = call.hub.figures
    waiting = {one.endpoint_id: one.waiting for one in await call.read(figures.backlog)}
    dead, stopped = await call.read(figures.dead_letters), await call.read(figures.stopped)
    try:
        sent: list[list[Any]] | None = await call.hub.ask("delivery", "counts")
    except StoreFailed:
        sent = None
    counts = {(one[0], one[2]): one[3] for one in sent or ()}
    return [
        PathShown(
            path=one.path,
            url=show_url(one.url, is_admin=call.is_admin),
            endpoint_id=one.id,
            state=one.state.value,
            stopped=stopped[one.id].reason if one.id in stopped else None,
            accepted=None if sent is None else counts.get((one.id, "accepted"), 0),
            failed=None if sent is None else counts.get((one.id, "retry"), 0) + counts.get((one.id, "dead"), 0),
            waiting=waiting.get(one.id, 0),
            dead_letters=dead.get(one.id, 0),
        )
        for one in endpoints
    ]


def _endpoints(call: Call[Any, Any], settings: NoticeSettings) -> list[Endpoint]:
    ids = settings.made[-1].endpoint_ids if settings.made else ()
    return [found[1] for identity in ids if (found := held(call, Endpoint, identity)) is not None]
