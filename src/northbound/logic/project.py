"""Fold one log entry into its room: duplicates, late and reversed events never bring a state back (R1, R2, R3, R8).

What a late event cannot change any more, it leaves as it is. `logic.stay` decides which stay of a person it belongs to.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice

from msgspec.structs import replace

from northbound.logic.recording import FLOWS, abandoned, apply_event, awaits_outcome, overheard, tells_outcome
from northbound.logic.stay import (
    departed_of,
    ends_stay,
    enriched,
    is_ended,
    is_late_act,
    is_new_stay,
    is_of_older_stay,
    join_noted,
    leave_noted,
    newest,
)
from northbound.model.event import Event, EventType, Media, Reason
from northbound.model.log import Logged
from northbound.model.room import Departed, Participant, Recording, Room, Track

DEPARTED_KEPT = 1000  # stays remembered per room against late events; older ones cannot be told from new ones
ENDED_TRACKS_KEPT = 50  # per person
OUTCOMES_KEPT = 1000  # per room, over its instances: files may be moved long after the meeting
ALL_MEDIA = tuple(Media)
OURS = "northbound"  # no dialect: what we conclude is said from its facts in every wire
CLOCKS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))  # what a running clock can show
PLACE = frozenset({"seq", "offset", "watermark", "alive_at", "ended_at", "wire_session_id", "departed"})
T = EventType


def apply(room: Room, logged: Logged) -> Room:
    """Return *room* after *logged*; an entry that says nothing new gives the same state at a later place."""
    event, when = heard(logged), moment(logged)
    change = CHANGES.get(event.type)
    after = room if change is None else change(room, event, when)
    media = media_of(room.participants.get(event.participant_id or "")) if event.type in FLOWS else ()
    if event.recording_id is not None:
        recording = apply_event(after.recordings.get(event.recording_id), event, when, media)
        after = replace(after, recordings={**after.recordings, recording.id: recording})
    elif event.type in FLOWS and (heard_by := recording_of(after, event)) is not None:
        counted = overheard(heard_by, event, media)
        after = replace(after, recordings={**after.recordings, counted.id: counted})
    after = _outcome_noted(after, event, logged.id)
    return replace(after, seq=room.seq + 1, offset=logged.offset, watermark=newest(room.watermark, event.occurred_at))


def recording_of(room: Room, event: Event) -> Recording | None:
    """Return the recording an event is about: the one it names, else the room's newest."""
    named = room.recordings.get(event.recording_id or "")
    return named or next(reversed(room.recordings.values()), None)


def media_of(participant: Participant | None) -> tuple[Media, ...]:
    """Return the media a participant publishes now, each once, in a fixed order."""
    if participant is None:
        return ()
    found = {medium for track in participant.tracks.values() for medium in track.media}
    return tuple([medium for medium in ALL_MEDIA if medium in found]) if found else ()


def _outcome_noted(room: Room, event: Event, event_id: str) -> Room:
    """Remember what told first where a recording's files are: two wire words may exclude each other (ruling 25)."""
    recording = recording_of(room, event) if tells_outcome(event) else None
    if recording is None or recording.id in room.outcomes:
        return room
    kept = islice(room.outcomes.items(), max(0, len(room.outcomes) + 1 - OUTCOMES_KEPT), None)
    return replace(room, outcomes={**dict(kept), recording.id: event_id})


def heard(logged: Logged) -> Event:
    """Return the event, without a vendor time that no clock shows: nothing later could ever undo it (R9)."""
    event = logged.event
    if event.occurred_at is None or CLOCKS[0] <= event.occurred_at < CLOCKS[1]:
        return event
    return replace(event, occurred_at=None)


def moment(logged: Logged) -> datetime:
    """Return when the entry happened: the vendor's time where it has one, else the time of receipt (ruling 3)."""
    return heard(logged).occurred_at or logged.recorded_at


