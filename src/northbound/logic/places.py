"""Decide how many exchanges an endpoint, and an app, may have under way, so that slow receivers starve nobody (T10).

An exchange holds a place until it ends, which takes a receiver that never answers its whole deadline. So an endpoint
begins with few places, gets one more with each acceptance, and is back at few when its exchanges end late and in vain.
"""

from collections import Counter, OrderedDict
from typing import Final

import msgspec

from northbound.model.delivery import Exchange, Failure, FailureKind

PLACES: Final = 256  # exchanges under way at once; the sender has as many connections, so none waits there
NARROW: Final = 2  # places of an endpoint that is not known to answer: one for what is live, one for a replay
SLOW_MS: Final = 1000  # 256 places at a second each are 256 exchanges a second; slower ones take a share
SLOW_PLACES: Final = PLACES // 2  # for all endpoints together that are slow, or not known to answer
APP_PLACES: Final = PLACES * 3 // 4  # for one app at most: the rest is there for whoever comes next


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint's exchanges showed: how many places it may have, and whether it frees them quickly."""

    width: int = NARROW
    is_quick: bool = False


def paced(pace: Pace, exchange: Exchange, *, is_accepted: bool) -> Pace:
    """Return an endpoint's pace after one more exchange; one that fails quickly changes nothing."""
    is_slow = exchange.duration_ms >= SLOW_MS
    if is_accepted:
        if pace.width == PLACES and pace.is_quick is not is_slow:
            return pace
        return Pace(width=min(pace.width + 1, PLACES), is_quick=not is_slow)
    outcome = exchange.outcome
    if is_slow or (isinstance(outcome, Failure) and outcome.kind is FailureKind.TIMEOUT):
        return Pace()
    return pace


class Taken:
    """Counts the places that are taken, by app and by those that are slow."""

    def __init__(self) -> None:
        self._by_app: Counter[str] = Counter()
        self._slow = 0

    @property
    def is_slow_full(self) -> bool:
        """Whether slow endpoints have all they may have together."""
        return self._slow >= SLOW_PLACES

    def is_full(self, app_id: str) -> bool:
        """Tell whether an app has all it may have."""
        return self._by_app[app_id] >= APP_PLACES

    def take(self, app_id: str, count: int = 1, *, is_quick: bool) -> None:
        """Count a place as taken; freed with a *count* of -1 and what it was taken with."""
        self._by_app[app_id] += count
        if not is_quick:
            self._slow += count


class Turn:
    """Endpoints in turn: apps one after the other, and the endpoints of each; nobody is in it twice."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self._apps: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()  # its ends cost the same at any length

    def add(self, app_id: str, endpoint_id: str) -> None:
        """Put an endpoint behind the others of its app, and an app behind the others, unless it is there."""
        self._apps.setdefault(app_id, OrderedDict())[endpoint_id] = None

    def remove(self, app_id: str, endpoint_id: str) -> None:
        """Take an endpoint out, if it is there."""
        queue = self._apps.get(app_id, OrderedDict())
        queue.pop(endpoint_id, None)
        if not queue:
            self._apps.pop(app_id, None)

    def next(self) -> str | None:
        """Return the next endpoint of the next app that is not full, and put it behind the others; None: nobody is."""
        for _ in range(len(self._apps)):  # two at most: there are not places enough for two full apps
            app_id, queue = next(iter(self._apps.items()))
            self._apps.move_to_end(app_id)
            if not self._taken.is_full(app_id):
                endpoint_id = next(iter(queue))
                queue.move_to_end(endpoint_id)
                return endpoint_id
        return None
