"""A server of the previous schema beside a newer program that has migrated: it goes on, or it stops; never nonsense."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import apsw
import pytest

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.base import Updated, Window
from sessionary.server.store.migrate import Migration, newest_migration, read_migrations
from sessionary.server.store.opening import migrate, open_store, pending_migrations
from sessionary.server.store.postgres import migrations as postgres
from sessionary.server.store.sqlite import migrations as sqlite
from tests.conformance.builders import (
    START_TIME,
    CommandBuilder,
    ManualClock,
    apply_all,
    contents_of,
    create_session,
    list_query,
    listed,
    update,
    user,
)
from tests.unit.server.store.postgres.stores import ask, connected, opened

Migrate = Callable[[str], Awaitable[object]]

EXPANDS = "-- Programs from {before:04} on go on beside this.\nCREATE TABLE made_up (number integer)"
QUERIES = [
    list_query(),
    list_query(user_id="u"),
    list_query(session_group="g"),
    list_query(model="m"),
    list_query(offset=100_000),
]
CONTRACTS = "UPDATE sessions SET status = 'active'"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sessionary.db'}"
    return str(request.getfixturevalue("postgres_18_database"))


async def _migrate_with_newer_program(url: str, sql: str) -> None:
    engine = "sqlite" if url.startswith("sqlite") else "postgres"
    number = newest_migration(engine) + 1
    made_up = Migration(number, f"{number:04}_made_up", sql.format(before=number - 1))
    known = [*read_migrations(engine), made_up]
    if engine == "sqlite":
        sqlite.migrate(Path(url.removeprefix("sqlite:///")), START_TIME, known=known)
    else:
        await postgres.migrate(url, START_TIME, known)


async def test_a_program_goes_on_beside_a_newer_one_that_only_expanded(url: str) -> None:
    clock = ManualClock()
    build = CommandBuilder(clock)
    await migrate(url, START_TIME)
    store = await open_store(url, clock)
    try:
        session = await create_session(store, build.create())
        await _migrate_with_newer_program(url, EXPANDS)
        outcome = await store.apply(update(session, user("hello")))
        assert isinstance(outcome, Updated)
        await store.ready()
        assert await pending_migrations(url) == []
        assert await migrate(url, START_TIME) == []
        again = await open_store(url, clock, shared=True)
        assert contents_of(await again.fetch("demo", session.session_id)) == ["hello"]
        await again.close()
    finally:
        await store.close()


async def test_a_file_is_not_contracted_while_a_server_has_it(tmp_path: Path) -> None:
    """Its reads would not notice."""
    url = f"sqlite:///{tmp_path / 'sessionary.db'}"
    clock = ManualClock()
    build = CommandBuilder(clock)
    await migrate(url, START_TIME)
    store = await open_store(url, clock)
    try:
        session = await create_session(store, build.create(user("hello")))
        with pytest.raises(StoreUnavailableError, match="in use by another server"):
            await _migrate_with_newer_program(url, CONTRACTS)
        assert contents_of(await store.fetch("demo", session.session_id)) == ["hello"]
        await create_session(store, build.create())
    finally:
        await store.close()
    await _migrate_with_newer_program(url, CONTRACTS)
    with pytest.raises(StoreUnavailableError, match="newer sessionary"):
        await migrate(url, START_TIME)


async def test_a_program_stops_beside_a_newer_one_that_contracted(url: str) -> None:
    clock = ManualClock()
    build = CommandBuilder(clock)
    await migrate(url, START_TIME)
    # A file is never contracted beside a server, but may be beside an administrator's command.
    is_file = url.startswith("sqlite")
    store = await open_store(url, clock, shared=is_file)
    try:
        session = await create_session(store, build.create())
        await _migrate_with_newer_program(url, CONTRACTS)
        outcomes = [
            await store.apply(update(session, user("lost"))),
            *(await apply_all(store, [build.create(), build.create(user("lost"))])),
        ]
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 3
        assert all("newer sessionary" in getattr(outcome, "reason", "") for outcome in outcomes)
        with pytest.raises(StoreUnavailableError, match="newer sessionary"):
            await store.create_token(build.token("t"))
        with pytest.raises(StoreUnavailableError, match="newer sessionary"):
            await store.ready()
        reads: list[Callable[[], Awaitable[object]]] = [
            lambda: store.fetch("demo", session.session_id),
            lambda: store.fetch("demo", session.session_id, Window(0, 1)),
            *(partial(store.list_sessions, query) for query in QUERIES),
            lambda: store.measure_usage("demo"),
            lambda: store.find_token("t"),
            lambda: store.list_tokens(1),
            lambda: store.list_audit(1),
            lambda: store.note_token_uses({"t": 1}),
        ]
        for read in () if is_file else reads:
            with pytest.raises(StoreUnavailableError) as refused:
                await read()
            assert "newer sessionary" in refused.value.reason
        with pytest.raises(StoreUnavailableError, match="newer sessionary"):
            await migrate(url, START_TIME)
    finally:
        await store.close()


async def test_a_session_that_an_older_program_wrote_without_a_summary_makes_no_broken_list(
    postgres_18_database: str,
) -> None:
    clock = ManualClock()
    async with opened(postgres_18_database, clock) as store:
        await create_session(store, CommandBuilder(clock).create())
        await ask(postgres_18_database, "UPDATE sessions SET summary = '' RETURNING 1")
        with pytest.raises(StoreUnavailableError) as refused:
            await listed(store, list_query())
        assert "summary" in refused.value.reason


async def test_a_database_from_before_message_blocks_is_migrated_with_its_messages(url: str) -> None:
    clock = ManualClock()
    await migrate(url, START_TIME)
    store = await open_store(url, clock)
    session = await create_session(store, CommandBuilder(clock).create(user("hello")))
    await store.close()
    await _run(url, "ALTER TABLE message_blocks RENAME TO turns", "DELETE FROM schema_migrations WHERE number >= 6")
    if url.startswith("sqlite"):
        await _run(url, "PRAGMA user_version = 3")
    else:
        await _run(url, "ALTER INDEX message_blocks_pkey RENAME TO turns_pkey")
        with pytest.raises(StoreUnavailableError, match="has not been migrated"):
            await open_store(url, clock)

    assert "0006_message_blocks" in await migrate(url, START_TIME)

    store = await open_store(url, clock)
    assert isinstance(await store.apply(update(session, user("again"))), Updated)
    assert contents_of(await store.fetch("demo", session.session_id)) == ["hello", "again"]
    await store.close()


async def _run(url: str, *statements: str) -> None:
    if url.startswith("sqlite"):
        file = apsw.Connection(url.removeprefix("sqlite:///"))
        for statement in statements:
            file.execute(statement)
        file.close()
        return
    async with connected(url) as connection:
        for statement in statements:
            await connection.execute(statement)
