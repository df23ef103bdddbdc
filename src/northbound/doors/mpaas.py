"""Call apps as the mPaaS console has them: admissions, the media proxy, what each callback URL is told.

An admission lets one uid into an app's calls until it expires. Its text is bizName + appId + workspaceId + uid +
expireTime without separators; its signature is that text "encrypted" by the app's RSA private key, in one PKCS#1 v1.5
block, as base64 (facts 5). Since nothing separates uid from time, a time has exactly 13 digits: any other length would
let one uid's admission pass for another's.
Page: 管理通话应用 (seed 001); rulings 17, 20.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from northbound.dialects import dialect_named
from northbound.dialects.base import to_ms
from northbound.model.app import App
from northbound.model.call_app import CallApp
from northbound.model.errors import InvalidInput

DIALECT: Final = "mpaas"
BIZ_PREFIX: Final = "nbcall"  # of every bizName made here; those of the vendor's own apps begin otherwise
WORKSPACE: Final = "default"  # of an app that names none, as in its callbacks
PADDING: Final = 11  # bytes of a block that PKCS#1 v1.5 takes for itself
TIME_DIGITS: Final = 13  # Unix milliseconds from 2001 to 2286
PROXY_IPS_MOST: Final = 100
ROOM_TYPES: Final = ("room.opened", "room.closed", "participant.joined", "participant.left")

_UID = re.compile(r"[A-Za-z0-9_]{1,128}")
_NAME = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_ONLY_DIGITS = re.compile(r"[0-9.]+")


# --- admissions ------------------------------------------------------------------------------------------------------


class Refusal(StrEnum):
    """Why an admission is not good."""

    NOT_SIGNED = "not_signed"  # no signature of this app's key
    OTHER_APP = "other_app"  # it was made for another bizName, appId or workspaceId
    OTHER_USER = "other_user"  # it was made for another uid
    OTHER_TIME = "other_time"  # it was made with another expireTime
    EXPIRED = "expired"


REASONS: Final = {
    Refusal.NOT_SIGNED: "sign was not made with this app's key, or was altered",
    Refusal.OTHER_APP: "sign was made for another bizName, appId or workspaceId; terminals call within one bizName",
    Refusal.OTHER_USER: "sign was made for another uid; an admission is for its own uid only",
    Refusal.OTHER_TIME: "sign was made with another expireTime",
    Refusal.EXPIRED: "the admission has expired; make a new one",
}


def check_uid(uid: str) -> None:
    """Refuse a uid that the vendor's clients cannot have."""
    if not _UID.fullmatch(uid):
        raise InvalidInput("uid has 1 to 128 letters, digits or underscores (ASCII)", field="uid")


def check_time(expire_time: int) -> None:
    """Refuse a time that does not have 13 digits."""
    if len(str(expire_time)) != TIME_DIGITS or expire_time < 0:
        raise InvalidInput("expire_time is Unix milliseconds with 13 digits", field="expire_time")


def sign_admission(call_app: CallApp, app: App, uid: str, expires_at: datetime) -> tuple[str, int]:
    """Return (sign, expireTime in Unix milliseconds); raise `InvalidInput` for what cannot be signed."""
    check_uid(uid)
    expire_time = to_ms(expires_at)
    check_time(expire_time)
    text = f"{_before_uid(call_app, app)}{uid}{expire_time}".encode()
    # Our own key, checked when it was made; checking it again would take longer than signing.
    key = load_der_private_key(call_app.secret, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, RSAPrivateKey)  # noqa: S101 - no other kind is ever made
    longest = key.key_size // 8 - PADDING
    if len(text) > longest:
        raise InvalidInput(
            f"bizName, appId, workspaceId, uid and expireTime have {len(text)} bytes together, and one block of this "
            f"app's {key.key_size}-bit key holds {longest}; take a uid shorter by {len(text) - longest}",
            field="uid",
        )
    return b64encode(key.sign(text, PKCS1v15(), NoDigestInfo())).decode(), expire_time


def check_admission(
    call_app: CallApp, app: App, *, sign: str, uid: str, expire_time: int, now: datetime, biz_name: str | None = None
) -> Refusal | None:
    """Return why an admission is not good now, None when it is; it is good again and again until it expires."""
    text = _recovered(sign, call_app.public_key)
    if text is None:
        return Refusal.NOT_SIGNED
    before = _before_uid(call_app, app)
    if not text.startswith(before) or biz_name not in (None, call_app.biz_name):
        return Refusal.OTHER_APP
    signed_uid, signed_time = text[len(before) : -TIME_DIGITS], text[-TIME_DIGITS:]
    if signed_uid != uid or not _UID.fullmatch(uid):
        return Refusal.OTHER_USER
    if signed_time != str(expire_time):
        return Refusal.OTHER_TIME
    return Refusal.EXPIRED if expire_time <= to_ms(now) else None


