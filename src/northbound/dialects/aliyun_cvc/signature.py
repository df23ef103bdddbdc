"""The signatures of an EventBridge HTTP target, both generations: what is signed, by what, and who may be believed.

V1: a temporary secret, RSA-"encrypted" with the private key (PKCS#1 v1.5 type 1), and an HMAC-SHA1 by that secret.
V2: an RSA-SHA256 signature. Both sign the target's URL, some headers as `name: value` lines, and the body, joined by
newlines; whether one more newline ends it is not settled, so checking tries both forms (facts 3.6).
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from northbound.dialects.base import integer, to_ms
from northbound.model.errors import InvalidInput, SignatureError
from northbound.model.wire import Key, KeyKind, Request

SIGNED_V1 = "x-eventbridge-signature"
SIGNED_V2 = f"{SIGNED_V1}-v2"
TIMESTAMP, VERSION, URL, TOKEN = (f"{SIGNED_V1}-{part}" for part in ("timestamp", "version", "url", "token"))
METHOD, SECRET = f"{SIGNED_V1}-method", f"{SIGNED_V1}-secret"
HASH_METHOD = "x-eventbridge-hash-method"
ORDER_V1 = (TIMESTAMP, METHOD, VERSION, URL, TOKEN)
ORDER_V2 = (TIMESTAMP, HASH_METHOD, VERSION, URL, TOKEN)

# Names of buckets are first come, first served, so "<region>" in a host stands for one of these and nothing else.
REGIONS = (
    "cn-qingdao cn-beijing cn-zhangjiakou cn-huhehaote cn-wulanchabu cn-hangzhou cn-shanghai cn-shenzhen cn-heyuan "
    "cn-guangzhou cn-chengdu cn-hongkong ap-southeast-1 ap-southeast-3 ap-southeast-5 ap-northeast-1 eu-central-1 "
    "eu-west-1 us-west-1 us-east-1"
).split()
CERTIFICATE_HOSTS = "<region>-eventbridge.oss-accelerate.aliyuncs.com,<region>-eventbridge.oss-<region>.aliyuncs.com"

PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/[A-Za-z0-9._~/%&=?+,;:@-]*")  # no user, backslash or fragment
HTTPS_HOST = re.compile(r"https://([a-z0-9.-]+)(?::443)?/")


def string_to_sign(request: Request, url: str, order: Sequence[str], *, newline: bool) -> bytes:
    """Return what a generation signs: *url*, those headers of *order* that are there, and the body."""
    given = [(name, request.header(name)) for name in order]
    lines = [f"{name}: {value}".encode("latin-1", "replace") for name, value in given if value is not None]
    return b"\n".join((url.encode(), *lines, request.body)) + (b"\n" if newline else b"")


def signature_v1(temporary_secret: bytes, signed: bytes) -> str:
    """Return the HMAC-SHA1 of *signed* in base64."""
    return b64encode(hmac.digest(temporary_secret, signed, "sha1")).decode()


# --- checking --------------------------------------------------------------------------------------------------------


def is_trusted(url: str, allowed: str) -> bool:
    """Tell whether a certificate may be fetched from *url*: https at a listed host, or below a listed URL."""
    if PLAIN_URL.fullmatch(url) is None:
        return False
    host = HTTPS_HOST.match(url)
    for entry in filter(None, (part.strip() for part in allowed.split(","))):
        if "://" in entry:
            if url == entry or url.startswith(entry.rstrip("/") + "/"):
                return True
        elif host is not None and _host_pattern(entry).fullmatch(host[1]):
            return True
    return False


@lru_cache(maxsize=64)
def _host_pattern(entry: str) -> re.Pattern[str]:
    return re.compile(re.escape(entry.lower()).replace(re.escape("<region>"), f"(?:{'|'.join(REGIONS)})"))


def check_token(request: Request, keys: Sequence[Key], now: datetime) -> bool:
    """Tell whether *keys* ask for a token, and raise `SignatureError` when it is not the one that came."""
    tokens = [key for key in keys if key.kind is KeyKind.TOKEN]
    if not tokens:
        return False
    given = (request.header(TOKEN) or "").encode("latin-1", "replace")
    if not any(hmac.compare_digest(given, key.secret) for key in tokens if key.is_valid(now)):
        raise SignatureError(f"{TOKEN} is missing or not the one of this source")
    return True


def check_time(request: Request, now: datetime, window: int) -> None:
    """Raise `SignatureError` unless the request was signed within *window* seconds of *now*."""
    sent_ms = integer(request.header(TIMESTAMP))
    if sent_ms is None or abs(to_ms(now) - sent_ms) > window * 1000:
        raise SignatureError(f"{TIMESTAMP} is missing or more than {window} s away; check both clocks")


def public_key(pem: bytes, now: datetime | None) -> RSAPublicKey:
    """Return the key of a certificate, which must be within its dates unless *now* is None."""
    try:
        certificate = load_pem_x509_certificate(pem)
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise SignatureError("the certificate of the signature cannot be read") from None
    if now is not None and not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise SignatureError("the certificate of the signature is outside its dates")
    if not isinstance(public, RSAPublicKey):
        raise SignatureError("the certificate of the signature holds no RSA key")
    return public


def _is_v1(request: Request, public: RSAPublicKey) -> bool:
    if request.header(METHOD) != "HMAC-SHA1":
        return False
    try:
        secret = public.recover_data_from_signature(_exact_base64(request.header(SECRET)), PKCS1v15(), None)
    except (InvalidSignature, ValueError):
        return False
    given = (request.header(SIGNED_V1) or "").encode("latin-1", "replace")
    texts = [string_to_sign(request, request.url, ORDER_V1, newline=newline) for newline in (True, False)]
    return any(hmac.compare_digest(given, signature_v1(secret, signed).encode()) for signed in texts)


def _is_v2(request: Request, public: RSAPublicKey) -> bool:
    if request.header(HASH_METHOD) != "SHA256":
        return False
    for newline in (False, True):
        signed = string_to_sign(request, request.url, ORDER_V2, newline=newline)
        try:
            public.verify(_exact_base64(request.header(SIGNED_V2)), signed, PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError):
            continue
        return True
    return False


GENERATIONS: dict[str, Callable[[Request, RSAPublicKey], bool]] = {SIGNED_V1: _is_v1, SIGNED_V2: _is_v2}


def _exact_base64(value: str | None) -> bytes:
    """Decode base64 in its one canonical form, so that one signature has one spelling; raise ValueError."""
    content = b64decode(value or "", validate=True)
    if b64encode(content).decode() != value:
        raise ValueError("not canonical base64")
    return content


# --- signing ---------------------------------------------------------------------------------------------------------


def sign_v1(request: Request, private: RSAPrivateKey, url: str, entropy: bytes, *, newline: bool) -> Request:
    """Add the first generation's headers; the common ones must be there."""
    # Every receiver can read the temporary secret, so *entropy* itself must not be it.
    secret = hmac.digest(entropy, b"eventbridge temporary secret", "sha256").hex().encode()
    request = request.adding((METHOD, "HMAC-SHA1"))
    locked = b64encode(private.sign(secret, PKCS1v15(), NoDigestInfo())).decode()
    signed = string_to_sign(request, url, ORDER_V1, newline=newline)
    return request.adding((SECRET, locked), (SIGNED_V1, signature_v1(secret, signed)))


def sign_v2(request: Request, private: RSAPrivateKey, url: str, *, newline: bool) -> Request:
    """Add the second generation's headers; the common ones must be there."""
    request = request.adding((HASH_METHOD, "SHA256"))
    signed = string_to_sign(request, url, ORDER_V2, newline=newline)
    return request.adding((SIGNED_V2, b64encode(private.sign(signed, PKCS1v15(), SHA256())).decode()))


@lru_cache(maxsize=64)
def private_key(pem: bytes) -> RSAPrivateKey:
    """Read a private key; kept, because reading one costs more than signing with it."""
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidInput("the RSA key is not an unencrypted PEM private key", field="keys") from None
    if not isinstance(private, RSAPrivateKey):
        raise InvalidInput("the private key is not an RSA key", field="keys")
    return private
