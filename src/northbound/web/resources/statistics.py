"""Daily statistics of an account: what was sent, and a past day counted anew and sent again (ruling 15).

A day that counts otherwise by now is sent as a correction with an id of its own, since receivers drop an id that they
know; one that counts the same is sent again under the id it had, by replaying its deliveries.
"""

from typing import Any

from msgspec.structs import replace

from northbound.logic.daily import check_day, differing, statistic_of
from northbound.logic.route import DEFAULT_BUS
from northbound.model.account import Account, Bus
from northbound.model.app import App, Source
from northbound.model.delivery import Lane
from northbound.model.errors import Conflict
from northbound.model.statistic import Counted, Statistic
from northbound.stages.statistics import count_day
from northbound.web.call import Answer, Call
from northbound.web.resources.replays import enqueue
from northbound.web.shapes.accounts import StatisticAnswer, StatisticShown, StatisticWanted
from northbound.web.shapes.pages import Nothing, Paging, page_of, read_cursor
from northbound.web.tracing import searched

AFTER_ALL = "~"  # behind every day
SENT_MOST = 1_000  # deliveries of one statistic that are sent again


async def listed(call: Call[Paging, Nothing]) -> Answer:
    """List what was sent, the newest day first; a day is not cut in two by a page."""
    account = call.own(Account, call.path["id"])[1]
    limit, before = call.query.limit, read_cursor(call.query.cursor, str, AFTER_ALL)
    found = await call.read(call.hub.statistics.told, account.id, before, limit)
    if len(found) == limit and found[0].day != found[-1].day:
        found = [one for one in found if one.day != found[-1].day]
        limit = len(found)
    return Answer(content=page_of([_show(one) for one in found], limit, found[-1].day if found else ""))


async def again(call: Call[Nothing, StatisticWanted]) -> Answer:
    """Count a past day anew; show old and new, and send it unless this is a dry run."""
    account, day = call.own(Account, call.path["id"])[1], call.path["day"]
    now = call.hub.clock.now()
    check_day(account, day, now)
    counted = _counted(call, account)
    told = await call.read(call.hub.statistics.told_of, account.id, day)
    last = told[-1] if told else None
    counts = await call.read(count_day, call.hub.statistics, counted, day, now)
    differs = differing(last.counts if last else None, counts)
    answer = StatisticAnswer(
        day=day,
        time_zone=account.time_zone,
        told=None if last is None else _show(last),
        counts=counts,
        differs=list(differs),
    )
    if call.body.dry_run:
        return Answer(content=answer)
    if not account.meeting_push:
        raise Conflict("meeting message push is off: turn it on to have a statistic sent")
    if last is not None and not differs:
        return Answer(content=await _replayed(call, account, last, answer))
    command_id = enqueue(call, {"do": "statistic", "account_id": account.id, "day": day}, account.app_id)
    event_id = statistic_of(counted, day, len(told), counts, now).event_id
    return Answer(content=replace(answer, event_id=event_id, command_id=command_id))


async def _replayed(
    call: Call[Any, Any], account: Account, last: Statistic, answer: StatisticAnswer
) -> StatisticAnswer:
    logged = await call.read(searched, call.hub, last.event_id)
    if logged is None:
        raise Conflict("its event is not searchable yet; try again in a moment")
    sent = await call.read(call.hub.deliveries.deliveries_of, logged, SENT_MOST)
    numbers = [number for number, one in sent if one.lane is not Lane.REPLAY]
    command_id = enqueue(call, {"do": "replay", "numbers": numbers}, account.app_id) if numbers else None
    return replace(answer, event_id=last.event_id, command_id=command_id, deliveries=len(numbers))


def _counted(call: Call[Any, Any], account: Account) -> Counted:
    store = call.hub.objects
    buses = [bus for _, bus in store.find(Bus, app_id=account.id) if bus.name == DEFAULT_BUS]
    apps = [app for app in call.hub.every(App) if app.account_id == account.id]
    sources = tuple(one.id for app in apps for one in call.hub.every(Source, app.id))
    return Counted(account=account, source_id=buses[0].source_id if buses else "", source_ids=sources)


def _show(one: Statistic) -> StatisticShown:
    return StatisticShown(
        day=one.day,
        number=one.number,
        event_id=one.event_id,
        time_zone=one.time_zone,
        counts=one.counts,
        made_at=one.made_at,
        stored=one.stored,
    )
