"""Apps: a tenant's application, its names and its key."""

from functools import cache
from zoneinfo import available_timezones

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from northbound.model.app import App, Endpoint, Source, Subscription
from northbound.model.call_app import CallApp
from northbound.model.errors import Conflict, Forbidden, InvalidInput
from northbound.model.notices import NoticeSettings
from northbound.model.server import Server
from northbound.web.call import Answer, Call, etag
from northbound.web.resources.showing import show_app
from northbound.web.shapes.pages import Nothing, Paging, page_of, read_cursor
from northbound.web.shapes.setup import AppChange, NewApp

PREFIX = "app"


async def listed(call: Call[Paging, Nothing]) -> Answer:
    """List the apps that the key covers."""
    limit, after = call.query.limit, read_cursor(call.query.cursor, str, "")
    found = call.hub.objects.find(App, after=after, app_id=call.key.app_id, limit=limit)
    items = [show_app(revision, app) for revision, app in found]
    return Answer(content=page_of(items, limit, items[-1].id if items else ""))


async def create(call: Call[Nothing, NewApp]) -> Answer:
    """Create an app; the answer is the one place that shows its key unasked."""
    if call.key.app_id is not None:
        raise Forbidden("this key is limited to one app; create apps with a key for all apps")
    before = call.made_before(App, PREFIX)
    if before is not None:
        return _created(*before)
    given, entropy = call.body, call.hub.entropy
    app = App(
        id=call.new_id(PREFIX),
        name=given.name,
        created_at=call.hub.clock.now(),
        account_id=given.account_id,
        region=given.region,
        time_zone=check_zone(given.time_zone),
        app_key=(given.app_key or entropy.bytes(16).hex()).encode(),
        biz_name=given.biz_name or f"biz{entropy.bytes(5).hex()}",
        workspace_id=given.workspace_id,
    )
    return _created(call.put(app), app)


def _created(revision: int, app: App) -> Answer:
    location = ("location", f"/api/v1/apps/{app.id}")
    return Answer(content=show_app(revision, app, reveal=True), status=201, headers=(etag(revision), location))


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show an app."""
    revision, app = call.own(App, call.path["id"])
    return Answer(content=show_app(revision, app), headers=(etag(revision),))


async def reveal(call: Call[Nothing, Nothing]) -> Answer:
    """Show an app with its key; the audit keeps that it was asked for."""
    revision, app = call.own(App, call.path["id"])
    call.hub.trail.note("app.revealed", app.id, who=call.who, now=call.hub.clock.now())
    return Answer(content=show_app(revision, app, reveal=True), headers=(etag(revision),))


async def change(call: Call[Nothing, AppChange]) -> Answer:
    """Change an app."""
    revision, app = call.own(App, call.path["id"])
    call.revision_for(revision)
    given = call.body
    app = replace(
        app,
        name=_or(given.name, app.name),
        account_id=_or(given.account_id, app.account_id),
        region=_or(given.region, app.region),
        time_zone=app.time_zone if given.time_zone is UNSET else check_zone(given.time_zone),
        app_key=app.app_key if given.app_key is UNSET else given.app_key.encode(),
        biz_name=_or(given.biz_name, app.biz_name),
        workspace_id=_or(given.workspace_id, app.workspace_id),
    )
    revision = call.put(app, revision)
    return Answer(content=show_app(revision, app), headers=(etag(revision),))


async def remove(call: Call[Nothing, Nothing]) -> Answer:
    """Remove an app that holds nothing any more."""
    revision, app = call.own(App, call.path["id"])
    objects = call.hub.objects
    held = {
        "servers": objects.find(Server, app_id=app.id, limit=1),
        "call apps": objects.find(CallApp, app_id=app.id, limit=1),
        "notice settings": objects.find(NoticeSettings, app_id=app.id, limit=1),
        "subscriptions": objects.find(Subscription, app_id=app.id, limit=1),
        "endpoints": objects.find(Endpoint, app_id=app.id, limit=1),
        "sources": objects.find(Source, app_id=app.id, limit=1),
    }
    for noun, found in held.items():
        if found:
            raise Conflict(f"the app still has {noun}; delete them first")
    return call.drop(App, app.id, revision)


def _or(given: str | UnsetType, known: str) -> str:
    return known if given is UNSET else given


def check_zone(name: str) -> str:
    """Refuse a zone that routing could not count days in."""
    if name not in _zones():
        raise InvalidInput("time_zone is a name such as Asia/Shanghai", field="time_zone")
    return name


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
