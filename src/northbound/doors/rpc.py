"""Aliyun's RPC style: how a call is read, how it is signed, how it is answered (facts 1.7, 1.9, 1.10).

A call names its action by the parameter `Action` (V1, signed in the query: HMAC-SHA1 over all parameters) or by the
header `x-acs-action` (V3: ACS3-HMAC-SHA256 over method, query, signed headers and the body's hash). Parameters come in
the query, in a form body, or in both. Where the pages disagree, the choice is said in docs/vendors/aliyun_rtc.md.
"""

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from urllib.parse import quote, unquote_to_bytes

import msgspec

from northbound.model.wire import Request, Response

SKEW: Final = timedelta(minutes=15)  # documented; a nonce is remembered until its call's time is so far behind
PARAMETERS_MOST: Final = 1_000  # names in one call; the longest documented list has 64
NAME_LONGEST: Final = 128
VALUE_LONGEST: Final = 256 * 1024  # a rule's targets and a bus's events are JSON in one parameter
LONG_VALUES: Final = {"EventList": 1024 * 1024}  # a batch of events, as large as a bus takes one
TEXT_SHOWN: Final = 8 * 1024  # characters of a string to sign
V3: Final = "ACS3-HMAC-SHA256"
FORM: Final = "application/x-www-form-urlencoded"
# Parameters of the call itself; whatever else is there belongs to the action.
COMMON: Final = frozenset(
    "Action Version Format AccessKeyId Signature SignatureMethod SignatureVersion SignatureNonce SignatureType "
    "Timestamp SecurityToken RegionId OwnerId OwnerAccount ResourceOwnerId ResourceOwnerAccount".split()
)
_BROKEN_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_XML_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_XML_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class RpcError(Exception):
    """A call that is refused: the documented code, its HTTP status, and a sentence that says what to do.

    `more` are members that a product's refusals have beside the common ones.
    """

    more: ClassVar[dict[str, Any]] = {}

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class RpcCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call as it was sent. `parameters` are the action's own, decoded; `signed` all that V1 signs."""

    action: str
    version: str
    access_key_id: str
    nonce: str
    stamp: str
    signature: str
    is_v3: bool
    parameters: dict[str, str]
    wants_xml: bool = False
    region: str = ""


# --- reading ---------------------------------------------------------------------------------------------------------


def is_call(request: Request) -> bool:
    """Tell whether a request to `/` is a call rather than a person's browser."""
    if request.header("x-acs-action") is not None:
        return True
    found = request.query
    if request.content_type == FORM:
        found += "&" + request.body[:VALUE_LONGEST].decode("latin-1")
    return re.search(r"(?:^|&)(?:Action|Signature|AccessKeyId)=", found) is not None


def read_call(request: Request) -> RpcCall:
    """Return the call that *request* makes; raise `RpcError` for what is no call. Nothing is verified yet."""
    query = read_pairs(request.query.encode("latin-1", "replace"))
    form = read_pairs(request.body) if request.content_type == FORM else {}
    twice = next((name for name in form if name in query), None)
    if twice is not None:
        raise RpcError("InvalidParameter", f"{_shown(twice)} is given twice; send each parameter once")
    everything = query | form
    authorization = request.header("authorization") or ""
    if authorization.startswith(V3) or (request.header("x-acs-action") is not None and "Signature" not in everything):
        return _read_v3(request, authorization, everything)
    wanted = everything.get("Format", "XML").upper()
    if wanted not in {"JSON", "XML"}:
        raise RpcError("UnsupportedParameter", "Format is JSON or XML")
    return RpcCall(
        action=_needed(everything, "Action"),
        version=_needed(everything, "Version"),
        access_key_id=_needed(everything, "AccessKeyId"),
        nonce=_needed(everything, "SignatureNonce"),
        stamp=_needed(everything, "Timestamp"),
        signature=_needed(everything, "Signature"),
        is_v3=False,
        parameters={name: value for name, value in everything.items() if name not in COMMON},
        wants_xml=wanted == "XML",
        region=everything.get("RegionId", ""),
    )


def wants_xml(request: Request) -> bool:
    """Tell how to answer a call that could not be read: XML is the classic rule where no Format is given."""
    if request.header("x-acs-action") is not None and (request.header("authorization") or "").startswith(V3):
        return False
    text = request.query + "&" + request.body[:VALUE_LONGEST].decode("latin-1")
    return re.search(r"(?i)(?:^|&)Format=json(?:&|$)", text) is None


