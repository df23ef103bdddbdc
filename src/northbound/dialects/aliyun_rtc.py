"""Aliyun RTC event subscription: one JSON message per request, holding one or more `Contents` of one channel.

The signature is MD5 over callback domain, time and AppKey: it proves the sender and a recent time, never the body.
`MsgId` and an item's place in `Contents` identify an event; `MsgTimestamp` and the signature are new on each attempt.
An event's words are its whole message with `Contents` holding this one item at its place (null elsewhere) and
`MsgTimestamp` null: so views of one message merge again into that message, and a part of it is told from the whole.
Page: CreateEventSubscribe (seed 002); rulings 1-7, 21-23. What is inferred, and the page's slips: docs/vendors.
"""

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

import msgspec

from northbound.dialects.base import (
    RAW_NULL,
    Composer,
    Dialect,
    HeaderSet,
    Option,
    Options,
    error_words,
    from_seconds,
    integer,
    judge_status,
    members,
    raw,
    read_json,
    read_object,
    read_params,
    refusal,
    setting,
    text,
    time_key,
    to_seconds,
    vendor_retries,
    without_mark,
)
from northbound.model.app import Endpoint, RetryPolicy
from northbound.model.delivery import Fill, Verdict, View
from northbound.model.errors import DecodeError, HubError, SignatureError
from northbound.model.event import Event, EventType, Facts, Media, Reason, Role, Terminal
from northbound.model.wire import Key, KeyKind, Needs, Proof, Request, Response

T = EventType
Words = dict[str, msgspec.Raw]
V = TypeVar("V")

ROOM_TAGS = {"Open": T.ROOM_OPENED, "Close": T.ROOM_CLOSED}
USER_TAGS = {
    "Join": T.PARTICIPANT_JOINED,
    "Leave": T.PARTICIPANT_LEFT,
    "Publish": T.TRACK_PUBLISHED,
    "Unpublish": T.TRACK_UNPUBLISHED,
    "Roleupdate": T.PARTICIPANT_UPDATED,
}
TAG_OF = {ours: tag for tag, ours in {**ROOM_TAGS, **USER_TAGS}.items()}
MEDIA_WORDS = {"Audio": Media.AUDIO, "Video": Media.VIDEO, "Screen": Media.DESKTOP}
WORD_OF = {media: word for word, media in MEDIA_WORDS.items()}
SPLIT_TAGS = {tag + word: (tag, media) for tag in ("Publish", "Unpublish") for word, media in MEDIA_WORDS.items()}
TYPES = {
    "ChannelEvent": ROOM_TAGS,
    "UserEvent": USER_TAGS | {split: USER_TAGS[tag] for split, (tag, _) in SPLIT_TAGS.items()},
}
MEDIAS = {1: Media.AUDIO, 2: Media.VIDEO, 3: Media.DESKTOP}
MEDIA_NUMBERS = {media: number for number, media in MEDIAS.items()}
ROLES = {1: Role.BROADCASTER, 2: Role.AUDIENCE}
ROLE_NUMBERS = {role: number for number, role in ROLES.items()}
REASONS = {
    1: Reason.NORMAL,
    2: Reason.RECONNECTED,
    3: Reason.RELAYED,
    4: Reason.TIMED_OUT,
    5: Reason.DISPLACED,
    6: Reason.KICKED,
    7: Reason.ROOM_DISSOLVED,
}
REASON_NUMBERS = {reason: number for number, reason in REASONS.items()}
# Where the wire has no number: the nearest that claims no deed of a person (ruling 1: kicked is never made up).
NEAREST_REASON = {Reason.SUPERSEDED: 5, Reason.INVOLUNTARY: 4, Reason.SERVER_FAULT: 4}
REASONED = frozenset({"Join", "Leave"})
CLIENT_OF = {Terminal.WEB: "web", Terminal.MINI_PROGRAM: "mini_program"}
TERMINAL_NAMES = frozenset(terminal.value for terminal in Terminal)
OTHER_TERMINAL = 100

