"""What a tenant sets up: apps, sources, endpoints, subscriptions, API keys."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from northbound.logic.authority import Authority
from northbound.model.account import Maker
from northbound.model.app import BodyForm, EndpointState, RetryStrategy
from northbound.model.wire import KeyKind
from northbound.web.shapes.pages import Paging

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=200)]
Identity = Annotated[str, Meta(min_length=1, max_length=128)]
Url = Annotated[str, Meta(max_length=8_192)]
Secret = Annotated[str, Meta(min_length=1, max_length=16_384)]
Switch = Literal["enabled", "disabled"]
Moment = Annotated[datetime, Meta(tz=True)]
KeyId = Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,64}$")]
Keys = Annotated[list["KeyGiven"], Meta(max_length=10)]
Identities = Annotated[list[Identity], Meta(max_length=200)]
PatternJson = Annotated[
    msgspec.Raw,
    Meta(extra_json_schema={"type": ["string", "object"], "description": "EventBridge pattern, JSON or its text"}),
]


class Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body: unknown members are refused by name."""


# --- keys of sources and endpoints -----------------------------------------------------------------------------------


class KeyGiven(Given, frozen=True, kw_only=True):
    """A secret: `secret` as text, `secret_base64` as any bytes; with the `id` of a known key neither is needed."""

    kind: KeyKind = KeyKind.SHARED
    id: KeyId | None = None
    secret: Secret | None = None
    secret_base64: Secret | None = None
    url: Url | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None


class KeyShown(msgspec.Struct, frozen=True, kw_only=True):
    """A key; its secret only where it was asked for."""

    id: str
    kind: KeyKind
    url: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    secret: str | UnsetType = UNSET
    secret_base64: str | UnsetType = UNSET


# --- apps ------------------------------------------------------------------------------------------------------------


class NewApp(Given, frozen=True, kw_only=True):
    """A new app; the names and the key that vendors' wires need are minted when left out."""

    name: Name
    account_id: Text = ""
    region: Text = "cn-hangzhou"
    time_zone: Text = "Asia/Shanghai"
    app_key: Secret | None = None
    biz_name: Text = ""
    workspace_id: Text = ""


class AppChange(Given, frozen=True, kw_only=True):
    """What is to change; members left out stay."""

    name: Name | UnsetType = UNSET
    account_id: Text | UnsetType = UNSET
    region: Text | UnsetType = UNSET
    time_zone: Text | UnsetType = UNSET
    app_key: Secret | UnsetType = UNSET
    biz_name: Text | UnsetType = UNSET
    workspace_id: Text | UnsetType = UNSET


class AppShown(msgspec.Struct, frozen=True, kw_only=True):
    """An app; `app_key` only in the answer that made it, and in a reveal."""

    id: str
    name: str
    created_at: datetime
    account_id: str
    region: str
    time_zone: str
    biz_name: str
    workspace_id: str
    revision: int
    app_key: str | UnsetType = UNSET


# --- sources ---------------------------------------------------------------------------------------------------------

PathName = Annotated[str, Meta(min_length=1, max_length=200)]


class RoomListGiven(Given, frozen=True, kw_only=True):
    """Where the vendor is asked which rooms are open. A `key` left out stays as it is; `""` removes it.

    `fields` say where a real server spells what we ask for, or answers, otherwise; docs/vendors lists the names.
    """

    url: Url
    key: Annotated[str, Meta(max_length=1_024)] | UnsetType = UNSET
    key_name: Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9_-]{0,63}$")] = "api_key"
    key_in: Literal["parameter", "header"] = "parameter"
    method: Literal["GET", "POST"] = "GET"
    page_size: Annotated[int, Meta(ge=1, le=1_000)] = 100
    fields: Annotated[dict[PathName, PathName], Meta(max_length=40)] = msgspec.field(default_factory=dict[str, str])
    ok_codes: Annotated[list[PathName], Meta(max_length=10)] = msgspec.field(default_factory=lambda: ["0"])


class RoomListShown(msgspec.Struct, frozen=True, kw_only=True):
    """Where the vendor is asked which rooms are open; `has_key` instead of the key."""

    url: str
    has_key: bool
    key_name: str
    key_in: str
    method: str
    page_size: int
    fields: dict[str, str]
    ok_codes: list[str]


