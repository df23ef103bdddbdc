"""Media servers whose ports are looked at, and the incidents that come of it (ruling 36)."""

from datetime import datetime

import msgspec

from northbound.model.event import Port


class CheckedPort(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One port of a server: `kind` is tcp (it takes a connection) or websocket (it shakes hands at `path`)."""

    kind: str
    port: int
    path: str = "/"

    @property
    def plain(self) -> Port:
        """The port as an event names it."""
        return Port(kind=self.kind, port=self.port)


class Server(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One media server; `name` is what notices call it, `address` a plain IP address."""

    id: str
    app_id: str
    name: str
    address: str
    ports: tuple[CheckedPort, ...]
    created_at: datetime
    state: str = "enabled"


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was said of an incident at one moment: all ports that did not answer. `told_at`: the log has it."""

    id: str  # a UUID that follows from the incident, so that saying it twice is saying it once
    at: datetime
    ports: tuple[Port, ...]
    told_at: datetime | None = None


class Incident(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From the first port that is down to the last one that answers again; `ports` are those that are down now.

    `notices` are the newest ones, `noticed` counts them all. `ending`: recovered, or unchecked (nobody looks any more).
    """

    id: str
    app_id: str
    server_id: str
    server_name: str
    began_at: datetime
    ports: tuple[Port, ...]
    notices: tuple[Notice, ...] = ()
    noticed: int = 0
    ended_at: datetime | None = None
    ending: str = ""
