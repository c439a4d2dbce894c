-- When a token was last used, to about a minute: a token nobody uses may be revoked.

ALTER TABLE tokens ADD COLUMN last_used_at bigint;
