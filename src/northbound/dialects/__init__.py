"""The vendors' wires: the folder is the registry; outside packages add theirs by the entry-point group below."""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

from northbound.dialects.base import Dialect
from northbound.model.errors import InvalidInput

ENTRY_POINTS = "northbound.dialects"


@cache
def all_dialects() -> dict[str, Dialect]:
    """Return every dialect by name: the modules of this folder, then installed entry points."""
    modules = [module.name for module in iter_modules(__path__) if module.name != "base"]
    found: list[Dialect] = [import_module(f"{__name__}.{name}").DIALECT for name in modules]
    found.extend(entry.load() for entry in entry_points(group=ENTRY_POINTS))
    return {dialect.name: dialect for dialect in found}


def dialect_named(name: str) -> Dialect:
    """Return the dialect *name*; raise `InvalidInput` naming those that exist."""
    try:
        return all_dialects()[name]
    except KeyError:
        known = ", ".join(sorted(all_dialects()))
        raise InvalidInput(f"there is no dialect {name!r}; there are: {known}", field="dialect") from None
