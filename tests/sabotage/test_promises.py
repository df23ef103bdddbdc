"""The promises that only one line keeps: each test goes red when that line is spoilt (see patches.toml)."""

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from northbound.backends.sqlite.database import open_reader
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.log import SqliteLog
from northbound.config import Config
from northbound.dialects import all_dialects
from northbound.dialects.avd import DIALECT as AVD
from northbound.dialects.base import raw
from northbound.hub.intake import Intake
from northbound.logic.order import Lanes
from northbound.logic.route import build_table
from northbound.model.app import App, Endpoint, Registry, RetryPolicy, Source, Subscription, Target
from northbound.model.delivery import Delivery, Exchange, Lane, View
from northbound.model.errors import SignatureError
from northbound.model.event import Event, EventType, Facts
from northbound.model.log import Appended, Logged, Origin, Receipt
from northbound.model.room import Memory, Room
from northbound.model.wire import Key, Proof, Request, Response
from northbound.ports import Folded
from northbound.stages.alarms import Alarms
from northbound.stages.deliver import Deliver
from northbound.stages.follow import Batch
from northbound.stages.ingest import Ingest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOST = "http://hub.test/in/src_1/a-long-token"
AVD_SOURCE = Source(id="src_1", app_id="app_1", name="s", dialect="avd", token="a-long-token", created_at=NOW)
OPEN = Request(method="GET", url=f"{HOST}?event=open&room_id=r&trace_id=t-1")
MALFORMED = Request(method="GET", url=f"{HOST}?event=join&room_id=r&trace_id=t-2")


# --- doubles of what is outside --------------------------------------------------------------------------------------


class StoppedClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - NOW).total_seconds()


class FairDice:
    def bytes(self, count: int) -> bytes:
        return bytes(count)

    def fraction(self) -> float:
        return 0.5


class SlowLog:
    """A log that stores when it is let; it remembers what it was given."""

    def __init__(self, *, is_open: bool) -> None:
        self.gate = asyncio.Event()
        self.appended: list[Receipt] = []
        self.refused: list[tuple[bytes, str]] = []
        if is_open:
            self.gate.set()

    async def append(self, receipt: Receipt, events: Sequence[Event]) -> Appended:
        await self.gate.wait()
        self.appended.append(receipt)
        return Appended(ids=("ev_1",))

    async def conclude(self, entries: Sequence[Logged]) -> int:
        return len(entries)

    async def quarantine(self, receipt: Receipt, code: str, message: str) -> None:
        self.refused.append((receipt.request.url.encode(), code))


class HeldSender:
    """A way out where every exchange ends when the test says so."""

    def __init__(self) -> None:
        self.sent: list[Request] = []
        self._ends: list[Callable[[Exchange], None]] = []

    def submit(
        self,
        request: Request,
        *,
        deadline: timedelta,
        on_done: Callable[[Exchange], None],
        ca_pem: bytes | None = None,
    ) -> None:
        self.sent.append(request)
        self._ends.append(on_done)

    async def send(self, request: Request, *, deadline: timedelta) -> Exchange:
        raise AssertionError("nothing is fetched here")

    def answer(self, status: int) -> None:
        request, end = self.sent[-1], self._ends.pop()
        end(Exchange(request=request, outcome=Response(status=status), started_at=NOW, duration_ms=1))


def ingest(log: SlowLog) -> Ingest:
    return Ingest(log, HeldSender(), StoppedClock(), lambda *_: None, Alarms(log, StoppedClock()))


# --- in --------------------------------------------------------------------------------------------------------------


def test_there_is_no_answer_before_the_log_has_the_event() -> None:
    """A success is said when append has returned, not before."""

    async def scenario() -> tuple[bool, int]:
        log = SlowLog(is_open=False)
        answer = asyncio.ensure_future(ingest(log).step(OPEN, AVD_SOURCE, AVD))
        await asyncio.sleep(0.05)
        was_early = answer.done()
        log.gate.set()
        return was_early, (await answer).status

    assert asyncio.run(scenario()) == (False, 200)


def test_what_cannot_be_read_is_kept() -> None:
    """A malformed callback of a real source is refused and sampled, not dropped."""

    async def scenario() -> tuple[int, list[tuple[bytes, str]]]:
        log = SlowLog(is_open=True)
        answer = await ingest(log).step(MALFORMED, AVD_SOURCE, AVD)
        return answer.status, log.refused

    assert asyncio.run(scenario()) == (400, [(MALFORMED.url.encode(), "malformed")])


