-- name: make
CREATE TABLE IF NOT EXISTS records (
  digest BLOB NOT NULL,
  occurrence INTEGER NOT NULL,
  place TEXT NOT NULL,
  session_id TEXT NOT NULL,
  steps INTEGER NOT NULL,
  complete INTEGER NOT NULL,
  PRIMARY KEY (digest, occurrence)
) WITHOUT ROWID;

-- name: make_seen
CREATE TEMPORARY TABLE seen (
  digest BLOB PRIMARY KEY,
  times INTEGER NOT NULL
) WITHOUT ROWID;

-- name: see
INSERT INTO seen (digest, times)
VALUES (?, 0)
ON CONFLICT (digest) DO UPDATE SET times = times + 1
RETURNING times;

-- name: find
SELECT session_id, steps, complete
FROM records
WHERE digest = ? AND occurrence = ?;

-- name: note
INSERT INTO records (digest, occurrence, place, session_id, steps, complete)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (digest, occurrence)
DO UPDATE SET
  place = excluded.place,
  session_id = excluded.session_id,
  steps = excluded.steps,
  complete = excluded.complete;

-- name: forget
DELETE FROM records
WHERE digest = ? AND occurrence = ?;
