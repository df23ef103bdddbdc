-- events.receipt_add: Store one request.
INSERT INTO receipts (id, source_id, received_at, proof, method, url, headers, body, salt)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
-- events.log_add: Store one entry.
INSERT INTO log (offset, partition, id, source_id, receipt_id, recorded_at, proof, origin, cause_id, event, salt, digest, chain)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- events.seen_get: Find an event id.
SELECT offset, words, expires FROM seen WHERE source_id = ? AND key = ?
-- events.seen_add: Remember an event id.
INSERT OR REPLACE INTO seen (source_id, key, offset, expires, words) VALUES (?, ?, ?, ?, ?)
-- events.seen_end: Find the id a number of ids after a key.
SELECT source_id, key FROM seen WHERE (source_id, key) > (?, ?) ORDER BY source_id, key LIMIT 1 OFFSET ?
-- events.seen_forget: Forget the expired ids between two keys.
DELETE FROM seen WHERE (source_id, key) > (?, ?) AND (source_id, key) <= (?, ?) AND expires < ?
-- events.repeat_add: Note that a receipt repeated an entry.
INSERT OR IGNORE INTO repeats (receipt_id, offset) VALUES (?, ?)
-- events.repeats_of: Receipts that repeated an entry.
SELECT receipt_id FROM repeats WHERE offset = ? ORDER BY receipt_id
-- events.log_after: Read entries in order, past those that were erased.
SELECT offset, partition, id, source_id, receipt_id, recorded_at, proof, origin, cause_id, event
FROM log WHERE offset > ? AND event IS NOT NULL ORDER BY offset LIMIT ?
-- events.log_at: Read one entry.
SELECT offset, partition, id, source_id, receipt_id, recorded_at, proof, origin, cause_id, event FROM log WHERE offset = ?
-- events.log_head: The largest offset that can be read.
SELECT offset FROM log WHERE event IS NOT NULL ORDER BY offset DESC LIMIT 1
-- events.log_last: The newest chain value.
SELECT offset, chain FROM log ORDER BY offset DESC LIMIT 1
-- events.log_chain: Entries with what the chain needs.
SELECT log.offset, log.digest, log.chain, log.event, coalesce(log.salt, receipts.salt), receipts.body, log.receipt_id
FROM log LEFT JOIN receipts ON receipts.id = log.receipt_id WHERE log.offset > ? ORDER BY log.offset LIMIT ?
-- events.receipt_get: Read one request.
SELECT id, source_id, received_at, proof, method, url, headers, body FROM receipts WHERE id = ?
-- events.receipt_last: The largest receipt id.
SELECT max(id) FROM receipts
-- events.quarantine_add: Keep a refused request.
INSERT INTO quarantine (source_id, received_at, proof, code, message, method, url, headers, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
-- events.quarantine_trim: Keep only the newest of a source and code.
DELETE FROM quarantine WHERE source_id = ?1 AND code = ?2 AND id NOT IN (
    SELECT id FROM quarantine WHERE source_id = ?1 AND code = ?2 ORDER BY id DESC LIMIT ?3)
-- events.quarantine_list: The newest refused requests, before an id.
SELECT id, source_id, received_at, proof, code, message, method, url, headers, body FROM quarantine
WHERE id < ? ORDER BY id DESC LIMIT ?
-- events.about_get: Read a fact about this database.
SELECT value FROM about WHERE name = ?
-- events.about_set: Write a fact about this database.
INSERT OR REPLACE INTO about (name, value) VALUES (?, ?)
-- deliveries.cursor_get: Read a cursor.
SELECT position FROM cursors WHERE name = ?
-- deliveries.cursor_set: Move a cursor.
INSERT OR REPLACE INTO cursors (name, position) VALUES (?, ?)
-- deliveries.room_get: Read a room.
SELECT state, sent FROM rooms WHERE key = ?
-- deliveries.room_put: Write a room.
INSERT OR REPLACE INTO rooms (key, open, state, sent) VALUES (?, ?, ?, ?)
-- deliveries.room_past: Keep an instance that is over.
INSERT OR REPLACE INTO past_rooms (key, instance, state) VALUES (?, ?, ?)
-- deliveries.rooms_all: Every room in key order, from a key.
SELECT key, state FROM rooms WHERE key > ? ORDER BY key LIMIT ?
-- deliveries.rooms_past_of: Past instances of a room.
SELECT state FROM past_rooms WHERE key = ? ORDER BY instance DESC LIMIT ?
-- deliveries.rooms_clear: Forget every room, to write them anew.
DELETE FROM rooms
-- deliveries.rooms_past_clear: Forget every past instance, to write them anew.
DELETE FROM past_rooms
-- deliveries.memories_clear: Forget what derivation remembers, to write it anew.
DELETE FROM memories
-- deliveries.memory_get: Read what derivation remembers of a source.
SELECT state FROM memories WHERE source_id = ?
-- deliveries.memory_put: Write what derivation remembers of a source.
INSERT OR REPLACE INTO memories (source_id, state) VALUES (?, ?)
-- deliveries.memory_drop: Forget what nothing is remembered of any more.
DELETE FROM memories WHERE source_id IN (VALUES (?))
-- deliveries.add: Store a routed delivery.
INSERT INTO deliveries (number, id, endpoint_id, event_id, order_key, lane, state, due_at, created_at, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- deliveries.last: The largest delivery number.
SELECT max(number) FROM deliveries
-- deliveries.waiting: What waits, oldest first.
SELECT number, endpoint_id, order_key, lane, due_at, created_at, attempts FROM deliveries INDEXED BY deliveries_waiting
WHERE state = 'waiting' ORDER BY number
-- deliveries.get: Read one delivery.
SELECT number, state, lane, due_at, attempts, reason, body, arrived, replaced_by FROM deliveries WHERE number = ?
-- deliveries.settle: Say what became of a delivery.
UPDATE deliveries SET state = column1, lane = column2, due_at = column3, attempts = column4, reason = column5, settled_at = column6,
arrived = arrived OR column7 FROM (VALUES (?, ?, ?, ?, ?, ?, ?, ?)) WHERE number = column8
-- deliveries.attempt_add: Record one try.
INSERT INTO attempts (delivery, number, started_at, duration_ms, status, failure, accepted, reason, address, request, response)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- deliveries.attempts_of: The tries of a delivery, oldest first.
SELECT number, started_at, duration_ms, status, failure, accepted, reason, address, request, response FROM attempts
WHERE delivery = ? ORDER BY id
-- deliveries.dead: Dead letters of an endpoint (or all) from a number on.
SELECT number, state, lane, due_at, attempts, reason, body, arrived, replaced_by FROM deliveries
WHERE state = 'dead' AND (?1 IS NULL OR endpoint_id = ?1) AND number > ?2 AND (?4 OR replaced_by IS NULL) ORDER BY number LIMIT ?3
-- deliveries.between: Deliveries of an endpoint created in a span, live ones only.
SELECT number, state, lane, due_at, attempts, reason, body, arrived, replaced_by FROM deliveries
WHERE endpoint_id = ?1 AND created_at >= ?2 AND created_at < ?3 AND lane <> 'replay' AND number > ?4 ORDER BY number LIMIT ?5
-- deliveries.backlog: How many wait per endpoint.
SELECT endpoint_id, count(*), min(created_at) FROM deliveries INDEXED BY deliveries_waiting WHERE state = 'waiting' GROUP BY endpoint_id
-- deliveries.loss_add: Count a loss or an invention.
INSERT INTO losses (endpoint_id, kind, what, event_type, count) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count
-- deliveries.not_folded_add: Note an entry that was set aside.
INSERT INTO not_folded (offset, event_id, source_id, part, reason) VALUES (?, ?, ?, ?, ?)
-- deliveries.not_folded_trim: Forget which the oldest ones were; the largest number still says how many.
DELETE FROM not_folded WHERE number <= (SELECT max(number) FROM not_folded) - ?
-- deliveries.not_folded_count: How many entries were set aside.
SELECT max(number) FROM not_folded
-- deliveries.not_folded: The newest entries that were set aside.
SELECT offset, event_id, source_id, part, reason FROM not_folded ORDER BY number DESC LIMIT ?
-- deliveries.not_folded_clear: Forget what was set aside, to write it anew.
DELETE FROM not_folded
-- deliveries.losses: What was lost or invented.
SELECT endpoint_id, kind, what, event_type, count FROM losses WHERE (?1 IS NULL OR endpoint_id = ?1)
-- deliveries.day_get: One app's day.
SELECT meetings, meeting_seconds, participant_seconds, joins, members, peak, present FROM day_stats WHERE app_id = ? AND day = ?
-- deliveries.day_rooms: The rooms of an app's day.
SELECT room_key, meetings, meeting_seconds, participant_seconds, joins, peak FROM day_rooms WHERE app_id = ? AND day = ? ORDER BY room_key
-- deliveries.day_present: An app's newest day and how many are present at its end.
SELECT day, present FROM day_stats WHERE app_id = ? ORDER BY day DESC LIMIT 1
-- deliveries.day_add: Add to one app's day.
INSERT INTO day_stats (app_id, day, meetings, meeting_seconds, participant_seconds, joins, members, peak, present) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET meetings = meetings + excluded.meetings, meeting_seconds = meeting_seconds + excluded.meeting_seconds,
participant_seconds = participant_seconds + excluded.participant_seconds, joins = joins + excluded.joins,
members = members + excluded.members, peak = max(peak, excluded.peak), present = excluded.present
-- deliveries.member_add: Count a member of a day once.
INSERT OR IGNORE INTO day_members (app_id, day, member) VALUES (?, ?, ?)
-- deliveries.members_uncounted: How many of some people are not counted as members of a day.
SELECT count(*) FROM json_each(?3)
WHERE NOT EXISTS (SELECT 1 FROM day_members WHERE app_id = ?1 AND day = ?2 AND member = value)
-- deliveries.day_room_add: Add to one room's day.
INSERT INTO day_rooms (app_id, day, room_key, meetings, meeting_seconds, participant_seconds, joins, peak) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET meetings = meetings + excluded.meetings, meeting_seconds = meeting_seconds + excluded.meeting_seconds,
participant_seconds = participant_seconds + excluded.participant_seconds, joins = joins + excluded.joins, peak = max(peak, excluded.peak)
-- deliveries.presence_add: Add to who came and went of an account within a second.
INSERT INTO account_presence (account_id, second, delta, high) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET high = max(high, delta + excluded.high), delta = delta + excluded.delta
-- deliveries.presence_within: Who came and went of an account between two seconds.
SELECT second, delta, high FROM account_presence WHERE account_id = ? AND second >= ? AND second < ? ORDER BY second
-- deliveries.presence_later: How many came less how many went of an account from a second on.
SELECT coalesce(sum(delta), 0) FROM account_presence WHERE account_id = ? AND second >= ?
-- deliveries.presence_trim: Forget who came and went of an account before a second.
DELETE FROM account_presence WHERE account_id = ? AND second < ?
-- deliveries.going_put: Note who is in a room of an account.
INSERT OR REPLACE INTO account_rooms (account_id, room_key, opened_at, present) VALUES (?, ?, ?, ?)
-- deliveries.going_drop: Nobody is in a room of an account any more.
DELETE FROM account_rooms WHERE account_id = ? AND room_key = ?
-- deliveries.going: The rooms of some sources of an account that go on, with their state where somebody is present.
SELECT opened_at, present, CASE WHEN present > 0 THEN (SELECT state FROM rooms WHERE key = room_key) END
FROM account_rooms WHERE account_id = ?1
AND substr(room_key, 1, instr(room_key, '/') - 1) IN (SELECT value FROM json_each(?2))
-- deliveries.statistic_add: Write a statistic that is about to be told.
INSERT OR IGNORE INTO statistics (account_id, day, number, body) VALUES (?, ?, ?, ?)
-- deliveries.statistic_stored: The log has a statistic.
UPDATE statistics SET stored = 1 WHERE account_id = ? AND day = ? AND number = ?
-- deliveries.statistics_waiting: Statistics that the log may not have yet.
SELECT body FROM statistics INDEXED BY statistics_waiting WHERE stored = 0 ORDER BY day, account_id, number LIMIT 1000
-- deliveries.statistics_of: An account's statistics of days before a day.
SELECT body, stored FROM statistics WHERE account_id = ? AND day < ? ORDER BY day DESC, number DESC LIMIT ?
-- deliveries.statistics_of_day: Each telling of an account's day.
SELECT body, stored FROM statistics WHERE account_id = ? AND day = ? ORDER BY number
-- deliveries.statistic_progress: The day up to which an account was told.
SELECT day FROM statistics_progress WHERE account_id = ?
-- deliveries.statistic_progress_put: Move the day up to which an account was told.
INSERT INTO statistics_progress (account_id, day) VALUES (?, ?) ON CONFLICT DO UPDATE SET day = max(day, excluded.day)
-- deliveries.command_get: Whether a command was carried out.
SELECT result FROM commands_done WHERE id = ?
-- deliveries.command_put: Note a command as carried out.
INSERT OR REPLACE INTO commands_done (id, result, done_at) VALUES (?, ?, ?)
-- deliveries.stopped_put: Note an endpoint that stopped by itself.
INSERT OR REPLACE INTO stopped (endpoint_id, reason, at, gone, probe_at) VALUES (?, ?, ?, ?, ?)
-- deliveries.stopped_drop: An endpoint was enabled again.
DELETE FROM stopped WHERE endpoint_id = ?
-- deliveries.stopped_all: Endpoints that stopped by themselves.
SELECT endpoint_id, reason, at, gone, probe_at FROM stopped
-- deliveries.probe_at: When a stopped endpoint is tried next.
UPDATE stopped SET probe_at = ? WHERE endpoint_id = ?
-- deliveries.failing_all: Endpoints whose last attempt failed, and since when all did.
SELECT endpoint_id, since FROM failing
-- deliveries.failing_put: Note since when an endpoint fails.
INSERT OR REPLACE INTO failing (endpoint_id, since) VALUES (?, ?)
-- deliveries.failing_drop: An endpoint accepted again.
DELETE FROM failing WHERE endpoint_id = ?
-- deliveries.replaced: A dead letter was sent again.
UPDATE deliveries SET replaced_by = ? WHERE number = ? AND state = 'dead'
-- deliveries.attempts_trim: Forget old tries among those that were stored first; no others are looked at.
DELETE FROM attempts WHERE id IN (SELECT id FROM attempts ORDER BY id LIMIT ?2) AND started_at < ?1
-- control.version: The number of a counter.
SELECT number FROM versions WHERE name = ?
-- control.version_up: Count a change.
INSERT INTO versions (name, number) VALUES (?, 1) ON CONFLICT DO UPDATE SET number = number + 1
-- control.object_get: Read one object.
SELECT revision, body FROM objects WHERE kind = ? AND id = ?
-- control.object_put: Write one object.
INSERT OR REPLACE INTO objects (kind, id, app_id, revision, body) VALUES (?, ?, ?, ?, ?)
-- control.object_drop: Remove one object.
DELETE FROM objects WHERE kind = ? AND id = ?
-- control.objects: Objects of a kind in id order, from an id.
SELECT id, revision, body FROM objects WHERE kind = ?1 AND id > ?2 AND ?3 IS NULL ORDER BY id LIMIT ?4
-- control.objects_of: Objects of a kind and one owner in id order, from an id.
SELECT id, revision, body FROM objects INDEXED BY objects_by_app WHERE kind = ?1 AND app_id = ?3 AND id > ?2 ORDER BY id LIMIT ?4
-- control.objects_all: Every object of a kind.
SELECT body FROM objects WHERE kind = ? ORDER BY id
-- control.key_get: Find a key by its hash.
SELECT id, role, app_id, name FROM api_keys WHERE hash = ?
-- control.key_add: Store a key.
INSERT INTO api_keys (id, hash, role, app_id, name, created_at) VALUES (?, ?, ?, ?, ?, ?)
-- control.key_used: Note a key's use.
UPDATE api_keys SET last_used_at = ? WHERE id = ?
-- control.keys: All keys, without their hashes.
SELECT id, role, app_id, name, created_at, last_used_at FROM api_keys ORDER BY id
-- control.key_drop: Remove a key.
DELETE FROM api_keys WHERE id = ?
-- control.command_add: Ask the delivery process for something.
INSERT INTO commands (id, body, created_at) VALUES (?, ?, ?)
-- control.commands_after: Commands after a number.
SELECT number, id, body FROM commands WHERE number > ? ORDER BY number LIMIT ?
-- control.audit_add: Note who did what.
INSERT INTO audit (at, who, what, object, before, after) VALUES (?, ?, ?, ?, ?, ?)
-- control.audit_head: The newest audit entry.
SELECT coalesce(max(number), 0) FROM audit
-- control.audit_since: What was changed after an audit entry, each object once.
SELECT max(what), object FROM audit WHERE number > ? GROUP BY substr(what, 1, instr(what, '.')), object LIMIT ?
-- control.audit_list: Newest audit entries before a number.
SELECT number, at, who, what, object, before, after FROM audit WHERE number < ? ORDER BY number DESC LIMIT ?
-- control.command_get: Read one command.
SELECT body FROM commands WHERE id = ?
-- events.derived_get: Where a derived entry is.
SELECT offset FROM seen WHERE source_id = ? AND key = ?
-- events.derived_of: What was derived from an entry.
SELECT key FROM seen WHERE source_id = ?1 AND key > ?2 AND key < ?3 LIMIT ?4
-- events.keyed: Entries of a source whose remembered key is in a range.
SELECT offset FROM seen WHERE source_id = ?1 AND key >= ?2 AND key < ?3 LIMIT ?4
-- events.receipts_of: Requests that brought or repeated an entry.
SELECT receipt_id FROM repeats WHERE offset = ? ORDER BY receipt_id LIMIT ?
-- events.quarantine_of: The newest refused requests of some sources before an id, bodies cut.
SELECT id, source_id, received_at, proof, code, message, method, url, headers, coalesce(substr(body, 1, ?4), x'') FROM quarantine
WHERE id < ?1 AND (?2 IS NULL OR source_id IN (SELECT value FROM json_each(?2))) ORDER BY id DESC LIMIT ?3
-- views.deliveries: Deliveries before a number, newest first, filtered.
SELECT number, state, lane, due_at, attempts, reason, body, arrived, replaced_by FROM deliveries
WHERE number < ?1 AND (?2 IS NULL OR endpoint_id IN (SELECT value FROM json_each(?2))) AND (?3 IS NULL OR state = ?3)
AND (?4 IS NULL OR event_id = ?4) ORDER BY number DESC LIMIT ?5
-- views.delivery_time: When the first delivery from a number on was made.
SELECT number, created_at FROM deliveries WHERE number >= ? ORDER BY number LIMIT 1
-- views.deliveries_of: Deliveries of an event within a stretch of numbers.
SELECT number, state, lane, due_at, attempts, reason, body, arrived, replaced_by FROM deliveries
WHERE number BETWEEN ?1 AND ?2 AND event_id = ?3 ORDER BY number LIMIT ?4
-- views.numbered: Deliveries by number.
SELECT number, state, lane, due_at, attempts, reason, body, arrived, replaced_by FROM deliveries
WHERE number IN (SELECT value FROM json_each(?)) ORDER BY number
-- views.dead: Dead letters of some endpoints after a number.
SELECT number, state, lane, due_at, attempts, reason, body, arrived, replaced_by FROM deliveries
WHERE state = 'dead' AND (?1 IS NULL OR endpoint_id IN (SELECT value FROM json_each(?1))) AND number > ?2
ORDER BY number LIMIT ?3
-- views.dead_count: How many dead letters some endpoints have.
SELECT count(*) FROM deliveries INDEXED BY deliveries_dead
WHERE state = 'dead' AND (?1 IS NULL OR endpoint_id IN (SELECT value FROM json_each(?1)))
-- views.dead_left: How many dead letters of some endpoints were not sent again.
SELECT count(*) FROM deliveries INDEXED BY deliveries_dead
WHERE state = 'dead' AND (?1 IS NULL OR endpoint_id IN (SELECT value FROM json_each(?1))) AND replaced_by IS NULL
-- views.dead_by_endpoint: How many dead letters each endpoint has.
SELECT endpoint_id, count(*) FROM deliveries INDEXED BY deliveries_dead WHERE state = 'dead' GROUP BY endpoint_id
-- views.span_count: How many live deliveries were made for some endpoints in a span.
SELECT count(*) FROM deliveries WHERE created_at >= ?2 AND created_at < ?3 AND lane <> 'replay'
AND (?1 IS NULL OR endpoint_id IN (SELECT value FROM json_each(?1)))
-- views.rooms: Rooms of some sources in key order after a key.
SELECT key, state FROM rooms WHERE key > ?1 AND key < ?2 AND (?3 IS NULL OR open = ?3)
AND (?4 IS NULL OR substr(key, 1, instr(key, '/') - 1) IN (SELECT value FROM json_each(?4))) ORDER BY key LIMIT ?5
-- views.open_page: A page of the open rooms of some sources, in key order.
SELECT state FROM rooms WHERE open = 1 AND substr(key, 1, instr(key, '/') - 1) IN (SELECT value FROM json_each(?1))
ORDER BY key LIMIT ?2 OFFSET ?3
-- views.open_named: Open rooms of some sources whose key ends so.
SELECT state FROM rooms WHERE open = 1 AND substr(key, -length(?2)) = ?2
AND substr(key, 1, instr(key, '/') - 1) IN (SELECT value FROM json_each(?1)) ORDER BY key LIMIT ?3
-- views.callbacks: Tries of endpoints whose callbacks are listed, begun in a span, newest first.
SELECT deliveries.endpoint_id, attempts.number, attempts.started_at, duration_ms, status, failure, accepted, attempts.reason, address,
request, response FROM deliveries INDEXED BY deliveries_listed JOIN attempts INDEXED BY attempts_by_delivery ON attempts.delivery = deliveries.number
WHERE endpoint_id IN (SELECT value FROM json_each(?1)) AND endpoint_id >= 'epl_' AND endpoint_id < 'epl`'
AND attempts.started_at >= ?2 AND attempts.started_at < ?3 ORDER BY attempts.started_at DESC, attempts.id DESC LIMIT ?4 OFFSET ?5
-- views.named: Rooms of one source whose key ends with a name.
SELECT key, state FROM rooms WHERE key > ?1 || '/' AND key < ?1 || '0' AND substr(key, -length(?2)) = ?2 ORDER BY key LIMIT ?3
-- views.sessions: Openings of the rooms that some apps held on some days of theirs, of one day in UTC.
WITH held AS (SELECT DISTINCT app_id, room_key FROM day_rooms
    WHERE app_id IN (SELECT value FROM json_each(:apps)) AND day IN (SELECT value FROM json_each(:days))),
every AS (SELECT app_id, CAST(state AS TEXT) AS state FROM held JOIN rooms ON key = room_key
    UNION ALL SELECT app_id, CAST(state AS TEXT) FROM held JOIN past_rooms ON key = room_key),
opened AS (SELECT app_id, state, json_extract(state, '$.opened_at') AS opened_at FROM every)
SELECT app_id, state, count(*) OVER () FROM opened WHERE substr(opened_at, 1, 10) = :day
AND (:room IS NULL OR json_extract(state, '$.id') = :room)
AND (:person IS NULL OR EXISTS (SELECT 1 FROM json_each(state, '$.participants') WHERE key = :person)
    OR EXISTS (SELECT 1 FROM json_each(state, '$.departed') WHERE key = :person AND json_extract(value, '$.left_at') >= opened_at))
ORDER BY CASE WHEN :ascending THEN opened_at END, CASE WHEN NOT :ascending THEN opened_at END DESC, json_extract(state, '$.id')
LIMIT :limit OFFSET :skip
-- views.open_rooms: How many rooms of some sources are open.
SELECT count(*) FROM rooms WHERE open = 1
AND (?1 IS NULL OR substr(key, 1, instr(key, '/') - 1) IN (SELECT value FROM json_each(?1)))
-- views.recorded: Rooms that hold a recording, in key order after a key; member names are never escaped, texts are.
SELECT key, state FROM rooms WHERE key > ?1 AND instr(state, CAST('"recordings":' AS BLOB))
AND (?2 IS NULL OR substr(key, 1, instr(key, '/') - 1) IN (SELECT value FROM json_each(?2))) ORDER BY key LIMIT ?3
-- views.recorded_past: Past instances that hold a recording, in order after one.
SELECT key, state, instance FROM past_rooms WHERE (key, instance) > (?1, ?2) AND instr(state, CAST('"recordings":' AS BLOB))
AND (?3 IS NULL OR substr(key, 1, instr(key, '/') - 1) IN (SELECT value FROM json_each(?3))) ORDER BY key, instance LIMIT ?4
-- history.cursor: The offset of the newest entry that is searchable.
SELECT position FROM cursors WHERE name = 'log'
-- history.cursor_set: Move the cursor.
INSERT OR REPLACE INTO cursors (name, position) VALUES ('log', ?)
-- history.add: Store one entry as a list shows it.
INSERT INTO hits (offset, event_id, type, dialect, origin, source_id, room_key, room_id, participant_id, occurred_at, recorded_at, summary)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- history.say: Store the words of one entry.
INSERT INTO words (rowid, text) VALUES (?, ?)
-- history.widen: Note which times a block of offsets holds.
INSERT INTO spans (block, low, high) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET low = min(low, excluded.low), high = max(high, excluded.high)
-- history.blocks: The first and last block that hold times of a span.
SELECT min(block), max(block) FROM spans WHERE (?1 IS NULL OR high >= ?1) AND (?2 IS NULL OR low < ?2)
-- history.drop: Forget everything; the migrations make the tables again.
DROP TABLE hits; DROP TABLE words; DROP TABLE spans; DROP TABLE cursors;
-- history.from_hits: Entries between two offsets; conditions and order follow.
SELECT hits.offset, event_id, type, dialect, origin, source_id, room_key, room_id, participant_id, occurred_at, recorded_at, summary
FROM hits WHERE hits.offset > :low AND hits.offset < :high
-- history.from_words: Entries that say something, between two offsets; conditions and order follow.
SELECT hits.offset, event_id, type, dialect, origin, source_id, room_key, room_id, participant_id, occurred_at, recorded_at, summary
FROM words CROSS JOIN hits ON hits.offset = words.rowid WHERE words MATCH :match AND words.rowid > :low AND words.rowid < :high
-- history.stored: Entries with their words, for comparing with the log.
SELECT hits.offset, event_id, type, dialect, origin, source_id, room_key, room_id, participant_id, occurred_at, recorded_at, summary, words.text
FROM hits LEFT JOIN words ON words.rowid = hits.offset WHERE hits.offset > ? AND hits.offset <= ? ORDER BY hits.offset
-- history.words_sound: Compare the words' index with the words themselves; an error when they differ.
INSERT INTO words (words) VALUES ('integrity-check')
-- history.file_sound: Look for damage of the file.
PRAGMA quick_check(1)
-- alarms.open_get: An alarm that goes on, of one kind and object, begun after a time or whenever.
SELECT id, facts, count FROM alarms WHERE kind = ?1 AND source_id IS ?2 AND endpoint_id IS ?3 AND app_id IS ?4 AND room_id IS ?5
AND what IS ?6 AND ended_at IS NULL AND first_at > ?7 ORDER BY id DESC LIMIT 1
-- alarms.begun: How many alarms of one kind and source or endpoint began after a time.
SELECT count(*) FROM alarms WHERE kind = ? AND source_id IS ? AND endpoint_id IS ? AND first_at > ?
-- alarms.add: Store an alarm.
INSERT INTO alarms (kind, source_id, endpoint_id, app_id, room_id, what, facts, first_at, last_at, count, ended_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- alarms.again: Count an alarm that goes on, or end it.
UPDATE alarms SET last_at = max(last_at, ?2), count = count + ?3, facts = ?4, ended_at = ?5 WHERE id = ?1
-- alarms.trim: Keep only the newest of a kind and source or endpoint.
DELETE FROM alarms WHERE kind = ?1 AND source_id IS ?2 AND endpoint_id IS ?3 AND id NOT IN (
    SELECT id FROM alarms WHERE kind = ?1 AND source_id IS ?2 AND endpoint_id IS ?3 ORDER BY id DESC LIMIT ?4)
-- alarms.list: Alarms before a place, the one that began last first, filtered.
SELECT id, kind, source_id, endpoint_id, app_id, room_id, what, facts, first_at, last_at, count, ended_at FROM alarms
WHERE (first_at, id) < (?1, ?2) AND (?3 IS NULL OR app_id = ?3) AND (?4 IS NULL OR source_id = ?4)
AND (?5 IS NULL OR endpoint_id = ?5) AND (?6 IS NULL OR kind = ?6) AND (?7 IS NULL OR last_at >= ?7)
ORDER BY first_at DESC, id DESC LIMIT ?8
-- control.once_get: What was done under a client's token since.
SELECT body FROM once WHERE account_id = ? AND action = ? AND token = ? AND at > ?
-- control.once_put: Remember what was done under a client's token.
INSERT OR REPLACE INTO once (account_id, action, token, at, body) VALUES (?, ?, ?, ?, ?)
-- control.once_trim: Forget old tokens.
DELETE FROM once WHERE at < ?
-- alarms.untold: Alarms raised after a time that the second channel does not have, oldest first.
SELECT id, kind, source_id, endpoint_id, app_id, room_id, what, facts, first_at, last_at, count, ended_at
FROM alarms INDEXED BY alarms_untold WHERE told = 0 AND last_at >= ? ORDER BY id LIMIT ?
-- alarms.told: The second channel has an alarm.
UPDATE alarms SET told = 1 WHERE id = ?
-- nonces.add: Note a nonce unless it is there already.
INSERT OR IGNORE INTO nonces (nonce, until) VALUES (?, ?)
-- nonces.forget: Drop some of those that were over before a minute.
DELETE FROM nonces WHERE nonce IN (SELECT nonce FROM nonces WHERE until < ? LIMIT ?) RETURNING nonce, until
-- nonces.counted: How many there are of each account and minute.
SELECT substr(nonce, 1, 8), until, count(*) FROM nonces GROUP BY 1, 2
