-- The newest 50 sessions of one user.
\set number random(0, 9)
SELECT id, user_id, session_group, title, model, status, total_messages, total_tokens,
       created_at, updated_at, expires_at, metadata
FROM sessions
WHERE organisation = 'archive'
  AND user_id = 'user-' || lpad(:number::text, 6, '0')
  AND expires_at > :oldest_ms
ORDER BY id DESC
LIMIT 50;