@pytest.mark.parametrize("token", ["", "a", "a-long-toke", "a-long-token-", "A-LONG-TOKEN", "*"])
def test_a_path_token_counts_whole(token: str) -> None:
    """A part of the token opens nothing."""

    async def scenario(given: str) -> int:
        intake = Intake(ingest(SlowLog(is_open=True)), Config())
        intake.on_registry(Registry(sources=(AVD_SOURCE,)))
        return (await intake.handle(OPEN, "src_1", given, "127.0.0.1")).status

    assert asyncio.run(scenario(token)) == 404
    assert asyncio.run(scenario("a-long-token")) == 200


@pytest.mark.parametrize(("until", "status"), [(NOW + timedelta(seconds=1), 200), (NOW, 403)])
def test_a_key_counts_while_it_is_valid(until: datetime, status: int) -> None:
    """After its end a key signs nothing more."""
    source = msgspec.structs.replace(AVD_SOURCE, keys=(Key(secret=b"k3y", valid_until=until),))
    endpoint = Endpoint(id="e", app_id="a", url=HOST, dialect="avd", created_at=NOW, keys=(Key(secret=b"k3y"),))

    async def scenario() -> int:
        request = AVD.sign(OPEN, endpoint, NOW, b"")
        return (await ingest(SlowLog(is_open=True)).step(request, source, AVD)).status

    assert asyncio.run(scenario()) == status


WORDS = {
    "avd": {"event": "open", "trace_id": "t", "room_id": "r"},
    "mpaas": {"bizRequestId": "q", "eventCode": 1, "bizName": "b", "roomId": "r", "uid": "u"},
    "anyrtc": {"noticeId": "n", "productId": 1, "eventType": 101, "payload": {"channelName": "c"}},
    "standard": {"specversion": "1.0", "id": "e", "source": "s", "type": "room.opened", "data": {}},
}
PLACES = {
    "avd": "check_code=",
    "mpaas": "x-northbound-signature",
    "anyrtc": "ar-signature",
    "standard": "webhook-signature",
}


@pytest.mark.parametrize("dialect", sorted(WORDS))
def test_a_signature_counts_whole(dialect: str) -> None:
    """I1: truncated to any length, a good signature is a bad one."""
    spoken, keys = all_dialects()[dialect], (Key(secret=b"k3y-of-all"),)
    endpoint = Endpoint(
        id="e", app_id="a", url=HOST, dialect=dialect, created_at=NOW, keys=keys, method=spoken.methods[0]
    )
    signed = spoken.sign(spoken.encode([View(words=raw(WORDS[dialect]))], endpoint), endpoint, NOW, bytes(32))

    assert spoken.verify(signed, keys, NOW, {}) != Proof.NONE
    for keep in (0, 1, 4, 8, 20):
        with pytest.raises(SignatureError):
            spoken.verify(truncated(signed, PLACES[dialect], keep), keys, NOW, {})


def truncated(request: Request, place: str, keep: int) -> Request:
    """Return *request* with only *keep* characters of its signature."""
    if place.endswith("="):
        url = re.sub(rf"({place}[^&]{{{keep}}})[^&]*", r"\1", request.url)
        return msgspec.structs.replace(request, url=url)
    given = next(value for name, value in request.headers if name.lower() == place)
    kept = len(given.partition("=")[0]) + 1 if place.startswith("x-") else 3 if place.startswith("webhook") else 0
    return request.adding((place, given[: kept + keep]))


# --- stored ----------------------------------------------------------------------------------------------------------


def event(number: int = 1, **more: Any) -> Event:
    base = {"type": EventType.ROOM_OPENED, "dialect": "avd", "room_id": "r", "dedupe_key": f"t-{number}"}
    return Event(**{**base, "vendor": raw({"n": number}), **more})


