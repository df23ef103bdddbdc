"""An event on its way to one endpoint: views, attempts, verdicts, and what happens next."""

from datetime import datetime
from enum import StrEnum

import msgspec

from northbound.model.app import App
from northbound.model.event import Media, RecordingMode, Role, Terminal
from northbound.model.wire import Request, Response


class View(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event in one dialect's words.

    `words` is JSON text, an object in wire order. `lost`: event fields this wire has no word for. `invented`: wire
    words it requires that the event did not hold (ruling 2). Both are empty for the event's own dialect.
    """

    words: msgspec.Raw
    lost: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """What a wire may require and an event lack, decided once when the delivery is routed (ruling 2).

    Every field is deterministic from the log, the projection and the settings, so routing twice gives the same.
    """

    event_id: str
    recorded_at: datetime
    app: App
    room_name: str | None = None
    room_instance: str = ""  # unique id of the room instance
    session_id: str = ""  # our id of the participant's stay
    joined_at: datetime | None = None
    role: Role | None = None
    terminal: Terminal | None = None
    name: str | None = None
    media: tuple[Media, ...] = ()  # what the participant publishes now
    sequence: int = 0  # of all the events of this recording, whoever is told of them, the first this one takes (from 0)
    recording_id: str | None = None
    recorder_id: str | None = None
    recording_mode: RecordingMode | None = None
    recording_started_at: datetime | None = None
    outcome_told: bool = False  # another event told before where this recording's files are (ruling 25)
    seq: int = 0  # place of the event in its room's log


class Lane(StrEnum):
    """Deliveries of one endpoint and room are sequential per lane; in the last two each is a lane of its own."""

    LIVE = "live"
    REPLAY = "replay"
    ASIDE = "aside"  # it was stuck, and its room went on
    LOOSE = "loose"  # an event of no room and no known kind, which no order is promised for


class DeliveryState(StrEnum):
    """waiting: due at `due_at`; delivered; dead: kept as dead letter; dropped: forgotten like the vendor does."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    DROPPED = "dropped"
    CANCELLED = "cancelled"  # its endpoint was deleted, or somebody skipped it


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event for one endpoint. `id` is derived, so routing twice makes the same one."""

    id: str
    endpoint_id: str
    subscription_id: str
    source_id: str
    event_id: str
    event_type: str
    order_key: str
    created_at: datetime
    due_at: datetime
    view: View
    dialect: str = ""  # whose words the view is in; empty: not known
    seq: int = 0  # place in the room's log (law 5)
    prev: int | None = None  # the last place this endpoint was sent for the room
    lane: Lane = Lane.LIVE
    attempts: int = 0
    state: DeliveryState = DeliveryState.WAITING
    reason: str | None = None  # of a dead letter
    path: int = 0  # of a receiver that is sent everything on two paths, which of them (D20)
    possible_duplicate: bool = False  # an earlier attempt may have arrived (D11)
    replaced_by: int | None = None  # number of the delivery that sent this dead letter again


class FailureKind(StrEnum):
    """Why an exchange brought no judgeable answer."""

    TIMEOUT = "timeout"
    CONNECT = "connect"
    DNS = "dns"
    TLS = "tls"
    BLOCKED = "blocked_address"
    REDIRECT = "redirect"
    TOO_LARGE = "reply_too_large"
    CLOSED = "closed"
    PROTOCOL = "protocol"
    PROXY = "proxy"
    INVALID_URL = "invalid_url"
    NOT_SENT = "not_sent"  # the wire cannot say it
    CANCELLED = "cancelled"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An exchange that ended without a whole answer; `message` is for people."""

    kind: FailureKind
    message: str
    chargeable: bool = True  # False: our own side failed (D6), not the endpoint


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP try and how it ended."""

    request: Request
    outcome: Response | Failure
    started_at: datetime
    duration_ms: int
    address: str | None = None  # the address connected to


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A dialect's judgement of an answer: accepted, or why not; `gone` for 410; `retry_after` in seconds if asked."""

    accepted: bool
    reason: str = ""
    gone: bool = False
    retry_after: str | None = None  # the header as it came: clamped by logic.retry
    warning: str | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try as recorded: number from 1, what was sent, what came back, and the verdict."""

    delivery_id: str
    number: int
    exchange: Exchange
    verdict: Verdict


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Delivered; nothing more to do."""


class RetryAt(msgspec.Struct, frozen=True, kw_only=True):
    """Try again at `due_at`; with `stop_endpoint` it waits for whoever starts the endpoint again."""

    due_at: datetime
    reason: str
    stop_endpoint: bool = False


class Dead(msgspec.Struct, frozen=True, kw_only=True):
    """No further attempt. `drop` forgets like the vendor; `stop_endpoint` after a 410; `cancelled`: on our side."""

    reason: str
    drop: bool = False
    stop_endpoint: bool = False
    cancelled: bool = False

    @property
    def state(self) -> DeliveryState:
        """What becomes of the delivery."""
        if self.cancelled:
            return DeliveryState.CANCELLED
        return DeliveryState.DROPPED if self.drop else DeliveryState.DEAD


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Why and since when an endpoint is stopped by itself; `probe_at`: when it is tried next, None: it is not."""

    reason: str
    at: datetime
    is_gone: bool = True
    probe_at: datetime | None = None


class HealthChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch of outcomes says of endpoints: failing since when (None: no longer), and the next probes."""

    failing: dict[str, datetime | None] = {}
    probes: dict[str, datetime] = {}


NO_CHANGE = HealthChange()
NextStep = Done | RetryAt | Dead
