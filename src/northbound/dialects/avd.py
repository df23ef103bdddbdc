"""3T (叁体) AVD media_server and master: one event per request, in the query of a GET, or a POST form or JSON object.

`check_code` is HMAC-SHA256 over the other non-empty values, ordered by parameter name and joined with "|". It covers
neither names nor time: a captured request can be sent again. The wire carries no event time, and only `trace_id`
(newer releases) identifies an event; `token` is a credential and never does (ruling 9).
Page: 北向接口使用说明 (seed 004), sections 4 and 5; rulings 30-33. Slips of the page are never sent (docs/vendors).
"""

import hmac
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from northbound.dialects.base import (
    Composer,
    Dialect,
    Option,
    Options,
    Params,
    from_ms,
    from_seconds,
    integer,
    members,
    raw,
    read_object,
    read_params,
    setting,
    text,
    to_ms,
    without_mark,
    write_params,
)
from northbound.model.app import Endpoint, RetryPolicy
from northbound.model.delivery import Fill, View
from northbound.model.errors import DecodeError, SignatureError
from northbound.model.event import Event, EventType, Facts, Fault, File, Media, Port, Reason, Terminal
from northbound.model.wire import Key, KeyKind, Needs, Proof, Request

T = EventType

TYPES = {
    "open": T.ROOM_OPENED,
    "close": T.ROOM_CLOSED,
    "join": T.PARTICIPANT_JOINED,
    "leave": T.PARTICIPANT_LEFT,
    "publish": T.TRACK_PUBLISHED,
    "unpublish": T.TRACK_UNPUBLISHED,
    "sub": T.TRACK_SUBSCRIBED,
    "unsub": T.TRACK_UNSUBSCRIBED,
    "update": T.PARTICIPANT_UPDATED,
    "start_record": T.RECORDING_STARTED,
    "stop_record": T.RECORDING_STOPPED,
    "record_transcoding_completion": T.RECORDING_TRANSCODED,
    "warning_notify": T.SERVER_UNREACHABLE,
}
LEAVE = {
    "normal": Reason.NORMAL,
    "clientkick": Reason.DISPLACED,
    "serverkick": Reason.KICKED,
    "offline": Reason.TIMED_OUT,
}
LEAVE_WORDS = {
    Reason.NORMAL: "normal",
    Reason.DISPLACED: "clientKick",
    Reason.SUPERSEDED: "clientKick",
    Reason.KICKED: "serverKick",
    Reason.ROOM_DISSOLVED: "serverKick",
    Reason.TIMED_OUT: "offline",
}
CLOSE = {"user": Reason.BY_USER, "auto": Reason.EMPTY}
TERMINALS = {
    "ios": Terminal.IOS,
    "android": Terminal.ANDROID,
    "androidhw": Terminal.HARDWARE,
    "hw": Terminal.HARDWARE,
    "web": Terminal.WEB,
    "win": Terminal.WINDOWS,
    "weixin": Terminal.MINI_PROGRAM,
    "mac": Terminal.MAC,
    "pstn": Terminal.PHONE,
    "sip": Terminal.SIP,
    "h323": Terminal.H323,
}
TERMINAL_WORDS = {
    **{ours: theirs for theirs, ours in TERMINALS.items() if theirs != "hw"},
    Terminal.HARDWARE: "androidHW",
}
MEDIA = {"audio": Media.AUDIO, "video": Media.VIDEO, "desktop": Media.DESKTOP}
FAILED = frozenset({"faild", "failed"})
RECORDING = frozenset({"start_record", "stop_record", "record_transcoding_completion"})

MEANT = frozenset(
    "event trace_id room_id user_id user_name endpoint_type event_type stream_type stream_id resolution start_time "
    "stop_time exporter_type exporter_id box_code options".split()
)
RELEASES = ("before-2023-03-17", "2023-03-17", "2024-03-15", "2024-07-04")


def check_code(params: Params, secret: bytes) -> bytes:
    """Return the HMAC-SHA256 of *params* by *secret*, 32 bytes (page, 事件对应参数说明, note 2)."""
    values = [value for name, value in sorted(params) if value and name != "check_code"]
    return hmac.digest(secret, "|".join(values).encode(), "sha256")


