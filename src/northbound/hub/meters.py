"""Counts of stages as Prometheus metrics: plain numbers while they work, metrics when somebody asks."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from northbound.backends.sqlite.history import SqliteHistory
from northbound.model.errors import HubError
from northbound.stages.alarms import Alarms
from northbound.stages.follow import COUNT, FOLD, ROUTE, Follow
from northbound.stages.health import Heads
from northbound.stages.index import Index


class AlarmMeter:
    """How many alarms a process raised since it started, by kind; those counted again are counted."""

    def __init__(self, alarms: Alarms, process: str) -> None:
        self._alarms = alarms
        self._process = process

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Say the counts as metrics."""
        family = CounterMetricFamily(
            "northbound_alarms", "Alarms raised, by kind and process", labels=["kind", "process"]
        )
        for kind, number in self._alarms.counts.items():
            family.add_metric([kind.value, self._process], number)
        yield family


class RefusalMeter:
    """How many requests the intake's server refused before any source had a say, by code."""

    def __init__(self, *counts: Counter[str]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Say the counts as metrics."""
        family = CounterMetricFamily(
            "northbound_intake_refused", "Requests refused before they reached a source", labels=["reason"]
        )
        for reason, number in sum(self._counts, Counter[str]()).items():
            family.add_metric([reason], number)
        yield family


class LagMeter:
    """How many entries of the log are not folded and routed yet, and how many were set aside since the start."""

    def __init__(self, follow: Follow) -> None:
        self._follow = follow

    def collect(self) -> Iterator[Metric]:
        """Say the counts as metrics."""
        yield GaugeMetricFamily(
            "northbound_follow_lag", "Entries of the log not folded yet", value=self._follow.behind()
        )
        family = CounterMetricFamily(
            "northbound_not_folded", "Entries set aside, since folding or telling them failed", labels=["part"]
        )
        for part in (FOLD, COUNT, ROUTE):
            family.add_metric([part], self._follow.set_aside[part])
        yield family


class IndexMeter:
    """How far the search is behind the log, how often it was made anew, and what it could not take."""

    def __init__(self, history: SqliteHistory, index: Index) -> None:
        self._history = history
        self._index = index

    def collect(self) -> Iterator[Metric]:
        """Say the counts as metrics."""
        with contextlib.suppress(HubError):  # the log is not readable now
            yield GaugeMetricFamily(
                "northbound_index_lag", "Entries of the log not searchable yet", value=self._history.lag()
            )
        yield CounterMetricFamily(
            "northbound_index_renewed", "Damaged search files set aside and made anew", value=self._history.renewed
        )
        yield CounterMetricFamily(
            "northbound_index_passed", "Entries that could not be made searchable", value=self._index.unsearchable
        )


class HeadMeter:
    """How many rooms wait for a head that fails on and on, by endpoint."""

    def __init__(self, heads: Heads) -> None:
        self._heads = heads

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Say the counts as metrics."""
        family = GaugeMetricFamily(
            "northbound_poisoned_heads", "Rooms that wait for a delivery that fails on and on", labels=["endpoint"]
        )
        for endpoint_id, number in self._heads.counts().items():
            family.add_metric([endpoint_id], number)
        yield family
