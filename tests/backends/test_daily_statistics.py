"""Each account's day, told once at its midnight on a virtual clock, whatever fails meanwhile (ruling 15, R15)."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from northbound.backends.memory import MemoryLog
from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.statistics import SqliteStatisticView
from northbound.dialects import all_dialects
from northbound.logic.daily import GRACE, counted_accounts
from northbound.logic.route import build_table
from northbound.model.account import Account, Bus
from northbound.model.app import Registry
from northbound.model.delivery import Delivery
from northbound.model.errors import StoreFailed
from northbound.model.event import Counts, Event, EventType
from northbound.model.log import Logged, Origin, Receipt
from northbound.model.wire import Proof, Request
from northbound.stages.follow import Follow
from northbound.stages.statistics import Statistics
from northbound.testing.fakes import FakeClock, app, endpoint, event, source, subscription

T = EventType
ACCOUNT = "1234567890123456"
START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)  # 09:00 in Shanghai
MIDNIGHT = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)
DAY = timedelta(days=1)
STATISTIC = '{"type":["aliyuncvc:MeetingEvent:MeetingStatistic"]}'


class Hub:
    """An account with two apps of other vendors, a rule for its statistic, and the stages; `torn` names what fails."""

    def __init__(self, path: Path, **fields: Any) -> None:
        self.clock = FakeClock(START)
        self.path = path
        self.log = MemoryLog()
        self.torn = ""
        self.store = SqliteDeliveries(path)
        self.view = SqliteStatisticView(path)
        self.routed: list[Delivery] = []
        given: dict[str, Any] = {"meeting_push": True, "meeting_push_since": START, **fields}
        self.set_up(Account(id=ACCOUNT, name="c", created_at=START, app_id="app_own", **given))
        self.stage = self.begun()

    def close(self) -> None:
        self.view.close()
        self.store.close()

    def set_up(self, account: Account) -> None:
        self.account = account
        registry = Registry(
            apps=(
                app("app_1", account_id=ACCOUNT),
                app("app_2", account_id=ACCOUNT),
                app("app_own", account_id=ACCOUNT),
            ),
            sources=(
                source("src_1"),
                source("src_2", app_id="app_2"),
                source("src_bus", app_id="app_own", dialect="aliyun_cvc"),
            ),
            endpoints=(endpoint(dialect="aliyun_cvc", app_id="app_own"),),
            subscriptions=(subscription(app_id="app_own", bus_id="bus_1", view="aliyun_cvc", pattern=STATISTIC),),
            accounts=(account,),
            buses=(Bus(id="bus_1", account_id=ACCOUNT, name="default", source_id="src_bus", created_at=START),),
        )
        self.table = build_table(registry)
        self.counted = counted_accounts(registry)

    def begun(self) -> Statistics:
        """Begin as a new process does."""
        return Statistics(self, self.view, self.log, lambda: self.counted, self.conclude, self.clock)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def stored(self, statistics: Sequence[Any]) -> None:
        if self.torn == "stored":
            raise StoreFailed("died before it was noted")
        self.store.stored(statistics)

    async def conclude(self, entries: Sequence[Logged]) -> int:
        if self.torn == "conclude":
            raise StoreFailed("the log is away")
        return await self.log.conclude(entries)

    async def came(self, *events: Event, to: str = "src_1") -> None:
        """Receive *events*."""
        for place, one in enumerate(events):
            request = Request(method="POST", url="http://hub.test/in", body=b"%d" % place)
            receipt = Receipt(source_id=to, received_at=self.clock.now(), request=request, proof=Proof.NONE)
            await self.log.append(receipt, [one])

    async def follow(self) -> None:
        stage = Follow(
            self.log,
            self.store,
            all_dialects(),
            lambda: self.table,
            self.log.conclude,
            lambda _, new: self.routed.extend(new),
        )
        while await stage.step(512):
            pass

    async def at(self, moment: datetime) -> None:
        """Let it be *moment*, everything received be folded, and the stage look."""
        self.clock.advance((moment - self.clock.now()).total_seconds())
        await self.follow()
        await self.stage.step()
        await self.follow()

    @property
    def told(self) -> list[tuple[str, Counts | None]]:
        """What the log has of statistics: their ids and figures."""
        entries = [one for one in self.log.read(-1, 1000) if one.event.type is T.STATS_DAILY]
        assert {one.origin for one in entries} <= {Origin.SYNTHETIC}
        return [(one.id, one.event.facts.counts) for one in entries]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path / "deliveries.db")
    yield hub
    hub.close()


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


def shanghai(clock: str, day: int = 2) -> datetime:
    """Return a time of day in Shanghai, on a day of March 2026."""
    hours, minutes = map(int, clock.split(":"))
    return datetime(2026, 3, day, hours, minutes, tzinfo=UTC) - timedelta(hours=8)


def meeting(room: str, begin: datetime, end: datetime | None, *people: str) -> list[Event]:
    found = [event(T.ROOM_OPENED, room=room, when=begin)]
    found += [event(T.PARTICIPANT_JOINED, one, room=room, when=begin) for one in people]
    if end is not None:
        found += [event(T.PARTICIPANT_LEFT, one, room=room, when=end) for one in people]
        found.append(event(T.ROOM_CLOSED, room=room, when=end))
    return found


def name(day: int, number: int = 0) -> str:
    return f"st_{ACCOUNT}_2026-03-{day:02d}" + (f"_{number}" if number else "")


def test_a_day_is_told_at_the_accounts_midnight_over_all_its_apps(hub: Hub):
    """Two apps with two people each at the same time: a peak of four that neither app has alone."""

    async def scenario() -> None:
        await hub.came(*meeting("a", shanghai("10:00"), shanghai("11:00"), "ann", "bob"))
        await hub.came(*meeting("b", shanghai("10:30"), shanghai("10:45"), "cid", "ann"), to="src_2")
        await hub.at(MIDNIGHT + GRACE - timedelta(seconds=1))
        assert hub.told == []
        await hub.at(MIDNIGHT + GRACE)

    run(scenario())
    (sent,) = hub.routed
    words = msgspec.json.decode(sent.view.words)

    assert hub.told == [(name(2), Counts(meetings=2, seconds=75 * 60, members=3, peak=4))]
    assert (words["id"], words["type"]) == (name(2), "aliyuncvc:MeetingEvent:MeetingStatistic")
    assert words["subject"] == f"acs.aliyuncvc:cn-hangzhou:{ACCOUNT}"
    assert words["time"] == "2026-03-03 00:00:00.000000"
    assert msgspec.json.decode(words["data"]) == {
        "time": int(MIDNIGHT.timestamp() * 1000),
        "meetingCount": 2,
        "meetingTime": 4500,
        "meetingMember": 3,
        "meetingConcurrency": 4,
    }


def test_each_day_is_told_once_however_often_it_is_looked(hub: Hub):
    async def scenario() -> None:
        for hours in range(1, 80):
            await hub.at(START + timedelta(hours=hours))
        hub.stage = hub.begun()
        await hub.at(START + timedelta(hours=81))

    run(scenario())

    assert [one for one, _ in hub.told] == [name(2), name(3), name(4)]


def test_a_hub_that_was_down_over_midnights_loses_no_day(hub: Hub):
    async def scenario() -> None:
        await hub.came(*meeting("a", shanghai("10:00"), None, "ann"))
        await hub.follow()
        hub.stage = hub.begun()
        await hub.at(MIDNIGHT + 3 * DAY + GRACE)

    run(scenario())

    assert hub.told == [
        (name(2), Counts(meetings=1, seconds=14 * 3600, members=1, peak=1)),
        (name(3), Counts(meetings=0, seconds=24 * 3600, members=1, peak=1)),
        (name(4), Counts(meetings=0, seconds=24 * 3600, members=1, peak=1)),
        (name(5), Counts(meetings=0, seconds=24 * 3600, members=1, peak=1)),
    ]


def test_a_meeting_across_midnight_is_split(hub: Hub):
    async def scenario() -> None:
        await hub.came(*meeting("a", shanghai("23:30"), None, "ann", "bob"))
        await hub.at(MIDNIGHT + GRACE)
        hub.clock.advance(3600)
        await hub.came(event(T.PARTICIPANT_LEFT, "ann", room="a", when=shanghai("00:20", 3)))
        await hub.came(event(T.ROOM_CLOSED, room="a", when=shanghai("00:40", 3)))
        await hub.at(MIDNIGHT + DAY + GRACE)

    run(scenario())

    assert hub.told == [
        (name(2), Counts(meetings=1, seconds=30 * 60, members=2, peak=2)),
        (name(3), Counts(meetings=0, seconds=40 * 60, members=2, peak=2)),
    ]


def test_whoever_is_there_on_a_day_is_its_member_once_whether_they_come_go_or_stay(hub: Hub):
    """Ann, in two rooms, and bob stay over the day; cid comes to them, dan only tomorrow."""

    async def scenario() -> list[Any]:
        await hub.came(*meeting("a", shanghai("23:30"), None, "ann", "bob"))
        await hub.came(*meeting("b", shanghai("23:40"), None, "ann"), to="src_2")
        await hub.came(event(T.PARTICIPANT_JOINED, "cid", room="a", when=shanghai("10:00", 3)))
        hub.clock.advance((MIDNIGHT + DAY - START).total_seconds())
        await hub.came(event(T.PARTICIPANT_JOINED, "dan", room="a", when=shanghai("00:00", 4)))
        await hub.at(MIDNIGHT + DAY + GRACE)
        while_they_stay = await hub.stage.again("cmd_1", ACCOUNT, "2026-03-03")
        await hub.came(event(T.ROOM_CLOSED, room="a", when=shanghai("01:00", 4)))
        await hub.came(event(T.ROOM_CLOSED, room="b", when=shanghai("01:00", 4)), to="src_2")
        await hub.at(MIDNIGHT + 2 * DAY + GRACE)
        return [while_they_stay, await hub.stage.again("cmd_2", ACCOUNT, "2026-03-03")]

    answers = run(scenario())

    assert [(one, counts and counts.members) for one, counts in hub.told] == [(name(2), 2), (name(3), 3), (name(4), 4)]
    assert answers == [{"event_id": name(3), "told": False}] * 2


@pytest.mark.parametrize("torn", ["conclude", "stored"])
def test_a_death_at_midnight_neither_loses_nor_doubles_the_day(hub: Hub, torn: str):
    """Before the log has it, or after and before that is noted: the next process tells the very same one."""

    async def scenario() -> None:
        await hub.came(*meeting("a", shanghai("10:00"), shanghai("11:00"), "ann"))
        hub.torn = torn
        with pytest.raises(StoreFailed):
            await hub.at(MIDNIGHT + GRACE)
        hub.torn = ""
        await hub.came(*meeting("late", shanghai("12:00"), shanghai("13:00"), "bob"))
        hub.stage = hub.begun()
        await hub.at(MIDNIGHT + timedelta(minutes=5))
        await hub.at(MIDNIGHT + timedelta(minutes=6))

    run(scenario())

    assert hub.told == [(name(2), Counts(meetings=1, seconds=3600, members=1, peak=1))]
    assert len(hub.routed) == 1
    assert hub.store.unstored() == []


def test_a_day_is_not_told_before_all_that_was_received_of_it_is_counted(hub: Hub):
    async def scenario() -> None:
        hub.clock.advance((MIDNIGHT + GRACE - START).total_seconds())
        await hub.came(*meeting("a", shanghai("23:00"), shanghai("23:30"), "ann"))
        await hub.stage.step()
        assert hub.told == []
        await hub.follow()
        await hub.stage.step()

    run(scenario())

    assert hub.told == [(name(2), Counts(meetings=1, seconds=1800, members=1, peak=1))]


def test_nothing_is_told_while_the_switch_is_off(hub: Hub):
    async def scenario() -> None:
        hub.set_up(replace(hub.account, meeting_push=False, meeting_push_since=None))
        await hub.at(MIDNIGHT + DAY + GRACE)
        assert hub.told == []
        hub.set_up(replace(hub.account, meeting_push=True, meeting_push_since=hub.clock.now()))
        await hub.at(MIDNIGHT + 2 * DAY + GRACE)

    run(scenario())

    assert [one for one, _ in hub.told] == [name(4)]


def test_a_zone_of_its_own_and_people_counted_by_joins(hub: Hub):
    async def scenario() -> None:
        hub.set_up(replace(hub.account, time_zone="America/New_York", members="joins"))
        await hub.came(*meeting("a", shanghai("10:00"), shanghai("11:00"), "ann"))  # 21:00 of the 1st in New York
        await hub.came(*meeting("a", shanghai("13:30"), shanghai("14:00"), "ann"))  # 00:30 of the 2nd
        await hub.came(*meeting("a", shanghai("15:00"), shanghai("15:30"), "ann"))
        await hub.at(datetime(2026, 3, 3, 5, 0, 10, tzinfo=UTC))

    run(scenario())

    assert hub.told == [
        (name(1), Counts(meetings=1, seconds=3600, members=1, peak=1)),
        (name(2), Counts(meetings=2, seconds=3600, members=2, peak=1)),
    ]


# --- a past day again ------------------------------------------------------------------------------------------------


def test_late_events_are_a_correction_with_an_id_of_its_own(hub: Hub):
    """Those who came late to us were there at the same time: the peak of yesterday is another one by now."""

    async def scenario() -> list[Any]:
        await hub.came(*meeting("a", shanghai("10:00"), shanghai("11:00"), "ann", "bob"))
        await hub.at(MIDNIGHT + GRACE)
        first = await hub.stage.again("cmd_1", ACCOUNT, "2026-03-02")
        await hub.came(*meeting("b", shanghai("10:30"), shanghai("10:40"), "cid", "dan"), to="src_2")
        await hub.follow()
        second = await hub.stage.again("cmd_2", ACCOUNT, "2026-03-02")
        repeated = await hub.begun().again("cmd_2", ACCOUNT, "2026-03-02")
        third = await hub.stage.again("cmd_3", ACCOUNT, "2026-03-02")
        await hub.at(MIDNIGHT + timedelta(hours=1))
        return [first, second, repeated, third]

    answers = run(scenario())

    assert answers == [
        {"event_id": name(2), "told": False},
        {"event_id": name(2, 1), "told": True},
        {"event_id": name(2, 1), "told": True},
        {"event_id": name(2, 1), "told": False},
    ]
    assert hub.told == [
        (name(2), Counts(meetings=1, seconds=3600, members=2, peak=2)),
        (name(2, 1), Counts(meetings=2, seconds=4200, members=4, peak=4)),
    ]
    assert [one.event_id for one in hub.routed] == [name(2), name(2, 1)]


def test_a_correction_that_the_log_did_not_take_is_handed_over_later(hub: Hub):
    async def scenario() -> None:
        await hub.at(MIDNIGHT + GRACE)
        await hub.came(*meeting("a", shanghai("10:00"), shanghai("11:00"), "ann"))
        await hub.follow()
        hub.torn = "conclude"
        answer = await hub.stage.again("cmd_1", ACCOUNT, "2026-03-02")
        assert answer == {"event_id": name(2, 1), "told": True}
        hub.torn = ""
        hub.stage = hub.begun()
        await hub.at(MIDNIGHT + timedelta(hours=1))

    run(scenario())

    assert [one for one, _ in hub.told] == [name(2), name(2, 1)]


@pytest.mark.parametrize(
    ("account_id", "day", "code"),
    [(ACCOUNT, "2026-03-03", "invalid"), (ACCOUNT, "2026-03-01", "invalid"), ("other", "2026-03-02", "not_found")],
)
def test_what_cannot_be_told_is_answered_with_the_reason(hub: Hub, account_id: str, day: str, code: str):
    async def scenario() -> Any:
        await hub.at(MIDNIGHT + GRACE)
        return await hub.stage.again("cmd_1", account_id, day)

    answer = run(scenario())

    assert answer["error"] == code
    assert [one for one, _ in hub.told] == [name(2)]


def test_a_day_that_somebody_asked_for_first_is_not_told_again(hub: Hub):
    async def scenario() -> None:
        hub.clock.advance((MIDNIGHT + timedelta(seconds=5) - START).total_seconds())
        await hub.stage.again("cmd_1", ACCOUNT, "2026-03-02")
        await hub.at(MIDNIGHT + GRACE)

    run(scenario())

    assert [one for one, _ in hub.told] == [name(2)]
