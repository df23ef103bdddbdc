"""Read wire objects, keeping account of which words were understood."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from northbound.dialects.anyrtc.tables import MERGED, TRACKS
from northbound.dialects.base import integer
from northbound.model.event import Media

V = TypeVar("V")
BLANK: tuple[Any, ...] = (None, "", [], {})


class Words:
    """Read one wire object, keeping account of what was understood: the rest is told as unmapped."""

    def __init__(self, wire: dict[str, Any], implied: Sequence[str] = (), path: str = "") -> None:
        self._wire = wire
        self._path = path
        self._understood = set(implied)
        self._children: list[Words] = []

    def read(self, name: str, convert: Callable[[Any], V | None]) -> V | None:
        """Return word *name* converted; what cannot be converted is None and stays unmapped."""
        value = convert(self._wire.get(name))
        if value is not None:
            self._understood.add(name)
        return value

    def child(self, name: str, implied: Sequence[str] = ()) -> "Words":
        """Return the object *name*; one without words when it is no object."""
        wire = self._wire.get(name)
        if isinstance(wire, dict):
            self._understood.add(name)
        return self._adopt(wire if isinstance(wire, dict) else {}, f"{self._path}{name}.", implied)

    def items(self, name: str) -> tuple["Words", ...]:
        """Return the objects of list *name*; none when it is no list of objects."""
        found = self._wire.get(name)
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            return ()
        self._understood.add(name)
        return tuple(self._adopt(item, f"{self._path}{name}.", ()) for item in found)

    def unread(self) -> tuple[str, ...]:
        """Return the words that nothing read, as paths, each once; blank ones say nothing."""
        left = [name for name, value in self._wire.items() if name not in self._understood and value not in BLANK]
        own = [f"{self._path}{name}" for name in left]
        return tuple(dict.fromkeys((*own, *(path for child in self._children for path in child.unread()))))

    def _adopt(self, wire: dict[str, Any], path: str, implied: Sequence[str]) -> "Words":
        child = Words(wire, implied, path)
        self._children.append(child)
        return child


def as_number(value: Any) -> int | None:
    """Return an integer that a log can hold in 64 bits."""
    number = integer(value)
    return number if number is not None and -(2**63) <= number < 2**63 else None


def as_count(value: Any) -> int | None:
    """Return a number that counts something, from 0."""
    number = as_number(value)
    return number if number is not None and number >= 0 else None


def as_boolean(value: Any) -> bool | None:
    """Return true or false, and nothing that only resembles them."""
    return value if isinstance(value, bool) else None


def one_of(table: Mapping[int, V]) -> Callable[[Any], V | None]:
    """Read a number by *table*; one that is not listed is None."""

    def find(value: Any) -> V | None:
        number = integer(value)
        return None if number is None else table.get(number)

    return find


def as_success(value: Any) -> bool | None:
    """Read a status: 0 is normal, any other number is not."""
    number = integer(value)
    return None if number is None else number == 0


def as_person(uid: str | None) -> str | None:
    """Return the one person that *uid* names; None when it stands for everybody."""
    return None if uid == MERGED else uid


def as_media(value: Any) -> tuple[Media, ...] | None:
    """Read a trackType."""
    return TRACKS.get(value) if isinstance(value, str) else None
