"""Read secrets that are given, show keys without them, make new ones."""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from msgspec import UNSET
from msgspec.structs import replace

from northbound.dialects import standard
from northbound.dialects.base import Dialect
from northbound.logic.keys import lacks_key
from northbound.model.app import App
from northbound.model.errors import Conflict, InvalidInput
from northbound.model.wire import Key, KeyKind
from northbound.ports import Entropy
from northbound.web.shapes.setup import KeyGiven, KeyShown, Rotation

KEYS_MOST = 10  # of one source or endpoint, expired ones not counted
WHSEC = "whsec_"  # how Standard Webhooks writes a secret


def read_keys(given: Sequence[KeyGiven], known: Sequence[Key], entropy: Entropy) -> tuple[Key, ...]:
    """Return the keys as stored; one that names a known `id` and no secret keeps the secret it has."""
    by_id = {key.id: key for key in known}
    found: list[Key] = []
    for index, one in enumerate(given):
        where = f"keys[{index}]"
        old = by_id.get(one.id or "")
        if one.secret is None and one.secret_base64 is None and old is not None:
            secret = old.secret
        else:
            secret = read_secret(one.secret, one.secret_base64, one.kind, where)
        if one.valid_from is not None and one.valid_until is not None and one.valid_until <= one.valid_from:
            raise InvalidInput("valid_until must be after valid_from", field=f"{where}.valid_until")
        found.append(
            Key(
                id=one.id or new_key_id(entropy),
                kind=one.kind,
                secret=secret,
                url=one.url,
                valid_from=one.valid_from,
                valid_until=one.valid_until,
            )
        )
    if len({key.id for key in found}) != len(found):
        raise InvalidInput("two keys have the same id", field="keys")
    return tuple(found)


def read_secret(text: str | None, encoded: str | None, kind: KeyKind, where: str) -> bytes:
    """Return a secret's bytes; refuse none, two, bad base64, and a PEM that cannot be read."""
    if (text is None) == (encoded is None):
        raise InvalidInput("give one of secret and secret_base64", field=f"{where}.secret".lstrip("."))
    if text is not None:
        secret = text.encode()
    else:
        try:
            secret = b64decode(encoded or "", validate=True)
        except (Base64Error, ValueError):
            field = f"{where}.secret_base64".lstrip(".")
            raise InvalidInput("secret_base64 is not base64", field=field) from None
    if not secret:
        raise InvalidInput("the secret is empty", field=f"{where}.secret".lstrip("."))
    _check_pem(secret, kind, f"{where}.secret".lstrip("."))
    return secret


def _check_pem(secret: bytes, kind: KeyKind, field: str) -> None:
    try:
        if kind is KeyKind.RSA:
            load_pem_private_key(secret, password=None)
        elif kind is KeyKind.CERTIFICATE:
            load_pem_x509_certificate(secret)
    except Exception:  # noqa: BLE001 - whatever the library says of it, its words may hold parts of the secret
        raise InvalidInput(
            f"the secret of a key of kind {kind.value} is PEM text without password", field=field
        ) from None


def check_form(own: Sequence[Key], dialect: Dialect) -> None:
    """Refuse a secret that says it is base64 and is not: nothing could ever be signed with it."""
    for index, key in enumerate(own):
        if dialect.name == standard.Standard.name and key.kind is KeyKind.SHARED and not standard.key_bytes(key.secret):
            raise InvalidInput(
                f"behind {WHSEC} a secret is base64; correct it, or leave the prefix out", field=f"keys[{index}].secret"
            )


def check_keys(own: tuple[Key, ...], app: App, dialect: Dialect) -> None:
    """Refuse what nothing could sign or verify: no key where the app's is the one that does, or one in a bad form."""
    check_form(own, dialect)
    if lacks_key(own, app, dialect):
        raise InvalidInput(
            f"{dialect.name} is signed with the app's key, and the app has none: set its app_key, or give keys here",
            field="keys",
        )


def show_keys(keys: Sequence[Key], *, reveal: bool = False) -> list[KeyShown]:
    """Return the keys for people; their secrets only on *reveal*."""
    return [_show(key, reveal=reveal) for key in keys]


def _show(key: Key, *, reveal: bool) -> KeyShown:
    shown = KeyShown(id=key.id, kind=key.kind, url=key.url, valid_from=key.valid_from, valid_until=key.valid_until)
    if not reveal:
        return shown
    try:
        return replace(shown, secret=key.secret.decode(), secret_base64=UNSET)
    except UnicodeDecodeError:
        return replace(shown, secret_base64=b64encode(key.secret).decode())


def new_key_id(entropy: Entropy) -> str:
    """Return an id for a key that was given none."""
    return f"k_{entropy.bytes(6).hex()}"


def new_secret(entropy: Entropy) -> bytes:
    """Return a fresh shared secret, spelled so that every receiver's library takes it."""
    return f"{WHSEC}{b64encode(entropy.bytes(32)).decode()}".encode()


def rotated(keys: Sequence[Key], wanted: Rotation, now: datetime, entropy: Entropy) -> tuple[Key, ...]:
    """Return *keys* with a new one that signs from its moment on; the others of its kind end after the overlap."""
    at = wanted.at or now
    if wanted.secret is None and wanted.secret_base64 is None:
        if wanted.kind is not KeyKind.SHARED:
            raise InvalidInput(f"give the secret of a key of kind {wanted.kind.value}", field="secret")
        secret = new_secret(entropy)
    else:
        secret = read_secret(wanted.secret, wanted.secret_base64, wanted.kind, "")
    new = Key(id=new_key_id(entropy), kind=wanted.kind, secret=secret, url=wanted.url, valid_from=at)
    end = at + timedelta(seconds=wanted.overlap_seconds)
    kept = [key for key in keys if key.valid_until is None or key.valid_until > now]
    ended = [
        replace(key, valid_until=min(end, key.valid_until or end)) if key.kind is wanted.kind else key for key in kept
    ]
    if len(ended) >= KEYS_MOST:
        raise Conflict(f"there are {KEYS_MOST} keys that have not expired; remove one first", field="keys")
    return (*ended, new)
