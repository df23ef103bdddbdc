"""Make the schema of vector files from the structs that read them: `python tests/vector_schema.py` writes it anew."""

import sys
from typing import Any

import msgspec

from northbound.testing.vectors import ORIGINS, VectorFile, vector_folder

PATH = vector_folder() / "vector.schema.json"
ANYTHING = Any | msgspec.UnsetType  # a member of any JSON type that may be left out

# What an editor shows beside a member; a member that is missing here fails the test.
SAYS: dict[str, dict[str, str]] = {
    "VectorFile": {
        "dialect": "Name of the dialect, the same as the folder's.",
        "notes": "Every flag used below, explained once.",
        "cases": "The vectors of this file.",
        "$schema": "This schema, for editors.",
    },
    "Case": {
        "name": "What the case is, unique within its file.",
        "flags": "How sure we are: documented, captured or derived, and any further flag that the notes explain.",
        "secret": "A shared test secret that verifies, and signs what is sent again.",
        "keys": "Further test keys that verify.",
        "send_keys": "Keys that sign what is sent again, where they differ from those that verify (certificates).",
        "options": "Options of the dialect, for reading and for writing.",
        "now": "The time at which the case happens; only signatures look at it.",
        "request": "A whole request that is read, and sent again. Give either this or an event.",
        "result": "Whether the request is taken.",
        "error": "Code of the error when the result is invalid.",
        "proof": "What the signature proves.",
        "events": "The events that the request holds; without the member `vendor` its words are not compared.",
        "ack": "The answer that the vendor gets.",
        "resend": "False for a form that is read and never sent: laws 3 to 5 are skipped.",
        "event": "An event of another dialect, to be said in this wire.",
        "fill": "What the hub knows beside the event: session ids, sequence numbers, names.",
        "url": "URL of the endpoint that an event is said to.",
        "method": "Method of the endpoint that an event is said to.",
        "sends": "The requests that the event becomes, whole; only the headers named are compared.",
        "lost": "Fields of the event that this wire has no word for, or why it does not say the event at all.",
        "invented": "Words that this wire requires and the event does not hold.",
    },
    "WireRequest": {
        "method": "GET or POST.",
        "url": "The absolute URL as the sender was told to call it.",
        "headers": "Header fields, one value each.",
        "body": "The body as text.",
        "json": "The body as JSON; it is written compactly, members in this order.",
        "body_base64": "The body as bytes, base64.",
    },
    "WireKey": {
        "secret": "Text of a test key; a PEM for rsa and certificate. Never a real key.",
        "kind": "What the secret is.",
        "url": "Where the matching certificate is published.",
    },
    "Ack": {
        "status": "HTTP status.",
        "json": "The body as JSON: member order and number text count.",
        "text": "The body as text.",
    },
}
NARROWED: dict[tuple[str, str], dict[str, Any]] = {
    ("Case", "result"): {"enum": ["valid", "invalid"]},
    ("Case", "error"): {"enum": ["signature", "malformed", None]},
    ("Case", "flags"): {"contains": {"enum": sorted(ORIGINS)}},
}


def make_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a vector file."""
    mirrors: dict[type, type] = {}
    (root,), components = msgspec.json.schema_components([_mirror(VectorFile, mirrors)], ref_template="#/$defs/{name}")
    for owner, component in components.items():
        if "properties" not in component:  # an enumeration: its docstring says what it is
            component["description"] = " ".join(component["description"].split())
            continue
        component.pop("title", None)
        component["properties"] = {
            name: {"description": SAYS[owner][name]} | member | NARROWED.get((owner, name), {})
            for name, member in component["properties"].items()
        }
    components["Case"]["oneOf"] = [{"required": ["request"]}, {"required": ["event"]}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A file of northbound's wire vectors",
        **root,
        "$defs": components,
    }


def schema_text() -> str:
    """Return the schema as it is stored."""
    return msgspec.json.format(msgspec.json.encode(make_schema(), order=None), indent=2).decode() + "\n"


def _mirror(struct: type[Any], mirrors: dict[type, type]) -> type:
    """Return *struct* with raw JSON members as anything: msgspec has no schema for the former."""
    if struct not in mirrors:
        fields: list[Any] = []
        for field in msgspec.structs.fields(struct):
            kind: Any = _mirrored(field.type, mirrors)
            if field.type is msgspec.Raw:
                fields.append((field.name, kind, msgspec.field(default=msgspec.UNSET, name=field.encode_name)))
            elif field.default is not msgspec.NODEFAULT:
                fields.append((field.name, kind, msgspec.field(default=field.default, name=field.encode_name)))
            elif field.default_factory is not msgspec.NODEFAULT:
                factory = msgspec.field(default_factory=field.default_factory, name=field.encode_name)
                fields.append((field.name, kind, factory))
            else:
                fields.append((field.name, kind))
        mirrors[struct] = msgspec.defstruct(struct.__name__, fields, kw_only=True, forbid_unknown_fields=True)
    return mirrors[struct]


def _mirrored(kind: Any, mirrors: dict[type, type]) -> Any:
    if kind is msgspec.Raw:
        return ANYTHING
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _mirror(kind, mirrors)
    origin, arguments = getattr(kind, "__origin__", None), getattr(kind, "__args__", ())
    if origin is list:
        return list[_mirrored(arguments[0], mirrors)]  # type: ignore[misc]
    members = [one for one in arguments if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    return _mirror(members[0], mirrors) | None if origin is None and members else kind


def main() -> None:
    """Write the schema anew."""
    PATH.write_text(schema_text())
    sys.stdout.write(f"{PATH.name} is up to date\n")


if __name__ == "__main__":
    main()
