"""Conclude what a wire leaves unsaid: rooms that open with their first member, half events completed, stays superseded.

One observed entry becomes a few steps: what must have happened before it, the entry itself, what follows from it. The
conclusions get ids from their cause, so concluding twice changes nothing, and they take their cause's place in the
room's order: a receiver sees the opening before the first join, although the log could only learn of it after.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec
from msgspec.structs import replace

from northbound.logic.project import apply, changes, is_new_stay, moment, track_ids
from northbound.model.event import Event, EventType, Facts, Media, Reason, Traits
from northbound.model.log import Logged, Origin, room_key
from northbound.model.room import Connection, Memory, Participant, Room, Track, Wanted

T = EventType
Rooms = Callable[[str], Room | None]
CONNECTIONS_KEPT = 50_000  # per source; a wire that never closes connections must not grow us without end
OURS = "northbound"  # no dialect: a conclusion is said from its facts in every wire
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

    Entries that are conclusions themselves were folded with their cause; older entries were folded before: no steps.
    """
    room = room_at(rooms, logged.source_id, logged.event)
    if logged.origin is Origin.DERIVED or logged.offset <= max(room.offset, -1):
        return Advance(steps=(), memory=memory)
    work = _Work(logged, rooms, memory, traits)
    work.take(logged)
    return Advance(steps=tuple(work.steps), memory=replace(work.memory, offset=logged.offset))


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
        event = logged.event
        outer = self._dissolving
        self._dissolving = outer or event.type is T.ROOM_CLOSED
        for earlier in _before(self.room(event), event, self.traits):
            self.conclude(earlier)
        self._dissolving = outer
        deliver = self._fold(logged)
        after, self.memory, half = _follow(self.memory, event)
        if half or _says_nothing_new(self.steps[-1], self.traits):
            self.steps[-1] = replace(self.steps[-1], deliver=False)
            deliver = False
        expanded = _expanded(self.steps[-1].before, event) if event.type is T.TRACK_UNPUBLISHED else []
        if expanded and deliver:
            self.steps[-1] = replace(self.steps[-1], deliver=False)
        for later in [*expanded, *after, *self._closing(event)]:
            self.conclude(later)

    def conclude(self, event: Event) -> None:
        """Fold a conclusion with an id derived from the cause."""
        self._made += 1
        key = room_key(self.cause.source_id, event)
        concluded = replace(
            self.cause,
            id=f"{self.cause.id}.{self._made}",
            origin=Origin.DERIVED,
            cause_id=self.cause.id,
            receipt_id=None,
            event=replace(event, dialect=OURS, occurred_at=self.cause.event.occurred_at),
        )
        if key and self._made <= 20_000:
            self.take(concluded)

    def room(self, event: Event) -> Room:
        key = room_key(self.cause.source_id, event)
        return self._changed.get(key) or room_at(self._rooms, self.cause.source_id, event)

    def _fold(self, logged: Logged) -> bool:
        key = room_key(logged.source_id, logged.event)
        before = self.room(logged.event)
        after = apply(before, logged)
        self._changed[key] = after
        self.steps.append(Step(key=key, logged=logged, before=before, after=after))
        return True

    def _closing(self, event: Event) -> list[Event]:
        """Close a room without events of its own with its last member."""
        room = self.room(event)
        emptied = event.type is T.PARTICIPANT_LEFT and room.open and not room.participants
        if self._dissolving or not (self.traits.implicit_rooms and emptied):
            return []
        return [_in_room(room, T.ROOM_CLOSED, facts=Facts(reason=Reason.EMPTY))]


# --- before the entry ------------------------------------------------------------------------------------------------


def _before(room: Room, event: Event, traits: Traits) -> list[Event]:
    present = room.participants.get(event.participant_id or "")
    match event.type:
        case T.PARTICIPANT_JOINED | T.TRACK_PUBLISHED if traits.implicit_rooms and not room.open:
            return [_in_room(room, T.ROOM_OPENED)] if event.participant_id else []
        case T.PARTICIPANT_JOINED if present is not None and is_new_stay(room, present, event):
            return [*_ended_media(room, present), _left(room, present, Reason.SUPERSEDED)]
        case T.PARTICIPANT_LEFT if traits.implicit_rooms and present is not None:
            return _ended_media(room, present)
        case T.ROOM_CLOSED if traits.implicit_rooms:
            return [event for one in room.participants.values() for event in _dissolved(room, one)]
        case _:
            return []


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


def _expanded(before: Room, event: Event) -> list[Event]:
    """Name every track that an unpublish without a track id ends, one event each."""
    present = before.participants.get(event.participant_id or "")
    if present is None or track_ids(event):
        return []
    return _ended_media(before, present)


# --- connections: half events completed ------------------------------------------------------------------------------


def _follow(memory: Memory, event: Event) -> tuple[list[Event], Memory, bool]:
    """Return (conclusions, memory after, whether the event itself is only half of one)."""
    connection_id = event.facts.connection_id
    if event.facts.operation == "session_timed_out" and event.session_id:
        return _session_events(memory, event.session_id, Reason.TIMED_OUT), memory, False
    if connection_id is None:
        return [], memory, False
    known = memory.connections.get(connection_id) or _of_session(memory, event)
    if event.type is T.PARTICIPANT_JOINED:
        known = replace(known, scope=event.scope, room_id=event.room_id, participant_id=event.participant_id)
        return [], _keeping(memory, connection_id, known), False
    if event.facts.operation == "connection_closed":
        others = {name: one for name, one in memory.connections.items() if name != connection_id}
        ended = [_completed(known, T.TRACK_UNSUBSCRIBED, wanted) for wanted in known.receiving]
        return ended, replace(memory, connections=others), False
    if event.facts.pending:
        asked = Wanted(
            room_id=event.room_id, peer_id=event.facts.peer_id, track_id=event.track_id, media=event.facts.media
        )
        return [], _keeping(memory, connection_id, replace(known, wanted=(*known.wanted, asked))), False
    if event.type in HALF and event.participant_id is None:
        found, after = _complete(known, event)
        return found, _keeping(memory, connection_id, after), True
    return [], memory, False


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
    connections = dict(memory.connections)
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


def media_of(participant: Participant | None) -> tuple[Media, ...]:
    """Return the media a participant publishes now, each once, in a fixed order."""
    if participant is None:
        return ()
    found = {medium for track in participant.tracks.values() for medium in track.media}
    return tuple(medium for medium in Media if medium in found)


def when(step: Step) -> datetime:
    """Return when the step happened."""
    return moment(step.logged)
