"""The 3T interface's settings, as the API takes and shows them."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from northbound.dialects.avd.tables import RELEASES
from northbound.doors.avd_settings import Half
from northbound.web.shapes.setup import Given, Url

Secret = Annotated[str, Meta(min_length=1, max_length=1_024)]


class HalfGiven(Given, frozen=True, kw_only=True):
    """One half of the page, whole. A key that is left out stays as it is; null removes it.

    `url` has a scheme or is `host:port/path`; `post_body` is how a POST carries the parameters.
    """

    url: Annotated[Url, Meta(min_length=1)]
    method: Literal["GET", "POST"] = "GET"
    release: str = RELEASES[-1]
    post_body: Literal["form", "json"] = "form"
    check_code_key: Secret | UnsetType | None = UNSET


class HalfShown(msgspec.Struct, frozen=True, kw_only=True):
    """One half of the page; `events` are those that it tells, `scheme` is what is called, `state` whether it is."""

    half: Half
    url: str
    scheme: str
    method: str
    release: str
    post_body: str
    state: str
    has_check_code_key: bool
    events: list[str]
    endpoint_id: str
    subscription_id: str
    revision: int


class SettingsShown(msgspec.Struct, frozen=True, kw_only=True):
    """The page of one app; a half that is not set up is null."""

    app_id: str
    media_server: HalfShown | None
    master: HalfShown | None
