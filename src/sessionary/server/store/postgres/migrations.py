"""Migrate a database to the current schema."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from sessionary.server.store import migrate as numbered
from sessionary.server.store.postgres.connecting import check_server, connect_to, startup_errors
from sessionary.server.store.postgres.urls import read_url

_CREATE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number      integer NOT NULL PRIMARY KEY,
    name        text    NOT NULL,
    applied_at  bigint  NOT NULL,
    serves_from integer NOT NULL
)
"""
_INSERT: Final = "INSERT INTO schema_migrations (number, name, applied_at, serves_from) VALUES ($1, $2, $3, $4)"
_WAIT_FOR_WRITES: Final = "LOCK TABLE sessions, keys IN SHARE ROW EXCLUSIVE MODE"
"""Tables that every version of the schema has; whatever writes messages writes to sessions, too."""
_LOCK: Final = int.from_bytes(b"sessiona")
"""The advisory lock that every sessionary holds while it migrates."""
_SETTINGS: Final = {"statement_timeout": "0", "lock_timeout": "0", "synchronous_commit": "on"}
_CONNECT_SECONDS_MAX: Final = 10.0
_SECONDS_MAX: Final = 600.0
"""A migration may rewrite tables, or wait for another server's migration."""


async def migrate(url: str, now: int, known: list[numbered.Migration] | None = None) -> list[str]:
    """Apply all pending migrations or none, and return their names. Several servers may try at the same time.

    A migration that older programs cannot work with waits for their running writes and blocks further ones, which then
    find the new schema and are refused.
    """
    async with _connected(url) as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(_CREATE_TABLE)
        applied = await _applied(connection)
        todo = numbered.pending(known or numbered.read_migrations("postgres"), applied)
        if applied and any(migration.serves_from == migration.number for migration in todo):
            await connection.execute(_WAIT_FOR_WRITES)
        for migration in todo:
            await connection.execute(migration.sql)
            await connection.execute(_INSERT, migration.number, migration.name, now, migration.serves_from)
    return [migration.name for migration in todo]


async def pending(url: str) -> list[str]:
    """Return the names of the migrations that ``migrate`` would apply."""
    known = numbered.read_migrations("postgres")
    async with _connected(url) as connection:
        return [migration.name for migration in numbered.pending(known, await _applied(connection))]


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    with startup_errors(url):
        connection = await connect_to(read_url(url), _CONNECT_SECONDS_MAX, _SETTINGS)
        try:
            check_server(connection)
            async with asyncio.timeout(_SECONDS_MAX):
                yield connection
            await connection.close(timeout=_CONNECT_SECONDS_MAX)
        finally:
            connection.terminate()


async def _applied(connection: asyncpg.Connection) -> dict[int, int]:
    """Return the applied migrations with their ``serves_from``."""
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return {}
    rows = await connection.fetch("SELECT m.number, m.serves_from FROM schema_migrations AS m")
    return {row["number"]: row["serves_from"] for row in rows}
