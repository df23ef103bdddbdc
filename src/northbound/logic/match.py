"""Decide whether an event matches an event pattern, in EventBridge's pattern language (facts 3.3; rulings 8, 10, 13).

A pattern is a JSON object: its keys are AND-ed, the elements of each array OR-ed, the keys of one operator object
AND-ed. It is compiled once, when it is saved, and everything that could make matching slow is refused there (T4):
matching then takes time in proportion to the event.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final, TypeGuard

import msgspec

from northbound.logic.operators import (
    MAX_NAME,
    Exact,
    Operator,
    Scalar,
    invalid,
    read_element,
    read_exact,
    read_number,
    short,
    where_at,
)

MAX_TEXT: Final = 16_384  # bytes; bounds whatever else a pattern holds
MAX_DEPTH: Final = 16  # of nested fields; no vendor's event comes near
MAX_EXPRESSIONS: Final = 5  # operator objects a field, as documented; exact values have a limit of their own
MAX_DATA_TEXT: Final = 262_144  # characters of `data` in text; the largest event a bus takes
MAX_WARNINGS: Final = 20  # unregistered types named one by one; each is compared with all registered ones

CLOUD_EVENT_KEYS: Final = frozenset("id source specversion type datacontenttype dataschema subject time data".split())
ANY_KEY: Final = frozenset({"*"})  # for views that are no CloudEvents: every key is known, and every key may nest

_MISSING: Final = object()


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What one field must be: one of the exact values, or all operators of one of the elements."""

    path: tuple[str, ...]
    exact: Exact
    elements: tuple[tuple[Operator, ...], ...]

    @property
    def says(self) -> str:
        """What the field must be, for people."""
        elements = (" and ".join(operator.says for operator in element) for element in self.elements)
        return " or ".join((*filter(None, (self.exact.says,)), *elements))

    def holds(self, found: Any) -> bool:
        """Tell whether *found*, the field's value or `_MISSING`, is what the field must be."""
        if found is _MISSING:
            return any(all(operator.on_missing for operator in element) for element in self.elements)
        return any(self._takes(member) for member in _members(found))

    def _takes(self, member: Scalar) -> bool:
        return self.exact.holds(member) or any(
            all(operator.holds(member) for operator in element) for element in self.elements
        )


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled pattern. `types` and `sources` are all that can match, as strings, or None when others can too."""

    text: str
    conditions: tuple[Condition, ...]  # cheapest first: attributes, then what is nested
    types: frozenset[str] | None
    sources: frozenset[str] | None

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Tell whether *event*, parsed JSON, matches; `data` that is JSON in text is looked into."""
        opened: Mapping[str, Any] | None = None  # only once, and only when the cheap conditions hold
        for condition in self.conditions:
            if len(condition.path) > 1 and opened is None:
                opened = _opened(event)
            if not condition.holds(_find(opened or event, condition.path)):
                return False
        return True


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a pattern against one event: what is wanted, what is there."""

    path: str
    wants: str
    has: str
    matched: bool


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why an event did or did not match, field by field."""

    matched: bool
    findings: tuple[Finding, ...]


def compile_pattern(text: str | bytes, *, keys: frozenset[str] | None = None) -> Pattern:
    """Read a pattern; raise `PatternError` for whatever is not one.

    *keys* are the top-level keys the view can have (default: CloudEvents attributes and `data`). While `data` is
    among them, only `data` nests. `ANY_KEY` takes every key.
    """
    words, root = _read(text)
    known = CLOUD_EVENT_KEYS if keys is None else keys
    conditions = sorted(_top(root, known), key=lambda condition: len(condition.path) > 1)
    return Pattern(
        text=words,
        conditions=tuple(conditions),
        types=_only(conditions, "type"),
        sources=_only(conditions, "source"),
    )


def explain(pattern: Pattern, event: Mapping[str, Any]) -> Explanation:
    """Tell for each field of *pattern* what it wants, what *event* has, and whether that matched."""
    opened = _opened(event) if any(len(condition.path) > 1 for condition in pattern.conditions) else event
    findings = tuple(_finding(condition, opened) for condition in pattern.conditions)
    return Explanation(matched=all(finding.matched for finding in findings), findings=findings)


