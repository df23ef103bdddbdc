"""Accounts: customers who manage their subscriptions through the vendors' own interfaces, by AccessKey pairs."""

from base64 import urlsafe_b64encode
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from northbound.dialects import dialect_named
from northbound.logic.customers import BUS_WIRE, OPTIONS, granted, revoked, switched_off, switched_on
from northbound.logic.route import DEFAULT_BUS
from northbound.model.account import AccessKey, Account, Bus, Grant
from northbound.model.app import App, Source
from northbound.model.errors import Conflict, Forbidden, InvalidInput
from northbound.model.registry import Put
from northbound.web.call import Answer, Call, etag, not_found
from northbound.web.resources.apps import check_zone
from northbound.web.resources.sources import check_settings
from northbound.web.shapes.accounts import (
    AccessKeyShown,
    AccountChange,
    AccountShown,
    GrantWanted,
    NewAccount,
)
from northbound.web.shapes.pages import Nothing, Page, Paging, page_of, read_cursor

KEYS_MOST = 5  # of one account; two are enough to change from one to the next


async def listed(call: Call[Paging, Nothing]) -> Answer:
    """List the accounts; a key that is limited to an account's own app sees that account alone."""
    limit, after = call.query.limit, read_cursor(call.query.cursor, str, "")
    if call.key.app_id is not None:
        app = call.own(App, call.key.app_id)[1]
        found = [one for one in call.hub.objects.find(Account, app_id=app.account_id) if one[1].app_id == app.id]
        return Answer(content=Page(items=[show_account(*one) for one in found]))
    items = [show_account(*one) for one in call.hub.objects.find(Account, after=after, limit=limit)]
    return Answer(content=page_of(items, limit, items[-1].id if items else ""))


async def create(call: Call[Nothing, NewAccount]) -> Answer:
    """Create an account with its app, its default event bus and an AccessKey pair, whose secret is shown once."""
    _for_all_apps(call)
    hub, now = call.hub, call.hub.clock.now()
    identity = str(10**15 + int.from_bytes(hub.entropy.bytes(8), "big") % (9 * 10**15))
    app = App(
        id=f"app_{identity}",
        name=call.body.name,
        created_at=now,
        account_id=identity,
        region=call.body.region,
        time_zone=check_zone(call.body.time_zone),
        app_key=hub.entropy.bytes(16).hex().encode(),
        biz_name=f"biz{hub.entropy.bytes(5).hex()}",
    )
    account = Account(
        id=identity,
        name=call.body.name,
        created_at=now,
        app_id=app.id,
        region=call.body.region,
        time_zone=app.time_zone,
    )
    bus, source = new_bus(call, account, DEFAULT_BUS)
    key = _new_key(call, account)
    made: tuple[Any, ...] = (app, account, source, bus, key)
    call.change([Put(one=one) for one in made], noting={"id": account.id, "access_key_id": key.id})
    shown = replace(show_account(1, account), access_key_id=key.id, access_key_secret=key.secret.decode())
    return Answer(content=shown, status=201, headers=(etag(1), ("location", f"/api/v1/accounts/{account.id}")))


async def created(call: Call[Any, Any], done: dict[str, str]) -> Answer:
    """Answer the creation of an account once more, without the secret."""
    revision, account = call.own(Account, done["id"])
    content = replace(show_account(revision, account), access_key_id=done["access_key_id"])
    return Answer(content=content, status=201, headers=(etag(revision), ("location", f"/api/v1/accounts/{account.id}")))


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show an account."""
    revision, account = call.own(Account, call.path["id"])
    return Answer(content=show_account(revision, account), headers=(etag(revision),))


async def change(call: Call[Nothing, AccountChange]) -> Answer:
    """Change an account: its name, its time zone, how its buses say an event, how its statistic counts people."""
    revision, account = call.own(Account, call.path["id"])
    call.revision_for(revision)
    given = call.body
    account = replace(
        account,
        name=account.name if given.name is UNSET else given.name,
        time_zone=account.time_zone if given.time_zone is UNSET else check_zone(given.time_zone),
        options=account.options if given.options is UNSET else _options(given.options),
        members=account.members if given.members is UNSET else given.members,
    )
    revision = call.put(account, revision)
    return Answer(content=show_account(revision, account), headers=(etag(revision),))


def _options(given: dict[str, Any]) -> dict[str, Any]:
    unknown = next((name for name in given if name not in OPTIONS), None)
    if unknown is not None:
        raise InvalidInput(f"an account's options are: {', '.join(OPTIONS)}", field=f"options.{unknown[:64]}")
    check_settings(dialect_named(BUS_WIRE), given)
    return given


# --- the switch "meeting message push" (ruling 16) -------------------------------------------------------------------


async def enable_push(call: Call[Nothing, Nothing]) -> Answer:
    """Put what the account's apps tell on its default event bus; the grant that this needs is made with it.

    A key for all apps has the right to make the grant. The account's own keys have it once it was granted.
    """
    revision, account = call.own(Account, call.path["id"])
    return _kept(call, revision, account, switched_on(account, call.hub.clock.now(), may_link=call.key.app_id is None))


async def disable_push(call: Call[Nothing, Nothing]) -> Answer:
    """Stop putting what the account's apps tell on its default event bus; the grant stays."""
    revision, account = call.own(Account, call.path["id"])
    return _kept(call, revision, account, switched_off(account))


