"""The details of each recording event, in and out, side by side (seed 003, each event's field list)."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from northbound.dialects.anyrtc.reading import (
    Words,
    as_boolean,
    as_count,
    as_media,
    as_number,
    as_person,
    as_success,
    one_of,
)
from northbound.dialects.anyrtc.tables import (
    CODE_BITS,
    FAULT_NUMBERS,
    FAULTS,
    INIT_FAILED,
    LEAVE_BITS,
    LEAVE_NUMBERS,
    LEVEL_NUMBERS,
    LEVELS,
    MERGED,
    MODE_OF_MERGED,
    MODES,
    MODULE_NUMBERS,
    MODULE_OF_PHASE,
    MODULES,
    NOBODY,
    STATUS,
    STATUS_NUMBERS,
    UNLISTED_BIT,
    UNLISTED_STATUS,
)
from northbound.dialects.base import Composer, Options, from_ms, integer, text, to_ms
from northbound.model.event import EventType, Facts, Fault, File, Media, RecordingMode, Storage

T = EventType
D = "payload.details."  # where an invented word stands


def _read_fault(details: Words, family: str, code_word: str) -> Fault:
    module, code = details.read("module", one_of(MODULES)), details.read(code_word, as_number)
    return Fault(
        code=code,
        name=FAULTS.get((family, module or "", code or 0)),
        module=module,
        level=details.read("errorLevel", one_of(LEVELS)) if family == "error" else None,
        message=details.read("errorMsg", text) if family == "error" else None,
    )


def _say_fault(say: Composer, family: str, code_word: str) -> tuple[Fault, int, int]:
    """Return the fault with its module and code here; another vendor's code is never sent as one of ours."""
    fault = say.fact("fault") or Fault()
    module, code = FAULT_NUMBERS.get((family, fault.name or ""), (fault.module, None))
    if code is None and (fault.code is not None or fault.name is not None):
        say.lose("facts.fault", "no code for it here, sent as 0")
    if family == "warning" and module == "platform":
        module = None
    number = MODULE_NUMBERS.get(module or "")
    likely = MODULE_NUMBERS[MODULE_OF_PHASE.get(fault.phase or "", "recorder")] if family == "error" else 0
    return fault, say.need(D + "module", number, likely), say.need(D + code_word, code, 0)


def _read_error(details: Words) -> Facts:
    return Facts(fault=_read_fault(details, "error", "errorCode"), success=details.read("stat", as_success))


def _say_error(say: Composer, options: Options) -> dict[str, Any]:
    fault, module, code = _say_fault(say, "error", "errorCode")
    said = fault.message or " ".join(str(part) for part in (fault.name, fault.code) if part is not None)
    return {
        "module": module,
        "errorLevel": say.need(D + "errorLevel", LEVEL_NUMBERS.get(fault.level or ""), LEVEL_NUMBERS["major"]),
        "errorCode": code,
        "stat": _say_success(say, "stat", assumed=False),
        "errorMsg": say.need(D + "errorMsg", said or None, ""),
    }


def _read_warning(details: Words) -> Facts:
    return Facts(fault=_read_fault(details, "warning", "warnCode"))


def _say_warning(say: Composer, options: Options) -> dict[str, Any]:
    fault, module, code = _say_fault(say, "warning", "warnCode")
    if fault.message is not None:
        say.lose("facts.fault", "a warning carries no text")
    return {"module": module, "warnCode": code}


def _say_success(say: Composer, word: str, *, assumed: bool) -> int:
    return 0 if say.need(D + word, say.fact("success"), assumed) else 1


def _read_outcome(word: str) -> Callable[[Words], Facts]:
    return lambda details: Facts(success=details.read(word, as_success))


def _say_outcome(word: str) -> "Speaker":
    return lambda say, _: {word: _say_success(say, word, assumed=True)}


def _status_name(value: Any) -> str | None:
    number = as_count(value)
    if number is None or number >= 2**CODE_BITS:
        return None
    return STATUS.get(number, f"{UNLISTED_STATUS}{number}")


def status_number(name: str | None) -> int | None:
    """Return the number of a recording status, None when this wire has none for it."""
    name = name or ""
    return STATUS_NUMBERS.get(name, _suffix(name, UNLISTED_STATUS))


def _suffix(name: str, prefix: str) -> int | None:
    return as_count(name.removeprefix(prefix)) if name.startswith(prefix) else None


def _read_status(details: Words) -> Facts:
    status, mode = details.read("status", _status_name), details.read("recordingMode", one_of(MODES))
    return Facts(status=status, recording_mode=mode, files=_read_files(details))


def _say_status_words(say: Composer, options: Options) -> dict[str, Any]:
    mode = say.need(D + "recordingMode", say.fact("recording_mode"), _mode(say))
    return {
        "status": status_number(say.fact("status")),
        "recordingMode": 0 if mode is RecordingMode.COMPOSITE else 1,
        "fileList": _first_file(say) or "",
    }


def _mode(say: Composer) -> RecordingMode:
    return say.fill.recording_mode or RecordingMode.COMPOSITE


