"""Decide what a look at a server's ports means: when an incident begins, grows, ends, and what is said of it.

Ruling 36: so many failures in a row make a port down, and the first such port an incident; a notice lists all ports of
the server that are down; a further port later is a new notice. A port is up again with the first good answer.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec.structs import replace

from northbound.model.event import Port
from northbound.model.server import Incident, Notice, Server

NOTICES_KEPT: Final = 50  # of one incident: a port that comes and goes beside one that stays down


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one server: failures in a row by port, and the incident that is open."""

    failures: dict[Port, int] = {}
    incident: Incident | None = None


def resumed(incident: Incident, threshold: int) -> Checks:
    """Return what is known after a restart: the ports of an open incident are down until they answer."""
    return Checks(failures=dict.fromkeys(incident.ports, threshold), incident=incident)


def after(server: Server, checks: Checks, results: Mapping[Port, bool], now: datetime, threshold: int) -> Checks:
    """Return what is known after a look at all ports of *server*; *results* tell which answered.

    An incident that has just ended is there once more, with its end; the next look forgets it.
    """
    before = checks.incident if checks.incident is not None and checks.incident.ended_at is None else None
    failures = {
        port: 0 if results[port] else min(checks.failures.get(port, 0) + 1, threshold)
        for port in dict.fromkeys(one.plain for one in server.ports)
        if port in results
    }
    down = tuple(port for port, count in failures.items() if count >= threshold)
    return Checks(failures=failures, incident=_incident(server, before, down, now))


def ended(incident: Incident, now: datetime, ending: str) -> Incident:
    """Return *incident* with its end."""
    return replace(incident, ports=(), ended_at=now, ending=ending)


def _incident(server: Server, before: Incident | None, down: tuple[Port, ...], now: datetime) -> Incident | None:
    if before is None:
        return _noticed(_new(server, now), down, now) if down else None
    if not down:
        return ended(before, now, "recovered")
    if set(down) - set(before.ports):
        return _noticed(before, down, now)
    return before if set(down) == set(before.ports) else replace(before, ports=down)


def _new(server: Server, now: datetime) -> Incident:
    moment = int(now.timestamp() * 1000)
    return Incident(
        id=f"inc_{server.id}_{moment:013d}",  # those of one server sort by their begin
        app_id=server.app_id,
        server_id=server.id,
        server_name=server.name,
        began_at=now,
        ports=(),
    )


def _noticed(incident: Incident, down: tuple[Port, ...], now: datetime) -> Incident:
    number = incident.noticed + 1
    notice = Notice(id=str(uuid5(NAMESPACE_URL, f"northbound:{incident.id}/{number}")), at=now, ports=down)
    untold = [one for one in incident.notices if one.told_at is None]
    told = [one for one in incident.notices if one.told_at is not None][-NOTICES_KEPT + 1 :]
    return replace(incident, ports=down, noticed=number, notices=(*told, *untold, notice))


def told(incident: Incident, notice_id: str, now: datetime) -> Incident:
    """Return *incident* with a notice marked as being in the log."""
    notices = [replace(one, told_at=now) if one.id == notice_id else one for one in incident.notices]
    return replace(incident, notices=tuple(notices))
