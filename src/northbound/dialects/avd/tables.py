"""The words of the 3T wire: events, reasons, terminals, and which parameters belong to which event and release."""

from collections.abc import Collection

from northbound.model.event import EventType, Media, Reason, Terminal

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
OUTCOMES = {"success": True, **dict.fromkeys(FAILED, False)}
RECORDING = frozenset({"start_record", "stop_record", "record_transcoding_completion"})
# What event_type may say, in lower case, by event (page, one table an event).
EVENT_TYPES: dict[str, Collection[str]] = {
    "close": CLOSE,
    "join": {"normal"},
    "leave": LEAVE,
    "update": {"userinfo"},
    **dict.fromkeys(RECORDING, OUTCOMES),
    "warning_notify": {"check_port"},
}

MEANT = frozenset(
    "event trace_id room_id user_id user_name endpoint_type event_type stream_type stream_id resolution start_time "
    "stop_time exporter_type exporter_id box_code options".split()
)
RELEASES = ("before-2023-03-17", "2023-03-17", "2024-03-15", "2024-07-04")
# The page's tables: what each event always sends, and what it may send besides (see `is_covered`).
_ROOM = frozenset({"event", "trace_id", "room_id"})
_TRACK = _ROOM | {"user_id", "stream_type", "stream_id"}
_RECORDING = _ROOM | {"event_type", "exporter_type", "exporter_id"}
REQUIRED = {
    "open": _ROOM,
    "close": _ROOM | {"event_type"},
    "join": _ROOM | {"user_id", "event_type", "endpoint_type"},
    "leave": _ROOM | {"user_id", "event_type"},
    **dict.fromkeys(("publish", "unpublish", "sub", "unsub"), _TRACK),
    "update": _ROOM | {"user_id", "event_type"},
    "start_record": _RECORDING,
    "stop_record": _RECORDING | {"start_time", "stop_time"},
    "record_transcoding_completion": _RECORDING | {"start_time"},
    "warning_notify": frozenset({"event", "trace_id", "event_type", "box_code", "options"}),
}
ALLOWED = {
    "join": {"user_name"},
    "leave": {"endpoint_type", "user_name"},
    "publish": {"resolution"},
    "unpublish": {"resolution"},
    "stop_record": {"options"},
    "record_transcoding_completion": {"options"},
}


def before(release: str, other: str) -> bool:
    """Tell whether *release* is older than *other*."""
    return RELEASES.index(release) < RELEASES.index(other)


def in_release(word: str, release: str) -> bool:
    """Tell whether *release* sends event *word* at all."""
    newer = word in {"start_record", "record_transcoding_completion"}
    return not (newer and before(release, "2024-07-04"))


def missing_fields(word: str, release: str) -> frozenset[str]:
    """Name the parameters that *release* does not send for event *word* (page notes; ruling 30)."""
    missing: set[str] = set()
    if before(release, "2023-03-17") and word in RECORDING:
        missing |= {"exporter_type", "exporter_id"}
    if before(release, "2024-07-04"):
        missing |= {"resolution"}
    return frozenset(missing)
