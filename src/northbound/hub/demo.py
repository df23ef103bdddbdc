"""The demo: an app with one endpoint a wire, set up through the real API, and what must arrive at each of them.

What must arrive is folded from the captured stream itself with the hub's own decisions, but apart from everything that
stores, schedules, sends or receives; the receiver's own account is then held against it.
"""

import secrets
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from northbound.config import Config
from northbound.dialects import all_dialects
from northbound.dialects.base import Dialect
from northbound.hub.keys import CERTIFICATES_PATH
from northbound.logic.derive import Step, advance
from northbound.logic.route import RoutingTable, build_table, route
from northbound.model.app import App, Endpoint, Registry, Source, Subscription, Target
from northbound.model.log import Logged, Origin
from northbound.model.room import Memory, Room
from northbound.model.wire import Key, KeyKind, Proof, Request
from northbound.web.told import hub_base

APP_NAME = "northbound demo"
SOURCE_DIALECT = "janus"
PATTERN = '{"type":[{"anything-but":["unknown"]}]}'
RECEIVER_PORT = 7079
LIST = "limit=500"


class Api(Protocol):
    """The hub's REST API, called with an admin key."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call *path* under /api/v1 and return the answer's JSON."""
        ...


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """Where one wire's callbacks go in the demo, and the keys that verify them."""

    dialect: str
    path: str
    url: str
    keys: tuple[Key, ...]


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo set up: the stream's source, and the endpoints by the path of their receiver."""

    app: App
    source: Source
    intake_url: str
    endpoints: dict[str, Endpoint]
    subscriptions: tuple[Subscription, ...]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One request that must arrive: its place in its room's log, and what it says in its wire's words."""

    seq: int
    kind: str


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What must arrive: by receiver path and room, in order; and what each wire cannot say or must make up."""

    places: dict[str, dict[str, list[Place]]]
    losses: dict[str, Counter[str]]
    steps: int

    def count(self, path: str) -> int:
        """Return how many requests must arrive at *path*."""
        return sum(len(places) for places in self.places.get(path, {}).values())

    @property
    def total(self) -> int:
        """How many requests must arrive in all."""
        return sum(self.count(path) for path in self.places)


def demo_dialects() -> list[Dialect]:
    """Return the wires the demo sends: all that a foreign event can be said in, the neutral one last."""
    spoken = [dialect for dialect in all_dialects().values() if dialect.types]
    return sorted(spoken, key=lambda dialect: (dialect.name == "standard", dialect.name))


def receiving(config: Config, receiver_port: int) -> Config:
    """Return *config* with the receiver on its explicit list of allowed targets."""
    return replace(config, allow_targets=(*config.allow_targets, f"127.0.0.1:{receiver_port}"))


def throw_away(config: Config) -> tuple[Config, int]:
    """Return settings for a folder and ports that nobody uses, and a port for the receiver."""
    web, intake, receiver = free_ports(3)
    folder = tempfile.mkdtemp(prefix="northbound-demo-")
    own = {"data": folder, "listen": f"127.0.0.1:{web}", "intake": f"127.0.0.1:{intake}"}
    return replace(config, **own, public_url="", public_intake=""), receiver


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on at the moment."""
    taken: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            taken.append(one)
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]
    finally:
        for one in taken:
            one.close()


def certificate_base(config: Config) -> str:
    """Return the URL below which the hub's own certificates are served."""
    return hub_base(config) + CERTIFICATES_PATH


# --- setting up ------------------------------------------------------------------------------------------------------


