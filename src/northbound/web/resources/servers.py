"""Media servers whose ports are looked at, and what became of them (ruling 36)."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import replace

from northbound.doors.avd_master import SOURCE_DIALECT, source_id_of
from northbound.logic.addresses import AllowList, check_listed
from northbound.model.app import App, Source
from northbound.model.errors import Conflict, InvalidInput, NotFound
from northbound.model.registry import Drop, Put
from northbound.model.server import CheckedPort, Incident, Server
from northbound.web.call import Answer, Call, etag
from northbound.web.resources.listing import listed_of
from northbound.web.shapes.pages import Nothing, page_of, read_cursor
from northbound.web.shapes.servers import (
    IncidentQuery,
    IncidentShown,
    NewServer,
    NoticeShown,
    PortGiven,
    PortShown,
    ServerChange,
    ServerShown,
)
from northbound.web.shapes.setup import OfApp

PREFIX: Final = "srv"
SERVERS_MOST: Final = 100  # of one app: each is looked at every few seconds
PAGE: Final = 500


async def listed(call: Call[OfApp, Nothing]) -> Answer:
    """List media servers."""
    return listed_of(call, Server, lambda revision, one: _show(call, revision, one))


async def create(call: Call[Nothing, NewServer]) -> Answer:
    """List a server to be looked at, with the source by which its app hears of it."""
    given = call.body
    app = call.own(App, given.app_id)[1]
    before = call.made_before(Server, PREFIX)
    if before is not None:
        return _created(call, *before)
    if len(call.hub.objects.find(Server, app_id=app.id, limit=SERVERS_MOST)) >= SERVERS_MOST:
        raise Conflict(f"the app has {SERVERS_MOST} servers; delete one first")
    server = Server(
        id=call.new_id(PREFIX),
        app_id=app.id,
        name=given.name,
        address=given.address,
        ports=_ports(given.ports),
        created_at=call.hub.clock.now(),
        state=given.state,
    )
    _check_listed(call, server)
    puts = [Put(one=server), *_source(call, app)]
    call.hub.objects.change(puts, (), who=call.who, now=call.hub.clock.now())
    return _created(call, 1, server)


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show a media server."""
    revision, server = call.own(Server, call.path["id"])
    return Answer(content=_show(call, revision, server), headers=(etag(revision),))


async def change(call: Call[Nothing, ServerChange]) -> Answer:
    """Change a media server."""
    revision, server = call.own(Server, call.path["id"])
    call.revision_for(revision)
    given = call.body
    server = replace(
        server,
        name=server.name if given.name is UNSET else given.name,
        address=server.address if given.address is UNSET else given.address,
        ports=server.ports if given.ports is UNSET else _ports(given.ports),
        state=server.state if given.state is UNSET else given.state,
    )
    _check_listed(call, server)
    puts = [Put(one=server, revision=revision), *_source(call, call.own(App, server.app_id)[1])]
    call.hub.objects.change(puts, (), who=call.who, now=call.hub.clock.now())
    return Answer(content=_show(call, revision + 1, server), headers=(etag(revision + 1),))


async def remove(call: Call[Nothing, Nothing]) -> Answer:
    """Remove a media server with its incidents; what was told of it stays in the log."""
    revision, server = call.own(Server, call.path["id"])
    if call.if_match is not None:
        call.revision_for(revision)
    found = call.hub.objects.find(Incident, after=f"inc_{server.id}_", limit=PAGE)
    drops = [Drop(kind=Incident, id=one.id) for _, one in found if one.server_id == server.id]
    drops.append(Drop(kind=Server, id=server.id))
    call.hub.objects.change((), drops, who=call.who, now=call.hub.clock.now())
    return Answer(status=204)


async def incidents(call: Call[IncidentQuery, Nothing]) -> Answer:
    """List incidents by server, those of one server in the order of their begin."""
    query = call.query
    app_id = call.app_filter(query.app_id)
    first = ""
    if query.server_id is not None:
        first = f"inc_{call.own(Server, query.server_id)[1].id}_"
    after = read_cursor(query.cursor, str, first)
    found = call.hub.objects.find(Incident, after=max(after, first), app_id=app_id, limit=query.limit)
    items = [_show_incident(one) for _, one in found if query.server_id in {None, one.server_id}]
    return Answer(content=page_of(items, query.limit, items[-1].id if items else ""))


# --- what is kept and shown ------------------------------------------------------------------------------------------


def _ports(given: Sequence[PortGiven]) -> tuple[CheckedPort, ...]:
    found = tuple(CheckedPort(kind=one.type, port=one.port, path=one.path) for one in given)
    if len({one.plain for one in found}) != len(found):
        raise InvalidInput("a port is listed twice", field="ports")
    return found


def _check_listed(call: Call[Any, Any], server: Server) -> None:
    """Refuse what the operator did not list: an address is looked at from inside, by whoever may set one."""
    allow = AllowList.parse(call.hub.config.check_targets, "check_targets")
    for one in server.ports:
        check_listed(server.address, one.port, allow)


def _source(call: Call[Any, Any], app: App) -> list[Put]:
    """Return the source by which an app hears of its servers, when it is not there yet."""
    identity = source_id_of(app.id)
    try:
        call.hub.objects.get(Source, identity)
    except NotFound:
        source = Source(
            id=identity,
            app_id=app.id,
            name="port check",
            dialect=SOURCE_DIALECT,
            token=urlsafe_b64encode(call.hub.entropy.bytes(24)).decode(),
            created_at=call.hub.clock.now(),
        )
        return [Put(one=source)]
    return []


def _created(call: Call[Any, Any], revision: int, server: Server) -> Answer:
    location = ("location", f"/api/v1/servers/{server.id}")
    return Answer(content=_show(call, revision, server), status=201, headers=(etag(revision), location))


def _show(call: Call[Any, Any], revision: int, server: Server) -> ServerShown:
    reasons = call.hub.port_reasons(server.id)
    ports = [
        PortShown(
            type=one.kind,
            port=one.port,
            path=one.path,
            answers=reasons[one.plain] is None if one.plain in reasons else None,
            reason=reasons.get(one.plain),
        )
        for one in server.ports
    ]
    return ServerShown(
        id=server.id,
        app_id=server.app_id,
        name=server.name,
        address=server.address,
        ports=ports,
        state=server.state,
        created_at=server.created_at,
        revision=revision,
    )


def _show_incident(one: Incident) -> IncidentShown:
    notices = [
        NoticeShown(id=notice.id, at=notice.at, ports=list(notice.ports), told_at=notice.told_at)
        for notice in one.notices
    ]
    return IncidentShown(
        id=one.id,
        app_id=one.app_id,
        server_id=one.server_id,
        server_name=one.server_name,
        began_at=one.began_at,
        ended_at=one.ended_at,
        ending=one.ending,
        ports=list(one.ports),
        notice_count=one.noticed,
        notices=notices,
    )
