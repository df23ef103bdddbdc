"""Decide who is sent an event, in which words, and at which place of their room's order."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from northbound.dialects.base import Dialect, Options, zone_named
from northbound.logic.customers import BUS_WIRE, bus_options, of_accounts
from northbound.logic.derive import OURS, Step
from northbound.logic.fill import fill_for
from northbound.logic.match import ANY_KEY, CLOUD_EVENT_KEYS, Pattern, compile_pattern
from northbound.logic.project import apply
from northbound.model.app import App, Endpoint, Registry, Source, Subscription
from northbound.model.delivery import Delivery, Fill, Lane, View
from northbound.model.errors import InvalidInput, PatternError
from northbound.model.event import Event, EventType
from northbound.model.log import Logged, Origin
from northbound.model.room import Room
from northbound.model.wire import Proof

NEUTRAL = "standard"
DEFAULT_BUS = "default"
NOTHING_SET: Options = MappingProxyType({})
ROLE = "nbrole"  # what a rule may ask for beside the words of our own view: the role of whom the event is about
SHORT = 256  # characters of a pattern; compiled it takes up to 42 times its text
COMPILED = 20_000  # short patterns kept compiled: 60 MB as rules usually are, 215 MB at most
COMPILED_LONG = 256  # others: one of 16 KiB takes 700, and whoever changes a rule again and again makes new ones
NEUTRAL_KEYS = CLOUD_EVENT_KEYS | {"nbdialect", "nbseq", "nbroom", ROLE}  # the attributes our own view adds


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One enabled subscription, its pattern compiled, and the endpoints it targets.

    `options` say how its view tells an event: a rule on a bus sees it in its account's words (rulings 8, 14).
    """

    subscription: Subscription
    pattern: Pattern
    endpoints: tuple[Endpoint, ...]
    options: dict[str, Any] = {}


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint's wire could not carry (`lost`), got made up (`invented`) or has no word for (`no_word`).

    `failed`: its dialect broke on the event, which was not sent there; a fault of ours that must not stop the others.
    """

    endpoint_id: str
    kind: str
    what: str
    event_type: str


class RoutingTable(msgspec.Struct, frozen=True, kw_only=True):
    """The registry, ready for routing: by scope, and by the types of a view that a pattern can match at all.

    A scope is an app's id or an event bus's id. The cost of an event grows with the rules that could match it.
    """

    version: int
    apps: dict[str, App]
    sources: dict[str, Source]
    endpoints: dict[str, Endpoint]
    scopes: dict[str, tuple[str, ...]]  # of each source
    typed: dict[str, dict[str, dict[str, list[Route]]]]  # scope, view, type in the view's words
    untyped: dict[str, list[Route]]  # scope
    zones: dict[str, ZoneInfo]  # of apps and accounts
    accounts: dict[str, str]  # of each app that has one

    def app_of(self, source_id: str) -> App | None:
        """Return the app a source belongs to; None when it was deleted."""
        source = self.sources.get(source_id)
        return None if source is None else self.apps.get(source.app_id)

    def candidates(self, source_id: str, type_in: Callable[[str], Any]) -> Iterable[Route]:
        """Yield the routes whose pattern could match an event; *type_in* tells its type in a view's words."""
        for scope in self.scopes.get(source_id, ()):
            for view, by_type in self.typed.get(scope, {}).items():
                word = type_in(view)
                if isinstance(word, str):
                    yield from by_type.get(word, ())
                else:  # patterns compare numbers and lists by rules of their own
                    yield from (route for routes in by_type.values() for route in routes)
            yield from self.untyped.get(scope, ())


def build_table(registry: Registry) -> RoutingTable:
    """Compile *registry*; a subscription whose pattern does not compile (older rules) matches nothing."""
    endpoints = {one.id: one for one in of_accounts(registry.endpoints, registry.accounts)}
    said = {one.id: bus_options(one) for one in registry.accounts}
    on_bus = {bus.id: said[bus.account_id] for bus in registry.buses if bus.account_id in said}
    typed: dict[str, dict[str, dict[str, list[Route]]]] = {}
    untyped: dict[str, list[Route]] = {}
    for subscription in registry.subscriptions:
        route = _route_of(subscription, endpoints, on_bus)
        if route is None:
            continue
        scope = subscription.bus_id or subscription.app_id
        if route.pattern.types is None:
            untyped.setdefault(scope, []).append(route)
        for kind in route.pattern.types or ():
            typed.setdefault(scope, {}).setdefault(subscription.view, {}).setdefault(kind, []).append(route)
    return RoutingTable(
        version=registry.version,
        apps={one.id: one for one in registry.apps},
        sources={one.id: one for one in registry.sources},
        endpoints=endpoints,
        scopes=_scopes(registry),
        typed=typed,
        untyped=untyped,
        zones={one.id: _zone(one.time_zone) for one in (*registry.apps, *registry.accounts)},
        accounts={one.id: one.account_id for one in registry.apps if one.account_id in said},
    )


def _scopes(registry: Registry) -> dict[str, tuple[str, ...]]:
    """Return for each source where its events are looked at: in its app, and on one event bus or none.

    What is put on a bus, or comes by a source of that bus, is on that bus alone; what an app tells is on its account's
    default bus (ruling 16).
    """
    put_on = {bus.source_id: bus.id for bus in registry.buses}
    default = {bus.account_id: bus.id for bus in registry.buses if bus.name == DEFAULT_BUS}
    pushed = {one.id: default[one.id] for one in registry.accounts if one.meeting_push and one.id in default}
    of_app = {app.id: pushed[app.account_id] for app in registry.apps if app.account_id in pushed}
    found: dict[str, tuple[str, ...]] = {}
    for source in registry.sources:
        bus = put_on.get(source.id) or source.bus_id or of_app.get(source.app_id)
        found[source.id] = (source.app_id, bus) if bus else (source.app_id,)
    return found


