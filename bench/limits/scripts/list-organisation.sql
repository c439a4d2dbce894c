-- The newest 50 sessions of an organisation.
\set now :oldest_ms + 0
SELECT *
FROM sessions
WHERE organisation = 'archive'
  AND expires_at > :now
ORDER BY id DESC
LIMIT 50;