def set_up(api: Api, receiver_url: str, mount: Callable[[Receiver], None]) -> Demo:
    """Make the demo app, its endpoints and subscriptions where they are missing, and a new source for this run.

    *mount* is told of each receiver before its endpoint is made. Each run has a source of its own: the stream is the
    same each time, and what a source said twice changes nothing.
    """
    app = _app(api)
    known = {one["name"]: one for one in _listed(api, "endpoints", app.id)}
    ruled = {one for rule in _listed(api, "subscriptions", app.id) for one in rule["endpoint_ids"]}
    endpoints: dict[str, Endpoint] = {}
    for dialect in demo_dialects():
        path = f"/{dialect.name}"
        url = receiver_url + path
        name = f"demo {dialect.name}"
        found = known.get(name)
        if found is None:
            keys = _new_keys(dialect)
            mount(_receiver(dialect, path, url, keys, app))
            body = {"app_id": app.id, "url": url, "dialect": dialect.name, "name": name}
            found = api.call("POST", "/endpoints", body | {"keys": [_written(key) for key in keys]})
        else:
            found = api.call("POST", f"/endpoints/{found['id']}/reveal")
            mount(_receiver(dialect, path, url, _keys_of(found), app))
            if found["url"] != url:  # the receiver listens elsewhere this time
                found = api.call("PATCH", f"/endpoints/{found['id']}", {"url": url})
        endpoints[path] = _endpoint(found)
        if found["id"] not in ruled:
            body = {"app_id": app.id, "name": name, "pattern": PATTERN, "source_ids": []}
            api.call("POST", "/subscriptions", body | {"endpoint_ids": [found["id"]]})
    subscriptions = tuple(_subscription(one) for one in _listed(api, "subscriptions", app.id))
    source, intake_url = _source(api, app)
    return Demo(app=app, source=source, intake_url=intake_url, endpoints=endpoints, subscriptions=subscriptions)


def _app(api: Api) -> App:
    found = next((one for one in api.call("GET", f"/apps?{LIST}")["items"] if one["name"] == APP_NAME), None)
    if found is None:
        found = api.call("POST", "/apps", {"name": APP_NAME})
    shown = api.call("POST", f"/apps/{found['id']}/reveal")
    return App(
        id=shown["id"],
        name=shown["name"],
        created_at=datetime.fromisoformat(shown["created_at"]),
        account_id=shown["account_id"],
        region=shown["region"],
        time_zone=shown["time_zone"],
        app_key=shown["app_key"].encode(),
        biz_name=shown["biz_name"],
        workspace_id=shown["workspace_id"],
    )


def _listed(api: Api, what: str, app_id: str) -> list[Any]:
    return api.call("GET", f"/{what}?app_id={app_id}&{LIST}")["items"]


def _source(api: Api, app: App) -> tuple[Source, str]:
    earlier = sum(one["dialect"] == SOURCE_DIALECT for one in _listed(api, "sources", app.id))
    name = f"demo stream {earlier + 1}"
    shown = api.call("POST", "/sources", {"app_id": app.id, "name": name, "dialect": SOURCE_DIALECT})
    source = Source(
        id=shown["id"],
        app_id=app.id,
        name=name,
        dialect=shown["dialect"],
        token=urlsplit(shown["intake_url"]).path.rpartition("/")[2],
        created_at=datetime.fromisoformat(shown["created_at"]),
    )
    return source, shown["intake_url"]


def _new_keys(dialect: Dialect) -> tuple[Key, ...]:
    """Return a fresh key for an endpoint; where the app or the hub signs, only what the endpoint may add."""
    fresh = secrets.token_urlsafe(24).encode()
    match dialect.key_scope:
        case "app":
            return ()
        case "hub":
            return (Key(kind=KeyKind.TOKEN, secret=fresh),)
        case _:
            return (Key(secret=fresh),)


def _receiver(dialect: Dialect, path: str, url: str, keys: tuple[Key, ...], app: App) -> Receiver:
    expected = (Key(secret=app.app_key),) if dialect.key_scope == "app" and not keys else keys
    return Receiver(dialect=dialect.name, path=path, url=url, keys=expected)


def _written(key: Key) -> dict[str, Any]:
    return {"kind": key.kind.value, "secret": key.secret.decode()}


def _keys_of(shown: Mapping[str, Any]) -> tuple[Key, ...]:
    return tuple(Key(kind=KeyKind(one["kind"]), secret=one["secret"].encode()) for one in shown["keys"])


def _endpoint(shown: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        id=shown["id"],
        app_id=shown["app_id"],
        url=shown["url"],
        dialect=shown["dialect"],
        method=shown["method"],
        created_at=datetime.fromisoformat(shown["created_at"]),
        options=shown["options"],
    )


