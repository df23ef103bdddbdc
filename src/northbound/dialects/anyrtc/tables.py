"""anyRTC's numbers and what they mean: events, modules, codes, states, platforms, reasons."""

from typing import NamedTuple

from northbound.model.event import EventType, Media, Reason, RecordingMode, Role, Terminal

T = EventType


# Every word of the page's tables and samples, wherever it stands: what else comes is news.
KNOWN = frozenset(
    "noticeId productId eventType notifyMs payload cname uid sid sequence sendts serviceType details msgName module "
    "errorLevel errorCode errorMsg warnCode stat status state leaveCode exitStatus newUid isPlayable fileList fileName "
    "trackType mixedAllUser sliceStartTime startUtcMs startUtcMS discontinueUtcMs UtcMs streamUid recordingMode "
    "progress aliVodInfo videoId channelName channelSId ts uSId platform clientType reason duration".split()
)


class Notice(NamedTuple):
    """One row of the page's table of recording events: what it is, its fixed serviceType and msgName."""

    type: EventType
    service: int
    name: str


CHANNELS_PRODUCT = 1
RECORDINGS_PRODUCT = 3
PRODUCTS: dict[int | None, str] = {CHANNELS_PRODUCT: "rtc", RECORDINGS_PRODUCT: "recording"}
RECORDING = {
    1: Notice(T.RECORDING_ERRORED, 0, "cloud_recording_error"),
    2: Notice(T.RECORDING_WARNED, 0, "cloud_recording_warning"),
    3: Notice(T.RECORDING_STATUS_CHANGED, 0, "cloud_recording_status_update"),
    4: Notice(T.RECORDING_INDEXED, 0, "cloud_recording_file_infos"),
    11: Notice(T.RECORDING_EXITED, 0, "session_exit"),
    12: Notice(T.RECORDING_FAILED_OVER, 0, "session_failover"),
    30: Notice(T.RECORDING_UPLOAD_STARTED, 2, "uploader_started"),
    31: Notice(T.RECORDING_UPLOADED, 2, "uploaded"),
    32: Notice(T.RECORDING_BACKED_UP, 2, "backuped"),
    33: Notice(T.RECORDING_UPLOAD_PROGRESSED, 2, "uploading_progress"),
    40: Notice(T.RECORDING_STARTED, 1, "recorder_started"),
    41: Notice(T.RECORDING_STOPPED, 1, "recorder_leave"),
    42: Notice(T.RECORDING_SLICED, 1, "recorder_slice_start"),
    43: Notice(T.UNKNOWN, 1, "recorder_audio_stream_state_changed"),  # STATES decides the type of 43 and 44
    44: Notice(T.UNKNOWN, 1, "recorder_video_stream_state_changed"),
    60: Notice(T.RECORDING_VOD_STARTED, 4, "vod_started"),
    61: Notice(T.RECORDING_VOD_TRIGGERED, 4, "vod_triggered"),
}
CHANNEL = {
    101: (T.ROOM_OPENED, None),
    102: (T.ROOM_CLOSED, None),
    103: (T.PARTICIPANT_JOINED, Role.BROADCASTER),
    104: (T.PARTICIPANT_LEFT, Role.BROADCASTER),
    105: (T.PARTICIPANT_JOINED, Role.AUDIENCE),
    106: (T.PARTICIPANT_LEFT, Role.AUDIENCE),
    107: (T.PARTICIPANT_JOINED, None),
    108: (T.PARTICIPANT_LEFT, None),
    111: (T.PARTICIPANT_UPDATED, Role.BROADCASTER),
    112: (T.PARTICIPANT_UPDATED, Role.AUDIENCE),
}
CHANNEL_NUMBERS = {meaning: number for number, meaning in CHANNEL.items()}
STATES = {0: T.TRACK_RESUMED, 1: T.TRACK_STALLED}
STREAMS = {43: Media.AUDIO, 44: Media.VIDEO}
STREAM_NUMBERS = {Media.AUDIO: 43, Media.VIDEO: 44, Media.DESKTOP: 44}

MODULES = {0: "recorder", 1: "uploader", 2: "platform"}
MODULE_NUMBERS = {name: number for number, name in MODULES.items()}
MODULE_OF_PHASE = {"start": "platform", "running": "recorder", "finishing": "uploader"}
LEVELS = {1: "debug", 2: "minor", 3: "medium", 4: "major", 5: "fatal"}
LEVEL_NUMBERS = {name: number for number, name in LEVELS.items()}
FAULTS = {  # the recorder's own codes are on a page we do not have: kept as numbers (ruling 26)
    ("error", "uploader", 32): "storage_config_error",
    ("error", "uploader", 47): "upload_failed",
    ("error", "uploader", 51): "file_operation_failed",
    ("error", "platform", 50): "upload_timeout",
    ("error", "platform", 52): "start_timeout",
    ("warning", "uploader", 31): "reupload_to_storage",
    ("warning", "uploader", 32): "reupload_to_backup",
}
FAULT_NUMBERS = {(family, name): (module, code) for (family, module, code), name in FAULTS.items()}
STATUS = {
    0: "not_started",
    1: "initialized",
    2: "recorder_starting",
    3: "uploader_started",
    4: "recorder_started",
    5: "first_file_uploaded",
    6: "stopped",
    7: "all_stopped",
    8: "exiting",
    20: "exited_abnormally",
}
STATUS_NUMBERS = {name: number for number, name in STATUS.items()}
UNLISTED_STATUS = "unknown_"
LEAVE_BITS = {2: "signal", 4: "no_users", 8: "timer_catch", 16: "client_leave"}
LEAVE_NUMBERS = {name: bit for bit, name in LEAVE_BITS.items()}
INIT_FAILED = "init_failed"  # leaveCode 0, which is no bit at all
UNLISTED_BIT = "unknown_bit_"
CODE_BITS = 32  # a leaveCode or status beyond this is no code; it stays in the raw words

TRACKS = {"audio": (Media.AUDIO,), "video": (Media.VIDEO,), "audio_and_video": (Media.AUDIO, Media.VIDEO)}
MODES = {0: RecordingMode.COMPOSITE, 1: RecordingMode.INDIVIDUAL}
MODE_OF_MERGED = {True: RecordingMode.COMPOSITE, False: RecordingMode.INDIVIDUAL}
PLATFORMS = {
    0: Terminal.OTHER,
    1: Terminal.ANDROID,
    2: Terminal.IOS,
    5: Terminal.WINDOWS,
    6: Terminal.LINUX,
    7: Terminal.WEB,
    8: Terminal.MAC,
}
PLATFORM_NUMBERS = {terminal: number for number, terminal in PLATFORMS.items()}
REASONS = {
    0: Reason.OTHER,
    1: Reason.NORMAL,
    2: Reason.TIMED_OUT,
    3: Reason.KICKED,
    4: Reason.SERVER_FAULT,
    5: Reason.DISPLACED,
}
REASON_NUMBERS = {reason: number for number, reason in REASONS.items()}
NEAR_REASONS = {Reason.ROOM_DISSOLVED: 3, Reason.SUPERSEDED: 5, Reason.BY_USER: 1, Reason.EMPTY: 1}
MERGED = "0"  # the uid of a file or stream that holds everybody
NOBODY = "0"  # stated default for a recorder's own uid
