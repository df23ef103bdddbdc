"""The neutral event: its type, who and where, and the facts that two or more vendors both say."""

from datetime import datetime
from enum import StrEnum

import msgspec


class EventType(StrEnum):
    """Closed list, `noun.past`; every event of the five vendor pages has a type of its own."""

    ROOM_OPENED = "room.opened"
    ROOM_CLOSED = "room.closed"
    PARTICIPANT_JOINED = "participant.joined"
    PARTICIPANT_LEFT = "participant.left"
    PARTICIPANT_UPDATED = "participant.updated"
    PARTICIPANT_OPERATED = "participant.operated"
    TRACK_PUBLISHED = "track.published"
    TRACK_UNPUBLISHED = "track.unpublished"
    TRACK_SUBSCRIBED = "track.subscribed"
    TRACK_UNSUBSCRIBED = "track.unsubscribed"
    TRACK_STALLED = "track.stalled"
    TRACK_RESUMED = "track.resumed"
    RECORDING_STARTED = "recording.started"
    RECORDING_PAUSED = "recording.paused"
    RECORDING_RESUMED = "recording.resumed"
    RECORDING_STOPPED = "recording.stopped"
    RECORDING_INDEXED = "recording.indexed"
    RECORDING_SLICED = "recording.sliced"
    RECORDING_TRANSCODED = "recording.transcoded"
    RECORDING_UPLOAD_STARTED = "recording.upload_started"
    RECORDING_UPLOAD_PROGRESSED = "recording.upload_progressed"
    RECORDING_UPLOADED = "recording.uploaded"
    RECORDING_BACKED_UP = "recording.backed_up"
    RECORDING_COMPLETED = "recording.completed"
    RECORDING_STATUS_CHANGED = "recording.status_changed"
    RECORDING_WARNED = "recording.warned"
    RECORDING_ERRORED = "recording.errored"
    RECORDING_FAILED_OVER = "recording.failed_over"
    RECORDING_EXITED = "recording.exited"
    RECORDING_VOD_STARTED = "recording.vod_started"
    RECORDING_VOD_TRIGGERED = "recording.vod_triggered"
    STATS_DAILY = "stats.daily"
    SERVER_UNREACHABLE = "server.unreachable"
    UNKNOWN = "unknown"


class Media(StrEnum):
    """What a track or file carries."""

    AUDIO = "audio"
    VIDEO = "video"
    DESKTOP = "desktop"


class Role(StrEnum):
    """May send media, or only receive it."""

    BROADCASTER = "broadcaster"
    AUDIENCE = "audience"


class Reason(StrEnum):
    """Why somebody joined, left, or a room closed (ruling 1).

    Two levels: `normal` is voluntary; `involuntary` is the coarse word (CVC `passive`), the others specific.
    """

    NORMAL = "normal"
    INVOLUNTARY = "involuntary"
    KICKED = "kicked"
    DISPLACED = "displaced"
    TIMED_OUT = "timed_out"
    ROOM_DISSOLVED = "room_dissolved"
    SERVER_FAULT = "server_fault"
    SUPERSEDED = "superseded"  # ours: a newer stay of the same person took its place (R3)
    RECONNECTED = "reconnected"  # on a join
    RELAYED = "relayed"  # on a join, from another room
    BY_USER = "by_user"  # on a room's close
    EMPTY = "empty"  # on a room's close: nobody left in it
    OTHER = "other"


VOLUNTARY = frozenset({Reason.NORMAL, Reason.BY_USER, Reason.EMPTY, Reason.RECONNECTED, Reason.RELAYED})


class Terminal(StrEnum):
    """The device or network a participant came by."""

    ANDROID = "android"
    IOS = "ios"
    WINDOWS = "windows"
    MAC = "mac"
    LINUX = "linux"
    WEB = "web"
    MINI_PROGRAM = "mini_program"
    HARDWARE = "hardware"
    PHONE = "phone"
    SIP = "sip"
    H323 = "h323"
    OTHER = "other"


class PhoneAccess(StrEnum):
    """How a telephone reached the room."""

    CALL_IN = "call_in"
    CALL_OUT = "call_out"


class RecordingMode(StrEnum):
    """All participants in one file, or one file each."""

    COMPOSITE = "composite"
    INDIVIDUAL = "individual"


