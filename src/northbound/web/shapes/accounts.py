"""Accounts and their access keys, as the API takes and shows them."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from northbound.model.account import Grant
from northbound.model.event import Counts
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
    options: dict[str, Any] | UnsetType = UNSET
    members: Literal["distinct", "joins"] | UnsetType = UNSET


class GrantWanted(Given, frozen=True, kw_only=True):
    """What to grant; without a word, the right to link services."""

    grant: Grant = Grant.LINK_SERVICES


class AccountShown(msgspec.Struct, frozen=True, kw_only=True):
    """An account; the AccessKey pair only in the answer that made it. `app_id` is the app of its event buses.

    `options` hold for what its rules send wherever their endpoints set nothing; `members` is how its daily statistic
    counts people.
    """

    id: str
    name: str
    created_at: datetime
    app_id: str
    region: str
    time_zone: str
    meeting_push: bool
    meeting_push_since: datetime | None
    grants: list[Grant]
    options: dict[str, Any]
    members: str
    revision: int
    access_key_id: str | UnsetType = UNSET
    access_key_secret: str | UnsetType = UNSET


class StatisticShown(msgspec.Struct, frozen=True, kw_only=True):
    """A day's statistic as it was sent: `number` is 0, of corrections 1, 2, ...; `stored` once the log has it."""

    day: str
    number: int
    event_id: str
    time_zone: str
    counts: Counts
    made_at: datetime
    stored: bool


class StatisticWanted(Given, frozen=True, kw_only=True):
    """A past day is counted anew; it is sent only when `dry_run` is false."""

    dry_run: bool = True


class StatisticAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent of a day last, what it counts now, and which figures differ.

    When it is sent, `event_id` is a correction's, or the old one where nothing differs; `command_id` tells when it is
    done. `deliveries` are how many go out again under the old id.
    """

    day: str
    time_zone: str
    told: StatisticShown | None
    counts: Counts
    differs: list[str]
    event_id: str | None = None
    deliveries: int = 0
    command_id: str | None = None


class AccessKeyShown(msgspec.Struct, frozen=True, kw_only=True):
    """An access key; its secret only in the answer that made it."""

    access_key_id: str
    created_at: datetime
    state: str
    access_key_secret: str | UnsetType = UNSET