Connection = Annotated[
    dict[PathName, Annotated[str, Meta(max_length=2_048)]],
    Meta(max_length=20, description="What was made at the vendor's service; never a secret"),
]
AckBudget = Annotated[int, Meta(ge=1, le=60_000)]


class NewSource(Given, frozen=True, kw_only=True):
    """A new source: who will send to us, in which dialect."""

    app_id: Identity
    name: Name
    dialect: Identity
    keys: Keys = msgspec.field(default_factory=list[KeyGiven])
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    public_url: Url = ""
    ack_budget_ms: AckBudget | None = None
    room_list: RoomListGiven | None = None
    connection: Connection = msgspec.field(default_factory=dict[str, str])


class SourceChange(Given, frozen=True, kw_only=True):
    """What is to change; members left out stay; a key named by `id` without a secret keeps the one it has."""

    name: Name | UnsetType = UNSET
    keys: Keys | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    public_url: Url | UnsetType = UNSET
    ack_budget_ms: AckBudget | UnsetType = UNSET
    room_list: RoomListGiven | UnsetType | None = UNSET
    connection: Connection | UnsetType = UNSET
    state: Switch | UnsetType = UNSET


class SourceShown(msgspec.Struct, frozen=True, kw_only=True):
    """A source; `intake_url` is what the vendor is told, its token masked for readers."""

    id: str
    app_id: str
    name: str
    dialect: str
    created_at: datetime
    intake_url: str
    public_url: str
    keys: list[KeyShown]
    options: dict[str, Any]
    ack_budget_ms: int
    state: str
    revision: int
    room_list: RoomListShown | None = None
    connection: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class OfApp(Paging, frozen=True, kw_only=True):
    """Which part of a list, of one app."""

    app_id: str | None = None


# --- endpoints -------------------------------------------------------------------------------------------------------

Seconds = Annotated[float, Meta(ge=0, le=604_800)]


class RetryGiven(Given, frozen=True, kw_only=True):
    """A retry policy; members left out are the dialect's. `waits_seconds`: before attempt 2, 3, ...; the last stays."""

    strategy: RetryStrategy | UnsetType = UNSET
    attempts: Annotated[int, Meta(ge=1, le=1_000)] | UnsetType = UNSET
    waits_seconds: Annotated[list[Seconds], Meta(min_length=1, max_length=200)] | UnsetType = UNSET
    deadline_seconds: Annotated[float, Meta(gt=0, le=600)] | UnsetType = UNSET
    forget: bool | UnsetType = UNSET


class RetryShown(msgspec.Struct, frozen=True, kw_only=True):
    """A retry policy in force."""

    strategy: RetryStrategy
    attempts: int
    waits_seconds: list[float]
    deadline_seconds: float
    forget: bool


InFlight = Annotated[int, Meta(ge=1, le=512)]
FailsHours = Annotated[float, Meta(ge=0, le=8_760, description="0: never stopped for failing")]
Pem = Annotated[str, Meta(max_length=65_536, description="PEM certificates instead of the public authorities")]
LaneHold = Annotated[float, Meta(ge=0, le=86_400)]


class NewEndpoint(Given, frozen=True, kw_only=True):
    """A new endpoint: where callbacks go, in which dialect."""

    app_id: Identity
    url: Url
    dialect: Identity
    name: Text = ""
    method: Text | None = None
    keys: Keys | UnsetType = UNSET
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    retry: RetryGiven | None = None
    max_in_flight: InFlight = 16
    ignore_gone: bool = False
    public_url: Url = ""
    lane_hold_seconds: LaneHold = 600.0
    fails_hours: FailsHours | None = None
    ca_pem: Pem = ""


