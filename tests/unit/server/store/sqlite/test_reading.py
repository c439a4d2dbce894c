"""How much work SQLite has: counted, not timed, so that these tests never flicker."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from sessionary.server.store.base import ListQuery, Window
from sessionary.server.store.queries import read_queries
from sessionary.server.store.sqlite.connections import close, connect
from sessionary.server.store.sqlite.migrations import migrate
from sessionary.server.store.sqlite.reading import Reader
from sessionary.server.store.sqlite.store import SqliteStore
from tests.conformance.builders import (
    START_TIME,
    CommandBuilder,
    ManualClock,
    apply_all,
    apply_update,
    create_session,
    key,
    update,
    user,
)

INDEXES = {
    "read_sessions": {"sessions PRIMARY KEY"},
    "read_keys": {"keys PRIMARY KEY"},
    "delete_blocks": {"message_blocks PRIMARY KEY"},
    "delete_sessions": {"sessions PRIMARY KEY"},
    "insert_sessions": set[str](),
    "update_sessions": {"sessions PRIMARY KEY"},
    "update_models": {"sessions PRIMARY KEY"},
    "insert_blocks": set[str](),
    "insert_keys": set[str](),
    "fetch_sessions": {"sessions PRIMARY KEY", "message_blocks PRIMARY KEY"},
    "fetch_blocks": {"message_blocks PRIMARY KEY"},
    "list_sessions": {"sessions PRIMARY KEY"},
    "list_sessions_by_user": {"sessions_by_user"},
    "list_sessions_by_group": {"sessions_by_group"},
    "list_sessions_by_model": {"sessions_by_model"},
    "sweep_due": {"sessions_to_sweep"},
    "sweep_later": {"sessions PRIMARY KEY"},
    "sweep_keys": {"keys_to_sweep", "keys PRIMARY KEY"},
    "insert_audit": set[str](),
    "list_audit": {"rowid"},
    "sweep_audit": {"audit_to_sweep", "rowid"},
    "measure_usage": {"sessions PRIMARY KEY"},
    "insert_token": set[str](),
    "find_tokens": {"tokens PRIMARY KEY"},
    "list_tokens": {"tokens PRIMARY KEY"},
    "revoke_token": {"tokens PRIMARY KEY"},
    "use_tokens": {"tokens PRIMARY KEY"},
}
FILTERS: tuple[dict[str, Any], ...] = ({}, {"user_id": "ada"}, {"session_group": "web"}, {"model": "large"})
FRAME_BYTES = 24 + 4096
WAL_HEADER_BYTES = 32


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def build(clock: ManualClock) -> CommandBuilder:
    return CommandBuilder(clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "store.db"
    migrate(file, START_TIME)
    return file


@pytest.fixture
async def store(path: Path, clock: ManualClock) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path, clock, 10.0)
    yield store
    await store.close()


def commits_in_log(path: Path) -> int:
    """Count the transactions in the write-ahead log: the last frame of each says how large the file is then."""
    log = path.with_name(f"{path.name}-wal").read_bytes()
    salts = log[16:24]
    frames = [log[place : place + 24] for place in range(WAL_HEADER_BYTES, len(log), FRAME_BYTES)]
    return sum(frame[8:16] == salts and frame[4:8] != bytes(4) for frame in frames)


async def test_many_appends_at_once_take_a_handful_of_transactions(
    store: SqliteStore, path: Path, build: CommandBuilder
) -> None:
    sessions = [build.create() for _ in range(64)]
    await apply_all(store, sessions)
    before = commits_in_log(path)

    await asyncio.gather(*(store.apply(update(session, user("hello"))) for session in sessions))

    assert 1 <= commits_in_log(path) - before <= 4


async def test_a_key_costs_no_further_transaction(store: SqliteStore, path: Path, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    before = commits_in_log(path)

    await apply_update(store, update(session, user("hello"), idempotency_key=key("k")))

    assert commits_in_log(path) - before == 1


async def test_a_read_is_one_statement_and_one_of_a_window_two(
    store: SqliteStore, path: Path, clock: ManualClock, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create(user("one"), user("two")))
    connection = connect(path, busy_seconds=0)
    reader = Reader(connection, clock)
    statements: list[str] = []
    connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: statements.append(event["sql"]))

    reader.fetch_whole(session.organisation, session.session_id, None)
    whole = len(statements)
    reader.fetch_whole(session.organisation, session.session_id, Window(limit=1))

    assert whole == 1
    assert [sql.split()[0] for sql in statements[whole:] if "SELECT" not in sql] == ["BEGIN", "COMMIT"]
    assert len([sql for sql in statements[whole:] if "SELECT" in sql]) == 2
    close(connection)


async def test_no_statement_is_prepared_twice(
    store: SqliteStore, path: Path, clock: ManualClock, build: CommandBuilder
) -> None:
    sessions = [build.create(user("hello"), session_group="web", model="large") for _ in range(3)]
    await apply_all(store, sessions)
    connection = connect(path, busy_seconds=0)
    reader = Reader(connection, clock)
    prepared: list[int] = []
    connection.trace_v2(
        apsw.SQLITE_TRACE_PROFILE, lambda event: prepared.append(event["stmt_status"]["SQLITE_STMTSTATUS_REPREPARE"])
    )

    for session in sessions:
        reader.fetch_whole(session.organisation, session.session_id, None)
        reader.fetch_whole(session.organisation, session.session_id, Window(limit=1))
        for filters in FILTERS:
            reader.list_sessions(ListQuery(organisation="demo", limit=10, after=session.session_id, **filters))

    assert len(prepared) >= 3 * 6
    assert set(prepared) == {0}
    close(connection)


@pytest.mark.parametrize("statistics", ["none", "fresh", "stale"])
async def test_every_statement_finds_its_rows_by_an_index_and_sorts_nothing(
    store: SqliteStore, path: Path, build: CommandBuilder, statistics: str
) -> None:
    connection = connect(path, busy_seconds=0)
    if statistics == "stale":
        await store.apply(build.create(user("hello"), session_group="web", model="large"))
        connection.execute("ANALYZE")
    users = [f"user-{number % 7}" for number in range(300)]
    await apply_all(store, [build.create(user("x"), user_id=name, session_group=name, model=name) for name in users])
    if statistics == "fresh":
        connection.execute("ANALYZE")
    close(connection)
    connection = connect(path, busy_seconds=0)

    for name, indexes in INDEXES.items():
        steps = [str(row[3]) for row in explained(connection, "EXPLAIN QUERY PLAN", name)]
        found = {index_in(step) for step in steps if step.startswith("SEARCH")}
        assert found == indexes, (name, steps)
        assert not [step for step in steps if "TEMP B-TREE" in step or _scans_table(step)], (name, steps)
    close(connection)


def test_every_statement_is_in_the_table_above() -> None:
    assert set(read_queries("sqlite")) == set(INDEXES) | {"ping"}


def test_an_update_touches_no_index(path: Path) -> None:
    connection = connect(path, busy_seconds=0)
    program = explained(connection, "EXPLAIN", "update_sessions")
    close(connection)
    written = {row[5] for row in program if row[1] in {"Insert", "Delete"}}
    assert written == {"sessions"}
    assert not [row for row in program if row[1] in {"IdxInsert", "IdxDelete"}]


async def test_stored_messages_are_not_decoded_by_a_read_without_a_window(
    store: SqliteStore, path: Path, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create(user("hello")))
    other = apsw.Connection(str(path))
    other.execute("UPDATE message_blocks SET body = CAST('no JSON at all' AS BLOB)")
    other.execute("UPDATE sessions SET summary = CAST('nor this' AS BLOB), metadata = CAST('nor that' AS BLOB)")
    other.close()

    shown = await store.fetch(session.organisation, session.session_id)
    page = await store.list_sessions(ListQuery(organisation="demo", limit=1))

    assert (shown.messages, shown.summary, shown.metadata) == (b"no JSON at all", b"nor this", b"nor that")
    assert page.sessions == b'{nor this,"metadata":nor that}'


def explained(connection: apsw.Connection, how: str, name: str) -> list[tuple[Any, ...]]:
    """Ask for the plan of a statement."""
    sql = read_queries("sqlite")[name]
    return connection.execute(f"{how} {sql}", dict.fromkeys(re.findall(r":(\w+)", sql))).fetchall()


def index_in(step: str) -> str:
    """Name the index a step of a plan searches by."""
    if "INTEGER PRIMARY KEY" in step:
        return "rowid"
    if "sqlite_autoindex_" in step:
        return f"{step.split('sqlite_autoindex_')[1].split(' ', maxsplit=1)[0].rpartition('_')[0]} PRIMARY KEY"
    return step.split("INDEX ")[1].split(" ", maxsplit=1)[0]


def _scans_table(step: str) -> bool:
    # A subquery's own rows are what was found before: few, or a page.
    return step.startswith("SCAN") and step not in {"SCAN t", "SCAN p", "SCAN CONSTANT ROW"}
