-- Who did what, when, to which session or token; never what was in it. Numbers are never used again.

CREATE TABLE audit (
    number       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at           INTEGER NOT NULL,
    organisation TEXT,
    actor        TEXT    NOT NULL,
    action       TEXT    NOT NULL,
    subject      TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_to_sweep ON audit (at);
