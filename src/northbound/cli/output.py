"""How the command line speaks: exit codes, tables, JSON, and errors that say what to do."""

import functools
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from northbound.model.errors import (
    BlockedAddress,
    Conflict,
    Forbidden,
    HubError,
    NotFound,
    Overloaded,
    SignatureError,
    StoreFailed,
    Unauthorized,
)

P = ParamSpec("P")
R = TypeVar("R")


class Code(IntEnum):
    """How a command ended; documented in every --help and in docs/cli.md."""

    OK = 0
    NO = 1  # it worked, and the answer is no
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    INTERNAL = 70
    INTERRUPTED = 130


EPILOG = (
    "Exit codes: 0 ok; 1 the answer is no (not matched, not verified, not accepted, a difference); 2 a wrong option, "
    "setting or file, or a port or folder that is taken; 3 nobody could be reached; 4 refused (key, rights, unknown "
    "object, blocked address); 70 a fault of northbound itself; 130 interrupted."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


class Unreachable(HubError):
    """Nobody answers where somebody should."""

    code = "unreachable"


CODES: tuple[tuple[type[HubError], Code], ...] = (
    (Unreachable, Code.UNREACHABLE),
    (Overloaded, Code.UNREACHABLE),
    (StoreFailed, Code.UNREACHABLE),
    (Unauthorized, Code.REFUSED),
    (Forbidden, Code.REFUSED),
    (NotFound, Code.REFUSED),
    (Conflict, Code.REFUSED),
    (BlockedAddress, Code.REFUSED),
    (SignatureError, Code.REFUSED),
)


def exit_code(error: HubError) -> Code:
    """Return the exit code that stands for *error*."""
    return next((code for kind, code in CODES if isinstance(error, kind)), Code.USAGE)


def reporting(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what a command raises into one line on standard error and an exit code, never a traceback for a user."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except HubError as error:
            report(error, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(exit_code(error)) from None
        except (KeyboardInterrupt, typer.Abort):
            raise typer.Exit(Code.INTERRUPTED) from None
        except BrokenPipeError:  # whoever read us has seen enough
            sys.stderr.close()
            raise typer.Exit(Code.OK) from None

    return run


def report(error: HubError, *, as_json: bool) -> None:
    """Say *error* on standard error."""
    if as_json:
        print_json({"error": error.code, "message": error.message}, to=sys.stderr)
        return
    line = Text("error: ", style="bold red")
    errors().print(line.append(shown(error.message, lines=True), style="not bold default"))


def crashed(error: BaseException) -> NoReturn:
    """End with a fault of ours: where it was, and that it is ours."""
    errors().print(Text("a fault of northbound itself; please report it:", style="bold red"))
    traceback.print_exception(error)
    sys.exit(Code.INTERNAL)


def out() -> Console:
    """Return the console for results."""
    return Console(highlight=False, markup=False, soft_wrap=True)


def errors() -> Console:
    """Return the console for errors and remarks."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def print_json(content: Any, *, to: Any = None) -> None:
    """Print *content* as JSON, readable."""
    (to or sys.stdout).write(_json(msgspec.json.format(msgspec.json.encode(content), indent=2)) + "\n")


def print_line(content: Any) -> None:
    """Print *content* as one line of JSON, at once."""
    sys.stdout.write(_json(msgspec.json.encode(content)) + "\n")
    sys.stdout.flush()


def _json(content: bytes) -> str:
    """Return JSON as text, the same JSON, in which nothing steers a terminal (T6)."""
    text = content.decode()
    if text.isascii():  # control characters are escaped in any JSON, but DEL
        return text.replace("\x7f", "\\u007f")
    return "".join(one if one.isprintable() or one == "\n" else _units(one) for one in text)


def _units(one: str) -> str:
    """Return a character as JSON escapes, two where it takes two units of UTF-16."""
    units = one.encode("utf-16-be")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


def shown(text: str, *, lines: bool = False) -> str:
    """Return *text* of others with whatever steers a terminal, or hides in it, made visible (T6).

    So are line breaks, by which a name could pass for a line of ours, unless *lines* are meant.
    """
    kept = "\n\t" if lines else "\t"
    return "".join(one if one.isprintable() or one in kept else _named(ord(one)) for one in text)


def _named(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def styled(text: str, style: str) -> Text:
    """Return *text* of ours or others, safe and in *style*."""
    return Text(shown(text), style=style)
