"""What a tenant sets up: apps, sources, endpoints, subscriptions."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from northbound.model.account import Account, Bus, Maker
from northbound.model.certificate import Certificate
from northbound.model.wire import Key


class RetryStrategy(StrEnum):
    """How the waits between attempts are chosen (facts 3.5; ruling 4)."""

    FIXED = "fixed"
    SCHEDULE = "schedule"
    BACKOFF_RETRY = "BACKOFF_RETRY"
    EXPONENTIAL_DECAY_RETRY = "EXPONENTIAL_DECAY_RETRY"


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Attempts in total, the waits between them, and the deadline of one whole exchange.

    `waits` are the pauses before attempt 2, 3, ...; the last value holds for all later ones. The Aliyun strategies
    carry their own waits. `forget` drops after the last attempt like the vendor instead of keeping a dead letter.
    """

    strategy: RetryStrategy = RetryStrategy.FIXED
    attempts: int = 4
    waits: tuple[timedelta, ...] = (timedelta(seconds=10),)
    deadline: timedelta = timedelta(seconds=5)
    forget: bool = False


class App(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tenant's application: the names vendor wires need for it, and the key they sign with."""

    id: str
    name: str
    created_at: datetime
    account_id: str = ""
    region: str = "cn-hangzhou"
    time_zone: str = "Asia/Shanghai"
    app_key: bytes = b""  # Aliyun RTC AppKey
    biz_name: str = ""  # mPaaS
    workspace_id: str = ""  # mPaaS

    def __repr__(self) -> str:
        return f"App(id={self.id!r}, name={self.name!r})"


class RoomList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a source's vendor is asked which rooms are open and who is in them (rulings 34, 35).

    `url` is what the paths of the wire are below. `key` is sent as parameter or header *key_name*. `fields` maps our
    names to the answer's, for servers that spell them otherwise; `ok_codes` are the result codes that mean success.
    """

    url: str
    key: bytes = b""
    key_name: str = "api_key"
    key_in: str = "parameter"  # or header
    method: str = "GET"
    page_size: int = 100
    fields: dict[str, str] = {}
    ok_codes: tuple[str, ...] = ("0",)

    def __repr__(self) -> str:
        return f"RoomList(url={self.url!r}, key=***)"


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who sends to us: one vendor, one dialect, one unguessable path token.

    With `bus_id` its events are on that event bus; `wire` is what was said of it there, in that door's words.
    """

    id: str
    app_id: str
    name: str
    dialect: str
    token: str
    created_at: datetime
    public_url: str = ""  # the URL the vendor was told; signatures are made over it (ruling 7)
    keys: tuple[Key, ...] = ()
    options: dict[str, Any] = {}
    ack_budget: timedelta = timedelta(seconds=3)
    state: str = "enabled"
    room_list: RoomList | None = None
    connection: dict[str, str] = {}  # what was made at the vendor's service for it, by which it is removed; no secret
    bus_id: str = ""
    wire: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Source(id={self.id!r}, dialect={self.dialect!r})"


class EndpointState(StrEnum):
    """Whether deliveries are sent.

    gone: stopped after a 410, or for a dead letter where it asks for that; failing: every attempt failed for too long.
    """

    ENABLED = "enabled"
    DISABLED = "disabled"
    GONE = "gone"
    FAILING = "failing"


class BodyForm(StrEnum):
    """What of an event a target's body holds (facts 3.4)."""

    ORIGINAL = "ORIGINAL"  # the whole event
    JSONPATH = "JSONPATH"  # one value of it
    CONSTANT = "CONSTANT"  # a text that is always the same
    TEMPLATE = "TEMPLATE"  # a text with variables


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an endpoint's bodies are made of what its dialect wrote: `value` and `template` as the form needs them."""

    form: BodyForm = BodyForm.ORIGINAL
    value: str = ""
    template: str = ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where callbacks go: URL, dialect, keys and retry policy.

    `body` reshapes what the dialect wrote before it is signed. `dead_letter_bus` is the id of the bus that is given
    what could not be delivered, unchanged; `stops_when_dead` stops the endpoint instead (ErrorsTolerance NONE).
    `path` is 1 or 2 where a receiver is sent everything on two paths that share nothing, else 0 (D20). `made_by` tells
    the door it came through: what a vendor's door made goes when the subscription goes that it was made for.
    """

    id: str
    app_id: str
    url: str
    dialect: str
    created_at: datetime
    name: str = ""
    public_url: str = ""  # what signatures are made over, when it differs from url
    method: str = "POST"
    keys: tuple[Key, ...] = ()
    options: dict[str, Any] = {}
    retry: RetryPolicy = RetryPolicy()
    max_in_flight: int = 16
    ignore_gone: bool = False
    state: EndpointState = EndpointState.ENABLED
    lane_hold: timedelta = timedelta(minutes=10)
    body: Body = Body()
    dead_letter_bus: str = ""
    stops_when_dead: bool = False
    path: int = 0
    fails_hours: float | None = None  # instead of the setting endpoint_fails_hours; 0: is never stopped
    made_by: Maker = Maker.API
    ca_pem: str = ""  # certificates that stand instead of the public authorities; empty: the public ones

    def __repr__(self) -> str:
        return f"Endpoint(id={self.id!r}, dialect={self.dialect!r})"


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule's link to an endpoint; `id` and `wire` are the vendor's own name and words of it."""

    endpoint_id: str
    id: str = ""
    wire: dict[str, Any] = {}


class Subscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rule + targets: which events of an app's sources go to which endpoints.

    `pattern` is EventBridge pattern JSON text over the view named by `view` (ruling 8): "standard", or a dialect.
    With `bus_id` it is a rule on that bus and `app_id` the app that stands for the bus's account; without, it sees
    the events of its app. `made_by` tells the door it came through, `wire` what was said there, in that door's words.
    It sees what is recorded from `begins_at` until before `ends_at`, None being without limit.
    """

    id: str
    app_id: str
    created_at: datetime
    name: str = ""
    pattern: str = "{}"
    view: str = "standard"
    source_ids: tuple[str, ...] = ()  # empty: every source of the app
    targets: tuple[Target, ...] = ()
    state: str = "enabled"
    bus_id: str = ""
    made_by: Maker = Maker.API
    wire: dict[str, Any] = {}
    changed_at: datetime | None = None
    begins_at: datetime | None = None
    ends_at: datetime | None = None

    def is_in_force(self, at: datetime) -> bool:
        """Tell whether it sees what is recorded at a time."""
        return (self.begins_at is None or at >= self.begins_at) and (self.ends_at is None or at < self.ends_at)


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls: the key's id, role (`admin`, `reader` or `rooms`) and the app it is limited to, None for all."""

    id: str
    role: str
    app_id: str | None
    name: str
    created_at: datetime | None = None
    last_used_at: datetime | None = None


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is set up, at one version."""

    version: int = 0
    apps: tuple[App, ...] = ()
    sources: tuple[Source, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    accounts: tuple[Account, ...] = ()
    buses: tuple[Bus, ...] = ()
    certificates: tuple[Certificate, ...] = ()
