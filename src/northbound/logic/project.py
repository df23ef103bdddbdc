"""Fold one log entry into its room: duplicates, late and reversed events never bring a state back (R1, R2, R3, R8).

A vendor's session id decides which stay an event belongs to; without one the vendor's clock decides; without either,
the order of the log does. What a late event cannot change any more, it leaves as it is.
"""

from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from northbound.model.event import Event, EventType, Fault, Media, Reason
from northbound.model.log import Logged
from northbound.model.room import Departed, Participant, Recording, Room, Track

DEPARTED_KEPT = 1000  # stays remembered per room against late events; older ones cannot be told from new ones
FAULTS_KEPT = 50
GAPS_KEPT = 1000
T = EventType


def apply(room: Room, logged: Logged) -> Room:
    """Return *room* after *logged*; an entry that says nothing new gives the same state at a later place."""
    event = logged.event
    change = CHANGES.get(event.type)
    after = room if change is None else change(room, event, moment(logged))
    if event.recording_id is not None:
        after = _recording(after, event, moment(logged))
    watermark = max(filter(None, (after.watermark, event.occurred_at)), default=None)
    return replace(after, seq=room.seq + 1, offset=logged.offset, watermark=watermark)


def moment(logged: Logged) -> datetime:
    """Return when the entry happened: the vendor's time where it has one, else the time of receipt (ruling 3)."""
    return logged.event.occurred_at or logged.recorded_at


def changes(before: Room, after: Room) -> bool:
    """Tell whether the fold changed anything but the place in the log."""
    return replace(after, seq=before.seq, offset=before.offset, watermark=before.watermark) != before


# --- the room --------------------------------------------------------------------------------------------------------


def _opened(room: Room, event: Event, when: datetime) -> Room:
    if room.open:
        return room if _same_opening(room, event) else replace(room, epoch=room.epoch + 1)
    if event.occurred_at is not None and room.closed_at is not None and event.occurred_at < room.closed_at:
        return room
    return _next_instance(room, event, when)


def _same_opening(room: Room, event: Event) -> bool:
    if event.room_session_id is not None and room.wire_session_id is not None:
        return event.room_session_id == room.wire_session_id
    return event.occurred_at is not None and room.opened_at is not None and event.occurred_at <= room.opened_at


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
        departed=room.departed,
        seq=room.seq,
        offset=room.offset,
        watermark=room.watermark,
    )


def _closed(room: Room, event: Event, when: datetime) -> Room:
    other = event.room_session_id is not None and room.wire_session_id is not None
    if other and event.room_session_id != room.wire_session_id:
        return room
    early = event.occurred_at is not None and room.opened_at is not None and event.occurred_at < room.opened_at
    if early or not room.open:
        return room
    for participant in room.participants.values():
        room = _remove(room, participant, event, when, Reason.ROOM_DISSOLVED)
    return replace(room, open=False, closed_at=when, close_reason=event.facts.reason)


# --- participants ----------------------------------------------------------------------------------------------------


def is_new_stay(room: Room, present: Participant, event: Event) -> bool:
    """Tell whether a join of somebody already present begins another stay (the old one is superseded, R3)."""
    if event.session_id is not None and present.wire_session_id is not None:
        later = event.occurred_at is None or not present.joined_at_known or event.occurred_at >= present.joined_at
        return event.session_id != present.wire_session_id and later
    if present.implied:
        return False
    if event.occurred_at is not None and present.joined_at_known:
        return event.occurred_at > present.joined_at
    return room.epoch > present.epoch


def _joined(room: Room, event: Event, when: datetime) -> Room:
    identity = event.participant_id
    if identity is None:
        return room
    present = room.participants.get(identity)
    if present is not None and not is_new_stay(room, present, event):
        return _put(room, _enriched(present, event))
    if present is None and _belongs_to_departed(room.departed.get(identity), event):
        return room
    if not room.open:
        if event.occurred_at is not None and room.closed_at is not None and event.occurred_at < room.closed_at:
            return room
        room = _next_instance(room, event, None)
    if present is not None:
        room = _remove(room, present, event, when, Reason.SUPERSEDED)
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
    room = _put(replace(room, stays=stays), participant)
    return replace(room, peak=max(room.peak, len(room.participants)))


def _enriched(present: Participant, event: Event) -> Participant:
    """Take over what a repeated or late join knows better than an earlier event did."""
    facts = event.facts
    known = event.occurred_at is not None and (present.implied or not present.joined_at_known)
    return replace(
        present,
        implied=False,
        joined_at=event.occurred_at if known and event.occurred_at is not None else present.joined_at,
        joined_at_known=present.joined_at_known or known,
        wire_session_id=present.wire_session_id or event.session_id,
        name=facts.name or present.name,
        role=facts.role or present.role,
        terminal=facts.terminal or present.terminal,
        client=facts.client or present.client,
        phone=facts.phone or present.phone,
        group_id=facts.group_id or present.group_id,
    )


