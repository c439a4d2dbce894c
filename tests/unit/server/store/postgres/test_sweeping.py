"""Sweeping beside other servers that sweep, and beside writers."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sessionary.constants import MESSAGES_PER_SESSION_MAX
from sessionary.server.store.base import Extended
from sessionary.server.store.postgres.store import PostgresStore
from tests.conformance.builders import HOUR, CommandBuilder, ManualClock, apply_all, extend, sweep_all, user
from tests.unit.server.store.postgres.stores import ask, begun, connected, opened

SESSIONS = "SELECT count(*) FROM sessions"
BLOCKS = "SELECT count(*) FROM message_blocks"
DUE = "SELECT count(*) FROM sessions WHERE sweep_after <= $1"


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


async def test_two_sweepers_at_once_remove_everything_once(
    store: PostgresStore, postgres_database: str, clock: ManualClock, build: CommandBuilder
) -> None:
    await apply_all(store, [build.create(user("hello")) for _ in range(300)])
    clock.move(2 * HOUR)
    async with opened(postgres_database, clock) as other:
        removed = await asyncio.gather(*(sweep_all(server, limit=20) for server in (store, other)))
    assert sum(removed) + await sweep_all(store) == 300
    assert await ask(postgres_database, SESSIONS) == 0
    assert await ask(postgres_database, BLOCKS) == 0


async def test_a_sweep_passes_by_what_another_transaction_holds(
    store: PostgresStore, postgres_database: str, clock: ManualClock, build: CommandBuilder
) -> None:
    sessions = await begun(store, build, 10)
    clock.move(2 * HOUR)
    async with connected(postgres_database) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT * FROM sessions WHERE id = $1 FOR UPDATE", sessions[3].session_id)
        assert await sweep_all(store) == 9
        await transaction.rollback()
    assert await sweep_all(store) == 1


async def test_what_is_reached_alive_is_due_again_when_it_expires(
    store: PostgresStore, postgres_database: str, clock: ManualClock, build: CommandBuilder
) -> None:
    sessions = await begun(store, build, 10)
    extended = await apply_all(store, [extend(session, minutes=600) for session in sessions[:4]])
    assert all(isinstance(outcome, Extended) for outcome in extended)
    clock.move(2 * HOUR)
    assert await sweep_all(store) == 6
    assert await ask(postgres_database, DUE, clock.now) == 0
    clock.move(10 * HOUR)
    assert await sweep_all(store) == 4


async def test_one_sweep_removes_a_bounded_number_of_messages(
    store: PostgresStore, postgres_database: str, clock: ManualClock, build: CommandBuilder
) -> None:
    await begun(store, build, 5)
    async with connected(postgres_database) as other:
        await other.execute("UPDATE sessions SET total_messages = $1", MESSAGES_PER_SESSION_MAX)
    clock.move(2 * HOUR)
    for left in (4, 3, 2, 1):
        swept = await store.sweep(100)
        assert (swept.removed, swept.more) == (1, True)
        assert await ask(postgres_database, SESSIONS) == left
    swept = await store.sweep(100)
    assert (swept.removed, swept.more) == (1, False)
