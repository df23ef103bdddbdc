-- Entries of the log that were set aside, since folding or telling them is beyond our code; the newest are kept.
CREATE TABLE not_folded (
    number INTEGER PRIMARY KEY,         -- from 1: the largest is how many there were
    offset INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    part TEXT NOT NULL,                 -- fold: its room does not know it; count: the figures do not; route: no endpoint does
    reason TEXT NOT NULL                -- exception and function, no value
);
