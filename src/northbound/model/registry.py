"""What can be set up, and one change of it: objects put and dropped together or not at all."""

from typing import Any, TypeVar

import msgspec

from northbound.model.account import AccessKey, Account, Bus
from northbound.model.app import App, Endpoint, Source, Subscription
from northbound.model.call_app import CallApp
from northbound.model.certificate import Certificate
from northbound.model.notices import NoticeSettings
from northbound.model.server import Incident, Server

Kind = TypeVar(
    "Kind",
    App,
    Source,
    Endpoint,
    Subscription,
    Account,
    AccessKey,
    Bus,
    CallApp,
    NoticeSettings,
    Server,
    Incident,
    Certificate,
)
Object = (
    App
    | Source
    | Endpoint
    | Subscription
    | Account
    | AccessKey
    | Bus
    | CallApp
    | NoticeSettings
    | Server
    | Incident
    | Certificate
)


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """One object to create (*revision* None) or to replace at *revision*."""

    one: Object
    revision: int | None = None


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """One object to remove."""

    kind: type[Any]
    id: str


def owner_of(one: Object) -> str:
    """Return whom an object belongs to: its app, or its account; empty for what is the whole hub's."""
    if isinstance(one, Certificate):
        return ""
    if isinstance(one, App | Account):
        return one.id
    return one.account_id if isinstance(one, AccessKey | Bus) else one.app_id
