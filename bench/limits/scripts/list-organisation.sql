-- The newest 50 sessions of an organisation.
\set now :oldest_ms + 0
SELECT id, user_id, session_group, title, model, status, total_messages, total_tokens,
       created_at, updated_at, expires_at, metadata
FROM sessions
WHERE organisation = 'archive'
  AND expires_at > :now
ORDER BY id DESC
LIMIT 50;
