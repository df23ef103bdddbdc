-- Endpoints that stopped by themselves: after a 410, or because every attempt failed for too long; tried again when.
ALTER TABLE stopped ADD COLUMN gone INTEGER NOT NULL DEFAULT 1;
ALTER TABLE stopped ADD COLUMN probe_at INTEGER;

-- Since when every attempt of an endpoint failed; no row: the last one was accepted.
CREATE TABLE failing (endpoint_id TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;

-- Whether an attempt that failed may have arrived all the same (D11).
ALTER TABLE deliveries ADD COLUMN arrived INTEGER NOT NULL DEFAULT 0;
-- The delivery that sent a dead letter again.
ALTER TABLE deliveries ADD COLUMN replaced_by INTEGER;
