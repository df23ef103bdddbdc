"""Commands about the certificates of the hub's own signatures: which there are, and making the next one."""

from typing import Annotated, Any

import typer

from northbound.cli.client import ApiKey, Server, connect
from northbound.cli.output import AsJson, out, print_json, shown
from northbound.cli.settings import DataFolder

SignsFrom = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="When it begins to sign, such as 2026-03-01T00:00:00Z; left out: now."),
]
ValidDays = Annotated[int, typer.Option("--valid-days", min=1, max=3650, help="How long it is valid.")]


def certificate_list(
    server: Server = None, key: ApiKey = None, data: DataFolder = None, as_json: AsJson = False
) -> None:
    """List the certificates: which one signs, which is next, where each is served, when it expires."""
    found = connect(server, key, data).call("GET", "/certificates")["items"]
    if as_json:
        print_json(found)
        return
    _print(found)


def certificate_rotate(
    signs_from: SignsFrom = None,
    valid_days: ValidDays = 3650,
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make the next certificate; the one before stays served under its own URL."""
    body: dict[str, Any] = {"valid_days": valid_days} | ({"signs_from": signs_from} if signs_from else {})
    made = connect(server, key, data).call("POST", "/certificates", body)
    if as_json:
        print_json(made)
        return
    _print([made])


def _print(found: list[dict[str, Any]]) -> None:
    for one in found:
        soon = "   (soon: rotate it)" if one["expires_soon"] else ""
        out().print(f"{shown(one['state']):<8}  {shown(one['url'])}")
        out().print(f"          signs from {shown(one['signs_from'])}, expires {shown(one['expires_at'])}{soon}")
