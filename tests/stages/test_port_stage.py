"""The stage around the decisions: what is kept before it is told, and what a death in between comes to."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from northbound.backends.sqlite.control import SqliteControl
from northbound.model.errors import StoreFailed
from northbound.model.event import Port
from northbound.model.server import CheckedPort, Incident, Notice, Server
from northbound.stages import port_check
from northbound.stages.port_check import PortCheck
from northbound.testing.fakes import NOW, FakeClock

TCP, SOCKET = Port(kind="tcp", port=8088), Port(kind="websocket", port=7630)


class World:
    """Ports that answer or do not, and a log that takes notices or is away."""

    def __init__(self, path: Path) -> None:
        self.control = SqliteControl(path)
        self.clock = FakeClock()
        self.down: set[Port] = set()
        self.told: list[str] = []
        self.is_away = False
        self.dies = False
        self.stage = self.started()

    def started(self) -> PortCheck:
        every, timeout = timedelta(seconds=5), timedelta(seconds=2)
        return PortCheck(self.control, self, self.tell, self.clock, every=every, timeout=timeout, failures=3)

    async def reach(self, address: str, port: CheckedPort, within: timedelta) -> str | None:
        return "closed" if port.plain in self.down else None

    async def tell(self, incident: Incident, notice: Notice) -> None:
        if self.is_away:
            raise StoreFailed("the intake is away")
        self.told.append(notice.id)
        if self.dies:
            raise KeyboardInterrupt

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(5)
            asyncio.run(self.stage.step())

    def put(self, server: Server, revision: int | None = None) -> None:
        self.control.put(server, who="test", now=NOW, revision=revision)

    @property
    def incidents(self) -> list[Incident]:
        return [one for _, one in self.control.find(Incident, limit=500)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path / "control.db")
    one.put(SERVER)
    yield one
    one.control.close()


SERVER = Server(
    id="srv_1", app_id="app_1", name="box1", address="10.0.0.1", created_at=NOW,
    ports=tuple(CheckedPort(kind=one.kind, port=one.port) for one in (TCP, SOCKET)),
)  # fmt: skip


def test_an_incident_is_kept_told_once_and_ended(world: World) -> None:
    world.down = {TCP}
    world.look(6)
    world.down = set()
    world.look()

    (incident,) = world.incidents
    assert ("recovered", 1, [incident.notices[0].id]) == (incident.ending, incident.noticed, world.told)
    assert world.stage.reasons("srv_1") == {TCP: None, SOCKET: None}
    whats = [entry["what"] for entry in world.control.audit(10**9, 50) if entry["object"] == incident.id]
    assert "incident.created" in whats


def test_what_could_not_be_told_is_told_later_even_after_its_end(world: World) -> None:
    world.is_away = True
    world.down = {TCP}
    world.look(3)
    world.down = set()
    world.look(3)
    assert world.told == []

    world.is_away = False
    world.look()

    assert [world.incidents[0].notices[0].id] == world.told
    assert world.incidents[0].ending == "recovered" and world.incidents[0].notices[0].told_at is not None


def test_a_death_between_telling_and_marking_tells_again_under_the_same_id(world: World) -> None:
    """The log knows the id, so what is told twice is there once."""
    world.down = {TCP}
    world.look(2)
    world.dies = True
    with pytest.raises(KeyboardInterrupt):
        world.look()

    world.dies = False
    world.stage = world.started()
    world.look()

    assert len(world.told) == 2 and len(set(world.told)) == 1 and len(world.incidents) == 1


def test_a_restart_keeps_the_incident(world: World) -> None:
    world.down = {TCP}
    world.look(3)
    world.stage = world.started()
    world.down = {TCP, SOCKET}
    world.look(3)

    (incident,) = world.incidents
    assert [one.ports for one in incident.notices] == [(TCP,), (TCP, SOCKET)]
    world.stage, world.down = world.started(), set()
    world.look()
    assert world.incidents[0].ending == "recovered"


@pytest.mark.parametrize("state", ["disabled", None])
def test_a_server_nobody_looks_at_any_more_ends_its_incident(world: World, state: str | None) -> None:
    world.down = {TCP}
    world.look(3)
    if state is None:
        world.control.drop(Server, "srv_1", who="test", now=NOW)
    else:
        world.put(Server(**{name: getattr(SERVER, name) for name in SERVER.__struct_fields__} | {"state": state}), 1)

    world.look()

    assert world.incidents[0].ending == "unchecked"
    assert world.stage.reasons("srv_1") == {}


def test_incidents_of_a_server_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_check, "KEPT", 4)
    for _ in range(9):
        world.down = {TCP}
        world.look(3)
        world.down = set()
        world.look()

    kept = world.incidents
    assert (len(kept), len(world.told)) == (4, 9)
    assert world.told[-1] == kept[-1].notices[0].id
