"""Decide what a wire may require and an event lack, from the projection and the settings (ruling 2)."""

from northbound.logic.derive import Step
from northbound.logic.project import media_of, recording_of
from northbound.logic.recording import notices
from northbound.model.app import App
from northbound.model.delivery import Fill
from northbound.model.event import EventType
from northbound.model.room import Departed, Participant


def fill_for(step: Step, app: App) -> Fill:
    """Return the fill of one step; deterministic, so that routing twice says the same words."""
    logged, event, room = step.logged, step.logged.event, step.after
    identity = event.participant_id or ""
    person = _person(step, identity)
    gone = room.departed.get(identity)
    recording = recording_of(room, event)
    media = media_of(step.before.participants.get(identity)) or media_of(person)
    return Fill(
        event_id=logged.id,
        recorded_at=logged.recorded_at,
        app=app,
        room_name=room.name,
        room_instance=f"{step.key}#{room.instance}",
        session_id=_session(step, person, gone),
        joined_at=person.joined_at if person else gone.joined_at if gone else None,
        role=person.role if person else None,
        terminal=person.terminal if person else None,
        name=person.name if person else None,
        media=media,
        sequence=max(0, recording.events - notices(event, media)) if recording else 0,
        recording_id=recording.id if recording else None,
        recorder_id=recording.recorder_id if recording else None,
        recording_mode=recording.mode if recording else None,
        recording_started_at=recording.started_at if recording else None,
        outcome_told=_told_before(step, event.recording_id or (recording.id if recording else "")),
        seq=room.seq,
    )


def _person(step: Step, identity: str) -> Participant | None:
    """Return the stay that the event is about; a late leave is not about the stay that followed."""
    before, after = step.before.participants.get(identity), step.after.participants.get(identity)
    if step.logged.event.type is EventType.PARTICIPANT_LEFT:
        return before if after is None or before is None or after.session_id != before.session_id else None
    return after or before


def _session(step: Step, person: Participant | None, gone: Departed | None) -> str:
    stay = person.session_id if person else gone.session_id if gone else ""
    return f"{step.key}#{stay}" if stay else f"{step.key}#{step.after.instance}"


def _told_before(step: Step, recording_id: str) -> bool:
    """Tell whether another event said first where the recording's files are, also of what is said again later."""
    first = step.after.outcomes.get(recording_id)
    return first is not None and first != step.logged.id
