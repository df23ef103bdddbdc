"""A customer of the hub as the vendors' own management interfaces know one: account, access keys, event buses."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec


class Maker(StrEnum):
    """By which door a subscription was made; the object is one and the same."""

    API = "api"
    ALIYUN_RTC = "aliyun_rtc"  # CreateEventSubscribe, RTC 2018-01-11
    ALIYUN_LIVE = "aliyun_live"  # CreateEventSub, Live 2016-11-01
    EVENTBRIDGE = "eventbridge"  # a rule on an event bus
    MPAAS = "mpaas"  # a call app's page
    ANYRTC = "anyrtc"  # notice settings
    AVD = "avd"  # the 3T interface's settings


class Grant(StrEnum):
    """What an account is allowed (ruling 16): a right of its own keys, or a link between services."""

    LINK_SERVICES = "link_services"  # the right: its own keys may make the links below
    MEETING_PUSH = "meeting_push"  # a link: what its apps tell is put on its default event bus


class Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose access keys sign calls; its apps name it by `App.account_id`.

    `id` is 16 digits, as in an ARN. `app_id` is the app that stands for the account itself: what is on its event
    buses belongs to that app. `meeting_push` is the one switch of ruling 16, on since `meeting_push_since`, and needs
    the grant it is made with. `options` are those of the buses' dialect that a rule's endpoint does not set itself;
    `members` is how the daily statistic counts people (ruling 15): `distinct` or `joins`.
    """

    id: str
    name: str
    created_at: datetime
    app_id: str
    region: str = "cn-hangzhou"
    time_zone: str = "Asia/Shanghai"
    meeting_push: bool = False
    meeting_push_since: datetime | None = None
    grants: tuple[Grant, ...] = ()
    options: dict[str, Any] = {}
    members: str = "distinct"


class AccessKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An AccessKey pair: `id` is public, `secret` signs calls (so it is kept as it is, never shown again)."""

    id: str
    account_id: str
    secret: bytes
    created_at: datetime
    state: str = "enabled"

    def __repr__(self) -> str:
        return f"AccessKey(id={self.id!r}, account_id={self.account_id!r})"


class Bus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event bus: rules look at what is on it. Events put on it come by the source `source_id` of its own.

    The bus named `default` also carries what the account's apps tell, while the account's `meeting_push` is on.
    """

    id: str
    account_id: str
    name: str
    source_id: str
    created_at: datetime
    region: str = "cn-hangzhou"
    description: str = ""


class Once(msgspec.Struct, frozen=True, kw_only=True):
    """A call that must do its work once: the client's token for an action, what was asked, what was answered."""

    account_id: str
    action: str
    token: str
    fingerprint: str  # of the parameters without those that are new in every call
    answer: dict[str, Any]
