"""Write the OpenAPI 3.1 document of the table; `python -m northbound.web.openapi` prints it for tests/web."""

import json
import re
import sys
from typing import Any

import msgspec

import northbound
from northbound.web.operations import OPERATIONS, Operation, Role
from northbound.web.problems import MEDIA_TYPE, STATUSES
from northbound.web.shapes.pages import Nothing, Problem

ALWAYS = ("invalid", "unauthorized", "forbidden", "too_many_tries", "overloaded", "store_failed")
CONTENT_LIMIT = "A body holds at most 1 MiB of JSON."

_PLACES = re.compile(r"\{([a-z]+)\}")
_STATUS_OF = {kind.code: status for kind, (status, _) in STATUSES.items()} | {"pattern": 422}


def document() -> dict[str, Any]:
    """Return the document as JSON values, in a fixed order."""
    structs = [one for operation in OPERATIONS for one in _types(operation)]
    unique = list(dict.fromkeys([*structs, Problem]))
    schemas, components = msgspec.json.schema_components(unique, ref_template="#/components/schemas/{name}")
    refs = dict(zip(unique, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, refs, components)
    queries = {one.__name__ for operation in OPERATIONS for one in (operation.query,)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "northbound",
            "version": northbound.__version__,
            "description": "The event hub for real-time audio/video rooms. Lists page by cursor; POSTs that create "
            "honour Idempotency-Key; changes need If-Match. " + CONTENT_LIMIT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {name: one for name, one in sorted(components.items()) if name not in queries},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "nb_..."}},
        },
    }


def _types(operation: Operation) -> list[Any]:
    return [one for one in (operation.query, operation.body, operation.answer) if one is not None]


def _described(operation: Operation, refs: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    words: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.en,
        "x-summary-zh": operation.zh,
        "x-role": operation.role.value,
    }
    parameters = [*_path_parameters(operation), *_query_parameters(operation, components), *_headers(operation)]
    if parameters:
        words["parameters"] = parameters
    if operation.body is not None:
        words["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": refs[operation.body]}},
        }
    words["responses"] = _responses(operation, refs)
    if operation.role is not Role.OPEN:
        words["security"] = [{"key": []}]
    return words


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PLACES.findall(operation.path)
    ]


def _query_parameters(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    if operation.query is Nothing:
        return []
    schema = components[operation.query.__name__]
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": one}
        for name, one in schema["properties"].items()
    ]


def _headers(operation: Operation) -> list[dict[str, Any]]:
    text = {"type": "string"}
    found: list[dict[str, Any]] = []
    if operation.method == "POST":
        found.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": text})
    if operation.method in {"PUT", "PATCH", "DELETE"} and operation.id != "delete_key":
        found.append({"name": "If-Match", "in": "header", "required": operation.is_conditional, "schema": text})
    return found


def _responses(operation: Operation, refs: dict[Any, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": operation.en}
    if operation.answer is not None:
        good["content"] = {"application/json": {"schema": refs[operation.answer]}}
    elif operation.media_type is not None:
        good["content"] = {operation.media_type: {}}
    found = {str(operation.status): good}
    if operation.role is Role.OPEN:
        return found
    codes = (*ALWAYS, *operation.errors, *(("malformed", "too_large") if operation.body is not None else ()))
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(_STATUS_OF[code], []).append(code)
    for status, names in sorted(by_status.items()):
        found[str(status)] = {
            "description": f"code: {', '.join(names)}",
            "content": {MEDIA_TYPE: {"schema": refs[Problem]}},
        }
    return found


def text() -> str:
    """Return the document as the golden file holds it."""
    return json.dumps(document(), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
