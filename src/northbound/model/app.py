"""What a tenant sets up: apps, sources, endpoints, subscriptions."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

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


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who sends to us: one vendor, one dialect, one unguessable path token."""

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

    def __repr__(self) -> str:
        return f"Source(id={self.id!r}, dialect={self.dialect!r})"


class EndpointState(StrEnum):
    """Whether deliveries are sent. gone: the receiver answered 410."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    GONE = "gone"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where callbacks go: URL, dialect, keys and retry policy."""

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

    def __repr__(self) -> str:
        return f"Endpoint(id={self.id!r}, dialect={self.dialect!r})"


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule's link to an endpoint."""

    endpoint_id: str


class Subscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rule + targets: which events of an app's sources go to which endpoints.

    `pattern` is EventBridge pattern JSON text over the view named by `view` (ruling 8): "standard", or a dialect.
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


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls: the key's id, role (`admin` or `reader`) and the app it is limited to, None for all."""

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
