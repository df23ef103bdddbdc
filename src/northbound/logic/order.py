"""Keep room order: one delivery at a time per endpoint, room and lane, the next when it is settled (law 4).

A head that stays stuck longer than its endpoint's lane hold, or would not be tried again within it, is set aside: it is
retried outside the lane, one by one, and the room goes on. Within its lane what was sent as one request is sent again
as the same request. Replays have lanes of their own and a quarter of an endpoint's places, so that live deliveries
never wait for them. How many places an endpoint has is decided by `logic.places`. This holds numbers, not deliveries;
it knows the time only as an argument.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import islice

import msgspec
from msgspec.structs import replace

from northbound.logic.places import Pace, Taken, Turn, paced
from northbound.model.app import Endpoint, EndpointState
from northbound.model.delivery import Exchange, Lane, NextStep, RetryAt

LaneKey = tuple[str, str, str]  # endpoint id, order key (with the number in the aside lane), lane
APART = frozenset({Lane.ASIDE, Lane.LOOSE})  # nothing waits behind one of these (ADR 11)
REPLAY_SHARE = 4  # a replay may take one of this many places of an endpoint


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries of one lane that may be sent now, as one request when there are several."""

    lane_key: LaneKey
    numbers: tuple[int, ...]
    is_probe: bool = False  # tries whether a stopped endpoint is back
    app_id: str = ""  # in whose share its place is counted
    is_quick: bool = False  # whether its endpoint frees places quickly

    @property
    def endpoint_id(self) -> str:
        """The endpoint they go to."""
        return self.lane_key[0]

    @property
    def lane(self) -> Lane:
        """The lane they are in."""
        return Lane(self.lane_key[2])


class _Head:
    """A lane's queue: numbers in order, when the first is due, how many of them were tried, failing since when."""

    __slots__ = ("due_at", "failing_since", "leased", "numbers", "tried")

    def __init__(self, due_at: datetime) -> None:
        self.numbers: deque[int] = deque()
        self.due_at = due_at
        self.leased = 0
        self.tried = 0
        self.failing_since: datetime | None = None


class _Places:
    """An endpoint's lanes, those that are ready, how many of its places are taken, and how many it may take."""

    __slots__ = ("app_id", "lanes", "live", "oldest", "pace", "ready", "ready_replay", "replay")

    def __init__(self) -> None:
        self.app_id = ""  # set with its first turn
        self.pace = Pace()
        self.live = 0
        self.replay = 0
        self.lanes: dict[LaneKey, None] = {}
        self.oldest: list[tuple[int, LaneKey]] | None = None  # heap of (first number, lane) while it is probed
        self.ready: deque[LaneKey] = deque()
        self.ready_replay: deque[LaneKey] = deque()


