-- PostgreSQL is a round trip away, so rows are sent as arrays: a batch is read by one statement (read_batch) and written
-- by one (write_batch, together with the statements that it names). WITH ORDINALITY numbers the elements of the arrays:
-- results have an ordinal instead of an organisation and an id, and rows are locked in the order of the arrays.
-- ORDER BY w.ordinal also makes the planner look up one row after the other: other plans would have to sort, and the
-- settings of the connection forbid that.
--
-- `:schema_is_known` is replaced by a condition that makes the statement fail if a newer program has changed the schema.
-- Every statement that runs outside a transaction has it.

-- name: read_batch
-- Sessions, and idempotency keys used before, without locks. They share rows only to save a round trip.
SELECT w.ordinal,
       s.user_id, s.session_group, s.title, s.model, s.status, s.user_spoke,
       s.total_messages, s.total_tokens, s.total_bytes,
       s.created_at, s.updated_at, s.expires_at, s.version,
       CASE WHEN w.with_metadata THEN s.metadata END AS metadata,
       k.fingerprint, k.effect, k.expires_at AS key_expires_at
FROM unnest(
    :organisation::text[], :id::uuid[], :with_metadata::boolean[],
    :key_organisation::text[], :key_principal::text[], :key_command::text[], :key_key::text[]
) WITH ORDINALITY AS w (
    organisation, id, with_metadata, key_organisation, key_principal, key_command, key_key, ordinal
)
LEFT JOIN sessions AS s
  ON s.organisation = w.organisation
 AND s.id = w.id
LEFT JOIN keys AS k
  ON k.organisation = w.key_organisation
 AND k.principal = w.key_principal
 AND k.command = w.key_command
 AND k.key = w.key_key
WHERE :schema_is_known;

-- name: find_unlocked_sessions
-- Existing sessions that no other transaction has locked. They are locked until the end of the transaction.
SELECT w.ordinal
FROM unnest(:organisation::text[], :id::uuid[])
     WITH ORDINALITY AS w (organisation, id, ordinal)
JOIN sessions AS s
  ON s.organisation = w.organisation
 AND s.id = w.id
ORDER BY w.ordinal
FOR UPDATE OF s SKIP LOCKED;

-- name: delete_blocks
DELETE FROM message_blocks AS t
USING unnest(:deleted_organisation::text[], :deleted_id::uuid[]) AS w (organisation, id)
WHERE t.organisation = w.organisation
  AND t.session_id = w.id;

-- name: delete_sessions
DELETE FROM sessions AS s
USING unnest(:deleted_organisation::text[], :deleted_id::uuid[], :deleted_read_version::bigint[])
      AS w (organisation, id, read_version)
WHERE s.organisation = w.organisation
  AND s.id = w.id
  AND s.version = w.read_version
RETURNING s.id;

-- name: insert_sessions
INSERT INTO sessions (
    organisation, id, user_id, session_group, title, model, status, user_spoke,
    total_messages, total_tokens, total_bytes,
    created_at, updated_at, expires_at, sweep_after, version, summary, metadata
)
SELECT w.organisation, w.id, w.user_id, w.session_group, w.title, w.model, w.status, w.user_spoke,
       w.total_messages, w.total_tokens, w.total_bytes,
       w.created_at, w.updated_at, w.expires_at, w.expires_at, w.version, w.summary, w.metadata
FROM unnest(
    :inserted_organisation::text[], :inserted_id::uuid[], :inserted_user_id::text[],
    :inserted_session_group::text[], :inserted_title::text[], :inserted_model::text[],
    :inserted_status::text[], :inserted_user_spoke::boolean[],
    :inserted_total_messages::integer[], :inserted_total_tokens::integer[], :inserted_total_bytes::integer[],
    :inserted_created_at::bigint[], :inserted_updated_at::bigint[], :inserted_expires_at::bigint[],
    :inserted_version::bigint[], :inserted_summary::bytea[], :inserted_metadata::bytea[]
) AS w (
    organisation, id, user_id, session_group, title, model, status, user_spoke,
    total_messages, total_tokens, total_bytes,
    created_at, updated_at, expires_at, version, summary, metadata
);

-- name: update_sessions
UPDATE sessions AS s
SET title = w.title,
    model = w.model,
    status = w.status,
    user_spoke = w.user_spoke,
    total_messages = w.total_messages,
    total_tokens = w.total_tokens,
    total_bytes = w.total_bytes,
    updated_at = w.updated_at,
    expires_at = w.expires_at,
    version = w.version,
    summary = w.summary,
    metadata = coalesce(w.metadata, s.metadata)
