-- One turn: the session's row moves, and what it says feeds the insert.
\set number random(0, :sessions - 1)
\set at :oldest_ms + :number
WITH moved AS (
    UPDATE sessions
    SET total_messages = total_messages + 2,
        total_tokens = total_tokens + 250,
        total_bytes = total_bytes + 1000,
        updated_at = :oldest_ms,
        version = version + 1
    WHERE organisation = 'bench'
      AND id = (lpad(to_hex(:at::bigint), 12, '0') || '70008000' || lpad(to_hex(:number::bigint), 12, '0'))::uuid
      AND expires_at > :oldest_ms
    RETURNING organisation, id, total_messages
)
INSERT INTO message_blocks (organisation, session_id, first, count, tokens, format, created_at, body)
SELECT organisation, id, total_messages - 2, 2, 250, 1, :oldest_ms, :body::bytea
FROM moved;
