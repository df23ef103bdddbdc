"""Turn deliveries, tries and figures into rows of deliveries.db, and rows into deliveries."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apsw
import msgspec

from northbound.backends.sqlite.database import query
from northbound.backends.sqlite.reader import from_micros, micros
from northbound.logic.retry import may_have_arrived
from northbound.model.delivery import (
    Attempt,
    Dead,
    Delivery,
    DeliveryState,
    Done,
    Failure,
    HealthChange,
    Lane,
    NextStep,
    RetryAt,
    Stop,
)
from northbound.model.log import NotFolded
from northbound.model.room import Going, Memory, Room, Tally
from northbound.model.wire import Response

Row = tuple[Any, ...]
_ENCODE = msgspec.json.Encoder().encode
_DELIVERY = msgspec.json.Decoder(Delivery).decode


def delivery_rows(numbers: Sequence[int], deliveries: Sequence[Delivery]) -> list[Row]:
    """Return the rows of new *deliveries*."""
    return [
        (
            number,
            one.id,
            one.endpoint_id,
            one.event_id,
            one.order_key,
            one.lane.value,
            one.state.value,
            micros(one.due_at),
            micros(one.created_at),
            _ENCODE(one),
        )
        for number, one in zip(numbers, deliveries, strict=True)
    ]


def delivery_of(row: Sequence[Any]) -> Delivery:
    """Return a delivery from its row: as routed, with what has become of it."""
    routed = _DELIVERY(row[6])
    return msgspec.structs.replace(
        routed,
        state=DeliveryState(row[1]),
        lane=Lane(row[2]),
        due_at=from_micros(row[3]),
        attempts=row[4],
        reason=row[5],
        possible_duplicate=routed.possible_duplicate or bool(row[7]),
        replaced_by=row[8],
        view=msgspec.structs.replace(routed.view, words=routed.view.words.copy()),
    )


def room_rows(rooms: Mapping[str, tuple[Room | None, Mapping[str, int]]]) -> list[Row]:
    """Return the rows of rooms, by key, with the last place that each endpoint was sent."""
    return [(key, int(room.open), _ENCODE(room), _ENCODE(sent)) for key, (room, sent) in rooms.items() if room]


def past_rows(past: Sequence[tuple[str, Room]]) -> list[Row]:
    """Return the rows of room instances that are over."""
    return [(key, room.instance, _ENCODE(room)) for key, room in past]


def memory_rows(memories: Mapping[str, Memory]) -> tuple[list[Row], list[Row]]:
    """Return the rows of memories to put, and of those to drop since nothing is remembered any more."""
    put: list[Row] = [(key, _ENCODE(one)) for key, one in memories.items() if one.connections]
    return put, [(key,) for key, one in memories.items() if not one.connections]


def loss_rows(losses: Sequence[tuple[str, str, str, str]]) -> list[Row]:
    """Return *losses* counted."""
    counts: dict[tuple[str, str, str, str], int] = {}
    for loss in losses:
        counts[loss] = counts.get(loss, 0) + 1
    return [(*loss, count) for loss, count in counts.items()]


def not_folded_rows(entries: Sequence[NotFolded]) -> list[Row]:
    """Return the rows of *entries* that were set aside."""
    return [(one.offset, one.event_id, one.source_id, one.part, one.reason) for one in entries]


def not_folded_of(row: Sequence[Any]) -> NotFolded:
    """Return an entry that was set aside, from its row."""
    offset, event_id, source_id, part, reason = row
    return NotFolded(offset=offset, event_id=event_id, source_id=source_id, part=part, reason=reason)


def attempt_row(number: int, attempt: Attempt) -> Row:
    """Return the row of one try."""
    exchange = attempt.exchange
    outcome = exchange.outcome
    answered = isinstance(outcome, Response)
    return (
        number,
        attempt.number,
        micros(exchange.started_at),
        exchange.duration_ms,
        outcome.status if answered else None,
        outcome.kind.value if isinstance(outcome, Failure) else None,
        int(attempt.verdict.accepted),
        attempt.verdict.reason or (outcome.message if isinstance(outcome, Failure) else ""),
        exchange.address,
        _ENCODE(exchange.request),
        _ENCODE(outcome) if answered else None,
    )


def settled_row(number: int, attempt: Attempt | None, step: NextStep, lane: Lane, attempts: int) -> Row:
    """Return what a delivery's row becomes by *step*."""
    at = attempt.exchange.started_at if attempt is not None else None
    stamp = micros(at) if at is not None else None
    arrived = int(attempt is not None and may_have_arrived(attempt.exchange.outcome))
    match step:
        case Done():
            return (DeliveryState.DELIVERED.value, lane.value, 0, attempts, None, stamp, 0, number)
        case RetryAt(due_at=due_at, reason=reason):
            return (DeliveryState.WAITING.value, lane.value, micros(due_at), attempts, reason, None, arrived, number)
        case Dead(reason=reason):
            return (step.state.value, lane.value, 0, attempts, reason, stamp, arrived, number)


