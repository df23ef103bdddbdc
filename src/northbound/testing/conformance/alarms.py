"""The laws of alarms: counted, not repeated; over when said so; bounded whatever a sender does."""

# ruff: noqa: D401 - a law says what is so, not what to do

from datetime import datetime, timedelta
from typing import Any

from northbound.model.alarm import KEPT, ROWS_A_WINDOW, WINDOW, Alarm, AlarmKind
from northbound.testing.conformance.storage import NOW, Storage, expect

SECOND = timedelta(seconds=1)
K = AlarmKind


async def alarms_survive_and_come_from_both_databases(one: Storage) -> None:
    """Every word and time comes back, from the log's database and from that of the deliveries, newest begin first."""
    first = _alarm(K.ID_CONFLICT, source_id="src_1", room_id="r1", what="id 7", facts={"reason": "é"})
    second = _alarm(K.DEAD_LETTERS, NOW + SECOND, endpoint_id="ep_1", count=3)
    await one.log.raise_alarms([first])
    await one.store.raise_alarms([second])

    one.reopen()

    expect([second, first], one.alarms(), "alarms")


async def an_alarm_raised_again_is_counted(one: Storage) -> None:
    """Within a window the same kind of the same object is one alarm; another object or a later window is another."""
    again = _alarm(K.DEAD_LETTERS, NOW + SECOND, endpoint_id="ep_1", facts={"reason": "later"})
    other = _alarm(K.DEAD_LETTERS, NOW, endpoint_id="ep_2")
    late = _alarm(K.DEAD_LETTERS, NOW + WINDOW, endpoint_id="ep_1")
    await one.store.raise_alarms([_alarm(K.DEAD_LETTERS, endpoint_id="ep_1", facts={"reason": "first"}), again])
    await one.store.raise_alarms([other, _alarm(K.DEAD_LETTERS, NOW + SECOND, endpoint_id="ep_1"), late])

    found = [(alarm.endpoint_id, alarm.count, alarm.last_at, alarm.facts) for alarm in one.alarms()]

    expect(("ep_1", 1, NOW + WINDOW, {}), found[0], "a later window")
    expect(
        {("ep_1", 3, NOW + SECOND, "later"), ("ep_2", 1, NOW, None)},
        {(endpoint, count, last, facts.get("reason")) for endpoint, count, last, facts in found[1:]},
        "one window",
    )


async def what_is_over_is_not_counted_on(one: Storage) -> None:
    """A condition is one alarm however long it lasts; once it is over the next begins anew."""
    later = NOW + 5 * WINDOW
    await one.store.raise_alarms([_alarm(K.ENDPOINT_STOPPED, endpoint_id="ep_1")])
    await one.store.raise_alarms([_alarm(K.ENDPOINT_STOPPED, later, endpoint_id="ep_1")])
    await one.store.raise_alarms([_alarm(K.ENDPOINT_STOPPED, later, endpoint_id="ep_1", count=0, is_over=True)])
    await one.store.raise_alarms([_alarm(K.ENDPOINT_STOPPED, later + SECOND, endpoint_id="ep_1")])
    await one.store.raise_alarms([_alarm(K.ENDPOINT_STOPPED, later, endpoint_id="ep_2", count=0, is_over=True)])

    found = [(alarm.first_at, alarm.count, alarm.is_over) for alarm in one.alarms()]

    expect([(later + SECOND, 1, False), (NOW, 2, True)], found, "two times stopped; the end of nothing is nothing")


async def a_hostile_sender_makes_few_alarms(one: Storage) -> None:
    """Beyond a number of objects in a window they are one alarm, with all counted; and few windows are kept."""
    many = ROWS_A_WINDOW + 30
    await one.log.raise_alarms([_alarm(K.UNKNOWN_FIELD, source_id="src_1", what=f"x{n}") for n in range(many)])
    await one.log.raise_alarms([_alarm(K.UNKNOWN_FIELD, source_id="src_2", what="x")])

    found = [alarm for alarm in one.alarms() if alarm.source_id == "src_1"]

    expect((ROWS_A_WINDOW + 1, many), (len(found), sum(alarm.count for alarm in found)), "(rows, raised)")
    expect(many - ROWS_A_WINDOW, next(alarm.count for alarm in found if alarm.what is None), "told as one")
    for hour in range(1, KEPT // ROWS_A_WINDOW + 3):
        await one.log.raise_alarms(
            [
                _alarm(K.UNKNOWN_FIELD, NOW + hour * WINDOW, source_id="src_1", what=f"y{n}")
                for n in range(ROWS_A_WINDOW)
            ]
        )
    kept = [alarm for alarm in one.alarms() if alarm.source_id == "src_1"]
    expect((KEPT, 1), (len(kept), len(one.alarms()) - len(kept)), "(kept of one source, kept of another)")


def _alarm(kind: AlarmKind, at: datetime = NOW, **fields: Any) -> Alarm:
    return Alarm(kind=kind, first_at=at, last_at=at, app_id="app_1", **fields)


LAWS = (
    alarms_survive_and_come_from_both_databases,
    an_alarm_raised_again_is_counted,
    what_is_over_is_not_counted_on,
    a_hostile_sender_makes_few_alarms,
)
