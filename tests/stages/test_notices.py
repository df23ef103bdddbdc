"""The second channel: each alarm until it is accepted, signed, never about itself (D15)."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from northbound.backends.sqlite.deliveries import SqliteDeliveries
from northbound.backends.sqlite.log import SqliteLog
from northbound.dialects import all_dialects
from northbound.model.alarm import Alarm, AlarmKind
from northbound.model.delivery import Failure, FailureKind
from northbound.model.wire import Key, Proof, Request, Response
from northbound.stages.notices import FRESH, POLL, WAIT_LEAST, WAIT_MOST, Notices
from northbound.testing.fakes import NOW, OK, FakeClock, FakeEntropy, FakeSender, endpoint

STANDARD = all_dialects()["standard"]
KEY = Key(secret=b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
TO = endpoint("notices", keys=(KEY,))


class Channel:
    """The stage on one of the two databases that hold alarms."""

    def __init__(self, store: SqliteDeliveries | SqliteLog) -> None:
        self.store = store
        self.clock = FakeClock()
        self.sender = FakeSender(self.clock)
        self.stage = self.start()

    def start(self) -> Notices:
        return Notices(self.store, self.sender, STANDARD, TO, self.clock, FakeEntropy())

    async def raised(self, *endpoints: str, at=NOW) -> None:
        alarms = [
            Alarm(kind=AlarmKind.ENDPOINT_STOPPED, first_at=at, last_at=at, app_id="app_1", endpoint_id=one)
            for one in endpoints
        ]
        await self.store.raise_alarms(alarms)

    def told(self) -> list[str]:
        return [msgspec.json.decode(one.body)["data"]["endpoint_id"] for one in self.sender.sent]


@pytest.fixture(params=["deliveries", "events"])
def channel(request: pytest.FixtureRequest, tmp_path):
    path = tmp_path / f"{request.param}.db"
    store = SqliteDeliveries(path) if request.param == "deliveries" else SqliteLog(path)
    yield Channel(store)
    store.close()


def test_each_alarm_is_told_once_it_is_accepted(channel: Channel):
    """In order, and the one that was refused again first, after a wait; also by the next process."""

    async def scenario() -> list[int]:
        await channel.raised("ep_1", "ep_2", "ep_3")
        channel.sender.usual = Response(status=503)
        refused = await channel.stage.step()
        channel.sender.usual = OK
        channel.stage = channel.start()
        accepted = await channel.stage.step()
        await channel.raised("ep_2")  # counted on: no news
        return [refused, accepted, await channel.stage.step()]

    assert asyncio.run(scenario()) == [0, 3, 0]
    assert channel.told() == ["ep_1", "ep_1", "ep_2", "ep_3"]
    first, again = channel.sender.sent[:2]
    assert first.header("webhook-id") == again.header("webhook-id")


def test_a_notice_is_signed_and_a_cloud_event(channel: Channel):
    async def scenario() -> Request:
        await channel.raised("ep_1")
        await channel.stage.step()
        return channel.sender.sent[0]

    request = asyncio.run(scenario())
    words = msgspec.json.decode(request.body)

    assert STANDARD.verify(request, [KEY], channel.clock.now(), {}) is Proof.FRESH
    assert (words["type"], words["subject"]) == ("northbound.alarm.endpoint_stopped", "ep_1")
    assert words["data"]["zh"].startswith("端点 ep_1")


def test_a_channel_that_fails_is_left_in_peace(channel: Channel):
    """The waits grow to a bound; a failure raises no alarm, so that it is never about itself."""
    channel.sender.usual = Failure(kind=FailureKind.CONNECT, message="refused")

    async def scenario() -> list[timedelta]:
        await channel.raised("ep_1")
        waits = [channel.stage.pause()]
        for _ in range(12):
            await channel.stage.step()
            waits.append(channel.stage.pause())
        return waits

    waits = asyncio.run(scenario())

    assert waits[:3] == [POLL, WAIT_LEAST, WAIT_LEAST * 2]
    assert waits[-1] == WAIT_MOST
    assert set(channel.told()) == {"ep_1"}


def test_what_is_old_is_no_news(channel: Channel):
    """A channel that is set up later is not told of long ago."""

    async def scenario() -> int:
        await channel.raised("ep_1")
        channel.clock.advance(FRESH.total_seconds() + 1)
        await channel.raised("ep_2", at=channel.clock.now())
        return await channel.stage.step()

    assert asyncio.run(scenario()) == 1
    assert channel.told() == ["ep_2"]
