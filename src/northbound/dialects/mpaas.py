"""Ant mPaaS audio/video call: one JSON object per POST, a room callback or a recording callback.

Both wires number their `eventCode` on their own; a body with `recordId` (or a recording code) is a recording callback.
`bizRequestId` is a string in the page's tables and a number in its room example: the answer repeats it as it came, and
an answer counts only with `code` 0 and that same id. The page signs nothing: our optional header covers the body.
Page: 管理通话应用 (seed 001), 录制回调地址 and 房间状态回调地址; rulings 17-19. Retry and deadline are ruling 4.
"""

import hmac
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import msgspec

from northbound.dialects.base import (
    Composer,
    Dialect,
    Option,
    Options,
    error_words,
    from_ms,
    integer,
    judge_status,
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
)
from northbound.model.app import Endpoint, RetryPolicy
from northbound.model.delivery import Fill, Verdict, View
from northbound.model.errors import DecodeError, HubError, SignatureError
from northbound.model.event import Event, EventType, Facts, Fault, File, Media, Storage
from northbound.model.wire import Key, KeyKind, Needs, Proof, Request, Response

T = EventType

SIGNATURE_HEADER = "X-Northbound-Signature"
ROOM = {1: T.ROOM_OPENED, 2: T.PARTICIPANT_JOINED, 3: T.PARTICIPANT_LEFT, 4: T.ROOM_CLOSED}
RECORDING = {
    0: T.RECORDING_SLICED,
    10: T.RECORDING_STARTED,
    11: T.RECORDING_STOPPED,
    50: T.RECORDING_WARNED,
    99: T.RECORDING_COMPLETED,
}
FAULTS = {
    50: "recording_warning",
    100001: "connect_room_failed",
    100002: "join_room_failed",
    100003: "subscribe_failed",
    100004: "streams_missing",
    100005: "connect_mcu_failed",
    100006: "bad_aspect_ratio",
    100007: "mix_streams_exceed",
    100101: "file_create_failed",
    100102: "transcode_failed",
    100103: "file_save_failed",
    100104: "av_split_failed",
    100105: "recorder_crashed",
    100106: "disk_failed",
    100201: "upload_failed",
    500301: "stream_broken",
    500302: "low_frame_rate",
}
# A family is a code's first four digits: it decodes even when the page does not list the code (ruling 19).
FAMILIES = {
    1000: (T.RECORDING_ERRORED, "start"),
    1001: (T.RECORDING_ERRORED, "running"),
    1002: (T.RECORDING_ERRORED, "finishing"),
    5003: (T.RECORDING_WARNED, "running"),
}
ERROR_CODES = {name: code for code, name in FAULTS.items() if code // 100 in (1000, 1001, 1002)}
WARNING_CODES = {name: code for code, name in FAULTS.items() if code not in ERROR_CODES.values()}
# What other wires tell apart and this one calls an upload that failed.
NEAREST: dict[str, int] = dict.fromkeys(("storage_config_error", "upload_timeout", "file_operation_failed"), 100201)
PHASE_CODES = {"start": 100000, "running": 100100, "finishing": 100200}
STORAGES = {1: Storage.LOCAL, 2: Storage.OBJECT, 3: Storage.AFTS, 4: Storage.HDFS}
STORAGE_CODES = {ours: theirs for theirs, ours in STORAGES.items()}
MEDIA = {0: (Media.AUDIO, Media.VIDEO), 1: (Media.AUDIO,), 2: (Media.VIDEO,)}
SUCCEEDED, FAILED = 2, 3

MEANT = frozenset("bizRequestId eventCode uid bizName roomId recordId recordResult time".split())
KNOWN = MEANT | frozenset("appId workspaceId status fileType filePath recordStartTime mediaType".split())
FILE_WORDS = ("fileType", "filePath", "recordStartTime", "mediaType")


class Mpaas(Dialect):
    """The `mpaas` wire, both directions."""

    name: ClassVar[str] = "mpaas"
    types: ClassVar[frozenset[EventType]] = frozenset(ROOM.values()) | {
        *RECORDING.values(),
        T.RECORDING_ERRORED,
        T.RECORDING_FAILED_OVER,
        T.RECORDING_PAUSED,
        T.RECORDING_RESUMED,
        T.RECORDING_TRANSCODED,
        T.RECORDING_UPLOADED,
        T.RECORDING_BACKED_UP,
        T.TRACK_STALLED,
    }
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = (
        (*(f"room/{code}" for code in ROOM), *(f"recording/{code}" for code in sorted({*RECORDING, *FAULTS}))),
    )
    known: ClassVar[frozenset[str]] = KNOWN
    secrets: ClassVar[frozenset[str]] = frozenset({"authorization", "cookie", SIGNATURE_HEADER.lower()})
    retry: ClassVar[RetryPolicy] = RetryPolicy(
        attempts=4, waits=(timedelta(seconds=10),), deadline=timedelta(seconds=5)
    )
    options: ClassVar[tuple[Option, ...]] = (
        Option(name="time", default=True, says="send time (ms) in room callbacks, as the page's example does"),
        vendor_retries(default=False, sure="inferred"),
        Option(name="biz_name", default="", says="bizName of events of other vendors; empty: the app's"),
    )

    def verify(self, request: Request, keys: Sequence[Key], now: datetime, options: Options) -> Proof | Needs:
        if not keys:
            return Proof.NONE
        given = (request.header(SIGNATURE_HEADER) or "").lower().encode()
        shared = [key for key in keys if key.kind is KeyKind.SHARED and key.is_valid(now)]
        if not any(hmac.compare_digest(given, _signature(request.body, key.secret).encode()) for key in shared):
            raise SignatureError(f"{SIGNATURE_HEADER} is missing or does not match the body; check the key")
        return Proof.CONTENT

    def decode(self, request: Request, options: Options) -> list[Event]:
        wire = read_object(request.body)
        code = integer(wire.get("eventCode"))
        if code is None:
            raise DecodeError("eventCode is missing or not a whole number")
        request_id = _id_text(_request_id(request.body))
        if not request_id:
            raise DecodeError("bizRequestId is missing, and the answer must repeat it; send a string or a number")
        kind, fault = _meaning(wire, code)
        _require(wire, kind)
        result = _result(wire, code)
        facts = _facts(result, fault)
        occurred_at = from_ms(wire.get("time"))
        return [
            Event(
                type=kind,
                dialect=self.name,
                scope=text(wire.get("bizName")),
                room_id=text(wire.get("roomId")),
                participant_id=text(wire.get("uid")),
                recording_id=text(wire.get("recordId")),
                occurred_at=occurred_at,
                # One request id may stand for several happenings, so the code is part of the key.
                dedupe_key=time_key(occurred_at, f"{request_id}|{code}"),
                facts=facts,
                vendor=msgspec.Raw(msgspec.json.format(without_mark(request.body), indent=-1)),
                unmapped=tuple(_unmapped(wire, result, facts, occurred_at)),
            )
        ]

    def ack(self, request: Request, error: HubError | None) -> Response:
        status, _ = refusal(error)
        request_id = _request_id(request.body)
        echo = {} if request_id is None else {"bizRequestId": request_id}
        return Response.json(status, echo | ({"code": 0} if error is None else error_words(error)))

    def kind(self, words: msgspec.Raw) -> str:
        wire = msgspec.json.decode(words, type=dict[str, Any])
        code = integer(wire.get("eventCode"))
        group = "recording" if code is not None and _is_recording(wire, code) else "room"
        return f"{group}/{'' if code is None else code}"

    def view(self, event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        if event.dialect == self.name:
            return own_view(event)
        say = WORDS.get(event.type)
        return () if say is None else say(event, fill, options)

    def encode(self, views: Sequence[View], endpoint: Endpoint) -> Request:
        (view,) = views
        headers = (("content-type", "application/json"),)
        return Request(method="POST", url=endpoint.url, headers=headers, body=bytes(view.words))

    def sign(self, request: Request, endpoint: Endpoint, now: datetime, entropy: bytes) -> Request:
        key = sending_key(endpoint.keys, KeyKind.SHARED, now)
        return request if key is None else request.adding((SIGNATURE_HEADER, _signature(request.body, key.secret)))

    def judge(self, request: Request, response: Response) -> Verdict:
        verdict = judge_status(response, (200,))
        reason = _why_not(request.body, response.body) if verdict.accepted else None
        return verdict if reason is None else Verdict(accepted=False, reason=reason)


def _signature(body: bytes, secret: bytes) -> str:
    return f"sha256={hmac.digest(secret, body, 'sha256').hex()}"


def _request_id(body: bytes) -> msgspec.Raw | None:
    """Return `bizRequestId` as the JSON text it came as; None when *body* has none that can be repeated."""
    try:
        read_object(body)
    except DecodeError:
        return None
    found = members(without_mark(body)).get("bizRequestId", msgspec.Raw())
    return found if bytes(found)[:1] in _SCALARS else None


_SCALARS = frozenset(bytes([byte]) for byte in b'"-0123456789')


def _id_text(request_id: msgspec.Raw | None) -> str:
    content = bytes(request_id or b"")
    return msgspec.json.decode(content, type=str) if content.startswith(b'"') else content.decode()


def _why_not(sent: bytes, answered: bytes) -> str | None:
    """Tell why an answer of status 200 does not mean accepted (D10); None when it does."""
    try:
        answer = read_object(answered)
    except DecodeError as error:
        return f"the receiver answered 200, but {error.message}"
    code = answer.get("code")
    if type(code) is not int or code != 0:
        said = "no code" if code is None else f"code {str(code)[:20]!r}"
        return f"the receiver answered 200 with {said}; accepted is the number 0"
    wanted, got = _id_text(_request_id(sent)), _id_text(_request_id(answered))
    if wanted == got:
        return None
    said = f"bizRequestId {got[:40]!r}" if got else "no bizRequestId"
    return f"the receiver answered 200 with {said}; accepted is the request's own, {wanted[:40]!r}"


# --- in --------------------------------------------------------------------------------------------------------------


def _is_recording(wire: dict[str, Any], code: int) -> bool:
    return text(wire.get("recordId")) is not None or code in RECORDING or code // 100 in FAMILIES


def _meaning(wire: dict[str, Any], code: int) -> tuple[EventType, Fault | None]:
    if not _is_recording(wire, code):
        return ROOM.get(code, T.UNKNOWN), None
    kind, phase = FAMILIES.get(code // 100, (RECORDING.get(code, T.UNKNOWN), None))
    known = code in FAULTS or code // 100 in FAMILIES
    return kind, Fault(code=code, name=FAULTS.get(code), phase=phase) if known else None


def _require(wire: dict[str, Any], kind: EventType) -> None:
    wanted: tuple[str, ...] = () if kind is T.UNKNOWN else ("bizName", "roomId")
    if kind in (T.PARTICIPANT_JOINED, T.PARTICIPANT_LEFT):
        wanted = (*wanted, "uid")
    missing = [name for name in wanted if text(wire.get(name)) is None]
    if missing:
        raise DecodeError(f"{missing[0]} is missing: eventCode {wire['eventCode']} needs it")


def _result(wire: dict[str, Any], code: int) -> dict[str, Any]:
    """Return `recordResult` of a recording callback: required at 99, accepted on any code (ruling 18)."""
    result = wire.get("recordResult")
    if isinstance(result, str) and result.startswith("{"):
        result = read_object(result.encode())  # the page's type is JSON: an object, or its text
    found = result if isinstance(result, dict) and _is_recording(wire, code) else {}
    if code == 99 and integer(found.get("status")) is None:
        raise DecodeError("eventCode 99 needs recordResult, an object with its status")
    return found


def _facts(result: dict[str, Any], fault: Fault | None) -> Facts:
    success = {SUCCEEDED: True, FAILED: False}.get(integer(result.get("status")) or 0)
    if success is False or not any(text(result.get(word)) for word in FILE_WORDS):
        return Facts(success=success, fault=fault)
    path = text(result.get("filePath"))
    is_url = path is not None and "://" in path
    file = File(
        name=None if is_url else path,
        url=path if is_url else None,
        media=MEDIA.get(_number(result, "mediaType"), ()),
        storage=STORAGES.get(_number(result, "fileType")),
    )
    started_at = from_ms(result.get("recordStartTime"))
    return Facts(success=success, fault=fault, files=() if file == File() else (file,), started_at=started_at)


def _number(result: dict[str, Any], word: str) -> int:
    found = integer(result.get(word))
    return -1 if found is None else found


def _unmapped(
    wire: dict[str, Any], result: dict[str, Any], facts: Facts, occurred_at: datetime | None
) -> Iterator[str]:
    yield from (name for name in wire if name not in MEANT)
    if wire.get("time") is not None and occurred_at is None:
        yield "time"
    if wire.get("recordResult") and not result:
        yield "recordResult"
    file = facts.files[0] if facts.files else File()
    read = {
        "status": facts.success is not None,
        "fileType": file.storage is not None,
        "filePath": bool(file.url or file.name),
        "recordStartTime": facts.started_at is not None,
        "mediaType": bool(file.media),
    }
    said = [name for name, value in result.items() if value not in (None, "")]
    yield from (f"recordResult.{name}" for name in said if not read.get(name, False))


# --- out -------------------------------------------------------------------------------------------------------------

Say = Callable[[Event, Fill, Options], tuple[View, ...]]


def _app_words(say: Composer, options: Options) -> dict[str, str]:
    """Name the app as mPaaS does; no foreign event can (ruling 2: from app settings)."""
    app = say.fill.app
    return {
        "bizName": say.invent("bizName", setting(DIALECT, options, "biz_name") or app.biz_name or app.id),
        "appId": say.invent("appId", app.id),
        "workspaceId": say.invent("workspaceId", app.workspace_id or "default"),
    }


def _room(code: int) -> Say:
    def say_room(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        say = Composer(event, fill)
        app = _app_words(say, options)
        words = {
            "eventCode": code,
            "uid": say.need("uid", say.take("participant_id"), ""),
            "bizName": app["bizName"],
            "appId": app["appId"],
            "bizRequestId": say.invent("bizRequestId", fill.event_id),
        }
        if setting(DIALECT, options, "time"):
            words["time"] = to_ms(say.need("time", say.take("occurred_at"), fill.recorded_at))
        words["roomId"] = say.need("roomId", say.take("room_id"), "")
        return (say.view({**words, "workspaceId": app["workspaceId"]}),)

    return say_room


def _recording(choose: Callable[[Composer], int]) -> Say:
    def say_recording(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        say = Composer(event, fill)
        code = choose(say)
        instead = fill.recording_id or fill.room_instance or fill.event_id
        words = {
            "bizRequestId": say.invent("bizRequestId", fill.event_id),
            **_app_words(say, options),
            "roomId": say.need("roomId", say.take("room_id"), ""),
            "recordId": say.need("recordId", say.take("recording_id"), instead),
            "eventCode": code,
            "recordResult": _result_words(say, code),
        }
        return (say.view(words),)

    return say_recording


def _always(code: int) -> Callable[[Composer], int]:
    return lambda _: code


def _instead(code: int) -> Callable[[Composer], int]:
    """Choose *code* for a type that has none of its own, and report it (ruling 19)."""

    def choose(say: Composer) -> int:
        say.lose("type", f"{say.event.type.value} has no code, sent as {code}")
        return code

    return choose


def _started(say: Composer) -> int:
    return _failed("start")(say) if say.fact("success") is False else 10


def _failed(default_phase: str) -> Callable[[Composer], int]:
    def choose(say: Composer) -> int:
        say.fact("success")  # an error code says it
        fault = say.fact("fault") or Fault()
        code = ERROR_CODES.get(fault.name or "", NEAREST.get(fault.name or ""))
        if code is None:
            family = PHASE_CODES.get(fault.phase or "")
            code = say.need("eventCode", family, PHASE_CODES[default_phase])
            if fault != Fault(phase=fault.phase):
                say.lose("facts.fault", f"no code of its own, sent as {code}")
        elif _says_more(fault, code):
            say.lose("facts.fault", f"as {code} only")
        return code

    return choose


def _warned(say: Composer) -> int:
    fault = say.fact("fault") or Fault()
    code = WARNING_CODES.get(fault.name or "", 50)
    if fault.name not in WARNING_CODES and fault != Fault():
        say.lose("facts.fault", f"no code of its own, sent as {code}")
    elif _says_more(fault, code):
        say.lose("facts.fault", f"as {code} only")
    return code


def _says_more(fault: Fault, code: int) -> bool:
    nearest = fault.name is not None and fault.name != FAULTS.get(code)
    return nearest or fault.code not in (None, code) or any((fault.module, fault.level, fault.message))


def _stalled(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    """Say a stalled track as the warning about a broken stream, where it belongs to a recording."""
    if event.recording_id is None and fill.recording_id is None:
        return ()
    return _recording(_instead(WARNING_CODES["stream_broken"]))(event, fill, options)


def _result_words(say: Composer, code: int) -> dict[str, Any] | None:
    """Write `recordResult`: always at 99; at 0 and 11 only when there is a file or a failure to tell."""
    facts = say.event.facts
    if code not in (0, 11, 99) or (code != 99 and facts.success is not False and not facts.files):
        return None
    if say.fact("success") is False:
        return {"status": FAILED}
    files: tuple[File, ...] = say.fact("files")
    file = max(files, key=lambda file: (file.merged is True, file.playable is True), default=File())
    storage = None if file.storage is None else STORAGE_CODES.get(file.storage, STORAGE_CODES[Storage.OBJECT])
    media = None if not file.media else _media_code(file.media)
    started_at = say.fact("started_at") or file.started_at
    lost = _lost_of(file, files, started_at)
    if lost:
        say.lose("facts.files", "; ".join(lost))
    begun = say.need("recordResult.recordStartTime", started_at, say.fill.recording_started_at or say.fill.recorded_at)
    return {
        "status": SUCCEEDED,
        "fileType": say.need("recordResult.fileType", storage, STORAGE_CODES[Storage.OBJECT]),
        "filePath": say.need("recordResult.filePath", file.url or file.name, ""),
        "recordStartTime": to_ms(begun),
        "mediaType": say.need("recordResult.mediaType", media, 0),
    }


def _media_code(media: tuple[Media, ...]) -> int:
    if set(media) == {Media.AUDIO}:
        return 1
    return 0 if Media.AUDIO in media else 2


def _lost_of(file: File, files: tuple[File, ...], started_at: datetime | None) -> list[str]:
    wordless = ("size", "duration_ms", "participant_id", "merged", "playable")
    lost = [word for word in wordless if getattr(file, word) is not None]
    if file.url and file.name:
        lost.append("name")
    if file.started_at not in (None, started_at):
        lost.append("started_at")
    notes = [f"no words for {', '.join(lost)}"] if lost else []
    if file.storage is not None and file.storage not in STORAGE_CODES:
        notes.append(f"storage {file.storage} as fileType 2")
    if Media.DESKTOP in file.media:
        notes.append("desktop as video")
    if len(files) > 1:
        notes.append(f"one of {len(files)} files")
    return notes


WORDS: dict[EventType, Say] = {
    **{kind: _room(code) for code, kind in ROOM.items()},
    T.RECORDING_STARTED: _recording(_started),
    T.RECORDING_SLICED: _recording(_always(0)),
    T.RECORDING_STOPPED: _recording(_always(11)),
    T.RECORDING_COMPLETED: _recording(_always(99)),
    T.RECORDING_TRANSCODED: _recording(_always(99)),
    T.RECORDING_UPLOADED: _recording(_always(99)),
    T.RECORDING_BACKED_UP: _recording(_always(99)),
    T.RECORDING_ERRORED: _recording(_failed("running")),
    T.RECORDING_FAILED_OVER: _recording(_instead(ERROR_CODES["recorder_crashed"])),
    T.RECORDING_WARNED: _recording(_warned),
    T.RECORDING_PAUSED: _recording(_instead(50)),
    T.RECORDING_RESUMED: _recording(_instead(50)),
    T.TRACK_STALLED: _stalled,
}

DIALECT = Mpaas()
