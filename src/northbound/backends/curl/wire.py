"""What goes to and comes from libcurl as bytes: header lines, the origin of a URL, the headers of an answer."""

import re
from functools import lru_cache
from typing import Final

from northbound.model.errors import InvalidInput
from northbound.model.wire import Headers, Request

METHODS: Final = frozenset("GET POST PUT PATCH DELETE".split())
# The connection is ours: a request that names its framing could smuggle a second one past the guard (D18).
RESERVED: Final = frozenset(
    "connection content-length expect host keep-alive proxy-authorization proxy-connection te trailer "
    "transfer-encoding upgrade".split()
)
# libcurl would announce a form for every body and ask before sending a long one.
SILENCED: Final = "Expect:"
SILENCED_TYPE: Final = "Content-Type:"
KNOWN_LINES: Final = 1_024  # answers of one endpoint repeat their lines; kept decoded, forgotten together
KNOWN_LENGTH: Final = 256  # a longer line is not worth keeping

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PLAIN_URL = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
_ORIGIN = re.compile(r"[A-Za-z]+://[^/?#]*")


def is_plain(url: str) -> bool:
    """Tell whether *url* is printable ASCII throughout, without spaces and backslashes."""
    return _PLAIN_URL.fullmatch(url) is not None


def origin_of(url: str) -> str:
    """Return scheme and authority of *url*, or all of it when it has none."""
    match = _ORIGIN.match(url)
    return url if match is None else match[0]


def header_lines(request: Request) -> list[str | bytes]:
    """Return the header lines of *request* for libcurl; raise `InvalidInput` for one that cannot be sent safely."""
    if request.method not in METHODS:
        raise InvalidInput(f"method {request.method[:20]!r} is not one of {', '.join(sorted(METHODS))}", field="method")
    lines: list[str | bytes] = [SILENCED]
    has_type = False
    for name, value in request.headers:
        if _check_name(name) == "content-type":
            has_type = True
        if value.isascii() and value.isprintable() and value:
            lines.append(f"{name}: {value}")
        else:
            lines.append(_unusual_line(name, value))
    if not has_type:
        lines.append(SILENCED_TYPE)
    return lines


@lru_cache(maxsize=1_024)
def _check_name(name: str) -> str:
    """Return *name* in lower case if it may be sent; the same few names come again and again."""
    if _NAME.fullmatch(name) is None:
        raise InvalidInput(f"header name {name[:40]!r} holds a character that no header name may", field="headers")
    lowered = name.lower()
    if lowered in RESERVED:
        raise InvalidInput(f"header {name!r} belongs to the connection and cannot be set", field="headers")
    return lowered


def _unusual_line(name: str, value: str) -> bytes:
    if _VALUE.fullmatch(value) is None:
        # The value may be a secret: it is not shown.
        raise InvalidInput(
            f"the value of header {name!r} holds a line break, a control character or a character beyond latin-1",
            field="headers",
        )
    # "Name:" would remove a header; a semicolon is libcurl's way to send an empty one.
    return (f"{name}: {value}" if value.strip() else f"{name};").encode("latin-1")


class HeaderReader:
    """Turns the header lines of an answer into pairs, remembering the lines that come again and again."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[str, str]] = {}

    def read(self, lines: list[bytes]) -> Headers:
        """Return the headers of the final answer; interim answers before it and trailers after it are left out."""
        pairs: list[tuple[str, str]] = []
        is_interim = False
        is_start = True
        for line in lines:
            if is_start:
                is_interim = line[9:10] == b"1"
                is_start = False
            elif line in {b"\r\n", b"\n"}:
                if not is_interim:
                    break
                is_start = True
            elif not is_interim:
                pairs.append(self._known.get(line) or self._split(line))
        return tuple(pairs)

    def _split(self, line: bytes) -> tuple[str, str]:
        name, _, value = line.decode("latin-1").partition(":")
        pair = (name.strip(), value.strip())
        if len(self._known) >= KNOWN_LINES:
            self._known.clear()
        if len(line) <= KNOWN_LENGTH:
            self._known[line] = pair
        return pair
