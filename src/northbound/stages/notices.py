"""The second channel: each new alarm is also sent to one URL of the operator's, signed, until it is accepted (D15).

It has nothing to do with deliveries: one notice at a time, in a task of its own, and its own failures raise no alarm.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
import structlog

from northbound.dialects.base import Dialect
from northbound.model.alarm import Alarm
from northbound.model.app import Endpoint
from northbound.model.delivery import Exchange, Failure, View
from northbound.model.errors import HubError
from northbound.model.wire import Response
from northbound.ports import Clock, Entropy, Sender

PAGE = 50  # alarms read at once
DEADLINE = timedelta(seconds=10)
POLL = timedelta(seconds=2)
WAIT_LEAST = timedelta(seconds=5)  # after a refusal, doubled up to the most
WAIT_MOST = timedelta(minutes=5)
FRESH = timedelta(days=7)  # what was raised before is no news any more
SOURCE = "northbound/alarms"
TYPE = "northbound.alarm."
log = structlog.get_logger()


class NoticeStore(Protocol):
    """Which alarms the second channel does not have yet."""

    async def untold(self, since: datetime, limit: int) -> list[Alarm]:
        """Return alarms raised after *since* that were not told, oldest first, with their ids."""
        ...

    async def mark_told(self, ids: Sequence[str]) -> None:
        """Note that alarms were told; raise `StoreFailed`."""
        ...


class Notices:
    """The stage: `step` tells what is new; *to* is where, with the keys that sign and `standard` as its dialect."""

    def __init__(
        self,
        store: NoticeStore,
        sender: Sender,
        dialect: Dialect,
        to: Endpoint,
        clock: Clock,
        entropy: Entropy,
        *,
        wait_scale: float = 1.0,
    ) -> None:
        self._store = store
        self._sender = sender
        self._dialect = dialect
        self._to = to
        self._clock = clock
        self._entropy = entropy
        self._scale = wait_scale
        self._failures = 0

    async def step(self) -> int:
        """Tell what is new, oldest first, until one is not accepted; return how many were."""
        told = 0
        for one in await self._store.untold(self._clock.now() - FRESH, PAGE):
            outcome = await self._send(one)
            if not self._is_accepted(outcome):
                self._failures += 1
                log.warning("notice.refused", alarm=one.id, failures=self._failures, reason=_reason(outcome))
                break
            self._failures = 0
            await self._store.mark_told([one.id])
            told += 1
        return told

    def pause(self) -> timedelta:
        """Return how long to wait before the next step."""
        if not self._failures:
            return POLL
        return min(WAIT_LEAST * 2 ** min(self._failures - 1, 10), WAIT_MOST) * self._scale

    async def run(self) -> None:
        """Tell for ever; what cannot be stored or read now is tried again; other faults end it."""
        while True:
            try:
                told = await self.step()
            except HubError as error:
                log.warning("notice.not_sent", reason=error.message)
                told = 0
            await asyncio.sleep(0 if told == PAGE else self.pause().total_seconds())

    async def _send(self, one: Alarm) -> Exchange:
        request = self._dialect.encode([View(words=notice(one))], self._to)
        signed = self._dialect.sign(request, self._to, self._clock.now(), self._entropy.bytes(32))
        return await self._sender.send(signed, deadline=DEADLINE)

    def _is_accepted(self, exchange: Exchange) -> bool:
        outcome = exchange.outcome
        return isinstance(outcome, Response) and self._dialect.judge(exchange.request, outcome).accepted


def notice(one: Alarm) -> msgspec.Raw:
    """Return an alarm as a CloudEvent; its id is the same however often it is sent."""
    words = {
        "specversion": "1.0",
        "id": f"{one.id}-{int(one.first_at.timestamp())}",
        "source": SOURCE,
        "type": f"{TYPE}{one.kind.value}",
        "subject": one.endpoint_id or one.source_id or one.app_id or "",
        "time": one.first_at,
        "datacontenttype": "application/json",
        "data": {
            "kind": one.kind.value,
            "app_id": one.app_id,
            "source_id": one.source_id,
            "endpoint_id": one.endpoint_id,
            "room_id": one.room_id,
            "what": one.what,
            "en": one.en,
            "zh": one.zh,
            "first_at": one.first_at,
            "last_at": one.last_at,
            "count": one.count,
        },
    }
    return msgspec.Raw(msgspec.json.encode(words))


def _reason(exchange: Exchange) -> str:
    outcome = exchange.outcome
    if isinstance(outcome, Failure):
        return f"{outcome.kind.value}: {outcome.message}"
    return f"the answer is {outcome.status}"
