"""Settle as cancelled what waits for endpoints that were deleted (D13)."""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from northbound.logic.order import LaneKey, Lanes
from northbound.model.delivery import Attempt, Dead, Lane, NextStep
from northbound.stages.kept import Kept

ROWS = 256  # outcomes in one commit
DELETED = Dead(reason="cancelled: the endpoint was deleted", cancelled=True)
log = structlog.get_logger()
Row = tuple[int, Attempt | None, NextStep, Lane, int]


async def cancel_all(
    endpoint_id: str, lanes: Lanes, kept: Kept, store: Callable[[Sequence[Row]], Awaitable[None]]
) -> int:
    """Cancel what waits for an endpoint and is not under way; return how many."""
    left = lanes.lanes_of(endpoint_id)
    cancelled = 0
    while left:
        rows: list[Row] = []
        chunk: list[tuple[LaneKey, int]] = []
        while left and len(rows) < ROWS:
            numbers = lanes.waiting_in(left[-1])
            chunk.append((left.pop(), len(numbers)))
            rows += [_cancelled(number, kept) for number in numbers]
        await store(rows)
        for key, count in chunk:
            lanes.forget(key, count)
        cancelled += len(rows)
    log.warning("delivery.cancelled", endpoint=endpoint_id, count=cancelled, reason=DELETED.reason)
    return cancelled


def _cancelled(number: int, kept: Kept) -> Row:
    known = kept.get(number)
    kept.drop(number)
    lane, attempts = (known.lane, known.attempts) if known is not None else (Lane.LIVE, 0)
    return (number, None, DELETED, lane, attempts)
