"""EventBridge's data plane at `/openapi/*`: how a call is read and signed, how it is answered (facts 2, 3.4, 8).

Every call is `POST /openapi/<camelCaseAction>`, `/openapi/v2/` for event sources, with JSON in Pascal-case keys; only
`putEvents` holds CloudEvents. `authorization: acs:<AccessKeyId>:<signature>` signs method, content type, date, the
`x-acs-` headers and the path. It covers the body only through `content-md5`, which the official clients do not send.
"""

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import msgspec

from northbound.dialects.base import read_json
from northbound.doors.bridge import BridgeError
from northbound.doors.rpc import SKEW, RpcError, read_pairs
from northbound.model.errors import DecodeError
from northbound.model.wire import Proof, Request, Response

BASE: Final = "/openapi/"
PUT_EVENTS: Final = "putEvents"
_AUTHORIZATION = re.compile(r"acs:([A-Za-z0-9._-]{1,128}):([A-Za-z0-9+/=]{1,128})")
_ACTION = re.compile(r"(?:v2/)?[A-Za-z][A-Za-z0-9]{0,63}")
One = TypeVar("One")
_ONCE: Final = frozenset({"authorization", "date", "content-type", "content-md5"})


class PlaneCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call as it was sent: `action` is the path behind `/openapi/`, so `v2/createEventSource` for event sources."""

    action: str
    access_key_id: str
    nonce: str
    date: datetime
    signature: str


def read_call(request: Request) -> PlaneCall:
    """Return the call that *request* makes; raise `RpcError` for what is no call. Nothing is verified yet."""
    action = path_of(request).removeprefix(BASE)
    if request.method != "POST" or not _ACTION.fullmatch(action):
        raise RpcError("InvalidApi.NotFound", "Specified api is not found; call POST /openapi/<action>.", 404)
    _refuse_repeated(request)
    given = request.header("authorization")
    found = _AUTHORIZATION.fullmatch(given or "")
    if found is None:
        raise RpcError("IncompleteSignature", "authorization is acs:<AccessKeyId>:<signature>; sign the call")
    if (_header(request, "x-acs-signature-method"), _header(request, "x-acs-signature-version")) != (
        "HMAC-SHA1",
        "1.0",
    ):
        raise RpcError("IncompleteSignature", "x-acs-signature-method is HMAC-SHA1 and x-acs-signature-version 1.0")
    return PlaneCall(
        action=action,
        access_key_id=found[1],
        nonce=_header(request, "x-acs-signature-nonce"),
        date=_date(_header(request, "date")),
        signature=found[2],
    )


def path_of(request: Request) -> str:
    """Return the path as it was sent, without the query."""
    return "/" + request.url.partition("?")[0].partition("://")[2].partition("/")[2]


def _refuse_repeated(request: Request) -> None:
    """Refuse a signed header that came twice: which of the two was signed could not be told."""
    seen: set[str] = set()
    for name, _ in request.headers:
        lower = name.lower()
        if lower in seen and (lower in _ONCE or lower.startswith("x-acs")):
            raise RpcError("IncompleteSignature", f"the header {lower[:64]} came twice; send it once")
        seen.add(lower)


def _header(request: Request, name: str) -> str:
    value = request.header(name)
    if not value:
        raise RpcError("MissingParameter", f"the header {name} is mandatory")
    return value


def _date(text: str) -> datetime:
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise RpcError("InvalidTimeStamp.Format", "date is written like Fri, 02 Jan 2026 03:04:05 GMT") from None


# --- signing ---------------------------------------------------------------------------------------------------------


def signature(request: Request, secret: bytes) -> str:
    """Return what follows the AccessKeyId in `authorization` (facts 2): HMAC-SHA1, base64."""
    signed = sorted((name.lower(), value) for name, value in request.headers if name.lower().startswith("x-acs"))
    lines = [request.method, *(request.header(name) or "" for name in ("content-md5", "content-type", "date"))]
    lines += [f"{name}:{value}" for name, value in signed]
    query = sorted(read_pairs(request.query.encode("latin-1", "replace")).items())  # signed as it was before encoding
    resource = path_of(request) + ("?" + "&".join(f"{name}={value}" for name, value in query) if query else "")
    text = "\n".join(lines).encode("latin-1", "replace") + b"\n" + resource.encode()  # headers are bytes as they came
    return b64encode(hmac.digest(secret, text, "sha1")).decode()


def check_time(call: PlaneCall, now: datetime) -> None:
    """Refuse a date more than 15 minutes away from *now*."""
    if abs(call.date - now) > SKEW:
        raise RpcError(
            "InvalidTimeStamp.Expired",
            f"the date is more than 15 minutes away from ours, {now:%Y-%m-%dT%H:%M:%SZ}; set the clock",
        )


def check_signature(request: Request, call: PlaneCall, secret: bytes) -> Proof:
    """Tell what the signature proves; raise `RpcError` when it is not made with *secret*."""
    if not hmac.compare_digest(signature(request, secret).encode(), call.signature.encode()):
        raise RpcError("SignatureDoesNotMatch", "the signature is not the one that this AccessKey's secret gives")
    given = request.header("content-md5")
    if not given:
        return Proof.SENDER
    digest = b64encode(hashlib.md5(request.body, usedforsecurity=False).digest()).decode()
    if not hmac.compare_digest(given.encode(), digest.encode()):
        raise RpcError("SignatureDoesNotMatch", "content-md5 is not the hash of the body that came")
    return Proof.FRESH


# --- reading and answering -------------------------------------------------------------------------------------------


class Given:
    """The parameters of one call, a JSON object. Unknown ones are ignored; empty and null ones count as left out."""

    def __init__(self, body: bytes) -> None:
        """Read *body*, which may be empty; raise `BridgeError` for what is no JSON object."""
        try:
            given = read_json(body) if body.strip() else {}
        except DecodeError as error:
            raise _not_json(error.message) from None
        if not isinstance(given, dict):
            raise _not_json("the body is a JSON object of the action's parameters")
        self.given: dict[str, Any] = {name: value for name, value in given.items() if value is not None}

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; without *default* it is mandatory."""
        value = self.given.get(name, "")
        if not isinstance(value, str):
            raise _not_json(f"{name} is a text")
        if not value and default is None:
            raise BridgeError(f"Missing{name}", f"{name} is mandatory for this action.", 400)
        return value or default or ""

    def text_if_given(self, name: str) -> str | None:
        """Return a text, None when it was left out."""
        return self.text(name) if self.given.get(name) else None

    def number(self, name: str, default: int) -> int:
        """Return a whole number, also one in text."""
        value = self.given.get(name, default)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not -(1 << 62) < value < 1 << 62:
            raise _not_json(f"{name} is a whole number")
        return value

    def texts(self, name: str, most: int) -> list[str]:
        """Return a list of at most *most* texts, which is mandatory."""
        value = self.given.get(name)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value) or len(value) > most:
            raise _not_json(f"{name} is a list of at most {most} texts")
        return value

    def struct(self, name: str, kind: type[One]) -> One | None:
        """Return a struct, None when it was left out."""
        try:
            return msgspec.convert(self.given[name], kind) if self.given.get(name) else None
        except msgspec.ValidationError as error:
            raise _not_json(f"{name}: {str(error)[:200]}") from None

    def listed(self, name: str, kind: type[One]) -> list[One]:
        """Return a list of structs; without one an empty list."""
        try:
            return msgspec.convert(self.given.get(name, []), list[kind])
        except msgspec.ValidationError as error:
            raise _not_json(f"{name}: {str(error)[:200]}") from None


def _not_json(what: str) -> BridgeError:
    return BridgeError("JsonAttributeInvalid", f"The Json attribute is invalid: {what}.")


def answer(request_id: str, account_id: str, content: Mapping[str, Any]) -> Response:
    """Write an action's answer: flat, in Pascal case."""
    return _response(200, {"RequestId": request_id, "ResourceOwnerAccountId": account_id, **content}, request_id)


def refusal(error: RpcError, request_id: str) -> Response:
    """Write a refusal in this plane's own shape, all in lower case."""
    return _response(error.status, {"code": error.code, "message": error.message, "requestId": request_id}, request_id)


def _response(status: int, words: Mapping[str, Any], request_id: str) -> Response:
    response = Response.json(status, words)
    return msgspec.structs.replace(response, headers=(*response.headers, ("x-acs-request-id", request_id)))