def _read_v3(request: Request, authorization: str, everything: dict[str, str]) -> RpcCall:
    parts = _authorization(authorization)
    return RpcCall(
        action=request.header("x-acs-action") or "",
        version=_header(request, "x-acs-version"),
        access_key_id=parts["Credential"],
        nonce=_header(request, "x-acs-signature-nonce"),
        stamp=_header(request, "x-acs-date"),
        signature=parts["Signature"],
        is_v3=True,
        parameters={name: value for name, value in everything.items() if name not in COMMON},
        region=everything.get("RegionId", ""),
    )


def _authorization(header: str) -> dict[str, str]:
    """Return Credential, SignedHeaders and Signature of a V3 Authorization header."""
    pairs = (part.strip().partition("=") for part in header.removeprefix(V3).split(","))
    found = {name: value for name, _, value in pairs}
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not found.get(name):
            raise RpcError("IncompleteSignature", f"Authorization needs {V3} with {name}")
    return found


def _header(request: Request, name: str) -> str:
    value = request.header(name)
    if not value:
        raise RpcError("MissingParameter", f"the header {name} is mandatory")
    return value


def _needed(parameters: Mapping[str, str], name: str) -> str:
    value = parameters.get(name)
    if not value:
        raise RpcError(f"Missing{name}", f"{name} is mandatory for this action.")
    return value


def read_pairs(content: bytes) -> dict[str, str]:
    """Return the parameters of a query or form; raise `RpcError` for a broken, repeated or endless one."""
    parts = [part for part in content.split(b"&") if part]
    if len(parts) > PARAMETERS_MOST:
        raise RpcError("InvalidParameter", f"there are more than {PARAMETERS_MOST} parameters")
    found: dict[str, str] = {}
    for part in parts:
        raw_name, _, raw_value = part.partition(b"=")
        name, value = _decoded(raw_name), _decoded(raw_value)
        if len(name) > NAME_LONGEST or len(value) > LONG_VALUES.get(name, VALUE_LONGEST):
            raise RpcError("InvalidParameter", f"{_shown(name)} is too long")
        if name in found:
            raise RpcError("InvalidParameter", f"{_shown(name)} is given twice; send each parameter once")
        found[name] = value
    return found