def stop_row(stop: Stop) -> Row:
    """Return the row of a stopped endpoint, less its id."""
    probe_at = None if stop.probe_at is None else micros(stop.probe_at)
    return (stop.reason, micros(stop.at), int(stop.is_gone), probe_at)


def stop_of(row: Sequence[Any]) -> Stop:
    """Return why an endpoint is stopped, from its row."""
    _, reason, at, is_gone, probe_at = row
    probe = None if probe_at is None else from_micros(probe_at)
    return Stop(reason=reason, at=from_micros(at), is_gone=bool(is_gone), probe_at=probe)


def write_health(cursor: apsw.Cursor, health: HealthChange) -> None:
    """Store what outcomes say of their endpoints, within the caller's transaction."""
    for endpoint_id, since in health.failing.items():
        if since is None:
            cursor.execute(query("deliveries.failing_drop"), (endpoint_id,))
        else:
            cursor.execute(query("deliveries.failing_put"), (endpoint_id, micros(since)))
    for endpoint_id, probe_at in health.probes.items():
        cursor.execute(query("deliveries.probe_at"), (micros(probe_at), endpoint_id))


class Sums:
    """What a batch's tallies add, by day and by room; *present* (by app: newest day, members present) moves along.

    Who was there before an entry counts for its day as well: nobody may come after midnight. A late entry of an
    earlier day changes who is present now, and nobody's peak.
    """

    def __init__(
        self,
        tallies: Sequence[tuple[str, Tally]],
        present: dict[str, tuple[str, int]],
        last_present: Callable[[str], tuple[str, int]],
    ) -> None:
        self.days: dict[tuple[str, str], list[Any]] = {}  # meetings, held, stayed, joins, peak, present
        self.members: dict[tuple[str, str], list[str]] = {}
        self._presence: dict[tuple[str, int], tuple[int, int]] = {}
        self._going: dict[tuple[str, str], tuple[int | None, int]] = {}
        rooms: dict[tuple[str, str, str], list[Any]] = {}  # meetings, held, stayed, joins, peak
        for app_id, tally in tallies:
            day, were_present = present.get(app_id) or last_present(app_id)
            now_present = max(0, were_present + tally.present_delta)
            newest = max(day, tally.day)
            present[app_id] = (newest, now_present)
            _add(self._day(app_id, tally.day), tally, 0 if tally.day < newest else max(were_present, now_present))
            if tally.present_delta or tally.day == newest:
                self._day(app_id, newest)[5] = now_present
            self.members.setdefault((app_id, tally.day), []).extend(tally.members)
            if tally.going is not None:
                self._note(app_id, tally, tally.going)
                continue
            room = rooms.setdefault((app_id, tally.day, tally.room_key), [0, 0.0, 0.0, 0, 0])
            _add(room, tally, tally.room_present)
        self.rooms: list[Row] = [(*key, *room) for key, room in rooms.items()]
        self.presence: list[Row] = [(*key, *change) for key, change in self._presence.items()]
        self.going: list[Row] = [(*key, *room) for key, room in self._going.items() if any(room)]
        self.gone: list[Row] = [key for key, room in self._going.items() if not any(room)]

    def _note(self, account_id: str, tally: Tally, going: Going) -> None:
        """Note who is in a room of an account; the tally of the newest day has the change of their number."""
        self._going[account_id, tally.room_key] = (going.opened_at and micros(going.opened_at), going.present)
        if not tally.present_delta:
            return
        key = (account_id, micros(going.at) // 1_000_000)
        known = self._presence.get(key)
        delta = tally.present_delta + (known[0] if known else 0)
        self._presence[key] = (delta, max(known[1], delta) if known else delta)

    def _day(self, app_id: str, day: str) -> list[Any]:
        self.members.setdefault((app_id, day), [])
        return self.days.setdefault((app_id, day), [0, 0.0, 0.0, 0, 0, 0])


def _add(sums: list[Any], tally: Tally, present: int) -> None:
    sums[0] += tally.meetings
    sums[1] += tally.meeting_seconds
    sums[2] += tally.participant_seconds
    sums[3] += tally.joins
    sums[4] = max(sums[4], present)
