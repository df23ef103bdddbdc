"""anyRTC notification service: one event per POST, a JSON envelope around a recording's or a channel's payload.

`Ar-Signature` is HMAC-SHA1 over the body's bytes. The body holds `notifyMs`, the time of sending, new on each attempt;
`noticeId` stays. `eventType` decides what an event is: the page's own samples of 31 and 32 have each other's msgName.
Numbers mislead: `module` is not `serviceType`, stream state 0 is "receiving", and 32 is both an error and a warning.
Page: 云端录制 消息通知 (seed 003) for recordings, 消息通知服务 for the envelope and channels; rulings 25-29.
"""

import hmac
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from northbound.dialects.anyrtc.details import DETAILS, status_number, wire_uid
from northbound.dialects.anyrtc.reading import Words, as_count, as_number, as_person, one_of
from northbound.dialects.anyrtc.tables import (
    CHANNEL,
    CHANNEL_NUMBERS,
    CHANNELS_PRODUCT,
    KNOWN,
    NEAR_REASONS,
    NOBODY,
    PLATFORM_NUMBERS,
    PLATFORMS,
    PRODUCTS,
    REASON_NUMBERS,
    REASONS,
    RECORDING,
    RECORDINGS_PRODUCT,
    STATES,
    STREAM_NUMBERS,
    STREAMS,
)
from northbound.dialects.base import (
    Composer,
    Dialect,
    Option,
    Options,
    ProbeDialect,
    from_ms,
    from_seconds,
    integer,
    judge_status,
    members,
    own_view,
    raw,
    read_object,
    setting,
    text,
    time_key,
    to_ms,
    to_seconds,
    vendor_retries,
    without_mark,
)
from northbound.model.app import Endpoint, RetryPolicy
from northbound.model.delivery import Fill, Verdict, View
from northbound.model.errors import DecodeError, SignatureError
from northbound.model.event import Event, EventType, Facts, Terminal
from northbound.model.wire import Key, KeyKind, Needs, Proof, Request, Response

T = EventType


FRESH_WINDOW = timedelta(minutes=5)  # how near notifyMs must be for a signature to prove more than the content
P = "payload."  # where an invented word stands
STORED = {  # where the files are: one such word for each sid, also when they move on from the backup (ruling 25)
    T.RECORDING_UPLOADED: 31,
    T.RECORDING_BACKED_UP: 32,
    T.RECORDING_COMPLETED: 31,
    T.RECORDING_TRANSCODED: 31,
}
FINISHED = frozenset({T.RECORDING_COMPLETED, T.RECORDING_TRANSCODED})  # when these failed, they are an error: 1
ONE_OUTCOME = "the event (31 and 32 exclude each other, and this sid had one)"


def signature(body: bytes, secret: bytes, digest: str = "sha1") -> str:
    """Return the `Ar-Signature` of *body* by *secret*, lower-case hex (inferred from the service it is modelled on)."""
    return hmac.digest(secret, body, digest).hex()


