"""Ruling 36 as decisions: when an incident begins, is told again, ends; nothing of it needs a network."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from northbound.dialects.avd import DIALECT
from northbound.doors.avd_master import warning
from northbound.logic.port_check import NOTICES_KEPT, Checks, after, ended, resumed, told
from northbound.model.event import EventType, Port
from northbound.model.server import CheckedPort, Incident, Server

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TCP, SOCKET, THIRD = Port(kind="tcp", port=8088), Port(kind="websocket", port=7630), Port(kind="tcp", port=9)
SERVER = Server(
    id="srv_1", app_id="app_1", name="box1", address="10.0.0.1", created_at=T0,
    ports=tuple(CheckedPort(kind=one.kind, port=one.port) for one in (TCP, SOCKET, THIRD)),
)  # fmt: skip


class Watch:
    """Looks every five seconds; a look names the ports that do not answer."""

    def __init__(self, checks: Checks | None = None) -> None:
        self.checks = checks or Checks()
        self.now = T0

    def look(self, *down: Port) -> Incident | None:
        self.now += timedelta(seconds=5)
        results = {one: one not in down for one in (TCP, SOCKET, THIRD)}
        self.checks = after(SERVER, self.checks, results, self.now, 3)
        return self.checks.incident


def test_two_failures_are_nothing() -> None:
    watch = Watch()

    assert [watch.look(TCP), watch.look(TCP), watch.look()] == [None, None, None]


def test_failures_that_are_not_in_a_row_are_nothing() -> None:
    watch = Watch()

    assert {None} == {watch.look(*down) for down in [(TCP,), (TCP,), (), (TCP,), (TCP,), (SOCKET,), (TCP,)]}


def test_three_failures_in_a_row_make_an_incident() -> None:
    """All ports that are down by then are in one notice."""
    watch = Watch()
    watch.look(TCP, SOCKET)
    watch.look(TCP, SOCKET)

    incident = watch.look(TCP, SOCKET)

    assert incident is not None
    assert (watch.now, (TCP, SOCKET), 1) == (incident.began_at, incident.ports, incident.noticed)
    assert [one.ports for one in incident.notices] == [(TCP, SOCKET)]


def test_what_stays_as_it_is_is_told_once() -> None:
    watch = Watch()
    incidents = [watch.look(TCP) for _ in range(10)]

    assert len(set(incidents[2:])) == 1


def test_a_further_port_is_a_new_notice_that_lists_all() -> None:
    watch = Watch()
    for down in [(TCP,), (TCP, SOCKET), (TCP, SOCKET)]:
        watch.look(*down)

    incident = watch.look(TCP, SOCKET)

    assert incident is not None
    assert [one.ports for one in incident.notices] == [(TCP,), (TCP, SOCKET)]
    assert len({one.id for one in incident.notices}) == 2


def test_a_port_that_is_up_again_leaves_and_may_come_back() -> None:
    """It is no longer listed, without a word; down once more it is a further port."""
    watch = Watch()
    for _ in range(3):
        watch.look(TCP, SOCKET)
    watch.look(TCP)
    one_left = watch.checks.incident
    assert one_left is not None and one_left.ports == (TCP,) and one_left.noticed == 1

    for _ in range(3):
        watch.look(TCP, SOCKET)

    assert watch.checks.incident is not None and watch.checks.incident.noticed == 2


def test_the_last_port_that_answers_ends_it() -> None:
    watch = Watch()
    for _ in range(3):
        watch.look(TCP)

    over = watch.look()

    assert over is not None and ("recovered", watch.now, ()) == (over.ending, over.ended_at, over.ports)
    assert None is watch.look()
    for _ in range(3):
        watch.look(TCP)
    assert watch.checks.incident is not None and over.id < watch.checks.incident.id


def test_an_incident_survives_a_restart() -> None:
    """What is down stays down without three new failures, is not told again, and a further port still is."""
    watch = Watch()
    for _ in range(3):
        watch.look(TCP)
    assert watch.checks.incident is not None
    again = Watch(resumed(watch.checks.incident, 3))

    assert watch.checks.incident == again.look(TCP)
    for _ in range(3):
        again.look(TCP, SOCKET)
    assert again.checks.incident is not None and again.checks.incident.noticed == 2
    assert watch.checks.incident.id == again.checks.incident.id


def test_a_port_that_flickers_for_days_fills_nothing() -> None:
    watch = Watch()
    for _ in range(NOTICES_KEPT + 20):
        for _ in range(3):
            watch.look(TCP, SOCKET)
        incident = watch.look(TCP)
        assert incident is not None
        for notice in incident.notices:
            incident = told(incident, notice.id, watch.now)
        watch.checks = Checks(failures=watch.checks.failures, incident=incident)

    assert watch.checks.incident is not None
    assert (watch.checks.incident.noticed, len(watch.checks.incident.notices)) == (NOTICES_KEPT + 20, NOTICES_KEPT)


def test_a_server_that_is_not_looked_at_any_more_ends_it() -> None:
    incident = Incident(id="i", app_id="a", server_id="s", server_name="b", began_at=T0, ports=(TCP,))

    assert (ended(incident, T0, "unchecked").ending, ended(incident, T0, "unchecked").ended_at) == ("unchecked", T0)


def test_a_notice_is_what_the_page_has() -> None:
    """Seed 004: event, trace_id, event_type, box_code, options as a JSON array of type and port."""
    watch = Watch()
    for _ in range(3):
        watch.look(TCP, SOCKET)
    assert watch.checks.incident is not None
    notice = watch.checks.incident.notices[0]

    request, event = warning(watch.checks.incident, notice, "http://hub.test/in/a/b")

    assert str(UUID(notice.id)) == notice.id == event.dedupe_key
    assert (
        event.type, event.facts.server_id, event.facts.ports,
    ) == (EventType.SERVER_UNREACHABLE, "box1", (TCP, SOCKET))  # fmt: skip
    assert '"options":"[{\\"type\\":\\"tcp\\",\\"port\\":8088},{\\"type\\":\\"websocket\\",\\"port\\":7630}]"' in str(
        bytes(event.vendor), "utf-8"
    )
    assert [event] == DIALECT.decode(request, {})