def changes(before: Room, after: Room) -> bool:
    """Tell whether the fold changed anything that others are told of."""
    if before.departed is not after.departed and before.departed.keys() != after.departed.keys():
        return True  # a leave of somebody unknown until now
    names = (name for name in Room.__struct_fields__ if name not in PLACE)
    pairs = ((getattr(before, name), getattr(after, name)) for name in names)
    return any(old is not new and old != new for old, new in pairs)


# --- the room --------------------------------------------------------------------------------------------------------


def _opened(room: Room, event: Event, when: datetime) -> Room:
    if _is_over(room, event) or _is_known_opening(room, event):
        return room
    if not room.open:
        return _next_instance(room, event, when)
    room = replace(
        room,
        wire_session_id=event.room_session_id or room.wire_session_id,
        name=event.facts.room_name or room.name,
        alive_at=newest(room.alive_at, event.occurred_at),
    )
    if room.opened_at is None:  # its members were heard of first
        return replace(room, opened_at=when)
    return replace(room, epoch=room.epoch + 1)


def _is_over(room: Room, event: Event) -> bool:
    """Tell whether an event is a late one of an instance that the vendor closed."""
    return event.occurred_at is not None and room.ended_at is not None and event.occurred_at < room.ended_at


def _is_known_opening(room: Room, event: Event) -> bool:
    if event.room_session_id is not None and event.room_session_id == room.wire_session_id:
        return room.opened_at is not None or not room.open
    if event.occurred_at is None or room.alive_at is None or room.opened_at is None:
        return False
    may_repeat = room.open or event.dedupe_key is None
    return event.occurred_at < room.alive_at or (event.occurred_at == room.alive_at and may_repeat)


def _next_instance(room: Room, event: Event, when: datetime | None) -> Room:
    began_before = room.opened_at is not None or room.closed_at is not None or room.stays > 0
    return Room(
        source_id=room.source_id,
        id=room.id,
        scope=room.scope,
        instance=room.instance + 1 if began_before else room.instance,
        wire_session_id=event.room_session_id,
        name=event.facts.room_name or room.name,
        open=True,
        opened_at=when,
        alive_at=newest(room.alive_at, event.occurred_at),
        ended_at=room.ended_at,
        departed=room.departed,
        recordings={name: one for name, one in room.recordings.items() if awaits_outcome(one) or not began_before},
        outcomes=room.outcomes,
        seq=room.seq,
        offset=room.offset,
        watermark=room.watermark,
    )


def _closed(room: Room, event: Event, when: datetime) -> Room:
    if _is_stale_close(room, event):
        return room
    if event.dialect != OURS:  # what we conclude from an empty room is no word of the vendor's
        room = replace(room, ended_at=newest(room.ended_at, event.occurred_at))
    if not room.open:
        unknown = room.opened_at is None and room.stays == 0
        return replace(room, wire_session_id=event.room_session_id or room.wire_session_id) if unknown else room
    gone = [
        one
        for one in room.participants.values()
        if not _is_before(event, one.joined_at if one.joined_at_known else None)
    ]
    room = dissolve(room, gone, event, when)
    if room.participants or (event.dialect != OURS and _is_before(event, room.alive_at)):
        return room  # a late close of an instance that another one has followed already
    recordings = {name: abandoned(one) for name, one in room.recordings.items()}
    return replace(room, open=False, closed_at=when, close_reason=event.facts.reason, recordings=recordings)


def dissolve(room: Room, gone: Iterable[Participant], event: Event, when: datetime) -> Room:
    """Return *room* without those whose stays end with it."""
    return _remove(room, gone, event, when, Reason.ROOM_DISSOLVED)


def _is_stale_close(room: Room, event: Event) -> bool:
    other = event.room_session_id is not None and room.wire_session_id not in {None, event.room_session_id}
    if other and room.open and not _is_before(event, room.alive_at):
        return True
    repeated = room.open and event.dedupe_key is None and event.occurred_at == room.ended_at
    return event.occurred_at is not None and repeated


