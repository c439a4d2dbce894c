-- JSON is stored as bytes: jsonb and text refuse NUL, and it is joined into responses without being parsed.
-- Fixed columns stand first, those of eight bytes before all, so that a row is found without padding or counting.
-- Text is compared bytewise, as SQLite compares it, whatever the database's own collation is.

CREATE TABLE sessions (
    created_at     bigint   NOT NULL,
    updated_at     bigint   NOT NULL,
    expires_at     bigint   NOT NULL,
    sweep_after    bigint   NOT NULL,
    version        bigint   NOT NULL,
    total_messages integer  NOT NULL,
    total_tokens   integer  NOT NULL,
    total_bytes    integer  NOT NULL,
    id             uuid     NOT NULL,
    user_spoke     boolean  NOT NULL,
    organisation   text     COLLATE "C" NOT NULL,
    user_id        text     COLLATE "C" NOT NULL,
    status         text     COLLATE "C" NOT NULL,
    session_group  text     COLLATE "C",
    title          text     COLLATE "C",
    model          text     COLLATE "C",
    metadata       bytea    NOT NULL,
    PRIMARY KEY (organisation, id)
)
-- Half of each page is left for the next versions of its rows: even if a batch changes them all, no index is touched.
WITH (fillfactor = 50);

ALTER TABLE sessions ALTER COLUMN metadata SET STORAGE EXTERNAL;

-- Partial, all three: a statement that names no user, group or model cannot take them for the primary key, which on a
-- table that is empty when the plan is made would look the dearer one.
CREATE INDEX sessions_by_user ON sessions (organisation, user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX sessions_by_group ON sessions (organisation, session_group, id) WHERE session_group IS NOT NULL;
CREATE INDEX sessions_by_model ON sessions (organisation, model, id) WHERE model IS NOT NULL;
-- Not on expires_at: extending would rewrite the index, and lists would be lured to it.
CREATE INDEX sessions_to_sweep ON sessions (sweep_after);

CREATE TABLE turns (
    created_at   bigint   NOT NULL,
    first        integer  NOT NULL,
    count        integer  NOT NULL,
    tokens       integer  NOT NULL,
    format       smallint NOT NULL,
    session_id   uuid     NOT NULL,
    organisation text     COLLATE "C" NOT NULL,
    body         bytea    NOT NULL,
    PRIMARY KEY (organisation, session_id, first)
)
-- A turn stays in its row as long as it fits into a page.
WITH (toast_tuple_target = 8160);

-- Not compressed: of a turn of 6 KB that took three times the processor time to write, and twice to read.
ALTER TABLE turns ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE keys (
    expires_at   bigint NOT NULL,
    organisation text   COLLATE "C" NOT NULL,
    principal    text   COLLATE "C" NOT NULL,
    command      text   COLLATE "C" NOT NULL,
    key          text   COLLATE "C" NOT NULL,
    fingerprint  bytea  NOT NULL,
    effect       bytea  NOT NULL,
    PRIMARY KEY (organisation, principal, command, key)
);

CREATE INDEX keys_to_sweep ON keys (expires_at);

CREATE TABLE tokens (
    id           text   COLLATE "C" NOT NULL PRIMARY KEY,
    organisation text   COLLATE "C",
    name         text   COLLATE "C" NOT NULL,
    scopes       text   COLLATE "C" NOT NULL,
    secret_hash  bytea  NOT NULL,
    created_at   bigint NOT NULL,
    expires_at   bigint,
    revoked_at   bigint
);
