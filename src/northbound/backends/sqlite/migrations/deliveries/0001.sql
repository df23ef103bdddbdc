-- Rooms folded from the log, deliveries, attempts, dead letters; the delivery process is the only writer.
CREATE TABLE cursors (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE rooms (
    key TEXT PRIMARY KEY,               -- source/scope/room
    open INTEGER NOT NULL,
    state BLOB NOT NULL,                -- JSON Room
    sent BLOB NOT NULL                  -- JSON {endpoint id: last place in the room's log it was sent}
) WITHOUT ROWID;

-- Instances that are over: the same room name tomorrow is the next instance (R8).
CREATE TABLE past_rooms (key TEXT NOT NULL, instance INTEGER NOT NULL, state BLOB NOT NULL, PRIMARY KEY (key, instance)) WITHOUT ROWID;

CREATE TABLE memories (source_id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    order_key TEXT NOT NULL,
    lane TEXT NOT NULL,
    state TEXT NOT NULL,
    due_at INTEGER NOT NULL,            -- Unix microseconds
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    body BLOB NOT NULL                  -- JSON Delivery as routed
    , attempts INTEGER NOT NULL DEFAULT 0
    , reason TEXT
);
-- Small indexes over what is not done, so that done rows cost nothing.
CREATE INDEX deliveries_waiting ON deliveries (number) WHERE state = 'waiting';
CREATE INDEX deliveries_dead ON deliveries (endpoint_id, number) WHERE state = 'dead';

CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL,          -- deliveries.number
    number INTEGER NOT NULL,            -- from 1
    started_at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    status INTEGER,                     -- HTTP status, null without an answer
    failure TEXT,                       -- FailureKind
    accepted INTEGER NOT NULL,
    reason TEXT NOT NULL,
    address TEXT,
    request BLOB NOT NULL,              -- JSON Request
    response BLOB                       -- JSON Response
);

-- What a wire could not carry or required and got invented, counted per endpoint and event type.
CREATE TABLE losses (endpoint_id TEXT NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL, event_type TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (endpoint_id, kind, what, event_type)) WITHOUT ROWID;

CREATE TABLE day_stats (app_id TEXT NOT NULL, day TEXT NOT NULL, meetings INTEGER NOT NULL, meeting_seconds REAL NOT NULL,
    participant_seconds REAL NOT NULL, joins INTEGER NOT NULL, members INTEGER NOT NULL, peak INTEGER NOT NULL, present INTEGER NOT NULL,
    PRIMARY KEY (app_id, day)) WITHOUT ROWID;
CREATE TABLE day_members (app_id TEXT NOT NULL, day TEXT NOT NULL, member TEXT NOT NULL, PRIMARY KEY (app_id, day, member)) WITHOUT ROWID;
CREATE TABLE day_rooms (app_id TEXT NOT NULL, day TEXT NOT NULL, room_key TEXT NOT NULL, meetings INTEGER NOT NULL, meeting_seconds REAL NOT NULL,
    participant_seconds REAL NOT NULL, joins INTEGER NOT NULL, peak INTEGER NOT NULL, PRIMARY KEY (app_id, day, room_key)) WITHOUT ROWID;

-- Commands that were carried out, so that a command is carried out once.
CREATE TABLE commands_done (id TEXT PRIMARY KEY, result BLOB NOT NULL, done_at INTEGER NOT NULL) WITHOUT ROWID;

-- Endpoints that stopped by themselves (410), until somebody enables them again: endpoint -> registry version seen.
CREATE TABLE stopped (endpoint_id TEXT PRIMARY KEY, reason TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