class Storage(StrEnum):
    """Where a finished file lies."""

    LOCAL = "local"
    OBJECT = "object"
    AFTS = "afts"
    HDFS = "hdfs"
    BACKUP = "backup"
    VOD = "vod"


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A vendor's error or warning: its number as sent, our name for it where a page gives one, its own text."""

    code: int | None = None
    name: str | None = None  # from the vendor's list, e.g. "upload_failed"; None when the page lists none
    module: str | None = None
    level: str | None = None  # debug, minor, medium, major, fatal
    phase: str | None = None  # start, running, finishing
    message: str | None = None


class File(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One recorded file; times UTC, `size` in bytes."""

    name: str | None = None
    url: str | None = None
    size: int | None = None
    duration_ms: int | None = None
    media: tuple[Media, ...] = ()
    participant_id: str | None = None
    merged: bool | None = None
    playable: bool | None = None
    started_at: datetime | None = None
    storage: Storage | None = None


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """A port that a health check found closed; `kind` is `tcp` or `websocket`."""

    kind: str
    port: int


class Counts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A day's statistics (ruling 15): meetings begun, seconds held, members, peak of members present at once."""

    meetings: int | None = None
    seconds: int | None = None
    members: int | None = None
    peak: int | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the wire's words mean, one normalised field for each thing that two vendors both say.

    A field is None (or empty) when the wire did not say it; nothing here is ever guessed.
    """

    room_name: str | None = None
    name: str | None = None  # display name of the participant
    group_id: str | None = None  # the participant's organisation
    role: Role | None = None
    terminal: Terminal | None = None
    client: str | None = None  # native, mini_program, web
    phone: PhoneAccess | None = None
    reason: Reason | None = None
    operation: str | None = None  # camera_off, mute, ... an open list of the vendor's words
    media: tuple[Media, ...] = ()
    peer_id: str | None = None  # the publisher a subscription is to
    resolution: str | None = None  # "WIDTHxHEIGHT"
    joined_at: datetime | None = None  # on a leave: when the stay began
    success: bool | None = None
    recording_mode: RecordingMode | None = None
    recorder_id: str | None = None  # the recorder's own participant id
    new_recorder_id: str | None = None  # after a fail-over
    format: str | None = None  # hls, mp4, mjr
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    interrupted_at: datetime | None = None  # where the previous good slice ended
    status: str | None = None  # recording status by name
    progress: float | None = None  # 0..1
    exit: tuple[str, ...] = ()  # exit causes by name
    fault: Fault | None = None
    files: tuple[File, ...] = ()
    server_id: str | None = None
    ports: tuple[Port, ...] = ()
    counts: Counts | None = None
    connection_id: str | None = None  # the wire's id of one media connection, where events name it instead of a person
    pending: bool = False  # asked for, not confirmed yet
    salvaged: bool = False  # the body was repaired before it could be read (ruling 11)

    @property
    def failed(self) -> bool:
        """Tell whether it went wrong: the wire says so, or says nothing of success and names a fault."""
        return self.success is False or (self.success is None and self.fault is not None)


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened in a room, in the vendor's own words and in ours."""

    type: EventType
    dialect: str
    scope: str | None = None  # what a room id is unique within (mPaaS bizName, RTC AppId); None: the source
    room_id: str | None = None
    participant_id: str | None = None
    session_id: str | None = None  # the vendor's id of one stay
    room_session_id: str | None = None  # the vendor's id of one room instance
    track_id: str | None = None
    recording_id: str | None = None
    occurred_at: datetime | None = None  # the vendor's clock, if the wire carries one
    sequence: int | None = None  # the vendor's number, if any
    dedupe_key: str | None = None  # None: the wire has no id; never invented (ruling 9)
    facts: Facts = msgspec.field(default_factory=Facts)
    vendor: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))  # JSON text, numbers and order kept
    unmapped: tuple[str, ...] = ()  # wire words that no field above carries: lost in any foreign dialect


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """How a wire behaves over time, told by its dialect, used by derivation (which knows no vendor).

    `implicit_rooms`: rooms open with the first member and close with the last, without an event of their own.
    `repeats`: types that the wire repeats by design; one that changes nothing is logged but not delivered.
    """

    implicit_rooms: bool = False
    repeats: frozenset[EventType] = frozenset()
