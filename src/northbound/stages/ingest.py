"""Take a callback in: verify, store, answer. Nothing else happens before the vendor has its answer."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
import structlog

from northbound.dialects.base import Dialect
from northbound.logic.entry import check_identifiers
from northbound.model.alarm import AlarmKind
from northbound.model.app import Source
from northbound.model.delivery import Failure, FailureKind
from northbound.model.errors import DecodeError, HubError, Overloaded, SignatureError, StoreFailed
from northbound.model.event import Event
from northbound.model.log import Appended, Receipt
from northbound.model.wire import Key, KeyKind, Needs, Proof, Request, Response
from northbound.ports import Clock, EventLog, Sender
from northbound.stages.alarms import Alarms
from northbound.stages.watch import Watch

CERTIFICATES_KEPT = 100  # per source: fetched certificates, and addresses where there was none
FETCHES_A_MINUTE = 10  # certificate addresses asked per source: a listed host can be named with any path
NOT_ASKED_AGAIN = 60.0  # seconds after a fetch that failed
SAMPLES_A_MINUTE = 20  # refused requests kept per source and error code, and lines of the log for others
FETCH_DEADLINE = timedelta(seconds=2)
log = structlog.get_logger()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one request, for counting: the answer and the word for how it ended."""

    response: Response
    result: str  # stored, duplicate, ping, or an error code
    events: int = 0


