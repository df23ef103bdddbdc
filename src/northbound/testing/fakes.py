"""A clock, dice and a sender that do as they are told, and short ways to build what the stages and the fold take.

For tests of your own dialects, rules and receivers: nothing here sleeps, rolls dice or opens a socket.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from northbound.logic.derive import Advance, Step, advance, memory_key
from northbound.model.app import App, Endpoint, Registry, Source, Subscription, Target
from northbound.model.delivery import Delivery, Exchange, Failure, Lane, View
from northbound.model.event import Event, EventType, Facts, Traits
from northbound.model.log import Logged, Origin, partition_of, room_key
from northbound.model.room import Memory, Room
from northbound.model.wire import Proof, Request, Response

NOW = datetime(2026, 3, 2, 4, 5, 6, tzinfo=UTC)
OK = Response(status=200)


class FakeClock:
    """A clock that stands still until `advance` is called."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """Return the time as aware UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return self._monotonic

    def advance(self, seconds: float) -> datetime:
        """Let *seconds* pass; return the time after."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
        return self._now

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator does; monotonic time goes on."""
        self._now += timedelta(seconds=seconds)


class FakeEntropy:
    """Dice that count: no two calls of `bytes` return the same, all runs do."""

    def __init__(self, fraction: float = 0.5) -> None:
        self._fraction = fraction
        self._count = 0

    def bytes(self, count: int) -> bytes:
        """Return *count* bytes."""
        self._count += 1
        return self._count.to_bytes(8, "big").rjust(count, b"\0")[-count:]

    def fraction(self) -> float:
        """Return the fraction that was set."""
        return self._fraction


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One request as the sender was given it, and how to say what came of it."""

    request: Request
    deadline: timedelta
    on_done: Callable[[Exchange], None]
    ca_pem: bytes | None = None


class FakeSender:
    """A sender that keeps what it is given until the test lets it answer.

    Answers come from *script*, one a request, then from *usual*; a callable is asked with the request. `send` answers
    at once.
    """

    def __init__(
        self,
        clock: FakeClock,
        *script: Response | Failure,
        usual: Response | Failure | Callable[[Request], Response | Failure] = OK,
    ) -> None:
        self._clock = clock
        self._script = deque(script)
        self.usual = usual
        self.sent: list[Request] = []
        self.pending: list[Sent] = []

    def submit(
        self,
        request: Request,
        *,
        deadline: timedelta,
        on_done: Callable[[Exchange], None],
        ca_pem: bytes | None = None,
    ) -> None:
        """Keep *request* until it is answered."""
        self.sent.append(request)
        self.pending.append(Sent(request=request, deadline=deadline, on_done=on_done, ca_pem=ca_pem))

    async def send(self, request: Request, *, deadline: timedelta) -> Exchange:
        """Answer *request*."""
        self.sent.append(request)
        return self._exchange(request, self._next(request))

    def answer(self, *outcomes: Response | Failure) -> int:
        """Answer what is pending, the oldest first, with *outcomes*, then as scripted; return how many there were."""
        pending, self.pending = self.pending, []
        given = deque(outcomes)
        for one in pending:
            outcome = given.popleft() if given else self._next(one.request)
            one.on_done(self._exchange(one.request, outcome))
        return len(pending)

    def answer_late(self, one: Sent, outcome: Response | Failure) -> None:
        """Answer one request that was taken from `pending` before, however late."""
        one.on_done(self._exchange(one.request, outcome))

    def _next(self, request: Request) -> Response | Failure:
        if self._script:
            return self._script.popleft()
        return self.usual(request) if callable(self.usual) else self.usual

    def _exchange(self, request: Request, outcome: Response | Failure) -> Exchange:
        return Exchange(request=request, outcome=outcome, started_at=self._clock.now(), duration_ms=1)


# --- builders --------------------------------------------------------------------------------------------------------


def at(seconds: float) -> datetime:
    """Return the time *seconds* after `NOW`."""
    return NOW + timedelta(seconds=seconds)


def event(
    kind: EventType,
    person: str | None = None,
    *,
    when: float | datetime | None = None,
    room: str | None = "r1",
    dialect: str = "elsewhere",
    facts: Mapping[str, Any] | Facts | None = None,
    **fields: Any,
) -> Event:
    """Return an event; *when* is its vendor time, as seconds after `NOW` or a datetime, None when the wire has none."""
    return Event(
        type=kind,
        dialect=dialect,
        room_id=room,
        participant_id=person,
        occurred_at=at(when) if isinstance(when, int | float) else when,
        facts=facts if isinstance(facts, Facts) else Facts(**(facts or {})),
        **fields,
    )


def logged(
    one: Event, offset: int = 0, *, source_id: str = "src_1", recorded_at: datetime | None = None, **fields: Any
) -> Logged:
    """Return *one* at its place in the log, recorded *offset* seconds after `NOW` unless told otherwise."""
    kept = Logged(
        id=f"ev_{offset:06d}",
        partition=partition_of(room_key(source_id, one)),
        offset=offset,
        source_id=source_id,
        recorded_at=recorded_at or at(offset),
        proof=Proof.CONTENT,
        origin=Origin.OBSERVED,
        event=one,
    )
    return replace(kept, **fields)


def app(identity: str = "app_1", **fields: Any) -> App:
    """Return an app."""
    given: dict[str, Any] = {"id": identity, "name": identity, "created_at": NOW, "time_zone": "UTC", **fields}
    return App(**given)


def source(identity: str = "src_1", *, dialect: str = "avd", **fields: Any) -> Source:
    """Return a source of `app_1`."""
    given: dict[str, Any] = {
        "id": identity,
        "app_id": "app_1",
        "name": identity,
        "token": "t",
        "created_at": NOW,
        **fields,
    }
    return Source(dialect=dialect, **given)


def endpoint(identity: str = "ep_1", *, dialect: str = "standard", **fields: Any) -> Endpoint:
    """Return an endpoint of `app_1`."""
    given: dict[str, Any] = {
        "id": identity,
        "app_id": "app_1",
        "url": f"http://{identity}.test/cb",
        "created_at": NOW,
        **fields,
    }
    return Endpoint(dialect=dialect, **given)


def subscription(identity: str = "sub_1", *targets: str, **fields: Any) -> Subscription:
    """Return a subscription of `app_1` to *targets*, `ep_1` when none is named."""
    linked = tuple(Target(endpoint_id=one) for one in targets or ("ep_1",))
    given: dict[str, Any] = {"id": identity, "app_id": "app_1", "created_at": NOW, "targets": linked, **fields}
    return Subscription(**given)


def registry(*objects: App | Source | Endpoint | Subscription, version: int = 1) -> Registry:
    """Return a registry of *objects*."""
    return Registry(
        version=version,
        apps=tuple(one for one in objects if isinstance(one, App)),
        sources=tuple(one for one in objects if isinstance(one, Source)),
        endpoints=tuple(one for one in objects if isinstance(one, Endpoint)),
        subscriptions=tuple(one for one in objects if isinstance(one, Subscription)),
    )


def delivery(place: int = 1, *, to: str = "ep_1", room: str = "src_1//r1", **fields: Any) -> Delivery:
    """Return a delivery of the event at *place* of its room, in standard words."""
    words = {"specversion": "1.0", "id": f"ev_{place}", "source": "t", "type": "participant.joined", "subject": "r1"}
    routed = Delivery(
        id=f"dl_{place}_{to}",
        endpoint_id=to,
        subscription_id="sub_1",
        source_id="src_1",
        event_id=f"ev_{place}",
        event_type=EventType.PARTICIPANT_JOINED.value,
        order_key=room,
        created_at=NOW,
        due_at=NOW,
        view=View(words=msgspec.Raw(msgspec.json.encode(words))),
        seq=place,
        prev=place - 1 or None,
        lane=Lane.LIVE,
    )
    return replace(routed, **fields)


class Folding:
    """Rooms being folded from events, one after the other, without a store."""

    def __init__(self, traits: Traits | None = None, *, source_id: str = "src_1") -> None:
        self.traits = traits or Traits()
        self.source_id = source_id
        self.rooms: dict[str, Room] = {}
        self.memories: dict[str, Memory] = {}
        self.steps: list[Step] = []
        self.entries: list[Logged] = []

    def take(self, *events: Event) -> "Folding":
        """Log and fold *events*."""
        for one in events:
            self.fold(logged(one, len(self.entries), source_id=self.source_id))
        return self

    def fold(self, entry: Logged) -> Advance:
        """Fold one entry as it stands in the log."""
        key = memory_key(entry)
        moved = advance(entry, self.rooms.get, self.memories.get(key, Memory()), self.traits)
        self.memories[key] = moved.memory
        self.rooms.update((step.key, step.after) for step in moved.steps)
        self.steps.extend(moved.steps)
        self.entries.append(entry)
        return moved

    @property
    def room(self) -> Room:
        """The room `r1`."""
        return self.rooms[f"{self.source_id}//r1"]

    @property
    def present(self) -> set[str]:
        """Who is in the room `r1`."""
        return set(self.room.participants)

    @property
    def told(self) -> list[str]:
        """What subscribers hear of, in short: type and person or track."""
        return [short(step.logged.event) for step in self.steps if step.deliver]


def short(one: Event) -> str:
    """Return an event in short: `participant.left alice`."""
    return " ".join(filter(None, (one.type.value, one.participant_id, one.track_id)))


def folded(events: Iterable[Event], traits: Traits | None = None) -> Folding:
    """Return the rooms after *events*."""
    return Folding(traits).take(*events)