# --- participants ----------------------------------------------------------------------------------------------------


def _joined(room: Room, event: Event, when: datetime) -> Room:
    identity = event.participant_id
    if identity is None or _is_over(room, event):
        return room
    present = room.participants.get(identity)
    ended = is_ended(room.departed.get(identity), event)
    if present is not None:
        if not is_new_stay(room, present, event):
            return _put(room, enriched(present, event))
        room = _remove(room, [present], event, when, Reason.SUPERSEDED)
    if ended:
        noted = join_noted(room.departed[identity], event)
        return replace(room, departed={**room.departed, identity: noted})
    if not room.open:
        room = _next_instance(room, event, None)
    return _add(room, event, when, implied=False)


def _add(room: Room, event: Event, when: datetime, *, implied: bool) -> Room:
    facts = event.facts
    stays = room.stays + 1
    participant = Participant(
        id=event.participant_id or "",
        session_id=f"{room.instance}-{stays}",
        joined_at=when,
        joined_at_known=event.occurred_at is not None,
        wire_session_id=event.session_id,
        name=facts.name,
        group_id=facts.group_id,
        role=facts.role,
        terminal=facts.terminal,
        client=facts.client,
        phone=facts.phone,
        epoch=room.epoch,
        implied=implied,
    )
    room = _put(replace(room, stays=stays, alive_at=newest(room.alive_at, event.occurred_at)), participant)
    return replace(room, peak=max(room.peak, len(room.participants)))


def _left(room: Room, event: Event, when: datetime) -> Room:
    identity = event.participant_id
    if identity is None:
        return room
    present, departed = room.participants.get(identity), room.departed.get(identity)
    if present is not None and ends_stay(present, departed, event):
        return _remove(room, [present], event, when, event.facts.reason)
    noted = leave_noted(departed, event, when, is_present=present is not None)
    return room if noted is None or noted is departed else _remember(room, [(identity, noted)])


def _remove(room: Room, gone: Iterable[Participant], event: Event, when: datetime, reason: Reason | None) -> Room:
    others = room.participants.copy()
    departed: list[tuple[str, Departed]] = []
    seconds = 0.0
    for one in gone:
        del others[one.id]
        departed.append((one.id, departed_of(one, room.departed.get(one.id), event, when, reason)))
        seconds += max(0.0, (when - one.joined_at).total_seconds())
    if not departed:
        return room
    room = replace(room, participants=others, participant_seconds=room.participant_seconds + seconds)
    return _remember(room, departed)


def _remember(room: Room, gone: Iterable[tuple[str, Departed]]) -> Room:
    departed = room.departed.copy()
    for identity, one in gone:
        departed.pop(identity, None)  # the newest stand last
        departed[identity] = one
    if len(departed) > DEPARTED_KEPT:
        departed = dict(islice(departed.items(), len(departed) - DEPARTED_KEPT, None))
    return replace(room, departed=departed)


def _put(room: Room, participant: Participant) -> Room:
    if room.participants.get(participant.id) == participant:
        return room
    participants = room.participants.copy()
    participants[participant.id] = participant
    return replace(room, participants=participants)


def _updated(room: Room, event: Event, when: datetime) -> Room:
    present = _acting(room, event)
    if present is None:
        return room
    facts = event.facts
    name, role = facts.name or present.name, facts.role or present.role
    return _put(room, replace(present, name=name, role=role))


# --- tracks ----------------------------------------------------------------------------------------------------------


def track_ids(event: Event) -> tuple[tuple[str, tuple[Media, ...]], ...]:
    """Return (track id, media) of each track an event names; a wire without track ids has one track per medium."""
    if event.track_id is not None:
        return ((event.track_id, event.facts.media),)
    return tuple((medium.value, (medium,)) for medium in event.facts.media)


def _acting(room: Room, event: Event) -> Participant | None:
    """Return whom an event is about, if present and not in a later stay."""
    present = room.participants.get(event.participant_id or "")
    return None if present is None or is_of_older_stay(present, event) else present


