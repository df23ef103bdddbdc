-- What is set up, who may do what, and who did what; the web process is the only writer.
CREATE TABLE objects (
    kind TEXT NOT NULL,                 -- app, source, endpoint, subscription
    id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body BLOB NOT NULL,                 -- JSON
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX objects_by_app ON objects (kind, app_id, id);

CREATE TABLE versions (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    hash BLOB NOT NULL,                 -- sha256 of a 256-bit random key: nothing to guess, so no slow hash
    role TEXT NOT NULL,                 -- admin, reader
    app_id TEXT,                        -- null: every app
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER
) WITHOUT ROWID;

CREATE TABLE commands (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    object TEXT NOT NULL,
    before BLOB,
    after BLOB
);