class EndpointChange(Given, frozen=True, kw_only=True):
    """What is to change; members left out stay; a key named by `id` without a secret keeps the one it has."""

    url: Url | UnsetType = UNSET
    name: Text | UnsetType = UNSET
    method: Text | UnsetType = UNSET
    keys: Keys | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    retry: RetryGiven | UnsetType = UNSET
    max_in_flight: InFlight | UnsetType = UNSET
    ignore_gone: bool | UnsetType = UNSET
    public_url: Url | UnsetType = UNSET
    lane_hold_seconds: LaneHold | UnsetType = UNSET
    fails_hours: FailsHours | UnsetType | None = UNSET
    ca_pem: Pem | UnsetType = UNSET


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """Why and since when an endpoint is stopped by itself, and when it is tried next; null: it is not."""

    reason: str
    at: datetime
    probe_at: datetime | None = None


class BodyShown(msgspec.Struct, frozen=True, kw_only=True):
    """What of an event a body holds; `value` and `template` as the form needs them."""

    form: BodyForm
    value: str
    template: str


class EndpointShown(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint; `signed_by` says whose keys sign: the endpoint's, the app's or the hub's.

    `path` is 1 or 2 where a receiver is sent everything on two paths, else 0.
    `body`, `dead_letter_bus` and `stops_when_dead` are what a rule's target asked for.
    `fails_hours` null: the setting endpoint_fails_hours holds. `ca`: private authorities, none: the public ones hold.
    """

    id: str
    app_id: str
    name: str
    url: str
    dialect: str
    created_at: datetime
    public_url: str
    method: str
    signed_by: str
    made_by: Maker
    keys: list[KeyShown]
    options: dict[str, Any]
    retry: RetryShown
    max_in_flight: int
    ignore_gone: bool
    lane_hold_seconds: float
    path: int
    body: BodyShown
    dead_letter_bus: str
    stops_when_dead: bool
    fails_hours: float | None
    ca: list[Authority]
    state: EndpointState
    revision: int
    stopped: Stopped | None = None


class Rotation(Given, frozen=True, kw_only=True):
    """A new key from `at` on (now when left out); the old ones stay valid for the overlap after it."""

    kind: KeyKind = KeyKind.SHARED
    secret: Secret | None = None
    secret_base64: Secret | None = None
    url: Url | None = None
    at: Moment | None = None
    overlap_seconds: Seconds = 86_400.0


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for is on its way; its outcome is at /api/v1/replays/{command_id}."""

    command_id: str
    count: int | None = None


# --- subscriptions ---------------------------------------------------------------------------------------------------


class NewSubscription(Given, frozen=True, kw_only=True):
    """A new subscription: which events of the app's sources go to which endpoints."""

    app_id: Identity
    pattern: PatternJson
    endpoint_ids: Identities
    name: Text = ""
    view: Identity = "standard"
    source_ids: Identities = msgspec.field(default_factory=list[str])
    state: Switch = "enabled"


class SubscriptionChange(Given, frozen=True, kw_only=True):
    """What is to change; members left out stay."""

    pattern: PatternJson | UnsetType = UNSET
    endpoint_ids: Identities | UnsetType = UNSET
    name: Text | UnsetType = UNSET
    view: Identity | UnsetType = UNSET
    source_ids: Identities | UnsetType = UNSET
    state: Switch | UnsetType = UNSET


class SubscriptionShown(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription, `made_by` whichever door; `warnings` say what is accepted but probably not meant.

    With `bus_id` it is a rule on that event bus.
    """

    id: str
    app_id: str
    name: str
    created_at: datetime
    pattern: str
    view: str
    source_ids: list[str]
    endpoint_ids: list[str]
    state: str
    made_by: Maker
    begins_at: datetime | None
    ends_at: datetime | None
    bus_id: str
    revision: int
    warnings: list[str]


# --- API keys and the audit trail ------------------------------------------------------------------------------------


class NewApiKey(Given, frozen=True, kw_only=True):
    """A new API key, for all apps or one; `rooms` may ask for an app's lists of rooms, in a vendor's way, alone."""

    name: Name
    role: Literal["admin", "reader", "rooms"] = "reader"
    app_id: Identity | None = None


class ApiKeyShown(msgspec.Struct, frozen=True, kw_only=True):
    """An API key; `secret` only in the answer that made it."""

    id: str
    role: str
    app_id: str | None
    name: str
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    secret: str | UnsetType = UNSET


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what to which object; secrets are masked."""

    number: int
    at: datetime
    who: str
    what: str
    object: str
    before: msgspec.Raw
    after: msgspec.Raw
