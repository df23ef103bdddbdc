"""Fold one event into its recording: status, files, missing sequence numbers and one verdict (R10, R11)."""

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from northbound.model.event import Event, EventType, Fault, Media
from northbound.model.room import Recording

FAULTS_KEPT = 50
GAPS_KEPT = 1000
INTERRUPTIONS_KEPT = 1000
T = EventType

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
STAGES = (  # in the order in which a recording goes through them; the last stays whatever follows
    "initialized",
    "recorder_starting",
    "uploader_started",
    "recorder_started",
    "first_file_uploaded",
    "stopped",
    "all_stopped",
    "exiting",
    "exited_abnormally",
)
STAGE_OF = {
    T.RECORDING_UPLOAD_STARTED: "uploader_started",
    T.RECORDING_STARTED: "recorder_started",
    T.RECORDING_SLICED: "recorder_started",
    T.RECORDING_INDEXED: "first_file_uploaded",
    T.RECORDING_STOPPED: "stopped",
    T.RECORDING_COMPLETED: "all_stopped",
    T.RECORDING_TRANSCODED: "all_stopped",
    T.RECORDING_UPLOADED: "all_stopped",
    T.RECORDING_BACKED_UP: "all_stopped",
    T.RECORDING_EXITED: "exiting",
}
# When these failed, it is over.
LAST_WORDS = frozenset({T.RECORDING_STARTED, T.RECORDING_COMPLETED, T.RECORDING_TRANSCODED, T.RECORDING_EXITED})
FLOWS = frozenset({T.TRACK_STALLED, T.TRACK_RESUMED})
RANK = {"paused": 0, "started": 0, "uploading": 0, "stopped": 1, "exited": 2, "finished": 3, "failed": 4}
ENDED = ("stopped", "exited", "uploading")
ENDINGS = frozenset({T.RECORDING_STOPPED, T.RECORDING_EXITED})
OUTCOMES = frozenset({T.RECORDING_TRANSCODED, T.RECORDING_COMPLETED, T.RECORDING_UPLOADED, T.RECORDING_BACKED_UP})
STORED = frozenset({T.RECORDING_UPLOADED, T.RECORDING_BACKED_UP})


def apply_event(before: Recording | None, event: Event, when: datetime, media: Iterable[Media] = ()) -> Recording:
    """Return the recording after *event*; a repeated number of the vendor's counts and loses nothing again.

    *media* are what the participant publishes that the event is about.
    """
    facts = event.facts
    known = before or Recording(id=event.recording_id or "", started_at=facts.started_at or when)
    again = _is_repeated(known, event.sequence)
    interruptions, missing = (known.interruptions, known.missing_ms) if again else _interrupted(known, event)
    after = replace(
        known,
        status=_status(known, event),
        events=known.events + (0 if again else notices(event, media)),
        mode=facts.recording_mode or known.mode,
        recorder_id=facts.new_recorder_id or facts.recorder_id or known.recorder_id,
        format=facts.format or known.format,
        started_at=_started_at(known, event, when),
        stopped_at=_stopped_at(known, event, when),
        progress=max(filter(None, (known.progress, facts.progress)), default=None),
        files=facts.files or known.files,
        faults=known.faults if again else _faults(known, facts.fault),
        interruptions=interruptions,
        missing_ms=missing,
        stage=_stage(known, event),
        verdict=_verdict(known, event, missing),
    )
    return _sequenced(after, event.sequence)


def abandoned(recording: Recording) -> Recording:
    """Return a recording whose room is over: one whose end was never told has an unknown outcome."""
    return replace(recording, verdict="unknown") if recording.verdict is None else recording


def tells_outcome(event: Event) -> bool:
    """Tell whether an event says where the files of a recording are, of which a wire may have one word only."""
    return event.type in STORED or (event.type in OUTCOMES and not event.facts.failed)


def awaits_outcome(recording: Recording) -> bool:
    """Tell whether it ended and may still be uploading: it goes along into the room's next instance."""
    return recording.status in ENDED and recording.verdict not in ("complete", "incomplete")


def overheard(recording: Recording, event: Event, media: Iterable[Media]) -> Recording:
    """Return *recording* after an event of its room that is one of its own in a wire that tells it so."""
    return replace(recording, events=recording.events + notices(event, media))


def notices(event: Event, media: Iterable[Media]) -> int:
    """Return how many numbers a recording's event takes: a stall one for sound and one for sight, anything else one.

    *media* are what the participant publishes, for an event that names none.
    """
    if event.type not in FLOWS:
        return 1
    return len({medium is Media.AUDIO for medium in event.facts.media or media}) or 1


def _stage(known: Recording, event: Event) -> str:
    told = event.facts.status if event.type is T.RECORDING_STATUS_CHANGED else STAGE_OF.get(event.type)
    if event.facts.success is False:
        told = "exited_abnormally" if event.type in LAST_WORDS else None
    place = STAGES.index(told) if told in STAGES else -1
    return STAGES[place] if place >= 0 and (not known.stage or place > STAGES.index(known.stage)) else known.stage


def _is_repeated(known: Recording, number: int | None) -> bool:
    return number is not None and 0 <= number < (known.next_sequence or 0) and number not in known.gaps


def _status(known: Recording, event: Event) -> str:
    status = "failed" if event.facts.success is False else STATUS.get(event.type, known.status)
    return status if RANK[status] >= RANK[known.status] else known.status


def _started_at(known: Recording, event: Event, when: datetime) -> datetime:
    told = (known.started_at, event.facts.started_at, when if event.type is T.RECORDING_STARTED else None)
    return min(filter(None, told), default=when)


def _stopped_at(known: Recording, event: Event, when: datetime) -> datetime | None:
    if event.facts.stopped_at is not None:
        return event.facts.stopped_at
    return when if event.type in ENDINGS and known.stopped_at is None else known.stopped_at


def _faults(known: Recording, fault: Fault | None) -> tuple[Fault, ...]:
    return known.faults if fault is None else (*known.faults, fault)[-FAULTS_KEPT:]


def _interrupted(known: Recording, event: Event) -> tuple[tuple[datetime, ...], int | None]:
    """Return (interruptions, missing milliseconds); one that was told before is not counted again."""
    since, until = event.facts.interrupted_at, event.facts.started_at
    if event.type is not T.RECORDING_SLICED or since is None or until is None or until <= since:
        return known.interruptions, known.missing_ms
    if since in known.interruptions:
        return known.interruptions, known.missing_ms
    lost = round((until - since).total_seconds() * 1000)
    return (*known.interruptions, since)[-INTERRUPTIONS_KEPT:], (known.missing_ms or 0) + lost


def _verdict(known: Recording, event: Event, missing: int | None) -> str | None:
    """Say one verdict, however many end events a wire sends and in which order: what was lost once stays lost."""
    fault = event.facts.fault
    failed = event.facts.success is False or (fault is not None and fault.level == "fatal")
    if failed or known.verdict == "incomplete":
        return "incomplete"
    if event.type in OUTCOMES or known.verdict == "complete":
        return "incomplete" if missing else "complete"
    return known.verdict


def _sequenced(recording: Recording, number: int | None) -> Recording:
    """Open, close and keep the gaps in a recording's sequence numbers, which count from 0 (R10)."""
    if number is None or number < 0:
        return recording
    expected = recording.next_sequence or 0
    if number >= expected:
        gaps = (*recording.gaps, *range(max(expected, number - GAPS_KEPT), number))[-GAPS_KEPT:]
        return replace(recording, next_sequence=number + 1, gaps=gaps)
    return replace(recording, gaps=tuple(gap for gap in recording.gaps if gap != number))
