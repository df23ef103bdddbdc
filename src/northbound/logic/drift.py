"""Tell what of a callback is news: events, fields and types that no page lists, and bodies that share a signature.

All of it is decided from what came before in the same process; nothing here keeps an event from being stored.
"""

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import msgspec

from northbound.dialects.base import Dialect, HeaderSet
from northbound.model.alarm import AlarmKind
from northbound.model.event import Event, EventType

News = tuple[AlarmKind, str]

FIELDS_KNOWN = 2000  # types remembered for a source; fields beyond are not watched
EVENTS_LOOKED_AT = 20  # of one request
DEPTH = 4  # of nested objects
SETS_KNOWN = 1024  # header sets remembered for a source: a window of 300 s has one for each second
BODIES_KNOWN = 4096  # messages remembered under them
ONE_SECOND_LASTS = 5.0  # seconds in which requests of one second arrive, at the latest: the vendor's own deadline

_NAMES = {bool: "boolean", int: "number", float: "number", str: "text", dict: "object", list: "list"}


def news_of(event: Event, dialect: Dialect) -> Iterator[News]:
    """Yield what the pages of *dialect* do not list; nothing where they are no list (`Dialect.known` is empty)."""
    if not dialect.known:
        return
    if event.type is EventType.UNKNOWN:
        yield AlarmKind.UNKNOWN_EVENT, dialect.kind(event.vendor)
        return
    for word in event.unmapped:
        if word.rpartition(".")[2] not in dialect.known:
            yield AlarmKind.UNKNOWN_FIELD, word


class Types:
    """The JSON types of one source's fields as they came first, by kind of event: a field may differ between kinds."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], str] = {}

    def changed(self, kind: str, words: msgspec.Raw) -> Iterator[News]:
        """Yield each field of *words* whose type differs from its first."""
        for path, name in _typed(msgspec.json.decode(words), "", DEPTH):
            key = (kind, path)
            first = self._first.get(key)
            if first is None:
                if len(self._first) < FIELDS_KNOWN:
                    self._first[key] = name
            elif first != name:
                yield AlarmKind.CHANGED_TYPE, f"{kind}: {path} is {name}, was {first}"


def _typed(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            below = f"{path}.{name}" if path else str(name)
            if inner is not None:
                yield below, _NAMES[type(inner)]
            if depth and isinstance(inner, dict | list):
                yield from _typed(inner, below, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict):
                yield from _typed(inner, f"{path}[]", depth)


class Bodies:
    """What came under one source's header sets, where they do not cover the body (I3).

    Several messages of one second rightly share a set. Two bodies are an alarm when they claim to be one message, or
    when the second comes later than requests of that second do: then the set was captured and used again.
    """

    def __init__(self) -> None:
        self._sets: OrderedDict[str, float] = OrderedDict()  # when each came first
        self._bodies: OrderedDict[tuple[str, str], bytes] = OrderedDict()  # (set, message) -> digest

    def is_second(self, headers: HeaderSet, body: bytes, now: float) -> bool:
        """Tell whether *body* is another one under *headers*, at *now* in monotonic seconds."""
        digest = blake2b(body, digest_size=8).digest()
        key = (headers.id, headers.message or digest.hex())  # without an id none claims to be another
        known = self._bodies.get(key)
        if known is not None:
            return known != digest  # the same once more is a repeat
        since = self._sets.setdefault(headers.id, now)
        self._bodies[key] = digest
        _bound(self._bodies, BODIES_KNOWN)
        _bound(self._sets, SETS_KNOWN)
        return now - since > ONE_SECOND_LASTS


def _bound(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
