"""Read and write requests and events as people keep them in files: the vectors' way of writing, or a plain body."""

import sys
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from northbound.dialects.base import Dialect, Options, check_options
from northbound.model.errors import InvalidInput
from northbound.model.wire import Key, KeyKind, Request
from northbound.testing.vectors import WireRequest

FILE_MAX = 256 * 1024 * 1024
DEFAULT_URL = "http://hub.test/in"


def read_source(name: str) -> bytes:
    """Return the content of file *name*, or of standard input for `-`."""
    try:
        content = sys.stdin.buffer.read(FILE_MAX + 1) if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{name} cannot be read: {error.strerror}") from None
    if len(content) > FILE_MAX:
        raise InvalidInput(f"{name} is larger than {FILE_MAX} bytes; split it")
    if not content.strip():
        raise InvalidInput(f"{name} is empty; it must hold a request or a body")
    return content


def read_requests(content: bytes, url: str = DEFAULT_URL) -> list[Request]:
    """Return the requests in *content*: one, one a line, or else the body (a JSON body a line) of POSTs to *url*."""
    whole = _written(content)
    if whole is not None:
        return [whole]
    lines = [line for line in content.splitlines() if line.strip()]
    found = [_written(line) for line in lines]
    if found and all(found):
        return [one for one in found if one is not None]
    if len(lines) > 1 and all(map(_is_json, lines)) and not _is_json(content):
        return [_posted(line, url) for line in lines]
    return [_posted(content, url)]


def _posted(body: bytes, url: str) -> Request:
    label = "application/json" if body.lstrip()[:1] in (b"{", b"[") else "application/x-www-form-urlencoded"
    return Request(method="POST", url=url, headers=(("content-type", label),), body=body.strip())


def _is_json(content: bytes) -> bool:
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _written(content: bytes) -> Request | None:
    try:
        words: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not (isinstance(words, dict) and isinstance(words.get("method"), str) and isinstance(words.get("url"), str)):
        return None
    try:
        return msgspec.json.decode(content, type=WireRequest).request()
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidInput(
            f"this is not a request as vectors write it (method, url, headers, and body, json or body_base64): {error}"
        ) from None


def write_request(request: Request) -> dict[str, Any]:
    """Return *request* as vectors write it."""
    words: dict[str, Any] = {"method": request.method, "url": request.url, "headers": dict(request.headers)}
    if not request.body:
        return words
    try:
        compact = msgspec.json.format(request.body, indent=-1)
        if compact == request.body and request.body[:1] in (b"{", b"["):
            return words | {"json": msgspec.Raw(request.body)}
    except msgspec.DecodeError:
        pass
    try:
        return words | {"body": request.body.decode()}
    except UnicodeDecodeError:
        return words | {"body_base64": b64encode(request.body).decode()}


def read_options(dialect: Dialect, given: Sequence[str]) -> Options:
    """Return options written `name=value`, with the type that the dialect's option has."""
    known = {option.name: option for option in dialect.options}
    options: dict[str, Any] = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator:
            raise InvalidInput(f"an option is written name=value, not {one!r}", field="option")
        default = known[name].default if name in known else ""
        options[name] = _typed(name, value, default)
    check_options(dialect, options)
    return options


def _typed(name: str, value: str, default: str | int | bool) -> Any:
    if isinstance(default, bool):
        if value not in ("true", "false"):
            raise InvalidInput(f"option {name} is true or false", field="option")
        return value == "true"
    if isinstance(default, int):
        if not value.removeprefix("-").isdigit():
            raise InvalidInput(f"option {name} is a whole number", field="option")
        return int(value)
    return value


def read_keys(
    secret: str | None, *, token: str | None = None, rsa_key: Path | None = None, certificate_url: str | None = None
) -> tuple[Key, ...]:
    """Return the keys that the usual options name."""
    keys: list[Key] = []
    if rsa_key is not None:
        keys.append(Key(kind=KeyKind.RSA, secret=read_source(str(rsa_key)), url=certificate_url))
    if secret is not None:
        keys.append(Key(secret=secret.encode()))
    if token is not None:
        keys.append(Key(kind=KeyKind.TOKEN, secret=token.encode()))
    return tuple(keys)
