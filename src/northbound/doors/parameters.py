"""Read an action's parameters, each by its kind; what is missing or wrong is refused by its name (facts 1.2, 1.7)."""

import re
from collections.abc import Mapping

from northbound.doors.rpc import RpcError

_INDEX = re.compile(r"[1-9][0-9]{0,4}")
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # C0, DEL, C1
NO_CONTROL = "holds a control character; leave it out"


class Parameters:
    """The parameters of one call. Unknown ones are ignored, as the vendor does; empty ones count as left out."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.given = given

    def text(self, name: str, *, longest: int = 512, default: str | None = None) -> str:
        """Return a text; without *default* it is mandatory."""
        value = self.given.get(name, "")
        if not value:
            if default is None:
                raise RpcError(f"Missing{name}", f"{name} is mandatory for this action.")
            return default
        if len(value) > longest:
            raise invalid(name, f"has more than {longest} characters")
        return value

    def identity(self, name: str, *, longest: int = 512, default: str | None = None) -> str:
        """Return what names a channel or user; refuse control characters, which no wire's ids have."""
        value = self.text(name, longest=longest, default=default)
        if _CONTROL.search(value):
            raise invalid(name, NO_CONTROL)
        return value

    def integer(self, name: str, *, least: int, most: int, default: int | None = None) -> int:
        """Return a whole number from *least* to *most*; without *default* it is mandatory."""
        value = self.given.get(name, "")
        if not value:
            if default is None:
                raise RpcError(f"Missing{name}", f"{name} is mandatory for this action.")
            return default
        if not _INTEGER.fullmatch(value) or not least <= int(value) <= most:
            raise invalid(name, f"is a whole number from {least} to {most}")
        return int(value)

    def boolean(self, name: str, *, default: bool = False) -> bool:
        """Return a truth value in any letter case: SDKs write True as well as true."""
        value = self.given.get(name, "").lower()
        if value not in {"", "true", "false"}:
            raise invalid(name, "is true or false")
        return value == "true" if value else default

    def listed(self, name: str, *, most: int, longest: int = 128, needed: bool = False) -> list[str]:
        """Return `Name.1`, `Name.2`, ... in the order of their numbers; gaps and any order are accepted.

        They are ids or names, so none may hold a control character.
        """
        found: dict[int, str] = {}
        if self.given.get(name):  # without a number; a filter that is ignored would let everything through
            raise invalid(name, f"is numbered {name}.1, {name}.2 and so on")
        for key, value in self.given.items():
            head, dot, index = key.partition(".")
            if head != name or not dot:
                continue
            if not _INDEX.fullmatch(index):
                raise invalid(name, f"is numbered {name}.1, {name}.2 and so on")
            if not value or len(value) > longest:
                raise invalid(name, f"holds texts of 1 to {longest} characters")
            if _CONTROL.search(value):
                raise invalid(name, NO_CONTROL)
            found[int(index)] = value
        if len(found) > most:
            raise invalid(name, f"has at most {most} elements")
        if needed and not found:
            raise RpcError(f"Missing{name}", f"{name}.1 is mandatory for this action.")
        return [found[index] for index in sorted(found)]


def invalid(name: str, what: str) -> RpcError:
    """Return the refusal of a parameter's value, which is not repeated."""
    return RpcError("InvalidParameter", f"The specified parameter {name} is not valid: it {what}.")
