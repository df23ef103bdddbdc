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
from typing import Any, Final

import msgspec

from northbound.dialects.base import read_json
from northbound.doors.rpc import SKEW, RpcError, read_pairs
from northbound.model.errors import DecodeError
from northbound.model.wire import Proof, Request, Response

BASE: Final = "/openapi/"
PUT_EVENTS: Final = "putEvents"
_AUTHORIZATION = re.compile(r"acs:([A-Za-z0-9._-]{1,128}):([A-Za-z0-9+/=]{1,128})")
_ACTION = re.compile(r"(?:v2/)?[A-Za-z][A-Za-z0-9]{0,63}")
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


def read_parameters(body: bytes) -> dict[str, Any]:
    """Return the parameters of any action but `putEvents`: a JSON object, or nothing at all."""
    if not body.strip():
        return {}
    try:
        given = read_json(body)
    except DecodeError as error:
        raise RpcError("JsonAttributeInvalid", error.message, 409) from None
    if not isinstance(given, dict):
        raise RpcError("JsonAttributeInvalid", "the body is a JSON object of the action's parameters", 409)
    return {name: value for name, value in given.items() if value is not None}


def answer(request_id: str, account_id: str, content: Mapping[str, Any]) -> Response:
    """Write an action's answer: flat, in Pascal case."""
    return _response(200, {"RequestId": request_id, "ResourceOwnerAccountId": account_id, **content}, request_id)


def refusal(error: RpcError, request_id: str) -> Response:
    """Write a refusal in this plane's own shape, all in lower case."""
    return _response(error.status, {"code": error.code, "message": error.message, "requestId": request_id}, request_id)


def _response(status: int, words: Mapping[str, Any], request_id: str) -> Response:
    response = Response.json(status, words)
    return msgspec.structs.replace(response, headers=(*response.headers, ("x-acs-request-id", request_id)))
