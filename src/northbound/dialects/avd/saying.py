"""Say events in 3T words: our own as they came, as far as a release has them, and those of other wires."""

from collections.abc import Callable
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from northbound.dialects.avd.reading import as_text
from northbound.dialects.avd.tables import (
    LEAVE,
    LEAVE_WORDS,
    RELEASES,
    TERMINAL_WORDS,
    T,
    in_release,
    missing_fields,
)
from northbound.dialects.base import Composer, Options, members, raw, to_ms
from northbound.model.delivery import Fill, View
from northbound.model.event import VOLUNTARY, Event, EventType, Fault, File, Media, Port, Reason, Terminal

CARRIED = {"exporter_id": "recording_id", "exporter_type": "facts.format", "resolution": "facts.resolution"}


def own_views(event: Event, release: str) -> tuple[View, ...]:
    """Say one of our own wire's events to *release*: the words as they came, without what it does not know."""
    words = members(event.vendor)
    word = as_text(words.get("event", raw("")))
    if not in_release(word, release):
        return ()
    dropped = [name for name in words if name in missing_fields(word, release)]
    if not dropped:
        return (View(words=event.vendor),)
    kept = {name: value for name, value in words.items() if name not in dropped}
    return (View(words=raw(kept), lost=tuple(f"vendor.{name}" for name in dropped)),)


def _begin(say: Composer, word: str, options: Options, part: str = "") -> dict[str, Any]:
    """Begin an event; *part* tells apart the requests that one event becomes, so that none passes for a repeat."""
    words: dict[str, Any] = {"event": word}
    if options.get("trace_id", True):
        words["trace_id"] = say.invent("trace_id", _trace_id(say.fill.event_id, part))
    return words if word == "warning_notify" else words | {"room_id": say.take("room_id")}


def _trace_id(event_id: str, part: str) -> str:
    """Return the UUID of one of our events (or of a *part* of it), the same on every attempt (ruling 31)."""
    if part:
        return str(uuid5(NAMESPACE_URL, f"northbound:{event_id}/{part}"))
    try:
        return str(UUID(event_id))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, f"northbound:{event_id}"))


def _finish(say: Composer, words: dict[str, Any], options: Options) -> tuple[View, ...]:
    release = options.get("release", RELEASES[-1])
    dropped = missing_fields(words["event"], release) & {name for name, value in words.items() if value is not None}
    view = say.view({name: value for name, value in words.items() if name not in dropped})
    unsent = [CARRIED[name] for name in sorted(dropped.difference(view.invented))]
    lost = tuple(f"{name} (release {release} does not send it)" for name in unsent)
    invented = tuple(name for name in view.invented if name not in dropped)
    return (msgspec.structs.replace(view, lost=(*view.lost, *lost), invented=invented),)


