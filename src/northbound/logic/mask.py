"""Mask the secrets of a request before anybody is shown it: by name, in place, whatever state the bytes are in.

Everything else stays as it was on the wire, so that what is shown is still what was sent.
"""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from msgspec.structs import replace

from northbound.model.wire import Request

MASK: Final = "***"
ALWAYS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
# What a receiver's own URL calls its secrets: no dialect knows them, and readers of a log guess as well as we do.
URL_SECRETS: Final = frozenset(
    "access_key access_token api-key api_key apikey auth auth_token client_secret key pass passwd password pwd secret "
    "sig sign signature token".split()
)

_INTAKE_TOKEN = re.compile(r"(/in/+[^/\s]+/+)[^/?#\s]+")
_USER_INFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*@")
_MARK: Final = "\xef\xbb\xbf"  # a UTF-8 byte-order mark, read as latin-1
_OPEN: Final = frozenset("{[")
_CLOSE: Final = frozenset("}]")
# A JSON string, which may lack its end where the bytes were cut short; a mark; or any other run of characters.
_PIECE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)


def masked(request: Request, secrets: frozenset[str]) -> Request:
    """Return *request* with the values of everything named in *secrets* (lower case) replaced by `***`.

    Names are looked for in headers, query, form fields and JSON members, also nested ones: too much hidden is better
    than too little. The token of an intake path, a URL's user-info and its parameters in `URL_SECRETS`, and credentials
    headers are always masked.
    """
    names = secrets | ALWAYS
    return replace(
        request,
        url=_mask_url(request.url, names | URL_SECRETS),
        headers=tuple(
            (name, MASK if name.strip().lower() in names else _mask_token(value)) for name, value in request.headers
        ),
        body=_mask_body(request.body, names),
    )


def mask_url(url: str) -> str:
    """Return a callback URL without what lets its bearer in: user-info, an intake's token, parameters named so."""
    return _mask_url(url, ALWAYS | URL_SECRETS)


def _mask_url(url: str, names: frozenset[str]) -> str:
    address, hash_mark, fragment = url.partition("#")
    path, question_mark, query = address.partition("?")
    path = _USER_INFO.sub(lambda match: f"{match[1] or ''}//{MASK}@", path)
    return _mask_path(path) + question_mark + _mask_params(query, names) + hash_mark + _mask_params(fragment, names)


def _mask_path(path: str) -> str:
    shown = _mask_token(path)
    if shown == path and _INTAKE_TOKEN.search(plain := unquote(path)):
        return _mask_token(plain)  # a server reads %2f and the like as what they stand for
    return shown


def _mask_token(text: str) -> str:
    return _INTAKE_TOKEN.sub(rf"\g<1>{MASK}", text)


def _mask_body(body: bytes, names: frozenset[str]) -> bytes:
    text = body.decode("latin-1")  # every byte survives the way there and back
    if text.removeprefix(_MARK).lstrip()[:1] in _OPEN:
        text = _mask_members(text, names)
        return _loose_members(names).sub(rf"\g<1>{MASK}", text).encode("latin-1")
    return _mask_params(text, names).encode("latin-1")


# --- parameters ------------------------------------------------------------------------------------------------------


def _mask_params(text: str, names: frozenset[str]) -> str:
    return "&".join(_mask_param(part, names) for part in text.split("&"))


def _mask_param(part: str, names: frozenset[str]) -> str:
    name, equals, _ = part.partition("=")
    plain = unquote_to_bytes(name.replace("+", " ")).decode(errors="replace").strip().lower()
    return f"{name}={MASK}" if equals and plain in names else part


# --- JSON ------------------------------------------------------------------------------------------------------------


def _mask_members(text: str, names: frozenset[str]) -> str:
    """Mask the values of members named in *names*, up to the comma or bracket that ends them."""
    shown: list[str] = []
    end = 0  # up to where *text* is in *shown*
    name = ""  # the last piece: a member's name when a colon follows
    hidden_at: int | None = None  # where the value being masked begins
    depth = 0  # brackets open inside that value
    for match in _PIECE.finditer(text):
        piece = match[0]
        if hidden_at is None:
            if piece == ":" and _plain(name) in names:
                hidden_at, depth = match.end(), 0
            name = piece
            continue
        if depth == 0 and (piece == "," or piece in _CLOSE):
            shown += [text[end:hidden_at], _masked_value(text[hidden_at : match.start()])]
            end, hidden_at = match.start(), None
        depth += (piece in _OPEN) - (piece in _CLOSE)
    if hidden_at is not None:
        shown += [text[end:hidden_at], _masked_value(text[hidden_at:])]
        end = len(text)
    return "".join((*shown, text[end:]))


def _masked_value(value: str) -> str:
    before = len(value) - len(value.lstrip())
    after = len(value.rstrip())
    return f'{value[:before]}"{MASK}"{value[max(before, after) :]}'


def _plain(piece: str) -> str:
    """Return a member's name without quotes and escapes, in lower case."""
    inner = piece.strip('"')
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else match[2], inner).strip().lower()


@lru_cache(maxsize=64)
def _loose_members(names: frozenset[str]) -> re.Pattern[str]:
    """Find members where quotes are missing, escaped or out of step: JSON in text, and what is no JSON after all."""
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    pattern = rf"""((?:["'\\]|[{{\[,]\s*)(?:{words})["'\\]*\s*:\s*["'\\]*)[^"'\\,{{}}\[\]&\r\n]+"""
    return re.compile(pattern, re.IGNORECASE)
