-- Lists and reads join the summaries that are written when a session changes; from here on store/summaries.py writes them.

ALTER TABLE sessions ADD COLUMN summary bytea NOT NULL DEFAULT '';

ALTER TABLE sessions ALTER COLUMN summary SET STORAGE EXTERNAL;

UPDATE sessions
SET summary = convert_to(trim('{}' FROM json_build_object(
    'id', id,
    'title', title,
    'model', model,
    'created_at', to_char('epoch'::timestamp + created_at * '1 ms'::interval, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    'updated_at', to_char('epoch'::timestamp + updated_at * '1 ms'::interval, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    'user_id', user_id,
    'session_group', session_group,
    'status', status,
    'total_messages', total_messages,
    'total_tokens', total_tokens,
    'expires_at', to_char('epoch'::timestamp + expires_at * '1 ms'::interval, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
)::text), 'UTF8');