FROM unnest(
    :updated_organisation::text[], :updated_id::uuid[], :updated_read_version::bigint[],
    :updated_title::text[], :updated_model::text[], :updated_status::text[], :updated_user_spoke::boolean[],
    :updated_total_messages::integer[], :updated_total_tokens::integer[], :updated_total_bytes::integer[],
    :updated_updated_at::bigint[], :updated_expires_at::bigint[], :updated_version::bigint[],
    :updated_summary::bytea[], :updated_metadata::bytea[]
) AS w (
    organisation, id, read_version, title, model, status, user_spoke,
    total_messages, total_tokens, total_bytes, updated_at, expires_at, version, summary, metadata
)
WHERE s.organisation = w.organisation
  AND s.id = w.id
  AND s.version = w.read_version
RETURNING s.id;

-- name: insert_blocks
INSERT INTO message_blocks (organisation, session_id, first, count, tokens, format, created_at, body)
SELECT w.organisation, w.session_id, w.first, w.count, w.tokens, 1, w.created_at, w.body
FROM unnest(
    :block_organisation::text[], :block_session_id::uuid[], :block_first::integer[], :block_count::integer[],
    :block_tokens::integer[], :block_created_at::bigint[], :block_body::bytea[]
) AS w (organisation, session_id, first, count, tokens, created_at, body);

-- name: insert_keys
-- An expired key is replaced. A key that another server has used meanwhile stays, and is not counted.
INSERT INTO keys AS k (organisation, principal, command, key, fingerprint, effect, expires_at)
SELECT w.organisation, w.principal, w.command, w.key, w.fingerprint, w.effect, w.expires_at
FROM unnest(
    :new_key_organisation::text[], :new_key_principal::text[], :new_key_command::text[], :new_key_key::text[],
    :new_key_fingerprint::bytea[], :new_key_effect::bytea[], :new_key_expires_at::bigint[]
) AS w (organisation, principal, command, key, fingerprint, effect, expires_at)
ON CONFLICT (organisation, principal, command, key) DO UPDATE
SET fingerprint = EXCLUDED.fingerprint,
    effect = EXCLUDED.effect,
    expires_at = EXCLUDED.expires_at
WHERE k.organisation = EXCLUDED.organisation
  AND k.expires_at <= :now::bigint
RETURNING k.key;

-- name: insert_audit
INSERT INTO audit (organisation, at, actor, action, subject)
SELECT w.organisation, w.at, w.actor, w.action, w.subject
FROM unnest(
    :audit_organisation::text[], :audit_at::bigint[], :audit_actor::text[], :audit_action::text[],
    :audit_subject::text[]
) AS w (organisation, at, actor, action, subject);

-- name: list_audit
SELECT a.number, a.at, a.organisation, a.actor, a.action, a.subject
FROM audit AS a
WHERE a.number > :after::bigint
  AND :schema_is_known
ORDER BY a.number
LIMIT :limit::integer;

-- name: sweep_audit
WITH due AS MATERIALIZED (
    SELECT a.number
    FROM audit AS a
    WHERE a.at <= :before::bigint
    ORDER BY a.at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
)
DELETE FROM audit AS a
USING due AS d
WHERE a.number = d.number
RETURNING 1;

-- name: write_batch
-- All of a batch or nothing: if a session no longer has the version that was read, a key is in use, or a newer program
-- has changed the schema, this divides by zero, which undoes the whole statement.
SELECT 1 / (
    cardinality(:deleted_id::uuid[]) = (
        SELECT count(*)
        FROM delete_sessions
    )
    AND cardinality(:updated_id::uuid[]) = (
        SELECT count(*)
        FROM update_sessions
    )
    AND cardinality(:new_key_key::text[]) = (
        SELECT count(*)
        FROM insert_keys
    )
    AND :schema_is_known
)::integer AS written;

-- name: fetch_sessions
-- With all messages, if :whole is true and they have no more than :bytes_max bytes.
SELECT w.ordinal,
       s.total_bytes, s.total_messages, s.version, s.summary, s.metadata,
       CASE WHEN w.whole AND s.total_bytes <= :bytes_max::integer THEN (
           SELECT string_agg(o.body, ',')
           FROM (
               SELECT t.body
               FROM message_blocks AS t
               WHERE t.organisation = w.organisation
                 AND t.session_id = w.id
               ORDER BY t.first
           ) AS o
       ) END AS messages
FROM unnest(:organisation::text[], :id::uuid[], :whole::boolean[])
     WITH ORDINALITY AS w (organisation, id, whole, ordinal)