def _decoded(content: bytes) -> str:
    """Decode one name or value: a plus is a space, as the SDKs write it (facts 1.9)."""
    if _BROKEN_PERCENT.search(content):
        raise RpcError("InvalidParameter", "a percent sign is not followed by two hex digits")
    try:
        return unquote_to_bytes(content.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise RpcError("InvalidParameter", "a parameter is not UTF-8") from None


def _shown(name: str) -> str:
    return name if len(name) <= 64 and _NAME.fullmatch(name) else "a parameter"


# --- signing ---------------------------------------------------------------------------------------------------------


def encoded(text: str) -> str:
    """Percent-encode as both signatures do: RFC 3986, a space is %20, `~` stays."""
    return quote(text, safe="-_.~")


def v1_text(method: str, parameters: Mapping[str, str]) -> str:
    """Return the string to sign: all *parameters* but the signature itself (facts 1.9)."""
    pairs = sorted((name, value) for name, value in parameters.items() if name != "Signature")
    canonical = "&".join(f"{encoded(name)}={encoded(value)}" for name, value in pairs)
    return f"{method}&%2F&{encoded(canonical)}"


def v1_signature(method: str, parameters: Mapping[str, str], secret: bytes) -> str:
    """Return `Signature` over all *parameters* but itself."""
    return b64encode(hmac.digest(secret + b"&", v1_text(method, parameters).encode(), "sha1")).decode()


def v3_signature(request: Request, names: Iterable[str], secret: bytes) -> str:
    """Return the signature over *request* with the headers *names*, in lower case and in order (facts 1.10)."""
    path = request.url.partition("?")[0].partition("://")[2].partition("/")[2]
    query = sorted(read_pairs(request.query.encode("latin-1", "replace")).items())
    headers = "".join(f"{name}:{(request.header(name) or '').strip()}\n" for name in names)
    canonical = "\n".join(
        (
            request.method,
            "/" + path,
            "&".join(f"{encoded(name)}={encoded(value)}" for name, value in query),
            headers,
            ";".join(names),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    text = f"{V3}\n{hashlib.sha256(canonical.encode('latin-1', 'replace')).hexdigest()}"
    return hmac.digest(secret, text.encode(), "sha256").hex()


def check_time(call: RpcCall, now: datetime) -> datetime:
    """Return when the call was signed; refuse a time that is none, or more than 15 minutes away from *now*."""
    try:
        moment = datetime.strptime(call.stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise RpcError("InvalidTimeStamp.Format", "the time is written like 2026-01-02T03:04:05Z, in UTC") from None
    if abs(moment - now) > SKEW:
        raise RpcError(
            "InvalidTimeStamp.Expired",
            f"the time {call.stamp} is more than 15 minutes away from ours, {now:%Y-%m-%dT%H:%M:%SZ}; set the clock",
        )
    return moment


def check_signature(request: Request, call: RpcCall, secret: bytes) -> None:
    """Refuse a call that is not signed with *secret*; nothing of the secret is said."""
    refused = RpcError("SignatureDoesNotMatch", "the signature is not the one that this AccessKey's secret gives")
    if not call.is_v3:
        form = read_pairs(request.body) if request.content_type == FORM else {}
        everything = read_pairs(request.query.encode("latin-1", "replace")) | form
        if everything.get("SignatureMethod", "").upper() != "HMAC-SHA1" or everything.get("SignatureVersion") != "1.0":
            raise RpcError("IncompleteSignature", "SignatureMethod is HMAC-SHA1 and SignatureVersion 1.0")
        expected = v1_signature(request.method, everything, secret)
        if not hmac.compare_digest(expected.encode(), call.signature.encode()):
            # The older clients compare what follows the colon with theirs, to tell a wrong secret from a wrong text.
            text = v1_text(request.method, everything)[:TEXT_SHOWN]
            raise RpcError("SignatureDoesNotMatch", f"{refused.message}; server string to sign is:{text}")
        return
    names = _authorization(request.header("authorization") or "")["SignedHeaders"].split(";")
    if names != sorted({name.lower() for name in names}):
        raise RpcError("IncompleteSignature", "SignedHeaders are in lower case, in order, each once")
    sent = {name.lower() for name, _ in request.headers if name.lower().startswith("x-acs-")}
    if not {"host", *sent} <= set(names):
        raise RpcError("IncompleteSignature", "SignedHeaders must hold host and every x-acs- header that is sent")
    if request.header("x-acs-content-sha256") != hashlib.sha256(request.body).hexdigest():
        raise RpcError("SignatureDoesNotMatch", "x-acs-content-sha256 is not the hash of the body that came")
    expected = v3_signature(request, names, secret)
    if not hmac.compare_digest(expected.encode(), call.signature.lower().encode()):
        raise refused


# --- answering -------------------------------------------------------------------------------------------------------


def answer(call: RpcCall, request_id: str, content: Mapping[str, Any]) -> Response:
    """Write an action's answer; `RequestId` is in the body and in `x-acs-request-id`."""
    words = {"RequestId": request_id, **content}
    return _response(200, words, f"{call.action}Response", request_id, xml=call.wants_xml)


def refusal(error: RpcError, request_id: str, host: str, *, xml: bool) -> Response:
    """Write a refusal in the documented shape."""
    words = {"RequestId": request_id, "HostId": host, "Code": error.code, "Message": error.message}
    words |= error.more
    return _response(error.status, words, "Error", request_id, xml=xml)


def _response(status: int, words: Mapping[str, Any], root: str, request_id: str, *, xml: bool) -> Response:
    if xml:
        text = f'<?xml version="1.0" encoding="UTF-8"?>{_element(root, words)}'
        headers = (("content-type", "application/xml;charset=utf-8"), ("x-acs-request-id", request_id))
        return Response(status=status, headers=headers, body=text.encode())
    response = Response.json(status, words)
    return msgspec.structs.replace(response, headers=(*response.headers, ("x-acs-request-id", request_id)))


def _element(name: str, value: Any) -> str:
    """Write one value as XML: members become children, a list repeats its name."""
    if isinstance(value, Mapping):
        inner = "".join(_element(key, member) for key, member in value.items() if member is not None)
    elif isinstance(value, list | tuple):
        return "".join(_element(name, member) for member in value)
    elif isinstance(value, bool):
        inner = "true" if value else "false"
    else:
        inner = _XML_ILLEGAL.sub("\ufffd", str(value)).translate(_XML_ESCAPED)
    tag = name if _NAME.fullmatch(name) else "Item"
    return f"<{tag}>{inner}</{tag}>"