SUBSCRIBE = {"rtc": "SubscribeID", "live": "SubscribeId"}
CHANNEL = {"rtc": "ChannelID", "live": "ChannelId"}
ENVELOPE = frozenset({"MsgId", "MsgTimestamp", "AppId", "Contents", *SUBSCRIBE.values(), *CHANNEL.values()})
LIVE_MEMBERS = frozenset({"CurrentMedias", "ChannelProfile", "US"})
USER_WORDS = frozenset("UserId EventTag SessionId Timestamp Reason Role TerminalType UserType Medias".split())
CONTENT_TYPES = {"form": "application/x-www-form-urlencoded", "json": "application/json"}
LABEL_OF_FAMILY = {"rtc": "form", "live": "json"}  # ruling 21
SPREAD_LIMIT = 16 * 1024 * 1024  # every event of a message repeats its envelope: bytes that all of them may take


def signature(domain: str, stamp: str, app_key: bytes) -> str:
    """Return `Ali-Rtc-Signature` as 32 lower-case hex digits (page, 回调鉴权说明)."""
    return md5(f"{domain}|{stamp}|".encode() + app_key, usedforsecurity=False).hexdigest()


def domains(url: str) -> tuple[str, ...]:
    """Return what may stand for the callback domain of *url*: first what we sign, then what we accept (ruling 7)."""
    written = urlsplit(url).netloc.rpartition("@")[2]
    host, colon, port = written.rpartition(":")
    if not colon or not port.isdigit():
        host = written
    return tuple(dict.fromkeys((host.lower(), written.lower(), host, written)))


def message_id(*parts: str) -> str:
    """Return a `MsgId` that is the same whenever it is made of the same *parts*."""
    return uuid5(NAMESPACE_URL, "northbound:" + "|".join(parts)).hex


