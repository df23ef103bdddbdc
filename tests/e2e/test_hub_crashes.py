"""Processes die at the worst moments: nothing answered is lost, nothing is doubled, nothing is left running."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import apsw
import msgspec
import pytest

from e2e.hub import Hub, send
from e2e.objects import new_app, new_endpoint, new_source, new_subscription, steadfast
from e2e.receiver import Receiver, wait_until
from e2e.vendors import avd, callback, notice
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.hub.supervisor import PROCESSES
from northbound.model.app import Endpoint, Source
from northbound.model.wire import Key, Response

pytestmark = pytest.mark.e2e

KEYS = (Key(secret=b"k3y"),)


def set_up(hub: Hub, receiver: Receiver, name: str, dialect: str = "avd", **more) -> tuple[Source, Endpoint]:
    app = new_app(name)
    source = new_source(app, dialect, keys=KEYS, **more)
    endpoint = new_endpoint(app, "standard", receiver.url(f"standard-{name}"), retry=steadfast())
    hub.set_up(app, source, endpoint, new_subscription(app, endpoint))
    return source, endpoint


def count(hub: Hub, table: str, source: Source) -> int:
    return hub.rows("events", f"SELECT count(*) FROM {table} WHERE source_id = ?", source.id)[0][0]  # noqa: S608


def test_an_answered_event_survives_the_death_of_both_processes(hub: Hub, receiver: Receiver) -> None:
    """S1: killed after the answer and before the projection, the event is folded and delivered once."""
    source, endpoint = set_up(hub, receiver, "s1")

    with hub.frozen("delivery"):
        assert hub.post(callback(hub, source, avd("open", "r"))).status == 200
        hub.kill("delivery")
        hub.kill("intake")
    hub.wait_ready()
    hub.wait_idle()

    assert 1 == count(hub, "log", source) == len(hub.deliveries(endpoint)) == len(receiver.at("standard-s1"))
    room = hub.room(source, "r")
    assert room is not None and room["open"] and room["seq"] == 1


def test_nothing_is_answered_before_it_is_committed(hub: Hub, receiver: Receiver) -> None:
    """While the database cannot take the event, the vendor waits; when it can, the answer comes."""
    source, _ = set_up(hub, receiver, "early")
    answers: list[Response] = []
    request = callback(hub, source, avd("open", "r"))
    poster = threading.Thread(target=lambda: answers.append(send(request)))

    with write_lock(hub.folder.events):
        poster.start()
        time.sleep(0.5)
        answered_early = list(answers)
    poster.join(10)

    assert answered_early == []
    assert [one.status for one in answers] == [200]
    assert count(hub, "log", source) == 1


def test_a_death_before_the_commit_stores_and_promises_nothing(hub: Hub, receiver: Receiver) -> None:
    """The first try leaves no row at all; the vendor's second is the only one."""
    source, _ = set_up(hub, receiver, "uncommitted")
    request = callback(hub, source, avd("open", "r"))
    flag = hub.die_at("before-commit")

    with pytest.raises((OSError, EOFError, Exception)):
        send(request)
    assert not flag.exists()
    hub.wait_ready()
    stored = (count(hub, "log", source), count(hub, "receipts", source))
    response = hub.post(request)

    assert stored == (0, 0)
    assert response.status == 200
    assert (count(hub, "log", source), count(hub, "receipts", source)) == (1, 1)


def test_a_death_between_commit_and_answer_is_one_event_with_two_receipts(hub: Hub, receiver: Receiver) -> None:
    """S2 with an id on the wire: the vendor, not answered, sends again; that is a repeat."""
    source, endpoint = set_up(hub, receiver, "unanswered")
    flag = hub.die_at("after-commit")

    response = hub.post(callback(hub, source, avd("open", "r")))
    hub.wait_ready()
    hub.wait_idle()

    assert not flag.exists()
    assert response.status == 200
    assert (count(hub, "log", source), count(hub, "receipts", source)) == (1, 2)
    assert (
        len(hub.rows("events", "SELECT 1 FROM repeats JOIN receipts ON id = receipt_id WHERE source_id = ?", source.id))
        == 1
    )
    assert 1 == len(hub.deliveries(endpoint)) == len(receiver.firsts("standard-unanswered"))


