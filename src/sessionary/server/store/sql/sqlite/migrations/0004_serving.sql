-- Which programs may serve: the newest migration that a program must know to go on beside each of these.
-- Programs from 0003 on go on beside this.

CREATE INDEX schema_migrations_serves_from ON schema_migrations (serves_from);
