-- Who did what, when, to which session or token; never what was in it. Numbers are never used again.

CREATE TABLE audit (
    number       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           bigint NOT NULL,
    organisation text   COLLATE "C",
    actor        text   COLLATE "C" NOT NULL,
    action       text   COLLATE "C" NOT NULL,
    subject      text   COLLATE "C" NOT NULL
);

CREATE INDEX audit_to_sweep ON audit (at);
