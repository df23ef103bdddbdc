"""Decide who is sent an event, in which words, and at which place of their room's order."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from northbound.dialects.base import Dialect, Options
from northbound.logic.derive import OURS, Step
from northbound.logic.fill import fill_for
from northbound.logic.match import ANY_KEY, CLOUD_EVENT_KEYS, Pattern, compile_pattern
from northbound.logic.project import apply
from northbound.model.app import App, Endpoint, Registry, Source, Subscription
from northbound.model.delivery import Delivery, Fill, View
from northbound.model.errors import InvalidInput, PatternError
from northbound.model.event import Event, EventType
from northbound.model.log import Logged, Origin
from northbound.model.room import Room
from northbound.model.wire import Proof

NEUTRAL = "standard"
NEUTRAL_KEYS = CLOUD_EVENT_KEYS | {"nbdialect", "nbseq", "nbroom"}  # the attributes our own view adds


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One enabled subscription, its pattern compiled, and the endpoints it targets."""

    subscription: Subscription
    pattern: Pattern
    endpoints: tuple[Endpoint, ...]


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint's wire could not carry (`lost`), got made up (`invented`) or has no word for (`no_word`).

    `failed`: its dialect broke on the event, which was not sent there; a fault of ours that must not stop the others.
    """

    endpoint_id: str
    kind: str
    what: str
    event_type: str


class RoutingTable(msgspec.Struct, frozen=True, kw_only=True):
    """The registry, ready for routing: by app, and by the types of the neutral view that a pattern can match at all."""

    version: int
    apps: dict[str, App]
    sources: dict[str, Source]
    endpoints: dict[str, Endpoint]
    typed: dict[tuple[str, str], tuple[Route, ...]]  # (app id, event type)
    untyped: dict[str, tuple[Route, ...]]  # app id
    zones: dict[str, ZoneInfo]

    def app_of(self, source_id: str) -> App | None:
        """Return the app a source belongs to; None when it was deleted."""
        source = self.sources.get(source_id)
        return None if source is None else self.apps.get(source.app_id)

    def candidates(self, app_id: str, event_type: str) -> tuple[Route, ...]:
        """Return the routes whose pattern could match an event of this type."""
        return self.typed.get((app_id, event_type), ()) + self.untyped.get(app_id, ())


def build_table(registry: Registry) -> RoutingTable:
    """Compile *registry*; a subscription whose pattern does not compile (older rules) matches nothing."""
    endpoints = {one.id: one for one in registry.endpoints}
    typed: dict[tuple[str, str], tuple[Route, ...]] = {}
    untyped: dict[str, tuple[Route, ...]] = {}
    for subscription in registry.subscriptions:
        route = _route_of(subscription, endpoints)
        if route is None:
            continue
        types = route.pattern.types if subscription.view == NEUTRAL else None
        if types is None:
            untyped[subscription.app_id] = (*untyped.get(subscription.app_id, ()), route)
        for kind in types or ():
            key = (subscription.app_id, kind)
            typed[key] = (*typed.get(key, ()), route)
    return RoutingTable(
        version=registry.version,
        apps={one.id: one for one in registry.apps},
        sources={one.id: one for one in registry.sources},
        endpoints=endpoints,
        typed=typed,
        untyped=untyped,
        zones={one.id: _zone(one.time_zone) for one in registry.apps},
    )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):  # refused when it is set; an old row must not stop routing
        return ZoneInfo("UTC")


def compile_for(view: str, pattern: str) -> Pattern:
    """Compile *pattern* over the view it is matched against (ruling 8); raise `PatternError`."""
    return compile_pattern(pattern, keys=NEUTRAL_KEYS if view == NEUTRAL else ANY_KEY)


def _route_of(subscription: Subscription, endpoints: Mapping[str, Endpoint]) -> Route | None:
    if subscription.state != "enabled":
        return None
    try:
        pattern = compile_for(subscription.view, subscription.pattern)
    except PatternError:
        return None
    ids = dict.fromkeys(target.endpoint_id for target in subscription.targets)
    found = tuple(
        endpoints[name] for name in ids if name in endpoints and endpoints[name].app_id == subscription.app_id
    )
    return Route(subscription=subscription, pattern=pattern, endpoints=found) if found else None


class Said:
    """One step in the words of any dialect, each said once however many endpoints want it."""

    def __init__(self, step: Step, app: App, dialects: Mapping[str, Dialect]) -> None:
        self.step = step
        self.fill: Fill = fill_for(step, app)
        self._dialects = dialects
        self._views: dict[Any, tuple[View, ...]] = {}
        self._matched: dict[str, Any] = {}

    def in_dialect(self, name: str, options: Options) -> tuple[View, ...]:
        """Return the views of the step's event in dialect *name*."""
        key = (name, *sorted(options.items())) if options else name
        if key not in self._views:
            self._views[key] = self._dialects[name].view(self.step.logged.event, self.fill, options)
        return self._views[key]

    def unsaid(self, name: str) -> str | None:
        """Return why dialect *name* does not say the event, None when it has no word for it."""
        return self._dialects[name].unsaid(self.step.logged.event, self.fill)

    def as_matched(self, name: str) -> Any | None:
        """Return the event as a rule over view *name* sees it (ruling 8), None when the wire has no word for it."""
        if name not in self._matched:
            views = self.in_dialect(name, {})
            self._matched[name] = msgspec.json.decode(views[0].words) if views else None
        return self._matched[name]


