-- Nonces of signed calls that were taken, as long as the call's time would let it in again.
CREATE TABLE nonces (
    nonce BLOB PRIMARY KEY,             -- 8 bytes that stand for the account, 16 for the access key and nonce
    until INTEGER NOT NULL              -- minutes since 1970: over when this minute is
) WITHOUT ROWID;
CREATE INDEX nonces_by_until ON nonces (until);
