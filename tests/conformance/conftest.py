"""Every conformance test runs on the reference and on every engine, each with data of its own."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import apsw
import asyncpg
import pytest

from sessionary.server.store.base import Store
from sessionary.server.store.opening import migrate, open_store
from tests.conformance.builders import START_TIME, CommandBuilder, ManualClock
from tests.harness.postgres import PostgresServer
from tests.reference import ReferenceStore

REFERENCE = "reference"
ENGINES = ("sqlite", "postgres-18", "postgres-15")
SECONDS_MAX = 20.0

Reopen = Callable[[], Awaitable[Store]]
CountRows = Callable[[], Awaitable[tuple[int, int, int]]]


@pytest.fixture(params=[REFERENCE, *ENGINES])
def kind(request: pytest.FixtureRequest) -> str:
    """What the test runs on; parametrise it indirectly with ENGINES where a dictionary has nothing to show."""
    return str(request.param)


@pytest.fixture
def clock() -> ManualClock:
    """The store's clock, moved by hand."""
    return ManualClock()


@pytest.fixture
def build(clock: ManualClock) -> CommandBuilder:
    """Builds commands with the clock's time."""
    return CommandBuilder(clock)


@pytest.fixture(scope="session")
def migrated_databases() -> dict[str, str]:
    """The URLs of databases that have been migrated, by kind; each is made for the first test that needs it."""
    return {}


@pytest.fixture
async def url(
    kind: str,
    tmp_path: Path,
    migrated_databases: dict[str, str],
    request: pytest.FixtureRequest,
) -> str:
    """The URL of an empty, migrated database."""
    if kind == REFERENCE:
        return ""
    if kind == "sqlite":
        return await _migrated(f"sqlite:///{tmp_path / 'sessionary.db'}")
    server = request.getfixturevalue(kind.replace("-", "_"))
    assert isinstance(server, PostgresServer)
    if kind not in migrated_databases:
        migrated_databases[kind] = await _migrated(_create_database(server))
    await _empty(migrated_databases[kind])
    return migrated_databases[kind]


@pytest.fixture
async def reopen(kind: str, url: str, clock: ManualClock) -> AsyncIterator[Reopen]:
    """Open one more store on the same data, as another process would; it is closed at the end of the test."""
    reference = ReferenceStore(clock)
    stores: list[Store] = []
    async with contextlib.AsyncExitStack() as opened:

        async def open_one() -> Store:
            if kind == REFERENCE:
                return reference
            # A second store on the same file is opened as the administrator's commands open it.
            store = await open_store(url, clock, SECONDS_MAX, shared=kind == "sqlite" and bool(stores))
            stores.append(store)
            opened.push_async_callback(store.close)
            return store

        yield open_one


@pytest.fixture
async def store(reopen: Reopen) -> Store:
    """A store without a session."""
    return await reopen()


@pytest.fixture
def count_rows(kind: str, url: str, store: Store) -> CountRows:
    """Count the rows of the database, without the store: sessions, blocks, keys."""

    async def count() -> tuple[int, int, int]:
        if isinstance(store, ReferenceStore):
            return store.count()
        statement = (
            "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM message_blocks), (SELECT count(*) FROM keys)"
        )
        if kind == "sqlite":
            # With the library the store uses: two SQLites in one process drop each other's locks.
            with contextlib.closing(apsw.Connection(url.removeprefix("sqlite:///"))) as file:
                (row,) = file.execute(statement)
        else:
            connection = await asyncpg.connect(url)
            row = await connection.fetchrow(statement)
            await connection.close()
        sessions, blocks, keys = row
        return sessions, blocks, keys

    return count


async def _migrated(url: str) -> str:
    await migrate(url, START_TIME)
    return url


def _create_database(server: PostgresServer) -> str:
    if server.major != 15:
        return server.create_database()
    # Debian's build knows languages, the wheel's does not: here "B" sorts after "a", unless the schema says otherwise.
    server.run_sql("CREATE DATABASE conformance TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
    return server.url("conformance")


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    tables = await connection.fetch(
        "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'"
    )
    # On tables this small ten times faster than TRUNCATE, which makes new files.
    await connection.execute("; ".join(f"DELETE FROM {table[0]}" for table in tables))
    await connection.close()
