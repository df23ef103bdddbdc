"""What the API shows of the log: events, requests, rooms, recordings, matching."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from northbound.logic.entry import IDENTIFIER_BYTES
from northbound.logic.match import Finding
from northbound.model.delivery import DeliveryState, Lane
from northbound.model.event import EventType, Facts
from northbound.model.log import Origin
from northbound.model.room import Recording, Room
from northbound.model.wire import Proof
from northbound.web.shapes.pages import Paging
from northbound.web.shapes.setup import Given, Identity, Moment, PatternJson

Needle = Annotated[str, Meta(max_length=IDENTIFIER_BYTES)]
RoomKey = Annotated[str, Meta(max_length=2 * IDENTIFIER_BYTES + 128)]  # a source, a scope and a room


class EventQuery(Paging, frozen=True, kw_only=True):
    """Which events; `q` is searched for in names, ids and the vendor's words."""

    source_id: Identity | None = None
    type: Needle | None = None
    room_key: RoomKey | None = None
    room_id: Needle | None = None
    participant_id: Needle | None = None
    since: Moment | None = None
    until: Moment | None = None
    q: Needle | None = None


class EventShown(msgspec.Struct, frozen=True, kw_only=True):
    """An event at its place in the log; `vendor` holds the wire's own words, secrets masked."""

    id: str
    offset: int
    type: EventType
    dialect: str
    source_id: str
    recorded_at: datetime
    occurred_at: datetime | None
    proof: Proof
    origin: Origin
    cause_id: str | None
    room_key: str | None
    scope: str | None
    room_id: str | None
    participant_id: str | None
    session_id: str | None
    track_id: str | None
    recording_id: str | None
    sequence: int | None
    facts: Facts
    vendor: msgspec.Raw


class RequestShown(msgspec.Struct, frozen=True, kw_only=True):
    """A request with its secrets masked; a body that is no text is given as base64; `cut`: it was longer."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: str | UnsetType = UNSET
    body_base64: str | UnsetType = UNSET
    cut: bool = False


class ReceiptShown(msgspec.Struct, frozen=True, kw_only=True):
    """A request as received."""

    id: int
    received_at: datetime
    proof: Proof
    request: RequestShown


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A stored request checked again: what it proves today and by which keys, or the reason why it proves nothing.

    `id` is the receipt's, or the refused request's. `proof_then` is what it proved when it came. `request` has the
    URL that was checked, which is the one that the vendor is told today; its secrets and signatures are masked.
    """

    id: int
    received_at: datetime
    proof_then: Proof
    proof: Proof | None
    key_ids: list[str]
    certificate_urls: list[str]
    reason: str | None
    request: RequestShown


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one event checked again, the first and those that repeated it."""

    items: list[Verified]


class DeliveryShown(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one endpoint; `lost` and `invented` are what that wire cannot say or requires.

    `possible_duplicate`: an attempt before the last may have arrived. `replaced_by`: the number of the delivery that
    sent this dead letter again.
    """

    number: int
    id: str
    endpoint_id: str
    subscription_id: str
    source_id: str
    event_id: str
    event_type: str
    room_key: str
    lane: Lane
    path: int
    state: DeliveryState
    attempts: int
    created_at: datetime
    due_at: datetime | None
    reason: str | None
    seq: int
    prev: int | None
    possible_duplicate: bool
    replaced_by: int | None
    lost: list[str]
    invented: list[str]
    words: msgspec.Raw | UnsetType = UNSET


class EventDetail(msgspec.Struct, frozen=True, kw_only=True):
    """An event with the request that brought it, those that repeated it, what followed, and where it went."""

    event: EventShown
    receipt: ReceiptShown | None
    repeats: list[ReceiptShown]
    conclusions: list[str]
    deliveries: list[DeliveryShown]


class ViewShown(msgspec.Struct, frozen=True, kw_only=True):
    """An event in one wire's words."""

    kind: str
    words: msgspec.Raw
    lost: list[str]
    invented: list[str]


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """An event as a dialect would say it now; no views: its wire has no word for it."""

    event_id: str
    dialect: str
    views: list[ViewShown]


class StreamQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which new events; `types` and `source_id` are lists with commas; `after` an offset, the newest when left out."""

    types: Annotated[str, Meta(max_length=2_000)] | None = None
    source_id: Identity | None = None
    after: Annotated[int, Meta(ge=-1, le=2**53)] | None = None


class MatchQuestion(Given, frozen=True, kw_only=True):
    """Does this pattern match? Give `event_id`, or `event` in the words of the view."""

    pattern: PatternJson
    event_id: Identity | None = None
    event: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})] | UnsetType = UNSET
    view: Identity = "standard"


class MatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Why it matched or not, field by field, and the words it was compared with."""

    matched: bool
    view: str
    findings: tuple[Finding, ...]
    warnings: list[str]
    event: Any


class RoomQuery(Paging, frozen=True, kw_only=True):
    """Which rooms."""

    open: bool | None = None
    source_id: Identity | None = None


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """Why a room may be behind what its vendor knows, and since when; over with the room's next event."""

    reason: str
    at: datetime


class RoomShown(msgspec.Struct, frozen=True, kw_only=True):
    """A room's newest instance in short."""

    key: str
    source_id: str
    scope: str | None
    id: str
    name: str | None
    instance: int
    open: bool
    opened_at: datetime | None
    closed_at: datetime | None
    participants: int
    recordings: int
    peak: int
    stays: int
    seq: int
    suspect: Suspect | None = None


class RoomDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A room whole, with its past instances, newest first."""

    key: str
    room: Room
    past: list[Room]
    suspect: Suspect | None = None


class RecordingQuery(Paging, frozen=True, kw_only=True):
    """Which recordings; the limit counts room instances."""

    source_id: Identity | None = None


class RecordingShown(msgspec.Struct, frozen=True, kw_only=True):
    """A recording and the room instance it was made in; `gaps` are sequence numbers that never came."""

    room_key: str
    room_instance: int
    room_open: bool
    recording: Recording


class QuarantineQuery(Paging, frozen=True, kw_only=True):
    """Which refused requests."""

    source_id: Identity | None = None


class QuarantineShown(msgspec.Struct, frozen=True, kw_only=True):
    """A request that did not get into the log, and why."""

    id: int
    source_id: str
    received_at: datetime
    proof: Proof
    code: str
    message: str
    request: RequestShown
