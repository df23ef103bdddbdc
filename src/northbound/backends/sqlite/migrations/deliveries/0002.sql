-- What somebody must hear of; bounded per kind and source or endpoint.
CREATE TABLE alarms (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    source_id TEXT,
    endpoint_id TEXT,
    app_id TEXT,
    room_id TEXT,
    what TEXT,                          -- tells alarms of one kind and object apart
    facts BLOB NOT NULL,                -- JSON {name: text}
    first_at INTEGER NOT NULL,          -- Unix microseconds
    last_at INTEGER NOT NULL,
    count INTEGER NOT NULL,
    ended_at INTEGER,                   -- null until somebody says that it is over
    told INTEGER NOT NULL DEFAULT 0     -- 1: the second channel has it
);
CREATE INDEX alarms_by_object ON alarms (kind, source_id, endpoint_id, id);
CREATE INDEX alarms_by_time ON alarms (first_at, id);
CREATE INDEX alarms_untold ON alarms (id) WHERE told = 0;
