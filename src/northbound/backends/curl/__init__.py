"""The one guarded way out: HTTP requests through libcurl, many at once, from one thread's event loop.

The whole exchange has one deadline, the answer a size cap; redirects are answers of their own and never followed;
compressed answers stay packed. Every address is judged when a connection is opened and when one is used again.
A kept-alive connection that its peer has closed costs nothing: the request goes out once more on a fresh one.
"""

import asyncio
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import pycurl

from northbound.backends.curl.drive import MultiDriver
from northbound.backends.curl.egress import Egress, Unresolved, target_of
from northbound.backends.curl.failures import explain
from northbound.backends.curl.guard import Guard
from northbound.backends.curl.slot import Job, Slot
from northbound.backends.curl.wire import HeaderReader, header_lines
from northbound.logic.addresses import AllowList
from northbound.model.delivery import Exchange, Failure, FailureKind
from northbound.model.errors import BlockedAddress, InvalidInput
from northbound.model.wire import Request, Response
from northbound.ports import Clock

REPLY_CAP: Final = 65_536
CLOSE_SECONDS: Final = 1.0  # closing takes milliseconds unless a name server hangs; then it ends by itself
# What libcurl reports when a kept-alive connection turns out to be dead.
DEAD_CONNECTION: Final = frozenset({pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR})


