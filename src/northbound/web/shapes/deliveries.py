"""What the API shows of deliveries, replays and figures."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from northbound.dialects.base import Option
from northbound.logic.stats import Dispute
from northbound.model.delivery import DeliveryState, FailureKind
from northbound.model.event import Counts
from northbound.model.figures import LossCount
from northbound.model.room import RoomDay
from northbound.web.shapes.events import RequestShown
from northbound.web.shapes.pages import Paging
from northbound.web.shapes.setup import Given, Identity, Moment, RetryShown

Number = Annotated[int, Meta(ge=1, le=2**53)]


class DeliveryQuery(Paging, frozen=True, kw_only=True):
    """Which deliveries."""

    endpoint_id: Identity | None = None
    state: DeliveryState | None = None
    event_id: Identity | None = None


class DeadLetterQuery(Paging, frozen=True, kw_only=True):
    """Which dead letters."""

    endpoint_id: Identity | None = None


class DeadLetterCount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which endpoint."""

    endpoint_id: Identity | None = None


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many."""

    count: int


class AnswerShown(msgspec.Struct, frozen=True, kw_only=True):
    """What the receiver answered; the body, cut, only for admins."""

    status: int
    headers: list[tuple[str, str]]
    body: str | UnsetType = UNSET
    body_base64: str | UnsetType = UNSET
    cut: bool = False


class AttemptShown(msgspec.Struct, frozen=True, kw_only=True):
    """One try: what was sent, what came back, what that means."""

    number: int
    started_at: datetime
    duration_ms: int
    accepted: bool
    failure: FailureKind | None
    reason: str
    diagnosis: str | None
    address: str | None
    request: RequestShown
    answer: AnswerShown | None


class ReplayWanted(Given, frozen=True, kw_only=True):
    """What to send again: by number, of a span of one endpoint, or all dead letters; `dry_run` only counts.

    A dead letter that was sent again is left out of all dead letters, unless `again` asks for it.
    """

    endpoint_id: Identity | None = None
    delivery_numbers: Annotated[list[Number], Meta(min_length=1, max_length=10_000)] | None = None
    since: Moment | None = None
    until: Moment | None = None
    all_failed: bool = False
    again: bool = False
    dry_run: bool = True


class Skip(Given, frozen=True, kw_only=True):
    """Why a delivery is skipped: kept as its reason."""

    reason: Annotated[str, Meta(max_length=500)] = ""


class ReplayAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many are (or would be) sent again; `command_id` when they are."""

    count: int
    command_id: str | None = None


class CommandShown(msgspec.Struct, frozen=True, kw_only=True):
    """What became of something asked of the delivery process."""

    command_id: str
    do: str
    state: Literal["waiting", "done", "failed"]
    result: dict[str, Any] | None = None


# --- figures ---------------------------------------------------------------------------------------------------------


class SourceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one source by how they ended, since the intake started."""

    source_id: str
    results: dict[str, int]


class EndpointFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Tries of one endpoint by how they ended, since delivery started; what waits and what is dead now."""

    endpoint_id: str
    dialect: str
    delivered: int
    failed: int
    dead: int
    backlog: int
    oldest_waiting_at: datetime | None
    dead_letters: int
    losses: list[LossCount]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The hub at a glance; `unavailable` names processes that did not answer, whose counts are missing."""

    events: int | None
    rooms_open: int
    index_lag: int
    sources: list[SourceFigures]
    endpoints: list[EndpointFigures]
    unavailable: list[str]


class DayQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose day; today in the app's zone when left out."""

    app_id: Identity | None = None
    day: Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = None


class Statistic(msgspec.Struct, frozen=True, kw_only=True):
    """What one source's vendor told of the day, what we counted of it, and each figure that differs."""

    source_id: str
    event_id: str
    told_at: datetime
    theirs: Counts
    ours: Counts
    disputes: list[Dispute]


class DayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One app's day in its zone; meetings and stays that go on are counted up to now."""

    app_id: str
    day: str
    time_zone: str
    meetings: int
    meeting_seconds: float
    participant_seconds: float
    joins: int
    members: int
    peak: int
    rooms: list[RoomDay]
    statistics: list[Statistic]


class DialectShown(msgspec.Struct, frozen=True, kw_only=True):
    """One wire: what it has words for and what can be set."""

    name: str
    types: list[str]
    kinds: list[list[str]]
    options: list[Option]
    methods: list[str]
    retry: RetryShown
    ack_budget_ms: int
    batch_max: int
    signed_by: str


class Dialects(msgspec.Struct, frozen=True, kw_only=True):
    """Every wire."""

    items: list[DialectShown]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether each process works, and why not; `registry`: the version of what is set up, for each the one it has."""

    ok: bool
    registry: int | UnsetType = UNSET
    processes: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
