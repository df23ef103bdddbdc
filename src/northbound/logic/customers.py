"""What an account decides for what is on its event buses: grants, zone, and options that its rules leave open."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from northbound.model.account import Account, Grant
from northbound.model.app import Endpoint, Source
from northbound.model.errors import Conflict, GrantMissing

BUS_WIRE: Final = "aliyun_cvc"  # an event bus speaks EventBridge, whatever the event
# What an account may set for all its rules: what is sent, not how a source is believed, nor what each target says.
OPTIONS: Final = ("subject", "group_id", "meeting_time_unit", "signature", "v1_newline", "v2_newline")
MEMBERS: Final = ("distinct", "joins")


def switched_on(account: Account, now: datetime, *, may_link: bool) -> Account:
    """Return *account* with meeting messages pushed, and the grant for it made where it lacks; raise `GrantMissing`.

    *may_link*: the caller has the right to make the grant by itself (ruling 16).
    """
    if account.meeting_push:
        return account
    grants = account.grants
    if Grant.MEETING_PUSH not in grants:
        if not may_link and Grant.LINK_SERVICES not in grants:
            raise GrantMissing(
                "this key has no right to make the service-linked grant that meeting messages need: have somebody with "
                f"a key for all apps call POST /api/v1/accounts/{account.id}/grants, then repeat this call",
                field="grants",
            )
        grants = (*grants, Grant.MEETING_PUSH)
    return replace(account, meeting_push=True, meeting_push_since=now, grants=grants)


def switched_off(account: Account) -> Account:
    """Return *account* with nothing of its apps pushed; the grant stays, as a link that is not used."""
    return replace(account, meeting_push=False, meeting_push_since=None) if account.meeting_push else account


def granted(account: Account, grant: Grant) -> Account:
    """Return *account* with a grant."""
    return account if grant in account.grants else replace(account, grants=(*account.grants, grant))


def revoked(account: Account, grant: Grant) -> Account:
    """Return *account* without a grant; one that is in use is refused."""
    if grant is Grant.MEETING_PUSH and account.meeting_push:
        raise Conflict("the grant is in use: turn meeting message push off first", field="grant")
    return replace(account, grants=tuple(one for one in account.grants if one is not grant))


def bus_options(account: Account) -> dict[str, Any]:
    """Return how what is on an account's buses is said (rulings 8, 12, 14)."""
    return {"zone": account.time_zone, **account.options}


def of_accounts(endpoints: Iterable[Endpoint], accounts: Iterable[Account]) -> list[Endpoint]:
    """Return *endpoints*, those of accounts' rules with the account's options wherever they have none of their own."""
    options = {one.app_id: bus_options(one) for one in accounts}
    return [
        replace(one, options=options[one.app_id] | one.options)
        if one.dialect == BUS_WIRE and one.app_id in options
        else one
        for one in endpoints
    ]


def source_options(source: Source, accounts: Mapping[str, Account]) -> dict[str, Any]:
    """Return a source's options; one of an account's own app, by app id in *accounts*, reads times in its zone."""
    account = accounts.get(source.app_id) if source.dialect == BUS_WIRE else None
    return source.options if account is None else {"zone": account.time_zone, **source.options}
