"""Commands that make what a vendor's own client needs: an account with its AccessKey pair, an app with its AppKey."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from northbound.cli.client import ApiKey, Server, connect
from northbound.cli.output import AsJson, out, print_json, shown
from northbound.cli.settings import DataFolder

AccountId = Annotated[str, typer.Argument(help="Id of the account, 16 digits.")]
Region = Annotated[str, typer.Option(help="Region named in answers and ARNs.")]
Zone = Annotated[str, typer.Option("--time-zone", help="Zone of the account's days, such as Asia/Shanghai.")]


def account_create(
    name: Annotated[str, typer.Argument(help="What people call the customer.")],
    region: Region = "cn-hangzhou",
    time_zone: Zone = "Asia/Shanghai",
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Create an account and print its AccessKey pair, this once."""
    body = {"name": name, "region": region, "time_zone": time_zone}
    made = connect(server, key, data).call("POST", "/accounts", body)
    if as_json:
        print_json(made)
        return
    out().print(f"account            {shown(made['id'])} ({shown(made['name'])})")
    out().print(f"access_key_id      {shown(made['access_key_id'])}")
    out().print(f"access_key_secret  {shown(made['access_key_secret'])}   (shown this once; keep it)")


def meeting_push(
    account: AccountId,
    on: Annotated[bool, typer.Option("--on/--off", help="Turn it on or off.")] = True,
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Turn meeting message push on or off: what the account's apps tell is put on its default event bus."""
    target = f"/accounts/{quote(account, safe='')}/meeting-push/{'enable' if on else 'disable'}"
    _print_account(connect(server, key, data).call("POST", target), as_json=as_json)


def account_grant(
    account: AccountId,
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Give the account's own keys the right to turn meeting message push on."""
    target = f"/accounts/{quote(account, safe='')}/grants"
    _print_account(connect(server, key, data).call("POST", target, {"grant": "link_services"}), as_json=as_json)


def statistic(
    account: AccountId,
    day: Annotated[str, typer.Argument(help="A past day, YYYY-MM-DD, in the account's time zone.")],
    send: Annotated[bool, typer.Option("--send", help="Send it, as a correction where it counts otherwise.")] = False,
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show what was sent of an account's past day and what it counts now; send it where that is asked for."""
    target = f"/accounts/{quote(account, safe='')}/statistics/{quote(day, safe='')}"
    answer = connect(server, key, data).call("POST", target, {"dry_run": not send})
    if as_json:
        print_json(answer)
        return
    told = (answer["told"] or {}).get("counts", {})
    for name in ("meetings", "seconds", "members", "peak"):
        mark = "  differs" if name in answer["differs"] else ""
        out().print(f"{name:<9} sent {told.get(name, '-'):>8}   now {answer['counts'].get(name, '-'):>8}{mark}")
    if answer["event_id"]:
        out().print(f"sent as   {shown(answer['event_id'])}")


def _print_account(account: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(account)
        return
    out().print(f"account       {shown(account['id'])} ({shown(account['name'])})")
    out().print(f"meeting_push  {'on' if account['meeting_push'] else 'off'}")
    out().print(f"grants        {shown(', '.join(account['grants']) or 'none')}")


def app_create(
    name: Annotated[str, typer.Argument(help="What people call the app.")],
    account: Annotated[str, typer.Option(help="Id of the account whose clients manage the app.")] = "",
    region: Region = "cn-hangzhou",
    time_zone: Zone = "Asia/Shanghai",
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Create an app and print its AppId and AppKey."""
    body = {"name": name, "account_id": account, "region": region, "time_zone": time_zone}
    made = connect(server, key, data).call("POST", "/apps", body)
    if as_json:
        print_json(made)
        return
    out().print(f"AppId   {shown(made['id'])}")
    out().print(f"AppKey  {shown(made['app_key'])}   (shown this once; later by POST /api/v1/apps/{{id}}/reveal)")
