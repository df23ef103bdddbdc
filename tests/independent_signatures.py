"""Recompute every vector's signature with nothing of the package: only the standard library and cryptography.

The dialects and their vectors were written together, so they could be wrong together. This script reads the vectors
as plain JSON and follows the vendors' rules once more. Run it by itself, with another folder of vectors if you like:
one line a dialect, exit 1 on a mismatch or on a signed valid vector that it does not know how to check.
"""

import hashlib
import hmac
import json
import re
import sys
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

VECTORS = Path(__file__).resolve().parent.parent / "src" / "northbound" / "vectors"
SIGNED_WITH = {"shared", "certificate", "rsa"}


class Signed(NamedTuple):
    """A request as it is on the wire, and the keys that may have signed it."""

    url: str
    headers: dict[str, str]
    body: bytes
    keys: list[tuple[str, bytes]]  # (kind, secret)
    options: dict[str, Any]

    def secrets(self, *kinds: str) -> list[bytes]:
        return [secret for kind, secret in self.keys if kind in kinds]


# --- the rules -------------------------------------------------------------------------------------------------------


def hmac_bytes(secret: bytes, content: bytes, digest: str) -> bytes:
    return hmac.new(secret, content, digest).digest()


def check_code(params: dict[str, str], secret: bytes) -> bytes:
    """3T: the non-empty values in the order of their names, joined with |."""
    signed = [params[name] for name in sorted(params) if name != "check_code" and params[name] != ""]
    return hmac_bytes(secret, "|".join(signed).encode(), "sha256")


def avd(request: Signed) -> bool:
    params = dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True))
    body = request.body.strip()
    if body.startswith(b"{"):
        params |= {name: plain(value) for name, value in object_members(body.decode()).items()}
    elif body:
        params |= dict(parse_qsl(body.decode(), keep_blank_values=True))
    given = params.get("check_code", "")
    codes = [check_code(params, secret) for secret in request.secrets("shared")]
    return any(given.lower() == code.hex() or given == b64encode(code).decode() for code in codes)


def plain(value: str) -> str:
    """JSON text as it is signed: a string decoded, null as nothing, anything else compact."""
    if value.startswith('"'):
        return str(json.loads(value))
    return "" if value == "null" else compact(value)


def ali_rtc(domain: str, timestamp: str, key: bytes) -> str:
    return hashlib.md5(f"{domain}|{timestamp}|".encode() + key).hexdigest()


def aliyun_rtc(request: Signed) -> bool:
    """The URL's host, in lower case or as written, with its port or without."""
    host = urlsplit(request.url).netloc
    bare = re.sub(r":\d+$", "", host)
    timestamp, given = request.headers["ali-rtc-timestamp"], request.headers["ali-rtc-signature"].lower()
    hosts = {host, bare, host.lower(), bare.lower()}
    return any(given == ali_rtc(name, timestamp, key) for name in hosts for key in request.secrets("shared"))


def anyrtc(request: Signed) -> bool:
    digest = request.options.get("signature", "sha1")
    given = request.headers["ar-signature"].lower()
    return any(given == hmac_bytes(secret, request.body, digest).hex() for secret in request.secrets("shared"))


def mpaas(request: Signed) -> bool:
    given = request.headers["x-northbound-signature"].lower()
    codes = [hmac_bytes(secret, request.body, "sha256").hex() for secret in request.secrets("shared")]
    return any(given == f"sha256={code}" for code in codes)


def janus(request: Signed) -> bool:
    """Nothing is signed: the sender names itself by HTTP Basic."""
    scheme, _, given = request.headers["authorization"].partition(" ")
    return scheme.lower() == "basic" and b64decode(given) in request.secrets("shared")


def webhook_code(identity: str, timestamp: str, body: bytes, secret: bytes) -> str:
    key = b64decode(secret.removeprefix(b"whsec_")) if secret.startswith(b"whsec_") else secret
    return b64encode(hmac_bytes(key, f"{identity}.{timestamp}.".encode() + body, "sha256")).decode()


