"""Rooms and deliveries in memory, each call one step like a transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from northbound.backends.memory.alarms import with_alarms
from northbound.logic.retry import may_have_arrived
from northbound.model.alarm import Alarm
from northbound.model.delivery import (
    NO_CHANGE,
    Attempt,
    Dead,
    Delivery,
    DeliveryState,
    Done,
    HealthChange,
    Lane,
    NextStep,
    RetryAt,
    Stop,
)
from northbound.model.log import NOT_FOLDED_KEPT, NotFolded
from northbound.model.room import DayStats, Memory, Room, Tally
from northbound.ports import Folded, Waiting

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class MemoryDeliveries:
    """The rooms, the routing cursor, and what is on its way."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self.past: dict[tuple[str, int], Room] = {}
        self.losses: dict[tuple[str, str, str, str], int] = {}
        self.attempts: list[tuple[int, Attempt]] = []
        self.alarms: list[Alarm] = []
        self._cursor = -1
        self._set_aside = 0
        self._not_folded: list[NotFolded] = []
        self._memories: dict[str, Memory] = {}
        self._sent: dict[tuple[str, str], int] = {}  # (endpoint, room key) -> place in the room's log
        self._deliveries: dict[int, Delivery] = {}  # by number, in routing order
        self._commands: dict[str, bytes] = {}
        self._stopped: dict[str, Stop] = {}
        self._failing: dict[str, datetime] = {}
        self._days: dict[tuple[str, str], DayStats] = {}
        self._members: set[tuple[str, str, str]] = set()
        self._present: dict[str, tuple[str, int]] = {}  # by app: its newest day, members present

    # --- rooms ----------------------------------------------------------------------------------

    def cursor(self) -> int:
        """Return the offset up to which the log was folded and routed, -1 at the beginning."""
        return self._cursor

    def room(self, key: str) -> Room | None:
        """Return the newest instance of the room."""
        return self.rooms.get(key)

    def memory(self, key: str) -> Memory:
        """Return what derivation remembers of a source."""
        return self._memories.get(key, Memory())

    def last_sent(self, endpoint_id: str, key: str) -> int | None:
        """Return the last place of the room's log that the endpoint was sent."""
        return self._sent.get((endpoint_id, key))

    def commit(self, folded: Folded) -> list[int]:
        """Store it all at once; return the numbers of the deliveries."""
        # What cannot be read fails before any change.
        counted, lost, over = list(folded.tallies), list(folded.losses), list(folded.past)
        numbers = self.add(folded.deliveries)
        in_order = (one for one in folded.deliveries if one.lane is not Lane.REPLAY)
        self._sent |= {(one.endpoint_id, one.order_key): one.seq for one in in_order}
        self.rooms |= folded.rooms
        self._memories |= folded.memories
        self.past |= {(key, room.instance): room for key, room in over}
        for loss in lost:
            self.losses[loss] = self.losses.get(loss, 0) + 1
        for app_id, tally in counted:
            self._count(app_id, tally)
        self._set_aside += len(folded.not_folded)
        self._not_folded = [*self._not_folded, *folded.not_folded][-NOT_FOLDED_KEPT:]
        self._cursor = folded.cursor
        return numbers

    def not_folded(self, limit: int) -> tuple[int, list[NotFolded]]:
        """Return how many entries were set aside, and up to *limit* of those kept, the newest first."""
        return self._set_aside, self._not_folded[::-1][:limit]

    # --- deliveries -----------------------------------------------------------------------------

    def waiting(self) -> list[Waiting]:
        """Return all that wait, in the order they were routed."""
        return [
            Waiting(
                number=number,
                endpoint_id=one.endpoint_id,
                order_key=one.order_key,
                lane=one.lane,
                due_at=one.due_at,
                created_at=one.created_at,
                attempts=one.attempts,
            )
            for number, one in self._deliveries.items()
            if one.state is DeliveryState.WAITING
        ]

    def load(self, number: int) -> Delivery | None:
        """Return the delivery with what has become of it so far."""
        return self._deliveries.get(number)

    def settle(
        self,
        outcomes: Sequence[tuple[int, Attempt | None, NextStep, Lane, int]],
        health: HealthChange = NO_CHANGE,
    ) -> None:
        """Store each (number, attempt, next step, lane from now on, attempts so far)."""
        for number, attempt, step, lane, attempts in list(outcomes):
            if attempt is not None:
                self.attempts.append((number, attempt))
            if number in self._deliveries:
                self._deliveries[number] = _settled(self._deliveries[number], attempt, step, lane, attempts)
        self._failing |= {name: since for name, since in health.failing.items() if since is not None}
        for name in [name for name, since in health.failing.items() if since is None]:
            self._failing.pop(name, None)
        for name, probe_at in health.probes.items():
            if name in self._stopped:
                self._stopped[name] = replace(self._stopped[name], probe_at=probe_at)

    def dead(
        self, endpoint_id: str | None, after: int, limit: int, *, again: bool = True
    ) -> list[tuple[int, Delivery]]:
        """Return dead letters after a number, of one endpoint or all; without *again* none that was sent again."""
        return [
            (number, one)
            for number, one in self._deliveries.items()
            if number > after
            and one.state is DeliveryState.DEAD
            and endpoint_id in {None, one.endpoint_id}
            and (again or one.replaced_by is None)
        ][:limit]

    def between(
        self, endpoint_id: str, since: datetime, until: datetime, after: int, limit: int
    ) -> list[tuple[int, Delivery]]:
        """Return the deliveries of an endpoint routed in a span, after a number; replays of them are left out."""
        return [
            (number, one)
            for number, one in self._deliveries.items()
            if number > after
            and one.endpoint_id == endpoint_id
            and since <= one.created_at < until
            and one.lane is not Lane.REPLAY
        ][:limit]

    def add(
        self,
        deliveries: Sequence[Delivery],
        *,
        command_id: str | None = None,
        result: Any = None,
        replaces: Sequence[int] = (),
    ) -> list[int]:
        """Store deliveries, with the command that asked for them and its result; link dead letters they replace."""
        new = list(deliveries)
        first = len(self._deliveries) + 1
        numbers = list(range(first, first + len(new)))
        self._deliveries |= dict(zip(numbers, new, strict=True))
        for number, old in zip(numbers, replaces, strict=False):
            if old in self._deliveries and self._deliveries[old].state is DeliveryState.DEAD:
                self._deliveries[old] = replace(self._deliveries[old], replaced_by=number)
        if command_id is not None:
            self._commands[command_id] = msgspec.json.encode(result)
        return numbers

    def command_result(self, command_id: str) -> Any | None:
        """Return the result of a command that was carried out, or None."""
        found = self._commands.get(command_id)
        return None if found is None else msgspec.json.decode(found)

    async def raise_alarms(self, alarms: Sequence[Alarm]) -> None:
        """Store *alarms*, repeated ones counted."""
        self.alarms = with_alarms(self.alarms, alarms)

    # --- endpoints, figures ---------------------------------------------------------------------

    def stop_endpoint(self, endpoint_id: str, stop: Stop) -> None:
        """Note that an endpoint stopped by itself."""
        self._stopped[endpoint_id] = stop

    def start_endpoint(self, endpoint_id: str) -> None:
        """Forget that an endpoint stopped or failed."""
        self._stopped.pop(endpoint_id, None)
        self._failing.pop(endpoint_id, None)

    def stopped(self) -> dict[str, Stop]:
        """Return the endpoints that stopped by themselves."""
        return dict(self._stopped)

    def failing(self) -> dict[str, datetime]:
        """Return since when every attempt of an endpoint failed, for those of which the last one did."""
        return dict(self._failing)

    def day(self, app_id: str, day: str) -> DayStats | None:
        """Return one app's figures of a day."""
        return self._days.get((app_id, day))

    def _count(self, app_id: str, tally: Tally) -> None:
        new = {(app_id, tally.day, member) for member in tally.members} - self._members
        self._members |= new
        day, before = self._present.get(app_id, ("", 0))
        present = max(0, before + tally.present_delta)
        self._present[app_id] = (max(day, tally.day), present)
        most = 0 if tally.day < day else max(before, present)  # a late entry of an earlier day is nobody's peak
        was = self._days.get((app_id, tally.day), DayStats(app_id=app_id, day=tally.day))
        self._days[app_id, tally.day] = replace(
            was,
            meetings=was.meetings + tally.meetings,
            meeting_seconds=was.meeting_seconds + tally.meeting_seconds,
            participant_seconds=was.participant_seconds + tally.participant_seconds,
            joins=was.joins + tally.joins,
            members=was.members + len(new),
            peak=max(was.peak, most),
        )


def _settled(one: Delivery, attempt: Attempt | None, step: NextStep, lane: Lane, attempts: int) -> Delivery:
    may_be = attempt is not None and not isinstance(step, Done) and may_have_arrived(attempt.exchange.outcome)
    made = replace(one, lane=lane, attempts=attempts, possible_duplicate=one.possible_duplicate or may_be)
    match step:
        case Done():
            return replace(made, state=DeliveryState.DELIVERED, due_at=_EPOCH, reason=None)
        case RetryAt(due_at=due_at, reason=reason):
            return replace(made, state=DeliveryState.WAITING, due_at=due_at, reason=reason)
        case Dead(reason=reason):
            return replace(made, state=step.state, due_at=_EPOCH, reason=reason)