class Ingest:
    """The stage: one instance for all sources of the process."""

    def __init__(
        self,
        log_: EventLog,
        sender: Sender,
        clock: Clock,
        on_outcome: Callable[[Source, str, int], None],
        alarms: Alarms,
    ) -> None:
        self._log = log_
        self._sender = sender
        self._clock = clock
        self._on_outcome = on_outcome
        self._alarms = alarms
        self._watch = Watch(alarms, clock)
        self._certificates: dict[str, Certificates] = {}  # by source, so that none crowds out another's
        self._samples: dict[tuple[str, str], tuple[int, int]] = {}  # (source, code) -> (minute, taken in it)

    async def step(self, request: Request, source: Source, dialect: Dialect) -> Response:
        """Answer one request of *source*; the answer is sent only after what it promises is on disk (ruling 5)."""
        budget = source.ack_budget.total_seconds()
        try:
            outcome = await within(budget, self._take(request, source, dialect))
        except TimeoutError:
            error = Overloaded(f"not stored within {budget:g} s; send it again")
            self._raise(source, AlarmKind.OVER_BUDGET, budget=f"{budget:g} s")
            outcome = Outcome(response=dialect.ack(request, error), result="over_budget")
        except Exception as fault:
            log.exception("intake.broken", source=source.id, fault=type(fault).__name__)
            outcome = await self._broken(request, source, dialect)
        self._on_outcome(source, outcome.result, outcome.events)
        if outcome.response.status != 503:
            return outcome.response
        return msgspec.structs.replace(outcome.response, headers=(*outcome.response.headers, ("retry-after", "1")))

    async def _take(self, request: Request, source: Source, dialect: Dialect) -> Outcome:
        now = self._clock.now()
        proof = Proof.NONE
        try:
            proof = await self._verified(request, source, dialect, now)
            events = dialect.decode(request, source.options)
            for event in events:
                check_identifiers(event)
            if not events:
                return Outcome(response=dialect.ack(request, None), result="ping")
            receipt = Receipt(source_id=source.id, received_at=now, request=request, proof=proof)
            stored = await self._log.append(receipt, events)
        except (SignatureError, DecodeError) as error:
            if isinstance(error, DecodeError) and (proof is not Proof.NONE or not source.keys):
                self._raise(source, AlarmKind.NOT_DECODABLE, reason=error.message)
            await self._refuse(Receipt(source_id=source.id, received_at=now, request=request, proof=proof), error)
            return Outcome(response=dialect.ack(request, error), result=error.code)
        except HubError as error:
            log.warning("intake.not_stored", source=source.id, code=error.code, reason=error.message)
            return Outcome(response=dialect.ack(request, error), result=error.code)
        self._watch.look(request, source, dialect, proof, events)
        if stored.conflicts:
            if self._may_sample(receipt, "conflict"):
                log.error("intake.conflict", source=source.id, count=stored.conflicts)
            self._raise(source, AlarmKind.ID_CONFLICT)
            return Outcome(response=dialect.ack(request, None), result="conflict", events=len(stored.ids))
        result = "stored" if stored.ids else "duplicate"
        return Outcome(response=dialect.ack(request, None), result=result, events=len(stored.ids))

    async def put(self, receipt: Receipt, events: Sequence[Event], source: Source) -> Appended:
        """Store events that came by another door than a callback; raise `StoreFailed` when nothing was stored."""
        try:
            stored = await self._log.append(receipt, events)
        except HubError as error:
            log.warning("intake.not_put", source=source.id, code=error.code, reason=error.message)
            self._on_outcome(source, error.code, 0)
            raise StoreFailed(error.message) from None
        if stored.conflicts:
            self._raise(source, AlarmKind.ID_CONFLICT)
        result = "conflict" if stored.conflicts else "stored" if stored.ids else "duplicate"
        self._on_outcome(source, result, len(stored.ids))
        return stored

    def _raise(self, source: Source, kind: AlarmKind, **facts: str) -> None:
        self._alarms.raise_alarm(kind, app_id=source.app_id, source_id=source.id, facts=facts)

    async def _broken(self, request: Request, source: Source, dialect: Dialect) -> Outcome:
        """Keep what our own fault could not take in, and have the vendor send it again."""
        error = HubError("northbound could not read this; it is kept for its makers")
        receipt = Receipt(source_id=source.id, received_at=self._clock.now(), request=request, proof=Proof.NONE)
        if self._may_sample(receipt, error.code):
            await self._keep(receipt, error)
        return Outcome(response=dialect.ack(request, error), result=error.code)

    async def _refuse(self, receipt: Receipt, error: HubError) -> None:
        """Keep a bounded sample; a verified request that cannot be read raises an alarm."""
        is_sample = self._may_sample(receipt, error.code)
        if isinstance(error, DecodeError):
            if is_sample:
                proof = receipt.proof.value
                log.error("intake.not_decodable", source=receipt.source_id, proof=proof, reason=error.message)
        elif not is_sample:
            return
        await self._keep(receipt, error)

    async def _keep(self, receipt: Receipt, error: HubError) -> None:
        try:
            await self._log.quarantine(receipt, error.code, error.message)
        except (StoreFailed, Overloaded) as full:
            log.warning("intake.quarantine_full", source=receipt.source_id, reason=full.message)

    def _may_sample(self, receipt: Receipt, code: str) -> bool:
        """Let a stranger cost us a few rows a minute, not one a request."""
        minute = int(receipt.received_at.timestamp() // 60)
        known_minute, taken = self._samples.get((receipt.source_id, code), (minute, 0))
        taken = taken if known_minute == minute else 0
        self._samples[receipt.source_id, code] = (minute, taken + 1)
        return taken < SAMPLES_A_MINUTE

    async def _verified(self, request: Request, source: Source, dialect: Dialect, now: datetime) -> Proof:
        keys = [key for key in source.keys if key.is_valid(now)]
        if source.keys and not keys:
            raise SignatureError("every key of this source has expired; add a valid one")
        proof = dialect.verify(request, keys, now, source.options)
        if not isinstance(proof, Needs):
            return proof
        if source.id not in self._certificates:
            self._certificates[source.id] = Certificates(self._sender, self._clock)
        fetched = await self._certificates[source.id].key_at(proof.url)
        proof = dialect.verify(request, [*keys, fetched], now, source.options)
        if isinstance(proof, Needs):
            raise SignatureError("the signature needs a certificate that could not be had")
        return proof


class Certificates:
    """What one source's signatures named: fetched through the guarded sender, once, at a bounded pace, and kept."""

    def __init__(self, sender: Sender, clock: Clock) -> None:
        self._sender = sender
        self._clock = clock
        self._known: OrderedDict[str, Key] = OrderedDict()  # the one used longest ago first
        self._failed: OrderedDict[str, tuple[float, HubError]] = OrderedDict()  # until when, and what went wrong
        self._asking: dict[str, asyncio.Future[Key]] = {}
        self._asked: deque[float] = deque()

    async def key_at(self, url: str) -> Key:
        """Return the certificate at *url*; raise `SignatureError` if there is none, `Overloaded` to be asked again."""
        if url in self._known:
            self._known.move_to_end(url)
            return self._known[url]
        now = self._clock.monotonic()
        until, error = self._failed.get(url, (0.0, None))
        if error is not None and now < until:
            raise type(error)(error.message)
        if url not in self._asking:
            self._allow(now)
            fetch = self._asking[url] = asyncio.ensure_future(self._fetch(url))
            fetch.add_done_callback(_look_at)
        return await asyncio.shield(self._asking[url])  # it goes on for the vendor's next try, within its deadline

    def _allow(self, now: float) -> None:
        while self._asked and self._asked[0] <= now - 60.0:
            self._asked.popleft()
        if len(self._asked) >= FETCHES_A_MINUTE:
            raise Overloaded("too many certificate addresses in a minute; send it again")
        self._asked.append(now)

    async def _fetch(self, url: str) -> Key:
        try:
            key = await self._fetched(url)
        except HubError as error:
            self._failed[url] = (self._clock.monotonic() + NOT_ASKED_AGAIN, error)
            _bound(self._failed)
            raise
        finally:
            del self._asking[url]
        self._known[url] = key
        _bound(self._known)
        return key

    async def _fetched(self, url: str) -> Key:
        exchange = await self._sender.send(Request(method="GET", url=url), deadline=FETCH_DEADLINE)
        outcome = exchange.outcome
        if isinstance(outcome, Failure) and outcome.kind is not FailureKind.BLOCKED:
            raise Overloaded(f"the signing certificate could not be fetched: {outcome.message}; send it again")
        if isinstance(outcome, Failure):
            raise SignatureError(f"the signing certificate could not be fetched: {outcome.message}")
        if outcome.status >= 500:
            raise Overloaded(f"the signing certificate's address answers {outcome.status}; send it again")
        if outcome.status != 200:
            raise SignatureError(f"the signing certificate could not be fetched: its address answers {outcome.status}")
        return Key(kind=KeyKind.CERTIFICATE, secret=outcome.body, url=url)


def _look_at(fetch: asyncio.Future[Key]) -> None:
    if not fetch.cancelled():
        fetch.exception()  # told to whoever still waits; nobody may


def _bound(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > CERTIFICATES_KEPT:
        kept.popitem(last=False)


Result = TypeVar("Result")


async def within(seconds: float, work: Awaitable[Result]) -> Result:
    """Await *work* in this task; raise `TimeoutError` and end it after *seconds*.

    What `asyncio.timeout` does, at half its cost: every request comes by here.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - coroutines run in tasks
    before, is_late = task.cancelling(), False

    def end() -> None:
        nonlocal is_late
        is_late = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, end)
    try:
        return await work
    except asyncio.CancelledError:
        if is_late and task.uncancel() <= before:
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
