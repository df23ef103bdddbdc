"""Taking callbacks in: nothing is acknowledged before it is stored, strangers cost little (I1, I6, ruling 5)."""

import asyncio
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from northbound.backends.memory import MemoryLog
from northbound.dialects import all_dialects
from northbound.dialects.base import Dialect, Options
from northbound.logic.entry import IDENTIFIERS
from northbound.model.alarm import ROWS_A_WINDOW, AlarmKind
from northbound.model.app import Source
from northbound.model.delivery import Exchange, Failure, FailureKind
from northbound.model.errors import DecodeError, SignatureError, StoreFailed
from northbound.model.event import Event, EventType
from northbound.model.log import Appended, Receipt
from northbound.model.wire import Key, KeyKind, Needs, Proof, Request, Response
from northbound.stages.alarms import Alarms
from northbound.stages.ingest import (
    CERTIFICATES_KEPT,
    FETCHES_A_MINUTE,
    NOT_ASKED_AGAIN,
    SAMPLES_A_MINUTE,
    Ingest,
    within,
)
from northbound.testing.fakes import FakeClock, FakeSender, source

SECRET = b"k3y"
AVD = all_dialects()["avd"]


def signed(trace: str = "t-1", room: str = "9", code: str | None = None) -> Request:
    """Return a join as the avd wire signs it."""
    params = {"event": "join", "trace_id": trace, "room_id": room, "user_id": "1", "event_type": "normal"}
    text = "|".join(value for _, value in sorted(params.items()))
    params["check_code"] = code or hmac.new(SECRET, text.encode(), "sha256").hexdigest()
    query = "&".join(f"{name}={value}" for name, value in params.items())
    return Request(method="GET", url=f"http://hub.test/in?{query}")


class Door:
    """The stage before a log in memory."""

    def __init__(self, log: Any = None, dialect: Dialect = AVD, **fields: Any) -> None:
        self.clock = FakeClock()
        self.sender = FakeSender(self.clock)
        self.log = log if log is not None else MemoryLog()
        self.dialect = dialect
        self.source = source(dialect=dialect.name, **{"keys": (Key(secret=SECRET),), **fields})
        self.told: list[tuple[str, int]] = []
        self.alarms = Alarms(self.log, self.clock)
        self.stage = Ingest(self.log, self.sender, self.clock, self._on_outcome, self.alarms)

    def _on_outcome(self, one: Source, result: str, events: int) -> None:
        self.told.append((result, events))

    async def take(self, request: Request) -> Response:
        return await self.stage.step(request, self.source, self.dialect)

    def knock(self, *requests: Request) -> list[Response]:
        async def all_of_them() -> list[Response]:
            return [await self.take(one) for one in requests]

        return asyncio.run(asyncio.wait_for(all_of_them(), 30))


# --- stored, then acknowledged ---------------------------------------------------------------------------------------


def test_what_is_verified_is_stored_with_what_it_proved():
    door = Door()
    (answer,) = door.knock(signed())

    assert (answer.status, door.told) == (200, [("stored", 1)])
    assert [(one.request, one.proof) for one in door.log.receipts] == [(signed(), Proof.SENDER)]
    assert [one.event.type for one in door.log.read(-1, 9)] == [EventType.PARTICIPANT_JOINED]


def test_the_same_event_again_is_a_duplicate_and_acknowledged():
    door = Door()
    answers = door.knock(signed(), signed())

    assert [one.status for one in answers] == [200, 200]
    assert (door.told[1], door.log.head(), len(door.log.receipts)) == (("duplicate", 0), 0, 2)


def test_the_same_id_with_other_words_is_a_conflict_kept_apart():
    """I17."""
    door = Door()
    answers = door.knock(signed(), signed(room="8"))

    assert [one.status for one in answers] == [200, 200]
    assert (door.told[1], door.log.head()) == (("conflict", 0), 0)
    assert [one.code for one in door.log.refused] == ["conflict"]
    assert door.alarms.counts == {AlarmKind.ID_CONFLICT: 1}


def test_a_flood_of_conflicts_is_one_alarm_with_a_count():
    """I17: whoever sends them again and again fills neither the list nor the disk."""
    door = Door()
    door.knock(signed(), *[signed(room=str(number)) for number in range(10, 510)])

    asyncio.run(door.alarms.flush())

    assert [(one.kind, one.count) for one in door.log.alarms] == [(AlarmKind.ID_CONFLICT, 500)]


def new_words(*names: str) -> list[Request]:
    """Unsigned joins with a parameter that no page lists."""
    base = "http://hub.test/in?event=join&room_id=9&user_id=1&event_type=normal&trace_id="
    return [Request(method="GET", url=f"{base}{name}&{name}=1") for name in names]