def _room(word: str) -> Callable[[Event, Fill, Options], tuple[View, ...]]:
    def say_room(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        say = Composer(event, fill)
        words = _begin(say, word, options)
        if word == "close":
            reason = say.fact("reason")
            word_of = "user" if reason in (Reason.BY_USER, Reason.NORMAL, Reason.ROOM_DISSOLVED) else "auto"
            if reason not in (None, Reason.BY_USER, Reason.EMPTY):
                say.lose("facts.reason", f"{reason.value} has no word of its own, sent as {word_of}")
            words["event_type"] = say.need("event_type", word_of if reason else None, "auto")
        return _finish(say, words, options)

    return say_room


def _person(say: Composer) -> dict[str, Any]:
    return {"user_id": say.take("participant_id")}


def _terminal(say: Composer) -> str:
    terminal = say.fact("terminal")
    if terminal is Terminal.OTHER or terminal is Terminal.LINUX:
        say.lose("facts.terminal", "no word, sent as web")
    elif terminal is None and say.event.facts.phone is not None:
        terminal = Terminal.PHONE
        say.lose("facts.phone", f"{say.fact('phone').value} as pstn")
    known = TERMINAL_WORDS.get(terminal, "web") if terminal else None
    return say.need("endpoint_type", known, TERMINAL_WORDS.get(say.fill.terminal or Terminal.WEB, "web"))


def _join(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    say = Composer(event, fill)
    words = {**_begin(say, "join", options), **_person(say), "event_type": "normal"}
    return _finish(say, words | {"endpoint_type": _terminal(say), "user_name": say.fact("name")}, options)


def _leave(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    say = Composer(event, fill)
    reason = say.fact("reason")
    word = None if reason is None else LEAVE_WORDS.get(reason, "normal" if reason in VOLUNTARY else "offline")
    if reason is not None and LEAVE.get((word or "").lower()) is not reason:
        say.lose("facts.reason", f"{reason.value} has no word of its own, sent as {word}")
    words = {**_begin(say, "leave", options), **_person(say), "event_type": say.need("event_type", word, "normal")}
    if event.facts.terminal in TERMINAL_WORDS:
        words["endpoint_type"] = TERMINAL_WORDS[say.fact("terminal")]
    return _finish(say, words | {"user_name": say.fact("name")}, options)


def _update(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
    say = Composer(event, fill)
    return _finish(say, {**_begin(say, "update", options), **_person(say), "event_type": "userInfo"}, options)


def _track(word: str) -> Callable[[Event, Fill, Options], tuple[View, ...]]:
    def say_track(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        views: list[View] = []
        all_media = event.facts.media or fill.media or (Media.VIDEO,)
        for number, media in enumerate(all_media):
            say = Composer(event, fill)
            known = media if media in say.fact("media") else None
            words = {**_begin(say, word, options, media.value if number else ""), **_person(say)}
            words["stream_type"] = say.need("stream_type", known, media).value
            words["stream_id"] = _stream_id(say, media)
            if word in ("publish", "unpublish") and all_media != (Media.AUDIO,):
                resolution = say.fact("resolution")  # never sent on audio (ruling 32); its picture's request has it
                words["resolution"] = None if media is Media.AUDIO else resolution
            views.extend(_finish(say, words, options))
        return tuple(views)

    return say_track


def _stream_id(say: Composer, media: Media) -> str:
    track = say.take("track_id")
    owner = None if track else say.fact("peer_id") or say.event.participant_id
    return say.need("stream_id", track, f"{owner}-{media.value}")


def _recording(word: str) -> Callable[[Event, Fill, Options], tuple[View, ...]]:
    def say_recording(event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        say = Composer(event, fill)
        failed = say.fact("success") is False or event.type is T.RECORDING_ERRORED
        words = {**_begin(say, word, options), "event_type": "faild" if failed else "success"}
        if word == "start_record" and not failed:
            begun = say.fact("started_at") or say.take("occurred_at")
            words["start_time"] = str(to_ms(say.need("start_time", begun, fill.recorded_at)))
        if word != "start_record":
            begun = say.need("start_time", say.fact("started_at"), fill.recording_started_at or fill.recorded_at)
            words["start_time"] = str(to_ms(begun))
        if word == "stop_record":
            stopped = say.need("stop_time", say.fact("stopped_at") or say.take("occurred_at"), fill.recorded_at)
            words["stop_time"] = str(to_ms(stopped))
        if failed:
            words["options"] = _fault_text(say) or None
        elif word != "start_record" and event.facts.files:
            words["options"] = msgspec.json.encode(_files_words(say)).decode()
        instead = fill.recording_id or fill.room_instance or fill.event_id
        words["exporter_type"] = say.need("exporter_type", say.fact("format"), "mp4")
        words["exporter_id"] = say.need("exporter_id", say.take("recording_id"), instead)
        return _finish(say, words, options)

    return say_recording


def _fault_text(say: Composer) -> str:
    fault: Fault | None = say.fact("fault")
    if fault is None:
        return ""
    if (fault.code, fault.name, fault.module, fault.level) != (None, None, None, None):
        say.lose("facts.fault", "as text only")
    return fault.message or " ".join(str(part) for part in (fault.name, fault.code) if part is not None)


def _files_words(say: Composer) -> list[dict[str, Any]]:
    files: tuple[File, ...] = say.fact("files")
    wordless = ("participant_id", "merged", "playable", "started_at", "storage")
    lost = [name for name in wordless if any(getattr(file, name) is not None for file in files)]
    if lost:
        say.lose("facts.files", f"no words for {', '.join(lost)}")
    return [_file_words(file) for file in files]


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
    ports: tuple[Port, ...] = say.need("options", say.fact("ports"), ())
    words["box_code"] = say.need("box_code", say.fact("server_id"), "unknown")
    words["options"] = msgspec.json.encode([{"type": port.kind, "port": port.port} for port in ports]).decode()
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
