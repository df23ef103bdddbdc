"""Watch what callbacks show beside their events, and raise an alarm for what somebody must look at (I3, I15)."""

from collections.abc import Sequence

from northbound.dialects.base import Dialect
from northbound.logic.drift import EVENTS_LOOKED_AT, Bodies, Types, news_of
from northbound.model.alarm import AlarmKind
from northbound.model.app import Source
from northbound.model.event import Event
from northbound.model.wire import Proof, Request
from northbound.ports import Clock
from northbound.stages.alarms import Alarms


class Watch:
    """One for all sources of the process; what it remembers is bounded for each, and begins anew with the process."""

    def __init__(self, alarms: Alarms, clock: Clock) -> None:
        self._alarms = alarms
        self._clock = clock
        self._types: dict[str, Types] = {}
        self._bodies: dict[str, Bodies] = {}

    def look(self, request: Request, source: Source, dialect: Dialect, proof: Proof, events: Sequence[Event]) -> None:
        """Look at a request that is stored."""
        if proof is Proof.SENDER:
            self._look_at_headers(request, source, dialect, events)
        if not dialect.known:
            return
        types = self._types.setdefault(source.id, Types())
        for event in events[:EVENTS_LOOKED_AT]:
            for kind, what in news_of(event, dialect):
                self._raise(source, kind, what)
            for kind, what in types.changed(dialect.kind(event.vendor), event.vendor):
                self._raise(source, kind, what)

    def _look_at_headers(self, request: Request, source: Source, dialect: Dialect, events: Sequence[Event]) -> None:
        headers = dialect.header_set(request, events)
        if headers is None:
            return
        bodies = self._bodies.setdefault(source.id, Bodies())
        if bodies.is_second(headers, request.body, self._clock.monotonic()):
            self._raise(source, AlarmKind.TWO_BODIES, headers.shown)

    def _raise(self, source: Source, kind: AlarmKind, what: str) -> None:
        self._alarms.raise_alarm(kind, app_id=source.app_id, source_id=source.id, what=what)
