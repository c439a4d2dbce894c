"""Starting: migrations by several servers at once, and clear words where a database cannot be used."""

import asyncio

import pytest

from sessionary.errors import InvalidRequestError, StoreUnavailableError
from sessionary.server.store.base import Updated
from sessionary.server.store.migrate import read_migrations
from sessionary.server.store.opening import migrate, open_store, pending_migrations
from sessionary.server.store.postgres.store import PostgresStore
from tests.conformance.builders import START_TIME, CommandBuilder, ManualClock, create_session, read, update, user
from tests.harness.postgres import PostgresServer
from tests.harness.processes import free_port
from tests.harness.proxy import Proxy
from tests.harness.waiting import Deadline
from tests.unit.server.store.postgres.stores import ask, connected, opened

ALL = [migration.name for migration in read_migrations("postgres")]
LEDGER = "SELECT array_agg(m.name ORDER BY m.number) FROM schema_migrations AS m"


async def test_many_servers_that_start_at_once_migrate_once(postgres_database: str) -> None:
    applied = await asyncio.gather(*(migrate(postgres_database, START_TIME) for _ in range(6)))
    assert sorted(applied) == [[]] * 5 + [ALL]
    assert await ask(postgres_database, LEDGER) == ALL


async def test_pending_migrations_are_named_and_nothing_is_changed(postgres_database: str) -> None:
    assert await pending_migrations(postgres_database) == ALL
    assert await ask(postgres_database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await migrate(postgres_database, START_TIME)
    assert await pending_migrations(postgres_database) == []


async def test_a_migration_that_fails_leaves_nothing_behind(postgres_database: str) -> None:
    async with connected(postgres_database) as connection:
        await connection.execute("CREATE TABLE keys (taken integer)")
    with pytest.raises(StoreUnavailableError, match="already exists"):
        await migrate(postgres_database, START_TIME)
    assert await ask(postgres_database, "SELECT to_regclass('sessions')") is None
    assert await pending_migrations(postgres_database) == ALL


async def test_a_database_of_a_newer_program_is_refused(postgres_database: str) -> None:
    await migrate(postgres_database, START_TIME)
    async with connected(postgres_database) as connection:
        await connection.execute("INSERT INTO schema_migrations VALUES (9000, '9000_later', 1, 9000)")
    with pytest.raises(StoreUnavailableError, match="newer sessionary"):
        await migrate(postgres_database, START_TIME)
    with pytest.raises(StoreUnavailableError, match="newer sessionary"):
        await pending_migrations(postgres_database)


async def test_a_database_that_was_not_migrated_is_not_opened(postgres_database: str) -> None:
    with pytest.raises(StoreUnavailableError, match="sessionary migrate"):
        await _open(postgres_database)
    assert await _connections(postgres_database) == 0


async def test_a_database_that_keeps_text_in_another_encoding_is_not_used(postgres: PostgresServer) -> None:
    postgres.run_sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    url = postgres.url("latin")
    try:
        with pytest.raises(StoreUnavailableError, match="LATIN1"):
            await migrate(url, START_TIME)
        with pytest.raises(StoreUnavailableError, match="LATIN1"):
            await _open(url)
    finally:
        postgres.drop_database(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "postgresql://ada:s3cret@127.0.0.1:{port}/none",
            r"127\.0\.0\.1:\d+/none cannot be used: .*Connect call failed",
        ),
        ("postgresql://127.0.0.1:{port}/none?user=ada&password=s3cret", r"127\.0\.0\.1:\d+/none cannot be used"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_named_without_the_password(url: str, reason: str) -> None:
    url = url.format(port=free_port())
    for attempt in (_open(url), migrate(url, START_TIME), pending_migrations(url)):
        with pytest.raises(StoreUnavailableError, match=reason) as refused:
            await attempt
        assert "s3cret" not in refused.value.detail


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://ada:pa/s3cret@127.0.0.1:5432/none", "cannot be read"),
        ("postgresql://ada:s3cret@127.0.0.1:s3cret/none", "a port is a number"),
        ("postgresql://ada:s3cret@127.0.0.1:99999/none", "a port is a number"),
        ("postgresql://ada:s3cret@127.0.0.1/none?s3cret=1", "parameter"),
    ],
)
async def test_an_invalid_url_is_not_reported_as_an_unavailable_database(url: str, reason: str) -> None:
    for attempt in (open_store(url, ManualClock()), migrate(url, START_TIME), pending_migrations(url)):
        with pytest.raises(InvalidRequestError, match=reason) as refused:
            await attempt
        assert ":s3cret" not in refused.value.detail


async def test_a_database_that_does_not_exist_is_named(postgres: PostgresServer) -> None:
    with pytest.raises(StoreUnavailableError, match='database "nowhere" does not exist'):
        await _open(postgres.url("nowhere"))


async def test_a_server_that_does_not_respond_is_given_up(postgres_18_database: str) -> None:
    async with Proxy(postgres_18_database) as proxy:
        with proxy.black_hole():
            deadline = Deadline(3.0)
            with pytest.raises(StoreUnavailableError, match="no response in time"):
                await PostgresStore.open(proxy.url, ManualClock(), seconds_max=1.0)
            deadline.check("giving up")


async def test_statements_that_outlive_a_change_of_the_tables_are_prepared_again(postgres_database: str) -> None:
    clock = ManualClock()
    async with opened(postgres_database, clock) as store:
        session = await create_session(store, CommandBuilder(clock).create())
        await store.fetch(session.organisation, session.session_id)
        async with connected(postgres_database) as connection:
            await connection.execute("ALTER TABLE sessions ALTER COLUMN total_bytes TYPE bigint")
        assert (await read(store, session)).id == session.session_id
        outcome = await store.apply(update(session, user("hello")))
        assert isinstance(outcome, Updated)


async def _open(url: str) -> None:
    await PostgresStore.open(url, ManualClock(), seconds_max=5.0)


async def _connections(url: str) -> int:
    return int(await ask(url, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sessionary'"))