class Lanes:
    """All that waits, by lane."""

    def __init__(self, endpoint: Callable[[str], Endpoint | None], batch: Callable[[Endpoint], int]) -> None:
        self._endpoint = endpoint
        self._batch = batch
        self._heads: dict[LaneKey, _Head] = {}
        self._places: dict[str, _Places] = {}
        self._taken = Taken()
        self._quick, self._slow = Turn(self._taken), Turn(self._taken)  # endpoints that may have something ready
        self._in_turn: set[str] = set()
        self._slow_goes_first = False
        self._later: list[tuple[datetime, LaneKey]] = []
        self.size = 0

    def add(
        self,
        number: int,
        endpoint_id: str,
        order_key: str,
        lane: Lane,
        due_at: datetime,
        now: datetime,
        *,
        tried: bool = False,
    ) -> bool:
        """Queue a delivery behind those of its lane, set aside or loose behind nobody; tell whether it is the first."""
        key = lane_key(number, endpoint_id, order_key, lane)
        head = self._heads.get(key)
        self.size += 1
        if head is not None:
            head.numbers.append(number)
            head.tried += tried
            return False
        head = self._heads[key] = _Head(due_at)
        head.numbers.append(number)
        head.tried += tried
        places = self._places_of(endpoint_id)
        places.lanes[key] = None
        if places.oldest is not None:
            heapq.heappush(places.oldest, (number, key))
        self._schedule(key, head, now)
        return True

    def lease(self, now: datetime, limit: int) -> list[Lease]:
        """Return up to *limit* leases, apps and their endpoints taking turns; who is paused or full keeps its lanes.

        A lease holds its place among all until it `ended`, and its endpoint's until it is settled.
        """
        while self._later and self._later[0][0] <= now:
            self._make_ready(heapq.heappop(self._later)[1], now)
        leases: list[Lease] = []
        while len(leases) < limit and (endpoint_id := self._next()) is not None:
            lease = self._lease_one(endpoint_id, now)
            if lease is None:  # nothing ready, full, or paused: settling or resuming brings it back
                places = self._places[endpoint_id]
                self._leave_turn(endpoint_id, places, places.pace)
                continue
            leases.append(lease)
        return leases

    def ended(self, lease: Lease) -> None:
        """Free the lease's place among all: its exchange ended, though nothing is settled yet."""
        self._taken.take(lease.app_id, -1, is_quick=lease.is_quick)

    def learn(self, endpoint_id: str, exchange: Exchange, *, is_accepted: bool) -> None:
        """Take in how an exchange that says something of its endpoint ended: it has more or fewer places."""
        places = self._places_of(endpoint_id)
        before, places.pace = places.pace, paced(places.pace, exchange, is_accepted=is_accepted)
        if before.is_quick is not places.pace.is_quick and endpoint_id in self._in_turn:
            self._leave_turn(endpoint_id, places, before)
            self._take_turn(endpoint_id)

    def probe(self, endpoint_id: str) -> Lease | None:
        """Lease the oldest that waits for a stopped endpoint, due or not; None when nothing waits or one is under way.

        It is a head: whatever waits before it in its room is older. Its time and its lane stay what they are.
        """
        places = self._places.get(endpoint_id)
        if places is None or places.live + places.replay:
            return None
        if places.oldest is None:
            places.oldest = [(self._heads[key].numbers[0], key) for key in places.lanes]
            heapq.heapify(places.oldest)
        while places.oldest:
            number, key = places.oldest[0]
            head = self._heads.get(key)
            if head is None or head.numbers[0] != number:  # it was settled or skipped meanwhile
                heapq.heappop(places.oldest)
                if head is not None and head.numbers[0] > number:
                    heapq.heappush(places.oldest, (head.numbers[0], key))
                continue
            return self._leased(places, key, head, head.tried or 1, is_probe=True)
        return None

    def next_due(self) -> datetime | None:
        """Return when the next waiting head is due, None when nothing waits for a time."""
        return self._later[0][0] if self._later else None

    def destined(self, lease: Lease, step: NextStep, now: datetime) -> Lane:
        """Return the lane that the lease's deliveries are in once *step* is settled; changes nothing."""
        if lease.is_probe or lease.lane in APART or not isinstance(step, RetryAt):
            return lease.lane
        endpoint = self._endpoint(lease.endpoint_id)
        since = self._heads[lease.lane_key].failing_since or now
        if endpoint is None or max(now, step.due_at) - since < endpoint.lane_hold:
            return lease.lane
        return Lane.ASIDE

    def settle(self, lease: Lease, step: NextStep, lane: Lane, now: datetime) -> None:
        """Free the lease's place and go on; its deliveries are in *lane*, as `destined`, from now on."""
        key = lease.lane_key
        head = self._heads[key]
        self._free(lease)
        head.leased = 0
        if isinstance(step, RetryAt) and lane is lease.lane:
            head.due_at = step.due_at
            head.tried = len(lease.numbers)
            head.failing_since = head.failing_since or now
        else:
            self._take_out(head, lease.numbers, now)
        if isinstance(step, RetryAt) and lane is not lease.lane:
            for number in lease.numbers:
                self.add(number, key[0], key[1], lane, step.due_at, now)
        if head.numbers:
            self._schedule(key, head, now)
        else:
            self._drop(key)

    def give_back(self, lease: Lease, due_at: datetime, now: datetime) -> None:
        """Take back a lease that came to nothing: nothing was sent, and its lane is due again at *due_at*."""
        self.ended(lease)
        self._free(lease)
        head = self._heads[lease.lane_key]
        head.leased = 0
        head.due_at = max(head.due_at, due_at)
        self._schedule(lease.lane_key, head, now)

    def shrink(self, lease: Lease, count: int) -> Lease:
        """Lease only the first *count* of what is leased: together they are more than one request can say."""
        head = self._heads[lease.lane_key]
        head.leased = count
        return replace(lease, numbers=lease.numbers[:count])

    def endpoint_ids(self) -> set[str]:
        """Return the endpoints that something waits for."""
        return {name for name, places in self._places.items() if places.lanes}

    def resume(self, endpoint_id: str) -> None:
        """Give an endpoint a turn again: it was enabled, or has a free place."""
        places = self._places.get(endpoint_id)
        endpoint = None if places is None or places.oldest is None else self._endpoint(endpoint_id)
        if places is not None and endpoint is not None and endpoint.state is EndpointState.ENABLED:
            places.oldest = None
        self._take_turn(endpoint_id)

    def lanes_of(self, endpoint_id: str) -> list[LaneKey]:
        """Return the endpoint's lanes that are not under way."""
        places = self._places.get(endpoint_id)
        return [] if places is None else [key for key in places.lanes if not self._heads[key].leased]

    def waiting_in(self, key: LaneKey) -> tuple[int, ...]:
        """Return what waits in a lane, in order."""
        head = self._heads.get(key)
        return () if head is None else tuple(head.numbers)

    def forget(self, key: LaneKey, count: int) -> None:
        """Drop the first *count* of a lane that is not under way: its endpoint was deleted."""
        head = self._heads[key]
        for _ in range(count):
            head.numbers.popleft()
        self.size -= count
        if not head.numbers:
            self._drop(key)

    def skip(self, key: LaneKey, number: int, now: datetime) -> None:
        """Take a delivery out of a lane where it is not under way; what is behind it goes on."""
        head = self._heads[key]
        place = head.numbers.index(number)
        head.numbers.remove(number)
        self.size -= 1
        if place < head.tried:
            head.tried -= 1
        if place == 0:
            head.failing_since = None
            head.due_at = now
        if not head.numbers:
            self._drop(key)
        elif place == 0:
            self._schedule(key, head, now)

    def hurry(self, key: LaneKey, now: datetime) -> None:
        """Let the first of a lane that is not under way be due now."""
        head = self._heads[key]
        head.due_at = now
        self._schedule(key, head, now)

    def leased_in(self, key: LaneKey) -> int:
        """Return how many of a lane are under way."""
        head = self._heads.get(key)
        return 0 if head is None else head.leased

    def _drop(self, key: LaneKey) -> None:
        del self._heads[key]
        self._places[key[0]].lanes.pop(key, None)

    def _free(self, lease: Lease) -> None:
        places = self._places[lease.endpoint_id]
        if lease.lane is Lane.REPLAY:
            places.replay -= 1
        else:
            places.live -= 1
        self.resume(lease.endpoint_id)

    def _take_out(self, head: _Head, numbers: Sequence[int], now: datetime) -> None:
        for _ in numbers:  # what is leased is always first
            head.numbers.popleft()
        head.tried = 0
        head.failing_since = None
        head.due_at = now
        self.size -= len(numbers)

    def _schedule(self, key: LaneKey, head: _Head, now: datetime) -> None:
        if head.due_at <= now:
            self._make_ready(key, now)
        else:
            heapq.heappush(self._later, (head.due_at, key))

    def _make_ready(self, key: LaneKey, now: datetime) -> None:
        head = self._heads.get(key)
        if head is None or head.leased or head.due_at > now:  # a time noted for a lane that was forgotten since
            return
        places = self._places_of(key[0])
        self.resume(key[0])
        (places.ready_replay if key[2] == Lane.REPLAY else places.ready).append(key)

    def _places_of(self, endpoint_id: str) -> _Places:
        places = self._places.get(endpoint_id)
        if places is None:
            places = self._places[endpoint_id] = _Places()
        return places

    def _take_turn(self, endpoint_id: str) -> None:
        if endpoint_id in self._in_turn:
            return
        places = self._places_of(endpoint_id)
        if not places.app_id and (endpoint := self._endpoint(endpoint_id)) is not None:
            places.app_id = endpoint.app_id
        self._in_turn.add(endpoint_id)
        self._turn_of(places.pace).add(places.app_id, endpoint_id)

    def _leave_turn(self, endpoint_id: str, places: _Places, pace: Pace) -> None:
        self._in_turn.discard(endpoint_id)
        self._turn_of(pace).remove(places.app_id, endpoint_id)

    def _turn_of(self, pace: Pace) -> Turn:
        return self._quick if pace.is_quick else self._slow

    def _next(self) -> str | None:
        """Return the next endpoint, quick and slow ones in turn while there are places for slow ones."""
        if self._taken.is_slow_full:
            return self._quick.next()
        self._slow_goes_first = not self._slow_goes_first
        first, then = (self._slow, self._quick) if self._slow_goes_first else (self._quick, self._slow)
        endpoint_id = first.next()
        return then.next() if endpoint_id is None else endpoint_id

    def _lease_one(self, endpoint_id: str, now: datetime) -> Lease | None:
        endpoint = self._endpoint(endpoint_id)
        if endpoint is None or endpoint.state is not EndpointState.ENABLED:
            return None
        places = self._places_of(endpoint_id)
        cap = min(max(1, endpoint.max_in_flight), places.pace.width)
        if places.live + places.replay >= cap:
            return None
        key = self._ready_in(places.ready, now)
        if key is None and places.replay < max(1, cap // REPLAY_SHARE):
            key = self._ready_in(places.ready_replay, now)
        if key is None:
            return None
        head = self._heads[key]
        return self._leased(places, key, head, head.tried or max(1, self._batch(endpoint)))

    def _ready_in(self, ready: deque[LaneKey], now: datetime) -> LaneKey | None:
        while ready:
            key = ready.popleft()
            head = self._heads.get(key)
            if head is not None and not head.leased and head.due_at <= now:
                return key
        return None

    def _leased(self, places: _Places, key: LaneKey, head: _Head, count: int, *, is_probe: bool = False) -> Lease:
        head.leased = min(count, len(head.numbers))
        if Lane(key[2]) is Lane.REPLAY:
            places.replay += 1
        else:
            places.live += 1
        app_id, is_quick = places.app_id, places.pace.is_quick
        self._taken.take(app_id, is_quick=is_quick)
        numbers = tuple(islice(head.numbers, head.leased))
        return Lease(lane_key=key, numbers=numbers, is_probe=is_probe, app_id=app_id, is_quick=is_quick)


def history_of(order_key: str) -> str:
    """Return what receivers are told a room by whose places they count: 16 hex digits, the same for ever.

    Two sources may have rooms of one name; which source it is stays ours to know.
    """
    return sha256(order_key.encode(errors="surrogatepass")).hexdigest()[:16]


def lane_key(number: int, endpoint_id: str, order_key: str, lane: Lane) -> LaneKey:
    """Return the lane of a delivery; set aside or loose, each is a lane of its own."""
    return (endpoint_id, f"{order_key}#{number}" if lane in APART else order_key, lane.value)
