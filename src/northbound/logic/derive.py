"""Conclude what a wire leaves unsaid: rooms that open with their first member, half events completed, stays superseded.

One observed entry becomes a few steps: what must have happened before it, the entry itself, what follows from it. The
conclusions get ids from their cause, so concluding twice changes nothing, and they take their cause's place in the
room's order: a receiver sees the opening before the first join, although the log could only learn of it after.
"""

from collections.abc import Callable, Collection

import msgspec
from msgspec.structs import replace

from northbound.logic.project import OURS, apply, changes, dissolve, heard, moment, track_ids
from northbound.model.event import Event, EventType, Facts, Reason, Traits
from northbound.model.log import Logged, Origin, room_key
from northbound.model.room import Connection, Memory, Participant, Room, Track, Wanted

T = EventType
Rooms = Callable[[str], Room | None]
CONNECTIONS_KEPT = 10_000  # per memory; a wire that never closes connections must not grow us without end
WANTED_KEPT = 500  # media that one connection asked for and that were not confirmed
CONCLUSIONS_MAX = 20_000  # of one entry: the rest of a room of many thousand members ends without words of its own
HALF = frozenset({T.TRACK_SUBSCRIBED, T.TRACK_UNSUBSCRIBED, T.TRACK_STALLED, T.TRACK_RESUMED})


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One entry folded: its room before and after, and whether anybody outside should hear of it."""

    key: str
    logged: Logged
    before: Room
    after: Room
    deliver: bool = True


class Advance(msgspec.Struct, frozen=True, kw_only=True):
    """All that one observed entry led to, in room order."""

    steps: tuple[Step, ...]
    memory: Memory

    @property
    def concluded(self) -> tuple[Logged, ...]:
        """The derived entries, to be appended to the log before anything is routed."""
        return tuple(step.logged for step in self.steps if step.logged.origin is Origin.DERIVED)


def advance(logged: Logged, rooms: Rooms, memory: Memory, traits: Traits) -> Advance:
    """Fold *logged* into *rooms* (looked up by room key) with everything that follows from it.

    *memory* is what is remembered under `memory_key`. Entries that are conclusions themselves were folded with their
    cause; older entries were folded before: no steps.
    """
    room = room_at(rooms, logged.source_id, logged.event)
    if logged.origin is Origin.DERIVED or logged.offset <= room.offset:
        return Advance(steps=(), memory=memory)
    work = _Work(logged, rooms, memory, traits)
    work.take(logged)
    return Advance(steps=tuple(work.steps), memory=work.memory)


def memory_key(logged: Logged) -> str:
    """Return under which name the memory that *logged* needs is kept: one a session, so that each stays small."""
    return f"{logged.source_id}/{logged.event.session_id or ''}"


def room_at(rooms: Rooms, source_id: str, event: Event) -> Room:
    """Return the event's room, or a new closed one."""
    known = rooms(room_key(source_id, event))
    return known or Room(source_id=source_id, id=event.room_id or "", scope=event.scope)


class _Work:
    """The steps of one cause while they are being made."""

    def __init__(self, cause: Logged, rooms: Rooms, memory: Memory, traits: Traits) -> None:
        self.cause = cause
        self.steps: list[Step] = []
        self.memory = memory
        self.traits = traits
        self._rooms = rooms
        self._changed: dict[str, Room] = {}
        self._made = 0
        self._dissolving = False  # a close is on its way already

    def take(self, logged: Logged) -> None:
        """Fold one entry between what comes before and after it."""
        event = heard(logged)
        before = self._room(event)
        after = apply(before, logged)
        if self._has_before(before, after, event):
            before = self._room(event)
            after = apply(before, logged)
        later, self.memory, half = _follow(self.memory, event)
        expanded = _expanded(before, after, event)
        step = Step(key=room_key(logged.source_id, event), logged=logged, before=before, after=after)
        if half or expanded or _says_nothing_new(step, self.traits):
            step = replace(step, deliver=False)
        self._changed[step.key] = after
        self.steps.append(step)
        for one in [*expanded, *later, *self._closing(step)]:
            self._conclude(one)

    def _has_before(self, before: Room, after: Room, event: Event) -> bool:
        """Conclude what must have happened before *event*, judged by what its fold would change; tell if anything."""
        if event.type is T.ROOM_CLOSED and self.traits.implicit_rooms:
            return self._dissolve(before, after, event)
        earlier = _before(before, after, event, self.traits)
        for one in earlier:
            self._conclude(one)
        return bool(earlier)

    def _dissolve(self, before: Room, after: Room, event: Event) -> bool:
        """Conclude that everybody left, each in a room of their own: a step a member must not hold all members."""
        gone = [one for one in before.participants.values() if _is_gone(one, after)]
        told: list[Participant] = []
        key = room_key(self.cause.source_id, event)
        room, seq, self._dissolving = before, before.seq, True
        for one in gone:
            if self._made >= CONCLUSIONS_MAX:
                break
            self._changed[key] = replace(room, participants={one.id: one}, departed={}, seq=seq)
            for ended in _dissolved(room, one):
                self._conclude(ended)
            seq = self._changed[key].seq
            told.append(one)
        self._dissolving = False
        self._changed[key] = replace(dissolve(room, told, event, moment(self.cause)), seq=seq)
        return bool(told)

    def _conclude(self, event: Event) -> None:
        """Fold a conclusion with an id derived from the cause."""
        self._made += 1
        if self._made > CONCLUSIONS_MAX:
            return
        concluded = replace(
            self.cause,
            id=f"{self.cause.id}.{self._made}",
            origin=Origin.DERIVED,
            cause_id=self.cause.id,
            receipt_id=None,
            event=replace(event, dialect=OURS, occurred_at=heard(self.cause).occurred_at),
        )
        self.take(concluded)

    def _room(self, event: Event) -> Room:
        key = room_key(self.cause.source_id, event)
        return self._changed.get(key) or room_at(self._rooms, self.cause.source_id, event)

    def _closing(self, step: Step) -> list[Event]:
        """Close a room without events of its own with its last member."""
        if self._dissolving or not self.traits.implicit_rooms or step.logged.event.type is not T.PARTICIPANT_LEFT:
            return []
        emptied = step.after.open and step.before.participants and not step.after.participants
        return [_in_room(step.after, T.ROOM_CLOSED, facts=Facts(reason=Reason.EMPTY))] if emptied else []


