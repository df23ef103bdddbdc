-- Who is present of an account, over all its apps: a day's peak is read off it, late events included (ruling 15).
CREATE TABLE account_presence (
    account_id TEXT NOT NULL,
    second INTEGER NOT NULL,            -- Unix
    delta INTEGER NOT NULL,             -- how many came less how many went
    high INTEGER NOT NULL,              -- the most of it within the second
    PRIMARY KEY (account_id, second)
) WITHOUT ROWID;

-- Rooms of an account in which somebody is, or a meeting goes on.
CREATE TABLE account_rooms (
    account_id TEXT NOT NULL,
    room_key TEXT NOT NULL,
    opened_at INTEGER,                  -- Unix microseconds; null while no meeting goes on
    present INTEGER NOT NULL,
    PRIMARY KEY (account_id, room_key)
) WITHOUT ROWID;

-- Daily statistics as they were told. One is written before the log has it, and stored once the log does.
CREATE TABLE statistics (
    account_id TEXT NOT NULL,
    day TEXT NOT NULL,
    number INTEGER NOT NULL,            -- 0, of corrections 1, 2, ...
    stored INTEGER NOT NULL DEFAULT 0,
    body BLOB NOT NULL,                 -- JSON Statistic
    PRIMARY KEY (account_id, day, number)
) WITHOUT ROWID;
CREATE INDEX statistics_waiting ON statistics (account_id, day, number) WHERE stored = 0;
CREATE TABLE statistics_progress (account_id TEXT PRIMARY KEY, day TEXT NOT NULL) WITHOUT ROWID;