class CurlSender:
    """Sends requests; at most *max_connections* at once, and *max_in_flight* accepted and not yet answered."""

    def __init__(
        self,
        *,
        allow: AllowList,
        max_connections: int = 256,
        max_in_flight: int = 512,
        proxy: str | None = None,
        ca_file: str | None = None,
        reply_cap: int = REPLY_CAP,
        hosts: Mapping[tuple[str, int], str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._guard = Guard(allow)
        self._hosts = dict(hosts or {})
        self._egress = None if proxy is None else Egress(proxy, self._guard, self._hosts)
        self._max_connections = max_connections
        self._max_in_flight = max_in_flight
        self._ca_file = ca_file or ssl.get_default_verify_paths().cafile
        self._reply_cap = reply_cap
        self._clock = clock
        self._reader = HeaderReader()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, max_connections)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, max_connections)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: MultiDriver | None = None
        self._slots: dict[pycurl.Curl, Slot] = {}
        self._idle: list[Slot] = []
        self._waiting: deque[Job] = deque()
        self._jobs: set[Job] = set()
        self._look_ups: dict[Job, asyncio.Task[None]] = {}
        self._is_closed = False

    @property
    def allow(self) -> AllowList:
        """The allow-list in force; a new one also judges the connections that are already open."""
        return self._guard.allow

    @allow.setter
    def allow(self, allow: AllowList) -> None:
        self._guard.allow = allow

    @property
    def in_flight(self) -> int:
        """How many requests are accepted and not yet answered."""
        return len(self._jobs)

    def submit(
        self,
        request: Request,
        *,
        deadline: timedelta,
        on_done: Callable[[Exchange], None],
        tag: str = "",
        ca_pem: bytes | None = None,
    ) -> None:
        """Send *request*; call *on_done* in the loop's thread with how it ended, whatever happens.

        *ca_pem* stands instead of the public certificate authorities; *tag* names the request for `cancel`.
        """
        self._accept(request, deadline=deadline, on_done=on_done, tag=tag, ca_pem=ca_pem)

    async def send(
        self, request: Request, *, deadline: timedelta, tag: str = "", ca_pem: bytes | None = None
    ) -> Exchange:
        """Send *request* and return how it ended; being cancelled closes the connection at once."""
        future: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()

        def tell(exchange: Exchange) -> None:
            if not future.done():
                future.set_result(exchange)

        job = self._accept(request, deadline=deadline, on_done=tell, tag=tag, ca_pem=ca_pem)
        try:
            return await future
        except asyncio.CancelledError:
            if not job.is_over:
                self._cancel(job)
            raise

    def cancel(self, tag: str) -> int:
        """End all requests with *tag* as cancelled, and return how many there were."""
        jobs = [job for job in self._jobs if job.tag == tag]
        for job in jobs:
            self._cancel(job)
        return len(jobs)

    async def close(self) -> None:
        """End what is in flight as cancelled, close all connections; whatever is submitted later is cancelled too."""
        if self._is_closed:
            return
        self._is_closed = True
        look_ups = list(self._look_ups.values())
        for job in list(self._jobs):
            self._cancel(job)
        await asyncio.gather(*look_ups, return_exceptions=True)
        if self._driver is not None:
            self._driver.close()
        # libcurl waits for look-ups that still run in its threads, which cannot be broken off: not in this thread.
        closing = threading.Thread(target=self._close_handles, name="curl-close", daemon=True)
        closing.start()
        patience = time.monotonic() + CLOSE_SECONDS
        while True:
            await asyncio.sleep(0)  # the callers hear of it before this returns
            if not closing.is_alive() or time.monotonic() > patience:
                return
            await asyncio.sleep(0.005)

    # --- a request's way: accepted, perhaps looked up, perhaps waiting, started, settled, finished ---

    def _accept(
        self,
        request: Request,
        *,
        deadline: timedelta,
        on_done: Callable[[Exchange], None],
        tag: str,
        ca_pem: bytes | None,
    ) -> Job:
        job = Job(
            request=request,
            on_done=on_done,
            deadline=deadline.total_seconds(),
            tag=tag,
            ca_pem=ca_pem or None,
            started=time.monotonic(),
        )
        refusal = self._refusal()
        if refusal is not None:
            self._finish(job, Failure(kind=FailureKind.CANCELLED, message=refusal, chargeable=False))
            return job
        self._jobs.add(job)
        try:
            self._guard.check_url(request.url)
            job.lines = header_lines(request)
        except BlockedAddress as error:
            self._finish(job, Failure(kind=FailureKind.BLOCKED, message=error.message))
        except InvalidInput as error:
            kind = FailureKind.INVALID_URL if error.field == "url" else FailureKind.PROTOCOL
            self._finish(job, Failure(kind=kind, message=error.message))
        else:
            self._dispatch(job)
        return job

    def _refusal(self) -> str | None:
        if self._is_closed:
            return "cancelled: the sender is closed"
        if len(self._jobs) >= self._max_in_flight:
            return f"cancelled: {self._max_in_flight} requests are in flight already"
        return None

    def _dispatch(self, job: Job) -> None:
        if self._egress is None:
            self._start_or_wait(job)
            return
        task = self._attached_loop().create_task(self._look_up(job, self._egress))
        self._look_ups[job] = task

    async def _look_up(self, job: Job, egress: Egress) -> None:
        try:
            async with asyncio.timeout(job.expires - time.monotonic()):
                job.route = await egress.route(job.request.url)
        except BlockedAddress as error:
            self._finish(job, Failure(kind=FailureKind.BLOCKED, message=error.message))
        except Unresolved as error:
            self._finish(job, _unresolved(error))
        except TimeoutError:
            message = f"no address for {_host_of(job)} within {job.deadline:g} s"
            self._finish(job, Failure(kind=FailureKind.TIMEOUT, message=message))
        else:
            self._start_or_wait(job)
        finally:
            self._look_ups.pop(job, None)

    def _start_or_wait(self, job: Job) -> None:
        if self._idle:
            self._start(job, self._idle.pop())
        elif len(self._slots) < self._max_connections:
            self._start(job, self._new_slot())
        else:
            self._waiting.append(job)
            delay = max(0.0, job.expires - time.monotonic())
            job.timer = self._attached_loop().call_later(delay, self._give_up, job)

    def _give_up(self, job: Job) -> None:
        self._waiting.remove(job)
        message = f"our side was busy: no free connection within {job.deadline:g} s"
        self._finish(job, Failure(kind=FailureKind.TIMEOUT, message=message, chargeable=False))

    def _start(self, job: Job, slot: Slot) -> None:
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None
        job.started = time.monotonic()
        job.started_at = self._now()
        slot.load(job, job.started)
        self._add(slot)

    def _add(self, slot: Slot) -> None:
        driver = self._attached_driver()
        driver.active += 1
        self._multi.add_handle(slot.curl)

    def _remove(self, slot: Slot) -> None:
        self._multi.remove_handle(slot.curl)
        self._attached_driver().active -= 1

    def _on_finished(self) -> None:
        left = 1
        while left:
            left, done, failed = self._multi.info_read()
            for curl in done:
                self._settle(self._slots[curl], pycurl.E_OK, "")
            for curl, code, text in failed:
                self._settle(self._slots[curl], code, text)
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and self._idle and not self._is_closed:
            self._start(self._waiting.popleft(), self._idle.pop())

    def _settle(self, slot: Slot, code: int, text: str) -> None:
        job = slot.job
        assert job is not None  # noqa: S101 - a handle that libcurl reports carries a job
        self._remove(slot)
        if slot.wants_fresh or (code in DEAD_CONNECTION and slot.died_unused):
            slot.retry(job, time.monotonic())
            self._add(slot)
            return
        if code == pycurl.E_OK:
            outcome = self._answer(slot)
        else:
            outcome = explain(code, text, slot.seen(job, _host_of(job)))
        address = slot.peer
        slot.unload()
        self._idle.append(slot)
        self._finish(job, outcome, address)

    def _answer(self, slot: Slot) -> Response | Failure:
        status = slot.curl.getinfo(pycurl.RESPONSE_CODE)
        answer = Response(status=status, headers=self._reader.read(slot.lines), body=b"".join(slot.chunks))
        if 300 <= status < 400:
            location = answer.header("location")
            if location is not None:
                # A query may hold a token, and it is the peer's text: cut, and shown with its controls escaped.
                shown = ascii(location.partition("?")[0][:100])
                message = f"the endpoint answered {status} and points to {shown}; redirects are not followed"
                return Failure(kind=FailureKind.REDIRECT, message=message)
        return answer

    def _cancel(self, job: Job) -> None:
        slot, look_up = job.slot, self._look_ups.get(job)
        address = None
        if slot is not None:
            address = slot.peer
            self._remove(slot)
            slot.unload()
            self._idle.append(slot)
        elif look_up is not None:
            look_up.cancel()
        elif job in self._waiting:
            self._waiting.remove(job)
        self._finish(job, Failure(kind=FailureKind.CANCELLED, message="cancelled by us", chargeable=False), address)
        self._start_waiting()

    def _finish(self, job: Job, outcome: Response | Failure, address: str | None = None) -> None:
        job.is_over = True
        if job.timer is not None:
            job.timer.cancel()
        self._jobs.discard(job)
        exchange = Exchange(
            request=job.request,
            outcome=outcome,
            started_at=job.started_at or self._now(),
            duration_ms=round((time.monotonic() - job.started) * 1000),
            address=address,
        )
        # In a turn of its own: the caller may submit, cancel or close from it, and its mistakes stay its own.
        self._attached_loop().call_soon(job.on_done, exchange)

    # --- parts ---

    def _close_handles(self) -> None:
        self._multi.close()
        for curl in self._slots:
            curl.close()

    def _now(self) -> datetime:
        return datetime.now(UTC) if self._clock is None else self._clock.now()

    def _attached_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _attached_driver(self) -> MultiDriver:
        if self._driver is None:
            self._driver = MultiDriver(self._multi, self._attached_loop(), self._on_finished)
        return self._driver

    def _new_slot(self) -> Slot:
        slot = Slot(
            self._guard,
            ca_file=self._ca_file,
            reply_cap=self._reply_cap,
            hosts=[f"{name}:{port}:{address}" for (name, port), address in self._hosts.items()],
            proxy_login=None if self._egress is None else self._egress.login,
        )
        self._slots[slot.curl] = slot
        return slot


def _host_of(job: Job) -> str:
    return target_of(job.request.url)[0]


def _unresolved(error: Unresolved) -> Failure:
    if error.is_proxy:
        message = f"the name of our proxy, {error.host}, cannot be resolved"
        return Failure(kind=FailureKind.PROXY, message=message, chargeable=False)
    return Failure(kind=FailureKind.DNS, message=f"the name {error.host} cannot be resolved")
