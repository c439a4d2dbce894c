"""Direct access to the database of a server: queries and locks."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import apsw
import asyncpg

ORPHANS = """
SELECT count(*)
FROM message_blocks AS t
WHERE NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.organisation = t.organisation AND s.id = t.session_id)
"""
_SQLITE = "sqlite:///"


def query(database: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    if database.startswith(_SQLITE):
        # With the library of the store: two copies of SQLite in one process drop each other's locks.
        with contextlib.closing(apsw.Connection(database.removeprefix(_SQLITE))) as file:
            file.set_busy_timeout(5_000)
            return [tuple(row) for row in file.execute(statement)]
    with asyncio.Runner() as runner:
        return runner.run(_look(database, statement))


async def _look(database: str, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(database)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def count_rows(database: str, table: str) -> int:
    """Count the rows of a table."""
    return int(query(database, f"SELECT count(*) FROM {table}")[0][0])


def count_orphans(database: str) -> int:
    """Count the message blocks without a session."""
    return int(query(database, ORPHANS)[0][0])


@contextlib.contextmanager
def write_lock(database: str) -> Iterator[None]:
    """Block all writers: take SQLite's write lock, or lock PostgreSQL's table of sessions."""
    if database.startswith(_SQLITE):
        with contextlib.closing(apsw.Connection(database.removeprefix(_SQLITE))) as file:
            file.set_busy_timeout(5_000)
            file.execute("BEGIN IMMEDIATE")
            yield
            file.execute("ROLLBACK")
        return
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(database))
        runner.run(connection.execute("BEGIN; LOCK TABLE sessions IN SHARE ROW EXCLUSIVE MODE"))
        yield
        runner.run(connection.close())
