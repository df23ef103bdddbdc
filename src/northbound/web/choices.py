"""Find the values that a member of a body or query takes, where a shape lists them: a refusal should name them."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

_PART = re.compile(r"\[[^\]]*\]|[^.\[]+")
_TYPES = lru_cache(maxsize=256)(msgspec.inspect.type_info)  # as many as there are shapes, and more


def choices(kind: Any, place: str) -> tuple[str, ...]:
    """Return the values that *place* of a *kind* takes, in the order they are declared; none when it has no list.

    *place* is msgspec's: members with dots between, an item of a list or of an object in brackets.
    """
    nodes = list(_plain(_TYPES(kind)))
    for part in _PART.findall(place):
        nodes = [one for node in nodes for inner in _inside(node, part) for one in _plain(inner)]
    found: dict[str, None] = {}
    for node in nodes:
        if isinstance(node, msgspec.inspect.EnumType):
            found |= dict.fromkeys(str(one.value) for one in node.cls)
        elif isinstance(node, msgspec.inspect.LiteralType):
            found |= dict.fromkeys(str(one) for one in node.values)
    return tuple(found)


def _plain(node: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    """Yield what *node* may be, without what is only said about it."""
    if isinstance(node, msgspec.inspect.UnionType):
        for one in node.types:
            yield from _plain(one)
    elif isinstance(node, msgspec.inspect.Metadata):
        yield from _plain(node.type)
    else:
        yield node


def _inside(node: msgspec.inspect.Type, part: str) -> Iterator[msgspec.inspect.Type]:
    if isinstance(node, msgspec.inspect.StructType):
        yield from (field.type for field in node.fields if field.encode_name == part)
    elif isinstance(node, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        yield node.item_type
    elif isinstance(node, msgspec.inspect.DictType):
        yield node.value_type