def test_a_repeat_without_an_id_is_two_entries_and_one_state(hub: Hub, receiver: Receiver) -> None:
    """S2 without an id on the wire: two entries, and the room as after one."""
    source, _ = set_up(hub, receiver, "nameless", options={"trace_id": False})
    hub.post(callback(hub, source, avd("open", "r", trace_id=None)))
    hub.wait_idle()
    once = hub.room(source, "r")
    hub.die_at("after-commit")

    hub.post(callback(hub, source, avd("join", "r", "u", trace_id=None)))
    hub.wait_ready()
    hub.wait_idle()

    assert once is not None
    assert count(hub, "log", source) == 3
    room = hub.room(source, "r")
    assert room is not None
    assert (list(room["participants"]), room["stays"], room["peak"]) == (["u"], 1, 1)


@pytest.mark.parametrize("point", ["after-conclude", "after-route", "before-settle"])
def test_delivery_dies_at_any_line_and_nothing_is_doubled(hub: Hub, receiver: Receiver, point: str) -> None:
    """Conclusions are logged once and routed once; what was received and not settled comes again under the same id."""
    source, endpoint = set_up(hub, receiver, f"dies-{point}", "anyrtc")
    name = f"standard-dies-{point}"
    first, second = ({"uid": 1, "platform": 7, "uSId": one} for one in ("us-1", "us-2"))
    hub.post(callback(hub, source, notice(101, "r")))
    hub.post(callback(hub, source, notice(103, "r", **first)))
    hub.wait_idle()
    flag = hub.die_at(point)

    hub.post(callback(hub, source, notice(103, "r", **second)))  # concludes that the first stay was superseded
    wait_until(lambda: not flag.exists(), 10, f"delivery to come to {point}")
    hub.wait_ready()
    hub.wait_idle()

    log = hub.events(source)
    derived = [one for one in log if one["origin"] == "derived"]
    assert len(log) == 4
    assert [f"{SqliteLogReader(hub.folder.events).log_id}"] == [one["id"].split("_")[1] for one in derived]
    assert [one["type"] for one in derived] == ["participant.left"]
    assert 4 == len(hub.deliveries(endpoint)) == len(receiver.firsts(name))
    assert [one.seq for one in receiver.firsts(name)] == [1, 2, 3, 4]
    assert [one.prev for one in receiver.firsts(name)] == [None, 1, 2, 3]
    again = len(receiver.at(name)) - len(receiver.firsts(name))
    assert again == (1 if point == "before-settle" else 0)


def test_dead_doorbells_cost_nothing_but_a_moment(receiver: Receiver, tmp_path: Path) -> None:
    """S11: nobody can be rung; intake answers, and by polling alone everything arrives, each room in its order."""
    with Hub(tmp_path / "data", allow_targets=[receiver.address]) as hub:
        hub.start()
        source, _ = set_up(hub, receiver, "unrung")
        for bell in hub.folder.path.glob("run/*.bell"):
            bell.unlink()

        for number in range(20):
            for room in ("r1", "r2"):
                assert hub.post(callback(hub, source, avd("join", room, f"u{number}"))).status == 200
        arrived = receiver.wait_for("standard-unrung", 40)
        hub.wait_idle()

    for room in ("r1", "r2"):
        of_room = [one for one in arrived if msgspec.json.decode(one.request.body)["data"]["room_id"] == room]
        assert [one.seq for one in of_room] == list(range(1, 21))
        assert [one.prev for one in of_room] == [None, *range(1, 20)]


def test_web_dies_and_nothing_else_notices(hub: Hub, receiver: Receiver) -> None:
    """Callbacks are taken and delivered while the web process is away; it comes back with its objects."""
    source, _ = set_up(hub, receiver, "webless")
    pids = hub.children()

    hub.kill("web")
    assert hub.post(callback(hub, source, avd("open", "r"))).status == 200
    receiver.wait_for("standard-webless", 1)
    hub.wait_ready()

    after = hub.children()
    assert (pids["intake"], pids["delivery"]) == (after["intake"], after["delivery"])
    status, apps = hub.api("GET", "/api/v1/apps?limit=500")
    assert status == 200
    assert "app_webless" in {one["id"] for one in apps["items"]}