def _before_uid(call_app: CallApp, app: App) -> str:
    return f"{call_app.biz_name}{app.id}{workspace_of(app)}"


def workspace_of(app: App) -> str:
    """Return the workspaceId of an app's call apps."""
    return app.workspace_id or WORKSPACE


def _recovered(sign: str, public_key: bytes) -> str | None:
    key = load_der_public_key(public_key)
    assert isinstance(key, RSAPublicKey)  # noqa: S101 - no other kind is ever made
    try:
        signature = b64decode(sign, validate=True)
        return key.recover_data_from_signature(signature, PKCS1v15(), None).decode()
    except (Base64Error, InvalidSignature, ValueError):  # not base64, another key's, not a text
        return None


def time_of(expire_time: int) -> datetime:
    """Return expireTime as a datetime."""
    return datetime.fromtimestamp(expire_time / 1000, UTC)


# --- the media proxy -------------------------------------------------------------------------------------------------


def read_media_proxy(host: str, egress_ips: str) -> tuple[str, tuple[str, ...]]:
    """Return the media proxy's host and the addresses it sends from, both or neither (ruling 20)."""
    addresses = tuple(_read_ips(egress_ips)) if egress_ips else ()
    if host:
        _check_host(host)
    if bool(host) != bool(addresses):
        missing = "media_proxy" if addresses else "egress_ips"
        raise InvalidInput("the media proxy's address and its egress IPs are given together", field=missing)
    return host, addresses


def _check_host(host: str) -> None:
    def refuse(why: str) -> InvalidInput:
        return InvalidInput(
            f"media_proxy {why}; it is a bare host such as example.aliyundoc.com, without scheme, port or path",
            field="media_proxy",
        )

    if host != host.strip() or any(character.isspace() for character in host):
        raise refuse("holds a space")
    if "://" in host:
        raise refuse("has a scheme")
    if any(mark in host for mark in "/?#\\"):
        raise refuse("has a path")
    if "@" in host:
        raise refuse("has a user")
    if not host.isascii():
        raise refuse("is not ASCII (write a Chinese domain name in its xn-- form)")
    if host.count(":") > 1 or _ONLY_DIGITS.fullmatch(host):
        _read_address(host, "media_proxy", "media_proxy")
        return
    if ":" in host:
        raise refuse("has a port")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise refuse("is not a host name: labels of letters, digits and hyphens, with dots between")


def _read_ips(text: str) -> list[str]:
    if "\uff1b" in text:
        raise InvalidInput(
            "egress_ips holds a full-width semicolon (U+FF1B); put an ASCII ; between", field="egress_ips"
        )
    parts = [part.strip(" ") for part in text.split(";")]
    if len(parts) > PROXY_IPS_MOST:
        raise InvalidInput(f"egress_ips has more than {PROXY_IPS_MOST} addresses", field="egress_ips")
    found: list[str] = []
    for number, part in enumerate(parts, start=1):
        if not part:
            raise InvalidInput(f"egress_ips: nothing stands at place {number}; remove that ;", field="egress_ips")
        address = _read_address(part, f"egress_ips: address {number}", "egress_ips")
        if address in found:
            raise InvalidInput(f"egress_ips: address {number} is given twice", field="egress_ips")
        found.append(address)
    return found


def _read_address(text: str, what: str, field: str) -> str:
    """Return an address in its one spelling; refuse what is none, and what no host can send from."""
    if "," in text or "\uff0c" in text:
        raise InvalidInput(f"{what} holds a comma; put an ASCII ; between addresses", field=field)
    try:
        address = ip_address(text)
    except ValueError:
        hint = ", a network is not one" if "/" in text else ", without a port" if text.count(":") == 1 else ""
        raise InvalidInput(f"{what} is not an IPv4 or IPv6 address{hint}", field=field) from None
    if "%" in text or address.is_multicast or address.is_unspecified:
        raise InvalidInput(f"{what} is not an address that a host sends from", field=field)
    return str(address)


# --- callbacks -------------------------------------------------------------------------------------------------------


def callback_types(callback: str) -> list[str]:
    """Return the event types that the callback URL, `room` or `recording`, is told."""
    if callback == "room":
        return list(ROOM_TYPES)
    return sorted(kind.value for kind in dialect_named(DIALECT).types if kind.value not in ROOM_TYPES)


def callback_pattern(callback: str, biz_name: str) -> str:
    """Return the pattern of a callback URL: its types, save what names another call app's bizName (ruling 17)."""
    scope: Sequence[Any] = [biz_name, {"exists": False}, {"anything-but": {"prefix": BIZ_PREFIX}}]
    return msgspec.json.encode({"type": callback_types(callback), "data": {"scope": scope}}).decode()
