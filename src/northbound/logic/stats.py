"""Concurrency peaks and minutes per app and room, a day at a time in the app's zone (ruling 15)."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from northbound.logic.derive import Step
from northbound.logic.project import moment
from northbound.model.event import Counts, EventType
from northbound.model.room import DayStats, Participant, Room, RoomDay, Tally

SPAN_MAX = timedelta(days=400)  # of one stay or meeting: what is longer is a clock that went wrong
HALF_A_DAY = timedelta(hours=12)
ONE_PERSON = frozenset(
    {EventType.PARTICIPANT_JOINED, EventType.PARTICIPANT_LEFT, EventType.TRACK_PUBLISHED}
)  # types that can change the presence of nobody but the one they name


def day_of(when: datetime, zone: ZoneInfo) -> str:
    """Return the calendar day of *when* in *zone*, YYYY-MM-DD."""
    return when.astimezone(zone).date().isoformat()


def day_start(day: str, zone: ZoneInfo) -> datetime:
    """Return the first instant of *day* in *zone*, as UTC."""
    return datetime.fromisoformat(day).replace(tzinfo=zone).astimezone(UTC)


def day_end(day: str, zone: ZoneInfo) -> datetime:
    """Return the first instant after *day*."""
    return day_start((datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat(), zone)


def told_span(day: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return when a vendor's statistic of *day* is told: at its end, so between its noon and the next (inferred)."""
    noon, end = day_start(day, zone) + HALF_A_DAY, day_end(day, zone)
    return noon, end + HALF_A_DAY


def split(since: datetime, until: datetime, zone: ZoneInfo) -> Iterator[tuple[str, float]]:
    """Yield (day, seconds) for each day the span from *since* to *until* touches, split at midnight."""
    since = max(since, until - SPAN_MAX)
    while since < until:
        day = day_of(since, zone)
        end = min(until, day_end(day, zone))
        yield day, (end - since).total_seconds()
        since = end


def tally(step: Step, zone: ZoneInfo) -> tuple[Tally, ...]:
    """Return what *step* adds, by day, the newest last; an entry that changed nothing adds nothing (R1).

    Whose stay ends is a member of each day that it touched: nobody need come on a day to be there.
    """
    before, after = step.before, step.after
    moved = before.participants is not after.participants
    begun = after.open and (not before.open or after.instance != before.instance)
    ended = before.open and (not after.open or after.instance != before.instance)
    if not (moved or begun or ended):
        return ()
    when = moment(step.logged)
    came, went = _moved(step) if moved else ([], [])
    held: dict[str, float] = {}
    stays: dict[str, list[tuple[str, float]]] = {}
    if ended and before.opened_at is not None:
        held = dict(split(before.opened_at, when, zone))
    for one in went:
        for name, seconds in split(one.joined_at, when, zone):
            stays.setdefault(name, []).append((one.id, seconds))
    day = day_of(when, zone)
    earlier = tuple(
        Tally(
            day=name,
            room_key=step.key,
            meeting_seconds=held.get(name, 0.0),
            participant_seconds=sum(seconds for _, seconds in stays.get(name, ())),
            members=tuple(dict.fromkeys(person for person, _ in stays.get(name, ()))),
        )
        for name in dict.fromkeys((*held, *stays))
        if name != day
    )
    newest = Tally(
        day=day,
        room_key=step.key,
        meetings=int(begun),
        meeting_seconds=held.get(day, 0.0),
        participant_seconds=sum(seconds for _, seconds in stays.get(day, ())),
        joins=len(came),
        members=tuple(dict.fromkeys(one.id for one in (*came, *went))),
        present_delta=len(came) - len(went),
        room_present=max(len(before.participants), len(after.participants)),
    )
    return (*earlier, newest)