class Avd(Dialect):
    """The `avd` wire, both directions."""

    name: ClassVar[str] = "avd"
    types: ClassVar[frozenset[EventType]] = frozenset(TYPES.values()) | {
        T.RECORDING_COMPLETED,
        T.RECORDING_UPLOADED,
        T.RECORDING_ERRORED,
    }
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = (tuple(TYPES),)
    fresh: ClassVar[frozenset[str]] = frozenset({"check_code", "token"})
    secrets: ClassVar[frozenset[str]] = frozenset({"check_code", "token", "authorization", "cookie"})
    methods: ClassVar[tuple[str, ...]] = ("GET", "POST")
    ack_budget_ms: ClassVar[int] = 200
    retry: ClassVar[RetryPolicy] = RetryPolicy(attempts=4, waits=(timedelta(seconds=5),), deadline=timedelta(seconds=3))
    options: ClassVar[tuple[Option, ...]] = (
        Option(name="release", default=RELEASES[-1], choices=RELEASES, says="send exactly this release's events"),
        Option(name="post_body", default="form", choices=("form", "json"), says="body of a POST", sure="inferred"),
        Option(name="trace_id", default=True, says="send trace_id; older builds have none", sure="inferred"),
        Option(
            name="check_code_encoding", default="hex", choices=("hex", "base64"), says="of check_code", sure="inferred"
        ),
        Option(
            name="separator_in_values",
            default="refuse",
            choices=("refuse", "accept"),
            says="a signed value that holds '|' can be read in two ways",
        ),
    )

    def verify(self, request: Request, keys: Sequence[Key], now: datetime, options: Options) -> Proof | Needs:
        if not keys:
            return Proof.NONE
        params = read_request(request)
        given = dict(params)
        tokens = [key for key in keys if key.kind is KeyKind.TOKEN]
        if tokens and not any(hmac.compare_digest(given.get("token", "").encode(), key.secret) for key in tokens):
            raise SignatureError("token is missing or not the one of this source")
        shared = [key for key in keys if key.kind is KeyKind.SHARED]
        if not shared:
            return Proof.SENDER
        if setting(self, options, "separator_in_values") == "refuse" and any("|" in value for _, value in params):
            raise SignatureError("a signed value holds '|', so check_code could mean two things; send it without")
        code = given.get("check_code", "")
        if not any(_matches(code, check_code(params, key.secret)) for key in shared):
            raise SignatureError("check_code is missing or does not match the parameters; check the key on both sides")
        return Proof.CONTENT if MEANT.issuperset(given.keys() - self.fresh) else Proof.SENDER

    def decode(self, request: Request, options: Options) -> list[Event]:
        words = {name: value for name, value in _wire_members(request).items() if name not in self.fresh}
        wire = {name: _as_text(value) for name, value in words.items()}
        word = wire.get("event", "")
        if not word:
            raise DecodeError("the parameter event is missing")
        kind = TYPES.get(word, T.UNKNOWN)
        _require(wire, kind)
        return [
            Event(
                type=kind,
                dialect=self.name,
                room_id=wire.get("room_id") or None,
                participant_id=wire.get("user_id") or None,
                track_id=wire.get("stream_id") or None,
                recording_id=wire.get("exporter_id") or None,
                dedupe_key=wire.get("trace_id") or None,
                facts=_facts(wire, word),
                vendor=raw(words),
                unmapped=tuple(name for name in words if name not in MEANT),
            )
        ]

    def kind(self, words: msgspec.Raw) -> str:
        return _as_text(members(words).get("event", msgspec.Raw(b'""')))

    def view(self, event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        if event.dialect == self.name:
            return _own(event, setting(self, options, "release"))
        say = WORDS.get(event.type)
        views = () if say is None else say(event, fill, options)
        return tuple(view for view in views if _in_release(self.kind(view.words), setting(self, options, "release")))

    def encode(self, views: Sequence[View], endpoint: Endpoint) -> Request:
        (view,) = views
        words = members(view.words)
        scheme, separator, _ = endpoint.url.partition("://")
        url = endpoint.url if separator else f"http://{scheme}"
        if endpoint.method == "GET" or _before(setting(self, endpoint.options, "release"), "2024-03-15"):
            return Request(method="GET", url=_with_query(url, _params(words)))
        if setting(self, endpoint.options, "post_body") == "json":
            return Request(
                method="POST", url=url, headers=(("content-type", "application/json"),), body=msgspec.json.encode(words)
            )
        form = (("content-type", "application/x-www-form-urlencoded"),)
        return Request(method="POST", url=url, headers=form, body=write_params(_params(words)).encode())

    def sign(self, request: Request, endpoint: Endpoint, now: datetime, entropy: bytes) -> Request:
        keys = [key for key in endpoint.keys if key.is_valid(now)]
        token = next((key.secret.decode() for key in keys if key.kind is KeyKind.TOKEN), None)
        if token is not None:
            request = _adding(request, "token", token)
        shared = next((key for key in keys if key.kind is KeyKind.SHARED), None)
        if shared is None:
            return request
        code = check_code(read_request(request), shared.secret)
        in_hex = setting(self, endpoint.options, "check_code_encoding") == "hex"
        return _adding(request, "check_code", code.hex() if in_hex else b64encode(code).decode())


# --- in --------------------------------------------------------------------------------------------------------------


def read_request(request: Request) -> Params:
    """Return all parameters of *request* as text, whatever carries them; repeated names raise `DecodeError`."""
    return _params(_wire_members(request))


def _wire_members(request: Request) -> dict[str, msgspec.Raw]:
    found = [(name, raw(value)) for name, value in read_params(request.query)]
    body = without_mark(request.body)
    if body.startswith(b"{"):
        read_object(body)
        found.extend(members(body).items())
    elif body:
        found.extend((name, raw(value)) for name, value in read_params(body))
    words = dict(found)
    if len(words) != len(found):
        raise DecodeError("a parameter is repeated, so its value is not certain; send each once")
    return words


def _params(words: dict[str, msgspec.Raw]) -> Params:
    return tuple((name, _as_text(value)) for name, value in words.items())


def _as_text(value: msgspec.Raw) -> str:
    """Return a JSON value as check_code sees it: strings decoded, null blank, the rest as compact JSON text."""
    content = bytes(value)
    if content.startswith(b'"'):
        return msgspec.json.decode(content, type=str)
    if content == b"null":
        return ""
    return content.decode() if content[:1] not in b"{[" else msgspec.json.format(content, indent=-1).decode()


def _matches(given: str, code: bytes) -> bool:
    in_hex = hmac.compare_digest(given.lower().encode(), code.hex().encode())
    return hmac.compare_digest(given.encode(), b64encode(code)) or in_hex


def _require(wire: dict[str, str], kind: EventType) -> None:
    wanted = {T.SERVER_UNREACHABLE: (), T.UNKNOWN: ()}.get(kind, ("room_id",))
    if kind.value.startswith(("participant.", "track.")):
        wanted = ("room_id", "user_id")
    missing = [name for name in wanted if not wire.get(name)]
    if missing:
        raise DecodeError(f"event {wire['event']} needs the parameter {missing[0]}")


def _facts(wire: dict[str, str], word: str) -> Facts:
    outcome = wire.get("event_type", "").lower()
    success = None if word not in RECORDING or not outcome else outcome not in FAILED
    options = wire.get("options", "")
    reasons = {"leave": LEAVE, "close": CLOSE}.get(word, {})
    return Facts(
        name=text(wire.get("user_name")),
        terminal=TERMINALS.get(wire["endpoint_type"].lower(), Terminal.OTHER) if wire.get("endpoint_type") else None,
        reason=reasons.get(outcome),
        media=tuple(MEDIA[name] for name in [wire.get("stream_type", "")] if name in MEDIA),
        resolution=text(wire.get("resolution")),
        success=success,
        fault=Fault(phase=_phase(word), message=text(options)) if success is False else None,
        files=_files(options) if success else (),
        format=text(wire.get("exporter_type")),
        started_at=_time(wire.get("start_time")),
        stopped_at=_time(wire.get("stop_time")),
        server_id=text(wire.get("box_code")),
        ports=_ports(options) if word == "warning_notify" else (),
    )


def _phase(word: str) -> str:
    return "start" if word == "start_record" else "finishing"


def _time(value: str | None) -> datetime | None:
    """Read a time of unspecified unit: 13 digits are milliseconds, 10 seconds, else ISO text (ruling 32)."""
    number = integer(value)
    if number is not None:
        return from_ms(number) if number >= 10**11 else from_seconds(number)
    try:
        moment = datetime.fromisoformat(value or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _json_list(options: str) -> list[dict[str, Any]]:
    try:
        content = msgspec.json.decode(options) if options else []
    except (msgspec.DecodeError, RecursionError):
        return []
    items = content if isinstance(content, list) else [content]
    return [item for item in items if isinstance(item, dict)]


def _files(options: str) -> tuple[File, ...]:
    return tuple(
        File(
            name=text(item.get("name")),
            url=text(item.get("url")),
            size=integer(item.get("size")),
            duration_ms=integer(item.get("duration_ms")),
            media=tuple(MEDIA[track] for track in _tracks(item) if track in MEDIA),
        )
        for item in _json_list(options)
    )


def _tracks(item: dict[str, Any]) -> list[str]:
    tracks = item.get("tracks")
    return [track for track in tracks if isinstance(track, str)] if isinstance(tracks, list) else []


def _ports(options: str) -> tuple[Port, ...]:
    found = [(text(item.get("type")), integer(item.get("port"))) for item in _json_list(options)]
    return tuple(Port(kind=kind, port=port) for kind, port in found if kind and port is not None)


# --- out -------------------------------------------------------------------------------------------------------------


def _before(release: str, other: str) -> bool:
    return RELEASES.index(release) < RELEASES.index(other)


def _in_release(word: str, release: str) -> bool:
    newer = word in {"start_record", "record_transcoding_completion"}
    return not (newer and _before(release, "2024-07-04"))


def _missing_fields(word: str, release: str) -> frozenset[str]:
    """Name the parameters that *release* does not send for event *word* (page notes; ruling 30)."""
    missing: set[str] = set()
    if _before(release, "2023-03-17") and word in RECORDING:
        missing |= {"exporter_type", "exporter_id"}
    if _before(release, "2024-07-04"):
        missing |= {"resolution"}
    return frozenset(missing)


def _own(event: Event, release: str) -> tuple[View, ...]:
    words = members(event.vendor)
    word = _as_text(words.get("event", raw("")))
    if not _in_release(word, release):
        return ()
    dropped = [name for name in words if name in _missing_fields(word, release)]
    if not dropped:
        return (View(words=event.vendor),)
    kept = {name: value for name, value in words.items() if name not in dropped}
    return (View(words=raw(kept), lost=tuple(f"vendor.{name}" for name in dropped)),)


def _begin(say: Composer, word: str, options: Options) -> dict[str, Any]:
    trace = {"trace_id": say.invent("trace_id", _trace_id(say.fill.event_id))} if options.get("trace_id", True) else {}
    return {"event": word, **trace, "room_id": say.take("room_id")}


def _trace_id(event_id: str) -> str:
    """Return the UUID of one of our events, the same on every attempt (ruling 31)."""
    try:
        return str(UUID(event_id))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, f"northbound:{event_id}"))