def _read_index(details: Words) -> Facts:
    return Facts(files=_read_files(details))


def _say_index(say: Composer, options: Options) -> dict[str, Any]:
    fallback = f"{say.event.recording_id or say.fill.recording_id or say.fill.event_id}.m3u8"
    return {"fileList": say.need(D + "fileList", _first_file(say), fallback)}


def _first_file(say: Composer) -> str | None:
    """Return the one file name that 3 and 4 have room for."""
    files: tuple[File, ...] = say.fact("files")
    if len(files) > 1 or any(file != File(name=file.name) for file in files):
        say.lose("facts.files", "only the name of the first")
    return files[0].name if files else None


def _read_failover(details: Words) -> Facts:
    return Facts(new_recorder_id=details.read("newUid", text))


def _say_failover(say: Composer, options: Options) -> dict[str, Any]:
    uid = say.need(D + "newUid", say.fact("new_recorder_id"), NOBODY)
    return {"newUid": wire_uid(say, uid, options, "facts.new_recorder_id")}


def _read_uploaded(details: Words) -> Facts:
    files = tuple(msgspec.structs.replace(file, storage=Storage.OBJECT) for file in _read_files(details))
    return Facts(success=details.read("status", as_success), files=files)


def _read_backed_up(details: Words) -> Facts:
    """Leave the files' storage open: at least one slice is in the vendor's backup cloud, the page says not which."""
    return Facts(success=details.read("status", as_success), files=_read_files(details))


def _read_files(details: Words) -> tuple[File, ...]:
    """Read fileList: a name in 3 and 4, an array of files in 31 and 32."""
    name = details.read("fileList", lambda value: value if isinstance(value, str) and value else None)
    return (File(name=name),) if name else tuple(_read_file(item) for item in details.items("fileList"))


def _read_file(item: Words) -> File:
    return File(
        name=item.read("fileName", text),
        media=item.read("trackType", as_media) or (),
        participant_id=as_person(item.read("uid", text)),
        merged=item.read("mixedAllUser", as_boolean),
        playable=item.read("isPlayable", as_boolean),
        started_at=item.read("sliceStartTime", from_ms),
    )


def _say_uploaded(say: Composer, options: Options) -> dict[str, Any]:
    files: tuple[File, ...] = say.need(D + "fileList", say.fact("files"), ())
    if any(file.size is not None or file.duration_ms is not None or (file.url and file.name) for file in files):
        say.lose("facts.files", "url, size and duration")
    words = [_file_words(say, file) for file in files]
    return {"fileList": words, "status": _say_success(say, "status", assumed=True)}


def _file_words(say: Composer, file: File) -> dict[str, Any]:
    at = D + "fileList."
    begun = None if file.started_at else say.fact("started_at")
    begun = begun or say.fill.recording_started_at or say.fill.recorded_at
    uid = file.participant_id or MERGED
    return {
        "fileName": say.need(at + "fileName", file.name or _last_part(file.url), "unnamed"),
        "trackType": _say_tracks(say, at + "trackType", file.media, "facts.files"),
        "uid": uid if file.participant_id or file.merged else say.need(at + "uid", None, uid),
        "mixedAllUser": say.need(at + "mixedAllUser", file.merged, file.participant_id is None),
        "isPlayable": say.need(at + "isPlayable", file.playable, instead=True),
        "sliceStartTime": to_ms(say.need(at + "sliceStartTime", file.started_at, begun)),
    }


def _last_part(url: str | None) -> str | None:
    path = (url or "").partition("?")[0].rstrip("/")
    return path.rpartition("/")[2] or None


def _say_tracks(say: Composer, word: str, media: tuple[Media, ...], source: str) -> str:
    if Media.DESKTOP in media:
        say.lose(source, "desktop is sent as video")
    known = say.need(word, media, (Media.AUDIO, Media.VIDEO))
    if Media.AUDIO not in known:
        return "video"
    return "audio" if set(known) == {Media.AUDIO} else "audio_and_video"


def _read_progress(details: Words) -> Facts:
    share = details.read("progress", lambda value: n if (n := as_count(value)) is not None and n <= 10_000 else None)
    return Facts(progress=None if share is None else share / 10_000)


def _say_progress(say: Composer, options: Options) -> dict[str, Any]:
    share = say.need(D + "progress", say.fact("progress"), 0.0)
    return {"progress": round(min(max(0.0, share), 1.0) * 10_000)}  # in this order, what is no number is 0


def exits(code: Any) -> tuple[str, ...] | None:
    """Return the causes in a leaveCode by name; a bit the page does not list is named by its value."""
    bits = as_count(code)
    if bits is None or bits >= 2**CODE_BITS:
        return None
    if bits == 0:
        return (INIT_FAILED,)
    found = [1 << place for place in range(CODE_BITS) if bits >> place & 1]
    return tuple(LEAVE_BITS.get(bit, f"{UNLISTED_BIT}{bit}") for bit in found)


def _read_exits(details: Words) -> Facts:
    return Facts(exit=details.read("leaveCode", exits) or ())


