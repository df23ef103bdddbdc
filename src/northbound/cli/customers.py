"""Commands that make what a vendor's own client needs: an account with its AccessKey pair, an app with its AppKey."""

from typing import Annotated

import typer

from northbound.cli.client import ApiKey, Server, connect
from northbound.cli.output import AsJson, out, print_json, shown
from northbound.cli.settings import DataFolder

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
