"""Alarms: gathered without waiting, stored together, in sentences that never fail."""

import asyncio

import pytest

from northbound.backends.memory import MemoryLog
from northbound.model.alarm import FACT_LENGTH, WINDOW, Alarm, AlarmKind
from northbound.stages import alarms as stage
from northbound.stages.alarms import Alarms
from northbound.testing.fakes import NOW, FakeClock


def raised(alarms: Alarms, what: str = "x", kind: AlarmKind = AlarmKind.UNKNOWN_FIELD) -> None:
    alarms.raise_alarm(kind, app_id="app_1", source_id="src_1", what=what)


def test_what_is_raised_between_two_stores_is_stored_once():
    """A flood costs a row and a count."""
    log = MemoryLog()
    alarms = Alarms(log, FakeClock())
    for _ in range(1000):
        raised(alarms)

    assert asyncio.run(alarms.flush()) == 1
    assert [(one.count, one.what) for one in log.alarms] == [(1000, "x")]
    assert alarms.counts == {AlarmKind.UNKNOWN_FIELD: 1000}
    assert asyncio.run(alarms.flush()) == 0


def test_what_is_gathered_is_bounded(monkeypatch: pytest.MonkeyPatch):
    """Beyond the bound a source's alarms are one; none is lost to the count."""
    monkeypatch.setattr(stage, "GATHERED", 5)
    log = MemoryLog()
    alarms = Alarms(log, FakeClock())
    for number in range(50):
        raised(alarms, f"field {number}")

    assert asyncio.run(alarms.flush()) == 6
    assert sum(one.count for one in log.alarms) == 50


def test_a_store_that_fails_loses_no_alarm():
    """What could not be stored is stored with what came meanwhile."""
    log = MemoryLog()
    alarms = Alarms(log, FakeClock())
    raised(alarms)
    log.failing = "disk full"
    assert asyncio.run(alarms.flush()) == 0
    raised(alarms)
    log.failing = None

    asyncio.run(alarms.flush())

    assert [one.count for one in log.alarms] == [2]


def test_an_alarm_may_begin_and_end_in_one_breath():
    log = MemoryLog()
    alarms = Alarms(log, FakeClock())
    alarms.raise_alarm(AlarmKind.ENDPOINT_STOPPED, app_id="app_1", endpoint_id="ep_1", facts={"reason": "410"})
    alarms.end_alarm(AlarmKind.ENDPOINT_STOPPED, app_id="app_1", endpoint_id="ep_1")

    asyncio.run(alarms.flush())

    assert [(one.count, one.is_over, one.facts) for one in log.alarms] == [(1, True, {"reason": "410"})]


@pytest.mark.parametrize("kind", AlarmKind)
def test_every_kind_has_a_sentence_in_both_languages(kind: AlarmKind):
    """Facts that are not known are said so; braces of a sender are only braces."""
    bare = Alarm(kind=kind, first_at=NOW, last_at=NOW)
    told = Alarm(kind=kind, first_at=NOW, last_at=NOW, source_id="src_1", endpoint_id="ep_1", what="{0.__class__}")

    assert bare.en.endswith(".") and bare.zh.endswith("。")
    if kind is not AlarmKind.CERTIFICATE_EXPIRES:  # the whole hub's
        assert "src_1" in told.en + told.zh or "ep_1" in told.en + told.zh
    assert "class '" not in told.en


def test_facts_are_one_short_printable_line():
    log = MemoryLog()
    alarms = Alarms(log, FakeClock())
    alarms.raise_alarm(
        AlarmKind.NOT_DECODABLE, app_id="app_1", source_id="s", what="a\nb\u202e\ud800", facts={"reason": "x" * 999}
    )

    asyncio.run(alarms.flush())

    (one,) = log.alarms
    assert (one.what or "").isprintable()
    assert len(one.facts["reason"]) == FACT_LENGTH


def test_quiet_ends_what_is_no_condition():
    """An endpoint stays stopped until it is started; a conflict is over when no other came."""
    conflict = Alarm(kind=AlarmKind.ID_CONFLICT, first_at=NOW, last_at=NOW)
    stopped = Alarm(kind=AlarmKind.ENDPOINT_STOPPED, first_at=NOW, last_at=NOW)

    assert [conflict.over_at(NOW), conflict.over_at(NOW + WINDOW)] == [False, True]
    assert not stopped.over_at(NOW + 99 * WINDOW)
