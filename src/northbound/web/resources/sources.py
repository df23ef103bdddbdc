"""Sources: who sends to us."""

import re
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from northbound.config import Config
from northbound.dialects import dialect_named
from northbound.dialects.base import Dialect, Options, SnapshotDialect, check_options
from northbound.doors.avd_master import source_id_of
from northbound.logic.addresses import AllowList, check_url
from northbound.model.app import App, RoomList, Source
from northbound.model.errors import Conflict, InvalidInput
from northbound.model.server import Server
from northbound.web.call import Answer, Call, etag
from northbound.web.resources.key_ring import check_keys, read_keys
from northbound.web.resources.listing import listed_of
from northbound.web.resources.showing import show_source
from northbound.web.shapes.pages import Nothing
from northbound.web.shapes.setup import NewSource, OfApp, RoomListGiven, SourceChange, SourceShown
from northbound.web.told import told_url

PREFIX = "src"
OPTION_LENGTH = 4_096  # characters of one option's text

_PUBLIC_URL = re.compile(r"https?://[!-~]{1,2000}")


async def listed(call: Call[OfApp, Nothing]) -> Answer:
    """List sources."""
    return listed_of(call, Source, lambda revision, one: _shown(call, revision, one))


async def create(call: Call[Nothing, NewSource]) -> Answer:
    """Create a source with a path of its own that cannot be guessed."""
    given, hub = call.body, call.hub
    _, app = call.own(App, given.app_id)
    before = call.made_before(Source, PREFIX)
    if before is not None:
        return _created(call, *before)
    dialect = dialect_named(given.dialect)
    check_settings(dialect, given.options)
    keys = read_keys(given.keys, (), hub.entropy)
    check_keys(keys, app, dialect)
    identity = call.new_id(PREFIX)
    token = urlsafe_b64encode(hub.entropy.bytes(24)).decode()
    source = Source(
        id=identity,
        app_id=given.app_id,
        name=given.name,
        dialect=given.dialect,
        token=token,
        created_at=hub.clock.now(),
        public_url=_one_url(given.public_url),
        keys=keys,
        options=given.options,
        ack_budget=timedelta(milliseconds=given.ack_budget_ms or dialect.ack_budget_ms),
        room_list=_room_list(given.room_list, None, dialect, hub.config),
        connection=given.connection,
    )
    return _created(call, call.put(source), source)


def _created(call: Call[Nothing, NewSource], revision: int, source: Source) -> Answer:
    content = show_source(revision, source, told_url(source, call.hub.config), reveal=True, is_admin=True)
    return Answer(content=content, status=201, headers=(etag(revision), ("location", f"/api/v1/sources/{source.id}")))


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show a source."""
    revision, source = call.own(Source, call.path["id"])
    return Answer(content=_shown(call, revision, source), headers=(etag(revision),))


async def reveal(call: Call[Nothing, Nothing]) -> Answer:
    """Show a source with its secrets; the audit keeps that it was asked for."""
    revision, source = call.own(Source, call.path["id"])
    call.hub.trail.note("source.revealed", source.id, who=call.who, now=call.hub.clock.now())
    content = show_source(revision, source, told_url(source, call.hub.config), reveal=True, is_admin=True)
    return Answer(content=content, headers=(etag(revision),))


async def change(call: Call[Nothing, SourceChange]) -> Answer:
    """Change a source."""
    revision, source = call.own(Source, call.path["id"])
    call.revision_for(revision)
    given = call.body
    if given.options is not UNSET:
        check_settings(dialect_named(source.dialect), given.options)
        source = replace(source, options=given.options)
    if given.keys is not UNSET:
        source = replace(source, keys=read_keys(given.keys, source.keys, call.hub.entropy))
        check_keys(source.keys, call.own(App, source.app_id)[1], dialect_named(source.dialect))
    if given.public_url is not UNSET:
        source = replace(source, public_url=_one_url(given.public_url))
    if given.ack_budget_ms is not UNSET:
        source = replace(source, ack_budget=timedelta(milliseconds=given.ack_budget_ms))
    if given.room_list is not UNSET:
        dialect = dialect_named(source.dialect)
        source = replace(source, room_list=_room_list(given.room_list, source.room_list, dialect, call.hub.config))
    source = replace(
        source,
        name=source.name if given.name is UNSET else given.name,
        state=source.state if given.state is UNSET else given.state,
        connection=source.connection if given.connection is UNSET else given.connection,
    )
    revision = call.put(source, revision)
    return Answer(content=_shown(call, revision, source), headers=(etag(revision),))


async def remove(call: Call[Nothing, Nothing]) -> Answer:
    """Remove a source; its events stay in the log."""
    revision, source = call.own(Source, call.path["id"])
    if source.id == source_id_of(source.app_id) and call.hub.objects.find(Server, app_id=source.app_id, limit=1):
        raise Conflict("the app hears of its servers' ports by this source; delete those servers first")
    return call.drop(Source, source.id, revision)


def _shown(call: Call[Any, Any], revision: int, source: Source) -> SourceShown:
    return show_source(revision, source, told_url(source, call.hub.config), reveal=False, is_admin=call.is_admin)


def _one_url(url: str) -> str:
    """Refuse a query as well: the one that comes with a callback takes its place."""
    if "?" in url or "#" in url:
        raise InvalidInput("public_url of a source ends with its path; leave out ? and #", field="public_url")
    return check_public_url(url)


def _room_list(
    given: RoomListGiven | None, known: RoomList | None, dialect: Dialect, config: Config
) -> RoomList | None:
    """Return where the vendor is asked, the key kept where none is given; refuse what cannot be asked."""
    if given is None:
        return None
    if not isinstance(dialect, SnapshotDialect):
        raise InvalidInput(f"{dialect.name} has no list of rooms to ask for", field="room_list")
    unknown = next((name for name in given.fields if name not in dialect.room_fields), None)
    if unknown is not None:
        allowed = ", ".join(dialect.room_fields)
        raise InvalidInput(f"there is no field {unknown[:64]!r}; there are: {allowed}", field="room_list.fields")
    if given.key is UNSET:
        key = known.key if known is not None else b""
    else:
        key = given.key.encode()
    if not key.decode().isprintable():
        raise InvalidInput("the key holds control characters", field="room_list.key")
    check_url(given.url, AllowList.parse(config.allow_targets))
    return RoomList(
        url=given.url,
        key=key,
        key_name=given.key_name,
        key_in=given.key_in,
        method=given.method,
        page_size=given.page_size,
        fields=given.fields,
        ok_codes=tuple(given.ok_codes),
    )


def check_settings(dialect: Dialect, options: Options) -> None:
    """Refuse what the dialect has no option for, values outside its choices, and batches over its limit."""
    for name, value in options.items():
        if isinstance(value, str) and len(value) > OPTION_LENGTH:
            raise InvalidInput(f"an option has at most {OPTION_LENGTH} characters", field=f"options.{name[:64]}")
    check_options(dialect, options)
    batch = options.get("batch", 1)
    if isinstance(batch, int) and not 1 <= batch <= dialect.batch_max:
        raise InvalidInput(f"batch is from 1 to {dialect.batch_max}", field="options.batch")


def check_public_url(url: str) -> str:
    """Refuse what is no URL that could have been told to somebody."""
    if url and not _PUBLIC_URL.fullmatch(url):
        raise InvalidInput("public_url begins with http:// or https:// and holds no spaces", field="public_url")
    return url