class AliyunRtc(Dialect):
    """The `aliyun_rtc` wire, both directions, in the spelling of the RTC or of the Live family."""

    name: ClassVar[str] = "aliyun_rtc"
    types: ClassVar[frozenset[EventType]] = frozenset(TAG_OF)
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = ((*ROOM_TAGS, *USER_TAGS),)
    fresh: ClassVar[frozenset[str]] = frozenset({"MsgTimestamp", "Ali-Rtc-Timestamp", "Ali-Rtc-Signature"})
    known: ClassVar[frozenset[str]] = ENVELOPE | LIVE_MEMBERS | USER_WORDS
    secrets: ClassVar[frozenset[str]] = frozenset({"ali-rtc-signature", "authorization", "cookie"})
    key_scope: ClassVar[str] = "app"  # ruling 6: the AppKey signs
    batch_max: ClassVar[int] = 20
    retry: ClassVar[RetryPolicy] = RetryPolicy(
        attempts=4, waits=(timedelta(seconds=10),), deadline=timedelta(seconds=5)
    )
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            name="family",
            default="rtc",
            choices=("rtc", "live"),
            says="whose spelling is sent: RTC 2018-01-11 or Live 2016-11-01; both are read",
            sure="documented",
        ),
        Option(
            name="content_type",
            default="family",
            choices=("family", "form", "json"),
            says="label of the JSON body; family: form for rtc, json for live",
            sure="inferred",
        ),
        Option(name="batch", default=1, says="events of one channel that one message may hold, at most 20"),
        Option(name="subscribe_id", default="northbound", says="subscription ID sent; left out, own words keep theirs"),
        Option(
            name="callback_auth",
            default="signed",
            choices=("signed", "none"),
            says="NeedCallbackAuth of a subscription: whether what is sent is signed",
            sure="documented",
        ),
        Option(name="app_id", default="", says="AppId sent for events of other vendors; empty: the id of the app"),
        Option(
            name="reason_on",
            default="join_leave",
            choices=("join_leave", "all"),
            says="which user events of other vendors carry Reason",
        ),
        Option(
            name="timestamp_window",
            default=300,
            says="seconds a signature's time may differ from ours; 0: any",
            sure="inferred",
        ),
        Option(
            name="unsigned",
            default="refuse",
            choices=("refuse", "accept"),
            says="what becomes of callbacks that carry no signature: a subscription without NeedCallbackAuth",
        ),
        Option(
            name="terminal_types",
            default="1=windows,2=android,3=ios,4=linux,100=other",
            says="TerminalType numbers; empty: never read",
            sure="inferred",
        ),
        Option(
            name="user_types",
            default="1=native,2=mini_program,3=web",
            says="UserType numbers; empty: never read",
            sure="inferred",
        ),
        vendor_retries(default=True, sure="inferred"),
    )

    def verify(self, request: Request, keys: Sequence[Key], now: datetime, options: Options) -> Proof | Needs:
        if not keys:
            return Proof.NONE
        stamp = request.header("Ali-Rtc-Timestamp") or ""
        given = (request.header("Ali-Rtc-Signature") or "").lower().encode()
        if not stamp and not given and setting(self, options, "unsigned") == "accept":
            return Proof.NONE
        if not stamp or not given:
            raise SignatureError(
                "Ali-Rtc-Timestamp or Ali-Rtc-Signature is missing; subscribe with NeedCallbackAuth, "
                "or set the source's option unsigned to accept"
            )
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 20):
            raise SignatureError("Ali-Rtc-Timestamp is not a number of seconds")
        usable = [key.secret for key in keys if key.kind is KeyKind.SHARED and key.is_valid(now)]
        wanted = [signature(domain, stamp, secret) for secret in usable for domain in domains(request.url)]
        if not any(hmac.compare_digest(given, hexed.encode()) for hexed in wanted):
            told = domains(request.url)[0]
            raise SignatureError(
                f"Ali-Rtc-Signature does not match for the callback domain {told}; check the AppKey, and that the "
                "vendor was told this domain, which is of the source's public_url, or of the setting public_intake"
            )
        window = setting(self, options, "timestamp_window")
        if window and abs(to_seconds(now) - int(stamp)) > window:
            raise SignatureError(f"Ali-Rtc-Timestamp is more than {window} s away from our clock; check both clocks")
        return Proof.SENDER

    def decode(self, request: Request, options: Options) -> list[Event]:
        words = _read(request)
        contents = _slots(words)
        envelope = sum(len(name) + len(value) for name, value in words.items()) - len(words["Contents"])
        if (envelope + 5 * len(contents)) * len(contents) > SPREAD_LIMIT:
            raise DecodeError("one message holds too many Contents; send them in several")
        return [self._event(words, contents, index, options) for index in range(len(contents))]

    def _event(self, words: Words, contents: list[msgspec.Raw], index: int, options: Options) -> Event:
        name, tag, body = _content(contents[index], index)
        occurred_at = from_seconds(body.get("Timestamp"))
        message = _value(words.get("MsgId"))
        facts, unread = self._facts(tag, body, options)
        alone: list[msgspec.Raw] = [RAW_NULL] * len(contents)
        alone[index] = contents[index]
        item = members(contents[index])
        return Event(
            type=TYPES.get(name, {}).get(tag, T.UNKNOWN),
            dialect=self.name,
            scope=_value(words.get("AppId")),
            room_id=_room_id(words, body if name == "ChannelEvent" else {}),
            participant_id=text(body.get("UserId")),
            session_id=text(body.get("SessionId")),
            occurred_at=occurred_at,
            dedupe_key=None if message is None else time_key(occurred_at, f"{message}:{index}"),
            facts=facts,
            vendor=raw({**words, **_without_time(words), "Contents": alone}),
            unmapped=(
                *(word for word in words if word not in ENVELOPE),
                *(word for word in item if word not in ("Event", name)),
                *unread,
            ),
        )

    def _facts(self, tag: str, body: dict[str, Any], options: Options) -> tuple[Facts, list[str]]:
        """Return the facts of a content's *body* and the members of it that no field of ours carries."""
        _, split = SPLIT_TAGS.get(tag, (tag, None))
        listed = _medias(body.get("Medias", body.get("CurrentMedias")))
        terminal = _known(_numbered(setting(self, options, "terminal_types")), body.get("TerminalType"))
        facts = Facts(
            role=_known(ROLES, body.get("Role")),
            terminal=Terminal(terminal) if terminal in TERMINAL_NAMES else None,
            client=_known(_numbered(setting(self, options, "user_types")), body.get("UserType")),
            reason=_known(REASONS, body.get("Reason")) if tag in REASONED else None,
            media=(split,) if split else tuple(MEDIAS[number] for number in listed if number in MEDIAS),
        )
        all_listed = [MEDIA_NUMBERS[one] for one in facts.media] == listed
        carried = {
            "Reason": facts.reason is not None,
            "Role": facts.role is not None,
            "TerminalType": facts.terminal is not None,
            "UserType": facts.client is not None,
            "Timestamp": from_seconds(body.get("Timestamp")) is not None,
            "Medias": all_listed,
            "CurrentMedias": all_listed,
        }
        always = {"EventTag", "UserId", "SessionId", *CHANNEL.values()}
        return facts, [word for word in body if word not in always and not carried.get(word, False)]

    def header_set(self, request: Request, events: Sequence[Event]) -> HeaderSet | None:
        stamp, signed = (request.header(name) or "" for name in ("Ali-Rtc-Timestamp", "Ali-Rtc-Signature"))
        message = _value(members(events[0].vendor).get("MsgId")) if events else None
        # Of each second and AppKey there is one set, which several messages share; only MsgId tells these apart.
        return HeaderSet(id=f"{stamp}|{signed.lower()}", shown=f"Ali-Rtc-Timestamp {stamp}", message=message or "")

    def ack(self, request: Request, error: HubError | None) -> Response:
        status, _ = refusal(error)
        return Response(status=status) if error is None else Response.json(status, error_words(error))

    def kind(self, words: msgspec.Raw) -> str:
        slots = _slots(members(words))
        index = _place(slots)
        name, tag, _ = _content(slots[index], index)
        return tag or name

    def view(self, event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        family = setting(self, options, "family")
        words = members(event.vendor) if event.dialect == self.name else {}
        if not words:
            return self._compose(event, fill, options)
        views = (View(words=event.vendor),) if _family(words) == family else _translated(words, family)
        return (
            tuple(_for_subscription(view, family, options["subscribe_id"]) for view in views)
            if "subscribe_id" in options
            else views
        )

    def encode(self, views: Sequence[View], endpoint: Endpoint) -> Request:
        family, label = (setting(self, endpoint.options, name) for name in ("family", "content_type"))
        if label == "family":
            label = LABEL_OF_FAMILY[family]
        return Request(
            method="POST",
            url=endpoint.url,
            headers=(("content-type", CONTENT_TYPES[label]),),
            body=msgspec.json.encode(_merged([members(view.words) for view in views])),
        )

    def sign(self, request: Request, endpoint: Endpoint, now: datetime, entropy: bytes) -> Request:
        words = members(request.body)
        stamp = str(to_seconds(now))
        if "MsgTimestamp" in words:
            body = msgspec.json.encode(words | {"MsgTimestamp": msgspec.Raw(stamp.encode())})
            request = msgspec.structs.replace(request, body=body)
        keys = [key for key in endpoint.keys if key.kind is KeyKind.SHARED and key.is_valid(now)]
        if not keys or setting(self, endpoint.options, "callback_auth") == "none":
            return request
        newest = max(keys, key=lambda key: key.valid_from or datetime.min.replace(tzinfo=UTC))
        domain = domains(endpoint.public_url or endpoint.url)[0]
        return request.adding(
            ("Ali-Rtc-Timestamp", stamp), ("Ali-Rtc-Signature", signature(domain, stamp, newest.secret))
        )

    def judge(self, request: Request, response: Response) -> Verdict:
        return judge_status(response, (200,))

    # --- words for events of other vendors ---------------------------------------------------------------------------

    def _compose(self, event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        tag = TAG_OF.get(event.type)
        if tag is None:
            return ()
        if tag in ROOM_TAGS:
            return (self._room(Composer(event, fill), tag, options),)
        if event.participant_id is None or (tag == "Roleupdate" and event.facts.role is None):
            return ()  # a change of something else than the role has no word here
        if setting(self, options, "family") == "live" and tag in ("Publish", "Unpublish"):
            told = event.facts.media or fill.media or (Media.VIDEO,)
            return tuple(self._user(Composer(event, fill), tag, options, media) for media in dict.fromkeys(told))
        return (self._user(Composer(event, fill), tag, options, None),)

    def _room(self, say: Composer, tag: str, options: Options) -> View:
        words = self._envelope(say, options, say.fill.event_id)
        body = {"ChannelId": say.event.room_id or "", "EventTag": tag, "Timestamp": _timestamp(say)}
        return say.view(words | {"Contents": [{"Event": "ChannelEvent", "ChannelEvent": body}]})

    def _user(self, say: Composer, tag: str, options: Options, media: Media | None) -> View:
        """Say a user event with all fields of the page's table (ruling 22); *media* splits it like the Live family."""
        parts = (say.fill.event_id,) if media is None else (say.fill.event_id, media.value)
        words = self._envelope(say, options, *parts)
        body: dict[str, Any] = {
            "UserId": say.take("participant_id"),
            "EventTag": tag if media is None else tag + WORD_OF[media],
            "SessionId": say.need("SessionId", say.take("session_id"), say.fill.session_id),
            "Timestamp": _timestamp(say),
        }
        if tag in REASONED:
            body["Reason"] = say.need("Reason", _reason(say), 1)
        elif setting(self, options, "reason_on") == "all":
            body["Reason"] = say.invent("Reason", 1)
        role, filled = say.fact("role"), say.fill.role
        body["Role"] = say.need("Role", ROLE_NUMBERS[role] if role else None, ROLE_NUMBERS[filled] if filled else 1)
        body["TerminalType"] = _terminal(say, _named(setting(self, options, "terminal_types")))
        body["UserType"] = _client(say, _named(setting(self, options, "user_types")))
        body |= _media_words(say, tag, media, live=setting(self, options, "family") == "live")
        return say.view(words | {"Contents": [{"Event": "UserEvent", "UserEvent": body}]})

    def _envelope(self, say: Composer, options: Options, *parts: str) -> dict[str, Any]:
        family = setting(self, options, "family")
        subscribe, channel = SUBSCRIBE[family], CHANNEL[family]
        return {
            "MsgId": say.invent("MsgId", message_id(*parts)),
            "MsgTimestamp": RAW_NULL,
            subscribe: say.invent(subscribe, setting(self, options, "subscribe_id")),
            "AppId": say.invent("AppId", setting(self, options, "app_id") or say.fill.app.id),
            channel: say.need(channel, say.take("room_id"), ""),
        }


# --- in --------------------------------------------------------------------------------------------------------------


def _read(request: Request) -> Words:
    """Return the message's members: JSON under any label, or a real form (ruling 21)."""
    body = without_mark(request.body)
    if body.startswith(b"{"):
        return _json(body)
    pairs = read_params(body)
    for content in pairs[0][::-1] if len(pairs) == 1 else ():  # the value, then the lone key
        if content.lstrip().startswith("{"):
            return _json(content.strip().encode())
    form = dict(pairs)
    if "Contents" not in form:
        raise DecodeError("the body is neither a JSON object nor a form with Contents")
    if len(form) != len(pairs):
        raise DecodeError("a form field is repeated, so its value is not certain; send each once")
    contents = form["Contents"].encode()
    read_json(contents)
    return {name: raw(value) for name, value in form.items()} | {"Contents": _compact(contents)}


def _json(body: bytes) -> Words:
    read_object(body)
    return members(_compact(body))


def _compact(content: bytes) -> msgspec.Raw:
    """Return JSON text without white space; numbers and escapes stay as they were written."""
    return msgspec.Raw(msgspec.json.format(without_mark(content), indent=-1))


def _slots(words: Words) -> list[msgspec.Raw]:
    contents = words.get("Contents", RAW_NULL)
    if not bytes(contents).startswith(b"["):
        raise DecodeError("Contents must be a list")
    return msgspec.json.decode(contents, type=list[msgspec.Raw])


def _place(slots: list[msgspec.Raw]) -> int:
    """Return the place of the one item an event's words hold."""
    return next((index for index, slot in enumerate(slots) if bytes(slot) != b"null"), 0)


def _content(item: msgspec.Raw, index: int) -> tuple[str, str, dict[str, Any]]:
    """Return (Event, EventTag, members of the object named by Event); what the table requires must be there."""
    content = msgspec.json.decode(item)
    name = text(content.get("Event")) if isinstance(content, dict) else None
    if not isinstance(content, dict) or name is None:
        raise DecodeError(f"Contents[{index}] must be an object that names its Event")
    body = content.get(name)
    known = name in TYPES
    if not isinstance(body, dict):
        if known:
            raise DecodeError(f"Contents[{index}] must hold an object {name}")
        return name, "", {}
    tag = text(body.get("EventTag"))
    if known and tag is None:
        raise DecodeError(f"Contents[{index}].{name} needs EventTag")
    if name == "UserEvent" and tag in TYPES[name] and text(body.get("UserId")) is None:
        raise DecodeError(f"Contents[{index}].UserEvent needs UserId")
    return name, tag or "", body


def _value(member: msgspec.Raw | None) -> str | None:
    return None if member is None else text(msgspec.json.decode(member))


def _without_time(words: Words) -> Words:
    """Keep only the place of the send time, so that a repeated message has the same words."""
    return {"MsgTimestamp": RAW_NULL} if "MsgTimestamp" in words else {}


def _room_id(words: Words, body: dict[str, Any]) -> str | None:
    """Return the channel: the content's own where it names one, else the message's, in either spelling."""
    own = [text(body.get(name)) for name in CHANNEL.values()]
    return next((found for found in [*own, *[_value(words.get(name)) for name in CHANNEL.values()]] if found), None)


def _medias(value: Any) -> list[int]:
    """Read stream kinds: a list (RTC), text such as "1,2" (Live), or one number; -1 for what is no number."""
    if value is None or value == "":
        return []
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    numbers = [integer(part) for part in parts]
    return [-1 if number is None else number for number in numbers]


def _known(table: dict[int, V], value: Any) -> V | None:
    number = integer(value)
    return None if number is None else table.get(number)


def _numbered(table: str) -> dict[int, str]:
    """Read `1=windows,2=android`; a part that is not of this shape says nothing."""
    parts = [part.partition("=") for part in table.split(",")]
    return {int(number): name.strip() for number, _, name in parts if number.strip().isdecimal() and name.strip()}


def _named(table: str) -> dict[str, int]:
    return {name: number for number, name in reversed(_numbered(table).items())}


# --- out -------------------------------------------------------------------------------------------------------------


def _timestamp(say: Composer) -> int:
    occurred_at = say.take("occurred_at")
    if occurred_at is not None and occurred_at.microsecond:
        say.lose("occurred_at", "sent in whole seconds")
    return to_seconds(say.need("Timestamp", occurred_at, say.fill.recorded_at))


def _reason(say: Composer) -> int | None:
    reason = say.fact("reason")
    if reason is None or reason in REASON_NUMBERS:
        return REASON_NUMBERS.get(reason) if reason else None
    number = NEAREST_REASON.get(reason, 1)
    say.lose("facts.reason", f"{reason.value} has no number, sent as {number}")
    return number


def _terminal(say: Composer, numbers: dict[str, int]) -> int:
    other = numbers.get(Terminal.OTHER.value, OTHER_TERMINAL)
    terminal, filled = say.fact("terminal"), say.fill.terminal
    known = numbers.get(terminal.value, other) if terminal else None
    if terminal and terminal.value not in numbers:
        say.lose("facts.terminal", f"{terminal.value} has no number, sent as {other}")
    return say.need("TerminalType", known, numbers.get(filled.value, other) if filled else other)


def _client(say: Composer, numbers: dict[str, int]) -> int:
    client = say.fact("client")
    if client is not None and client not in numbers:
        say.lose("facts.client", f"{client} has no number")
    of_terminal = CLIENT_OF.get(say.event.facts.terminal or Terminal.OTHER, "")
    of_filled = CLIENT_OF.get(say.fill.terminal or Terminal.OTHER, "native")
    return say.need("UserType", numbers.get(client or of_terminal), numbers.get(of_filled, 1))


def _media_words(say: Composer, tag: str, split: Media | None, *, live: bool) -> dict[str, Any]:
    numbers = tuple(MEDIA_NUMBERS[media] for media in say.fact("media"))
    filled = tuple(MEDIA_NUMBERS[media] for media in say.fill.media)
    if not live:
        return {"Medias": say.need("Medias", numbers, filled)}
    if split is None:
        return {"CurrentMedias": _joined(say.need("CurrentMedias", numbers, filled))}
    if not numbers:
        say.invent("EventTag", tag)
    published = (MEDIA_NUMBERS[split],) if tag == "Publish" else ()
    return {"CurrentMedias": say.invent("CurrentMedias", _joined(filled or published))}


def _joined(numbers: Sequence[int]) -> str:
    return ",".join(str(number) for number in numbers)


def _merged(messages: list[Words]) -> Words:
    """Join views of one channel: one message's own whole again, anything else under a `MsgId` of its own.

    A part must not keep the id of the whole, nor a group the id of its first: a receiver that drops known ids would
    drop events it never saw.
    """
    first, slots = messages[0], [_slots(message) for message in messages]
    places = [_place(each) for each in slots]
    items = [each[place] for each, place in zip(slots, places, strict=True)]
    merged = first | {"Contents": raw(items)}
    if "MsgId" not in first or _is_whole(messages, slots, places):
        return merged
    names = [
        (_value(message.get("MsgId")) or "") + (f"#{place}" if len(each) > 1 else "")
        for message, each, place in zip(messages, slots, places, strict=True)
    ]
    return merged | {"MsgId": raw(message_id(*names))}


def _is_whole(messages: list[Words], slots: list[list[msgspec.Raw]], places: list[int]) -> bool:
    envelopes = [{name: bytes(value) for name, value in words.items() if name != "Contents"} for words in messages]
    same = all(envelope == envelopes[0] for envelope in envelopes)
    return same and places == list(range(len(messages))) and {len(each) for each in slots} == {len(messages)}


# --- one family's words in the other's -------------------------------------------------------------------------------


def _family(words: Words) -> str:
    """Tell which family spelled *words*: one mark of the Live family is enough."""
    slots = _slots(words)
    _, tag, body = _content(slots[_place(slots)], _place(slots))
    marked = tag in SPLIT_TAGS or not LIVE_MEMBERS.isdisjoint(body)
    return "live" if marked or SUBSCRIBE["live"] in words or CHANNEL["live"] in words else "rtc"


def _for_subscription(view: View, family: str, subscribe_id: str) -> View:
    """Name the subscription that a message is sent for; it came to us for another one."""
    words = members(view.words)
    spelled = [name for name in SUBSCRIBE.values() if name in words] or [SUBSCRIBE[family]]
    named = words | dict.fromkeys(spelled, raw(subscribe_id))
    return msgspec.structs.replace(view, words=raw(named))


def _translated(words: Words, family: str) -> tuple[View, ...]:
    """Respell *words* for the other family, every further member kept where it is."""
    slots = _slots(words)
    place = _place(slots)
    other = "live" if family == "rtc" else "rtc"
    respelled = {names[other]: names[family] for names in (SUBSCRIBE, CHANNEL) if names[family] not in words}
    message = {respelled.get(name, name): value for name, value in words.items()}
    item = members(slots[place])
    if _value(item["Event"]) != "UserEvent":
        return (View(words=raw(message)),)
    said = (_to_rtc if family == "rtc" else _to_live)(members(item["UserEvent"]))
    if len(said) == 1:
        body, lost = said[0]
        slots[place] = raw(item | {"UserEvent": raw(body)})
        return (View(words=raw(message | {"Contents": raw(slots)}), lost=lost),)
    name = f"{_value(words.get('MsgId')) or ''}#{place}"
    return tuple(
        View(
            words=raw(
                message
                | ({"MsgId": raw(message_id(name, _value(body["EventTag"]) or ""))} if "MsgId" in words else {})
                | {"Contents": raw([item | {"UserEvent": raw(body)}])}
            ),
            lost=lost,
        )
        for body, lost in said
    )


def _to_rtc(body: Words) -> list[tuple[Words, tuple[str, ...]]]:
    plain = msgspec.json.decode(raw(body))
    listed = _medias(plain.get("CurrentMedias"))
    if plain["EventTag"] not in SPLIT_TAGS:
        numbers = [number for number in listed if number >= 0]
        lost = ("vendor.CurrentMedias",) if numbers != listed else ()
        return [(_swapped(body, "CurrentMedias", "Medias", raw(numbers)), lost)]
    tag, media = SPLIT_TAGS[plain["EventTag"]]
    told = [MEDIA_NUMBERS[media]]
    body = _swapped(body | {"EventTag": raw(tag)}, "CurrentMedias", "Medias", raw(told))
    return [(body | {"Medias": raw(told)}, ("vendor.CurrentMedias",) if listed not in ([], told) else ())]


def _to_live(body: Words) -> list[tuple[Words, tuple[str, ...]]]:
    plain = msgspec.json.decode(raw(body))
    listed = _medias(plain.get("Medias"))
    numbers = [number for number in listed if number >= 0]
    body = _swapped(body, "Medias", "CurrentMedias", raw(_joined(numbers)))
    tag = plain["EventTag"]
    if tag not in ("Publish", "Unpublish"):
        return [(body, ("vendor.Medias",) if numbers != listed else ())]
    lost = tuple(f"vendor.Medias ({number} has no word)" for number in listed if number not in MEDIAS)
    known = [MEDIAS[number] for number in dict.fromkeys(numbers) if number in MEDIAS]
    return [(body | {"EventTag": raw(tag + WORD_OF[media])}, lost) for media in known]


def _swapped(body: Words, old: str, new: str, value: msgspec.Raw) -> Words:
    return {(new if name == old else name): (value if name == old else member) for name, member in body.items()}


DIALECT = AliyunRtc()