def pattern_warnings(
    pattern: Pattern, known_types: Collection[str], spellings: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Say what is accepted but probably not meant (ruling 13): unregistered types, more than one source.

    *spellings* are registered too, as other spellings of the types that they map to: a pattern that names one alone
    sees no event that is told by the other.
    """
    fields = {condition.path: condition for condition in pattern.conditions}
    warnings: list[str] = []
    kind = fields.get(("type",))
    if kind is not None and known_types:
        other = {name: known for name, known in (spellings or {}).items() if name in kind.exact.literals}
        unknown = [name for name in kind.exact.literals if name not in known_types and name not in other]
        warnings += [_misspelt(name, known) for name, known in other.items() if known not in kind.exact.literals]
        warnings += [_unregistered(name, known_types) for name in unknown[:MAX_WARNINGS]]
        if len(unknown) > MAX_WARNINGS:
            warnings.append(f"{len(unknown) - MAX_WARNINGS} more types are not registered either")
    source = fields.get(("source",))
    if source is not None and len(source.exact.literals) + source.exact.null + len(source.elements) > 1:
        warnings.append("source names more than one element; the vendor takes an array of exactly one")
    return tuple(warnings)


def _unregistered(name: str, known_types: Collection[str]) -> str:
    by_case = next((known for known in sorted(known_types) if known.lower() == name.lower()), None)
    nearest = by_case or get_close_matches(name[:MAX_NAME], known_types, n=1, cutoff=0.0)[0]
    note = "types are compared in exact letter case" if by_case else "no event will have it"
    return f"type {short(name)} is not registered, {note}; the nearest registered one is {short(nearest)}"


def _misspelt(name: str, known: str) -> str:
    return (
        f"type {short(name)} is registered as another spelling of {short(known)}, by which events are told; types are "
        "compared in exact letter case, so name both"
    )


# --- matching --------------------------------------------------------------------------------------------------------


def _find(event: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = event
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return _MISSING
        value = value[key]
    return value


def _opened(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *event* with `data` parsed where it is a JSON object in text (the older envelope, ruling 12)."""
    text = event.get("data")
    if not isinstance(text, str) or len(text) > MAX_DATA_TEXT or not text.lstrip().startswith("{"):
        return event
    try:
        return {**event, "data": msgspec.json.decode(text)}
    except (msgspec.DecodeError, ValueError, RecursionError):
        return event


def _members(found: Any) -> Iterable[Scalar]:
    """Return what may match: a scalar, each member of an array of scalars; an object or array of objects never."""
    if _is_scalar(found):
        return (found,)
    if isinstance(found, list | tuple) and all(map(_is_scalar, found)):
        return found
    return ()


def _is_scalar(value: Any) -> TypeGuard[Scalar]:
    return value is None or isinstance(value, str | bool | int | float)


# --- explaining ------------------------------------------------------------------------------------------------------


def _finding(condition: Condition, event: Mapping[str, Any]) -> Finding:
    found = _find(event, condition.path)
    return Finding(
        path=where_at(condition.path), wants=condition.says, has=_shown(found), matched=condition.holds(found)
    )


def _shown(found: Any) -> str:
    if found is _MISSING:
        return "nothing: the field is missing"
    if _is_scalar(found):
        return short(found)
    if isinstance(found, list | tuple):
        if not all(map(_is_scalar, found)):
            return "an array that holds objects or arrays, which nothing matches"
        more = ", ..." if len(found) > 8 else ""
        return f"[{', '.join(short(member) for member in found[:8])}{more}]"
    return "an object, which nothing matches"


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(text: str | bytes) -> tuple[str, dict[str, Any]]:
    if len(text) > MAX_TEXT:
        raise invalid("the pattern is too long", (), f"write at most {MAX_TEXT} bytes")
    if not text.strip():
        raise invalid("the pattern is empty", (), "write {} to match everything")
    try:
        raw = text.encode() if isinstance(text, str) else text
        msgspec.json.decode(raw)  # strict where json is lenient: lone surrogates, NaN, control characters
        words = raw.decode()
        root = json.loads(words, object_pairs_hook=_unique, parse_int=read_number, parse_float=read_number)
    except RecursionError:
        raise invalid("the pattern is nested too deeply", (), f"nest at most {MAX_DEPTH} levels") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise invalid(f"the pattern is not valid JSON ({str(error)[:200]})", (), "correct the text") from None
    if not isinstance(root, dict):
        raise invalid("the pattern is not a JSON object", (), 'write it as {"type": ["..."]}')
    if len(raw) > MAX_TEXT:
        raise invalid("the pattern is too long", (), f"write at most {MAX_TEXT} bytes")
    return words, root


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"key {short(name)} is repeated in one object")
        members[name] = value
    return members


def _top(root: dict[str, Any], known: frozenset[str]) -> Iterable[Condition]:
    is_envelope = "data" in known
    for key, value in root.items():
        if "*" not in known and key not in known:
            nearest = get_close_matches(key[:MAX_NAME], sorted(known), n=1)
            remedy = f"did you mean {nearest[0]}?" if nearest else f"use one of {', '.join(sorted(known))}"
            raise invalid(f"unrecognized pattern key {short(key)}", (key,), remedy)
        if is_envelope and key == "data" and not isinstance(value, dict):
            raise invalid("data has no pattern key", (key,), 'name its fields: {"data": {"field": ["value"]}}')
        if is_envelope and key != "data" and isinstance(value, dict):
            raise invalid("only data nests objects", (key,), 'put values and operators in an array: [{"prefix": "a"}]')
        yield from _walk(value, (key,))


def _walk(value: Any, path: tuple[str, ...]) -> Iterable[Condition]:
    if isinstance(value, list):
        yield _condition(value, path)
        return
    if not isinstance(value, dict):
        raise invalid("a bare value is not a pattern", path, "put it in an array: [value]")
    if not value:
        raise invalid("an empty object has no pattern key", path, "name a field in it or leave it out")
    if len(path) == MAX_DEPTH:
        raise invalid("the pattern is nested too deeply", path, f"nest at most {MAX_DEPTH} levels")
    for key, inner in value.items():
        yield from _walk(inner, (*path, key))


def _condition(array: list[Any], path: tuple[str, ...]) -> Condition:
    if not array:
        raise invalid("an empty array can match nothing", path, "name a value in it, or leave the field out")
    for index, element in enumerate(array):
        if isinstance(element, list):
            raise invalid("an array inside an array is not supported", (*path, index), "write one flat array")
    expressions = [(index, element) for index, element in enumerate(array) if isinstance(element, dict)]
    if len(expressions) > MAX_EXPRESSIONS:
        raise invalid("a field has too many expressions", path, f"use at most {MAX_EXPRESSIONS} operator objects")
    exact = read_exact([element for element in array if not isinstance(element, dict)], path)
    elements = tuple(read_element(element, (*path, index)) for index, element in expressions)
    return Condition(path=path, exact=exact, elements=elements)


def _only(conditions: list[Condition], key: str) -> frozenset[str] | None:
    """Return all strings that attribute *key* can have in a match; None when the pattern leaves it open."""
    condition = next((condition for condition in conditions if condition.path == (key,)), None)
    if condition is None or condition.elements or condition.exact.null:
        return None
    return condition.exact.texts | condition.exact.numbers