def test_a_killed_supervisor_leaves_nothing_running(receiver: Receiver, tmp_path: Path) -> None:
    """The parts leave with their parent, and the next start goes on where the last one ended."""
    with Hub(tmp_path / "data", allow_targets=[receiver.address]) as hub:
        app = new_app("orphans")
        source = new_source(app, "avd", keys=KEYS)
        endpoint = new_endpoint(app, "standard", receiver.url("standard-orphans"), retry=steadfast())
        hub.put(app, source, endpoint, new_subscription(app, endpoint))
        hub.start()
        hub.post(callback(hub, source, avd("open", "r")))
        hub.kill_supervisor()  # fails itself when something is left

        hub.start()
        hub.post(callback(hub, source, avd("close", "r")))
        hub.wait_idle()

        assert [one.seq for one in receiver.firsts("standard-orphans")] == [1, 2]
        assert hub.stop() == 0


def test_a_supervisor_killed_while_its_parts_are_being_loaded_leaves_nothing_running(tmp_path: Path) -> None:
    """A part that is orphaned before it could ask for the signal finds out by itself (law: one writer)."""
    with Hub(tmp_path / "data") as hub:
        hub.start()
        before = {hub.kill(name) for name in PROCESSES}
        wait_until(lambda: len(set(hub.children().values()) - before) == len(PROCESSES), 10, "all to be started again")
        hub.kill_supervisor()  # fails itself when something is left


def test_a_second_hub_on_the_folder_is_refused(hub: Hub) -> None:
    """Two writers of one folder must never be; the second says why and changes nothing."""
    second = subprocess.run(
        [sys.executable, "-c", _SECOND, str(hub.folder.path)], capture_output=True, text=True, timeout=30, check=False
    )

    assert second.returncode == 1
    assert "another northbound is serving the folder" in second.stderr
    assert hub.is_ready("intake")


_SECOND = """
import sys
from northbound.config import Config
from northbound.hub.supervisor import Supervisor
Supervisor(Config(data=sys.argv[1], listen="127.0.0.1:0", intake="127.0.0.1:0")).start()
"""


class write_lock:  # noqa: N801 - reads as what it is in a with
    """Keep every writer out of a database."""

    def __init__(self, path: Path) -> None:
        self._db = apsw.Connection(str(path))
        self._db.set_busy_timeout(5000)

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self._db.execute("ROLLBACK")
        self._db.close()


def test_a_process_that_hangs_is_replaced_and_events_flow_again(tmp_path: Path, receiver: Receiver) -> None:
    """It does not exit, so nobody is told that it stands still: the supervisor asks, and kills what is silent."""
    with Hub(tmp_path / "data", allow_targets=[receiver.address]) as hub:
        hub.start(patience=3)
        source, endpoint = set_up(hub, receiver, "hung")
        for number, name in enumerate(PROCESSES, start=1):
            with hub.frozen(name) as pid:
                wait_until(lambda name=name, pid=pid: hub.pid(name) not in {None, pid}, 60, f"another {name}")
            hub.wait_ready()
            assert hub.post(callback(hub, source, avd("open", f"r{number}"))).status == 200
            hub.wait_idle()
            assert number == len(hub.deliveries(endpoint)) == len(receiver.firsts("standard-hung"))
        said = hub.logs("supervisor")

    assert [said.count(f'"process": "{name}", "silent"') for name in PROCESSES] == [1, 1, 1]


def test_a_hung_process_is_asked_where_it_stands(tmp_path: Path, receiver: Receiver) -> None:
    """Its threads' places are written down before it is killed: nobody could find the fault without them."""
    with Hub(tmp_path / "data", allow_targets=[receiver.address]) as hub:
        hub.start(patience=3)
        pid = hub.pid("delivery")
        hub.hang("delivery")
        wait_until(lambda: hub.pid("delivery") not in {None, pid}, 60, "another delivery")
        hub.wait_ready()

        assert "most recent call first" in hub.logs("delivery")