RECEIPT = Receipt(source_id="src_1", received_at=NOW, request=OPEN, proof=Proof.NONE)
APPEND_ONE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {here!r})
import test_promises as t
log = t.SqliteLog(Path(sys.argv[1]))
Path(sys.argv[1]).with_name("began").touch()
asyncio.run(log.append(t.RECEIPT, [t.event()]))
Path(sys.argv[1]).with_name("answered").touch()
"""


def test_every_commit_is_synced(tmp_path: Path) -> None:
    """Between the call and its return the write-ahead log is synced to the disk: seen from outside where it can be."""
    if (between := traced(tmp_path)) is not None:
        assert re.search(r"(fsync|fdatasync)\(\d+<[^>]*two\.db-wal>", between), between

    log = SqliteLog(tmp_path / "log.db")
    level = log._db.execute("PRAGMA synchronous").fetchone()
    log.close()
    assert level == (2,)


def traced(tmp_path: Path) -> str | None:
    """Return the system calls between an append's call and its return, None where nobody may look."""
    if shutil.which("strace") is None:
        return None
    trace, script = tmp_path / "trace", APPEND_ONE.format(here=str(Path(__file__).parent))
    command = [
        "strace",
        "-f",
        "-y",
        "-o",
        str(trace),
        "-e",
        "trace=fsync,fdatasync,openat",
        sys.executable,
        "-c",
        script,
    ]
    done = subprocess.run([*command, str(tmp_path / "two.db")], capture_output=True, text=True, timeout=60, check=False)
    if "ptrace" in done.stderr or "PTRACE" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    return trace.read_text().partition('/began"')[2].partition('/answered"')[0]


def test_a_known_id_is_stored_once(tmp_path: Path) -> None:
    """The vendor's second try is no second event."""

    async def scenario(log: SqliteLog) -> list[tuple[int, int]]:
        told = [await log.append(RECEIPT, [event(1)]) for _ in range(2)]
        return [(len(one.ids), one.duplicates) for one in told]

    log = SqliteLog(tmp_path / "log.db")
    assert asyncio.run(scenario(log)) == [(1, 0), (0, 1)]
    log.close()


def test_a_conclusion_is_stored_once(tmp_path: Path) -> None:
    """Concluding again after a death changes nothing."""

    async def scenario(log: SqliteLog) -> list[int]:
        return [await log.conclude([logged(0, identity="ev_a.1", origin=Origin.DERIVED)]) for _ in range(2)]

    log = SqliteLog(tmp_path / "log.db")
    assert asyncio.run(scenario(log)) == [1, 0]
    log.close()


def test_the_cursor_never_moves_without_what_it_led_to(tmp_path: Path) -> None:
    """Law 3: when the transaction fails, the cursor is where it was."""
    store = SqliteDeliveries(tmp_path / "deliveries.db")
    store.commit(Folded(cursor=3))
    breaking = apsw.Connection(str(tmp_path / "deliveries.db"))
    breaking.execute("CREATE TRIGGER full BEFORE INSERT ON deliveries BEGIN SELECT RAISE(ABORT, 'no'); END")
    breaking.close()

    with pytest.raises(Exception, match="no"):
        store.commit(Folded(cursor=4, deliveries=[delivery(1)]))

    assert store.cursor() == 3
    store.close()
    reader = open_reader(tmp_path / "deliveries.db")
    assert reader.execute("SELECT position FROM cursors WHERE name = 'log'").fetchall() == [(3,)]
    reader.close()


# --- folded and routed -----------------------------------------------------------------------------------------------


class Nothing:
    def cursor(self) -> int:
        return -1

    def room(self, key: str) -> Room | None:
        return None

    def memory(self, name: str) -> Memory:
        return Memory()

    def last_sent(self, endpoint_id: str, key: str) -> int | None:
        return None


def logged(offset: int, *, identity: str = "", origin: Origin = Origin.OBSERVED, **words: Any) -> Logged:
    return Logged(
        id=identity or f"ev_a_{offset}", partition=0, offset=offset, source_id="src_1", recorded_at=NOW,
        proof=Proof.NONE, origin=origin, event=event(offset, **words),
    )  # fmt: skip


def folded(entries: Sequence[Logged], wire: str = "standard") -> Batch:
    endpoint = Endpoint(id="ep_1", app_id="app_1", url="http://sink.test/", dialect=wire, created_at=NOW)
    pattern, targets = '{"type":[{"exists":true}]}', (Target(endpoint_id="ep_1"),)
    registry = Registry(
        apps=(App(id="app_1", name="a", created_at=NOW),),
        sources=(AVD_SOURCE,),
        endpoints=(endpoint,),
        subscriptions=(Subscription(id="sub", app_id="app_1", created_at=NOW, pattern=pattern, targets=targets),),
    )
    batch = Batch(Nothing(), all_dialects(), build_table(registry))
    for entry in entries:
        batch.take(entry)
    return batch


