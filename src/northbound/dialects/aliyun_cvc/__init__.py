"""Aliyun CVC (云视频会议) meeting messages: one EventBridge event per POST, pushed to an HTTP target.

The body is a CloudEvents envelope; the meeting's words lie in `data`, an object (today) or JSON text (the page of
2020). A zone-less `time` is in the account's zone. `source` + `id` name an event: producers may send it again.

Two signatures are in use (`signature.py`), checked with a certificate that the request itself names, so its URL must be
on an allow-list. Anybody who ever received a V1 request can read its temporary secret with the public certificate and
sign other bodies by it: without a token, V1 keeps out strangers, but no other customer of the bus. The option
`accept_signature` can insist on V2.

The actions of members are an open list of the vendor's words. Those of `MemberOperate` (camera, mute, share, ...) all
stay `participant.operated` with the word in `facts.operation`, also where another vendor would tell of a track.
Page: 接收会议状态消息推送 (seed 000); rulings 1 and 11-15. Slips of the page are never sent (docs/vendors).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, ClassVar

import msgspec

from northbound.dialects.aliyun_cvc.salvage import salvage
from northbound.dialects.aliyun_cvc.signature import (
    CERTIFICATE_HOSTS,
    GENERATIONS,
    SECRET,
    SIGNED_V1,
    SIGNED_V2,
    TIMESTAMP,
    TOKEN,
    URL,
    VERSION,
    check_time,
    check_token,
    is_trusted,
    private_key,
    public_key,
    sign_v1,
    sign_v2,
)
from northbound.dialects.base import (
    Composer,
    Dialect,
    Option,
    Options,
    from_ms,
    integer,
    members,
    own_view,
    read_object,
    refusal,
    sending_key,
    setting,
    text,
    time_key,
    to_ms,
    vendor_retries,
    without_mark,
    zone_named,
)
from northbound.model.app import Endpoint, RetryPolicy, RetryStrategy
from northbound.model.delivery import Fill, View
from northbound.model.errors import DecodeError, HubError, InvalidInput, SignatureError
from northbound.model.event import VOLUNTARY, Counts, Event, EventType, Facts, Media, PhoneAccess, Reason, Terminal
from northbound.model.wire import Key, KeyKind, Needs, Proof, Request, Response

T = EventType

EVENT_MAX = 256 * 1024  # bytes of one event on the bus (facts 3.4)

STATE, MEMBER, OPERATE, STATISTIC = KINDS = (
    "aliyuncvc:MeetingEvent:MeetingStateEvent",
    "aliyuncvc:MeetingEvent:MemberStateEvent",
    "aliyuncvc:MeetingEvent:MemberOperate",
    "aliyuncvc:MeetingEvent:MeetingStatistic",
)
# The page spells the second segment in two ways; no other spelling is registered (ruling 13).
SPELLINGS = {kind: kind for kind in KINDS} | {kind.replace(":MeetingEvent:", ":meetingEvent:"): kind for kind in KINDS}
REQUIRED = {
    STATE: ("meetingUUID", "action"),
    MEMBER: ("meetingUUID", "userId", "action"),
    OPERATE: ("meetingUUID", "userId", "action"),
    STATISTIC: (),
}

SOURCE = "acs.aliyuncvc"
NOUNS = frozenset({"meeting", "member", "user"})
VERBS = {
    STATE: {
        "start": T.ROOM_OPENED,
        "begin": T.ROOM_OPENED,
        "open": T.ROOM_OPENED,
        "end": T.ROOM_CLOSED,
        "stop": T.ROOM_CLOSED,
        "close": T.ROOM_CLOSED,
    },
    MEMBER: {
        "join": T.PARTICIPANT_JOINED,
        "enter": T.PARTICIPANT_JOINED,
        "leave": T.PARTICIPANT_LEFT,
        "exit": T.PARTICIPANT_LEFT,
        "quit": T.PARTICIPANT_LEFT,
    },
}
STATES = {"active": Reason.NORMAL, "passive": Reason.INVOLUNTARY}
PHONES = {phone.value: phone for phone in PhoneAccess}
COUNTS = {
    "meetings": "meetingCount",
    "seconds": "meetingTime",
    "members": "meetingMember",
    "peak": "meetingConcurrency",
}
UNITS = {"seconds": 1, "minutes": 60}
TRACK_ACTIONS = {
    T.TRACK_PUBLISHED: {Media.VIDEO: "camera_on", Media.AUDIO: "unmute", Media.DESKTOP: "share_start"},
    T.TRACK_UNPUBLISHED: {Media.VIDEO: "camera_off", Media.AUDIO: "mute", Media.DESKTOP: "share_stop"},
}

# What tells of the envelope and of the bus's own delivery, not of the meeting: nothing is lost without it.
ENVELOPE = frozenset(
    "data id source type time specversion datacontenttype "
    "aliyuneventbusname aliyunpublishtime aliyunpublishaddr".split()
)
LISTED = frozenset(
    "subject aliyunaccountid aliyunregionid action time meetingUUID meetingName groupId userId state startTime "
    "callState meetingCount meetingTime meetingMember meetingConcurrency".split()
)
ZONES = {"PRC": 8, "Asia/Shanghai": 8, "Asia/Chongqing": 8, "Asia/Hong_Kong": 8, "UTC": 0, "GMT": 0}
HALF_HOURS = tuple(
    f"{'-' if half < 0 else '+'}{abs(half) // 2:02d}:{abs(half) % 2 * 30:02d}" for half in range(-24, 29)
)


class AliyunCvc(Dialect):
    """The `aliyun_cvc` wire, both directions."""

    name: ClassVar[str] = "aliyun_cvc"
    types: ClassVar[frozenset[EventType]] = frozenset(
        {
            T.ROOM_OPENED,
            T.ROOM_CLOSED,
            T.PARTICIPANT_JOINED,
            T.PARTICIPANT_LEFT,
            T.PARTICIPANT_OPERATED,
            T.TRACK_PUBLISHED,
            T.TRACK_UNPUBLISHED,
            T.STATS_DAILY,
        }
    )
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = (KINDS,)
    spellings: ClassVar[Mapping[str, str]] = {name: kind for name, kind in SPELLINGS.items() if name != kind}
    fresh: ClassVar[frozenset[str]] = frozenset(
        {TIMESTAMP, SECRET, SIGNED_V1, SIGNED_V2, "aliyunpublishtime", "aliyunpublishaddr"}
    )
    known: ClassVar[frozenset[str]] = ENVELOPE | LISTED
    secrets: ClassVar[frozenset[str]] = frozenset(
        {TOKEN, SECRET, SIGNED_V1, SIGNED_V2, "authorization", "cookie", "signature", "securitytoken"}
        | {"x-acs-security-token"}
    )
    key_scope: ClassVar[str] = "hub"  # ruling 6: our one certificate signs for every endpoint
    retry: ClassVar[RetryPolicy] = RetryPolicy(
        strategy=RetryStrategy.BACKOFF_RETRY, attempts=4, deadline=timedelta(seconds=5)
    )
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            name="envelope",
            default="seed2020",
            choices=("seed2020", "current"),
            says="send other vendors' events as on the page of 2020 (data as text) or as today (data as object)",
        ),
        Option(
            name="zone_offset",
            default="+08:00",
            choices=HALF_HOURS,
            says="the account's zone: of times without a zone, and of the times that we send",
            sure="inferred",
        ),
        Option(
            name="zone",
            default="",
            says="the account's zone by name, such as Asia/Shanghai; takes the place of zone_offset",
        ),
        Option(
            name="subject",
            default="acs.aliyuncvc:{region}:{account}:{room}",
            says="subject of other vendors' events; knows {region} {account} {group} {room} {user}",
            sure="inferred",
        ),
        Option(name="group_id", default="", says="groupId of members whose organisation is not known"),
        Option(
            name="meeting_time_unit",
            default="seconds",
            choices=tuple(UNITS),
            says="unit of meetingTime in the daily statistic",
            sure="inferred",
        ),
        Option(
            name="signature",
            default="both",
            choices=("both", "v1", "v2", "none"),
            says="generations of the signature to send when the endpoint has an RSA key",
        ),
        Option(name="v1_newline", default=True, says="end what V1 signs with a newline", sure="documented"),
        Option(name="v2_newline", default=False, says="end what V2 signs with a newline", sure="inferred"),
        Option(
            name="accept_signature",
            default="any",
            choices=("any", "v2"),
            says="generations to accept; V1 can be forged by whoever once received a signed request",
        ),
        Option(name="require_signature", default=False, says="refuse unsigned requests"),
        Option(name="window_seconds", default=60, says="age that a signature may have, either way", sure="documented"),
        Option(
            name="certificate_urls",
            default=CERTIFICATE_HOSTS,
            says="where certificates may lie: hosts (https) or URL beginnings, separated by commas",
            sure="documented",
        ),
        Option(
            name="certificate_dates",
            default="check",
            choices=("check", "ignore"),
            says="whether a certificate outside its dates is refused",
        ),
        vendor_retries(default=True, sure="documented"),
    )

    def verify(self, request: Request, keys: Sequence[Key], now: datetime, options: Options) -> Proof | Needs:
        has_token = check_token(request, keys, now)
        generations = [check for name, check in GENERATIONS.items() if request.header(name) is not None]
        if not generations:
            if setting(self, options, "require_signature") or any(key.kind is not KeyKind.TOKEN for key in keys):
                raise SignatureError("the request is not signed; this source takes signed requests only")
            return Proof.SENDER if has_token else Proof.NONE
        if setting(self, options, "accept_signature") == "v2" and request.header(SIGNED_V2) is None:
            raise SignatureError(f"the header {SIGNED_V2} is missing; this source does not accept V1 alone")
        check_time(request, now, setting(self, options, "window_seconds"))
        url = request.header(URL) or ""
        if not is_trusted(url, setting(self, options, "certificate_urls")):
            raise SignatureError(f"{URL} names a place that is not on this source's list; nothing was fetched")
        kept = [key for key in keys if key.kind is KeyKind.CERTIFICATE and key.url == url and key.is_valid(now)]
        told = "/".join(request.url.split("/")[:3])
        refused = SignatureError(
            f"the signature does not match the URL, headers and body; check that the vendor was told a URL at {told}, "
            "which is the public_url of the source, or the setting public_intake"
        )
        for key in kept:
            try:
                public = public_key(key.secret, now if setting(self, options, "certificate_dates") == "check" else None)
            except SignatureError as error:
                refused = error
                continue
            # Every generation that is there must hold, so that no changed header passes unseen.
            if all(is_signed(request, public) for is_signed in generations):
                return Proof.FRESH
        if kept:
            raise refused
        return Needs(url=url)

    def decode(self, request: Request, options: Options) -> list[Event]:
        content, salvaged = _read_envelope(request.body)
        envelope = msgspec.json.decode(content, type=dict[str, Any])
        word = envelope.get("type")
        if not isinstance(word, str) or not word:
            raise DecodeError("the envelope needs a type")
        kind = SPELLINGS.get(word)
        words = _read_words(envelope.get("data"), kind)
        event_type = _event_type(kind, words)
        published = _read_time(envelope.get("time"), _offset(options))
        said_at = from_ms(words.get("time"))
        facts = _facts(words, event_type, options)
        given = text(envelope.get("id"))
        event = Event(
            type=event_type,
            dialect=self.name,
            room_id=text(words.get("meetingUUID")),
            participant_id=text(words.get("userId")),
            occurred_at=said_at or published,
            dedupe_key=given and time_key(published or said_at, f"{text(envelope.get('source')) or ''}|{given}"),
            facts=msgspec.structs.replace(facts, salvaged=salvaged),
            vendor=msgspec.Raw(content),
            unmapped=(
                *[name for name in envelope if name not in ENVELOPE],
                *(["data"] if envelope.get("data") and not words else []),
                *_unmapped(words, kind, facts, event_type, timed=said_at is not None),
            ),
        )
        return [event]

    def ack(self, request: Request, error: HubError | None) -> Response:
        """Answer in plain text, as the page's demo does; nothing says that the bus reads it."""
        status, word = refusal(error)
        return Response.text(status, "received" if error is None else f"{word}: {error.message}")

    def kind(self, words: msgspec.Raw) -> str:
        word = members(words).get("type", msgspec.Raw(b'""'))
        name = msgspec.json.decode(word) if bytes(word).startswith(b'"') else ""
        return SPELLINGS.get(name, name)

    def view(self, event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        if event.dialect == self.name:
            return own_view(event)
        say = WORDS.get(event.type)
        return () if say is None else say(event, fill, options)

    def encode(self, views: Sequence[View], endpoint: Endpoint) -> Request:
        (view,) = views
        headers = (("content-type", "application/json; charset=utf-8"),)
        body = msgspec.json.format(bytes(view.words), indent=-1)
        if len(body) > EVENT_MAX:
            raise InvalidInput(
                f"the event has {len(body)} bytes in this wire, which takes {EVENT_MAX}; it is not cut, and sending it "
                "again does not help: send it in another dialect"
            )
        return Request(method="POST", url=endpoint.url, headers=headers, body=body)

    def sign(self, request: Request, endpoint: Endpoint, now: datetime, entropy: bytes) -> Request:
        token = sending_key(endpoint.keys, KeyKind.TOKEN, now)
        if token is not None:
            request = request.adding((TOKEN, token.secret.decode("latin-1")))
        key = sending_key(endpoint.keys, KeyKind.RSA, now)
        wanted = setting(self, endpoint.options, "signature")
        if key is None or wanted == "none":
            return request
        if not key.url:
            raise InvalidInput("the RSA key has no certificate URL, so receivers could not check it", field="keys")
        private = private_key(key.secret)
        request = request.adding((TIMESTAMP, str(to_ms(now))), (VERSION, "1.0"), (URL, key.url))
        url = endpoint.public_url or endpoint.url
        if wanted in ("both", "v1"):
            newline = setting(self, endpoint.options, "v1_newline")
            request = sign_v1(request, private, url, entropy, newline=newline)
        if wanted in ("both", "v2"):
            newline = setting(self, endpoint.options, "v2_newline")
            request = sign_v2(request, private, url, newline=newline)
        return request


# --- in --------------------------------------------------------------------------------------------------------------


def _read_envelope(body: bytes) -> tuple[bytes, bool]:
    """Return the envelope as compact JSON, and whether it had to be salvaged."""
    content = without_mark(body)
    salvaged = False
    try:
        read_object(content)
    except DecodeError:
        repaired = salvage(content)
        if repaired == content:
            raise
        content, salvaged = repaired, True
        read_object(content)
    return msgspec.json.format(content, indent=-1), salvaged


def _read_words(data: Any, kind: str | None) -> dict[str, Any]:
    """Return the meeting's words; of an unknown kind, nothing is asked."""
    if isinstance(data, dict):
        words: dict[str, Any] = data
    elif kind is None:
        words = _object_in(data)
    elif isinstance(data, str):
        try:
            words = read_object(data.encode())
        except DecodeError as error:
            raise DecodeError(f"the text in data: {error.message}") from None
    else:
        raise DecodeError("data must be a JSON object, or one as text")
    for name in REQUIRED.get(kind or "", ()):
        if text(words.get(name)) is None:
            raise DecodeError(f"data of {kind} needs {name}")
    return words


def _object_in(data: Any) -> dict[str, Any]:
    try:
        return read_object(data.encode()) if isinstance(data, str) else {}
    except DecodeError:
        return {}


def _event_type(kind: str | None, words: dict[str, Any]) -> EventType:
    if kind == OPERATE:
        return T.PARTICIPANT_OPERATED
    if kind == STATISTIC:
        return T.STATS_DAILY
    if kind is None:
        return T.UNKNOWN
    meant = _meant(kind, words)
    only_on_leave = kind == MEMBER and any(text(words.get(name)) for name in ("state", "startTime"))
    return meant or (T.PARTICIPANT_LEFT if only_on_leave else T.UNKNOWN)


def _meant(kind: str | None, words: dict[str, Any]) -> EventType | None:
    """Return what an action means by its verb, wherever it stands: `member_join`, `joinMeeting`.

    An action with a further word (`meeting_start_record`, `meeting_extend`) is not understood, rather than guessed.
    """
    found = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", text(words.get("action")) or "")]
    verbs = [word for word in found if word not in NOUNS]
    return VERBS.get(kind or "", {}).get(verbs[0]) if len(verbs) == 1 else None


def _facts(words: dict[str, Any], event_type: EventType, options: Options) -> Facts:
    left = event_type is T.PARTICIPANT_LEFT
    return Facts(
        room_name=text(words.get("meetingName")),
        group_id=text(words.get("groupId")),
        phone=PHONES.get(text(words.get("callState")) or ""),
        reason=STATES.get(text(words.get("state")) or "") if left else None,
        operation=text(words.get("action")) if event_type is T.PARTICIPANT_OPERATED else None,
        joined_at=from_ms(words.get("startTime")) if left else None,
        counts=_counts(words, options) if event_type is T.STATS_DAILY else None,
    )


def _counts(words: dict[str, Any], options: Options) -> Counts:
    numbers = {ours: integer(words.get(theirs)) for ours, theirs in COUNTS.items()}
    seconds = numbers.pop("seconds")
    unit = UNITS[setting(DIALECT, options, "meeting_time_unit")]
    return Counts(seconds=None if seconds is None else seconds * unit, **numbers)


def _unmapped(
    words: dict[str, Any], kind: str | None, facts: Facts, event_type: EventType, *, timed: bool
) -> list[str]:
    """Name the words that the event does not carry: new ones, and known ones with a value that nobody told us of."""
    counts = facts.counts or Counts()
    carried = {
        "meetingUUID": True,
        "userId": True,
        "meetingName": True,
        "groupId": True,
        "time": timed,
        "action": facts.operation is not None or _meant(kind, words) is event_type,
        "callState": facts.phone is not None,
        "state": facts.reason is not None,
        "startTime": facts.joined_at is not None,
        **{theirs: getattr(counts, ours) is not None for ours, theirs in COUNTS.items()},
    }
    return [f"data.{name}" for name, value in words.items() if value not in (None, "") and not carried.get(name)]


WIRE_TIME = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d:\d\d)(?P<part>\.\d{1,9})? ?"
    r"(?P<offset>Z|[+-]\d\d:?\d\d)?\[?(?P<zone>[A-Z][A-Za-z_/]+)?\]?",
    re.ASCII,
)


