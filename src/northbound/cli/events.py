"""Make a well-formed event of any kind of any dialect: the shipped vectors are the catalogue of what each wire says."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from northbound.cli.saying import APP
from northbound.dialects.base import Dialect
from northbound.model.delivery import Fill, View
from northbound.model.errors import HubError, InvalidInput
from northbound.model.event import Event, Facts
from northbound.testing.vectors import Case, load, vector_folder

ELSEWHERE = "northbound"  # said from its facts alone, as if another vendor had said it


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the event is about; None keeps what the catalogue has."""

    room: str | None = None
    user: str | None = None
    name: str | None = None


def all_kinds(dialect: Dialect) -> list[str]:
    """Return the wire's own event names."""
    return [kind for group in dialect.kinds for kind in group]


def find_kinds(dialect: Dialect, word: str) -> list[str]:
    """Return the kinds that *word* may mean: a kind, the end of one, or one of our event types (then any of it)."""
    kinds = all_kinds(dialect)
    wanted = word.lower()
    for meant in (
        [kind for kind in kinds if kind == word],
        [kind for kind in kinds if kind.lower() == wanted],
        [kind for kind in kinds if kind.lower().replace(":", "/").rpartition("/")[2] == wanted],
    ):
        if len(meant) == 1:
            return meant
        if meant:
            raise InvalidInput(f"{word} may be: {', '.join(meant)}; write one of them", field="event")
    found = {kind for kind, event, _ in _catalogue(dialect) if event.type.value == wanted}
    if not found:
        raise InvalidInput(f"{dialect.name} has no event {word!r}; it has: {', '.join(kinds)}", field="event")
    return [kind for kind in kinds if kind in found]


def make_view(dialect: Dialect, word: str, who: Who, options: dict[str, Any]) -> tuple[str, Event, View]:
    """Return (kind, event, view) of a new event that *word* names, happening now."""
    kinds = find_kinds(dialect, word)
    now = datetime.now(UTC)
    fallback: tuple[str, Event, View] | None = None
    for kind, event, case in _catalogue(dialect):
        if kind not in kinds:
            continue
        foreign = _about(_of_a_new_recording(_as_foreign(event, now)), who)
        fill = _fill(case, foreign, now)
        try:
            views = dialect.view(foreign, fill, options)
        except HubError:
            continue
        for view in views:
            if dialect.kind(view.words) == kind:
                return kind, foreign, view
        fallback = fallback or (kind, event, View(words=_renamed(event, who)))
    if fallback is None:
        raise InvalidInput(f"the catalogue holds no {', '.join(kinds)} that can be sent", field="event")
    return fallback  # a source that nothing foreign can be said in: its own words, with the ids asked for


def _catalogue(dialect: Dialect) -> Iterator[tuple[str, Event, Case]]:
    for _, file in load(vector_folder()):
        if file.dialect != dialect.name:
            continue
        for case in file.cases:
            if case.request is None or case.result != "valid":
                continue
            for event in dialect.decode(case.request.request(), case.options):
                yield dialect.kind(event.vendor), event, case


def _as_foreign(event: Event, now: datetime) -> Event:
    """Return the event as another vendor's, with every time moved so that it happens now."""
    times = [value for value in msgspec.structs.asdict(event.facts).values() if isinstance(value, datetime)]
    newest = event.occurred_at or max(times, default=None)
    shift = timedelta() if newest is None else now - newest
    moved = {
        name: value + shift
        for name, value in msgspec.structs.asdict(event.facts).items()
        if isinstance(value, datetime)
    }
    facts: Facts = replace(event.facts, **moved)
    occurred_at = now if event.occurred_at else None
    return replace(
        event,
        dialect=ELSEWHERE,
        vendor=msgspec.Raw(b"{}"),
        unmapped=(),
        dedupe_key=None,
        facts=facts,
        occurred_at=occurred_at,
    )


def _of_a_new_recording(event: Event) -> Event:
    """Return an event that a wire counts within its recording as the first one of a new recording.

    Recording and number are what such a wire tells a repeat by; a number out of the blue would be a gap.
    """
    if event.recording_id is None or event.sequence is None:
        return event
    return replace(event, recording_id=f"trigger-{uuid4().hex}", sequence=0)


def _about(event: Event, who: Who) -> Event:
    return replace(
        event,
        room_id=who.room if who.room is not None and event.room_id is not None else event.room_id,
        participant_id=who.user if who.user is not None and event.participant_id is not None else event.participant_id,
        facts=replace(event.facts, name=who.name) if who.name is not None else event.facts,
    )


def _renamed(event: Event, who: Who) -> msgspec.Raw:
    """Return the event's own words with the ids asked for in place of its own, wherever they stand."""
    ids = {event.room_id: who.room, event.participant_id: who.user}
    wanted = {old: new for old, new in ids.items() if old is not None and new is not None}

    def walk(value: Any) -> Any:
        match value:
            case dict():
                return {name: walk(part) for name, part in value.items()}
            case list():
                return [walk(part) for part in value]
            case str():
                return wanted.get(value, value)
            case _:
                return value

    return msgspec.Raw(msgspec.json.encode(walk(msgspec.json.decode(event.vendor))))


def _fill(case: Case, event: Event, now: datetime) -> Fill:
    base = Fill(
        event_id=f"ev_trigger_{uuid4().hex}",
        recorded_at=now,
        app=APP,
        room_name=event.facts.room_name,
        room_instance=f"trigger/{event.room_id}#1",
        session_id=f"trigger/{event.room_id}#1-1",
        recording_id=event.recording_id,
        sequence=event.sequence or 0,
        seq=1,
    )
    ours = ("app", "event_id", "recorded_at", "recording_id", "sequence")
    given = {name: value for name, value in case.fill.items() if name not in ours}
    typed = msgspec.convert(
        {"event_id": base.event_id, "recorded_at": now, "app": msgspec.to_builtins(APP)} | given, Fill
    )
    return replace(base, **{name: getattr(typed, name) for name in given})