def _finish(say: Composer, words: dict[str, Any], options: Options) -> tuple[View, ...]:
    release = options.get("release", RELEASES[-1])
    dropped = _missing_fields(words["event"], release) & {name for name, value in words.items() if value is not None}
    for name in sorted(dropped):
        say.lose(name, f"release {release} does not send it")
    return (say.view({name: value for name, value in words.items() if name not in dropped}),)


def _room(word: str) -> Callable[[Event, Fill, Options], tuple[View, ...]]:
    def say_room(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        say = Composer(event, fill)
        words = _begin(say, word, options)
        if word == "close":
            reason = say.fact("reason")
            known = "user" if reason in (Reason.BY_USER, Reason.NORMAL, Reason.ROOM_DISSOLVED) else None
            words["event_type"] = say.need("event_type", known or ("auto" if reason else None), "auto")
        return _finish(say, words, options)

    return say_room


def _person(say: Composer) -> dict[str, Any]:
    return {"user_id": say.take("participant_id")}


def _terminal(say: Composer) -> str:
    terminal = say.fact("terminal")
    if terminal is Terminal.OTHER or terminal is Terminal.LINUX:
        say.lose("facts.terminal", "no word, sent as web")
    elif terminal is None and say.fact("phone") is not None:
        terminal = Terminal.PHONE
    known = TERMINAL_WORDS.get(terminal, "web") if terminal else None
    return say.need("endpoint_type", known, TERMINAL_WORDS.get(say.fill.terminal or Terminal.WEB, "web"))


def _join(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    say = Composer(event, fill)
    words = {**_begin(say, "join", options), **_person(say), "event_type": "normal"}
    return _finish(say, words | {"endpoint_type": _terminal(say), "user_name": say.fact("name")}, options)


def _leave(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    say = Composer(event, fill)
    reason = say.fact("reason")
    word = LEAVE_WORDS.get(reason) if reason else None
    if reason is not None and (word is None or reason in (Reason.ROOM_DISSOLVED, Reason.SUPERSEDED)):
        say.lose("facts.reason", f"{reason.value} has no word of its own")
        word = word or "offline"
    words = {**_begin(say, "leave", options), **_person(say), "event_type": say.need("event_type", word, "normal")}
    return _finish(say, words | {"user_name": say.fact("name")}, options)


def _update(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    say = Composer(event, fill)
    return _finish(say, {**_begin(say, "update", options), **_person(say), "event_type": "userInfo"}, options)


def _track(word: str) -> Callable[[Event, Fill, Options], tuple[View, ...]]:
    def say_track(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        views: list[View] = []
        for media in event.facts.media or fill.media or (Media.VIDEO,):
            say = Composer(event, fill)
            known = media if media in say.fact("media") else None
            words = {**_begin(say, word, options), **_person(say)}
            words["stream_type"] = say.need("stream_type", known, media).value
            owner = say.fact("peer_id") or event.participant_id
            words["stream_id"] = say.need("stream_id", say.take("track_id"), f"{owner}-{media.value}")
            if word in ("publish", "unpublish") and media is not Media.AUDIO:
                words["resolution"] = say.fact("resolution")
            views.extend(_finish(say, words, options))
        return tuple(views)

    return say_track


def _recording(word: str) -> Callable[[Event, Fill, Options], tuple[View, ...]]:
    def say_recording(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        say = Composer(event, fill)
        words = _begin(say, word, options)
        fault = say.fact("fault")
        succeeded = say.fact("success") is not False and event.type is not T.RECORDING_ERRORED
        words["event_type"] = "success" if succeeded else "faild"
        started = say.fact("started_at")
        if word != "start_record" or succeeded:
            begun = say.need("start_time", started, fill.recording_started_at or fill.recorded_at)
            words["start_time"] = str(to_ms(begun))
        if word == "stop_record":
            stopped = say.need("stop_time", say.fact("stopped_at") or say.take("occurred_at"), fill.recorded_at)
            words["stop_time"] = str(to_ms(stopped))
        files = say.fact("files")
        if not succeeded:
            words["options"] = _fault_text(fault) or None
        elif word != "start_record" and files:
            words["options"] = msgspec.json.encode([_file_words(file) for file in files]).decode()
        words["exporter_type"] = say.need("exporter_type", say.fact("format"), "mp4")
        words["exporter_id"] = say.need("exporter_id", say.take("recording_id"), fill.recording_id or fill.event_id)
        return _finish(say, words, options)

    return say_recording


def _fault_text(fault: Fault | None) -> str:
    if fault is None:
        return ""
    return fault.message or " ".join(str(part) for part in (fault.name, fault.code) if part is not None)


def _file_words(file: File) -> dict[str, Any]:
    """Write a file as ruling 32 has it: {name, url, size, duration_ms, tracks}."""
    tracks = [media.value for media in file.media]
    words = {"name": file.name, "url": file.url, "size": file.size, "duration_ms": file.duration_ms, "tracks": tracks}
    return {name: value for name, value in words.items() if value is not None}


def _error(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    phase = event.facts.fault.phase if event.facts.fault else None
    word = {"start": "start_record", "finishing": "record_transcoding_completion"}.get(phase or "")
    return () if word is None else _recording(word)(event, fill, options)


def _warning(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    say = Composer(event, fill)
    words = _begin(say, "warning_notify", options) | {"event_type": "check_port"}
    ports = [{"type": port.kind, "port": port.port} for port in say.fact("ports")]
    words["box_code"] = say.need("box_code", say.fact("server_id"), "unknown")
    words["options"] = msgspec.json.encode(ports).decode()
    return _finish(say, words, options)


WORDS: dict[EventType, Callable[[Event, Fill, Options], tuple[View, ...]]] = {
    T.ROOM_OPENED: _room("open"),
    T.ROOM_CLOSED: _room("close"),
    T.PARTICIPANT_JOINED: _join,
    T.PARTICIPANT_LEFT: _leave,
    T.PARTICIPANT_UPDATED: _update,
    T.TRACK_PUBLISHED: _track("publish"),
    T.TRACK_UNPUBLISHED: _track("unpublish"),
    T.TRACK_SUBSCRIBED: _track("sub"),
    T.TRACK_UNSUBSCRIBED: _track("unsub"),
    T.RECORDING_STARTED: _recording("start_record"),
    T.RECORDING_STOPPED: _recording("stop_record"),
    T.RECORDING_TRANSCODED: _recording("record_transcoding_completion"),
    T.RECORDING_COMPLETED: _recording("record_transcoding_completion"),
    T.RECORDING_UPLOADED: _recording("record_transcoding_completion"),
    T.RECORDING_ERRORED: _error,
    T.SERVER_UNREACHABLE: _warning,
}


def _with_query(url: str, params: Params) -> str:
    joint = "&" if "?" in url else "?"
    return f"{url}{joint}{write_params(params)}"


def _adding(request: Request, name: str, value: str) -> Request:
    if request.method == "GET":
        return msgspec.structs.replace(request, url=_with_query(request.url, ((name, value),)))
    if request.content_type == "application/json":
        words = members(request.body) | {name: raw(value)}
        return msgspec.structs.replace(request, body=msgspec.json.encode(words))
    return msgspec.structs.replace(request, body=request.body + b"&" + write_params(((name, value),)).encode())


DIALECT = Avd()
