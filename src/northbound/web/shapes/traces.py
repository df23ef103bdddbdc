"""What the API shows of one event's way: received, matched or not, each attempt, with the time every step took."""

from datetime import datetime

import msgspec

from northbound.logic.match import Finding
from northbound.logic.trace import Outcome
from northbound.model.delivery import DeliveryState, Lane
from northbound.model.wire import Proof


class TracedRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that could have matched, as it is now; `findings` compare field by field, `bus_id` tells its bus.

    `changed_since`: it was made or changed after the event came, so `findings` may be others than when that was routed.
    Of one that sent and was deleted since, `outcome` is `gone`, and only its id is known.
    """

    subscription_id: str
    name: str
    bus_id: str | None
    view: str | None
    outcome: Outcome
    changed_since: bool
    findings: tuple[Finding, ...]


class TracedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try. `waited_ms` is since the step before: being received, or the end of the try before."""

    number: int
    started_at: datetime
    waited_ms: int
    took_ms: int
    status: int | None
    accepted: bool
    reason: str


class TracedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """Where the event went by one rule; `ended_ms` is from being received to the end of the last try so far."""

    id: str
    number: int
    endpoint_id: str
    subscription_id: str
    lane: Lane
    state: DeliveryState
    reason: str | None
    due_at: datetime | None
    attempts: list[TracedAttempt]
    ended_ms: int | None


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One event's way. `wire_ms`: from the vendor's time to ours, where the wire has one; `repeats`: how often again.

    `rules` are those of the event's app and bus, first those that matched; `is_cut`: there are more than are shown.
    """

    event_id: str
    source_id: str
    bus_ids: list[str]
    occurred_at: datetime | None
    received_at: datetime
    wire_ms: int | None
    proof: Proof
    repeats: int
    conclusions: list[str]
    rules: list[TracedRule]
    deliveries: list[TracedDelivery]
    is_cut: bool
