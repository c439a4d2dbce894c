-- Lists and reads join the summaries that are written when a session changes; from here on store/summaries.py writes them.

ALTER TABLE sessions ADD COLUMN summary BLOB NOT NULL DEFAULT x'';

UPDATE sessions
SET summary = CAST(trim(json_object(
    'id', lower(printf(
        '%s-%s-%s-%s-%s',
        substr(hex(id), 1, 8), substr(hex(id), 9, 4), substr(hex(id), 13, 4),
        substr(hex(id), 17, 4), substr(hex(id), 21)
    )),
    'title', title,
    'model', model,
    'created_at', strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000, 'unixepoch') || printf('.%03dZ', created_at % 1000),
    'updated_at', strftime('%Y-%m-%dT%H:%M:%S', updated_at / 1000, 'unixepoch') || printf('.%03dZ', updated_at % 1000),
    'user_id', user_id,
    'session_group', session_group,
    'status', status,
    'total_messages', total_messages,
    'total_tokens', total_tokens,
    'expires_at', strftime('%Y-%m-%dT%H:%M:%S', expires_at / 1000, 'unixepoch') || printf('.%03dZ', expires_at % 1000)
), '{}') AS BLOB);
