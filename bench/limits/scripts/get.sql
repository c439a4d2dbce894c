-- A session and its turns.
\set number random(0, :sessions - 1)
\set at :oldest_ms + :number
SELECT s.id, s.user_id, s.session_group, s.title, s.model, s.status, s.total_messages, s.total_tokens,
       s.created_at, s.updated_at, s.expires_at, s.metadata, t.body
FROM sessions AS s
JOIN message_blocks AS t ON t.organisation = s.organisation AND t.session_id = s.id
WHERE s.organisation = 'read-only'
  AND s.id = (lpad(to_hex(:at::bigint), 12, '0') || '70008000' || lpad(to_hex(:number::bigint), 12, '0'))::uuid
  AND s.expires_at > :oldest_ms
ORDER BY t.first;