def _zone(name: str) -> ZoneInfo:
    return zone_named(name) or ZoneInfo("UTC")  # refused when it is set; an old row must not stop routing


def compile_for(view: str, pattern: str) -> Pattern:
    """Compile *pattern* over the view it is matched against (ruling 8); raise `PatternError`.

    Kept for next time: a table is built at each change and a page at each look, and few patterns changed.
    """
    return (_short if len(pattern) <= SHORT else _long)(view, pattern)


def _compiled(view: str, pattern: str) -> Pattern:
    return compile_pattern(pattern, keys=NEUTRAL_KEYS if view == NEUTRAL else ANY_KEY)


_short = lru_cache(maxsize=COMPILED)(_compiled)
_long = lru_cache(maxsize=COMPILED_LONG)(_compiled)


def _route_of(
    subscription: Subscription, endpoints: Mapping[str, Endpoint], on_bus: Mapping[str, dict[str, Any]]
) -> Route | None:
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
    options = on_bus.get(subscription.bus_id, {}) if subscription.view == BUS_WIRE else {}
    return Route(subscription=subscription, pattern=pattern, endpoints=found, options=options) if found else None


class Said:
    """One step in the words of any dialect, each said once however many endpoints want it."""

    def __init__(self, step: Step, app: App, dialects: Mapping[str, Dialect]) -> None:
        self.step = step
        self.fill: Fill = fill_for(step, app)
        self._dialects = dialects
        self._views: dict[Any, tuple[View, ...]] = {}
        self._matched: dict[Any, tuple[Any, ...]] = {}

    def in_dialect(self, name: str, options: Options) -> tuple[View, ...]:
        """Return the views of the step's event in dialect *name*."""
        key = _key(name, options)
        if key not in self._views:
            self._views[key] = self._dialects[name].view(self.step.logged.event, self.fill, options)
        return self._views[key]

    def unsaid(self, name: str) -> str | None:
        """Return why dialect *name* does not say the event, None when it has no word for it."""
        return self._dialects[name].unsaid(self.step.logged.event, self.fill)

    def each_matched(self, name: str, options: Options = NOTHING_SET) -> tuple[Any, ...]:
        """Return the event as a rule over view *name* sees it (ruling 8): each request of it, none without a word."""
        key = _key(name, options)
        if key not in self._matched:
            views = self.in_dialect(name, options)
            said = [msgspec.json.decode(view.words) for view in views]
            self._matched[key] = tuple([words | self._role() for words in said] if name == NEUTRAL else said)
        return self._matched[key]

    def as_matched(self, name: str, options: Options = NOTHING_SET) -> Any | None:
        """Return the first request of the event in view *name*, None when the wire has no word for it."""
        return next(iter(self.each_matched(name, options)), None)

    def _role(self) -> dict[str, str]:
        """Return the role that a leave or a publishing does not carry, from the room; who is unknown is said to be."""
        event = self.step.logged.event
        if event.participant_id is None:
            return {}
        role = event.facts.role or self.fill.role
        return {ROLE: role.value if role else "unknown"}

    def type_in(self, view: str) -> Any:
        """Return the word `type` as *view* has it; empty where there is none."""
        event = self.step.logged.event
        if view == NEUTRAL and event.dialect != NEUTRAL:  # it is our word: nothing needs to be said first
            return event.type.value
        try:
            words = self.as_matched(view)
        except Exception:  # noqa: BLE001 - a dialect's fault is told where its endpoints would be sent the event
            return ""
        return words.get("type", "") if words else ""


def _key(name: str, options: Options) -> Any:
    return (name, *sorted(options.items())) if options else name


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
    for one in table.candidates(logged.source_id, said.type_in):
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
            views = _wanted(one, endpoint, views)
            deliveries.extend(_deliveries(step, one.subscription, endpoint, views, last_sent(endpoint.id)))
    return deliveries, losses


def _failed(endpoint: Endpoint, logged: Logged, error: Exception) -> Loss:
    what = f"{endpoint.dialect}: {type(error).__name__}"
    return Loss(endpoint_id=endpoint.id, kind="failed", what=what, event_type=logged.event.type.value)


def _is_match(one: Route, said: Said, logged: Logged) -> bool:
    wanted = one.subscription.source_ids
    if wanted and logged.source_id not in wanted:
        return False
    if not one.subscription.is_in_force(logged.recorded_at):
        return False
    if not one.pattern.conditions:  # all there are words for: nothing of them needs to be looked at
        return bool(said.in_dialect(one.subscription.view, {}))
    return any(one.pattern.matches(words) for words in said.each_matched(one.subscription.view, one.options))


def _wanted(one: Route, endpoint: Endpoint, views: tuple[View, ...]) -> tuple[View, ...]:
    """Return the views that a rule over the endpoint's own wire asks for: of what is said in several, each alone."""
    if len(views) < 2 or one.subscription.view != endpoint.dialect:
        return views
    return tuple(view for view in views if one.pattern.matches(msgspec.json.decode(view.words)))


def _deliveries(
    step: Step, subscription: Subscription, endpoint: Endpoint, views: Iterable[View], previous: int | None
) -> list[Delivery]:
    """Return a delivery a view; each names the place of the one before it, so that a receiver can prove the chain."""
    logged, seq = step.logged, step.after.seq
    is_loose = logged.event.type is EventType.UNKNOWN and not logged.event.room_id
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
            path=endpoint.path,
            seq=seq,
            prev=seq if number else previous,
            lane=Lane.LOOSE if is_loose else Lane.LIVE,
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