class AnyRtc(Dialect, ProbeDialect):
    """The `anyrtc` wire, both directions."""

    name: ClassVar[str] = "anyrtc"
    types: ClassVar[frozenset[EventType]] = frozenset(
        {notice.type for notice in RECORDING.values()}
        | {kind for kind, _ in CHANNEL.values()}
        | {*STATES.values(), T.RECORDING_COMPLETED, T.RECORDING_TRANSCODED}
    ) - {T.UNKNOWN}
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = (
        tuple(f"recording/{number}" for number in RECORDING),
        tuple(f"rtc/{number}" for number in CHANNEL),
    )
    fresh: ClassVar[frozenset[str]] = frozenset({"notifyMs", "Ar-Signature"})
    known: ClassVar[frozenset[str]] = KNOWN
    secrets: ClassVar[frozenset[str]] = frozenset({"ar-signature", "authorization", "cookie"})
    retry: ClassVar[RetryPolicy] = RetryPolicy(
        attempts=3, waits=(timedelta(seconds=10),), deadline=timedelta(seconds=10)
    )
    options: ClassVar[tuple[Option, ...]] = (
        Option(name="strict_reply", default=False, says="refuse a 200 whose body is not JSON", sure="inferred"),
        Option(
            name="signature", default="sha1", choices=("sha1", "sha256"), says="hash of Ar-Signature", sure="inferred"
        ),
        Option(
            name="max_age_s",
            default=0,
            says="refuse a signed notice whose notifyMs is further than this from now; 0 only grades it",
        ),
        Option(name="health_event_type", default=10, says="eventType of the test notice", sure="inferred"),
        Option(
            name="health_product",
            default=CHANNELS_PRODUCT,
            says="productId of the test notice; notice settings say their own",
            sure="inferred",
        ),
        Option(
            name="text_uid",
            default="keep",
            choices=("keep", "number"),
            says="a uid that is no number goes out as text, or as a number made from it",
        ),
        vendor_retries(default=True, sure="documented"),
    )

    def verify(self, request: Request, keys: Sequence[Key], now: datetime, options: Options) -> Proof | Needs:
        shared = [key for key in keys if key.kind is KeyKind.SHARED]
        if not shared:
            return Proof.NONE
        given = (request.header("Ar-Signature") or "").strip().lower().encode()
        digest = setting(self, options, "signature")
        valid = [key for key in shared if key.is_valid(now)]
        if not any(hmac.compare_digest(given, signature(request.body, key.secret, digest).encode()) for key in valid):
            raise SignatureError("Ar-Signature is missing or does not match the body; check the secret on both sides")
        age = _age(request.body, now)
        allowed = setting(self, options, "max_age_s")
        if allowed > 0 and (age is None or age > timedelta(seconds=allowed)):
            raise SignatureError(f"notifyMs is not within {allowed} s of our clock; check both clocks")
        return Proof.FRESH if age is not None and age <= FRESH_WINDOW else Proof.CONTENT

    def decode(self, request: Request, options: Options) -> list[Event]:
        body = without_mark(request.body)
        wire = read_object(body)
        number = as_number(wire.get("eventType"))
        payload = wire.get("payload")
        if number is None or not isinstance(payload, dict):
            raise DecodeError("a notice needs eventType (an integer) and payload (an object)")
        if not payload and number == setting(self, options, "health_event_type"):
            return []
        words = {name: value for name, value in members(body).items() if name != "notifyMs"}
        envelope = Words(wire, ("notifyMs", "payload", "productId", "eventType"))
        read = READERS.get(_product(wire.get("productId"), number), _other)
        event = read(number, envelope.child("payload"), envelope.read("noticeId", text))
        return [msgspec.structs.replace(event, vendor=raw(words), unmapped=envelope.unread())]

    def kind(self, words: msgspec.Raw) -> str:
        wire = members(words)
        number = integer(_plain(wire.get("eventType"))) or 0
        product = _product(_plain(wire.get("productId")), number)
        return f"{PRODUCTS.get(product, f'product-{product}')}/{number}"

    def view(self, event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        if event.dialect == self.name:
            return own_view(event)
        say = SPEAKERS.get(event.type)
        return say(event, fill, options) if say is not None and event.room_id else ()

    def unsaid(self, event: Event, fill: Fill) -> str | None:
        return ONE_OUTCOME if _is_second_outcome(event, fill) else None

    def encode(self, views: Sequence[View], endpoint: Endpoint) -> Request:
        (view,) = views
        headers = (("Content-Type", "application/json"),)
        if setting(self, endpoint.options, "strict_reply"):
            headers += (("Accept", "application/json"),)  # so that `judge`, which sees the exchange only, knows
        return Request(method="POST", url=endpoint.url, headers=headers, body=bytes(view.words))

    def probe(self, endpoint: Endpoint, entropy: bytes) -> Request:
        notice_id = str(UUID(bytes=entropy[:16], version=4))
        number = setting(self, endpoint.options, "health_event_type")
        product = setting(self, endpoint.options, "health_product")
        words = {"noticeId": notice_id, "productId": product, "eventType": number, "payload": {}}
        return self.encode((View(words=raw(words)),), endpoint)

    def sign(self, request: Request, endpoint: Endpoint, now: datetime, entropy: bytes) -> Request:
        body = msgspec.json.encode(_dated(members(request.body), now))
        request = msgspec.structs.replace(request, body=body)
        keys = [key for key in endpoint.keys if key.kind is KeyKind.SHARED and key.is_valid(now)]
        if not keys:
            return request
        newest = max(keys, key=lambda key: key.valid_from.timestamp() if key.valid_from else 0.0)
        digest = setting(self, endpoint.options, "signature")
        return request.adding(("Ar-Signature", signature(body, newest.secret, digest)))

    def judge(self, request: Request, response: Response) -> Verdict:
        verdict = judge_status(response, (200,))
        if not verdict.accepted or _is_json(response.body):
            return verdict
        if request.header("Accept") == "application/json":
            return Verdict(accepted=False, reason="the receiver's 200 has a body that is not JSON")
        return Verdict(accepted=True, warning="the reply's body is not JSON, which the vendor asks for")


# --- in --------------------------------------------------------------------------------------------------------------


def _plain(value: msgspec.Raw | None) -> Any:
    return None if value is None else msgspec.json.decode(value)


def _product(value: Any, number: int) -> int | None:
    """Return the product; a notice that does not say goes by its number, which no two products share here."""
    if value is not None:
        return integer(value)
    return RECORDINGS_PRODUCT if number in RECORDING else CHANNELS_PRODUCT if number in CHANNEL else None


def _age(body: bytes, now: datetime) -> timedelta | None:
    try:
        wire = msgspec.json.decode(without_mark(body))
    except (msgspec.DecodeError, RecursionError):
        return None
    sent_at = from_ms(wire.get("notifyMs")) if isinstance(wire, dict) else None
    return None if sent_at is None else abs(now - sent_at)


def _require(payload: Words, number: int, *names: str) -> None:
    for name in names:
        if payload.read(name, text) is None:
            raise DecodeError(f"eventType {number} needs payload.{name}")


def _key(at: datetime | None, key: str | None) -> str | None:
    return None if key is None else time_key(at, key)


def _read_recording(number: int, payload: Words, notice_id: str | None) -> Event:
    notice = RECORDING.get(number)
    details = payload.child("details", ("msgName",) if notice else ())
    kind, facts = T.UNKNOWN, Facts()
    if notice is not None:
        _require(payload, number, "cname", "sid")
        payload.read("serviceType", one_of({notice.service: True}))  # another one than the table's stays unmapped
        kind = (details.read("state", one_of(STATES)) or T.UNKNOWN) if number in STREAMS else notice.type
        facts = DETAILS[number].read(details)
    sid, sequence = payload.read("sid", text), payload.read("sequence", as_count)
    sent_at = payload.read("sendts", from_ms)
    details.read("UtcMs", lambda value: True if sent_at is not None and from_ms(value) == sent_at else None)
    known = sid is not None and sequence is not None
    return Event(
        type=kind,
        dialect=AnyRtc.name,
        room_id=payload.read("cname", text),
        participant_id=as_person(details.read("streamUid", text)),
        recording_id=sid,
        occurred_at=sent_at,
        sequence=sequence,
        dedupe_key=_key(sent_at, f"{sid}:{sequence}:{number}" if known else notice_id),
        facts=msgspec.structs.replace(facts, recorder_id=payload.read("uid", text)),
    )


def _read_channel(number: int, payload: Words, notice_id: str | None) -> Event:
    kind, role = CHANNEL.get(number, (T.UNKNOWN, None))
    if kind is not T.UNKNOWN:
        _require(payload, number, "channelName", *(("uid",) if kind.value.startswith("participant.") else ()))
    at = payload.read("ts", from_seconds)
    return Event(
        type=kind,
        dialect=AnyRtc.name,
        room_id=payload.read("channelName", text),
        participant_id=payload.read("uid", text),
        session_id=payload.read("uSId", text),
        room_session_id=payload.read("channelSId", text),
        occurred_at=at,
        dedupe_key=_key(at, notice_id),
        facts=Facts(
            role=role,
            terminal=payload.read("platform", one_of(PLATFORMS)),
            reason=payload.read("reason", one_of(REASONS)) if kind is T.PARTICIPANT_LEFT else None,
        ),
    )


def _other(number: int, payload: Words, notice_id: str | None) -> Event:
    return Event(type=T.UNKNOWN, dialect=AnyRtc.name, dedupe_key=notice_id)


READERS: dict[int | None, Callable[[int, Words, str | None], Event]] = {
    RECORDINGS_PRODUCT: _read_recording,
    CHANNELS_PRODUCT: _read_channel,
}


# --- out -------------------------------------------------------------------------------------------------------------


def _dated(words: dict[str, msgspec.Raw], now: datetime) -> dict[str, msgspec.Raw]:
    """Return *words* with notifyMs at its place: where it was, else before the payload, as both known wires have it."""
    stamp = raw(to_ms(now))
    if "notifyMs" in words:
        return words | {"notifyMs": stamp}
    dated: dict[str, msgspec.Raw] = {}
    for name, value in words.items():
        if name == "payload":
            dated["notifyMs"] = stamp
        dated[name] = value
    return dated


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _notice(say: Composer, product: int, number: int, payload: dict[str, Any]) -> View:
    notice_id = say.invent("noticeId", f"{say.fill.event_id}:{number}")
    view = say.view({"noticeId": notice_id, "productId": product, "eventType": number, "payload": payload})
    return msgspec.structs.replace(view, invented=tuple(dict.fromkeys(view.invented)))


def _channel(say: Composer, number: int, words: dict[str, Any]) -> View:
    """Close a channel event: *words* go between its name and its time, `reason` after the ids."""
    fill, at = say.fill, say.take("occurred_at")
    if at is not None and at.microsecond:
        say.lose("occurred_at", "whole seconds")
    payload = {
        "channelName": say.take("room_id"),
        **{name: value for name, value in words.items() if name != "reason"},
        "ts": to_seconds(say.need(P + "ts", at, fill.recorded_at)),
        "channelSId": say.need(P + "channelSId", say.take("room_session_id"), fill.room_instance),
    }
    if "uid" in words:
        payload["uSId"] = say.need(P + "uSId", say.take("session_id"), fill.session_id)
    if "reason" in words:
        payload["reason"] = words["reason"]
    return _notice(say, CHANNELS_PRODUCT, number, payload)


def _say_room(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    return (_channel(Composer(event, fill), CHANNEL_NUMBERS[event.type, None], {}),)


def _say_member(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    if not event.participant_id:
        return ()
    say = Composer(event, fill)
    role = say.fact("role")
    if role is None and fill.role is not None:
        role = say.invent("eventType", fill.role)
    words = {"uid": wire_uid(say, say.take("participant_id"), options, "participant_id"), "platform": _platform(say)}
    if event.type is T.PARTICIPANT_LEFT:
        words["reason"] = _reason(say)
    return (_channel(say, CHANNEL_NUMBERS[event.type, role], words),)


def _say_role(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    if not event.participant_id or event.facts.role is None:
        return ()  # this wire knows no other change of a participant
    say = Composer(event, fill)
    uid = wire_uid(say, say.take("participant_id"), options, "participant_id")
    return (_channel(say, CHANNEL_NUMBERS[event.type, say.fact("role")], {"uid": uid}),)


def _platform(say: Composer) -> int:
    terminal = say.fact("terminal")
    if terminal is not None and terminal not in PLATFORM_NUMBERS:
        say.lose("facts.terminal", f"{terminal.value} has no number, sent as 0")
    known = None if terminal is None else PLATFORM_NUMBERS.get(terminal, 0)
    return say.need(P + "platform", known, PLATFORM_NUMBERS.get(say.fill.terminal or Terminal.OTHER, 0))


def _reason(say: Composer) -> int:
    reason = say.fact("reason")
    if reason is not None and reason not in REASON_NUMBERS:
        say.lose("facts.reason", f"{reason.value} has no number of its own")
    known = None if reason is None else REASON_NUMBERS.get(reason, NEAR_REASONS.get(reason, 0))
    return say.need(P + "reason", known, 0)


def _recording(say: Composer, number: int, options: Options, place: int = 0) -> View:
    """Say a recording's event as *number*, at *place* of several: common payload (page, payload 字段), then details."""
    notice, fill = RECORDING[number], say.fill
    sid = say.need(P + "sid", say.take("recording_id"), fill.recording_id or fill.event_id)
    payload = {
        "cname": say.take("room_id"),
        "uid": say.need(P + "uid", say.fact("recorder_id"), fill.recorder_id or NOBODY),
        "sid": sid,
        "sequence": say.invent(P + "sequence", fill.sequence + place),
        "sendts": to_ms(say.need(P + "sendts", _sent_at(say), fill.recorded_at)),
        "serviceType": notice.service,
    }
    details = {"msgName": notice.name, **DETAILS[number].say(say, options)}
    return _notice(say, RECORDINGS_PRODUCT, number, payload | {"details": details})


def _sent_at(say: Composer) -> datetime | None:
    """Return when it happened; a start or stop whose wire has no event time may still tell its own moment."""
    at = say.take("occurred_at")
    moments = {T.RECORDING_STARTED: "started_at", T.RECORDING_STOPPED: "stopped_at"}
    moment = moments.get(say.event.type)
    return at if at is not None or moment is None else say.fact(moment)


def _say_as(number: int) -> Callable[[Event, Fill, Options], tuple[View, ...]]:
    def say_recording(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        return (_recording(Composer(event, fill), number, options),)

    return say_recording


def _say_stored(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    """Say once where a recording's files are, or that finishing it failed."""
    if _is_second_outcome(event, fill):
        return ()
    return _say_as(1 if _is_failed_finish(event) else STORED[event.type])(event, fill, options)


def _is_second_outcome(event: Event, fill: Fill) -> bool:
    return fill.outcome_told and event.type in STORED and not _is_failed_finish(event)


def _is_failed_finish(event: Event) -> bool:
    return event.type in FINISHED and event.facts.failed


def _say_status(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    return () if status_number(event.facts.status) is None else _say_as(3)(event, fill, options)


def _say_streams(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    """Say a stall as the recorder sees it: only while there is a recording, one notice for each kind of media."""
    if (event.recording_id or fill.recording_id) is None:
        return ()
    numbers = dict.fromkeys(STREAM_NUMBERS[media] for media in event.facts.media or fill.media)
    return tuple(_recording(Composer(event, fill), number, options, place) for place, number in enumerate(numbers))


SPEAKERS: dict[EventType, Callable[[Event, Fill, Options], tuple[View, ...]]] = {
    **{notice.type: _say_as(number) for number, notice in RECORDING.items() if notice.type is not T.UNKNOWN},
    T.RECORDING_STATUS_CHANGED: _say_status,
    **dict.fromkeys(STORED, _say_stored),
    T.TRACK_STALLED: _say_streams,
    T.TRACK_RESUMED: _say_streams,
    T.ROOM_OPENED: _say_room,
    T.ROOM_CLOSED: _say_room,
    T.PARTICIPANT_JOINED: _say_member,
    T.PARTICIPANT_LEFT: _say_member,
    T.PARTICIPANT_UPDATED: _say_role,
}


DIALECT = AnyRtc()