def test_drift_is_one_alarm_for_each_source_and_name_and_bounded():
    """I15: a name that comes again is counted, and many names of a hostile sender end as one alarm."""
    door = Door(keys=())
    door.knock(*new_words("mood", "mood", "hat"))
    asyncio.run(door.alarms.flush())
    assert [(one.kind, one.what, one.count) for one in door.log.alarms] == [
        (AlarmKind.UNKNOWN_FIELD, "mood", 2),
        (AlarmKind.UNKNOWN_FIELD, "hat", 1),
    ]

    door.knock(*new_words(*[f"n{number}" for number in range(700)]))
    asyncio.run(door.alarms.flush())

    assert len(door.log.alarms) <= ROWS_A_WINDOW + 1
    assert sum(one.count for one in door.log.alarms) == 703
    assert door.log.head() == 701  # all are stored


def test_what_is_refused_raises_no_drift_alarm():
    """A stranger's words are no news."""
    door = Door()
    door.knock(*new_words("mood"))

    assert door.alarms.counts == {}


class Slow:
    """A log that takes its time, and remembers what was stored when the answer was given."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.stored: list[Receipt] = []
        self.quarantined: list[str] = []

    async def append(self, receipt: Receipt, events: Sequence[Event]) -> Appended:
        await self.release.wait()
        self.stored.append(receipt)
        return Appended(ids=("ev_1",))

    async def quarantine(self, receipt: Receipt, code: str, message: str) -> None:
        self.quarantined.append(code)


def test_nothing_is_acknowledged_before_the_append_returned():
    async def scenario() -> None:
        log = Slow()
        door = Door(log)
        answer = asyncio.ensure_future(door.take(signed()))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not answer.done()
        log.release.set()
        assert (await answer).status == 200
        assert len(log.stored) == 1

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_over_its_budget_the_vendor_is_told_to_come_back():
    async def scenario() -> tuple[Response, Door]:
        door = Door(Slow(), ack_budget=timedelta(milliseconds=5))
        return await door.take(signed()), door

    answer, door = asyncio.run(asyncio.wait_for(scenario(), 30))

    assert (answer.status, answer.header("retry-after"), door.told) == (503, "1", [("over_budget", 0)])
    assert door.alarms.counts == {AlarmKind.OVER_BUDGET: 1}


def test_a_cancelled_request_is_not_taken_for_a_slow_one():
    async def scenario() -> None:
        task = asyncio.ensure_future(within(30, asyncio.sleep(60)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_a_store_that_fails_is_never_acknowledged():
    door = Door()
    door.log.failing = "the disk is full"
    (answer,) = door.knock(signed())

    assert (answer.status, answer.header("retry-after"), door.told) == (503, "1", [("store_failed", 0)])


# --- refused ---------------------------------------------------------------------------------------------------------


def test_a_wrong_signature_is_not_in_the_log_and_sampled_within_limits():
    door = Door()
    answers = door.knock(*[signed(trace=f"t{number}", code="0" * 64) for number in range(SAMPLES_A_MINUTE + 30)])

    assert {one.status for one in answers} == {403}
    assert (door.log.head(), len(door.log.receipts)) == (-1, 0)
    assert [one.code for one in door.log.refused] == ["signature"] * SAMPLES_A_MINUTE
    door.clock.advance(60)
    door.knock(signed(code="0" * 64))
    assert len(door.log.refused) == SAMPLES_A_MINUTE + 1


def test_a_source_whose_keys_have_expired_takes_nothing():
    clock = FakeClock()
    door = Door(keys=(Key(secret=SECRET, valid_until=clock.now()),))
    (answer,) = door.knock(signed())

    assert (answer.status, door.log.head(), door.told) == (403, -1, [("signature", 0)])


@pytest.mark.parametrize("failing", [None, "the disk is full"])
def test_what_cannot_be_read_is_quarantined(failing: str | None):
    door = Door(keys=())
    door.log.failing = failing
    (answer,) = door.knock(Request(method="GET", url="http://hub.test/in?event=join&room_id=%zz"))

    assert (answer.status, door.told, door.log.head()) == (400, [("malformed", 0)], -1)
    assert [one.code for one in door.log.refused] == ([] if failing else ["malformed"])
    assert door.alarms.counts == {AlarmKind.NOT_DECODABLE: 1}


class Scripted(Dialect):
    """A wire that does what the test says."""

    name: ClassVar[str] = "scripted"

    def __init__(self, fault: Exception | None = None, *, where: str = "decode", events: Sequence[Event] = ()) -> None:
        self.fault = fault
        self.where = where
        self.events = events

    def verify(self, request: Request, keys: Sequence[Key], now: datetime, options: Options) -> Proof | Needs:
        if self.fault is not None and self.where == "verify":
            raise self.fault
        return Proof.NONE

    def decode(self, request: Request, options: Options) -> list[Event]:
        if self.fault is not None:
            raise self.fault
        return list(self.events)


def test_a_vendors_test_message_is_answered_and_not_stored():
    door = Door(dialect=Scripted())
    (answer,) = door.knock(Request(method="POST", url="http://hub.test/in"))

    assert (answer.status, door.told, door.log.head()) == (200, [("ping", 0)], -1)


@pytest.mark.parametrize("where", ["verify", "decode"])
def test_our_own_fault_keeps_the_request_and_asks_for_it_again(where: str):
    """I8: never a server error without a trace, and never an acknowledgement."""
    door = Door(dialect=Scripted(RecursionError("ours"), where=where))
    answers = door.knock(*[Request(method="POST", url="http://hub.test/in", body=b"odd")] * (SAMPLES_A_MINUTE + 5))

    assert {one.status for one in answers} == {503}
    assert [(one.code, one.receipt.request.body) for one in door.log.refused] == [("error", b"odd")] * SAMPLES_A_MINUTE
    assert b"ours" not in answers[0].body


def test_a_log_that_breaks_is_not_acknowledged():
    class Breaking(MemoryLog):
        async def append(self, receipt: Receipt, events: Sequence[Event]) -> Appended:
            raise OSError("ours")

    assert Door(Breaking()).knock(signed())[0].status == 503


# --- certificates ----------------------------------------------------------------------------------------------------


class Certified(Dialect):
    """A wire whose signature names where its certificate is: in a header."""

    name: ClassVar[str] = "certified"

    def verify(self, request: Request, keys: Sequence[Key], now: datetime, options: Options) -> Proof | Needs:
        url = request.header("certificate") or ""
        if not url.startswith("https://listed.test/"):
            raise SignatureError("the certificate is at a host that is not listed")
        found = next((key for key in keys if key.kind is KeyKind.CERTIFICATE and key.url == url), None)
        if found is None:
            return Needs(url=url)
        if found.secret != b"good":
            raise SignatureError("the signature does not match")
        return Proof.FRESH

    def decode(self, request: Request, options: Options) -> list[Event]:
        return [Event(type=EventType.ROOM_OPENED, dialect=self.name, room_id="r1")]


def naming(path: str, host: str = "listed.test") -> Request:
    return Request(method="POST", url="http://hub.test/in", headers=(("certificate", f"https://{host}/{path}"),))


def certified(usual: Any = None) -> Door:
    door = Door(dialect=Certified(), keys=())
    door.sender.usual = usual or Response(status=200, body=b"good")
    return door


def test_a_certificate_is_fetched_once_and_kept():
    door = certified()
    answers = door.knock(*[naming("a")] * 3, naming("b"))

    assert [one.status for one in answers] == [200] * 4
    assert [one.url for one in door.sender.sent] == ["https://listed.test/a", "https://listed.test/b"]
    assert {one.proof for one in door.log.receipts} == {Proof.FRESH}


def test_an_unlisted_host_is_refused_without_fetching():
    door = certified()

    assert (door.knock(naming("a", "listed.test.evil.test"))[0].status, door.sender.sent) == (403, [])


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Response(status=404), 403),
        (Response(status=503), 503),
        (Failure(kind=FailureKind.TIMEOUT, message="slow"), 503),
        (Failure(kind=FailureKind.BLOCKED, message="private"), 403),
    ],
)
def test_a_fetch_that_failed_is_not_repeated_for_a_minute(outcome: Response | Failure, status: int):
    """What we could not fetch is to be sent again; what is not there is no signature."""
    door = certified(outcome)
    answers = door.knock(*[naming("a")] * 5)
    assert ({one.status for one in answers}, len(door.sender.sent)) == ({status}, 1)
    assert door.log.head() == -1

    door.sender.usual = Response(status=200, body=b"good")
    door.clock.advance(NOT_ASKED_AGAIN)
    assert door.knock(naming("a"))[0].status == 200


def test_a_listed_host_can_be_asked_for_only_so_many_paths_a_minute():
    door = certified()
    answers = door.knock(naming("known"), *[naming(f"path{number}") for number in range(FETCHES_A_MINUTE + 20)])
    assert len(door.sender.sent) == FETCHES_A_MINUTE
    assert [one.status for one in answers] == [200] * FETCHES_A_MINUTE + [503] * 21
    assert door.knock(naming("known"))[0].status == 200

    door.clock.advance(60)
    assert door.knock(naming("another"))[0].status == 200


def test_one_sources_paths_cost_another_nothing():
    door = certified()
    door.knock(*[naming(f"path{number}") for number in range(FETCHES_A_MINUTE + 1)])
    door.source = replace(door.source, id="src_2")

    assert door.knock(naming("path99"))[0].status == 200


def test_the_certificate_in_use_stays_however_many_are_named():
    door = certified()
    door.knock(naming("in use"))
    for number in range(CERTIFICATES_KEPT + FETCHES_A_MINUTE):
        door.knock(naming(f"path{number}"), naming("in use"))
        door.clock.advance(60)

    assert [one.url for one in door.sender.sent].count("https://listed.test/in use") == 1


def test_requests_that_need_the_same_certificate_share_one_fetch():
    class Waiting(FakeSender):
        async def send(self, request: Request, *, deadline: timedelta) -> Exchange:
            await asyncio.sleep(0)
            return await super().send(request, deadline=deadline)

    async def scenario(door: Door) -> list[Response]:
        return await asyncio.gather(*[door.take(naming("a")) for _ in range(8)])

    for outcome, status in ((Response(status=200, body=b"good"), 200), (Response(status=404), 403)):
        door = certified()
        door.sender = Waiting(door.clock, usual=outcome)
        door.stage = Ingest(door.log, door.sender, door.clock, lambda *_: None, door.alarms)
        answers = asyncio.run(asyncio.wait_for(scenario(door), 30))
        assert ({one.status for one in answers}, len(door.sender.sent)) == ({status}, 1)


def test_a_fetch_that_outlasts_the_budget_serves_the_next_try():
    class Slowly(FakeSender):
        async def send(self, request: Request, *, deadline: timedelta) -> Exchange:
            await released.wait()
            return await super().send(request, deadline=deadline)

    async def scenario() -> list[int]:
        door.source = replace(door.source, ack_budget=timedelta(milliseconds=5))
        first = await door.take(naming("a"))
        released.set()
        for _ in range(5):
            await asyncio.sleep(0)
        return [first.status, (await door.take(naming("a"))).status]

    released, door = asyncio.Event(), certified()
    door.sender = Slowly(door.clock, usual=Response(status=200, body=b"good"))
    door.stage = Ingest(door.log, door.sender, door.clock, lambda *_: None, door.alarms)

    assert asyncio.run(asyncio.wait_for(scenario(), 30)) == [503, 200]
    assert len(door.sender.sent) == 1


def test_a_certificate_that_does_not_help_is_a_wrong_signature():
    door = certified(Response(status=200, body=b"bad"))

    assert door.knock(naming("a"))[0].status == 403


def test_errors_of_the_store_while_refusing_do_not_hide_the_refusal():
    class Full(MemoryLog):
        async def quarantine(self, receipt: Receipt, code: str, message: str) -> None:
            raise StoreFailed("the disk is full")

    door = Door(Full(), dialect=Scripted(DecodeError("not ours")), keys=())

    assert door.knock(Request(method="POST", url="http://hub.test/in"))[0].status == 400


# --- ids too long to be a name ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_an_id_too_long_is_refused_and_the_request_kept(name: str):
    """It would become a key of rooms and indexes, many times over; nothing is cut, and nothing lost."""
    long = Event(type=EventType.UNKNOWN, dialect="scripted", **{name: "é" * 513})
    door = Door(dialect=Scripted(events=[Event(type=EventType.UNKNOWN, dialect="scripted"), long]), keys=())
    request = Request(method="POST", url="http://hub.test/in", body=b"{}")
    (answer,) = door.knock(request)
    (kept,) = door.log.refused

    assert (answer.status, b"has 1026 bytes; ids of at most 1024 bytes are taken" in answer.body) == (400, True)
    assert (kept.receipt.request, kept.code, door.log.head()) == (request, "malformed", -1)
    assert door.alarms.counts == {AlarmKind.NOT_DECODABLE: 1}


def test_the_refusal_of_a_long_id_is_in_the_vendors_style():
    door = Door()
    request = signed(room="9" * 1025)
    (answer,) = door.knock(request)

    assert answer == AVD.ack(request, DecodeError(door.log.refused[0].message))


def test_the_longest_id_is_taken_as_it_is():
    room = "é" * 512
    long = Event(type=EventType.UNKNOWN, dialect="scripted", room_id=room)
    door = Door(dialect=Scripted(events=[long]), keys=())
    door.knock(Request(method="POST", url="http://hub.test/in"))

    assert [one.event.room_id for one in door.log.read(-1, 9)] == [room]
