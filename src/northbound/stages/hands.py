"""What an operator does to one delivery that waits: skip it, or have it sent now (D14)."""

from collections.abc import Callable
from datetime import datetime

import structlog

from northbound.logic.order import LaneKey, Lanes, lane_key
from northbound.model.app import Endpoint, EndpointState
from northbound.model.delivery import Dead, Delivery, DeliveryState
from northbound.model.errors import Conflict, NotFound
from northbound.ports import DeliveryQueue
from northbound.stages.health import Heads
from northbound.stages.kept import Kept

SKIPPED = "skipped: "  # what the reason of a delivery begins with that somebody skipped
log = structlog.get_logger()


class Hands:
    """The operator's hands in what is queued; *now* is the lanes' time, *wake* has the stage look again."""

    def __init__(
        self,
        queue: DeliveryQueue,
        lanes: Lanes,
        kept: Kept,
        heads: Heads,
        endpoint: Callable[[str], Endpoint | None],
        now: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._lanes = lanes
        self._kept = kept
        self._heads = heads
        self._endpoint = endpoint
        self._now = now
        self._wake = wake

    def skip(self, number: int, reason: str) -> None:
        """Settle a delivery that waits as cancelled, so that its room goes on; raise `Conflict` when it cannot be."""
        known = self._queue.load(number)
        if known is not None and (known.reason or "").startswith(SKIPPED):
            return  # the same command, after a crash
        delivery, key = self._waiting(number)
        if number in self._lanes.waiting_in(key)[: self._lanes.leased_in(key)]:
            raise Conflict(f"delivery {number} is under way; try again when its attempt has ended")
        is_first = self._lanes.waiting_in(key)[0] == number
        step = Dead(reason=f"{SKIPPED}{reason}", cancelled=True)
        self._queue.settle([(number, None, step, delivery.lane, delivery.attempts)])
        self._lanes.skip(key, number, self._now())
        self._kept.drop(number)
        if is_first:
            self._heads.mended(key)
        log.warning("delivery.skipped", delivery=delivery.id, endpoint=delivery.endpoint_id)
        self._wake()

    def resend(self, number: int) -> None:
        """Let a delivery that waits for its next attempt be sent now; raise `Conflict` when it cannot be."""
        delivery, key = self._waiting(number)
        first = self._lanes.waiting_in(key)[0]
        endpoint = self._endpoint(delivery.endpoint_id)
        if endpoint is None or endpoint.state is not EndpointState.ENABLED:
            raise Conflict("its endpoint is not enabled; enable it, and what waits is sent")
        if first != number:
            raise Conflict(f"delivery {first} of the same room is before it; resend or skip that one")
        if not self._lanes.leased_in(key):
            self._lanes.hurry(key, self._now())
            self._wake()

    def _waiting(self, number: int) -> tuple[Delivery, LaneKey]:
        delivery = self._kept.get(number)
        if delivery is None:
            raise NotFound(f"there is no delivery {number}")
        if delivery.state is not DeliveryState.WAITING:
            raise Conflict(f"delivery {number} is {delivery.state.value}; only what waits is skipped or sent now")
        if self._endpoint(delivery.endpoint_id) is None:
            raise Conflict(f"delivery {number} is being cancelled: its endpoint was deleted")
        key = lane_key(number, delivery.endpoint_id, delivery.order_key, delivery.lane)
        if number not in self._lanes.waiting_in(key):
            raise Conflict(f"delivery {number} is not queued yet; try again")
        return delivery, key
