"""Notice settings and the recording query, as the API takes and shows them."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from northbound.model.event import Fault, File
from northbound.web.shapes.setup import Given, Identity, Name, Url

Ticked = Annotated[list[int], Meta(max_length=64, description="Numbers of the product's events")]
Delay = Annotated[int, Meta(ge=0, le=3_600, description="Seconds until a change takes effect")]
Product = Annotated[int, Meta(description="1 real-time communication, 3 cloud recording")]


class NewNoticeSettings(Given, frozen=True, kw_only=True):
    """New notice settings, not enabled yet; their secret is made here."""

    app_id: Identity
    name: Name
    product: Product
    event_types: Ticked
    url: Url
    second_url: Url = ""
    redundant: bool = False
    strict_reply: bool = False
    effective_delay_seconds: Delay = 0


class NoticeSettingsChange(Given, frozen=True, kw_only=True):
    """What is to change; members left out stay. A URL that changes while enabled passes the health test first."""

    name: Name | UnsetType = UNSET
    product: Product | UnsetType = UNSET
    event_types: Ticked | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    second_url: Url | UnsetType = UNSET
    redundant: bool | UnsetType = UNSET
    strict_reply: bool | UnsetType = UNSET
    effective_delay_seconds: Delay | UnsetType = UNSET


class PathShown(msgspec.Struct, frozen=True, kw_only=True):
    """One way on which notices go; figures since delivery started, null while that process is away."""

    path: int
    url: str
    endpoint_id: str
    state: str
    stopped: str | None
    accepted: int | None
    failed: int | None
    waiting: int
    dead_letters: int


class NoticeSettingsShown(msgspec.Struct, frozen=True, kw_only=True):
    """Notice settings; `secret` only in the answer that made them, and in a reveal. `paths` of one shown alone."""

    id: str
    app_id: str
    name: str
    created_at: datetime
    product: int
    event_types: list[int]
    url: str
    second_url: str
    redundant: bool
    strict_reply: bool
    effective_delay_seconds: int
    state: str
    tested_at: datetime | None
    effective_at: datetime | None
    subscription_id: str | None
    revision: int
    paths: list[PathShown] | UnsetType = UNSET
    secret: str | UnsetType = UNSET


class RecordingQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which recording: by `sid`, or the newest one of the channel `cname`."""

    app_id: Identity | None = None
    sid: Identity | None = None
    cname: Identity | None = None


class RecordingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How a recording stands: status code of the page (0-8, 20), its files, the newest sequence and those missing."""

    sid: str | None
    cname: str | None
    room_key: str
    status: int
    status_name: str
    sequence: int | None
    missing_sequences: list[int]
    files: list[File]
    faults: list[Fault]
    progress: float | None
    started_at: datetime | None
    stopped_at: datetime | None
    verdict: str | None
