"""Bring a database's schema up to date."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from sessionary.store import migrate as numbered
from sessionary.store.postgres.connections import check_server, explaining

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer NOT NULL PRIMARY KEY,
    name       text    NOT NULL,
    applied_at bigint  NOT NULL
)
"""
_LOCK: Final = int.from_bytes(b"sessiona")
"""The number that every sessionary locks while it migrates."""
_CONNECT_SECONDS_MAX: Final = 10.0
_SECONDS_MAX: Final = 600.0
"""A migration may rewrite tables, or wait for another server that does."""


async def migrate(url: str, now: int) -> list[str]:
    """Apply what is pending, all of it or nothing, and name it. Several servers may try at once."""
    async with _connected(url) as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(_LEDGER)
        todo = numbered.pending(numbered.read_migrations("postgres"), await _applied(connection))
        for migration in todo:
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO schema_migrations (number, name, applied_at) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                now,
            )
    return [migration.name for migration in todo]


async def pending(url: str) -> list[str]:
    """Name what ``migrate`` would apply."""
    known = numbered.read_migrations("postgres")
    async with _connected(url) as connection:
        return [migration.name for migration in numbered.pending(known, await _applied(connection))]


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    with explaining(url):
        connection = await asyncpg.connect(
            url, timeout=_CONNECT_SECONDS_MAX, server_settings={"application_name": "sessionary"}
        )
        try:
            check_server(connection)
            async with asyncio.timeout(_SECONDS_MAX):
                yield connection
            await connection.close(timeout=_CONNECT_SECONDS_MAX)
        finally:
            connection.terminate()


async def _applied(connection: asyncpg.Connection) -> set[int]:
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return set()
    return {row["number"] for row in await connection.fetch("SELECT m.number FROM schema_migrations AS m")}
