"""The command `northbound`: which commands there are, and what happens to what they raise."""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from northbound import __version__
from northbound.cli import certificates, connecting, customers, offline, playing, serving, talking, upkeep, verifying
from northbound.cli.output import EPILOG, crashed, reporting

app = typer.Typer(
    name="northbound",
    help="The event hub for real-time audio/video rooms.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"northbound {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take in five vendors' callbacks of audio and video rooms, and deliver them in any of their wires."""


def _add(group: typer.Typer, name: str, command: Callable[..., Any], *, hidden: bool = False) -> None:
    group.command(name, epilog=EPILOG, hidden=hidden)(reporting(command))


def _group(name: str, says: str) -> typer.Typer:
    group = typer.Typer(help=says, no_args_is_help=True, epilog=EPILOG, rich_markup_mode=None)
    app.add_typer(group, name=name)
    return group


_add(app, "serve", serving.serve)
_add(app, "demo", serving.demo, hidden=True)
_add(app, "translate", offline.translate)
_add(app, "match", offline.match)
_add(app, "trigger", playing.trigger)
_add(app, "sink", playing.sink)
_add(app, "listen", talking.listen)
_add(app, "replay", talking.replay)
_add(app, "rebuild", upkeep.rebuild)
_add(app, "backup", upkeep.backup)
_add(_group("vectors", "The wire vectors shipped with northbound."), "check", offline.vectors_check)
_add(_group("log", "The event log."), "verify", upkeep.log_verify)
_add(_group("events", "What came in."), "verify", verifying.events_verify)
_account = _group("account", "Customers who sign calls with AccessKey pairs.")
_add(_account, "create", customers.account_create)
_add(_account, "meeting-push", customers.meeting_push)
_add(_account, "grant", customers.account_grant)
_add(_account, "statistic", customers.statistic)
_add(_group("app", "Apps: what a vendor's AppId stands for."), "create", customers.app_create)
_certificate = _group("certificate", "The certificates of the hub's own signatures.")
_add(_certificate, "list", certificates.certificate_list)
_add(_certificate, "rotate", certificates.certificate_rotate)
_source = _group("source", "Who sends to us, and what was made for it at the vendor's service.")
_add(_source, "connect", connecting.source_connect)
_add(_source, "list", connecting.source_list)
_add(_source, "show", connecting.source_show)
_add(_source, "disconnect", connecting.source_disconnect)
_settings = _group("config", "The settings in force.")
_add(_settings, "show", upkeep.config_show)
_add(_settings, "check", upkeep.config_check)


def main() -> None:
    """Run the command line; every way out is an exit code."""
    try:
        app()
    except Exception as error:  # noqa: BLE001 - the top of the program: said once, as a fault of ours
        crashed(error)