def _belongs_to_departed(departed: Departed | None, event: Event) -> bool:
    """Tell whether an event is a late one of a stay that already ended (R2)."""
    if departed is None:
        return False
    if event.session_id is not None and departed.wire_session_id is not None:
        return event.session_id == departed.wire_session_id
    if event.occurred_at is None or departed.left_at is None or not departed.left_at_known:
        return False
    return event.occurred_at < departed.left_at


def is_stale_leave(present: Participant, event: Event) -> bool:
    """Tell whether a leave names an older stay than the one that is present."""
    if event.session_id is not None and present.wire_session_id is not None:
        return event.session_id != present.wire_session_id
    return event.occurred_at is not None and present.joined_at_known and event.occurred_at < present.joined_at


def _left(room: Room, event: Event, when: datetime) -> Room:
    identity = event.participant_id
    if identity is None:
        return room
    present = room.participants.get(identity)
    if present is None:
        if identity in room.departed and not _is_later_leave(room.departed[identity], event):
            return room
        gone = Departed(
            session_id="",
            wire_session_id=event.session_id,
            left_at=when,
            left_at_known=event.occurred_at is not None,
            reason=event.facts.reason,
        )
        return _remember(room, identity, gone)
    if is_stale_leave(present, event):
        return room
    return _remove(room, present, event, when, event.facts.reason)


def _is_later_leave(departed: Departed, event: Event) -> bool:
    if departed.left_at is None or not departed.left_at_known:
        return False
    return event.occurred_at is not None and event.occurred_at > departed.left_at


def _remove(room: Room, present: Participant, event: Event, when: datetime, reason: Reason | None) -> Room:
    others = {identity: one for identity, one in room.participants.items() if identity != present.id}
    gone = Departed(
        session_id=present.session_id,
        wire_session_id=present.wire_session_id,
        joined_at=present.joined_at,
        left_at=when,
        left_at_known=event.occurred_at is not None,
        reason=reason,
    )
    stayed = max(0.0, (when - present.joined_at).total_seconds())
    room = replace(room, participants=others, participant_seconds=room.participant_seconds + stayed)
    return _remember(room, present.id, gone)


def _remember(room: Room, identity: str, gone: Departed) -> Room:
    departed = {name: one for name, one in room.departed.items() if name != identity}
    if len(departed) >= DEPARTED_KEPT:
        departed.pop(next(iter(departed)))
    departed[identity] = gone
    return replace(room, departed=departed)


def _put(room: Room, participant: Participant) -> Room:
    return replace(room, participants={**room.participants, participant.id: participant})


def _updated(room: Room, event: Event, when: datetime) -> Room:
    present = room.participants.get(event.participant_id or "")
    if present is None or is_stale_leave(present, event):
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


def _published(room: Room, event: Event, when: datetime) -> Room:
    present = room.participants.get(event.participant_id or "")
    if present is None:
        if event.participant_id is None or _belongs_to_departed(room.departed.get(event.participant_id), event):
            return room
        room = _add(room if room.open else _next_instance(room, event, None), event, when, implied=True)
        present = room.participants[event.participant_id]
    if is_stale_leave(present, event):
        return room
    found = {
        name: Track(id=name, media=media, resolution=event.facts.resolution, published_at=when)
        for name, media in track_ids(event)
        if name not in present.tracks
    }
    return _put(room, replace(present, tracks={**present.tracks, **found})) if found else room


def _unpublished(room: Room, event: Event, when: datetime) -> Room:
    present = room.participants.get(event.participant_id or "")
    if present is None or is_stale_leave(present, event):
        return room
    named = {name for name, _ in track_ids(event)}
    kept = {name: track for name, track in present.tracks.items() if named and name not in named}
    return room if kept == present.tracks else _put(room, replace(present, tracks=kept))


def _is_named(track: Track, event: Event) -> bool:
    """Tell whether an event without a track id means *track*, by its medium; a shared screen flows as video."""
    if event.track_id is not None:
        return event.track_id == track.id
    flowing = {Media.VIDEO if medium is Media.DESKTOP else medium for medium in track.media}
    return not flowing.isdisjoint(event.facts.media)


def _flow(*, stalled: bool) -> Callable[[Room, Event, datetime], Room]:
    def change(room: Room, event: Event, when: datetime) -> Room:
        present = room.participants.get(event.participant_id or "")
        if present is None:
            return room
        tracks = {
            name: replace(track, stalled=stalled) if _is_named(track, event) else track
            for name, track in present.tracks.items()
        }
        return room if tracks == present.tracks else _put(room, replace(present, tracks=tracks))

    return change


