"""Fold requests offline, with the hub's own fold and words, and say what they hold in another dialect."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from northbound.dialects import all_dialects
from northbound.dialects.base import Dialect, Options
from northbound.logic.derive import Step, advance
from northbound.logic.route import Said
from northbound.model.app import App, Endpoint
from northbound.model.delivery import View
from northbound.model.errors import SignatureError
from northbound.model.event import Event
from northbound.model.log import Logged, Origin, room_key
from northbound.model.room import Memory, Room
from northbound.model.wire import Key, Needs, Proof, Request

APP = App(
    id="app-1", name="northbound", created_at=datetime(2026, 1, 1, tzinfo=UTC), account_id="1", biz_name="northbound"
)
SOURCE = "offline"


class Saying(msgspec.Struct, frozen=True, kw_only=True):
    """One event and what became of it: its views in the other dialect, none when that has no word for it."""

    step: Step
    views: tuple[View, ...]
    is_concluded: bool


def decode_all(
    dialect: Dialect, requests: Sequence[Request], options: Options, keys: Sequence[Key], now: datetime
) -> list[tuple[Event, Proof]]:
    """Return the events of *requests* in order, verified when there are *keys*."""
    found: list[tuple[Event, Proof]] = []
    for request in requests:
        proof = dialect.verify(request, keys, now, options) if keys else Proof.NONE
        if isinstance(proof, Needs):
            raise SignatureError("the signature needs a certificate, which is not fetched offline; leave the key out")
        found.extend((event, proof) for event in dialect.decode(request, options))
    return found


def fold(events: Sequence[tuple[Event, Proof]], now: datetime) -> Iterator[Step]:
    """Yield what the hub would tell others of, one step after the other."""
    rooms: dict[str, Room] = {}
    memory = Memory()
    dialects = all_dialects()
    for offset, (event, proof) in enumerate(events):
        logged = Logged(
            id=f"ev_{offset:012d}",
            partition=0,
            offset=offset,
            source_id=SOURCE,
            recorded_at=now,
            proof=proof,
            origin=Origin.OBSERVED,
            event=event,
        )
        moved = advance(logged, rooms.get, memory, dialects[event.dialect].traits)
        memory = moved.memory
        rooms.update((step.key, step.after) for step in moved.steps)
        # A single event may change nothing by itself (a leave without its join); it is said all the same.
        yield from [step for step in moved.steps if step.deliver] or [
            step for step in moved.steps if step.logged.id == logged.id
        ]


def say(step: Step, dialect: str, options: Options) -> Saying:
    """Return one step in the words of *dialect*."""
    views = Said(step, APP, all_dialects()).in_dialect(dialect, options)
    return Saying(step=step, views=views, is_concluded=step.logged.origin is Origin.DERIVED)


def matched_view(step: Step, view: str) -> Any | None:
    """Return the event as a rule over *view* sees it."""
    return Said(step, APP, all_dialects()).as_matched(view)


def lone_step(event: Event, now: datetime, event_id: str) -> Step:
    """Return a step of one event in a room of its own."""
    logged = Logged(
        id=event_id,
        partition=0,
        offset=0,
        source_id=SOURCE,
        recorded_at=now,
        proof=Proof.NONE,
        origin=Origin.SYNTHETIC,
        event=event,
    )
    room = Room(source_id=SOURCE, id=event.room_id or "", scope=event.scope)
    return Step(key=room_key(SOURCE, event), logged=logged, before=room, after=room)


def endpoint_at(
    url: str, dialect: Dialect, *, options: Options, keys: tuple[Key, ...] = (), method: str | None = None
) -> Endpoint:
    """Return an endpoint that exists on this command line only."""
    return Endpoint(
        id="ep_offline",
        app_id=APP.id,
        url=url,
        dialect=dialect.name,
        created_at=APP.created_at,
        method=method or ("POST" if "POST" in dialect.methods else dialect.methods[0]),
        keys=keys,
        options=dict(options),
    )
