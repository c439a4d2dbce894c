"""What an operator does beside the service: `token ORGANISATION`, `archive ORGANISATION SESSIONS`."""

import argparse
import asyncio
import hashlib
import json
import secrets
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bench.conventional.database import Database
from bench.conventional.settings import read_settings
from bench.conventional.tables import Base, Token
from bench.workloads.archive import ArchivedSession, archive
from bench.workloads.payload import METADATA

COPY_SECONDS_MAX = 600
METADATA_JSON = json.dumps(METADATA)
COLUMNS = (
    "id",
    "organisation",
    *("user_id", "session_group", "title", "model"),
    *("status", "metadata", "total_messages", "total_tokens"),
    *("created_at", "updated_at", "expires_at"),
)


async def main() -> None:
    """Read the command line and do as it says."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("token").add_argument("organisation")
    loading = commands.add_parser("archive")
    loading.add_argument("organisation")
    loading.add_argument("sessions", type=int)
    arguments = parser.parse_args()

    database = Database(read_settings())
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        if arguments.command == "token":
            print(await _create_token(connection, arguments.organisation))
        else:
            await _load_archive(connection, arguments.organisation, arguments.sessions)
    if arguments.command == "archive":
        await _settle(database)
    await database.engine.dispose()


async def _create_token(connection: AsyncConnection, organisation: str) -> str:
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    await connection.execute(insert(Token).values(digest=digest, organisation=organisation))
    return token


async def _load_archive(connection: AsyncConnection, organisation: str, sessions: int) -> None:
    # Through the drivers' own bulk paths: a million rows through SQLAlchemy take minutes.
    driver: Any = (await connection.get_raw_connection()).driver_connection
    archived = archive(sessions, time.time_ns() // 1_000_000)
    if connection.dialect.name == "sqlite":
        places = ", ".join("?" * len(COLUMNS))
        statement = f"INSERT INTO sessions ({', '.join(COLUMNS)}) VALUES ({places})"  # noqa: S608 - our own names
        await driver.executemany(statement, (_sqlite_row(organisation, session) for session in archived))
        return
    rows = (_postgres_row(organisation, session) for session in archived)
    await driver.copy_records_to_table("sessions", records=rows, columns=COLUMNS, timeout=COPY_SECONDS_MAX)


async def _settle(database: Database) -> None:
    # As a server that has run for a day would be: statistics fresh, nothing left over for housekeeping.
    async with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        await connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)" if is_sqlite else "VACUUM ANALYZE"))


def _postgres_row(organisation: str, session: ArchivedSession) -> tuple[Any, ...]:
    created_at, expires_at = _time(session.created_at_ms), _time(session.expires_at_ms)
    return (UUID(bytes=session.id), *_middle(organisation, session), created_at, created_at, expires_at)


def _sqlite_row(organisation: str, session: ArchivedSession) -> tuple[Any, ...]:
    # As SQLAlchemy keeps them in SQLite: a UUID in hex, a time as text without a zone.
    created_at = f"{_time(session.created_at_ms):%Y-%m-%d %H:%M:%S.%f}"
    expires_at = f"{_time(session.expires_at_ms):%Y-%m-%d %H:%M:%S.%f}"
    return (session.id.hex(), *_middle(organisation, session), created_at, created_at, expires_at)


def _middle(organisation: str, session: ArchivedSession) -> tuple[Any, ...]:
    named = (session.user, session.group, session.title, session.model)
    return (organisation, *named, "active", METADATA_JSON, 0, 0)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


if __name__ == "__main__":
    asyncio.run(main())