def _read_time(value: Any, account: tzinfo) -> datetime | None:
    """Read an envelope's time: with an offset, Z or a zone's name behind it, or in the *account*'s zone."""
    found = WIRE_TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    zone, offset = found["zone"], found["offset"]
    if offset is None and zone is not None:
        if zone not in ZONES:
            return None
        offset = f"+{ZONES[zone]:02d}:00"
    try:
        moment = datetime.fromisoformat(f"{found['day']}T{found['clock']}{(found['part'] or '')[:7]}{offset or ''}")
        return (moment if moment.tzinfo else moment.replace(tzinfo=account)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _offset(options: Options) -> tzinfo:
    name: str = setting(DIALECT, options, "zone")
    zone = zone_named(name) if name else None
    if zone is not None:
        return zone
    chosen: str = setting(DIALECT, options, "zone_offset")
    sign = -1 if chosen.startswith("-") else 1
    return timezone(sign * timedelta(hours=int(chosen[1:3]), minutes=int(chosen[4:6])))


def _local(moment: datetime, zone: tzinfo) -> datetime:
    """Return *moment* in *zone*; at either end of the calendar, where that may be no time, in UTC."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment


# --- out -------------------------------------------------------------------------------------------------------------


def _said(say: Composer, kind: str, words: dict[str, Any], options: Options, part: str = "") -> View:
    """Put *words* into the envelope; *part* tells apart several events made of one, as `source` + `id` must."""
    occurred, recorded = say.take("occurred_at"), say.fill.recorded_at
    words = {**words, "time": to_ms(say.need("data.time", occurred, recorded))}
    data = {name: words[name] for name in DATA_ORDER if words.get(name) is not None}
    moment = _local(say.need("time", occurred, recorded), _offset(options))
    current = setting(DIALECT, options, "envelope") == "current"
    clock = moment.isoformat(timespec="milliseconds") if current else moment.strftime("%Y-%m-%d %H:%M:%S.%f")
    envelope = {
        "data": data if current else msgspec.json.encode(data).decode(),
        "id": say.invent("id", say.fill.event_id + part),
        "source": SOURCE,
        "specversion": "1.0" if current else None,
        "type": kind,
        "subject": say.invent("subject", _subject(say, data, options)),
        "time": clock,
    }
    if current:
        envelope["aliyunaccountid"] = say.invent("aliyunaccountid", say.fill.app.account_id)
        envelope["aliyuneventbusname"] = say.invent("aliyuneventbusname", "default")
        envelope["aliyunregionid"] = say.invent("aliyunregionid", say.fill.app.region)
    return say.view(envelope)


DATA_ORDER = (
    "meetingName groupId action time userId state startTime callState meetingUUID "
    "meetingCount meetingTime meetingMember meetingConcurrency"
).split()


def _subject(say: Composer, data: dict[str, Any], options: Options) -> str:
    parts = {
        "region": say.fill.app.region,
        "account": say.fill.app.account_id,
        "group": data.get("groupId", ""),
        "room": data.get("meetingUUID", ""),
        "user": data.get("userId", ""),
    }
    template: str = setting(DIALECT, options, "subject")
    return re.sub(r"\{(region|account|group|room|user)\}", lambda place: parts[place[1]], template).rstrip(":/")


def _meeting(say: Composer, action: str) -> dict[str, Any]:
    room_id = say.need("data.meetingUUID", say.take("room_id"), "")
    name = say.need("data.meetingName", say.fact("room_name"), say.fill.room_name or room_id)
    return {"meetingUUID": room_id, "meetingName": name, "action": action}


def _member(say: Composer, action: str, options: Options) -> dict[str, Any]:
    return {
        **_meeting(say, action),
        "groupId": say.need("data.groupId", say.fact("group_id"), setting(DIALECT, options, "group_id")),
        "userId": say.need("data.userId", say.take("participant_id"), ""),
    }


def _room(action: str) -> Callable[[Event, Fill, Options], tuple[View, ...]]:
    def say_room(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        say = Composer(event, fill)
        return (_said(say, STATE, _meeting(say, action), options),)

    return say_room


def _join(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    say = Composer(event, fill)
    words = _member(say, "member_join", options) | {"callState": _call_state(say)}
    return (_said(say, MEMBER, words, options),)


def _leave(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    say = Composer(event, fill)
    words = _member(say, "member_leave", options) | {"state": _state(say), "callState": _call_state(say)}
    left_at = event.occurred_at or fill.recorded_at
    # Without any beginning, a stay of no length: the wire wants a number here (ruling 2).
    words["startTime"] = to_ms(say.need("data.startTime", say.fact("joined_at"), fill.joined_at or left_at))
    return (_said(say, MEMBER, words, options),)


def _state(say: Composer) -> str:
    """Say why somebody left, as coarsely as this wire does (ruling 1)."""
    reason: Reason | None = say.fact("reason")
    if reason is None or reason is Reason.OTHER:
        if reason is not None:
            say.lose("facts.reason", "other has no word here")
        return say.invent("data.state", "active")
    word = "active" if reason in VOLUNTARY else "passive"
    if reason is not STATES[word]:
        say.lose("facts.reason", f"{reason.value} is only {word} here")
    return word


def _call_state(say: Composer) -> str | None:
    """Say how a telephone came in; nothing for whoever did not come by telephone (ruling 14)."""
    if say.event.facts.terminal is Terminal.PHONE:
        say.fact("terminal")
        return say.need("data.callState", say.fact("phone"), PhoneAccess.CALL_IN).value
    phone: PhoneAccess | None = say.fact("phone")
    return phone and phone.value


def _operated(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    say = Composer(event, fill)
    action = say.fact("operation")
    return () if action is None else (_said(say, OPERATE, _member(say, action, options), options),)


def _track(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    actions = TRACK_ACTIONS[event.type]
    media = event.facts.media or fill.media or (Media.VIDEO,)
    views: list[View] = []
    for medium in media:
        say = Composer(event, fill)
        action = say.need("data.action", actions[medium] if say.fact("media") else None, actions[medium])
        part = f"-{medium.value}" if len(media) > 1 else ""
        views.append(_said(say, OPERATE, _member(say, action, options), options, part))
    return tuple(views)


def _daily(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    say = Composer(event, fill)
    counts: Counts | None = say.fact("counts")
    if counts is None:
        return ()
    words = {theirs: say.need(f"data.{theirs}", getattr(counts, ours), 0) for ours, theirs in COUNTS.items()}
    unit = UNITS[setting(DIALECT, options, "meeting_time_unit")]
    words["meetingTime"], rest = divmod(words["meetingTime"], unit)
    if rest:
        say.lose("facts.counts", "meetingTime in whole minutes")
    return (_said(say, STATISTIC, words, options),)


WORDS: dict[EventType, Callable[[Event, Fill, Options], tuple[View, ...]]] = {
    T.ROOM_OPENED: _room("meeting_start"),
    T.ROOM_CLOSED: _room("meeting_end"),
    T.PARTICIPANT_JOINED: _join,
    T.PARTICIPANT_LEFT: _leave,
    T.PARTICIPANT_OPERATED: _operated,
    T.TRACK_PUBLISHED: _track,
    T.TRACK_UNPUBLISHED: _track,
    T.STATS_DAILY: _daily,
}

DIALECT = AliyunCvc()
