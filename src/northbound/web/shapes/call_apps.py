"""Call apps and their admissions, as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from northbound.web.shapes.setup import Given, Identity, Name, Url

Host = Annotated[str, Meta(max_length=300)]
Addresses = Annotated[str, Meta(max_length=5_000, description="Egress IPs, v4 or v6, with ; between")]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Uid = Annotated[str, Meta(max_length=200, description="1 to 128 letters, digits or underscores")]
Sign = Annotated[str, Meta(min_length=1, max_length=2_048, description="Base64 of the signature")]
Milliseconds = Annotated[int, Meta(ge=0, le=9_999_999_999_999, description="Unix milliseconds, 13 digits")]
Validity = Annotated[int, Meta(ge=1, le=2_592_000, description="How many seconds the admission is good for")]


class NewCallApp(Given, frozen=True, kw_only=True):
    """A new call app; its bizName and key are made here."""

    app_id: Identity
    name: Name
    automatic_recording: bool = False
    recording_callback_url: Url = ""
    room_callback_url: Url = ""
    media_proxy: Host = ""
    egress_ips: Addresses = ""


class CallAppChange(Given, frozen=True, kw_only=True):
    """What is to change; members left out stay, an empty callback URL removes what was made for it."""

    name: Name | UnsetType = UNSET
    automatic_recording: bool | UnsetType = UNSET
    recording_callback_url: Url | UnsetType = UNSET
    room_callback_url: Url | UnsetType = UNSET
    media_proxy: Host | UnsetType = UNSET
    egress_ips: Addresses | UnsetType = UNSET


class CallbackShown(msgspec.Struct, frozen=True, kw_only=True):
    """A callback URL, whether it is called (`enabled`, `disabled`), and the endpoint and subscription that serve it."""

    url: str
    state: str
    endpoint_id: str
    subscription_id: str


class CallAppShown(msgspec.Struct, frozen=True, kw_only=True):
    """A call app; `key` (RSA private key, PKCS#8, base64) only in the answer that made it, and in a reveal."""

    id: str
    app_id: str
    workspace_id: str
    name: str
    biz_name: str
    created_at: datetime
    public_key: str
    automatic_recording: bool
    recording_callback: CallbackShown | None
    room_callback: CallbackShown | None
    media_proxy: str
    egress_ips: str
    revision: int
    key: str | UnsetType = UNSET


class ProxyTest(Given, frozen=True, kw_only=True):
    """At which port the media proxy is tried; TLS at 443."""

    port: Port = 443


class ProxyTested(msgspec.Struct, frozen=True, kw_only=True):
    """What a try to reach the media proxy came to, and why."""

    result: Literal["reachable", "unreachable", "unclear"]
    host: str
    port: int
    address: str | None
    reason: str
    duration_ms: int


class AdmissionWanted(Given, frozen=True, kw_only=True):
    """For whom, and for how long."""

    uid: Uid
    valid_seconds: Validity = 3_600


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """What a terminal shows to be let into a call: good for its uid, again and again, until it expires."""

    app_id: str
    workspace_id: str
    biz_name: str
    uid: str
    expire_time: int
    expires_at: datetime
    sign: str


class AdmissionShown(Given, frozen=True, kw_only=True):
    """An admission as a terminal shows it; `biz_name` is the one it wants to call in."""

    uid: Uid
    expire_time: Milliseconds
    sign: Sign
    biz_name: Identity | None = None


class AdmissionVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a terminal may call, why not, and whether its calls are to be recorded."""

    admitted: bool
    code: str | None
    reason: str | None
    automatic_recording: bool