def _published(room: Room, event: Event, when: datetime) -> Room:
    identity = event.participant_id
    if identity is None or _is_over(room, event):
        return room
    if identity not in room.participants:
        if is_late_act(room.departed.get(identity), event):
            return room
        room = _add(room if room.open else _next_instance(room, event, None), event, when, implied=True)
    present = _acting(room, event)
    if present is None:
        return room
    found = {
        name: Track(id=name, media=media, resolution=event.facts.resolution, published_at=when)
        for name, media in track_ids(event)
        if name not in present.tracks and not _is_before(event, present.ended_tracks.get(name))
    }
    return _put(room, replace(present, tracks={**present.tracks, **found})) if found else room


def _is_before(event: Event, when: datetime | None) -> bool:
    return event.occurred_at is not None and when is not None and event.occurred_at < when


def _unpublished(room: Room, event: Event, when: datetime) -> Room:
    present = _acting(room, event)
    if present is None:
        return room
    named = {name for name, _ in track_ids(event)}
    ended = [name for name in named or present.tracks if not _is_before(event, _published_at(present, name))]
    kept = {name: track for name, track in present.tracks.items() if name not in ended}
    remembered = present.ended_tracks
    if event.occurred_at is not None:
        earlier = {name: one for name, one in remembered.items() if name not in ended}
        times = {name: max(when, remembered.get(name, when)) for name in ended}
        remembered = dict(islice((earlier | times).items(), max(0, len(earlier | times) - ENDED_TRACKS_KEPT), None))
    return _put(room, replace(present, tracks=kept, ended_tracks=remembered))


def _published_at(present: Participant, name: str) -> datetime | None:
    track = present.tracks.get(name)
    return None if track is None else track.published_at


def _is_named(track: Track, event: Event) -> bool:
    """Tell whether an event without a track id means *track*, by its medium; a shared screen flows as video."""
    if event.track_id is not None:
        return event.track_id == track.id
    return not _flowing(track.media).isdisjoint(_flowing(event.facts.media))


def _flowing(media: Iterable[Media]) -> set[Media]:
    return {Media.VIDEO if medium is Media.DESKTOP else medium for medium in media}


def _flow(*, stalled: bool) -> Callable[[Room, Event, datetime], Room]:
    def change(room: Room, event: Event, when: datetime) -> Room:
        present = _acting(room, event)
        if present is None:
            return room
        tracks = {
            name: replace(track, stalled=stalled) if _is_named(track, event) else track
            for name, track in present.tracks.items()
        }
        return _put(room, replace(present, tracks=tracks))

    return change


def _subscribed(room: Room, event: Event, when: datetime) -> Room:
    present = _acting(room, event)
    names = tuple(name for name, _ in track_ids(event))
    if present is None:
        return room
    return _put(room, replace(present, subscriptions=tuple(dict.fromkeys((*present.subscriptions, *names)))))


def _unsubscribed(room: Room, event: Event, when: datetime) -> Room:
    present = _acting(room, event)
    if present is None:
        return room
    names = {name for name, _ in track_ids(event)}
    kept = tuple(name for name in present.subscriptions if name not in names)
    return _put(room, replace(present, subscriptions=kept))


CHANGES: dict[EventType, Callable[[Room, Event, datetime], Room]] = {
    T.ROOM_OPENED: _opened,
    T.ROOM_CLOSED: _closed,
    T.PARTICIPANT_JOINED: _joined,
    T.PARTICIPANT_LEFT: _left,
    T.PARTICIPANT_UPDATED: _updated,
    T.TRACK_PUBLISHED: _published,
    T.TRACK_UNPUBLISHED: _unpublished,
    T.TRACK_STALLED: _flow(stalled=True),
    T.TRACK_RESUMED: _flow(stalled=False),
    T.TRACK_SUBSCRIBED: _subscribed,
    T.TRACK_UNSUBSCRIBED: _unsubscribed,
}