def superseded() -> list[Logged]:
    """Return a join that concludes: the same person, there already, comes anew."""
    join = {"type": EventType.PARTICIPANT_JOINED, "participant_id": "u"}
    first, second = ({**join, "session_id": name, "dedupe_key": name} for name in ("s1", "s2"))
    return [logged(0), logged(1, **first), logged(2, **second)]


def test_conclusions_have_the_same_ids_every_time() -> None:
    """Folded again after a death, the same cause concludes the same, under the same ids."""
    once, again = (folded(superseded()) for _ in range(2))

    assert [one.cause_id for one in once.concluded] == ["ev_a_2"]
    assert [one.id for one in once.concluded] == [one.id for one in again.concluded]
    assert [one.id for one in once.deliveries] == [one.id for one in again.deliveries]


def test_a_conclusion_is_delivered_once() -> None:
    """It was folded with its cause; when the log comes to it, nothing more happens."""
    entries = superseded()
    (concluded,) = folded(entries).concluded

    batch = folded([*entries, msgspec.structs.replace(concluded, offset=3)])

    assert len(batch.deliveries) == 4
    assert len({one.id for one in batch.deliveries}) == 4


def test_what_a_wire_cannot_say_is_told() -> None:
    """Losses, inventions and events without a word are reported for the endpoint."""
    joined = logged(
        0, type=EventType.PARTICIPANT_JOINED, participant_id="u", dialect="x", facts=Facts(name="n", group_id="g")
    )
    no_word = logged(1, type=EventType.SERVER_UNREACHABLE, dialect="x")

    kinds = {loss.kind for loss in folded([joined, no_word], "aliyun_rtc").losses}

    assert kinds == {"lost", "invented", "no_word"}


# --- out -------------------------------------------------------------------------------------------------------------


def delivery(number: int, room: str = "r") -> Delivery:
    words = WORDS["standard"] | {"id": f"ev_{number}"}
    return Delivery(
        id=f"dl_{number}", endpoint_id="ep_1", subscription_id="sub", source_id="src_1", event_id=f"ev_{number}",
        event_type="room.opened", order_key=room, created_at=NOW, due_at=NOW, view=View(words=raw(words)), seq=number,
    )  # fmt: skip


ENDPOINT = Endpoint(
    id="ep_1", app_id="app_1", url="http://sink.test/", dialect="standard", created_at=NOW, keys=(Key(secret=b"key"),),
    retry=RetryPolicy(attempts=5, waits=(timedelta(minutes=20),)),
)  # fmt: skip


def test_a_room_waits_for_its_head() -> None:
    """Law 4: one delivery of a room at a time; other rooms do not wait."""
    lanes = Lanes(lambda _: ENDPOINT, lambda _: 1)
    for number, room in enumerate(["a", "a", "b", "a"]):
        lanes.add(number, "ep_1", room, Lane.LIVE, NOW, NOW)

    assert [one.numbers for one in lanes.lease(NOW, 10)] == [(0,), (2,)]


def tried_twice(tmp_path: Path) -> list[Request]:
    """Return both tries of one delivery, the second twenty minutes after the first."""

    async def scenario() -> list[Request]:
        store, sender, clock = SqliteDeliveries(tmp_path / "deliveries.db"), HeldSender(), StoppedClock()
        stage = Deliver(store, sender, all_dialects(), lambda _: ENDPOINT, clock, FairDice())
        numbers = store.commit(Folded(cursor=0, deliveries=[delivery(1)]))
        stage.take(numbers, [delivery(1)])
        for status in (500, 200):
            await stage.step(10)
            sender.answer(status)
            await stage.settle()
            clock.time += timedelta(minutes=21)
        store.close()
        return sender.sent

    return asyncio.run(scenario())


def test_a_retry_keeps_the_ids_of_its_delivery(tmp_path: Path) -> None:
    """By them the receiver knows that it has the event already."""
    first, second = tried_twice(tmp_path)

    for name in ("northbound-delivery", "webhook-id", "northbound-seq"):
        assert first.header(name) == second.header(name) is not None
    assert [one.header("northbound-attempt") for one in (first, second)] == ["1", "2"]


def test_a_retry_is_signed_anew(tmp_path: Path) -> None:
    """A receiver that checks the age of a signature takes the second try as well as the first."""
    tries = tried_twice(tmp_path)

    for number, one in enumerate(tries):
        when = NOW + timedelta(minutes=21 * number)
        assert all_dialects()["standard"].verify(one, ENDPOINT.keys, when, {}) == Proof.FRESH
