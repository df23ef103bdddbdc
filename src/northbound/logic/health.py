"""Decide when an endpoint that only fails is stopped, when it is tried again, and when a room's head is poison.

Only attempts that were sent and are the endpoint's own fault count (D6). Waits are jittered, so that endpoints which
failed together are not tried, or back, at the same instant (D16).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from northbound.model.app import Endpoint
from northbound.model.delivery import NextStep, RetryAt

POISON_ATTEMPTS: Final = 5  # failed attempts of a room's head before somebody hears of it
PROBE_SPREAD: Final = 0.5  # a probe comes up to this share of the wait earlier or later


def failing_changes(
    known: Mapping[str, datetime], outcomes: Iterable[tuple[str, bool]], now: datetime
) -> dict[str, datetime | None]:
    """Return what (endpoint id, accepted), in order, change about since when endpoints fail; None: no longer."""
    changes: dict[str, datetime | None] = {}
    for endpoint_id, is_accepted in outcomes:
        since = changes[endpoint_id] if endpoint_id in changes else known.get(endpoint_id)
        if is_accepted != (since is None):
            changes[endpoint_id] = None if is_accepted else now
    return {name: since for name, since in changes.items() if since != known.get(name)}


def fails_too_long(endpoint: Endpoint, since: datetime, now: datetime, usual: timedelta, *, scale: float = 1.0) -> bool:
    """Tell whether every attempt failed for as long as the endpoint (or the setting *usual*) bears; 0: for ever."""
    hours = endpoint.fails_hours
    limit = (usual if hours is None else timedelta(hours=hours)) * scale
    return limit > timedelta() and now - since >= limit


def next_probe(now: datetime, every: timedelta, jitter: float) -> datetime:
    """Return when a stopped endpoint is tried next; *jitter* is in [0, 1)."""
    return now + every * (1 - PROBE_SPREAD + 2 * PROBE_SPREAD * jitter)


def is_poison(step: NextStep, attempts: int, *, leaves: bool) -> bool:
    """Tell whether a head that failed *attempts* times is news: it fails on and on, or *leaves* its lane for it."""
    return isinstance(step, RetryAt) and (leaves or attempts >= POISON_ATTEMPTS)


def room_of(order_key: str) -> tuple[str, str]:
    """Return (source id, room id) of a delivery's order key."""
    source_id, _, rest = order_key.partition("/")
    return source_id, rest.partition("/")[2]
