"""Somebody else's locks: they cost those who need what is locked, and nobody else."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.base import Create, Created, Update, Updated
from sessionary.server.store.postgres.store import PostgresStore
from tests.conformance.builders import (
    DAY,
    CommandBuilder,
    ManualClock,
    apply_all,
    contents_of,
    create_session,
    key,
    read,
    update,
    user,
)
from tests.unit.server.store.postgres.stores import ask, begun, connected, eventually, opened, row_lock

WAITING = """
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND wait_event_type = 'Lock'
"""


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


async def test_a_locked_session_delays_only_its_own_callers(
    store: PostgresStore, postgres_database: str, build: CommandBuilder
) -> None:
    held, *free = await begun(store, build, 6)
    other = build.create(user("hello"), organisation="other")
    async with row_lock(postgres_database, held.session_id):
        waiting = asyncio.create_task(store.apply(update(held, user("late"))))
        for _ in range(3):
            answers = await asyncio.gather(
                *(store.apply(update(session, user("in time"))) for session in free),
                store.apply(other if _ == 0 else update(other, user("again"))),
            )
            assert {type(outcome) for outcome in answers} <= {Updated, Created}
        assert not waiting.done()
    outcome = await waiting
    assert isinstance(outcome, Updated), "it waited for the lock and got it"
    assert contents_of(await store.fetch("demo", held.session_id)) == ["late"]


async def test_a_command_that_waits_too_long_for_a_lock_reports_that_nothing_changed(
    postgres_database: str, clock: ManualClock, build: CommandBuilder
) -> None:
    async with opened(postgres_database, clock, seconds_max=4.0) as store:
        held, free = await begun(store, build, 2)
        async with row_lock(postgres_database, held.session_id):
            late, served = await asyncio.gather(
                store.apply(update(held, user("late"))), store.apply(update(free, user("in time")))
            )
        assert isinstance(served, Updated)
        assert isinstance(late, StoreUnavailableError)
        assert late.unchanged
        assert "lock" in late.reason
        assert contents_of(await store.fetch("demo", held.session_id)) == []


async def test_commands_of_a_locked_session_keep_their_order(
    store: PostgresStore, postgres_database: str, build: CommandBuilder
) -> None:
    (held,) = await begun(store, build, 1)
    async with row_lock(postgres_database, held.session_id):
        applying = asyncio.create_task(apply_all(store, [update(held, user(f"number {n}")) for n in range(4)]))
        await asyncio.sleep(0.3)
    assert all(isinstance(outcome, Updated) for outcome in await applying)
    assert contents_of(await store.fetch("demo", held.session_id)) == [f"number {n}" for n in range(4)]


async def test_what_is_split_beside_a_lock_is_applied_once(
    store: PostgresStore, postgres_database: str, build: CommandBuilder
) -> None:
    held, *free = await begun(store, build, 7)
    poisoned = build.create(user_id="no\0NUL")
    async with row_lock(postgres_database, held.session_id):
        appends = [update(session, user("once")) for session in free]
        applying = asyncio.create_task(
            apply_all(store, [*appends[:3], update(held, user("late")), poisoned, *appends[3:]])
        )

        async def applied() -> bool:
            return bool(await ask(postgres_database, "SELECT count(*) FROM message_blocks") == len(free))

        await eventually(applied, "all that is free is applied")
    outcomes = await applying
    assert [type(outcome) for outcome in outcomes] == [Updated] * 4 + [StoreUnavailableError] + [Updated] * 3
    assert await ask(postgres_database, "SELECT count(*) FROM message_blocks") == len(free) + 1


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "SHARE"])
async def test_a_locked_table_is_refused_with_a_reason_and_changes_nothing(
    postgres_database: str, clock: ManualClock, build: CommandBuilder, mode: str
) -> None:
    async with opened(postgres_database, clock, seconds_max=4.0) as store:
        (session,) = await begun(store, build, 1)
        async with connected(postgres_database) as other, other.transaction():
            await other.execute(f"LOCK TABLE sessions IN {mode} MODE")
            outcome = await store.apply(update(session, user("late")))
        assert isinstance(outcome, StoreUnavailableError)
        assert outcome.unchanged
        assert "table" in outcome.reason
        outcome = await store.apply(update(session, user("again")))
        assert isinstance(outcome, Updated)
        assert outcome.total_messages == 1


async def test_an_expired_key_used_again_at_two_servers_has_one_effect(
    store: PostgresStore, postgres_database: str, clock: ManualClock, build: CommandBuilder
) -> None:
    async with opened(postgres_database, clock) as other:
        for number in range(5):
            session = await create_session(store, build.create(minutes=3 * 1440))
            twin = update(session, user("once"), idempotency_key=key(f"k{number}"))
            assert isinstance(await store.apply(twin), Updated)
            clock.move(DAY + 1)
            outcomes = await asyncio.gather(*(server.apply(twin) for _ in range(32) for server in (store, other)))
            replays = [outcome.replayed for outcome in outcomes if isinstance(outcome, Updated)]
            assert (len(replays), sum(replays)) == (64, 63)
            assert (await read(store, session)).total_messages == 2


@pytest.mark.parametrize("kind", ["update", "create"])
async def test_a_key_renewed_between_read_and_write_is_not_replaced(
    store: PostgresStore, postgres_database: str, clock: ManualClock, build: CommandBuilder, kind: str
) -> None:
    session = await create_session(store, build.create(minutes=3 * 1440))
    twin: Create | Update = (
        update(session, user("once"), idempotency_key=key("k"))
        if kind == "update"
        else build.create(idempotency_key=key("k"))
    )
    await store.apply(twin)
    clock.move(DAY + 1)
    async with connected(postgres_database) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("UPDATE keys SET expires_at = $1", clock() + DAY)
        applying = asyncio.create_task(store.apply(twin))
        await eventually(lambda: ask(postgres_database, WAITING), "it waits for the other server's key")
        await transaction.commit()
    outcome = await applying
    assert isinstance(outcome, Updated | Created)
    assert outcome.replayed


async def test_a_sweep_leaves_a_key_that_is_being_renewed(
    store: PostgresStore, postgres_database: str, clock: ManualClock, build: CommandBuilder
) -> None:
    await store.apply(build.create(idempotency_key=key("k")))
    clock.move(DAY + 1)
    async with connected(postgres_database) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("UPDATE keys SET expires_at = $1", clock() + DAY)
        await store.sweep(10)
        await transaction.commit()
    await store.sweep(10)
    assert await ask(postgres_database, "SELECT count(*) FROM keys") == 1
