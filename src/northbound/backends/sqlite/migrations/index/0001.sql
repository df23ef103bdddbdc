-- History: everything searchable, made from the log and made again from it at any time; one writer, the web process.
CREATE TABLE hits (
    offset INTEGER PRIMARY KEY,         -- the entry's place in the log
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    dialect TEXT NOT NULL,
    origin TEXT NOT NULL,
    source_id TEXT NOT NULL,
    room_key TEXT NOT NULL,             -- source/scope/room
    room_id TEXT,
    participant_id TEXT,
    occurred_at INTEGER,                -- Unix microseconds, the vendor's clock
    recorded_at INTEGER NOT NULL,       -- ours
    summary BLOB NOT NULL               -- JSON Summary
);
CREATE INDEX hits_by_event ON hits (event_id);
CREATE INDEX hits_by_room_key ON hits (room_key);
CREATE INDEX hits_by_room ON hits (room_id) WHERE room_id IS NOT NULL;
CREATE INDEX hits_by_participant ON hits (participant_id) WHERE participant_id IS NOT NULL;
CREATE INDEX hits_by_type ON hits (type);
CREATE INDEX hits_by_source ON hits (source_id);

-- The words of each entry, cut by logic.search: the tokenizer takes all that is not ASCII as it is, so that only one
-- place decides what a word is. Nothing is ranked, so sizes are not kept.
CREATE VIRTUAL TABLE words USING fts5(text, tokenize = 'ascii', columnsize = 0);

-- Which times each block of 4096 offsets holds: a search by time starts at the right place of the log, without an index.
CREATE TABLE spans (block INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL);

CREATE TABLE cursors (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
