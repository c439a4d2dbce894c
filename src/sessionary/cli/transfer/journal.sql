-- name: create_records
CREATE TABLE IF NOT EXISTS records (
  digest BLOB NOT NULL,
  occurrence INTEGER NOT NULL,
  place TEXT NOT NULL,
  session_id TEXT NOT NULL,
  steps INTEGER NOT NULL,
  complete INTEGER NOT NULL,
  plan BLOB NOT NULL,
  destination BLOB NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (digest, occurrence)
) WITHOUT ROWID;

-- name: index_incomplete
CREATE INDEX IF NOT EXISTS incomplete
ON records (record, occurrence)
WHERE NOT complete;

-- name: create_seen
CREATE TEMPORARY TABLE seen (
  digest BLOB PRIMARY KEY,
  times INTEGER NOT NULL
) WITHOUT ROWID;

-- name: create_existing
CREATE TEMPORARY TABLE existing (
  session_id TEXT PRIMARY KEY
) WITHOUT ROWID;

-- name: count_seen
INSERT INTO seen (digest, times)
VALUES (?, 0)
ON CONFLICT (digest) DO UPDATE SET times = times + 1
RETURNING times;

-- name: find
SELECT digest, session_id, steps, complete, plan
FROM records
WHERE digest IN (?, ?, ?, ?) AND occurrence = ?
ORDER BY complete DESC
LIMIT 1;

-- name: find_incomplete
SELECT digest, session_id, steps, complete, plan
FROM records
WHERE record = ? AND occurrence = ? AND NOT complete
LIMIT 1;

-- name: count
SELECT count(*)
FROM records
WHERE destination = ? AND complete;

-- name: count_unseen
SELECT count(*)
FROM records
LEFT JOIN seen ON seen.digest = records.record
WHERE destination = ? AND complete AND (seen.times IS NULL OR seen.times < occurrence);

-- name: add_existing
INSERT OR IGNORE INTO existing (session_id)
VALUES (?);

-- name: find_existing
SELECT 1
FROM existing
WHERE session_id = ?;

-- name: save
INSERT INTO records (digest, occurrence, place, session_id, steps, complete, plan, record, destination)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (digest, occurrence)
DO UPDATE SET
  place = excluded.place,
  session_id = excluded.session_id,
  steps = excluded.steps,
  complete = excluded.complete,
  plan = excluded.plan,
  record = excluded.record,
  destination = excluded.destination;

-- name: delete
DELETE FROM records
WHERE digest = ? AND occurrence = ?;
