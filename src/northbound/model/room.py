"""The projection: what is true in a room now, folded from the log."""

from datetime import datetime

import msgspec

from northbound.model.event import Fault, File, Media, PhoneAccess, Reason, RecordingMode, Role, Terminal


class Track(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One published medium of one participant."""

    id: str
    media: tuple[Media, ...] = ()
    resolution: str | None = None
    published_at: datetime | None = None
    stalled: bool = False


class Participant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One person's current stay. `session_id` is ours, stable for the stay; `wire_session_id` is the vendor's."""

    id: str
    session_id: str
    joined_at: datetime  # the vendor's clock where it has one, else receipt (ruling 3)
    joined_at_known: bool = False  # True when joined_at is the vendor's
    wire_session_id: str | None = None
    name: str | None = None
    group_id: str | None = None
    role: Role | None = None
    terminal: Terminal | None = None
    client: str | None = None
    phone: PhoneAccess | None = None
    epoch: int = 0  # how often the room had been re-opened when this stay began
    implied: bool = False  # seen acting in the room, its join has not arrived (yet)
    tracks: dict[str, Track] = {}
    ended_tracks: dict[str, datetime] = {}  # when the vendor says a track ended: what came earlier is a late event
    subscriptions: tuple[str, ...] = ()  # track ids


class Departed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stay that ended, kept while a late event may still name it."""

    session_id: str
    wire_session_id: str | None = None
    joined_at: datetime | None = None
    left_at: datetime | None = None
    left_at_known: bool = False
    reason: Reason | None = None
    ended: tuple[str, ...] = ()  # the vendor's ids of this person's stays that ended, newest last
    began_at: datetime | None = None  # newest vendor time at which one of them began


class Recording(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One recording: its state, files and the sequence numbers that are missing (R10)."""

    id: str
    status: str = "started"
    events: int = 0  # how many of its events the log holds: the next minted sequence (ruling 29)
    mode: RecordingMode | None = None
    recorder_id: str | None = None
    format: str | None = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    progress: float | None = None
    files: tuple[File, ...] = ()
    next_sequence: int | None = None
    gaps: tuple[int, ...] = ()
    interruptions: tuple[datetime, ...] = ()  # when good material ended, each counted once in missing_ms
    faults: tuple[Fault, ...] = ()
    stage: str = ""  # the furthest one told, of `logic.recording.STAGES`
    verdict: str | None = None  # complete | incomplete | unknown
    missing_ms: int | None = None


class Room(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One room instance; the same id after a close is the next instance."""

    source_id: str
    id: str
    scope: str | None = None
    instance: int = 1
    wire_session_id: str | None = None
    name: str | None = None
    open: bool = False
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    close_reason: Reason | None = None
    alive_at: datetime | None = None  # newest vendor time at which the room was said to open or be joined
    ended_at: datetime | None = None  # newest vendor time at which it was said to close, of whichever instance
    epoch: int = 0
    participants: dict[str, Participant] = {}
    departed: dict[str, Departed] = {}  # by participant id, the newest stay that ended
    recordings: dict[str, Recording] = {}
    outcomes: dict[str, str] = {}  # by recording id, over all instances: the event that told first where its files are
    seq: int = 0  # place of the newest entry in this room's log, over all instances
    offset: int = -1  # log offset of the newest entry folded in
    watermark: datetime | None = None  # newest vendor time seen
    stays: int = 0  # sessions begun in this instance
    peak: int = 0
    participant_seconds: float = 0.0  # of stays that ended


class Wanted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One medium that a connection asked for or receives."""

    room_id: str | None = None
    peer_id: str | None = None
    track_id: str | None = None
    media: tuple[Media, ...] = ()


class Connection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one media connection of a source stands for, learnt from its events."""

    session_id: str | None = None
    scope: str | None = None
    room_id: str | None = None
    participant_id: str | None = None
    wanted: tuple[Wanted, ...] = ()  # asked for, not confirmed
    receiving: tuple[Wanted, ...] = ()


class Memory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What derivation remembers beside rooms: the connections of one session of one source, by connection id."""

    connections: dict[str, Connection] = {}
    offset: int = -1


class Going(msgspec.Struct, frozen=True, kw_only=True):
    """Who is in a room after an entry, `at` its time, and since when its meeting goes on; None when none does."""

    at: datetime
    opened_at: datetime | None
    present: int


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What one folded entry adds to one day's figures of its app and room (ruling 15); times in seconds.

    One for an account, over all its apps, tells what is `going` on as well.
    """

    day: str  # YYYY-MM-DD in the app's zone
    room_key: str
    meetings: int = 0
    meeting_seconds: float = 0.0
    participant_seconds: float = 0.0
    joins: int = 0
    members: tuple[str, ...] = ()
    present_delta: int = 0  # on the newest of the days only
    room_present: int = 0  # most present around the entry: a candidate for the room's peak
    going: Going | None = None


class DayStats(msgspec.Struct, frozen=True, kw_only=True):
    """One app's day: the sum of its tallies, `peak` being the most members present at once."""

    app_id: str
    day: str
    meetings: int = 0
    meeting_seconds: float = 0.0
    participant_seconds: float = 0.0
    joins: int = 0
    members: int = 0
    peak: int = 0


class RoomDay(msgspec.Struct, frozen=True, kw_only=True):
    """One room's figures of a day."""

    room_key: str
    meetings: int
    meeting_seconds: float
    participant_seconds: float
    joins: int
    peak: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's own list of open rooms and who is in them, as of *taken_at*."""

    source_id: str
    taken_at: datetime
    rooms: tuple[Room, ...]


class RoomPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a vendor's list; *cut* are ids of rooms whose people have to be asked for by themselves."""

    rooms: tuple[Room, ...]
    total: int | None = None
    cut: tuple[str, ...] = ()


class PeoplePage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the people in one room; *is_known* False: the vendor knows no such open room."""

    participants: tuple[Participant, ...] = ()
    total: int | None = None
    is_known: bool = True
