"""API keys, and the trail of who did what."""

from base64 import urlsafe_b64encode
from typing import Any

import msgspec

from northbound.model.app import ApiKey, App
from northbound.model.errors import Conflict, InvalidInput
from northbound.web.call import Answer, Call, not_found
from northbound.web.shapes.pages import NEWEST, Nothing, Page, Paging, page_of, read_cursor, read_number, write_cursor
from northbound.web.shapes.setup import ApiKeyShown, AuditEntry, NewApiKey

PREFIX = "key"
SCANNED = 2_000  # audit entries looked at for one page of a key that sees one app
NULL = msgspec.Raw(b"null")


async def listed(call: Call[Paging, Nothing]) -> Answer:
    """List the API keys, never with their secrets."""
    limit, after = call.query.limit, read_cursor(call.query.cursor, str, "")
    found = [one for one in _visible(call) if one.id > after]
    items = [_shown(one) for one in sorted(found, key=lambda one: one.id)[:limit]]
    return Answer(content=page_of(items, limit, items[-1].id if items else ""))


async def create(call: Call[Nothing, NewApiKey]) -> Answer:
    """Create an API key; a key limited to an app makes keys of that app only."""
    given, hub = call.body, call.hub
    app_id = call.app_filter(given.app_id)
    if app_id is not None:
        call.own(App, app_id)
    if given.role == "rooms" and app_id is None:
        raise InvalidInput("a key of role rooms is for one app; give its app_id", field="app_id")
    stem = call.stem(PREFIX)
    for one in hub.keys.keys() if stem else ():
        if stem and one.id.startswith(stem):
            call.check_same(one.id, PREFIX)
            return Answer(content=_shown(one), status=201)
    now = hub.clock.now()
    secret = f"nb_{urlsafe_b64encode(hub.entropy.bytes(32)).rstrip(b'=').decode()}"
    key = ApiKey(id=call.new_id(PREFIX), role=given.role, app_id=app_id, name=given.name, created_at=now)
    hub.keys.add_key(key, secret, who=call.who, now=now)
    return Answer(content=_shown(key, secret), status=201)


async def remove(call: Call[Nothing, Nothing]) -> Answer:
    """Remove an API key at once; the last one that may do everything stays."""
    identity = call.path["id"]
    known = {one.id: one for one in _visible(call)}
    if identity not in known:
        not_found("key", identity)
    masters = [one.id for one in known.values() if one.role == "admin" and one.app_id is None]
    if masters == [identity]:
        raise Conflict("this is the last admin key for all apps; create another one first")
    call.hub.keys.drop_key(identity, who=call.who, now=call.hub.clock.now())
    call.hub.access.forget()
    return Answer(status=204)


async def audit(call: Call[Paging, Nothing]) -> Answer:
    """List who did what, newest first; a key limited to an app sees what concerned that app."""
    limit, before = call.query.limit, read_number(call.query.cursor, NEWEST)
    items: list[AuditEntry] = []
    scanned = 0
    while len(items) < limit and scanned < SCANNED:
        rows = call.hub.trail.audit(before, limit)
        items += [_entry(row) for row in rows if _concerns(call, row)][: limit - len(items)]
        if len(rows) < limit:
            return Answer(content=Page(items=items))
        scanned += len(rows)
        before = items[-1].number if len(items) == limit else rows[-1]["number"]
    return Answer(content=Page(items=items, next_cursor=write_cursor(before)))


def _visible(call: Call[Any, Any]) -> list[ApiKey]:
    return [one for one in call.hub.keys.keys() if call.may_see(one.app_id)]  # noqa: SIM118 - a method, not a dict's


def _shown(key: ApiKey, secret: str | None = None) -> ApiKeyShown:
    return ApiKeyShown(
        id=key.id,
        role=key.role,
        app_id=key.app_id,
        name=key.name,
        created_at=key.created_at,
        last_used_at=key.last_used_at,
        secret=secret if secret is not None else msgspec.UNSET,
    )


def _concerns(call: Call[Any, Any], row: dict[str, Any]) -> bool:
    app_id = call.key.app_id
    if app_id is None or row["object"] == app_id:
        return True
    return any(_app_of(row[name]) == app_id for name in ("before", "after"))


def _app_of(body: bytes | None) -> Any:
    content = msgspec.json.decode(body) if body is not None else None
    return content.get("app_id") if isinstance(content, dict) else None


def _entry(row: dict[str, Any]) -> AuditEntry:
    before, after = row["before"], row["after"]
    return AuditEntry(
        number=row["number"],
        at=row["at"],
        who=row["who"],
        what=row["what"],
        object=row["object"],
        before=NULL if before is None else msgspec.Raw(before),
        after=NULL if after is None else msgspec.Raw(after),
    )
