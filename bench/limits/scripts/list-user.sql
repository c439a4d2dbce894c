-- The newest 50 sessions of one user.
\set number random(0, 9)
SELECT *
FROM sessions
WHERE organisation = 'archive'
  AND user_id = 'user-' || lpad(:number::text, 6, '0')
  AND expires_at > :oldest_ms
ORDER BY id DESC
LIMIT 50;