JOIN sessions AS s
  ON s.organisation = w.organisation
 AND s.id = w.id
 AND s.expires_at > :now::bigint
WHERE :schema_is_known
ORDER BY w.ordinal;

-- name: fetch_blocks
-- From the block that contains message :from up to, not including, the one that starts at :until or later.
SELECT w.ordinal, o.first, o.body
FROM unnest(:organisation::text[], :id::uuid[], :from::integer[], :until::integer[])
     WITH ORDINALITY AS w (organisation, id, from_message, until_message, ordinal)
CROSS JOIN LATERAL (
    SELECT coalesce(max(u.first), 0) AS first
    FROM message_blocks AS u
    WHERE u.organisation = w.organisation
      AND u.session_id = w.id
      AND u.first <= w.from_message
) AS b
CROSS JOIN LATERAL (
    SELECT t.first, t.body
    FROM message_blocks AS t
    WHERE t.organisation = w.organisation
      AND t.session_id = w.id
      AND t.first >= b.first
      AND t.first < w.until_message
    ORDER BY t.first
) AS o
WHERE :schema_is_known;

-- name: list_sessions
SELECT w.ordinal, o.id, o.summary, o.metadata
FROM unnest(
    :organisation::text[], :status::text[],
    :after::uuid[], :limit::integer[], :offset::integer[]
) WITH ORDINALITY AS w (
    organisation, status, after, row_limit, row_offset, ordinal
)
CROSS JOIN LATERAL (
    SELECT s.id, s.summary, s.metadata
    FROM sessions AS s
    WHERE s.organisation = w.organisation
      AND s.id < w.after
      AND s.expires_at > :now::bigint
      AND (w.status IS NULL OR s.status = w.status)
    ORDER BY s.id DESC
    LIMIT w.row_limit OFFSET w.row_offset
) AS o
WHERE :schema_is_known;

-- name: list_sessions_by_user
-- Written so that only its own index has the order. With an equality, and statistics that know one user only, the planner
-- would read the whole organisation in the order of ids. The same applies to the next statements.
SELECT w.ordinal, o.id, o.summary, o.metadata
FROM unnest(
    :organisation::text[], :user_id::text[], :session_group::text[], :model::text[], :status::text[],
    :after::uuid[], :limit::integer[], :offset::integer[]
) WITH ORDINALITY AS w (
    organisation, user_id, session_group, model, status, after, row_limit, row_offset, ordinal
)
CROSS JOIN LATERAL (
    SELECT s.id, s.summary, s.metadata
    FROM sessions AS s
    WHERE s.organisation = w.organisation
      AND s.user_id >= w.user_id
      AND (s.user_id, s.id) < (w.user_id, w.after)
      AND s.expires_at > :now::bigint
      AND (w.session_group IS NULL OR s.session_group = w.session_group)
      AND (w.model IS NULL OR s.model = w.model)
      AND (w.status IS NULL OR s.status = w.status)
    ORDER BY s.user_id DESC, s.id DESC
    LIMIT w.row_limit OFFSET w.row_offset
) AS o
WHERE :schema_is_known;

-- name: list_sessions_by_group
SELECT w.ordinal, o.id, o.summary, o.metadata
FROM unnest(
    :organisation::text[], :session_group::text[], :model::text[], :status::text[],
    :after::uuid[], :limit::integer[], :offset::integer[]
) WITH ORDINALITY AS w (
    organisation, session_group, model, status, after, row_limit, row_offset, ordinal
)
CROSS JOIN LATERAL (
    SELECT s.id, s.summary, s.metadata
    FROM sessions AS s
    WHERE s.organisation = w.organisation
      AND s.session_group >= w.session_group
      AND (s.session_group, s.id) < (w.session_group, w.after)
      AND s.expires_at > :now::bigint
      AND (w.model IS NULL OR s.model = w.model)
      AND (w.status IS NULL OR s.status = w.status)
    ORDER BY s.session_group DESC, s.id DESC
    LIMIT w.row_limit OFFSET w.row_offset
) AS o
WHERE :schema_is_known;

-- name: list_sessions_by_model
SELECT w.ordinal, o.id, o.summary, o.metadata
FROM unnest(
    :organisation::text[], :model::text[], :status::text[],
    :after::uuid[], :limit::integer[], :offset::integer[]
) WITH ORDINALITY AS w (
    organisation, model, status, after, row_limit, row_offset, ordinal
)
CROSS JOIN LATERAL (
    SELECT s.id, s.summary, s.metadata
    FROM sessions AS s
    WHERE s.organisation = w.organisation
      AND s.model >= w.model
      AND (s.model, s.id) < (w.model, w.after)
      AND s.expires_at > :now::bigint
      AND (w.status IS NULL OR s.status = w.status)
    ORDER BY s.model DESC, s.id DESC
    LIMIT w.row_limit OFFSET w.row_offset
) AS o
WHERE :schema_is_known;

