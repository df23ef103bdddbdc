"""Callbacks as vendors send them: words of each dialect, encoded and signed as that vendor does."""

import os
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from e2e.hub import Hub
from e2e.objects import now
from northbound.dialects import all_dialects
from northbound.dialects.base import members, raw
from northbound.model.app import Endpoint, Source
from northbound.model.delivery import View
from northbound.model.wire import Key, Request
from northbound.testing.vectors import load

VENDORS = ("avd", "aliyun_cvc", "mpaas", "aliyun_rtc", "anyrtc")


def callback(
    hub: Hub,
    source: Source,
    words: Mapping[str, Any] | msgspec.Raw,
    *,
    keys: tuple[Key, ...] | None = None,
    **more: Any,
) -> Request:
    """Return the request that the vendor of *source* sends for *words*, signed by *keys* (the source's own)."""
    dialect = all_dialects()[source.dialect]
    endpoint = Endpoint(
        id="vendor", app_id="vendor", url=hub.intake_url(source), dialect=source.dialect, created_at=now(),
        keys=source.keys if keys is None else keys, method=more.get("method", dialect.methods[-1]),
    )  # fmt: skip
    endpoint = replace(endpoint, **more)
    view = View(words=words if isinstance(words, msgspec.Raw) else raw(words))
    return dialect.sign(dialect.encode([view], endpoint), endpoint, now(), os.urandom(32))


# --- words -----------------------------------------------------------------------------------------------------------


def avd(event: str, room: str, user: str | None = None, **more: Any) -> dict[str, Any]:
    """A 3T event; a join or leave needs no more."""
    words: dict[str, Any] = {"event": event, "trace_id": str(uuid4()), "room_id": room}
    if user is not None:
        words |= {"user_id": user, "event_type": "normal"}
    if event == "join":
        words |= {"endpoint_type": "web"}
    return {name: value for name, value in (words | more).items() if value is not None}


def notice(number: int, room: str, **payload: Any) -> dict[str, Any]:
    """An anyRTC channel event."""
    seconds = int(now().timestamp())
    return {
        "noticeId": str(uuid4()), "productId": 1, "eventType": number,
        "payload": {"channelName": room, "ts": seconds, "channelSId": f"{room}-1"} | payload,
    }  # fmt: skip


def message(tag: str, room: str, user: str | None = None, **more: Any) -> dict[str, Any]:
    """An Aliyun RTC message of one event."""
    seconds = int(now().timestamp())
    body: dict[str, Any] = {"EventTag": tag, "Timestamp": seconds}
    if user is None:
        content = {"Event": "ChannelEvent", "ChannelEvent": {"ChannelId": room, **body}}
    else:
        person = {"UserId": user, "SessionId": f"s-{user}", "Reason": 1, "Role": 1, "TerminalType": 2, "UserType": 1}
        content = {"Event": "UserEvent", "UserEvent": person | body | {"Medias": []} | more}
    return {
        "MsgId": uuid4().hex, "MsgTimestamp": None, "SubscribeID": "sub", "AppId": "app", "ChannelID": room,
        "Contents": [content],
    }  # fmt: skip


def room_callback(code: int, room: str, **more: Any) -> dict[str, Any]:
    """An mPaaS callback."""
    return {"bizRequestId": uuid4().hex, "eventCode": code, "bizName": "biz", "roomId": room} | more


ID_WORD = {"avd": "trace_id", "aliyun_cvc": "id", "mpaas": "bizRequestId", "aliyun_rtc": "MsgId", "anyrtc": "noticeId"}


def documented(dialect: str) -> Iterator[tuple[str, msgspec.Raw]]:
    """Yield (kind, words) of the first valid vector of each kind of the wire, each with an id of its own."""
    spoken = all_dialects()[dialect]
    told: set[str] = set()
    for case in (case for _, file in load() if file.dialect == dialect for case in file.cases):
        if case.request is None or case.result != "valid" or not case.resend or case.options:
            continue
        events = spoken.decode(case.request.request(), {})
        kind = spoken.kind(events[0].vendor) if len(events) == 1 else ""
        if kind in told or not any(kind in group for group in spoken.kinds):
            continue
        told.add(kind)
        words = members(events[0].vendor)
        named = ID_WORD[dialect]
        yield kind, raw(words | ({named: raw(uuid4().hex)} if named in words else {}))
