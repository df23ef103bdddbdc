"""Accounts and their access keys, as the API takes and shows them."""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from northbound.web.shapes.setup import Given, Name, Text


class NewAccount(Given, frozen=True, kw_only=True):
    """A new account; its id and AccessKey pair are made here."""

    name: Name
    region: Text = "cn-hangzhou"
    time_zone: Text = "Asia/Shanghai"


class AccountChange(Given, frozen=True, kw_only=True):
    """What is to change; members left out stay."""

    name: Name | UnsetType = UNSET
    time_zone: Text | UnsetType = UNSET


class AccountShown(msgspec.Struct, frozen=True, kw_only=True):
    """An account; the AccessKey pair only in the answer that made it. `app_id` is the app of its event buses."""

    id: str
    name: str
    created_at: datetime
    app_id: str
    region: str
    time_zone: str
    meeting_push: bool
    grants: list[str]
    revision: int
    access_key_id: str | UnsetType = UNSET
    access_key_secret: str | UnsetType = UNSET


class AccessKeyShown(msgspec.Struct, frozen=True, kw_only=True):
    """An access key; its secret only in the answer that made it."""

    access_key_id: str
    created_at: datetime
    state: str
    access_key_secret: str | UnsetType = UNSET