async def grant(call: Call[Nothing, GrantWanted]) -> Answer:
    """Grant an account something; the account's own keys cannot grant it to themselves."""
    revision, account = call.own(Account, call.path["id"])
    _for_all_apps(call)
    return _kept(call, revision, account, granted(account, call.body.grant))


async def revoke(call: Call[Nothing, Nothing]) -> Answer:
    """Take a grant back; one that is in use is refused."""
    revision, account = call.own(Account, call.path["id"])
    _for_all_apps(call)
    if call.path["grant"] not in account.grants:
        not_found("grant", call.path["grant"])
    call.put(revoked(account, Grant(call.path["grant"])), revision)
    return Answer(status=204)


def _kept(call: Call[Any, Any], revision: int, before: Account, after: Account) -> Answer:
    """Store what changed, in one transaction with its audit entry; what did not, is not written."""
    if after != before:
        revision = call.put(after, revision)
    return Answer(content=show_account(revision, after), headers=(etag(revision),))


async def keys(call: Call[Nothing, Nothing]) -> Answer:
    """List an account's access keys, without their secrets."""
    account = call.own(Account, call.path["id"])[1]
    items = [_show_key(one) for _, one in call.hub.objects.find(AccessKey, app_id=account.id)]
    return Answer(content=Page(items=items, next_cursor=None))


async def create_key(call: Call[Nothing, Nothing]) -> Answer:
    """Make a further AccessKey pair; its secret is shown in this answer alone."""
    account = call.own(Account, call.path["id"])[1]
    if len(call.hub.objects.find(AccessKey, app_id=account.id)) >= KEYS_MOST:
        raise Conflict(f"the account has {KEYS_MOST} access keys; delete one first")
    key = _new_key(call, account)
    call.change([Put(one=key)], noting={"id": key.id})
    return Answer(content=replace(_show_key(key), access_key_secret=key.secret.decode()), status=201)


async def key_created(call: Call[Any, Any], done: dict[str, str]) -> Answer:
    """Answer the making of an AccessKey pair once more, without the secret."""
    return Answer(content=_show_key(call.own(AccessKey, done["id"])[1]), status=201)


async def remove_key(call: Call[Nothing, Nothing]) -> Answer:
    """Delete an access key: what it signs is refused from now on."""
    account = call.own(Account, call.path["id"])[1]
    revision, key = call.own(AccessKey, call.path["key_id"])
    if key.account_id != account.id:
        not_found("access key", key.id)
    return call.drop(AccessKey, key.id, revision)


def new_bus(call: Call[Any, Any], account: Account, name: str) -> tuple[Bus, Source]:
    """Return a new event bus and the source by which events are put on it."""
    hub, now = call.hub, call.hub.clock.now()
    source = Source(
        id=call.new_id("src"),
        app_id=account.app_id,
        name=f"event bus {name}",
        dialect=BUS_WIRE,
        token=urlsafe_b64encode(hub.entropy.bytes(24)).decode(),
        created_at=now,
    )
    bus = Bus(
        id=call.new_id("bus"),
        account_id=account.id,
        name=name,
        source_id=source.id,
        created_at=now,
        region=account.region,
    )
    return bus, source


def show_account(revision: int, account: Account) -> AccountShown:
    """Return an account as the API shows it."""
    return AccountShown(
        id=account.id,
        name=account.name,
        created_at=account.created_at,
        app_id=account.app_id,
        region=account.region,
        time_zone=account.time_zone,
        meeting_push=account.meeting_push,
        meeting_push_since=account.meeting_push_since,
        grants=list(account.grants),
        options=account.options,
        members=account.members,
        revision=revision,
    )


def _new_key(call: Call[Any, Any], account: Account) -> AccessKey:
    entropy = call.hub.entropy
    return AccessKey(
        id=f"NB{entropy.bytes(11).hex().upper()}",
        account_id=account.id,
        secret=entropy.bytes(24).hex().encode(),
        created_at=call.hub.clock.now(),
    )


def _show_key(key: AccessKey) -> AccessKeyShown:
    return AccessKeyShown(access_key_id=key.id, created_at=key.created_at, state=key.state)


def _for_all_apps(call: Call[Any, Any]) -> None:
    if call.key.app_id is not None:
        raise Forbidden("this key is limited to one app; use a key for all apps")
