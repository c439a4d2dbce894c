-- JSON is stored as bytes: it is returned unchanged, and joined into responses without being parsed.
-- Large columns stand last, so that the others are found without following overflow pages.

CREATE TABLE sessions (
    organisation   TEXT    NOT NULL,
    id             BLOB    NOT NULL,
    user_id        TEXT    NOT NULL,
    session_group  TEXT,
    title          TEXT,
    model          TEXT,
    status         TEXT    NOT NULL,
    user_spoke     INTEGER NOT NULL,
    total_messages INTEGER NOT NULL,
    total_tokens   INTEGER NOT NULL,
    total_bytes    INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    sweep_after    INTEGER NOT NULL,
    version        INTEGER NOT NULL,
    metadata       BLOB    NOT NULL,
    PRIMARY KEY (organisation, id)
) STRICT;

CREATE INDEX sessions_by_user ON sessions (organisation, user_id, id);
CREATE INDEX sessions_by_group ON sessions (organisation, session_group, id) WHERE session_group IS NOT NULL;
CREATE INDEX sessions_by_model ON sessions (organisation, model, id) WHERE model IS NOT NULL;
-- Not on expires_at: extending would rewrite the index, and lists would be lured to it.
CREATE INDEX sessions_to_sweep ON sessions (sweep_after);

CREATE TABLE turns (
    organisation TEXT    NOT NULL,
    session_id   BLOB    NOT NULL,
    first        INTEGER NOT NULL,
    count        INTEGER NOT NULL,
    tokens       INTEGER NOT NULL,
    format       INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    body         BLOB    NOT NULL,
    PRIMARY KEY (organisation, session_id, first)
) STRICT;

CREATE TABLE keys (
    organisation TEXT    NOT NULL,
    principal    TEXT    NOT NULL,
    command      TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    fingerprint  BLOB    NOT NULL,
    effect       BLOB    NOT NULL,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (organisation, principal, command, key)
) STRICT;

CREATE INDEX keys_to_sweep ON keys (expires_at);

CREATE TABLE tokens (
    id           TEXT    NOT NULL PRIMARY KEY,
    organisation TEXT,
    name         TEXT    NOT NULL,
    scopes       TEXT    NOT NULL,
    secret_hash  BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER
) STRICT;
