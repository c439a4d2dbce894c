"""Summaries: what lists and reads show, encoded with each change; a migration encodes those of older rows in SQL."""

import json
from pathlib import Path

import apsw
import pytest

from sessionary.server.store.base import Store
from sessionary.server.store.migrate import read_migrations
from sessionary.server.store.sqlite.migrations import migrate
from sessionary.server.store.sqlite.store import SqliteStore
from tests.conformance.builders import (
    DAY,
    MINUTE,
    START_TIME,
    CommandBuilder,
    ManualClock,
    SessionView,
    apply_all,
    create_session,
    extend,
    read,
    update,
    user,
)
from tests.unit.server.store.postgres.stores import connected, opened

AWKWARD = 'a "quoted" \\ back/slash, \U0001f600 é \u2028 \u202eright-to-left, {braces}'


def backfill(engine: str) -> str:
    """The statement of the migration that encodes the summaries of existing rows."""
    (sql,) = [migration.sql for migration in read_migrations(engine) if migration.name == "0002_summaries"]
    return sql[sql.index("UPDATE") :]


async def populate(store: Store, build: CommandBuilder, clock: ManualClock) -> list[SessionView]:
    plain = await create_session(store, build.create())
    full = await create_session(
        store, build.create(user(AWKWARD), user_id=AWKWARD, session_group=AWKWARD, title=AWKWARD, model=AWKWARD)
    )
    clock.move(DAY + 7)
    long = await create_session(store, build.create(user("first"), minutes=60 * 24 * 7))
    clock.move(MINUTE + 999)
    await apply_all(
        store, [update(long, user("more"), tokens_used=2_147_483_647, status="completed"), extend(long, 61)]
    )
    clock.now = START_TIME
    return [await read(store, session) for session in (plain, full, long)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_summaries_of_an_older_sqlite_file_equal_new_ones(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "store.db"
    migrate(path, START_TIME)
    store = await SqliteStore.open(path, clock, 5.0)
    before = await populate(store, CommandBuilder(clock), clock)
    await store.close()

    older = apsw.Connection(str(path))
    migrated = dict(older.execute("SELECT id, summary FROM sessions"))
    older.execute("UPDATE sessions SET summary = x''")
    older.execute(backfill("sqlite"))
    again = dict(older.execute("SELECT id, summary FROM sessions"))
    older.close()

    assert len(before) == len(migrated) == 3
    for session_id, summary in migrated.items():
        assert list(json.loads(b"{%b}" % again[session_id]).items()) == list(json.loads(b"{%b}" % summary).items())


async def test_summaries_of_an_older_postgres_database_equal_new_ones(
    postgres_database: str, clock: ManualClock
) -> None:
    async with opened(postgres_database, clock) as store:
        before = await populate(store, CommandBuilder(clock), clock)
        async with connected(postgres_database) as older:
            migrated = await older.fetch("SELECT summary FROM sessions ORDER BY id")
            await older.execute("UPDATE sessions SET summary = ''")
            await older.execute(backfill("postgres"))
            again = await older.fetch("SELECT summary FROM sessions ORDER BY id")

    assert len(before) == len(migrated) == 3
    for new, old in zip(again, migrated, strict=True):
        assert list(json.loads(b"{%b}" % new["summary"]).items()) == list(json.loads(b"{%b}" % old["summary"]).items())
