"""The databases behind the servers: made, filled past the servers, and weighed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any
from uuid import UUID

import apsw
import asyncpg

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from bench.contenders.rows import Batch
    from tests.harness.postgres import PostgresServer

STATEMENT_SECONDS_MAX = 600


class Database(ABC):
    """One database of one contender."""

    url: str
    pids: list[int]

    @abstractmethod
    def load(self, batch: Batch) -> None:
        """Write a batch into sessionary's tables, while no server uses them."""

    @abstractmethod
    def bytes_on_disk(self) -> int:
        """Return what the database takes on disk, without its log."""

    @abstractmethod
    def sessions_of(self, organisation: str) -> int:
        """Count an organisation's sessions in sessionary's tables."""


class SqliteDatabase(Database):
    """A file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.pids = []

    def load(self, batch: Batch) -> None:
        connection = apsw.Connection(str(self.path))
        connection.execute("PRAGMA cache_size = -200000").fetchall()
        with connection:
            for table, rows in (("sessions", batch.session_rows), ("message_blocks", batch.turn_rows)):
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
                places = ", ".join("?" * len(columns))
                connection.executemany(
                    f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})",  # noqa: S608 - our names
                    rows(columns, bytes),
                )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()

    def bytes_on_disk(self) -> int:
        self._ask("PRAGMA wal_checkpoint(PASSIVE)")
        return self.path.stat().st_size

    def sessions_of(self, organisation: str) -> int:
        return int(self._ask("SELECT count(*) FROM sessions WHERE organisation = ?", organisation))

    def _ask(self, statement: str, *values: str) -> Any:
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(5000)
        row = next(connection.execute(statement, values))
        connection.close()
        return row[0]


class PostgresDatabase(Database):
    """A database of the one PostgreSQL server."""

    def __init__(self, server: PostgresServer, template: str | None = None) -> None:
        self.url = server.create_database(template)
        self.pids = [server.pid]

    def load(self, batch: Batch) -> None:
        """Load a batch, and leave the tables as a server of some days would: vacuumed, with fresh statistics."""

        async def load(connection: asyncpg.Connection) -> None:
            for table, rows in (("sessions", batch.session_rows), ("message_blocks", batch.turn_rows)):
                statement = await connection.prepare(f"SELECT * FROM {table}")  # noqa: S608 - our names
                columns = [attribute.name for attribute in statement.get_attributes()]
                await connection.copy_records_to_table(
                    table, records=rows(columns, UUID), columns=columns, timeout=STATEMENT_SECONDS_MAX
                )
                await connection.execute(f"VACUUM ANALYZE {table}", timeout=STATEMENT_SECONDS_MAX)
            await connection.execute("CHECKPOINT", timeout=STATEMENT_SECONDS_MAX)

        self.run(load)

    def bytes_on_disk(self) -> int:
        return int(self.run(lambda connection: connection.fetchval("SELECT pg_database_size(current_database())")))

    def sessions_of(self, organisation: str) -> int:
        statement = "SELECT count(*) FROM sessions WHERE organisation = $1"
        return int(self.run(lambda connection: connection.fetchval(statement, organisation)))

    def run(self, work: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        """Do some work on a connection of its own."""

        async def run() -> Any:
            connection = await asyncpg.connect(self.url)
            try:
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(run())
