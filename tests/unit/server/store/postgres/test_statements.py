"""What the planner makes of the statements: one index each, whatever the statistics say."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import asyncpg
import pytest

from sessionary.server.store.migrate import newest_migration
from sessionary.server.store.postgres.connecting import connect
from sessionary.server.store.postgres.statements import read_statements
from tests.conformance.builders import (
    CommandBuilder,
    ManualClock,
    apply_all,
    apply_update,
    create_session,
    update,
    user,
)
from tests.unit.server.store.postgres.stores import ask, connected, eventually, opened

# Every table a statement reads, and the index by which it finds the rows; the migrations come on top where it asks
# whether a newer program has changed the schema.
INDEXES: Mapping[str, set[str]] = {
    "read_batch": {"sessions_pkey", "keys_pkey"},
    "find_unlocked_sessions": {"sessions_pkey"},
    "delete_blocks": {"message_blocks_pkey"},
    "delete_sessions": {"sessions_pkey"},
    "insert_sessions": set(),
    "update_sessions": {"sessions_pkey"},
    "insert_blocks": set(),
    "insert_keys": set(),
    "write_batch": {"sessions_pkey", "message_blocks_pkey"},
    "fetch_sessions": {"sessions_pkey", "message_blocks_pkey"},
    "fetch_blocks": {"message_blocks_pkey"},
    "list_sessions": {"sessions_pkey"},
    "list_sessions_by_user": {"sessions_by_user"},
    "list_sessions_by_group": {"sessions_by_group"},
    "list_sessions_by_model": {"sessions_by_model"},
    "measure_usage": {"sessions_pkey"},
    "sweep_due": {"sessions_to_sweep"},
    "sweep_later": {"sessions_pkey"},
    "sweep_keys": {"keys_to_sweep", "keys_pkey"},
    "insert_audit": set(),
    "list_audit": {"audit_pkey"},
    "sweep_audit": {"audit_to_sweep", "audit_pkey"},
    "insert_token": set(),
    "find_tokens": {"tokens_pkey"},
    "list_tokens": {"tokens_pkey"},
    "revoke_token": {"tokens_pkey"},
    "use_tokens": {"tokens_pkey"},
}
INDEX_SCANS = {"Index Scan", "Index Only Scan"}
HARMLESS = {
    "Aggregate",
    "CTE Scan",
    "Function Scan",
    "Limit",
    "LockRows",
    "ModifyTable",
    "Nested Loop",
    "Result",
    "Subquery Scan",
}

SESSIONS = """
INSERT INTO sessions (
    organisation, id, user_id, session_group, model, status, user_spoke, total_messages, total_tokens, total_bytes,
    created_at, updated_at, expires_at, sweep_after, version, metadata
)
SELECT 'o' || n % $1::integer, md5(n::text)::uuid, 'u' || n % $2::integer, 'g' || n % $2::integer,
       'm' || n % $2::integer, 'active', true, 2, 0, 100, n, n, n, n, 1, '{}'
FROM generate_series(1, $3::integer) AS n
"""
BLOCKS = """
INSERT INTO message_blocks (organisation, session_id, first, count, tokens, format, created_at, body)
SELECT s.organisation, s.id, 0, 2, 0, 1, s.created_at, repeat('x', 100)::bytea
FROM sessions AS s
"""
KEYS = """
INSERT INTO keys (organisation, principal, command, key, fingerprint, effect, expires_at)
SELECT s.organisation, 'p', 'create', s.id::text, '', '', s.created_at
FROM sessions AS s
"""
ROWS_LOOKED_AT = "SELECT sum(idx_tup_fetch) FROM pg_stat_user_tables WHERE relname IN ('sessions', 'message_blocks')"
UPDATES = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'sessions'"


@pytest.fixture
async def migrated(postgres_database: str) -> str:
    async with opened(postgres_database):
        return postgres_database


async def test_every_statement_of_an_empty_database_is_planned_as_for_a_full_one(migrated: str) -> None:
    await _assert_planned_well(migrated)


async def test_every_statement_finds_its_rows_by_an_index_with_fresh_statistics(migrated: str) -> None:
    await _fill(migrated, organisations=20, users=100, sessions=5_000)
    await _run(migrated, "ANALYZE")
    await _assert_planned_well(migrated)


@pytest.mark.parametrize("sessions_known", [0, 5, 2_000])
async def test_every_statement_finds_its_rows_by_an_index_with_stale_statistics(
    migrated: str, sessions_known: int
) -> None:
    """Where only one user's sessions were known, an index by user seems to say nothing."""
    await _run(migrated, "ALTER TABLE sessions SET (autovacuum_enabled = off)")
    await _fill(migrated, organisations=1, users=1, sessions=sessions_known)
    await _run(migrated, "VACUUM ANALYZE")
    await _run(migrated, "TRUNCATE sessions, message_blocks, keys")
    await _fill(migrated, organisations=20, users=100, sessions=5_000)
    await _assert_planned_well(migrated)


