"""How batches are written: with little work, beside other servers, and so that one bad command harms only itself."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from sessionary.errors import SessionaryError, SessionNotFoundError, StoreUnavailableError
from sessionary.server.store.base import Created, Deleted, Extended, Updated
from sessionary.server.store.postgres.connecting import connect
from sessionary.server.store.postgres.store import PostgresStore
from tests.conformance.builders import (
    CommandBuilder,
    ManualClock,
    apply_all,
    contents_of,
    create_session,
    delete,
    extend,
    key,
    metadata_of,
    read,
    session_in,
    update,
    user,
)
from tests.harness.proxy import Proxy
from tests.unit.server.store.postgres.stores import ask, begun, connected, eventually, opened

# What a client sends to have any statement run: a bind message, with its unnamed portal; and one by its name.
EXECUTE = b"E\0\0\0\x09\0"
WAITING = """
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND wait_event_type = 'Lock'
"""
TRANSACTIONS = "SELECT count(DISTINCT xmin::text) FROM message_blocks"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def build(clock: ManualClock) -> CommandBuilder:
    return CommandBuilder(clock)


@pytest.fixture
async def store(postgres_database: str, clock: ManualClock) -> AsyncIterator[PostgresStore]:
    async with opened(postgres_database, clock) as store:
        yield store


@pytest.fixture
async def other_server(
    store: PostgresStore, postgres_database: str, clock: ManualClock
) -> AsyncIterator[PostgresStore]:
    assert store is not None, "it comes second"
    async with opened(postgres_database, clock) as other:
        yield other


async def test_a_bad_command_fails_alone(store: PostgresStore, build: CommandBuilder) -> None:
    good = [build.create(user(f"number {number}")) for number in range(40)]
    poisoned = build.create(user_id="no\0NUL")
    outcomes = await apply_all(store, [*good[:23], poisoned, *good[23:]])
    assert [type(outcome) for outcome in outcomes] == [Created] * 23 + [StoreUnavailableError] + [Created] * 17
    for session in good:
        assert len(contents_of(await store.fetch(session.organisation, session.session_id))) == 1


async def test_a_bad_read_fails_alone(store: PostgresStore, build: CommandBuilder) -> None:
    good = await begun(store, build, 5)
    ids = [*(session.session_id for session in good), "no-uuid"]
    results = await asyncio.gather(*(store.fetch("demo", id_) for id_ in ids), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["Conversation"] * 5 + ["StoreUnavailableError"]


async def test_a_batch_that_meets_a_conflict_is_read_and_applied_again(
    store: PostgresStore, postgres_database: str, build: CommandBuilder
) -> None:
    session, bystander = await begun(store, build, 2)
    async with connected(postgres_database) as other:
        transaction = await _change_without_committing(other, session.session_id)
        applying = asyncio.gather(
            store.apply(update(session, user("hello"))), store.apply(update(bystander, user("hello")))
        )
        await eventually(lambda: ask(postgres_database, WAITING), "the batch waits for the other server")
        await transaction.commit()
    outcome, harmless = await applying
    assert isinstance(outcome, Updated)
    assert (outcome.version, outcome.total_messages) == (3, 1)
    assert isinstance(harmless, Updated)
    assert (harmless.version, harmless.total_messages) == (2, 1)


async def test_a_delete_that_meets_a_conflict_leaves_no_message_block(
    store: PostgresStore, other_server: PostgresStore, postgres_database: str, build: CommandBuilder
) -> None:
    for _ in range(10):
        session = await create_session(store, build.create(user("hello")))
        deleted, appended = await asyncio.gather(
            store.apply(delete(session)), other_server.apply(update(session, user("and more")))
        )
        assert isinstance(deleted, Deleted)
        assert isinstance(appended, Updated | SessionNotFoundError)
    assert await ask(postgres_database, "SELECT count(*) FROM message_blocks") == 0


async def test_writers_of_two_servers_append_to_one_session_without_loss(
    store: PostgresStore, other_server: PostgresStore, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create())

    async def write(server: PostgresStore, name: str) -> None:
        for number in range(10):
            outcome = await server.apply(update(session, user(f"{name} {number}"), tokens_used=1))
            assert isinstance(outcome, Updated)

    writers = [
        write(server, f"{place}{writer}") for place, server in enumerate((store, other_server)) for writer in "abcd"
    ]
    await asyncio.gather(*writers)
    conversation = await store.fetch(session.organisation, session.session_id)
    shown = session_in(conversation)
    assert (shown.total_messages, shown.total_tokens) == (80, 80)
    said = [str(content) for content in contents_of(conversation)]
    for name in {words.split()[0] for words in said}:
        assert [words for words in said if words.startswith(name)] == [f"{name} {number}" for number in range(10)]


async def test_a_key_that_another_server_used_first_gets_the_first_effect(
    store: PostgresStore, postgres_database: str, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create())
    twin = update(session, user("once"), idempotency_key=key("k"))
    assert isinstance(await store.apply(twin), Updated)
    async with connected(postgres_database) as other:
        row = await other.fetchrow("DELETE FROM keys RETURNING *")
        assert row is not None
        transaction = other.transaction()
        await transaction.start()
        marks = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await other.execute(f"INSERT INTO keys ({', '.join(row.keys())}) VALUES ({marks})", *row.values())
        applying = asyncio.create_task(store.apply(twin))
        await eventually(lambda: ask(postgres_database, WAITING), "the second waits for the first")
        await transaction.commit()
    outcome = await applying
    assert isinstance(outcome, Updated)
    assert (outcome.replayed, outcome.total_messages) == (True, 1)
    assert (await read(store, session)).total_messages == 1


async def test_the_same_keys_on_two_servers_at_once_have_one_effect_each(
    store: PostgresStore, other_server: PostgresStore, build: CommandBuilder
) -> None:
    sessions = await begun(store, build, 20)
    commands = [
        update(session, user("once"), idempotency_key=key(f"k{place}")) for place, session in enumerate(sessions)
    ]
    outcomes = await asyncio.gather(
        *(server.apply(command) for command in commands for server in (store, other_server))
    )
    replays = [outcome.replayed for outcome in outcomes if isinstance(outcome, Updated)]
    assert (len(replays), sum(replays)) == (40, 20)
    assert {(await read(store, session)).total_messages for session in sessions} == {1}


async def test_many_appends_at_once_take_a_handful_of_transactions(
    store: PostgresStore, postgres_database: str, build: CommandBuilder
) -> None:
    sessions = await begun(store, build, 64)
    await asyncio.gather(*(store.apply(update(session, user("hello"))) for session in sessions))
    assert await ask(postgres_database, TRANSACTIONS) <= 4


async def test_a_batch_of_appends_takes_two_statements_and_no_lock(
    postgres_database: str, clock: ManualClock, build: CommandBuilder
) -> None:
    async with Proxy(postgres_database) as proxy, opened(proxy.url, clock) as store:
        sessions = await begun(store, build, 10)
        await apply_all(store, [update(session, user("to prepare the statements")) for session in sessions])
        proxy.sent.clear()
        await apply_all(store, [update(session, user("hello")) for session in sessions])
        assert proxy.sent.count(EXECUTE) == 2
        proxy.sent.clear()
        await apply_all(store, [build.create(user("hello")) for _ in sessions])
        assert proxy.sent.count(EXECUTE) == 1


async def test_keys_and_preconditions_cost_no_statement_more(
    postgres_database: str, clock: ManualClock, build: CommandBuilder
) -> None:
    async with Proxy(postgres_database) as proxy, opened(proxy.url, clock) as store:
        sessions = await begun(store, build, 10)
        proxy.sent.clear()
        created = await apply_all(store, [build.create(idempotency_key=key(f"{number}")) for number in range(10)])
        assert proxy.sent.count(EXECUTE) == 1
        proxy.sent.clear()
        updated = await apply_all(
            store, [update(session, user(), idempotency_key=key("k"), if_version=1) for session in sessions[:1]]
        )
        assert proxy.sent.count(EXECUTE) == 2
        assert [type(outcome) for outcome in created + updated] == [Created] * 10 + [Updated]


async def test_appends_touch_no_index_of_the_sessions(
    store: PostgresStore, postgres_database: str, build: CommandBuilder
) -> None:
    sessions = await begun(store, build, 64)
    for _ in range(20):
        await asyncio.gather(
            *(store.apply(update(session, user("hello"), tokens_used=1)) for session in sessions[::2]),
            *(store.apply(extend(session)) for session in sessions[1::2]),
        )
    await store.close()  # a server process reports its counts at the latest when it ends

    async def counted() -> bool:
        return bool(await ask(postgres_database, _UPDATES) == 64 * 20)

    await eventually(counted, "all updates are counted")
    assert await ask(postgres_database, _HOT_UPDATES) >= 0.95 * 64 * 20


_UPDATES = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'sessions'"
_HOT_UPDATES = "SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sessions'"


async def test_metadata_that_no_command_names_is_neither_read_nor_lost(
    store: PostgresStore, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create(metadata={"large": "x" * 50_000}))
    outcomes = await apply_all(store, [update(session, user("hello")), extend(session), update(session, title="new")])
    assert [type(outcome) for outcome in outcomes] == [Updated, Extended, Updated]
    assert metadata_of(await read(store, session)) == {"large": "x" * 50_000}


@pytest.mark.parametrize(
    ("setting", "configured", "expected"),
    [
        ("synchronous_commit", "off", "on"),
        ("default_transaction_isolation", "serializable", "read committed"),
        ("plan_cache_mode", "force_custom_plan", "force_generic_plan"),
        ("enable_seqscan", "on", "off"),
    ],
)
async def test_what_correctness_and_speed_rest_on_holds_whatever_the_database_was_set_to(
    postgres_database: str, setting: str, configured: str, expected: str
) -> None:
    name = postgres_database.rpartition("/")[2]
    async with connected(postgres_database) as connection:
        await connection.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{configured}'")
    connection = await connect(postgres_database, 10.0)
    try:
        assert await connection.fetchval(f"SHOW {setting}") == expected
    finally:
        await connection.close()


async def _change_without_committing(
    connection: asyncpg.Connection, session_id: str
) -> asyncpg.transaction.Transaction:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("UPDATE sessions SET version = version + 1 WHERE id = $1", session_id)
    return transaction


async def test_without_an_audit_record_nothing_is_deleted_made_or_revoked(
    store: PostgresStore, postgres_database: str, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create(user("hello")))
    await store.create_token(build.token("t1"))
    async with connected(postgres_database) as other:
        await other.execute("ALTER TABLE audit ADD CHECK (actor = 'nobody') NOT VALID")

    outcome = await store.apply(delete(session))
    for deed in (store.create_token(build.token("t2")), store.revoke_token("t1")):
        with pytest.raises(SessionaryError):
            await deed

    assert isinstance(outcome, SessionaryError)
    assert contents_of(await store.fetch("demo", session.session_id)) == ["hello"]
    assert await store.find_token("t2") is None
    kept = await store.find_token("t1")
    assert kept is not None
    assert kept.revoked_at is None
