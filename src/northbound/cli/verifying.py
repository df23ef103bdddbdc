"""Check a stored request once more, with the keys that its source has today."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from northbound.cli.client import ApiKey, Server, connect
from northbound.cli.output import AsJson, Code, out, print_json, shown, styled
from northbound.cli.settings import DataFolder


def events_verify(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Id of an event, or with --refused of a request.")],
    refused: Annotated[bool, typer.Option("--refused", help="ID is of a request in quarantine.")] = False,
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Verify the stored requests of an event again, with the keys and the URL that its source has today.

    Says what each proves and by which key, or why it does not verify (exit code 1).
    """
    place = f"/quarantine/{quote(identity, safe='')}" if refused else f"/events/{quote(identity, safe='')}"
    answer = connect(server, key, data).call("POST", f"{place}/verify")
    if as_json:
        print_json(answer)
    else:
        for one in answer["items"]:
            _print(one)
    if any(one["proof"] is None for one in answer["items"]):
        raise typer.Exit(Code.NO)


def _print(one: dict[str, Any]) -> None:
    where = f"request {one['id']} of {one['received_at']}"
    if one["proof"] is None:
        out().print(shown(where), styled(f"does not verify: {shown(one['reason'])}", "red"))
        return
    keys = ", ".join([*one["key_ids"], *one["certificate_urls"]]) or "no key"
    out().print(shown(where), styled(f"proves: {one['proof']}, by {shown(keys)}; then: {one['proof_then']}", "green"))