def _moved(step: Step) -> tuple[list[Participant], list[Participant]]:
    """Return (stays begun, stays ended)."""
    before, after = step.before.participants, step.after.participants
    event = step.logged.event
    names: Iterable[str] = {**before, **after}
    if event.type in ONE_PERSON and event.participant_id is not None and step.before.instance == step.after.instance:
        names = (event.participant_id,)
    came: list[Participant] = []
    went: list[Participant] = []
    for name in names:
        old, new = before.get(name), after.get(name)
        if old is not None and (new is None or new.session_id != old.session_id):
            went.append(old)
        if new is not None and (old is None or new.session_id != old.session_id):
            came.append(new)
    return came, went


def with_open_rooms(stats: DayStats, rooms: Iterable[Room], now: datetime, zone: ZoneInfo) -> DayStats:
    """Add the time of meetings and stays that are still going on, up to *now* or the end of the day."""
    start, end = day_start(stats.day, zone), min(now, day_end(stats.day, zone))
    held = stayed = 0.0
    for room in rooms:
        if room.open and room.opened_at is not None:
            held += _overlap(room.opened_at, start, end)
        stayed += sum(_overlap(one.joined_at, start, end) for one in room.participants.values())
    return replace(
        stats,
        meeting_seconds=stats.meeting_seconds + held,
        participant_seconds=stats.participant_seconds + stayed,
    )


def staying(stays: Iterable[tuple[str, datetime]], end: datetime) -> tuple[str, ...]:
    """Return who is there since before *end*, each once, of *stays* that go on: (participant, since when)."""
    return tuple(dict.fromkeys(person for person, since in stays if since < end))


def _overlap(since: datetime, start: datetime, end: datetime) -> float:
    return max(0.0, (end - max(since, start)).total_seconds())


def counts_of(stats: DayStats, *, members: str = "distinct") -> Counts:
    """Return a day's figures as a wire tells them; *members* is `distinct` or `joins`."""
    people = stats.joins if members == "joins" else stats.members
    return Counts(meetings=stats.meetings, seconds=round(stats.meeting_seconds), members=people, peak=stats.peak)


def counts_of_source(
    source_id: str, stats: DayStats, held: Sequence[RoomDay], open_rooms: Sequence[Room], now: datetime, zone: ZoneInfo
) -> Counts:
    """Return what we counted of an app's day in the rooms of one source, as its vendor would tell it.

    *stats* are the app's figures of finished stays and meetings, *held* those of its rooms. Members and the peak are
    counted over all sources of an app: where others had a part in the day they are left out.
    """
    own = [one for one in held if _source_of(one.room_key) == source_id]
    going_on = [room for room in open_rooms if room.source_id == source_id]
    end = day_end(stats.day, zone)
    others = {_source_of(one.room_key) for one in held}
    others |= {room.source_id for room in open_rooms if room.opened_at is not None and room.opened_at < end}
    summed = DayStats(
        app_id=stats.app_id,
        day=stats.day,
        meetings=sum(one.meetings for one in own),
        meeting_seconds=sum(one.meeting_seconds for one in own),
    )
    counts = counts_of(with_open_rooms(summed, going_on, now, zone))
    alone = others <= {source_id}
    return replace(counts, members=stats.members if alone else None, peak=stats.peak if alone else None)


def _source_of(key: str) -> str:
    return key.partition("/")[0]


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of a day that the vendor tells otherwise than we counted (R15)."""

    figure: str
    ours: int
    theirs: int


def disputes(ours: Counts, theirs: Counts) -> tuple[Dispute, ...]:
    """Return each figure that both tell and tell differently; durations may differ by a second a meeting."""
    found: list[Dispute] = []
    for name in ("meetings", "seconds", "members", "peak"):
        own, told = getattr(ours, name), getattr(theirs, name)
        allowed = (ours.meetings or 0) if name == "seconds" else 0
        if own is not None and told is not None and abs(own - told) > allowed:
            found.append(Dispute(figure=name, ours=own, theirs=told))
    return tuple(found)
