"""Commands that look at the data folder itself: rebuild, backup, log verify, config show and check."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from northbound.cli.output import AsJson, Code, out, print_json, shown, styled
from northbound.cli.settings import ConfigFile, DataFolder, origins, read_settings
from northbound.config import SECRETS, Config
from northbound.model.errors import InvalidInput

if TYPE_CHECKING:
    from northbound.hub.system import Folder


def rebuild(
    verify: Annotated[bool, typer.Option("--verify", help="Only compare with the live rooms; change nothing.")] = False,
    send: Annotated[bool, typer.Option("--send", help="Also send what was set aside and can be told now.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --send.")] = False,
    data: DataFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Fold the whole log again. With --verify, compare with the live rooms byte for byte; exit code 1 on a difference.

    Without --verify the rooms are written anew, which needs `serve` to be stopped. With --send, events that an older
    version set aside are sent by the next `serve`; says how many first. Exit code 1, nothing written, if you say no.
    """
    from northbound.cli.refolding import compare_rooms
    from northbound.hub.system import Folder

    if verify and send:
        raise InvalidInput("--verify changes nothing; leave it out to --send")
    folder = Folder(read_settings(config, data=data).data)
    if not verify:
        _rewrite(folder, _agreed(yes=yes, as_json=as_json) if send else None, as_json=as_json)
        return
    found = compare_rooms(folder)
    if as_json:
        print_json(msgspec.to_builtins(found))
    elif found.difference is None:
        out().print(f"{found.rooms} rooms at log offset {found.cursor}: the fold gives the same, byte for byte")
    else:
        console = out()
        console.print(
            styled(f"{found.different} of {found.rooms} rooms differ at log offset {found.cursor}", "bold red")
        )
        first = found.difference
        console.print(f"first: room {shown(first.key)}, at {shown(first.at)}")
        console.print(f"  live:   {shown(first.live)}")
        console.print(f"  folded: {shown(first.folded)}")
    if found.difference is not None:
        raise typer.Exit(Code.NO)


def _rewrite(folder: "Folder", agree: Callable[[int, int], bool] | None, *, as_json: bool) -> None:
    from northbound.cli.refolding import rewrite_rooms

    done = rewrite_rooms(folder, agree)
    if done is None:
        raise typer.Exit(Code.NO)
    if as_json:
        print_json(msgspec.to_builtins(done))
        return
    out().print(f"{done.rooms} rooms written anew from {done.cursor + 1} log entries")
    if agree is not None:
        out().print(f"{done.told} events that were set aside are told, in {done.deliveries} deliveries")


def _agreed(*, yes: bool, as_json: bool) -> Callable[[int, int], bool]:
    from northbound.cli.talking import confirmed

    def agree(told: int, deliveries: int) -> bool:
        if yes or not deliveries:
            return True
        question = f"send {told} events that were set aside, in {deliveries} deliveries?"
        if as_json:
            raise InvalidInput(f"{question} Add --yes")
        return confirmed(question)

    return agree


def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet; one for each backup.")],
    data: DataFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Copy the data folder, keys included, while `serve` may run; serve the copy with --data to restore it."""
    from northbound.cli.backing_up import back_up
    from northbound.hub.system import Folder

    found = back_up(Folder(read_settings(config, data=data).data), folder)
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        out().print(shown(f"{found.folder}: the log up to offset {found.head}, routed up to {found.cursor}"))


def log_verify(data: DataFolder = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Recompute every digest and the chain over the whole log; exit code 1 where it does not hold."""
    from northbound.cli.refolding import open_log
    from northbound.hub.system import Folder

    reader = open_log(Folder(read_settings(config, data=data).data))
    try:
        checked, broken = reader.verify_chain()
    finally:
        reader.close()
    if as_json:
        print_json({"checked": checked, "broken_at": broken})
    elif broken is None:
        out().print(f"{checked} entries: every digest and the chain hold")
    else:
        out().print(styled(f"the entry at offset {broken} does not hold; {checked} before it do", "bold red"))
    if broken is not None:
        raise typer.Exit(Code.NO)


def config_show(
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print the settings in force as TOML. A later one wins: default, file, NORTHBOUND_* variable."""
    settings = read_settings(config)
    where = origins(config)
    values = {field.name: _plain(settings, field.name) for field in msgspec.structs.fields(Config)}
    if as_json:
        origins_too = {name: {"value": value, "origin": where.get(name, "default")} for name, value in values.items()}
        print_json(origins_too if origin else values)
        return
    console = out()
    if origin:
        console.print("# a later one wins: default, file, environment (NORTHBOUND_*), option of serve")
    for name, value in values.items():
        note = f"  # {where.get(name, 'default')}" if origin else ""
        console.print(shown(f"{name} = {msgspec.json.encode(value).decode()}{note}"))


def config_check(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Read the settings as `serve` would, and say what is wrong with them."""
    settings = read_settings(config)
    from northbound.hub.supervisor import check_start

    check_start(settings)
    if as_json:
        print_json({"ok": True})
    else:
        out().print("the settings are good")


def _plain(settings: Config, name: str) -> Any:
    """Return a setting for people: no secret, and a proxy's URL without its password."""
    value = getattr(settings, name)
    if name in SECRETS and value:
        return "***"
    if isinstance(value, str) and "@" in value and "://" in value:
        scheme, _, rest = value.partition("://")
        return f"{scheme}://***@{rest.rpartition('@')[2]}"
    return list(value) if isinstance(value, tuple) else value
