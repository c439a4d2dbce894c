-- SQLite runs in the process of the server, without round trips: each row is written by a statement of its own.
-- INDEXED BY is used where statistics that were made of a small table would make the planner read the whole table.

-- name: read_sessions
-- The transaction holds the write lock. Metadata that no command changes is not read (:with_metadata).
SELECT s.user_id, s.session_group, s.title, s.model, s.status, s.user_spoke,
       s.total_messages, s.total_tokens, s.total_bytes,
       s.created_at, s.updated_at, s.expires_at, s.version,
       CASE WHEN :with_metadata THEN s.metadata END
FROM sessions AS s
WHERE s.organisation = :organisation
  AND s.id = :id;

-- name: read_keys
SELECT k.fingerprint, k.effect, k.expires_at
FROM keys AS k INDEXED BY sqlite_autoindex_keys_1
WHERE k.organisation = :organisation
  AND k.principal = :principal
  AND k.command = :command
  AND k.key = :key;

-- name: delete_blocks
DELETE FROM message_blocks INDEXED BY sqlite_autoindex_message_blocks_1
WHERE organisation = :organisation
  AND session_id = :id;

-- name: delete_sessions
DELETE FROM sessions
WHERE organisation = :organisation
  AND id = :id;

-- name: insert_sessions
INSERT INTO sessions (
    organisation, id, user_id, session_group, title, model, status, user_spoke,
    total_messages, total_tokens, total_bytes,
    created_at, updated_at, expires_at, sweep_after, version, summary, metadata
)
VALUES (
    :organisation, :id, :user_id, :session_group, :title, :model, :status, :user_spoke,
    :total_messages, :total_tokens, :total_bytes,
    :created_at, :updated_at, :expires_at, :expires_at, :version, :summary, :metadata
);

-- name: update_sessions
UPDATE sessions
SET title = :title,
    status = :status,
    user_spoke = :user_spoke,
    total_messages = :total_messages,
    total_tokens = :total_tokens,
    total_bytes = :total_bytes,
    updated_at = :updated_at,
    expires_at = :expires_at,
    version = :version,
    summary = :summary,
    metadata = coalesce(:metadata, metadata)
WHERE organisation = :organisation
  AND id = :id;

-- name: update_models
-- Separate, because SQLite rewrites the index of a column whenever the column is set, even to the same value.
UPDATE sessions
SET model = :model
WHERE organisation = :organisation
  AND id = :id;

-- name: insert_blocks
INSERT INTO message_blocks (organisation, session_id, first, count, tokens, format, created_at, body)
VALUES (:organisation, :session_id, :first, :count, :tokens, 1, :created_at, :body);

-- name: insert_keys
-- A key that exists has expired, or the command would not have been applied.
INSERT INTO keys (organisation, principal, command, key, fingerprint, effect, expires_at)
VALUES (:organisation, :principal, :command, :key, :fingerprint, :effect, :expires_at)
ON CONFLICT (organisation, principal, command, key) DO UPDATE
SET fingerprint = EXCLUDED.fingerprint,
    effect = EXCLUDED.effect,
    expires_at = EXCLUDED.expires_at;

-- name: insert_audit
INSERT INTO audit (organisation, at, actor, action, subject)
VALUES (:organisation, :at, :actor, :action, :subject);

-- name: list_audit
SELECT a.number, a.at, a.organisation, a.actor, a.action, a.subject
FROM audit AS a
WHERE a.number > :after
ORDER BY a.number
LIMIT :limit;

-- name: sweep_audit
DELETE FROM audit
WHERE number IN (
    SELECT a.number
    FROM audit AS a INDEXED BY audit_to_sweep
    WHERE a.at <= :before
    ORDER BY a.at
    LIMIT :limit
);

-- name: fetch_sessions
-- One statement sees one consistent state. Messages of more than :bytes_max bytes are read in a thread.
SELECT s.total_bytes, s.total_messages, s.version, s.summary, s.metadata,
       CASE WHEN s.total_bytes <= :bytes_max THEN (
           SELECT CAST(group_concat(t.body, ',') AS BLOB)
           FROM (
               SELECT u.body
               FROM message_blocks AS u
               WHERE u.organisation = :organisation
                 AND u.session_id = :id
               ORDER BY u.first
           ) AS t
       ) END
FROM sessions AS s
WHERE s.organisation = :organisation
  AND s.id = :id
  AND s.expires_at > :now;

