"""Make a target's body of a whole event: as it is, one value of it, a fixed text, or a text with variables (facts 3.4).

Nothing here can loop, read or call: a path is a row of names and numbers, a template is filled once from left to
right. What is outside is refused when it is saved; what cannot be done with one event is an error with its reason (T5,
D19), never a shortened body.
"""

import re
from typing import Any, Final

import msgspec

from northbound.model.app import Body, BodyForm
from northbound.model.errors import InvalidInput
from northbound.model.wire import Request

VALUE_LONGEST: Final = 10_240  # characters of a value and of a template, as documented
STEPS_MOST: Final = 16  # of one path; no vendor's event comes near
VARIABLES_MOST: Final = 100
RESULT_MOST: Final = 1_048_576  # bytes of a body: a small template can name a large value many times
JSON_TYPE: Final = "application/json; charset=utf-8"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
_MISSING: Final = object()
_STEP = re.compile(
    r"\.(?P<name>[A-Za-z0-9_-]{1,128})"
    r"|\[(?P<index>0|[1-9][0-9]{0,5})\]"
    r"|\['(?P<single>[^'\\\x00-\x1f]{1,128})'\]"
    r'|\["(?P<double>[^"\\\x00-\x1f]{1,128})"\]'
)
_VARIABLE = re.compile(r"\$\{([^${}]{1,128})\}")
Path = tuple[str | int, ...]


class Shaped(msgspec.Struct, frozen=True, kw_only=True):
    """A body as it is sent, and its content type; None: the one that the dialect wrote."""

    body: bytes
    content_type: str | None = None


def check_body(body: Body) -> None:
    """Refuse a body that could not be made for any event, with its reason; raise `InvalidInput`."""
    for name, text in (("Value", body.value), ("Template", body.template)):
        if len(text) > VALUE_LONGEST:
            raise InvalidInput(f"{name} has more than {VALUE_LONGEST} characters", field=name)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InvalidInput(f"{name} holds half of a character", field=name)
    if body.form is BodyForm.JSONPATH:
        read_path(body.value)
    if body.form is BodyForm.TEMPLATE:
        if not body.template:
            raise InvalidInput("a TEMPLATE needs its Template, a text such as 'room ${room}'", field="Template")
        _variables(body.value)


def reshaped(request: Request, body: Body) -> Request:
    """Return *request* with the body that its target asked for, before it is signed; raise `InvalidInput`."""
    if body.form is BodyForm.ORIGINAL:
        return request
    made = shaped(request.body, body)
    request = msgspec.structs.replace(request, body=made.body)
    return request if made.content_type is None else request.adding(("content-type", made.content_type))


def shaped(content: bytes, body: Body) -> Shaped:
    """Return what is sent of *content*, one whole event in JSON; raise `InvalidInput` with the reason."""
    match body.form:
        case BodyForm.ORIGINAL:
            return Shaped(body=content)
        case BodyForm.CONSTANT:
            return _told(body.value)
        case BodyForm.JSONPATH:
            value = found(_event(content), read_path(body.value))
            if value is _MISSING:
                raise InvalidInput(f"the body cannot be made: the event has nothing at {body.value[:128]}")
            return _told(_text(value))
        case BodyForm.TEMPLATE:
            return _told(_filled(body.template, _variables(body.value), _event(content)))


def read_path(text: str) -> Path:
    """Read a path of the documented kind: `$`, then `.name`, `['name']` and `[0]`; raise `InvalidInput` for others."""
    if not text.startswith("$"):
        raise InvalidInput("a JSONPATH begins with $, as in $.data.name", field="Value")
    steps: list[str | int] = []
    place = 1
    while place < len(text):
        step = _STEP.match(text, place)
        if step is None or len(steps) == STEPS_MOST:
            raise InvalidInput(
                f"the JSONPATH is refused at character {place + 1}: it has at most {STEPS_MOST} steps, each .name, "
                "['name'] or [0]; wildcards, filters, slices and .. are not taken",
                field="Value",
            )
        name = step["name"] or step["single"] or step["double"]
        steps.append(int(step["index"]) if name is None else name)
        place = step.end()
    return tuple(steps)


def found(event: Any, path: Path) -> Any:
    """Return the value at *path*, or a mark for nothing; `data` that is JSON in text is looked into (ruling 12)."""
    value: Any = event
    for depth, step in enumerate(path):
        if depth == 1 and path[0] == "data" and isinstance(value, str):
            value = _opened(value)
        fits = isinstance(value, dict) if isinstance(step, str) else isinstance(value, list)
        if not fits or (step not in value if isinstance(step, str) else step >= len(value)):
            return _MISSING
        value = value[step]
    return value


def _opened(text: str) -> Any:
    try:
        return msgspec.json.decode(text) if text.lstrip()[:1] in ("{", "[") else text
    except (msgspec.DecodeError, ValueError, RecursionError):
        return text


def _event(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise InvalidInput("the body cannot be made: what the dialect wrote is no JSON") from None


def _variables(text: str) -> dict[str, Path | str]:
    """Read a template's variables: a path where the value begins with `$`, else a constant."""
    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or len(given) > VARIABLES_MOST:
        wanted = f'a JSON object of at most {VARIABLES_MOST} variables, such as {{"room": "$.data.meetingName"}}'
        raise InvalidInput(f"a TEMPLATE's Value is {wanted}", field="Value")
    return {
        name: read_path(value) if isinstance(value, str) and value.startswith("$") else _text(value)
        for name, value in given.items()
    }


def _filled(template: str, variables: dict[str, Path | str], event: Any) -> str:
    """Fill a template once: what is put in is not looked at again, and a variable without a value stays as it is."""
    values: dict[str, str] = {}
    for name, said in variables.items():
        value = said if isinstance(said, str) else found(event, said)
        if value is not _MISSING:
            values[name] = _text(value)
    size = len(template) + sum(len(values.get(one[1], "")) for one in _VARIABLE.finditer(template))
    if size > RESULT_MOST:
        raise InvalidInput(f"the body cannot be made: the filled template has more than {RESULT_MOST} bytes")
    return _VARIABLE.sub(lambda one: values.get(one[1], one[0]), template)


def _text(value: Any) -> str:
    """Return text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _told(text: str) -> Shaped:
    body = text.encode()
    if len(body) > RESULT_MOST:
        raise InvalidInput(f"the body cannot be made: it has more than {RESULT_MOST} bytes")
    return Shaped(body=body, content_type=JSON_TYPE if _is_json(text) else TEXT_TYPE)


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return True
