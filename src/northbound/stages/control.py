"""Carry out what people ask of the delivery process: replays, test events, endpoints started again."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
import structlog
from msgspec.structs import replace

from northbound.model.delivery import Delivery, DeliveryState, Lane
from northbound.model.errors import HubError, InvalidInput
from northbound.ports import Clock

REPLAY_MAX = 1_000_000  # deliveries of one replay; ask for a narrower span above it
PAGE = 500
log = structlog.get_logger()


class ReplayStore(Protocol):
    """What replays need of the delivery database."""

    def dead(self, endpoint_id: str | None, after: int, limit: int) -> list[tuple[int, Delivery]]:
        """Return dead letters after a number."""
        ...

    def between(
        self, endpoint_id: str, since: datetime, until: datetime, after: int, limit: int
    ) -> list[tuple[int, Delivery]]:
        """Return live deliveries of a span after a number."""
        ...

    def load(self, number: int) -> Delivery | None:
        """Return one delivery."""
        ...

    def add(self, deliveries: Sequence[Delivery], *, command_id: str | None = None, result: Any = None) -> list[int]:
        """Store deliveries, the last page with the command and its result."""
        ...

    def command_result(self, command_id: str) -> Any | None:
        """Return the result of a command carried out before."""
        ...

    def start_endpoint(self, endpoint_id: str) -> None:
        """Forget that an endpoint stopped by itself."""
        ...


class Control:
    """The stage: `step` carries out one command, once."""

    def __init__(
        self,
        store: ReplayStore,
        clock: Clock,
        on_added: Callable[[Sequence[int], Sequence[Delivery]], None],
        test_event: Callable[[str], list[Delivery]],
        on_started: Callable[[str], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_added = on_added
        self._test_event = test_event
        self._on_started = on_started

    def step(self, command_id: str, command: dict[str, Any]) -> Any:
        """Carry out *command* unless it was before; return its result."""
        done = self._store.command_result(command_id)
        if done is not None:
            return done
        try:
            return self._carry_out(command_id, command)
        except HubError as error:
            result = {"error": error.code, "message": error.message}
            self._store.add([], command_id=command_id, result=result)
            return result

    def _carry_out(self, command_id: str, command: dict[str, Any]) -> Any:
        match command.get("do"):
            case "replay":
                return self._replay(command_id, command)
            case "test":
                return self._finish(command_id, self._test_event(str(command["endpoint_id"])))
            case "start_endpoint":
                endpoint_id = str(command["endpoint_id"])
                self._store.start_endpoint(endpoint_id)
                self._on_started(endpoint_id)
                return self._finish(command_id, [])
            case other:
                raise InvalidInput(f"there is no command {other!r}")

    def _replay(self, command_id: str, command: dict[str, Any]) -> Any:
        now = self._clock.now()
        found = [replayed(one, command_id, now) for one in self._chosen(command)]
        return self._finish(command_id, found)

    def _finish(self, command_id: str, deliveries: list[Delivery]) -> Any:
        result = {"count": len(deliveries)}
        numbers = self._store.add(deliveries, command_id=command_id, result=result)
        self._on_added(numbers, deliveries)
        log.info("command.done", command=command_id, count=len(deliveries))
        return result

    def _chosen(self, command: dict[str, Any]) -> list[Delivery]:
        if "numbers" in command:
            loaded = [self._store.load(int(number)) for number in command["numbers"]]
            return [one for one in loaded if one is not None]
        endpoint_id = command.get("endpoint_id")
        if command.get("all_failed"):
            return self._pages(lambda after: self._store.dead(endpoint_id, after, PAGE))
        if endpoint_id is None:
            raise InvalidInput("a replay of a span needs endpoint_id", field="endpoint_id")
        since = msgspec.convert(command["since"], datetime)
        until = msgspec.convert(command["until"], datetime)
        return self._pages(lambda after: self._store.between(endpoint_id, since, until, after, PAGE))

    def _pages(self, page: Callable[[int], list[tuple[int, Delivery]]]) -> list[Delivery]:
        chosen: list[Delivery] = []
        after = 0
        while found := page(after):
            chosen.extend(one for _, one in found)
            after = found[-1][0]
            if len(chosen) > REPLAY_MAX:
                raise InvalidInput(f"over {REPLAY_MAX} deliveries; choose a narrower span")
        return chosen


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
        possible_duplicate=False,
    )
