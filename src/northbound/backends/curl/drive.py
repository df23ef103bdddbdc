"""Run a CurlMulti on the running event loop: its sockets in one epoll set, its timer on one lazy loop timer.

The loop watches only the epoll set, which is read in batches. Watching each socket with the loop itself was measured
at 2.5 times the CPU of a whole request: a kept-alive connection is watched anew for every request, and a loop pays
far more than one system call for that. Linux only.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Any, Final

import pycurl

BATCH: Final = 128  # ready sockets served per turn of the loop, so that other work gets its turn
EVENTS: Final = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
BROKEN: Final = select.EPOLLERR | select.EPOLLHUP
EARLY: Final = 0.0005  # seconds; loops tick in milliseconds, so a timer may fire this much too soon


class MultiDriver:
    """Owns the sockets and the timer of one CurlMulti; calls *on_finished* when transfers may have ended."""

    def __init__(
        self, multi: pycurl.CurlMulti, loop: asyncio.AbstractEventLoop, on_finished: Callable[[], None]
    ) -> None:
        self.active = 0  # transfers added and not yet taken out again
        self._multi = multi
        self._loop = loop
        self._on_finished = on_finished
        self._epoll = select.epoll()
        self._wanted: dict[int, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._kick: asyncio.Handle | None = None
        self._is_closed = False
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        loop.add_reader(self._epoll.fileno(), self._on_ready)

    def close(self) -> None:
        """Stop watching; the multi handle itself is the caller's to close, afterwards."""
        self._is_closed = True
        for handle in (self._timer, self._kick):
            if handle is not None:
                handle.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    # --- what libcurl asks for: called inside its functions, so nothing here may call it back ---

    def _on_socket(self, what: int, descriptor: int, _multi: pycurl.CurlMulti, _state: Any) -> None:
        if self._is_closed:
            return
        if what == pycurl.POLL_REMOVE:
            # The connection goes idle or closes, and which one is not told. It stays in the set: closing takes it
            # out by itself, and an idle one is mostly wanted again for the next request.
            self._wanted.pop(descriptor, None)
            return
        self._wanted[descriptor] = what
        try:
            self._epoll.modify(descriptor, EVENTS[what])
        except FileNotFoundError:
            self._epoll.register(descriptor, EVENTS[what])

    def _on_timer(self, milliseconds: int) -> None:
        if self._is_closed:
            return
        if milliseconds <= 0:
            self._due = None
            if milliseconds == 0 and self._kick is None:
                self._kick = self._loop.call_soon(self._on_kick)
            return
        self._due = self._loop.time() + milliseconds / 1000
        # A timer that fires too soon arms itself again: deadlines move with every request, timers then do not.
        if self._timer is None or self._timer.when() > self._due:
            self._arm(self._due)

    # --- what the loop tells ---

    def _on_ready(self) -> None:
        running = self.active
        for descriptor, events in self._epoll.poll(0, BATCH):
            if descriptor not in self._wanted:
                # An idle connection was closed by its peer; libcurl notices when it would use it again.
                self._forget(descriptor)
                continue
            readable = pycurl.CSELECT_IN if events & (select.EPOLLIN | BROKEN) else 0
            writable = pycurl.CSELECT_OUT if events & select.EPOLLOUT else 0
            _, running = self._multi.socket_action(descriptor, readable | writable)
        if running < self.active:
            self._on_finished()

    def _on_kick(self) -> None:
        self._kick = None
        self._time_out()

    def _on_due(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self._loop.time() + EARLY < self._due:
            self._arm(self._due)
            return
        self._due = None
        self._time_out()

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._on_due)

    def _time_out(self) -> None:
        _, running = self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        if running < self.active:
            self._on_finished()

    def _forget(self, descriptor: int) -> None:
        try:
            self._epoll.unregister(descriptor)
        except (FileNotFoundError, OSError):
            return