def standard(request: Signed) -> bool:
    headers = request.headers
    identity, timestamp, given = (headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    codes = [webhook_code(identity, timestamp, request.body, secret) for secret in request.secrets("shared")]
    return any(f"v1,{code}" in given.split() for code in codes)


EB = "x-eventbridge-"
V1_NAMES = ("signature-timestamp", "signature-method", "signature-version", "signature-url", "signature-token")
V2_NAMES = ("signature-timestamp", "hash-method", "signature-version", "signature-url", "signature-token")


def string_to_sign(url: str, headers: dict[str, str], names: tuple[str, ...], body: bytes, *, newline: bool) -> bytes:
    lines = [url, *(f"{EB}{name}: {headers[EB + name]}" for name in names if EB + name in headers)]
    return "\n".join([*lines, ""]).encode() + body + (b"\n" if newline else b"")


def aliyun_cvc(request: Signed) -> bool:
    """Every signature that is present must hold, by one of the certificates, with or without the last newline."""
    generations = (("signature", v1_holds), ("signature-v2", v2_holds))
    checks = [check for name, check in generations if EB + name in request.headers]
    certificates = [x509.load_pem_x509_certificate(pem) for pem in request.secrets("certificate")]
    private = [load_pem_private_key(pem, None) for pem in request.secrets("rsa")]
    keys = [key for key in (one.public_key() for one in (*certificates, *private)) if isinstance(key, RSAPublicKey)]
    return bool(checks) and all(any(check(request, key) for key in keys) for check in checks)


def v1_holds(request: Signed, key: RSAPublicKey) -> bool:
    """The temporary secret is "encrypted" by the private key, so it is what a signature without a hash holds."""
    try:
        secret = key.recover_data_from_signature(
            b64decode(request.headers[f"{EB}signature-secret"]), PKCS1v15(), algorithm=None
        )
    except InvalidSignature:
        return False
    given = b64decode(request.headers[f"{EB}signature"])
    texts = [
        string_to_sign(request.url, request.headers, V1_NAMES, request.body, newline=newline)
        for newline in (True, False)
    ]
    return any(given == hmac_bytes(secret, text, "sha1") for text in texts)


def v2_holds(request: Signed, key: RSAPublicKey) -> bool:
    given = b64decode(request.headers[f"{EB}signature-v2"])
    for newline in (False, True):
        text = string_to_sign(request.url, request.headers, V2_NAMES, request.body, newline=newline)
        try:
            key.verify(given, text, PKCS1v15(), SHA256())
        except InvalidSignature:
            continue
        return True
    return False


CHECKS: dict[str, Callable[[Signed], bool]] = {
    "avd": avd,
    "aliyun_rtc": aliyun_rtc,
    "aliyun_cvc": aliyun_cvc,
    "mpaas": mpaas,
    "anyrtc": anyrtc,
    "janus": janus,
    "standard": standard,
}


# --- known answers, computed or published elsewhere ------------------------------------------------------------------

KEY_3T = b"northbound-secret"
EB_HEADERS = {
    f"{EB}signature-timestamp": "1612167546574",
    f"{EB}signature-method": "HMAC-SHA1",
    f"{EB}signature-version": "1.0",
    f"{EB}signature-url": "http://127.0.0.1:8080/cert.pem",
    f"{EB}signature-token": "tok",
}
ANYRTC_BODY = (
    b'{"noticeId":"2000001428:4330:107","productId":1,"eventType":101,"notifyMs":1611566412672,'
    b'"payload":{"channelName":"test"}}'
)
AGORA_BODY = (
    b'{"eventMs":1560408533119,"eventType":10,"noticeId":"4eb720f0-8da7-11e9-a43e-53f411c2761f",'
    b'"notifyMs":1560408533119,"payload":{"a":"1","b":2},"productId":1}'
)


def eventbridge_v1(*, newline: bool) -> str:
    content = string_to_sign("http://127.0.0.1:8080/cb?x=1", EB_HEADERS, V1_NAMES, b'{"a":1}', newline=newline)
    return b64encode(hmac_bytes(b"tmp-secret", content, "sha1")).decode()


def three_t(query: str) -> str:
    return check_code(dict(parse_qsl(query, keep_blank_values=True)), KEY_3T).hex()


def known_answers() -> dict[str, tuple[str, str]]:
    """Return name -> (expected, computed)."""
    return {
        "RTC callback": ("d595b28583ba1d7869c99895df30714d", ali_rtc("cb.example.com", "1609854786", b"appkey-1")),
        "RTC callback, sibling service": (
            "9e226fc2c250be266e3657e156f68c12",
            ali_rtc("learn.aliyundoc.com", "1519375990", b"yourkey"),
        ),
        "3T open": (
            "f92cfe186ca04c5cb1f7903c7df322fd25bde1fe824ce3914d50c64631cae414",
            three_t("event=open&room_id=r1&trace_id=t-1"),
        ),
        "3T leave": (
            "b3c013dbe1d1a70b68bd9105686366ecb75611ebea5de0ee0be253b114281ae4",
            three_t(
                "event=leave&event_type=normal&room_id=18972290508&trace_id=77e19b23-529c-41f7-b2a6-349d4539c8ac&user_id=1"
            ),
        ),
        "3T join": (
            "082c1cca095bcb28f9c0a159f68c2aa1adf1a28e2d6e087efb14569183c558bc",
            three_t(
                "endpoint_type=web&event=join&event_type=normal&room_id=r1&trace_id=t-1&user_id=u1"
                "&user_name=%E5%BC%A0%E4%B8%89"
            ),
        ),
        "3T warning": (
            "c758ff0958120f12732a8aae9fdeb74c393a04e983a39593fa96cf52417388cb",
            three_t(
                "box_code=box1&event=warning_notify&event_type=check_port&trace_id=t-9"
                "&options=%5B%7B%22type%22%3A%22tcp%22%2C%22port%22%3A8088%7D%5D"
            ),
        ),
        "anyRTC": ("40b741066c7a32e6e3629c92f44defb97c344c16", hmac_bytes(b"secret", ANYRTC_BODY, "sha1").hex()),
        "anyRTC, SHA-256": (
            "a33a72a213058383d1e6517b9c3a76048f05cb07a4dacaf337e70890f2a352cf",
            hmac_bytes(b"secret", ANYRTC_BODY, "sha256").hex(),
        ),
        "Agora": ("033c62f40f687675f17f0f41f91a40c71c0f134c", hmac_bytes(b"secret", AGORA_BODY, "sha1").hex()),
        "Agora V2": (
            "6d3320c60b11101395b7fc8f9068748808a0aa1bfa064438e39d1bc2c7d74d99",
            hmac_bytes(b"secret", AGORA_BODY, "sha256").hex(),
        ),
        "EventBridge V1 with the last newline": ("iTbFcUs+fgFDxNS972UJ2DWljlo=", eventbridge_v1(newline=True)),
        "EventBridge V1 without": ("ThQEDAZtXOkcsQ8ZweBy8RVKLFs=", eventbridge_v1(newline=False)),
        "Standard Webhooks": (
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            webhook_code(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "1614265330",
                b'{"test": 2432232314}',
                b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            ),
        ),
    }


# --- reading vectors without losing a byte ---------------------------------------------------------------------------


def compact(text: str) -> str:
    """Drop the white space between JSON tokens, and nothing inside strings."""
    return re.sub(r'("(?:[^"\\]|\\.)*")|\s+', lambda match: match[1] or "", text)


def object_members(text: str) -> dict[str, str]:
    """Split a JSON object into its members as text, so that numbers and escapes stay as they are written."""
    text, decoder = compact(text), json.JSONDecoder()
    found: dict[str, str] = {}
    place = 1
    while text[place] != "}":
        name, end = decoder.raw_decode(text, place)
        _, after = decoder.raw_decode(text, end + 1)
        found[name] = text[end + 1 : after]
        place = after + (text[after] == ",")
    return found


def array_items(text: str) -> list[str]:
    text, decoder = compact(text), json.JSONDecoder()
    found: list[str] = []
    place = 1
    while text[place] != "]":
        _, after = decoder.raw_decode(text, place)
        found.append(text[place:after])
        place = after + (text[after] == ",")
    return found


def body_of(request: dict[str, str]) -> bytes:
    """Return the body's bytes as the vectors write them: `body_base64`, `json` (written compactly), or `body`."""
    if "body_base64" in request and request["body_base64"] != "null":
        return b64decode(json.loads(request["body_base64"]))
    if "json" in request:
        return compact(request["json"]).encode()
    body = json.loads(request.get("body", '""'))
    return (body or "").encode()


def signed_request(case: dict[str, str], request: dict[str, str], keys: list[tuple[str, bytes]]) -> Signed:
    headers = {name.lower(): value for name, value in json.loads(request.get("headers", "{}")).items()}
    options = json.loads(case.get("options", "{}"))
    return Signed(json.loads(request["url"]), headers, body_of(request), keys, options)


def keys_of(case: dict[str, str]) -> list[tuple[str, bytes]]:
    """Return what may have signed: `secret`, then `keys`."""
    secret = json.loads(case.get("secret", "null"))
    found = [] if secret is None else [("shared", secret.encode())]
    listed = json.loads(case.get("keys", "[]"))
    return [*found, *((key.get("kind", "shared"), key["secret"].encode()) for key in listed)]


def requests_of(case: dict[str, str]) -> list[Signed]:
    """Return the signed requests of a case that must hold: the one it reads, and those it sends to another wire."""
    keys = keys_of(case)
    kinds = {kind for kind, _ in keys}
    if json.loads(case.get("result", '"valid"')) != "valid":
        return []
    found = [signed_request(case, object_members(item), keys) for item in array_items(case.get("sends", "[]"))]
    found = [request for request in found if kinds & SIGNED_WITH and is_signed(request)]
    if "request" in case and kinds & SIGNED_WITH and json.loads(case.get("proof", '"none"')) != "none":
        found.append(signed_request(case, object_members(case["request"]), keys))
    return found


def is_signed(request: Signed) -> bool:
    """Tell whether a sent request carries a signature that is written out (a vector may leave headers open)."""
    return any("signature" in name for name in request.headers) or "check_code=" in request.url


def run(folder: Path) -> tuple[Counter[str], list[str]]:
    """Return how many signatures matched in each dialect, and what went wrong."""
    matched: Counter[str] = Counter()
    wrong: list[str] = []
    for path in sorted(folder.glob("*/*.json")):
        file = object_members(path.read_text(encoding="utf-8"))
        dialect = json.loads(file["dialect"])
        for text in array_items(file["cases"]):
            case = object_members(text)
            name = f"{path.parent.name}/{path.name}: {json.loads(case['name'])}"
            for request in requests_of(case):
                fault = check(dialect, request)
                matched[dialect] += fault is None
                wrong += [] if fault is None else [f"{name}: {fault}"]
    return matched, wrong


def check(dialect: str, request: Signed) -> str | None:
    """Return what is wrong with a signed request, None when its signature is what we compute."""
    if dialect not in CHECKS:
        return "signed in a way this script does not know"
    try:
        return None if CHECKS[dialect](request) else "the signature is not what the vendor's rule gives"
    except KeyError as missing:
        return f"signed, yet without {missing}"


def main(folder: Path) -> int:
    """Print what matched; return the exit code."""
    matched, wrong = run(folder)
    for name, (expected, computed) in known_answers().items():
        matched["known answers"] += expected == computed
        wrong += [] if expected == computed else [f"known answer {name}: expected {expected}, computed {computed}"]
    for name, count in sorted(matched.items()):
        print(f"{name} {count} matched")
    for line in wrong:
        print(f"MISMATCH {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else VECTORS))