# --- before the entry ------------------------------------------------------------------------------------------------


def _before(before: Room, after: Room, event: Event, traits: Traits) -> list[Event]:
    """Return what must be said before *event*, judged by what its fold would change."""
    if traits.implicit_rooms and after.open and not before.open and event.type is not T.ROOM_OPENED:
        return [_in_room(before, T.ROOM_OPENED)]
    match event.type:
        case T.PARTICIPANT_JOINED | T.PARTICIPANT_LEFT:
            present = before.participants.get(event.participant_id or "")
            if present is None or not _is_gone(present, after):
                return []
            if event.type is T.PARTICIPANT_JOINED:
                return [*_ended_media(before, present), _left(before, present, Reason.SUPERSEDED)]
            return _ended_media(before, present) if traits.implicit_rooms else []
        case _:
            return []


def _is_gone(present: Participant, after: Room) -> bool:
    now = after.participants.get(present.id)
    return now is None or now.session_id != present.session_id


def _dissolved(room: Room, present: Participant) -> list[Event]:
    return [*_ended_media(room, present), _left(room, present, Reason.ROOM_DISSOLVED)]


def _ended_media(room: Room, present: Participant) -> list[Event]:
    return [_ended_track(room, present.id, track) for track in present.tracks.values()]


def _ended_track(room: Room, participant_id: str, track: Track) -> Event:
    facts = Facts(media=track.media, resolution=track.resolution)
    return _in_room(room, T.TRACK_UNPUBLISHED, participant_id, track_id=track.id, facts=facts)


def _left(room: Room, present: Participant, reason: Reason) -> Event:
    facts = Facts(reason=reason, name=present.name, joined_at=present.joined_at)
    return _in_room(room, T.PARTICIPANT_LEFT, present.id, session_id=present.wire_session_id, facts=facts)


def _in_room(
    room: Room,
    kind: EventType,
    participant_id: str | None = None,
    *,
    session_id: str | None = None,
    track_id: str | None = None,
    facts: Facts | None = None,
) -> Event:
    return Event(
        type=kind,
        dialect="",
        scope=room.scope,
        room_id=room.id,
        participant_id=participant_id,
        session_id=session_id,
        room_session_id=room.wire_session_id,
        track_id=track_id,
        facts=facts or Facts(),
    )


FLOW = frozenset({T.TRACK_STALLED, T.TRACK_RESUMED})


def _says_nothing_new(step: Step, traits: Traits) -> bool:
    observed = step.logged.origin is Origin.OBSERVED
    repeated = step.logged.event.type in (traits.repeats if observed else FLOW)
    return repeated and not changes(step.before, step.after)


def _expanded(before: Room, after: Room, event: Event) -> list[Event]:
    """Name every track that an unpublish without a track id ends, one event each."""
    present = before.participants.get(event.participant_id or "")
    if event.type is not T.TRACK_UNPUBLISHED or present is None or track_ids(event):
        return []
    left = after.participants[present.id].tracks if present.id in after.participants else {}
    return [_ended_track(before, present.id, one) for name, one in present.tracks.items() if name not in left]


# --- connections: half events completed ------------------------------------------------------------------------------


