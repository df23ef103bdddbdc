"""Look at the ports of the media servers that an operator listed, every few seconds, and say what became of them.

An incident is stored before it is told and marked after: whoever dies in between tells it again under the same id.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from typing import Final, Protocol, TypeVar

import structlog
from msgspec.structs import replace

from northbound.logic.port_check import Checks, after, ended, resumed, told
from northbound.model.errors import Conflict, HubError, NotFound
from northbound.model.event import Port
from northbound.model.registry import Drop, Put
from northbound.model.server import CheckedPort, Incident, Notice, Server
from northbound.ports import Clock, ObjectStore

AT_ONCE: Final = 64  # connections being tried
KEPT: Final = 100  # incidents of one server; the oldest make room
PAGE: Final = 500
WHO: Final = "northbound"  # in the audit
log = structlog.get_logger()
Tell = Callable[[Incident, Notice], Awaitable[None]]
Checked = TypeVar("Checked", Server, Incident)


class Probe(Protocol):
    """Tries one port of one address, and nothing that is not listed."""

    async def reach(self, address: str, port: CheckedPort, within: timedelta) -> str | None:
        """Return None when the port answers as its kind should, else why it does not."""
        ...


class PortCheck:
    """The stage. `step` looks once at everything; `run` does it at its pace."""

    def __init__(
        self,
        objects: ObjectStore,
        probe: Probe,
        tell: Tell,
        clock: Clock,
        *,
        every: timedelta,
        timeout: timedelta,
        failures: int,
    ) -> None:
        self._objects = objects
        self._probe = probe
        self._tell = tell
        self._clock = clock
        self._every = every.total_seconds()
        self._timeout = timeout
        self._threshold = failures
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._checks: dict[str, Checks] | None = None
        self._untold: dict[str, Incident] = {}
        self._reasons: dict[str, dict[Port, str | None]] = {}

    def reasons(self, server_id: str) -> Mapping[Port, str | None]:
        """Return why each port of a server did not answer when it was looked at last, None where it did."""
        return self._reasons.get(server_id, {})

    async def run(self) -> None:
        """Look for ever; one look that fails is told in the log, and the next one comes at its time."""
        while True:
            began = self._clock.monotonic()
            try:
                await self.step()
            except Exception:
                log.exception("ports.broken")
            await asyncio.sleep(max(0.0, began + self._every - self._clock.monotonic()))

    async def step(self) -> int:
        """Look at all ports of all servers; return how many servers there are."""
        checks = self._known()
        servers = {one.id: one for one in self._every_one(Server) if one.state == "enabled"}
        found = dict(zip(servers, await asyncio.gather(*map(self._looked_at, servers.values())), strict=True))
        now = self._clock.now()
        for server_id, results in found.items():
            before = checks.get(server_id, Checks())
            answered = {port: reason is None for port, reason in results.items()}
            checks[server_id] = after(servers[server_id], before, answered, now, self._threshold)
            self._store(before.incident, checks[server_id].incident)
        for server_id in checks.keys() - servers.keys():
            open_one = checks.pop(server_id).incident
            if open_one is not None and open_one.ended_at is None:
                self._store(open_one, ended(open_one, now, "unchecked"))
        self._reasons = found
        await self._tell_all(checks)
        return len(servers)

    def _known(self) -> dict[str, Checks]:
        """Return what is known; after a start, the incidents that were open."""
        if self._checks is None:
            kept = list(self._every_one(Incident))
            self._untold = {one.id: one for one in kept if _is_untold(one)}
            self._checks = {one.server_id: resumed(one, self._threshold) for one in kept if one.ended_at is None}
        return self._checks

    def _every_one(self, kind: type[Checked]) -> Iterator[Checked]:
        last = ""
        while found := self._objects.find(kind, after=last, limit=PAGE):
            yield from (one for _, one in found)
            last = found[-1][1].id

    async def _looked_at(self, server: Server) -> dict[Port, str | None]:
        reasons = await asyncio.gather(*(self._reached(server.address, port) for port in server.ports))
        return {port.plain: reason for port, reason in zip(server.ports, reasons, strict=True)}

    async def _reached(self, address: str, port: CheckedPort) -> str | None:
        async with self._at_once:
            return await self._probe.reach(address, port, self._timeout)

    # --- what is kept and said ------------------------------------------------------------------------------------

    def _store(self, before: Incident | None, now: Incident | None) -> None:
        if now is None or now == before:
            return
        drops: list[Drop] = []
        try:
            revision = self._objects.get(Incident, now.id)[0]
        except NotFound:
            revision = None
            drops = self._oldest(now.server_id)
        try:
            self._objects.change([Put(one=now, revision=revision)], drops, who=WHO, now=self._clock.now())
        except (Conflict, NotFound) as error:  # removed with its server in this very moment
            log.warning("ports.not_kept", incident=now.id, reason=error.message)
        self._untold.pop(now.id, None)
        if _is_untold(now):
            self._untold[now.id] = now
        if before is None or now.ended_at is not None:
            log.warning("ports.incident", server=now.server_id, incident=now.id, ending=now.ending or "begun")

    def _oldest(self, server_id: str) -> list[Drop]:
        """Return what must go for a new incident of a server to come."""
        found = self._objects.find(Incident, after=f"inc_{server_id}_", limit=KEPT + 1)
        mine = [one for _, one in found if one.server_id == server_id and one.ended_at is not None]
        return [Drop(kind=Incident, id=one.id) for one in mine[: max(0, len(mine) - KEPT + 1)]]

    async def _tell_all(self, checks: dict[str, Checks]) -> None:
        """Tell what was not told yet; what cannot be told now is told after the next look."""
        for incident in list(self._untold.values()):
            for notice in incident.notices:
                if notice.told_at is not None:
                    continue
                try:
                    await self._tell(incident, notice)
                except HubError as error:
                    log.warning("ports.not_told", incident=incident.id, notice=notice.id, reason=error.message)
                    return
                before = self._untold.get(incident.id, incident)
                marked = told(before, notice.id, self._clock.now())
                self._store(before, marked)
                current = checks.get(incident.server_id)
                if current is not None and current.incident == before:
                    checks[incident.server_id] = replace(current, incident=marked)


def _is_untold(incident: Incident) -> bool:
    return any(notice.told_at is None for notice in incident.notices)
