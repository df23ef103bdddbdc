"""Counts of stages as Prometheus metrics: plain numbers while they work, metrics when somebody asks."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily

from northbound.stages.alarms import Alarms


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
