-- Which programs may serve: the newest migration that a program must know to go on beside each of these.
-- Programs from 0003 on go on beside this.

ALTER TABLE schema_migrations ADD COLUMN serves_from INTEGER NOT NULL DEFAULT 2147483647;

UPDATE schema_migrations
SET serves_from = number;

CREATE INDEX schema_migrations_serves_from ON schema_migrations (serves_from);