async def test_a_list_reads_the_index_to_the_row_and_no_further(migrated: str) -> None:
    await _fill(migrated, organisations=1, users=100, sessions=5_000)
    nothing: list[None] = [None]
    arguments: dict[str, object] = {
        "organisation": ["o0"],
        "user_id": ["u7"],
        "after": ["f" * 32],
        "now": 0,
        "limit": [20],
        "offset": [0],
    }
    arguments["program"] = newest_migration("postgres")
    connection = await connect(migrated, 10.0)
    try:
        statement = read_statements()["list_sessions_by_user"]
        values = [arguments.get(parameter, nothing) for parameter in statement.parameters]
        (plan,) = await (await connection.prepare(statement.sql)).explain(*values, analyze=True)
    finally:
        await connection.close()
    (scan,) = [node for node in _nodes(plan["Plan"]) if node.get("Index Name") == "sessions_by_user"]
    assert scan["Actual Rows"] == 20
    assert scan.get("Rows Removed by Filter", 0) == 0


async def test_plans_made_while_there_was_nothing_do_not_last(migrated: str) -> None:
    """Of a table known to be empty the planner reads everything: that must end long before it is large."""
    await _run(migrated, "ALTER TABLE sessions SET (autovacuum_enabled = off)")
    await _run(migrated, "VACUUM ANALYZE")
    clock = ManualClock()
    build = CommandBuilder(clock)
    async with opened(migrated, clock) as store:
        session = await create_session(store, build.create(user("hello")))
        await apply_update(store, update(session, user("hello")))
        await store.fetch(session.organisation, session.session_id)
        sessions = [build.create(user("hello")) for _ in range(2_000)]
        for start in range(0, len(sessions), 100):
            await apply_all(store, sessions[start : start + 100])
        for _ in range(20):
            await apply_update(store, update(session, user("again")))

        for each in sessions[:20]:
            await apply_update(store, update(each, user("again")))
            await store.fetch(each.organisation, each.session_id)
        await store.close()  # a server process reports its counts at the latest when it ends

    async def is_counted() -> bool:
        return bool(await ask(migrated, UPDATES) == 41)

    await eventually(is_counted, "what was read is counted")
    assert await ask(migrated, ROWS_LOOKED_AT) < 20_000


def test_every_statement_is_in_the_table_above() -> None:
    assert set(read_statements()) == set(INDEXES) | {"ping", "can_write", "try_write"}


async def _assert_planned_well(url: str) -> None:
    connection = await connect(url, 10.0)
    try:
        for name, indexes in INDEXES.items():
            nodes = list(_nodes(await _plan(connection, name)))
            kinds = {node["Node Type"] for node in nodes}
            assert kinds <= INDEX_SCANS | HARMLESS, name
            migration_indexes = (
                {"schema_migrations_serves_from"} if "program" in read_statements()[name].parameters else set()
            )
            assert {node["Index Name"] for node in nodes if "Index Name" in node} == indexes | migration_indexes, name
    finally:
        await connection.close()


async def _plan(connection: asyncpg.Connection, name: str) -> dict[str, Any]:
    statement = read_statements()[name]
    prepared = await connection.prepare(statement.sql, name=name)
    nulls = f"({', '.join('NULL' for _ in statement.parameters)})" if statement.parameters else ""
    (plan,) = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT json) EXECUTE {prepared.get_name()}{nulls}"))
    found = plan["Plan"]
    assert isinstance(found, dict)
    return found


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


async def _fill(url: str, *, organisations: int, users: int, sessions: int) -> None:
    async with connected(url) as connection:
        await connection.execute(SESSIONS, organisations, users, sessions)
        await connection.execute(BLOCKS)
        await connection.execute(KEYS)


async def _run(url: str, command: str) -> None:
    async with connected(url) as connection:
        await connection.execute(command)
