"""RTC 2018-01-11: what the Describe actions answer of rooms, recordings and apps (facts 1.1; ruling 24)."""

from typing import Final

from northbound.doors.rooms import (
    Span,
    app_words,
    area_of,
    channel_users,
    is_ascending,
    moment_asked,
    moment_needed,
    page_asked,
    present_in,
    record_files,
    session_of,
)
from northbound.doors.rpc import RpcError
from northbound.model.app import App, Source
from northbound.model.history import SessionFilter
from northbound.model.room import Room
from northbound.ports import Position
from northbound.web.doors.calling import ANSWERS, Caller

SAME_NAME: Final = 50  # rooms of one name among an app's sources
PAST_LOOKED_AT: Final = 200  # of one room's past instances
BATCH: Final = 200  # instances in one read
INSTANCES_MOST: Final = 5_000  # that one call looks through for recordings
TASKS_MOST: Final = 10
FIRST: Final[Position] = (0, "", 0)
STATUSES: Final = ("1", "2", "3")


async def describe_channels(caller: Caller) -> ANSWERS:
    """List the channels that are open; one that several sources tell of comes once for each."""
    sources, page = _sources(caller, [_app(caller)]), page_asked(caller.parameters, "PageNo")
    count = await caller.read(caller.hub.figures.open_rooms, sources)
    rooms = await caller.read(caller.hub.rooms.open_page, sources, page.skip, page.size)
    names = [room.id for room in rooms]
    return {"PageNo": page.number, "PageSize": page.size, "TotalCnt": count, "Records": names}


async def describe_channel_users(caller: Caller) -> ANSWERS:
    """Tell who is in a channel, broadcasters apart from the audience."""
    return channel_users(await _channel(caller, _app(caller)), caller.now)


async def describe_channel_participants(caller: Caller) -> ANSWERS:
    """List who is in a channel, page by page, the last who joined first unless asked otherwise."""
    given = caller.parameters
    page = page_asked(given, "PageNum")
    people = present_in(await _channel(caller, _app(caller)))
    if not is_ascending(given, "Order"):
        people.reverse()
    users = {"User": [one.id for one in page.of(people)]}
    return {"Timestamp": int(caller.now.timestamp()), **page.totals(len(people)), "UserList": users}


async def describe_rtc_channel_list(caller: Caller) -> ANSWERS:
    """List a day's sessions: each opening of a channel in that day (UTC)."""
    given = caller.parameters
    day = moment_needed(given, "TimePoint").replace(hour=0, minute=0, second=0)
    page = page_asked(given, "PageNo")
    apps = [_app(caller)] if given.text("AppId", default="") else _apps(caller)
    area = given.text("ServiceArea", default="").lower()
    regions = {app.id: app.region for app in apps if not area or area_of(app.region) == area}
    wanted = SessionFilter(
        app_ids=tuple(regions),
        day=day,
        room_id=given.identity("ChannelId", default="") or None,
        participant_id=given.identity("UserId", default="") or None,
        ascending=is_ascending(given, "SortType"),
    )
    count, found = await caller.read(caller.hub.rooms.sessions, wanted, page.skip, page.size)
    sessions = [session_of(room, regions[app_id]) for app_id, room in found]
    answers = {"PageNo": page.number, "PageSize": page.size, "TotalCnt": count}
    return {**answers, "ChannelList": {"ChannelList": sessions}}


async def describe_record_files(caller: Caller) -> ANSWERS:
    """List recorded files, of an app or one channel of it."""
    given = caller.parameters
    app, page = _app(caller), page_asked(given, "PageNum")
    span = Span(
        task_ids=frozenset(given.listed("TaskIds", most=TASKS_MOST)),
        since=moment_asked(given, "StartTime"),
        until=moment_asked(given, "EndTime"),
    )
    if given.identity("ChannelId", default=""):
        rooms = await _instances(caller, app)
    else:
        rooms = await _recorded(caller, app)
    files = record_files(app.id, rooms, span)
    return {**page.totals(len(files)), "RecordFiles": page.of(files)}


async def describe_apps(caller: Caller) -> ANSWERS:
    """List the account's apps, the newest first unless asked otherwise."""
    given = caller.parameters
    page, status = page_asked(given, "PageNum"), given.text("Status", default="")
    if status and status not in STATUSES:
        raise RpcError("InvalidStatus.Malformed", "The specified parameter Status is not valid.")
    wanted = given.text("AppId", default="")
    apps = [app for app in _apps(caller) if wanted in {"", app.id} and status in {"", STATUSES[0]}]
    apps.sort(key=lambda app: (app.created_at, app.id), reverse=not is_ascending(given, "Order"))
    return {**page.totals(len(apps)), "AppList": {"App": [app_words(app) for app in page.of(apps)]}}


async def describe_app_key(caller: Caller) -> ANSWERS:
    """Tell an app's AppKey; the audit notes who was told."""
    app = _app(caller)
    caller.hub.trail.note("app.revealed", app.id, who=caller.who, now=caller.now)
    return {"AppKey": app.app_key.decode(errors="replace")}


READS: Final = {
    "DescribeChannels": describe_channels,
    "DescribeChannelUsers": describe_channel_users,
    "DescribeChannelParticipants": describe_channel_participants,
    "DescribeRtcChannelList": describe_rtc_channel_list,
    "DescribeRecordFiles": describe_record_files,
    "DescribeApps": describe_apps,
    "DescribeAppKey": describe_app_key,
}


# --- what is looked at -----------------------------------------------------------------------------------------------


def _app(caller: Caller) -> App:
    return caller.app(caller.parameters.text("AppId"))[1]


def _apps(caller: Caller) -> list[App]:
    return [app for app in caller.hub.every(App) if app.account_id == caller.account.id]


def _sources(caller: Caller, apps: list[App]) -> tuple[str, ...]:
    return tuple(one.id for app in apps for one in caller.hub.every(Source, app.id))


async def _channel(caller: Caller, app: App) -> list[Room]:
    """Return the open rooms of the channel's name: each source may tell of one."""
    name = caller.parameters.identity("ChannelId")
    return await caller.read(caller.hub.rooms.open_named, _sources(caller, [app]), name)


async def _instances(caller: Caller, app: App) -> list[Room]:
    """Return the rooms of the channel's name with their past instances."""
    name = caller.parameters.identity("ChannelId")
    found = await caller.read(caller.hub.rooms.named, _sources(caller, [app]), name, SAME_NAME)
    rooms: list[Room] = []
    for key, room in found:
        rooms += [room, *await caller.read(caller.hub.rooms.past, key, PAST_LOOKED_AT)]
    return rooms


async def _recorded(caller: Caller, app: App) -> list[Room]:
    """Return an app's room instances that hold recordings."""
    sources, after, rooms = _sources(caller, [app]), FIRST, list[Room]()
    while True:
        found = await caller.read(caller.hub.rooms.recordings, sources, after, BATCH)
        rooms += [room for _, _, room in found]
        if len(found) < BATCH:
            return rooms
        if len(rooms) >= INSTANCES_MOST:
            raise RpcError("InputInvalid", "The app has too many recordings for one list; name a ChannelId.")
        after = found[-1][0]
