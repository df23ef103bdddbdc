"""Check a stored request once more, with the keys of today: what it proves, by which key, or why not."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from northbound.dialects.base import Dialect, Options
from northbound.model.errors import SignatureError
from northbound.model.wire import Key, Needs, Proof, Request


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found: the proof, the keys that match, or the reason against it."""

    proof: Proof | None = None
    keys: tuple[Key, ...] = ()
    reason: str | None = None


def keys_of_today(keys: Sequence[Key], now: datetime) -> list[Key]:
    """Return the keys valid *now*, without their dates: they are tried on what came before they were made."""
    return [replace(key, valid_from=None, valid_until=None) for key in keys if key.is_valid(now)]


def check_again(
    request: Request, dialect: Dialect, keys: Sequence[Key], received_at: datetime, options: Options
) -> Checked | Needs:
    """Verify *request* as if it came at *received_at*: its age then counts, not that of today."""
    try:
        proof = dialect.verify(request, keys, received_at, options)
    except SignatureError as error:
        return Checked(reason=error.message)
    if isinstance(proof, Needs):
        return proof
    return Checked(proof=proof, keys=_matching(request, dialect, keys, received_at, options, proof))


def _matching(
    request: Request, dialect: Dialect, keys: Sequence[Key], received_at: datetime, options: Options, proof: Proof
) -> tuple[Key, ...]:
    """Return the keys that would do as the only one of their kind."""
    found: list[Key] = []
    for key in keys if proof is not Proof.NONE else ():
        alone = [one for one in keys if one is key or one.kind is not key.kind]
        try:
            matches = dialect.verify(request, alone, received_at, options) is proof
        except SignatureError:
            continue
        if matches:
            found.append(key)
    return tuple(found)