def _subscribed(room: Room, event: Event, when: datetime) -> Room:
    present = room.participants.get(event.participant_id or "")
    names = tuple(name for name, _ in track_ids(event))
    if present is None or not names or set(names) <= set(present.subscriptions):
        return room
    return _put(room, replace(present, subscriptions=tuple(dict.fromkeys((*present.subscriptions, *names)))))


def _unsubscribed(room: Room, event: Event, when: datetime) -> Room:
    present = room.participants.get(event.participant_id or "")
    if present is None:
        return room
    names = {name for name, _ in track_ids(event)}
    kept = tuple(name for name in present.subscriptions if name not in names)
    return room if kept == present.subscriptions else _put(room, replace(present, subscriptions=kept))


# --- recordings ------------------------------------------------------------------------------------------------------

STATUS = {
    T.RECORDING_STARTED: "started",
    T.RECORDING_PAUSED: "paused",
    T.RECORDING_RESUMED: "started",
    T.RECORDING_STOPPED: "stopped",
    T.RECORDING_EXITED: "exited",
    T.RECORDING_TRANSCODED: "finished",
    T.RECORDING_COMPLETED: "finished",
    T.RECORDING_UPLOADED: "finished",
    T.RECORDING_BACKED_UP: "finished",
    T.RECORDING_UPLOAD_STARTED: "uploading",
}
RANK = {"paused": 0, "started": 0, "uploading": 0, "stopped": 1, "exited": 2, "finished": 3, "failed": 3}
OUTCOMES = frozenset({T.RECORDING_TRANSCODED, T.RECORDING_COMPLETED, T.RECORDING_UPLOADED, T.RECORDING_BACKED_UP})


def _recording(room: Room, event: Event, when: datetime) -> Room:
    identity = event.recording_id or ""
    before = room.recordings.get(identity) or Recording(id=identity, started_at=event.facts.started_at or when)
    facts = event.facts
    status = "failed" if facts.success is False else STATUS.get(event.type, before.status)
    status = status if RANK[status] >= RANK[before.status] else before.status
    fault = facts.fault
    after = replace(
        before,
        status=status,
        events=before.events + 1,
        mode=facts.recording_mode or before.mode,
        recorder_id=facts.new_recorder_id or facts.recorder_id or before.recorder_id,
        format=facts.format or before.format,
        started_at=facts.started_at if facts.started_at and facts.started_at < (before.started_at or when) else None,
        stopped_at=_stopped_at(before, event, when),
        progress=max(filter(None, (before.progress, facts.progress)), default=None),
        files=facts.files or before.files,
        faults=(*before.faults, fault)[-FAULTS_KEPT:] if fault is not None else before.faults,
        verdict=_verdict(before, event, fault),
        missing_ms=_missing(before, event),
    )
    after = replace(after, started_at=after.started_at or before.started_at)
    return replace(room, recordings={**room.recordings, identity: _sequenced(after, event.sequence)})


def _stopped_at(before: Recording, event: Event, when: datetime) -> datetime | None:
    if event.facts.stopped_at is not None:
        return event.facts.stopped_at
    ends = event.type in (T.RECORDING_STOPPED, T.RECORDING_EXITED) and before.stopped_at is None
    return when if ends else before.stopped_at


def _verdict(before: Recording, event: Event, fault: Fault | None) -> str | None:
    """Say one verdict per recording, however many end events a wire sends (R11)."""
    if event.facts.success is False or (fault is not None and fault.level == "fatal"):
        return "incomplete"
    if event.type in OUTCOMES:
        return "incomplete" if before.missing_ms else "complete"
    return before.verdict


def _missing(before: Recording, event: Event) -> int | None:
    facts = event.facts
    if event.type is not T.RECORDING_SLICED or facts.interrupted_at is None or facts.started_at is None:
        return before.missing_ms
    lost = int((facts.started_at - facts.interrupted_at).total_seconds() * 1000)
    return (before.missing_ms or 0) + lost if lost > 0 else before.missing_ms


def _sequenced(recording: Recording, number: int | None) -> Recording:
    """Open, close and keep the gaps in a recording's sequence numbers, which count from 0 (R10)."""
    if number is None or number < 0:
        return recording
    expected = recording.next_sequence or 0
    if number >= expected:
        gaps = (*recording.gaps, *range(expected, min(number, expected + GAPS_KEPT)))[-GAPS_KEPT:]
        return replace(recording, next_sequence=number + 1, gaps=gaps)
    return replace(recording, gaps=tuple(gap for gap in recording.gaps if gap != number))


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
