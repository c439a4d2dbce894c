-- When a token was last used, to about a minute: a token nobody uses may be revoked.
-- Programs from 0003 on go on beside this.

ALTER TABLE tokens ADD COLUMN last_used_at INTEGER;
