"""Decide which days of an account are to be told, and count one: meetings, time, members, peak (ruling 15).

A day's counts come of tallies kept beside the rooms, so that they are there at once and a late event reaches them: it
is counted in the day it happened. The peak is over all apps of the account, read off the changes of presence by second.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from northbound.dialects.base import zone_named
from northbound.logic.derive import OURS, Step
from northbound.logic.project import moment
from northbound.logic.route import DEFAULT_BUS
from northbound.logic.stats import day_end, day_of, day_start, tally
from northbound.model.account import Account
from northbound.model.app import Registry
from northbound.model.errors import InvalidInput
from northbound.model.event import Counts, Event, EventType, Facts
from northbound.model.log import Logged, Origin, partition_of, room_key
from northbound.model.room import DayStats, Going, Tally
from northbound.model.statistic import Counted, DayBasis, Statistic
from northbound.model.wire import Proof

GRACE: Final = timedelta(seconds=10)  # after midnight, for what the day's last moments still bring
PRESENCE_KEPT: Final = timedelta(
    days=62
)  # how long changes by second are kept; later the peak is the one of the tallies
FIGURES: Final = ("meetings", "seconds", "members", "peak")


def counted_accounts(registry: Registry) -> tuple[Counted, ...]:
    """Return the accounts that have a default bus, with the sources of all their apps."""
    default = {bus.account_id: bus.source_id for bus in registry.buses if bus.name == DEFAULT_BUS}
    of_app = {app.id: app.account_id for app in registry.apps if app.account_id}
    sources: dict[str, list[str]] = {}
    for source in registry.sources:
        sources.setdefault(of_app.get(source.app_id, ""), []).append(source.id)
    return tuple(
        Counted(account=one, source_id=default[one.id], source_ids=tuple(sources.get(one.id, ())))
        for one in registry.accounts
        if one.id in default
    )


def account_tally(step: Step, zone: ZoneInfo) -> tuple[Tally, ...]:
    """Return what *step* adds to the days of its app's account, with who is present since when."""
    going = Going(
        at=moment(step.logged),
        opened_at=step.after.opened_at if step.after.open else None,
        present=len(step.after.participants),
    )
    return tuple(replace(one, going=going) for one in tally(step, zone))


def zone_of(account: Account) -> ZoneInfo:
    """Return the zone of an account's days."""
    return zone_named(account.time_zone) or ZoneInfo("UTC")


# --- which days ------------------------------------------------------------------------------------------------------


def due_days(account: Account, last: str, now: datetime) -> Iterator[str]:
    """Yield the days that are over, end after the switch was turned on, and come after *last*, oldest first."""
    since = account.meeting_push_since
    if not account.meeting_push or since is None:
        return
    zone = zone_of(account)
    day = max(day_of(since, zone), next_day(last) if last else "")
    while day_end(day, zone) + GRACE <= now:
        if day_end(day, zone) > max(since, day_start(day, zone)):  # a day that a zone left out has no length
            yield day
        day = next_day(day)


def next_look(account: Account, now: datetime) -> datetime:
    """Return when the account's next day is due at the earliest."""
    zone = zone_of(account)
    return day_end(day_of(now - GRACE, zone), zone) + GRACE


def check_day(account: Account, day: str, now: datetime) -> None:
    """Refuse what is no day, is not over yet, or was over before the account was made."""
    try:
        known = date.fromisoformat(day).isoformat() == day
    except ValueError:
        known = False
    if not known:
        raise InvalidInput("day is a calendar day, YYYY-MM-DD", field="day")
    zone = zone_of(account)
    if not day_of(account.created_at, zone) <= day < day_of(now, zone):
        raise InvalidInput(
            f"a statistic is of a day that is over, since the account was made on {day_of(account.created_at, zone)}",
            field="day",
        )


def next_day(day: str) -> str:
    """Return the calendar day after *day*."""
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


# --- counting --------------------------------------------------------------------------------------------------------


def counts_of_day(account: Account, day: str, basis: DayBasis, now: datetime) -> Counts:
    """Return the day's statistic; a meeting that goes on counts up to the day's end, and who is in it is a member."""
    zone = zone_of(account)
    start, end = day_start(day, zone), min(now, day_end(day, zone))
    stats = basis.stats or DayStats(app_id=account.id, day=day)
    running = sum(max(0.0, (end - max(begun, start)).total_seconds()) for begun in basis.running)
    is_kept = start >= now - PRESENCE_KEPT
    return Counts(
        meetings=stats.meetings,
        seconds=round(stats.meeting_seconds + running),
        members=stats.joins if account.members == "joins" else stats.members + basis.staying,
        peak=peak_of(basis) if is_kept else stats.peak,
    )


def peak_of(basis: DayBasis) -> int:
    """Return the most members present at once; those present at the day's first instant count."""
    present = basis.present - basis.later - sum(one.delta for one in basis.changes)
    peak = present
    for one in basis.changes:
        peak = max(peak, present + one.high)
        present += one.delta
    return max(0, peak)


def differing(told: Counts | None, counts: Counts) -> tuple[str, ...]:
    """Return which figures differ from what was told, all of them when nothing was."""
    return tuple(name for name in FIGURES if told is None or getattr(told, name) != getattr(counts, name))


# --- telling ---------------------------------------------------------------------------------------------------------


def statistic_of(counted: Counted, day: str, number: int, counts: Counts, now: datetime) -> Statistic:
    """Return the *number*th telling of a day."""
    account = counted.account
    return Statistic(
        account_id=account.id,
        day=day,
        time_zone=account.time_zone,
        number=number,
        source_id=counted.source_id,
        ends_at=day_end(day, zone_of(account)),
        counts=counts,
        made_at=now,
    )


def entry_of(one: Statistic) -> Logged:
    """Return the log entry that tells a statistic; the same one however often it is made."""
    event = Event(
        type=EventType.STATS_DAILY,
        dialect=OURS,
        scope=one.account_id,
        occurred_at=one.ends_at,
        facts=Facts(counts=one.counts),
    )
    return Logged(
        id=one.event_id,
        partition=partition_of(room_key(one.source_id, event)),
        offset=0,  # the log gives it its place
        source_id=one.source_id,
        recorded_at=one.made_at,
        proof=Proof.NONE,
        origin=Origin.SYNTHETIC,
        event=event,
    )