def route(
    step: Step,
    app: App,
    table: RoutingTable,
    dialects: Mapping[str, Dialect],
    last_sent: Callable[[str], int | None],
) -> tuple[list[Delivery], list[Loss]]:
    """Return the deliveries of one step, ids derived so that routing twice makes the same, and what gets lost."""
    logged = step.logged
    said = Said(step, app, dialects)
    deliveries: list[Delivery] = []
    losses: list[Loss] = []
    reached: set[str] = set()
    for one in table.candidates(app.id, _neutral_type(said)):
        wanted = [endpoint for endpoint in one.endpoints if endpoint.id not in reached]
        try:
            matches = bool(wanted) and _is_match(one, said, logged)
        except Exception as error:  # noqa: BLE001 - a dialect's fault costs its endpoints this event, not everybody
            losses.extend(_failed(endpoint, logged, error) for endpoint in wanted)
            continue
        for endpoint in wanted if matches else ():
            reached.add(endpoint.id)
            try:
                views = said.in_dialect(endpoint.dialect, endpoint.options)
            except Exception as error:  # noqa: BLE001 - as above
                losses.append(_failed(endpoint, logged, error))
                continue
            losses.extend(_losses(endpoint, said, views))
            deliveries.extend(_deliveries(step, one.subscription, endpoint, views, last_sent(endpoint.id)))
    return deliveries, losses


def _neutral_type(said: Said) -> str:
    """Return `type` as the neutral view has it: our word, but for events that came in that wire, theirs."""
    event = said.step.logged.event
    words = said.as_matched(NEUTRAL) if event.dialect == NEUTRAL else None
    return str(words.get("type")) if words else event.type.value


def _failed(endpoint: Endpoint, logged: Logged, error: Exception) -> Loss:
    what = f"{endpoint.dialect}: {type(error).__name__}"
    return Loss(endpoint_id=endpoint.id, kind="failed", what=what, event_type=logged.event.type.value)


def _is_match(one: Route, said: Said, logged: Logged) -> bool:
    wanted = one.subscription.source_ids
    if wanted and logged.source_id not in wanted:
        return False
    if not one.pattern.conditions:  # all there are words for: nothing of them needs to be looked at
        return bool(said.in_dialect(one.subscription.view, {}))
    words = said.as_matched(one.subscription.view)
    return words is not None and one.pattern.matches(words)


def _deliveries(
    step: Step, subscription: Subscription, endpoint: Endpoint, views: Iterable[View], previous: int | None
) -> list[Delivery]:
    """Return a delivery a view; each names the place of the one before it, so that a receiver can prove the chain."""
    logged, seq = step.logged, step.after.seq
    return [
        Delivery(
            id=f"dl_{logged.id}_{endpoint.id}" + (f"_{number}" if number else ""),
            endpoint_id=endpoint.id,
            subscription_id=subscription.id,
            source_id=logged.source_id,
            event_id=logged.id,
            event_type=logged.event.type.value,
            order_key=step.key,
            created_at=logged.recorded_at,
            due_at=logged.recorded_at,
            view=view,
            dialect=endpoint.dialect,
            seq=seq,
            prev=seq if number else previous,
        )
        for number, view in enumerate(views)
    ]


def _losses(endpoint: Endpoint, said: Said, views: tuple[View, ...]) -> list[Loss]:
    kind = said.step.logged.event.type.value
    if not views:
        reason = said.unsaid(endpoint.dialect)
        how = "no_word" if reason is None else "lost"
        return [Loss(endpoint_id=endpoint.id, kind=how, what=reason or kind, event_type=kind)]
    found = [("lost", what) for view in views for what in view.lost]
    found += [("invented", what) for view in views for what in view.invented]
    return [Loss(endpoint_id=endpoint.id, kind=how, what=what, event_type=kind) for how, what in dict.fromkeys(found)]


def test_delivery(endpoint: Endpoint, app: App, dialects: Mapping[str, Dialect], now: datetime) -> list[Delivery]:
    """Return a test event for one endpoint: the first of these types that its wire has a word for."""
    for kind in (EventType.ROOM_OPENED, EventType.RECORDING_STARTED, EventType.PARTICIPANT_JOINED):
        event = Event(
            type=kind, dialect=OURS, room_id="northbound-test", participant_id="northbound-test", occurred_at=now
        )
        logged = Logged(
            id=f"ev_test_{int(now.timestamp() * 1000)}",
            partition=0,
            offset=0,
            source_id="northbound-test",
            recorded_at=now,
            proof=Proof.NONE,
            origin=Origin.SYNTHETIC,
            event=event,
        )
        room = Room(source_id=logged.source_id, id="northbound-test")
        step = Step(key=f"test/{endpoint.id}", logged=logged, before=room, after=apply(room, logged))
        views = Said(step, app, dialects).in_dialect(endpoint.dialect, endpoint.options)
        if views:
            subscription = Subscription(id="", app_id=app.id, created_at=now)
            return _deliveries(step, subscription, endpoint, views, None)
    raise InvalidInput(f"{endpoint.dialect} has no event to test an endpoint with")