def _follow(memory: Memory, event: Event) -> tuple[list[Event], Memory, bool]:
    """Return (conclusions, memory after, whether the event itself is only half of one)."""
    connection_id, operation = event.facts.connection_id, event.facts.operation
    if operation == "session_timed_out" and event.session_id:
        return _session_events(memory, event.session_id, Reason.TIMED_OUT), memory, False
    if operation == "session_closed" and event.session_id:
        return _session_over(memory, event.session_id)
    if connection_id is None:
        return [], memory, False
    known = memory.connections.get(connection_id) or _of_session(memory, event)
    if operation == "connection_closed":
        return _unsubscribed(known), _without(memory, {connection_id}), False
    if event.type is T.PARTICIPANT_JOINED:
        known = replace(known, scope=event.scope, room_id=event.room_id, participant_id=event.participant_id)
        return [], _keeping(memory, connection_id, known), False
    if event.facts.pending:
        return [], _keeping(memory, connection_id, _asking(known, event)), False
    if event.type in HALF and event.participant_id is None:
        found, after = _complete(known, event)
        return found, _keeping(memory, connection_id, after), True
    return [], memory, False


def _session_over(memory: Memory, session_id: str) -> tuple[list[Event], Memory, bool]:
    """Forget a session's connections, ending what they still received."""
    over = {name: one for name, one in memory.connections.items() if one.session_id == session_id}
    ended = [event for known in over.values() for event in _unsubscribed(known)]
    return ended, _without(memory, over.keys()), False


def _unsubscribed(known: Connection) -> list[Event]:
    return [_completed(known, T.TRACK_UNSUBSCRIBED, wanted) for wanted in known.receiving]


def _without(memory: Memory, names: Collection[str]) -> Memory:
    if memory.connections.keys().isdisjoint(names):
        return memory
    return replace(memory, connections={name: one for name, one in memory.connections.items() if name not in names})


def _asking(known: Connection, event: Event) -> Connection:
    facts = event.facts
    asked = Wanted(room_id=event.room_id, peer_id=facts.peer_id, track_id=event.track_id, media=facts.media)
    return known if asked in known.wanted else replace(known, wanted=(*known.wanted, asked)[-WANTED_KEPT:])


def _of_session(memory: Memory, event: Event) -> Connection:
    """Give a new connection to whoever joined by another connection of the same session."""
    mates = (one for one in memory.connections.values() if one.session_id == event.session_id and one.participant_id)
    mate = next(mates, None) if event.session_id else None
    if mate is None:
        return Connection(session_id=event.session_id)
    return Connection(
        session_id=event.session_id, scope=mate.scope, room_id=mate.room_id, participant_id=mate.participant_id
    )


def _keeping(memory: Memory, connection_id: str, connection: Connection) -> Memory:
    if memory.connections.get(connection_id) == connection:
        return memory
    connections = memory.connections.copy()
    if connection_id not in connections and len(connections) >= CONNECTIONS_KEPT:
        connections.pop(next(iter(connections)))
    connections[connection_id] = connection
    return replace(memory, connections=connections)


def _complete(known: Connection, event: Event) -> tuple[list[Event], Connection]:
    match event.type:
        case T.TRACK_SUBSCRIBED:
            found = [_completed(known, event.type, wanted) for wanted in known.wanted]
            receiving = (*known.receiving, *[one for one in known.wanted if one not in known.receiving])
            return found, replace(known, wanted=(), receiving=receiving)
        case T.TRACK_UNSUBSCRIBED:
            ended = [one for one in known.receiving if _names(event, one)]
            found = [_completed(known, event.type, wanted) for wanted in ended]
            return found, replace(known, receiving=tuple(one for one in known.receiving if one not in ended))
        case _:
            own = Wanted(room_id=known.room_id, track_id=event.track_id, media=event.facts.media)
            return ([_completed(known, event.type, own)] if known.participant_id else []), known


def _names(event: Event, wanted: Wanted) -> bool:
    if event.track_id is not None:
        return event.track_id == wanted.track_id
    return event.facts.peer_id is None or event.facts.peer_id == wanted.peer_id


def _completed(known: Connection, kind: EventType, wanted: Wanted) -> Event:
    return Event(
        type=kind,
        dialect="",
        scope=known.scope,
        room_id=wanted.room_id or known.room_id,
        participant_id=known.participant_id,
        session_id=known.session_id,
        track_id=wanted.track_id,
        facts=Facts(media=wanted.media, peer_id=wanted.peer_id),
    )


def _session_events(memory: Memory, session_id: str, reason: Reason) -> list[Event]:
    stays = {
        (one.scope, one.room_id, one.participant_id)
        for one in memory.connections.values()
        if one.session_id == session_id and one.participant_id is not None and one.room_id is not None
    }
    return [
        Event(
            type=T.PARTICIPANT_LEFT,
            dialect="",
            scope=scope,
            room_id=room_id,
            participant_id=participant_id,
            session_id=session_id,
            facts=Facts(reason=reason),
        )
        for scope, room_id, participant_id in sorted(stays, key=str)
    ]
