"""Event subscriptions in the words of both families, RTC 2018-01-11 and Live 2016-11-01 (seed 002; facts 1.2)."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from northbound.doors.parameters import Parameters, invalid
from northbound.doors.rpc import RpcError
from northbound.logic.route import NEUTRAL, compile_for
from northbound.model.app import Subscription

EVENTS: Final = {
    "ChannelEvent": ("room.opened", "room.closed"),
    "UserEvent": (
        "participant.joined",
        "participant.left",
        "participant.updated",
        "track.published",
        "track.unpublished",
    ),
}
# Whose messages a Role lets through, by `nbrole`. A role that nobody told is told as broadcaster on this wire.
ROLES: Final = {1: ("broadcaster", "unknown"), 2: ("audience",)}
ANY_CHANNEL: Final = "*"
ID_LONGEST: Final = 128
CHINA: Final = timezone(timedelta(hours=8))  # the zone that these pages print times in


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription is to: `channel` is empty for all channels, `role` 0 for both roles."""

    channel: str
    url: str
    events: list[str]
    users: list[str]
    role: int = 0
    is_signed: bool = True

    @property
    def wire(self) -> dict[str, Any]:
        """The same in the words it was asked in, as the subscription keeps it."""
        words: dict[str, Any] = {"ChannelId": self.channel, "CallbackUrl": self.url, "Events": self.events}
        return words | {"Users": self.users, "Role": self.role, "NeedCallbackAuth": self.is_signed}


def channel_and_users(given: Parameters, *, users_most: int) -> tuple[str, list[str]]:
    """Return the channel, empty for all of them, and the users asked for; users are those of one channel."""
    channel = given.identity("ChannelId", longest=ID_LONGEST, default="")
    users = list(dict.fromkeys(given.listed("Users", most=users_most, longest=ID_LONGEST)))
    channel = "" if channel == ANY_CHANNEL else channel
    if users and not channel:
        raise RpcError("MissingChannelId", "ChannelId is mandatory when Users is given; * stands for no channel.")
    return channel, users


def events_of(given: Parameters, *, most: int) -> list[str]:
    """Return the event kinds asked for, each once; refuse others."""
    names = given.listed("Events", most=most, needed=True)
    if any(name not in EVENTS for name in names):
        raise invalid("Events", f"holds {' or '.join(EVENTS)}")
    return list(dict.fromkeys(names))


def pattern_of(asked: Asked) -> str:
    """Say a subscription in the pattern language, over the standard view; a room's own events pass every filter."""
    pattern: dict[str, Any] = {"type": [kind for name in asked.events for kind in EVENTS[name]]}
    if asked.role in ROLES:
        pattern["nbrole"] = [*ROLES[asked.role], {"exists": False}]
    data: dict[str, Any] = {}
    if asked.channel:
        data["room_id"] = [asked.channel]
    if asked.users:
        data["participant_id"] = [*asked.users, {"exists": False}]
    return msgspec.json.encode(pattern | ({"data": data} if data else {})).decode()


def told_now(subscription: Subscription, url: str) -> Asked:
    """Return what a subscription is to now, its callbacks going to *url*.

    That is what was asked for, until the pattern was changed by the hub's own API: then each of these words is as near
    as it can be. Several channels are none in particular, and a kind of event is told where any event of it would be.
    """
    words = subscription.wire
    asked = Asked(
        channel=words["ChannelId"],
        url=url,
        events=words["Events"],
        users=words["Users"],
        role=words["Role"],
        is_signed=words["NeedCallbackAuth"],
    )
    if subscription.pattern == pattern_of(asked):
        return asked
    pattern = msgspec.json.decode(subscription.pattern)
    data = pattern.get("data") or {}
    channels = _texts(data.get("room_id"))
    events = [name for name, kinds in EVENTS.items() if passing(subscription.pattern, kinds)]
    channel = channels[0] if len(channels) == 1 else ""
    return replace(asked, channel=channel, events=events, users=_texts(data.get("participant_id")), role=0)


def passing(pattern: str, kinds: Iterable[str]) -> list[str]:
    """Return those of some event types that the `type` of a pattern over the standard view lets through."""
    words = msgspec.json.decode(pattern).get("type")
    if words is None:
        return list(kinds)
    compiled = compile_for(NEUTRAL, msgspec.json.encode({"type": words}).decode())
    return [kind for kind in kinds if compiled.matches({"type": kind})]


def _texts(values: Any) -> list[str]:
    return [one for one in values if isinstance(one, str)] if isinstance(values, list) else []


def in_china(moment: datetime, *, milliseconds: bool = False) -> str:
    """Write a time as the Live pages do: UTC+8, without saying so."""
    local = moment.astimezone(CHINA)
    return local.strftime("%Y-%m-%d %H:%M:%S") + (f".{local.microsecond // 1000:03d}" if milliseconds else "")


def in_utc(moment: datetime | None) -> str | None:
    """Write a time as the RTC pages do: UTC in whole seconds."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
