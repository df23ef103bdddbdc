"""The settings page of the 3T interface as calls of the API (seed 004, sections 2 and 3; ruling 30).

Each half is a subscription with its endpoint, made and changed in one transaction. What is shown is what is in force,
also after somebody changed the endpoint by itself.
"""

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from northbound.dialects import dialect_named
from northbound.dialects.base import setting
from northbound.doors.avd_settings import DIALECT, Half, check_method, check_release, events_told, full_url, pattern_of
from northbound.model.account import Maker
from northbound.model.app import App, Endpoint, Subscription, Target
from northbound.model.errors import NotFound
from northbound.model.registry import Put
from northbound.model.wire import Key, KeyKind
from northbound.web.call import Answer, Call, etag, not_found
from northbound.web.doors.avd_shapes import HalfGiven, HalfShown, SettingsShown
from northbound.web.doors.made import drops_of, held, state_of
from northbound.web.doors.targets import checked_url
from northbound.web.resources.replays import enqueue
from northbound.web.resources.showing import show_url
from northbound.web.shapes.pages import Nothing

KEY_ID = "check_code"
Pair = tuple[tuple[int, Endpoint], tuple[int, Subscription]]  # each with its revision


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show both halves."""
    app = call.own(App, call.path["id"])[1]
    halves = {half.value: _show(call, half, pair) if (pair := _pair(call, app, half)) else None for half in Half}
    return Answer(content=SettingsShown(app_id=app.id, **halves))


async def half_shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show one half."""
    app, half = _named(call)
    return _answer(call, half, _known(call, app, half))


async def put_half(call: Call[Nothing, HalfGiven]) -> Answer:
    """Save one half: make what it needs, or change it when If-Match names what was read."""
    app, half = _named(call)
    given, known = call.body, _pair(call, app, half)
    if known is not None:
        call.revision_for(_revision(known))
    check_release(given.release)
    check_method(given.method, given.release)
    url = full_url(given.url, given.release)
    checked_url(call.hub, url, "url")
    endpoint = replace(
        known[0][1] if known is not None else _new_endpoint(call, app, half),
        url=url,
        method=given.method,
        options=(known[0][1].options if known is not None else {})
        | {"release": given.release, "post_body": given.post_body},
    )
    if given.check_code_key is not UNSET:
        kept = tuple(key for key in endpoint.keys if key.kind is not KeyKind.SHARED)
        new = () if given.check_code_key is None else (Key(id=KEY_ID, secret=given.check_code_key.encode()),)
        endpoint = replace(endpoint, keys=(*kept, *new))
    subscription = _subscription(call, app, half, endpoint, given.url)
    old_endpoint, old_subscription = _leftovers(call, app, half)
    puts = [Put(one=endpoint, revision=old_endpoint), Put(one=subscription, revision=old_subscription)]
    call.hub.objects.change(puts, (), who=call.who, now=call.hub.clock.now())
    if known is not None and known[0][1].url != url:  # what stopped by itself may work at its new place
        enqueue(call, {"do": "start_endpoint", "endpoint_id": endpoint.id}, app.id)
    return _answer(call, half, _known(call, app, half), status=200 if known is not None else 201)


async def remove_half(call: Call[Nothing, Nothing]) -> Answer:
    """Remove one half with what was made for it; what waits is cancelled."""
    app, half = _named(call)
    endpoint_id, subscription_id = _ids(app, half)
    drops = drops_of(call, ((Subscription, subscription_id), (Endpoint, endpoint_id)))
    if len(drops) != 1:  # whole, or not there; of a half that lost a part by hand the rest is removed
        pair = _known(call, app, half)
        if call.if_match is not None:
            call.revision_for(_revision(pair))
    call.hub.objects.change((), drops, who=call.who, now=call.hub.clock.now())
    return Answer(status=204)


# --- what a half is made of ------------------------------------------------------------------------------------------


def _named(call: Call[Any, Any]) -> tuple[App, Half]:
    app = call.own(App, call.path["id"])[1]
    name = call.path["half"]
    if name not in set(Half):
        not_found("half", name)
    return app, Half(name)


def _ids(app: App, half: Half) -> tuple[str, str]:
    """Return the ids of a half's endpoint and subscription: one page an app, so no table of pages is needed."""
    return f"ep_avd_{half.value}_{app.id}", f"sub_avd_{half.value}_{app.id}"


def _pair(call: Call[Any, Any], app: App, half: Half) -> Pair | None:
    """Return what a half is made of, None when it is not (or no longer) whole."""
    endpoint_id, subscription_id = _ids(app, half)
    endpoint, subscription = held(call, Endpoint, endpoint_id), held(call, Subscription, subscription_id)
    if endpoint is None or subscription is None:
        return None
    return endpoint, subscription


def _known(call: Call[Any, Any], app: App, half: Half) -> Pair:
    pair = _pair(call, app, half)
    if pair is None:
        raise NotFound(f"the half {half.value} of app {app.id!r} is not set up")
    return pair


def _leftovers(call: Call[Any, Any], app: App, half: Half) -> tuple[int | None, int | None]:
    """Return the revisions of what is there, also when somebody removed the other one by hand."""
    endpoint_id, subscription_id = _ids(app, half)
    endpoint, subscription = held(call, Endpoint, endpoint_id), held(call, Subscription, subscription_id)
    return endpoint and endpoint[0], subscription and subscription[0]


def _new_endpoint(call: Call[Any, Any], app: App, half: Half) -> Endpoint:
    dialect = dialect_named(DIALECT)
    return Endpoint(
        id=_ids(app, half)[0],
        app_id=app.id,
        url="",
        dialect=DIALECT,
        created_at=call.hub.clock.now(),
        name=f"3T {half.value}",
        retry=dialect.retry,
        made_by=Maker.AVD,
    )


def _subscription(call: Call[Any, Any], app: App, half: Half, endpoint: Endpoint, url: str) -> Subscription:
    identity = _ids(app, half)[1]
    known = held(call, Subscription, identity)
    now = call.hub.clock.now()
    return Subscription(
        id=identity,
        app_id=app.id,
        created_at=now if known is None else known[1].created_at,
        changed_at=None if known is None else now,
        name=endpoint.name,
        pattern=pattern_of(half),
        targets=(Target(endpoint_id=endpoint.id),),
        state="enabled" if known is None else known[1].state,
        made_by=Maker.AVD,
        wire={"half": half.value, "url": url},
    )


def _revision(pair: Pair) -> int:
    """Return the page's revision, which grows with each change of either part."""
    return pair[0][0] + pair[1][0]


def _answer(call: Call[Any, Any], half: Half, pair: Pair, *, status: int = 200) -> Answer:
    return Answer(content=_show(call, half, pair), status=status, headers=(etag(_revision(pair)),))


def _show(call: Call[Any, Any], half: Half, pair: Pair) -> HalfShown:
    (_, endpoint), (_, subscription) = pair
    dialect = dialect_named(DIALECT)
    release = setting(dialect, endpoint.options, "release")
    return HalfShown(
        half=half,
        url=show_url(endpoint.url, is_admin=call.is_admin),
        scheme=endpoint.url.partition("://")[0],
        method=endpoint.method,
        release=release,
        post_body=setting(dialect, endpoint.options, "post_body"),
        state=state_of(subscription, [endpoint]),
        has_check_code_key=any(key.kind is KeyKind.SHARED for key in endpoint.keys),
        events=events_told(half, release, subscription.pattern),
        endpoint_id=endpoint.id,
        subscription_id=subscription.id,
        revision=_revision(pair),
    )
