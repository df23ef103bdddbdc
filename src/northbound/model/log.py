"""What the log keeps: the request as received, and each event at its place."""

from datetime import datetime
from enum import StrEnum
from zlib import crc32

import msgspec

from northbound.model.event import Event
from northbound.model.wire import Proof, Request

PARTITIONS = 64
NOT_FOLDED_KEPT = 100_000  # entries set aside of which is known which they are, some 15 MB; the oldest make room


class Origin(StrEnum):
    """Where an entry comes from: a vendor said it, we concluded it from what they said, or we repaired a gap."""

    OBSERVED = "observed"
    DERIVED = "derived"
    SYNTHETIC = "synthetic"


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A request as received, stored before it is acknowledged."""

    source_id: str
    received_at: datetime
    request: Request
    proof: Proof


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """An event at its place in the log.

    `offset` grows without a smaller one ever becoming readable after a larger one. `id` is the event's id for
    everybody: stable, unique in this hub; a derived event's id comes from its cause.
    """

    id: str
    partition: int
    offset: int
    source_id: str
    recorded_at: datetime
    proof: Proof
    origin: Origin
    event: Event
    receipt_id: int | None = None
    cause_id: str | None = None  # of a derived entry: the entry it was concluded from


class NotFolded(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of which a part was set aside, since our code fails on it.

    With `part` `fold` its room does not know of it, nor does anybody else; with `count` the figures do not, and with
    `route` no endpoint does. `reason` names the exception and the function, and no value of the entry.
    """

    offset: int
    event_id: str
    source_id: str
    part: str
    reason: str


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """What an append did: the ids that were new, how many events were known already, how many conflicted (I17).

    `places` tells for each event, in order, the id it has in the log: of a repeat the first one's, None of a conflict.
    """

    ids: tuple[str, ...]
    duplicates: int = 0
    conflicts: int = 0
    places: tuple[str | None, ...] = ()


def room_key(source_id: str, event: Event) -> str:
    """Return the identity of the event's room, also its order key; events without a room share one per source."""
    return room_key_of(source_id, event.room_id or "", event.scope or "")


def room_key_of(source_id: str, room_id: str, scope: str = "") -> str:
    """Return the key of a room by its parts."""
    return f"{source_id}/{scope}/{room_id}"


def partition_of(key: str) -> int:
    """Return the log partition (0..63) of an order key."""
    return crc32(key.encode()) % PARTITIONS
