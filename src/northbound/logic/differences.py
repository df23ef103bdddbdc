"""Compare a vendor's own list of rooms with the projection: what either has and the other lacks (rulings 34, R7).

What changed here while the list was on its way is left alone: the callback is newer, and it wins (R7).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from northbound.model.room import Participant, Room, Snapshot


class DifferenceKind(StrEnum):
    """Where the two say something else."""

    ROOM_MISSING = "room_missing"  # open for the vendor, not here
    ROOM_EXTRA = "room_extra"  # open here, not for the vendor
    PARTICIPANT_MISSING = "participant_missing"
    PARTICIPANT_EXTRA = "participant_extra"
    TRACK_MISSING = "track_missing"
    TRACK_EXTRA = "track_extra"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the vendor's list and the projection do not share."""

    kind: DifferenceKind
    room_id: str
    participant_id: str | None = None
    track_id: str | None = None


def differences(snapshot: Snapshot, rooms: Mapping[str, Room]) -> Iterator[Difference]:
    """Yield how *rooms* (by room id, closed ones that are known too) differ from *snapshot*, room by room."""
    listed = {room.id: room for room in snapshot.rooms}
    for room_id in sorted(listed.keys() | rooms.keys()):
        yield from _of_room(room_id, listed.get(room_id), rooms.get(room_id), snapshot.taken_at)


def _of_room(room_id: str, theirs: Room | None, ours: Room | None, taken_at: datetime) -> Iterator[Difference]:
    is_open = ours is not None and ours.open
    if theirs is None:
        if is_open and not _is_since(ours.opened_at if ours else None, taken_at):
            yield Difference(kind=DifferenceKind.ROOM_EXTRA, room_id=room_id)
        return
    if ours is not None and not ours.open and _is_since(ours.closed_at, taken_at):
        return
    if not is_open:
        yield Difference(kind=DifferenceKind.ROOM_MISSING, room_id=room_id)
    known = ours.participants if ours is not None and ours.open else {}
    for person in sorted(theirs.participants.keys() | known.keys()):
        yield from _of_person(room_id, theirs.participants.get(person), known.get(person), ours, taken_at)


def _of_person(
    room_id: str, theirs: Participant | None, ours: Participant | None, room: Room | None, taken_at: datetime
) -> Iterator[Difference]:
    if theirs is None:
        if ours is not None and not _is_since(ours.joined_at, taken_at):
            yield Difference(kind=DifferenceKind.PARTICIPANT_EXTRA, room_id=room_id, participant_id=ours.id)
        return
    if ours is None:
        gone = None if room is None else room.departed.get(theirs.id)
        if gone is None or not _is_since(gone.left_at, taken_at):
            yield Difference(kind=DifferenceKind.PARTICIPANT_MISSING, room_id=room_id, participant_id=theirs.id)
        return
    for track in sorted(theirs.tracks.keys() - ours.tracks.keys()):
        if not _is_since(ours.ended_tracks.get(track), taken_at):
            yield _track(DifferenceKind.TRACK_MISSING, room_id, ours.id, track)
    for track in sorted(ours.tracks.keys() - theirs.tracks.keys()):
        if not _is_since(ours.tracks[track].published_at, taken_at):
            yield _track(DifferenceKind.TRACK_EXTRA, room_id, ours.id, track)


def _track(kind: DifferenceKind, room_id: str, participant_id: str, track_id: str) -> Difference:
    return Difference(kind=kind, room_id=room_id, participant_id=participant_id, track_id=track_id)


def _is_since(moment: datetime | None, taken_at: datetime) -> bool:
    return moment is not None and moment >= taken_at
