"""Media servers whose ports are looked at, and their incidents, as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from northbound.model.event import Port
from northbound.web.shapes.pages import Paging
from northbound.web.shapes.setup import Given, Identity, Name, Switch

Address = Annotated[str, Meta(min_length=2, max_length=45, description="A plain IPv4 or IPv6 address")]


class PortGiven(Given, frozen=True, kw_only=True):
    """A port to look at: tcp takes a connection, websocket shakes hands at `path`."""

    type: Literal["tcp", "websocket"]
    port: Annotated[int, Meta(ge=1, le=65_535)]
    path: Annotated[str, Meta(pattern="^/[!-~]{0,200}$")] = "/"


Ports = Annotated[list[PortGiven], Meta(min_length=1, max_length=16)]


class NewServer(Given, frozen=True, kw_only=True):
    """A media server to look at; its address and ports must be in the setting check_targets."""

    app_id: Identity
    name: Name
    address: Address
    ports: Ports
    state: Switch = "enabled"


class ServerChange(Given, frozen=True, kw_only=True):
    """What is to change; members left out stay."""

    name: Name | UnsetType = UNSET
    address: Address | UnsetType = UNSET
    ports: Ports | UnsetType = UNSET
    state: Switch | UnsetType = UNSET


class PortShown(msgspec.Struct, frozen=True, kw_only=True):
    """A port and what came of the last look: `answers` null before the first, `reason` where it did not."""

    type: str
    port: int
    path: str
    answers: bool | None
    reason: str | None = None


class ServerShown(msgspec.Struct, frozen=True, kw_only=True):
    """A media server with its ports as looked at last."""

    id: str
    app_id: str
    name: str
    address: str
    ports: list[PortShown]
    state: str
    created_at: datetime
    revision: int


class IncidentQuery(Paging, frozen=True, kw_only=True):
    """Which incidents: of one app, of one server."""

    app_id: str | None = None
    server_id: str | None = None


class NoticeShown(msgspec.Struct, frozen=True, kw_only=True):
    """What was said: all ports that were down at the moment; `told_at` null until the log has it."""

    id: str
    at: datetime
    ports: list[Port]
    told_at: datetime | None


class IncidentShown(msgspec.Struct, frozen=True, kw_only=True):
    """An incident; `ports` are down now, `ending` says how it ended: recovered, or unchecked."""

    id: str
    app_id: str
    server_id: str
    server_name: str
    began_at: datetime
    ended_at: datetime | None
    ending: str
    ports: list[Port]
    notice_count: int
    notices: list[NoticeShown]
