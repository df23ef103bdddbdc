-- The log, its receipts and the keys already seen. Only keys are indexed: everything searchable is in index.db.
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- The request exactly as received, apart from the log so that erasing a person can remove bytes and salt.
CREATE TABLE receipts (
    id INTEGER PRIMARY KEY,
    source_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,       -- Unix microseconds, UTC
    proof TEXT NOT NULL,
    method TEXT,
    url TEXT,
    headers BLOB,                       -- JSON [[name, value], ...]
    body BLOB,
    salt BLOB                           -- 16 bytes; with it the digest in the log can be checked
);

CREATE TABLE log (
    offset INTEGER PRIMARY KEY,
    partition INTEGER NOT NULL,
    id TEXT,                            -- only where it is not made from the offset (derived entries)
    source_id TEXT NOT NULL,
    receipt_id INTEGER,
    recorded_at INTEGER NOT NULL,
    proof TEXT NOT NULL,
    origin TEXT NOT NULL,
    cause_id TEXT,
    event BLOB,                         -- JSON
    salt BLOB,                          -- of entries without a receipt
    digest BLOB NOT NULL,               -- sha256(salt, request body, event)
    chain BLOB NOT NULL                 -- sha256(chain before, offset, digest)
);

-- A vendor's event ids: (source, key) -> where it is, when the key may be forgotten, and a hash of its words.
CREATE TABLE seen (
    source_id TEXT NOT NULL,
    key TEXT NOT NULL,
    offset INTEGER NOT NULL,
    expires INTEGER NOT NULL,           -- Unix seconds
    words BLOB NOT NULL,
    PRIMARY KEY (source_id, key)
) WITHOUT ROWID;

-- Receipts that brought an event already known (R1: one event, every receipt visible).
CREATE TABLE repeats (offset INTEGER NOT NULL, receipt_id INTEGER NOT NULL, PRIMARY KEY (offset, receipt_id)) WITHOUT ROWID;

-- What did not get into the log, bounded per source.
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    source_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    proof TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL
);