def _subscription(shown: Mapping[str, Any]) -> Subscription:
    return Subscription(
        id=shown["id"],
        app_id=shown["app_id"],
        created_at=datetime.fromisoformat(shown["created_at"]),
        pattern=shown["pattern"],
        view=shown["view"],
        source_ids=tuple(shown["source_ids"]),
        targets=tuple(Target(endpoint_id=one) for one in shown["endpoint_ids"]),
        state=shown["state"],
    )


# --- what must arrive ------------------------------------------------------------------------------------------------


def expect(bodies: Sequence[bytes], demo: Demo) -> Expected:
    """Fold the stream's requests offline and return what must arrive at each receiver."""
    table = build_table(
        Registry(
            apps=(demo.app,),
            sources=(demo.source,),
            endpoints=tuple(demo.endpoints.values()),
            subscriptions=demo.subscriptions,
        )
    )
    dialects = all_dialects()
    reading = dialects[demo.source.dialect]
    rooms: dict[str, Room] = {}
    memory = Memory()
    account = _Account(demo, table)
    offset = 0
    for body in bodies:
        request = Request(method="POST", url=demo.intake_url, body=body)
        for event in reading.decode(request, demo.source.options):
            logged = Logged(
                id=f"ev_{offset:012d}",
                partition=0,
                offset=offset,
                source_id=demo.source.id,
                recorded_at=datetime.now(UTC),
                proof=Proof.NONE,
                origin=Origin.OBSERVED,
                event=event,
            )
            offset += 1
            moved = advance(logged, rooms.get, memory, reading.traits)
            memory = moved.memory
            for step in moved.steps:
                rooms[step.key] = step.after
                if step.deliver:
                    account.take(step)
    return account.expected


class _Account:
    """Count what routing says of each step."""

    def __init__(self, demo: Demo, table: RoutingTable) -> None:
        self._app = demo.app
        self._table = table
        self._paths = {endpoint.id: path for path, endpoint in demo.endpoints.items()}
        self.expected = Expected(
            places={path: {} for path in demo.endpoints},
            losses={path: Counter() for path in demo.endpoints},
            steps=0,
        )

    def take(self, step: Step) -> None:
        """Route one step and note what it leads to."""
        deliveries, losses = route(step, self._app, self._table, all_dialects(), lambda _: None)
        for one in deliveries:
            path = self._paths.get(one.endpoint_id)
            if path is None:
                continue
            dialect = all_dialects()[self._table.endpoints[one.endpoint_id].dialect]
            room = self.expected.places[path].setdefault(step.logged.event.room_id or "", [])
            room.append(Place(seq=one.seq, kind=dialect.kind(one.view.words)))
        for loss in losses:
            if loss.endpoint_id in self._paths:
                self.expected.losses[self._paths[loss.endpoint_id]][loss.kind] += 1


def shortcomings(
    expected: Expected, arrived: Mapping[str, Mapping[str, Sequence[tuple[int | None, tuple[str, ...], bool]]]]
) -> list[str]:
    """Say what differs from what must arrive; *arrived*: first arrivals by path and room as (seq, kinds, verified)."""
    found: list[str] = []
    for path, wanted in expected.places.items():
        got = arrived.get(path, {})
        unverified = sum(not verified for places in got.values() for *_, verified in places)
        if unverified:
            found.append(f"{path}: {unverified} callbacks are not verified")
        for room in dict.fromkeys((*wanted, *got)):
            places: list[tuple[int | None, str]] = [(one.seq, one.kind) for one in wanted.get(room, [])]
            seen = [(seq, kind) for seq, kinds, verified in got.get(room, ()) if verified for kind in kinds]
            if seen != places:
                found.append(f"{path}: room {room or 'of none'}: {_what_differs(places, seen)}")
    return found


def _what_differs(wanted: Sequence[tuple[int | None, str]], seen: Sequence[tuple[int | None, str]]) -> str:
    if Counter(wanted) == Counter(seen):
        return "every callback arrived, but not in the room's order"
    missing = sum((Counter(wanted) - Counter(seen)).values())
    extra = sum((Counter(seen) - Counter(wanted)).values())
    return f"{missing} of {len(wanted)} callbacks are missing, {extra} were not expected"