def _say_exits(say: Composer, options: Options) -> dict[str, Any]:
    names: tuple[str, ...] = say.fact("exit")
    bits = [LEAVE_NUMBERS.get(name, _suffix(name, UNLISTED_BIT)) for name in names if name != INIT_FAILED]
    if None in bits:
        say.lose("facts.exit", "a cause that has no bit here")
    code = 0
    for bit in bits:
        code |= bit or 0
    known = None if not names or (code == 0 and INIT_FAILED not in names) else code
    return {"leaveCode": say.need(D + "leaveCode", known, LEAVE_NUMBERS["client_leave"])}


def _read_slice(details: Words) -> Facts:
    started = details.read("startUtcMs", from_ms) or details.read("startUtcMS", from_ms)  # the prose's spelling
    ended, merged = details.read("discontinueUtcMs", from_ms), details.read("mixedAllUser", as_boolean)
    return Facts(
        started_at=started,
        interrupted_at=None if ended == started else ended,  # equal when nothing was lost
        recording_mode=None if merged is None else MODE_OF_MERGED[merged],
        media=details.read("trackType", as_media) or (),
    )


def _say_slice(say: Composer, options: Options) -> dict[str, Any]:
    fill = say.fill
    started = say.need(D + "startUtcMs", say.fact("started_at"), fill.recording_started_at or fill.recorded_at)
    mode = say.need(D + "mixedAllUser", say.fact("recording_mode"), _mode(say))
    return {
        "startUtcMs": to_ms(started),
        "discontinueUtcMs": to_ms(say.fact("interrupted_at") or started),
        "mixedAllUser": mode is RecordingMode.COMPOSITE,
        "streamUid": _stream_uid(say, merged=mode is RecordingMode.COMPOSITE),
        "trackType": _say_tracks(say, D + "trackType", say.fact("media"), "facts.media"),
    }


def _stream_uid(say: Composer, *, merged: bool) -> str:
    uid = say.take("participant_id")
    return MERGED if merged and uid is None else say.need(D + "streamUid", uid, MERGED)


def _read_stream(media: Media) -> Callable[[Words], Facts]:
    return lambda _: Facts(media=(media,))


def _say_stream(say: Composer, options: Options) -> dict[str, Any]:
    media = say.need("eventType", say.fact("media"), say.fill.media)
    if Media.DESKTOP in media:
        say.lose("facts.media", "desktop is sent as video")
    changed_at = say.need(D + "UtcMs", say.take("occurred_at"), say.fill.recorded_at)
    state = 1 if say.event.type is T.TRACK_STALLED else 0
    return {"streamUid": _stream_uid(say, merged=False), "state": state, "UtcMs": to_ms(changed_at)}


def _read_vod(details: Words) -> Facts:
    video = details.child("aliVodInfo").read("videoId", text)
    return Facts(files=() if video is None else (File(name=video, storage=Storage.VOD),))


def _say_vod(say: Composer, options: Options) -> dict[str, Any]:
    files: tuple[File, ...] = say.fact("files")
    return {"aliVodInfo": {"videoId": say.need(D + "aliVodInfo.videoId", files[0].name if files else None, "")}}


def _read_nothing(details: Words) -> Facts:
    return Facts()


def _say_nothing(say: Composer, options: Options) -> dict[str, Any]:
    return {}


Speaker = Callable[[Composer, Options], dict[str, Any]]


class Details(NamedTuple):
    """How the details of one event are read, and said."""

    read: Callable[[Words], Facts]
    say: Speaker


DETAILS: dict[int, Details] = {
    1: Details(_read_error, _say_error),
    2: Details(_read_warning, _say_warning),
    3: Details(_read_status, _say_status_words),
    4: Details(_read_index, _say_index),
    11: Details(_read_outcome("exitStatus"), _say_outcome("exitStatus")),
    12: Details(_read_failover, _say_failover),
    30: Details(_read_outcome("status"), _say_outcome("status")),
    31: Details(_read_uploaded, _say_uploaded),
    32: Details(_read_backed_up, _say_uploaded),
    33: Details(_read_progress, _say_progress),
    40: Details(_read_outcome("status"), _say_outcome("status")),
    41: Details(_read_exits, _say_exits),
    42: Details(_read_slice, _say_slice),
    43: Details(_read_stream(Media.AUDIO), _say_stream),
    44: Details(_read_stream(Media.VIDEO), _say_stream),
    60: Details(_read_vod, _say_vod),
    61: Details(_read_nothing, _say_nothing),
}


def wire_uid(say: Composer, uid: str, options: Options, source: str) -> int | str:
    """Return a uid as the number this wire has, when it is one; else by the option `text_uid`."""
    number = integer(uid)
    if number is not None and str(number) == uid and 0 <= number < 2**63:
        return number
    if options.get("text_uid", "keep") == "number":
        say.lose(source, "not a number: sent as one made from it")
        return int.from_bytes(sha256(uid.encode()).digest()[:4], "big") or 1
    say.lose(source, "not a number: sent as text")
    return uid
