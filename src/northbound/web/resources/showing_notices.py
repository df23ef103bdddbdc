"""Show notice settings, and how each of their paths fares."""

from typing import Any

from msgspec import UNSET

from northbound.model.app import Endpoint, Subscription
from northbound.model.errors import NotFound, StoreFailed
from northbound.model.notices import NoticeSettings
from northbound.web.call import Call
from northbound.web.shapes.notices import NoticeSettingsShown, PathShown


def show_settings(
    call: Call[Any, Any], revision: int, settings: NoticeSettings, *, reveal: bool = False
) -> NoticeSettingsShown:
    """Show notice settings."""
    current = settings.made[-1] if settings.made and settings.made[-1].ends_at is None else None
    effective_at = None
    if current is not None:
        try:
            effective_at = call.hub.objects.get(Subscription, current.subscription_id)[1].begins_at
        except NotFound:  # removed by hand
            current = None
    return NoticeSettingsShown(
        id=settings.id,
        app_id=settings.app_id,
        name=settings.name,
        created_at=settings.created_at,
        product=settings.product,
        event_types=list(settings.event_types),
        url=settings.url,
        second_url=settings.second_url,
        redundant=settings.redundant,
        strict_reply=settings.strict_reply,
        effective_delay_seconds=round(settings.effective_delay.total_seconds()),
        state=settings.state,
        tested_at=settings.tested_at,
        effective_at=effective_at,
        subscription_id=None if current is None else current.subscription_id,
        revision=revision,
        secret=settings.secret.decode() if reveal else UNSET,
    )


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
            url=one.url,
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
    found: list[Endpoint] = []
    for identity in settings.made[-1].endpoint_ids if settings.made else ():
        try:
            found.append(call.hub.objects.get(Endpoint, identity)[1])
        except NotFound:  # removed by hand
            continue
    return found