-- name: fetch_blocks
-- From the block that contains message :from up to, not including, the one that starts at :until or later.
SELECT t.first, t.body
FROM message_blocks AS t
WHERE t.organisation = :organisation
  AND t.session_id = :id
  AND t.first >= coalesce(
      (
          SELECT max(u.first)
          FROM message_blocks AS u
          WHERE u.organisation = :organisation
            AND u.session_id = :id
            AND u.first <= :from
      ),
      0
  )
  AND t.first < :until
ORDER BY t.first;

-- name: list_sessions
SELECT s.id, s.summary, s.metadata
FROM sessions AS s
WHERE s.organisation = :organisation
  AND s.id < :after
  AND s.expires_at > :now
  AND (:status IS NULL OR s.status = :status)
ORDER BY s.id DESC
LIMIT :limit OFFSET :offset;

-- name: list_sessions_by_user
SELECT s.id, s.summary, s.metadata
FROM sessions AS s
WHERE s.organisation = :organisation
  AND s.user_id = :user_id
  AND s.id < :after
  AND s.expires_at > :now
  AND (:session_group IS NULL OR s.session_group = :session_group)
  AND (:model IS NULL OR s.model = :model)
  AND (:status IS NULL OR s.status = :status)
ORDER BY s.id DESC
LIMIT :limit OFFSET :offset;

-- name: list_sessions_by_group
SELECT s.id, s.summary, s.metadata
FROM sessions AS s
WHERE s.organisation = :organisation
  AND s.session_group = :session_group
  AND s.id < :after
  AND s.expires_at > :now
  AND (:model IS NULL OR s.model = :model)
  AND (:status IS NULL OR s.status = :status)
ORDER BY s.id DESC
LIMIT :limit OFFSET :offset;

-- name: list_sessions_by_model
SELECT s.id, s.summary, s.metadata
FROM sessions AS s
WHERE s.organisation = :organisation
  AND s.model = :model
  AND s.id < :after
  AND s.expires_at > :now
  AND (:status IS NULL OR s.status = :status)
ORDER BY s.id DESC
LIMIT :limit OFFSET :offset;

-- name: measure_usage
-- The page is limited before expired sessions are left out; otherwise one page could read every row.
WITH page AS (
  SELECT s.id, s.expires_at > :now AS live, s.total_bytes
  FROM sessions AS s INDEXED BY sqlite_autoindex_sessions_1
  WHERE s.organisation = :organisation
    AND s.id < :after
  ORDER BY s.id DESC
  LIMIT :limit
)
SELECT
  coalesce(sum(p.live), 0) AS sessions,
  coalesce(sum(p.live * p.total_bytes), 0) AS stored_bytes,
  count(*) AS read,
  min(p.id) AS last
FROM page AS p;

-- name: sweep_due
SELECT s.organisation, s.id, s.expires_at, s.total_bytes
FROM sessions AS s
WHERE s.sweep_after <= :now
ORDER BY s.sweep_after
LIMIT :limit;

-- name: sweep_later
UPDATE sessions
SET sweep_after = expires_at
WHERE organisation = :organisation
  AND id = :id;

-- name: sweep_keys
DELETE FROM keys INDEXED BY sqlite_autoindex_keys_1
WHERE (organisation, principal, command, key) IN (
    SELECT k.organisation, k.principal, k.command, k.key
    FROM keys AS k INDEXED BY keys_to_sweep
    WHERE k.expires_at <= :now
    ORDER BY k.expires_at
    LIMIT :limit
);

-- name: insert_token
INSERT INTO tokens (id, organisation, name, scopes, secret_hash, created_at, expires_at)
VALUES (:id, :organisation, :name, :scopes, :secret_hash, :created_at, :expires_at);

-- name: find_tokens
SELECT t.id, t.organisation, t.name, t.scopes, t.secret_hash, t.created_at, t.expires_at, t.revoked_at,
       t.last_used_at
FROM tokens AS t
WHERE t.id = :id;

-- name: list_tokens
SELECT t.id, t.organisation, t.name, t.scopes, t.secret_hash, t.created_at, t.expires_at, t.revoked_at,
       t.last_used_at
FROM tokens AS t
WHERE t.id > :after
ORDER BY t.id
LIMIT :limit;

-- name: revoke_token
UPDATE tokens
SET revoked_at = :now
WHERE id = :id
  AND revoked_at IS NULL
RETURNING id, organisation, name, scopes, secret_hash, created_at, expires_at, revoked_at, last_used_at;

-- name: use_tokens
UPDATE tokens
SET last_used_at = :used_at
WHERE id = :id
  AND coalesce(last_used_at, 0) < :used_at;

-- name: ping
SELECT count(*)
FROM (
    SELECT s.id
    FROM sessions AS s
    LIMIT 1
);
