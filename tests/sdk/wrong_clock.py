"""A clock that is wrong, for a program that loads this before anything else: the standard library's, replaced.

A vendor's client that is loaded afterwards is as its makers published it, and asks the wrong clock.
"""

import datetime as dt
import time

_real_time, _real_gmtime, _Real = time.time, time.gmtime, dt.datetime
_ahead = 0.0


def set_ahead(seconds: float) -> None:
    """Let every clock be ahead by so much; below zero: behind."""
    global _ahead  # noqa: PLW0603 - there is one clock
    _ahead = seconds


class _Wrong(_Real):
    @classmethod
    def now(cls, tz=None):
        return _Real.now(tz) + dt.timedelta(seconds=_ahead)

    @classmethod
    def utcnow(cls):
        return _Real.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(seconds=_ahead)


dt.datetime = _Wrong
time.time = lambda: _real_time() + _ahead
time.gmtime = lambda *given: _real_gmtime(*given) if given else _real_gmtime(time.time())
