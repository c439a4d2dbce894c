"""Bring a database's schema up to date."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from sessionary.server.store import migrate as numbered
from sessionary.server.store.postgres.connecting import check_server, connect_to, explaining
from sessionary.server.store.postgres.urls import read_url

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer NOT NULL PRIMARY KEY,
    name       text    NOT NULL,
    applied_at bigint  NOT NULL
)
"""
_SERVES: Final = "UPDATE schema_migrations SET serves_from = $2 WHERE number = $1"
_WAIT_FOR_WRITES: Final = "LOCK TABLE sessions, keys IN SHARE ROW EXCLUSIVE MODE"
"""Tables that every version of the schema has; whatever writes messages writes to sessions, too."""
_HAS_SERVES: Final = """
SELECT count(*) > 0
FROM pg_attribute
WHERE attrelid = to_regclass('schema_migrations') AND attname = 'serves_from' AND NOT attisdropped
"""
_LOCK: Final = int.from_bytes(b"sessiona")
"""The number that every sessionary locks while it migrates."""
_SETTINGS: Final = {"statement_timeout": "0", "lock_timeout": "0", "synchronous_commit": "on"}
_CONNECT_SECONDS_MAX: Final = 10.0
_SECONDS_MAX: Final = 600.0
"""A migration may rewrite tables, or wait for another server that does."""


async def migrate(url: str, now: int, known: list[numbered.Migration] | None = None) -> list[str]:
    """Apply what is pending, all of it or nothing, and name it. Several servers may try at once.

    A migration beside which older programs must stop waits for their writes and keeps further ones waiting: they find
    it when it is done, and refuse.
    """
    async with _connected(url) as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(_LEDGER)
        applied = await _applied(connection)
        todo = numbered.pending(known or numbered.read_migrations("postgres"), applied)
        if applied and any(migration.serves_from == migration.number for migration in todo):
            await connection.execute(_WAIT_FOR_WRITES)
        for migration in todo:
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO schema_migrations (number, name, applied_at) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                now,
            )
        for migration in todo:
            await connection.execute(_SERVES, migration.number, migration.serves_from)
    return [migration.name for migration in todo]


async def pending(url: str) -> list[str]:
    """Name what ``migrate`` would apply."""
    known = numbered.read_migrations("postgres")
    async with _connected(url) as connection:
        return [migration.name for migration in numbered.pending(known, await _applied(connection))]


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    with explaining(url):
        connection = await connect_to(read_url(url), _CONNECT_SECONDS_MAX, _SETTINGS)
        try:
            check_server(connection)
            async with asyncio.timeout(_SECONDS_MAX):
                yield connection
            await connection.close(timeout=_CONNECT_SECONDS_MAX)
        finally:
            connection.terminate()


async def _applied(connection: asyncpg.Connection) -> dict[int, int]:
    """Find what has been applied, and what each of it serves; before that was said, its own program."""
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return {}
    serves = "m.serves_from" if await connection.fetchval(_HAS_SERVES) else "m.number"
    rows = await connection.fetch(f"SELECT m.number, {serves} AS serves FROM schema_migrations AS m")  # noqa: S608
    return {row["number"]: row["serves"] for row in rows}