-- name: measure_usage
-- The page is limited before expired sessions are left out; otherwise one page could read every row.
WITH page AS (
  SELECT s.id, (s.expires_at > :now::bigint)::integer AS live, s.total_bytes
  FROM sessions AS s
  WHERE s.organisation = :organisation::text
    AND s.id < :after::uuid
  ORDER BY s.id DESC
  LIMIT :limit::integer
)
SELECT
  coalesce(sum(p.live), 0)::bigint AS sessions,
  coalesce(sum(p.live * p.total_bytes), 0)::bigint AS stored_bytes,
  count(*) AS read,
  min(p.id::text COLLATE "C") AS last
FROM page AS p
WHERE :schema_is_known;

-- name: sweep_due
-- Locks due sessions that no other sweeper or writer has locked; the next statements delete them.
SELECT s.organisation, s.id, s.version, s.expires_at, s.total_messages
FROM sessions AS s
WHERE s.sweep_after <= :now::bigint
ORDER BY s.sweep_after
LIMIT :limit::integer
FOR UPDATE SKIP LOCKED;

-- name: sweep_later
UPDATE sessions AS s
SET sweep_after = s.expires_at
FROM unnest(:organisation::text[], :id::uuid[]) AS w (organisation, id)
WHERE s.organisation = w.organisation
  AND s.id = w.id;

-- name: sweep_keys
WITH due AS MATERIALIZED (
    SELECT k.organisation, k.principal, k.command, k.key
    FROM keys AS k
    WHERE k.expires_at <= :now::bigint
    ORDER BY k.expires_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
)
DELETE FROM keys AS k
USING due AS d
WHERE k.organisation = d.organisation
  AND k.principal = d.principal
  AND k.command = d.command
  AND k.key = d.key
  AND k.expires_at <= :now::bigint
RETURNING 1;

-- name: insert_token
INSERT INTO tokens (id, organisation, name, scopes, secret_hash, created_at, expires_at)
VALUES (
    :id::text, :organisation::text, :name::text, :scopes::text, :secret_hash::bytea,
    :created_at::bigint, :expires_at::bigint
);

-- name: find_tokens
SELECT t.id, t.organisation, t.name, t.scopes, t.secret_hash, t.created_at, t.expires_at, t.revoked_at,
       t.last_used_at
FROM unnest(:id::text[]) WITH ORDINALITY AS w (id, ordinal)
JOIN tokens AS t
  ON t.id = w.id
WHERE :schema_is_known
ORDER BY w.ordinal;

-- name: list_tokens
SELECT t.id, t.organisation, t.name, t.scopes, t.secret_hash, t.created_at, t.expires_at, t.revoked_at,
       t.last_used_at
FROM tokens AS t
WHERE t.id > :after::text
  AND :schema_is_known
ORDER BY t.id
LIMIT :limit::integer;

-- name: revoke_token
UPDATE tokens AS t
SET revoked_at = :now::bigint
WHERE t.id = :id::text
  AND t.revoked_at IS NULL
RETURNING t.id, t.organisation, t.name, t.scopes, t.secret_hash, t.created_at, t.expires_at, t.revoked_at,
          t.last_used_at;

-- name: use_tokens
UPDATE tokens AS t
SET last_used_at = w.used_at
FROM unnest(:id::text[], :used_at::bigint[]) AS w (id, used_at)
WHERE t.id = w.id
  AND coalesce(t.last_used_at, 0) < w.used_at
  AND :schema_is_known;

-- name: ping
SELECT count(*)
FROM (
    SELECT s.id
    FROM sessions AS s
    LIMIT 1
) AS found;

-- name: can_write
SELECT current_setting('transaction_read_only') = 'on' AS read_only,
       (
           SELECT string_agg(w.privilege || ' on ' || w.table_name, ', ')
           FROM unnest(:table::text[], :privilege::text[]) AS w (table_name, privilege)
           WHERE NOT has_table_privilege(w.table_name, w.privilege)
       ) AS missing;

-- name: try_write
-- Always rolled back.
INSERT INTO keys (organisation, principal, command, key, fingerprint, effect, expires_at)
VALUES ('', '', 'try', gen_random_uuid()::text, ''::bytea, :filler::bytea, 0);
