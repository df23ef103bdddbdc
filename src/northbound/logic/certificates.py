"""Which of the hub's certificates signs at a moment, what each is for now, and which may go (ruling 6)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from northbound.model.certificate import Certificate
from northbound.model.errors import Conflict
from northbound.model.wire import Key, KeyKind

MOST: Final = 20  # kept at once
HELD: Final = timedelta(days=1)  # how long receivers may hold a request before they verify it
WARN: Final = timedelta(days=30)  # before the one that signs expires


class CertificateState(StrEnum):
    """What a certificate is for now."""

    NEXT = "next"  # will sign from its moment on
    SIGNING = "signing"
    RETIRED = "retired"  # another one signs; served for those who hold requests signed by it
    EXPIRED = "expired"


def signing(certificates: Sequence[Certificate], now: datetime) -> Certificate:
    """Return the certificate that signs at *now*: the newest whose moment has come, else the first."""
    begun = [one for one in certificates if one.signs_from <= now]
    return max(begun, key=_order) if begun else min(certificates, key=_order)


def state_of(one: Certificate, certificates: Sequence[Certificate], now: datetime) -> CertificateState:
    """Return what *one* of *certificates* is for at *now*."""
    if one.id == signing(certificates, now).id:
        return CertificateState.SIGNING
    if one.expires_at <= now:
        return CertificateState.EXPIRED
    return CertificateState.NEXT if one.signs_from > now else CertificateState.RETIRED


def ends_at(one: Certificate, certificates: Sequence[Certificate]) -> datetime | None:
    """Return from when on another one signs in its place; None while none is set to."""
    later = [other.signs_from for other in certificates if _order(other) > _order(one)]
    return min(later, default=None)


def hub_keys(certificates: Sequence[Certificate], base: str) -> tuple[Key, ...]:
    """Return the keys that sign, each naming its certificate's URL below *base*; one of them is valid at any time."""
    first = min(certificates, key=_order, default=None)
    return tuple(
        Key(
            id=one.id,
            kind=KeyKind.RSA,
            secret=one.secret,
            url=base + one.path,
            valid_from=None if one is first else one.signs_from,
        )
        for one in sorted(certificates, key=_order)
    )


def droppable(certificates: Sequence[Certificate], now: datetime) -> list[Certificate]:
    """Return the expired ones that nobody can verify anything with any more."""
    return [
        one
        for one in certificates
        if state_of(one, certificates, now) is CertificateState.EXPIRED and one.expires_at + HELD <= now
    ]


def check_removal(one: Certificate, certificates: Sequence[Certificate], now: datetime) -> None:
    """Refuse to remove what signs, or what receivers may still need; one that never signed may go at once."""
    state = state_of(one, certificates, now)
    if state is CertificateState.SIGNING:
        raise Conflict("this certificate signs; make the next one first")
    ended = ends_at(one, certificates)
    if state is CertificateState.RETIRED and ended is not None and now < ended + HELD:
        held = int(HELD.total_seconds() // 3600)
        raise Conflict(f"receivers may hold requests that it signed; it can go {held} hours after it signed last")


def near_expiry(certificates: Sequence[Certificate], now: datetime) -> Certificate | None:
    """Return the certificate that signs when it expires within `WARN` and none takes its place before; else None."""
    if not certificates:
        return None
    one = signing(certificates, now)
    successor = ends_at(one, certificates)
    covered = successor is not None and successor < one.expires_at
    return one if one.expires_at - now <= WARN and not covered else None


def _order(one: Certificate) -> tuple[datetime, datetime, str]:
    return one.signs_from, one.created_at, one.id
