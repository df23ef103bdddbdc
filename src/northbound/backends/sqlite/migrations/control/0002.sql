-- Clients' tokens: what a call did, so that its repeat does nothing and is answered alike.
CREATE TABLE once (
    account_id TEXT NOT NULL,
    action TEXT NOT NULL,
    token TEXT NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL,                 -- JSON
    PRIMARY KEY (account_id, action, token)
) WITHOUT ROWID;
CREATE INDEX once_by_age ON once (at);
