"""The leaves of the pattern language: exact values and operators, each read into a test of one scalar (facts 3.3)."""

import json
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from math import inf, isfinite, isnan
from typing import Any, Final

import msgspec

from northbound.model.errors import PatternError

Scalar = str | bool | int | float | None
Path = tuple[str | int, ...]

MAX_VALUES: Final = 256  # exact values a field, looked up in a set
MAX_NUMBER: Final = 308  # digits of a number; more than any exact number an event holds
MAX_NAME: Final = 64  # characters of a name repeated in a message
NUMERIC_LIMIT: Final = 1e9
TOLERANCE: Final = 1e-7


class Exact(msgspec.Struct, frozen=True, kw_only=True):
    """Values compared by their string forms: 300 is "300" but not 300.0; null is only null."""

    says: str
    literals: tuple[str, ...]
    texts: frozenset[str]  # what a string or boolean of the event may read
    numbers: frozenset[str]  # what a number of the event may read
    null: bool

    def holds(self, value: Scalar) -> bool:
        """Tell whether *value* is one of these."""
        if value is None:
            return self.null
        if isinstance(value, bool):
            return ("true" if value else "false") in self.texts
        return value in self.texts if isinstance(value, str) else _form(value) in self.numbers


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """One operator with its operand; only `exists: false` holds for a missing field."""

    says: str
    holds: Callable[[Scalar], bool]
    on_missing: bool = False


class Number(msgspec.Struct, frozen=True):
    """A number of the pattern with its own spelling, which is what a string in the event is compared with."""

    text: str
    value: int | float


def read_number(text: str) -> Number:
    """Read a JSON number, keeping its spelling; raise `ValueError` for one no event can hold."""
    if len(text) > MAX_NUMBER:
        raise ValueError(f"a number has more than {MAX_NUMBER} characters")
    value = int(text) if text.lstrip("-").isdigit() else float(text)
    if not isfinite(value):
        raise ValueError(f"the number {text[:MAX_NAME]} is out of range")
    return Number(text, value)


def read_exact(values: list[Any], path: Path) -> Exact:
    """Read primitive *values* of the array at *path* for exact comparison."""
    if len(values) > MAX_VALUES:
        raise invalid("a field has too many values", path, f"list at most {MAX_VALUES}, or use prefix")
    strings = [value for value in values if isinstance(value, str)]
    booleans = ["true" if value else "false" for value in values if isinstance(value, bool)]
    numbers = [value for value in values if isinstance(value, Number)]
    shown = [value.text[:MAX_NAME] if isinstance(value, Number) else short(value) for value in values]
    more = f" or {len(shown) - 8} more values" if len(shown) > 8 else ""
    return Exact(
        says=" or ".join(shown[:8]) + more,
        literals=(*strings, *booleans, *(number.text for number in numbers)),
        texts=frozenset((*strings, *booleans, *(number.text for number in numbers))),
        numbers=frozenset((*strings, *(str(number.value) for number in numbers))),
        null=None in values,
    )


def read_element(words: dict[str, Any], path: Path) -> tuple[Operator, ...]:
    """Read one operator object: each of its keys must hold."""
    if not words:
        raise invalid("an operator object is empty", path, f"use one of {', '.join(_OPERATORS)}")
    for name in words:
        if name not in _OPERATORS:
            raise invalid(f"operator {short(name)} is unrecognized", path, f"use one of {', '.join(_OPERATORS)}")
    return tuple(_OPERATORS[name](operand, (*path, name)) for name, operand in words.items())


# --- operators -------------------------------------------------------------------------------------------------------

_AFFIXES: Final[dict[str, tuple[str, Callable[[str, str], bool]]]] = {
    "prefix": ("begins with", lambda text, part: text.startswith(part)),
    "suffix": ("ends with", lambda text, part: text.endswith(part)),
    "contains": ("contains", lambda text, part: part in text),
}

_COMPARISONS: Final[dict[str, Callable[[int], bool]]] = {
    "=": lambda order: order == 0,
    "!=": lambda order: order != 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
}


def _affix(operand: Any, path: Path) -> Operator:
    name = str(path[-1])
    if not isinstance(operand, str):
        raise invalid(f"{name} supports only a string", path, "quote the operand")
    if not operand:
        raise invalid(f"{name} does not support the empty string", path, 'write "" as an element of its own')
    verb, test = _AFFIXES[name]
    return Operator(
        says=f"{verb} {short(operand)}", holds=lambda value: isinstance(value, str) and test(value, operand)
    )


