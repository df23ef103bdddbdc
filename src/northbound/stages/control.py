"""Carry out what people ask of the delivery process: replays, test events, endpoints started again.

A replay goes page by page, each stored with how far it came, so that it neither holds up live deliveries nor doubles
after a crash.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
import structlog
from msgspec.structs import replace

from northbound.model.delivery import Delivery, DeliveryState, Lane
from northbound.model.errors import HubError, InvalidInput
from northbound.ports import Clock

REPLAY_MAX = 1_000_000  # deliveries of one replay; its result says that there is more
UNREADABLE = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, msgspec.MsgspecError)
PAGE = 500  # deliveries looked at in one step
log = structlog.get_logger()


class ReplayStore(Protocol):
    """What replays need of the delivery database."""

    def dead(
        self, endpoint_id: str | None, after: int, limit: int, *, again: bool = True
    ) -> list[tuple[int, Delivery]]:
        """Return dead letters after a number; without *again* none that was sent again."""
        ...

    def between(
        self, endpoint_id: str, since: datetime, until: datetime, after: int, limit: int
    ) -> list[tuple[int, Delivery]]:
        """Return live deliveries of a span after a number."""
        ...

    def load(self, number: int) -> Delivery | None:
        """Return one delivery."""
        ...

    def add(
        self,
        deliveries: Sequence[Delivery],
        *,
        command_id: str | None = None,
        result: Any = None,
        replaces: Sequence[int] = (),
    ) -> list[int]:
        """Store deliveries, the last page with the command and its result; link dead letters that they replace."""
        ...

    def command_result(self, command_id: str) -> Any | None:
        """Return the result of a command carried out before."""
        ...

    def start_endpoint(self, endpoint_id: str) -> None:
        """Forget that an endpoint stopped by itself."""
        ...


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of what a replay is about, and where the next page begins; None after the last."""

    found: list[tuple[int, Delivery]]
    after: int | None


class OneDelivery(Protocol):
    """What can be done to one delivery that waits."""

    def skip(self, number: int, reason: str) -> None:
        """Settle it as cancelled, so that its room goes on; raise `Conflict`."""
        ...

    def resend(self, number: int) -> None:
        """Let it be sent now; raise `Conflict`."""
        ...


class Control:
    """The stage: `step` carries out one command, once, a page at a time."""

    def __init__(
        self,
        store: ReplayStore,
        clock: Clock,
        on_added: Callable[[Sequence[int], Sequence[Delivery]], None],
        test_event: Callable[[str], list[Delivery]],
        on_started: Callable[[str], None],
        hands: OneDelivery | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_added = on_added
        self._test_event = test_event
        self._on_started = on_started
        self._hands = hands

    def step(self, command_id: str, command: dict[str, Any]) -> Any | None:
        """Carry out a page of *command* unless it was before; return its result, None while there is more to do."""
        done = self._store.command_result(command_id)
        if done is not None:
            return done
        try:
            return self._carry_out(command_id, command)
        except HubError as error:
            result = {"error": error.code, "message": error.message}
        except UNREADABLE as error:
            result = {"error": InvalidInput.code, "message": f"the command cannot be read: {error}"}
        self._store.add([], command_id=command_id, result=result)
        return result

    def _carry_out(self, command_id: str, command: dict[str, Any]) -> Any | None:
        match command.get("do"):
            case "replay":
                return self._replay(command_id, command)
            case "test":
                return self._add(command_id, self._test_event(str(command["endpoint_id"])), after=None, count=0)
            case "start_endpoint":
                endpoint_id = str(command["endpoint_id"])
                self._store.start_endpoint(endpoint_id)
                self._on_started(endpoint_id)
                return self._add(command_id, [], after=None, count=0)
            case "skip" if self._hands is not None:
                self._hands.skip(int(command["number"]), str(command["reason"]))
                return self._add(command_id, [], after=None, count=1)
            case "resend" if self._hands is not None:
                self._hands.resend(int(command["number"]))
                return self._add(command_id, [], after=None, count=1)
            case other:
                raise InvalidInput(f"there is no command {other!r}")

    def _replay(self, command_id: str, command: dict[str, Any]) -> Any | None:
        progress = self._store.command_result(_progress(command_id)) or {"after": 0, "count": 0}
        page = self._page(command, progress["after"])
        now = self._clock.now()
        own = f"@{command_id}"  # what this very command sent again and lost again
        chosen = [(number, one) for number, one in page.found if not one.id.endswith(own)]
        again = [replayed(one, command_id, now) for _, one in chosen]
        replaces = [number for number, _ in chosen]
        return self._add(command_id, again, after=page.after, count=progress["count"], replaces=replaces)

    def _add(
        self,
        command_id: str,
        deliveries: list[Delivery],
        *,
        after: int | None,
        count: int,
        replaces: Sequence[int] = (),
    ) -> Any | None:
        count += len(deliveries)
        if after is not None and count < REPLAY_MAX:
            progress = {"after": after, "count": count}
            numbers = self._store.add(deliveries, command_id=_progress(command_id), result=progress, replaces=replaces)
            self._on_added(numbers, deliveries)
            return None
        result = {"count": count} if after is None else {"count": count, "more": True}
        numbers = self._store.add(deliveries, command_id=command_id, result=result, replaces=replaces)
        self._on_added(numbers, deliveries)
        log.info("command.done", command=command_id, count=count)
        return result

    def _page(self, command: dict[str, Any], after: int) -> Page:
        if "numbers" in command:
            numbers = [int(number) for number in command["numbers"]]
            loaded = [(number, self._store.load(number)) for number in numbers[after : after + PAGE]]
            is_last = after + PAGE >= len(numbers)
            return Page(
                found=[(number, one) for number, one in loaded if one is not None],
                after=None if is_last else after + PAGE,
            )
        endpoint_id = command.get("endpoint_id")
        if command.get("all_failed"):
            return _paged(self._store.dead(endpoint_id, after, PAGE, again=bool(command.get("again"))))
        if endpoint_id is None:
            raise InvalidInput("a replay of a span needs endpoint_id", field="endpoint_id")
        since = msgspec.convert(command["since"], datetime)
        until = msgspec.convert(command["until"], datetime)
        return _paged(self._store.between(endpoint_id, since, until, after, PAGE))


def _paged(rows: list[tuple[int, Delivery]]) -> Page:
    return Page(found=rows, after=rows[-1][0] if len(rows) == PAGE else None)


def _progress(command_id: str) -> str:
    return f"{command_id}/progress"


def replayed(delivery: Delivery, command_id: str, now: datetime) -> Delivery:
    """Return the delivery as a replay: same event, words and ids on the wire, a lane of its own."""
    return replace(
        delivery,
        id=f"{delivery.id.partition('@')[0]}@{command_id}",
        lane=Lane.REPLAY,
        state=DeliveryState.WAITING,
        created_at=now,
        due_at=now,
        attempts=0,
        reason=None,
        possible_duplicate=delivery.possible_duplicate or delivery.state is DeliveryState.DELIVERED,
        replaced_by=None,
    )