def _anything_but(operand: Any, path: Path) -> Operator:
    if isinstance(operand, dict):
        if len(operand) != 1 or not operand.keys() <= {"prefix", "suffix"}:
            raise invalid("anything-but supports only one of prefix and suffix in an object", path, "use one of them")
        ((name, part),) = operand.items()
        inner = _affix(part, (*path, name))
        return Operator(says=f"is anything but what {inner.says}", holds=lambda value: not inner.holds(value))
    values = operand if isinstance(operand, list) else [operand]
    if not values or any(isinstance(value, list | dict) for value in values):
        raise invalid(
            "anything-but supports only null, primitive values and a filled array of them",
            path,
            "flatten it or leave it out",
        )
    exact = read_exact(values, path)
    return Operator(says=f"is anything but {exact.says}", holds=lambda value: not exact.holds(value))


def _numeric(operand: Any, path: Path) -> Operator:
    remedy = 'write [">", 0] or [">", 0, "<=", 10]'
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        raise invalid("numeric needs an array of 2 or 4 elements", path, remedy)
    tests: list[tuple[str, Number]] = []
    for comparison, number in zip(operand[::2], operand[1::2], strict=True):
        if not isinstance(comparison, str) or not isinstance(number, Number):
            raise invalid("numeric needs an operator and a number in turn", path, remedy)
        if comparison not in _COMPARISONS:
            raise invalid("numeric has an unknown operator", path, f"use one of {' '.join(_COMPARISONS)}")
        if abs(number.value) > NUMERIC_LIMIT:
            raise invalid("a numeric value must be between -1e9 and 1e9", path, "use a smaller number")
        tests.append((comparison, number))

    def holds(value: Scalar) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or isnan(double := _double(value)):
            return False
        return all(_COMPARISONS[comparison](_order(double, float(number.value))) for comparison, number in tests)

    return Operator(says="is a number " + " and ".join(f"{name} {number.text}" for name, number in tests), holds=holds)


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer beyond doubles
        return inf if number > 0 else -inf


def _order(one: float, other: float) -> int:
    if abs(one - other) <= TOLERANCE:
        return 0
    return 1 if one > other else -1


def _cidr(operand: Any, path: Path) -> Operator:
    text = operand if isinstance(operand, str) else ""
    try:
        # Network and broadcast address are inside; host bits are ignored.
        network = ip_network(text, strict=False)
    except ValueError:
        raise invalid("cidr supports only an IP address or network in text", path, 'write "10.0.0.0/24"') from None

    def holds(value: Scalar) -> bool:
        if not isinstance(value, str) or len(value) > MAX_NAME:
            return False
        try:
            return ip_address(value) in network
        except ValueError:
            return False

    return Operator(says=f"is an address in {network}", holds=holds)


def _exists(operand: Any, path: Path) -> Operator:
    if not isinstance(operand, bool):
        raise invalid("exists supports only true and false", path, "write one of them without quotes")
    if operand:
        return Operator(says="exists", holds=lambda _: True)
    return Operator(says="is missing", holds=lambda _: False, on_missing=True)


_OPERATORS: Final[dict[str, Callable[[Any, Path], Operator]]] = {
    "prefix": _affix,
    "suffix": _affix,
    "contains": _affix,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
    "exists": _exists,
}


# --- telling ---------------------------------------------------------------------------------------------------------


def short(value: Scalar) -> str:
    """Print *value* as JSON, cut to a length that fits a message."""
    if isinstance(value, str):
        return json.dumps(value if len(value) <= MAX_NAME else f"{value[:MAX_NAME]}...", ensure_ascii=False)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return _form(value) or "a very long number"


def _form(number: float) -> str | None:
    """Return *number* as JSON would print it; None for one too long to be in any pattern."""
    if isinstance(number, int) and number.bit_length() > 4 * MAX_NUMBER:
        return None
    return str(number)


def where_at(path: Iterable[str | int]) -> str:
    """Print *path* as a JSON path."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step[:MAX_NAME]}" for step in path)
    return "$" + "".join(steps)


def invalid(what: str, path: Path, remedy: str) -> PatternError:
    """Build the refusal of a pattern in the words its users know, with the place and the way out."""
    where = where_at(path)
    return PatternError(f"Event pattern is not valid, reason: {what} at {where}; {remedy}", field=where)
