"""What becomes of a command when the connection, the server or the network fails under it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from sessionary.errors import StoreUnavailableError, UnavailableError
from sessionary.server.store.base import Created, ListQuery, Updated
from sessionary.server.store.postgres.store import PostgresStore
from tests.conformance.builders import (
    CommandBuilder,
    ManualClock,
    contents_of,
    create_session,
    list_query,
    listed,
    update,
    user,
)
from tests.harness.postgres import PostgresServer
from tests.harness.proxy import Cut, Proxy
from tests.harness.waiting import Deadline
from tests.unit.server.store.postgres.stores import ask, begun, connected, eventually, opened, row_lock

# The names of statements as a client sends them to have them run (not as it sends them to have them prepared).
READ_BATCH = b"\0read_batch\0"
WRITE_BATCH = b"\0write_batch\0"
FIND_UNLOCKED = b"\0find_unlocked_sessions\0"
FETCH_SESSIONS = b"\0fetch_sessions\0"
COMMIT = b"COMMIT\0"

_FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
SHUTTING_DOWN = b"E" + (len(_FIELDS) + 4).to_bytes(4) + _FIELDS

BUSY = """
SELECT count(*)
FROM pg_stat_activity
WHERE application_name = 'sessionary' AND datname = current_database() AND state NOT IN ('idle')
"""
CONNECTIONS = """
SELECT count(*)
FROM pg_stat_activity
WHERE application_name = 'sessionary' AND datname = current_database()
"""
WAITING = f"{BUSY} AND wait_event_type = 'Lock'"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def build(clock: ManualClock) -> CommandBuilder:
    return CommandBuilder(clock)


@pytest.fixture
async def proxy(postgres_database: str) -> AsyncIterator[Proxy]:
    async with Proxy(postgres_database) as proxy:
        yield proxy


@pytest.fixture
async def store(postgres_database: str, proxy: Proxy, clock: ManualClock) -> AsyncIterator[PostgresStore]:
    async with opened(postgres_database):
        pass  # only to migrate, past the proxy
    async with opened(proxy.url, clock) as store:
        yield store


async def test_a_connection_lost_before_anything_was_written_is_replaced(
    store: PostgresStore, proxy: Proxy, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create())
    proxy.cut_at(READ_BATCH, "before")
    outcome = await store.apply(update(session, user("hello")))
    assert proxy.has_cut
    assert isinstance(outcome, Updated)
    assert outcome.total_messages == 1


async def test_a_connection_lost_while_locks_are_looked_for_is_replaced(
    store: PostgresStore, proxy: Proxy, postgres_database: str, build: CommandBuilder
) -> None:
    held, session = await begun(store, build, 2)
    async with row_lock(postgres_database, held.session_id):
        proxy.cut_at(FIND_UNLOCKED, "before")
        other = asyncio.create_task(store.apply(update(held, user("late"))))
        outcome = await store.apply(update(session, user("hello")))
        assert proxy.has_cut
    assert isinstance(outcome, Updated)
    assert outcome.total_messages == 1
    await other


@pytest.mark.parametrize(("when", "written"), [("before", 0), ("after", 1)])
async def test_a_write_whose_response_was_lost_is_never_repeated(
    store: PostgresStore, proxy: Proxy, build: CommandBuilder, when: Cut, written: int
) -> None:
    session = await create_session(store, build.create())
    proxy.cut_at(WRITE_BATCH, when)
    outcome = await store.apply(update(session, user("hello")))
    assert proxy.has_cut
    assert _unavailable(outcome)
    assert len(contents_of(await store.fetch(session.organisation, session.session_id))) == written


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_whose_response_was_lost_is_never_repeated(
    store: PostgresStore, proxy: Proxy, build: CommandBuilder, when: Cut
) -> None:
    lost, session = await begun(store, build, 2)
    proxy.cut_at(WRITE_BATCH, "before")
    assert _unavailable(await store.apply(update(lost, user("hello"))))
    # After a write of unknown outcome the next ones are transactions of several statements.
    proxy.cut_at(COMMIT, when)
    outcome = await store.apply(update(session, user("hello")))
    assert proxy.has_cut
    assert isinstance(outcome, StoreUnavailableError)
    assert not outcome.unchanged
    outcome = await store.apply(update(session, user("another")))
    assert isinstance(outcome, Updated)
    assert outcome.total_messages == {"before": 1, "after": 2}[when]


async def test_a_read_on_a_lost_connection_is_read_on_another(
    store: PostgresStore, proxy: Proxy, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create(user("hello")))
    proxy.cut_at(FETCH_SESSIONS, "after")
    assert contents_of(await store.fetch(session.organisation, session.session_id)) == ["hello"]
    assert proxy.has_cut


async def test_every_call_into_a_black_hole_ends_in_time_and_leaves_nothing_behind(
    postgres_database: str, proxy: Proxy, build: CommandBuilder, clock: ManualClock
) -> None:
    async with opened(postgres_database, clock) as direct:
        session = await create_session(direct, build.create(user("hello")))
    async with opened(proxy.url, clock, seconds_max=1.0) as store:
        tasks = len(asyncio.all_tasks())
        calls = {
            "apply": lambda: store.apply(update(session, user("lost"))),
            "fetch": lambda: store.fetch(session.organisation, session.session_id),
            "list": lambda: store.list_sessions(ListQuery(organisation="demo", limit=1)),
            "sweep": lambda: store.sweep(1),
            "find_token": lambda: store.find_token("t"),
            "ready": store.ready,
        }
        with proxy.black_hole():
            deadline = Deadline(5.0)
            for _ in range(2):  # with the connections there were, and while new ones are tried
                results = await asyncio.gather(*(call() for call in calls.values()), return_exceptions=True)
                assert all(map(_unavailable, results))
            deadline.check("twelve calls of a second at most, six at a time")
        deadline = Deadline(2.0)
        outcome = await store.apply(update(session, user("found")))
        assert isinstance(outcome, Updated)
        await asyncio.gather(*(call() for call in calls.values()))
        deadline.check("serving again")
        await eventually(lambda: _true(len(asyncio.all_tasks()) <= tasks + 1), "no task is left behind")
    await eventually(lambda: _is_zero(postgres_database, CONNECTIONS), "no connection is left behind")


async def test_a_silent_database_keeps_neither_readiness_nor_the_end_waiting(
    postgres_18_database: str, clock: ManualClock
) -> None:
    async with Proxy(postgres_18_database) as proxy, opened(proxy.url, clock, seconds_max=20.0) as store:
        with proxy.black_hole():
            deadline = Deadline(2.0)
            with pytest.raises(StoreUnavailableError):
                await store.ready()
            deadline.check("saying that it is not ready")
    async with Proxy(postgres_18_database) as proxy, opened(proxy.url, clock, seconds_max=20.0) as store:
        with proxy.black_hole():
            deadline = Deadline(3.0)
            await store.close()
            deadline.check("closing")


async def test_a_command_that_waits_too_long_for_a_lock_leaves_no_transaction_open(
    postgres_database: str, build: CommandBuilder, clock: ManualClock
) -> None:
    async with opened(postgres_database, clock, seconds_max=1.0) as store, connected(postgres_database) as other:
        session, free = await begun(store, build, 2)
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT * FROM sessions WHERE id = $1 FOR UPDATE", session.session_id)
        assert _unavailable(await store.apply(update(session, user("late"))))
        await eventually(lambda: _is_zero(postgres_database, BUSY), "no transaction is left open")
        outcome = await store.apply(update(free, user("in time")))
        assert isinstance(outcome, Updated)
        await transaction.rollback()
        assert contents_of(await store.fetch(session.organisation, session.session_id)) == []


async def test_a_caller_that_gives_up_does_not_affect_others(store: PostgresStore, build: CommandBuilder) -> None:
    sessions = await begun(store, build, 4)
    callers = [asyncio.create_task(store.apply(update(session, user("hello")))) for session in sessions]
    await asyncio.sleep(0)
    callers[0].cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(result, Updated) for result in results[1:])


async def test_the_server_may_be_killed_and_come_back(clock: ManualClock, build: CommandBuilder) -> None:
    with PostgresServer(18) as server:
        async with opened(server.url(), clock, seconds_max=2.0) as store:
            session = await create_session(store, build.create())
            server.kill9()
            assert _unavailable(await store.apply(update(session, user("lost"))))
            with pytest.raises(StoreUnavailableError):
                await store.fetch(session.organisation, session.session_id)
            with pytest.raises(StoreUnavailableError):
                await store.ready()
            server.start()
            deadline = Deadline(2.0)
            await store.ready()
            outcome = await store.apply(update(session, user("kept")))
            assert contents_of(await store.fetch(session.organisation, session.session_id)) == ["kept"]
            deadline.check("serving again")
            assert isinstance(outcome, Updated)


async def test_connections_an_operator_ends_are_replaced_without_an_error(
    postgres_database: str, build: CommandBuilder, clock: ManualClock
) -> None:
    async with opened(postgres_database, clock) as store:
        session = await create_session(store, build.create())
        await ask(
            postgres_database,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name = 'sessionary' AND datname = current_database()",
        )
        outcome = await store.apply(update(session, user("hello")))
        assert isinstance(outcome, Updated)
        assert contents_of(await store.fetch(session.organisation, session.session_id)) == ["hello"]
        await store.ready()


async def test_connections_that_are_being_terminated_are_replaced(
    store: PostgresStore, proxy: Proxy, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create())
    proxy.tell_clients(SHUTTING_DOWN)
    outcome = await store.apply(update(session, user("hello")))
    assert isinstance(outcome, Updated)
    assert contents_of(await store.fetch(session.organisation, session.session_id)) == ["hello"]


@pytest.mark.parametrize("death", ["dropped by the network", "terminated"])
async def test_a_creation_on_a_connection_that_died_in_silence_is_not_lost(
    store: PostgresStore, proxy: Proxy, build: CommandBuilder, death: str
) -> None:
    await create_session(store, build.create())
    await asyncio.sleep(0.3)
    if death == "terminated":
        proxy.tell_clients(SHUTTING_DOWN)
    else:
        proxy.forget_clients()
    outcome = await store.apply(build.create())
    assert isinstance(outcome, Created)
    assert len(await listed(store, list_query())) == 2


async def test_a_connection_in_use_is_not_tested(store: PostgresStore, proxy: Proxy, build: CommandBuilder) -> None:
    await create_session(store, build.create())
    proxy.sent.clear()
    for _ in range(20):
        await create_session(store, build.create())
    assert proxy.sent.count(WRITE_BATCH) == 20
    assert b"SELECT 1" not in proxy.sent


async def test_a_closed_store_connects_no_more(
    postgres_database: str, build: CommandBuilder, clock: ManualClock
) -> None:
    async with opened(postgres_database, clock) as store:
        session = await create_session(store, build.create())
    assert await ask(postgres_database, CONNECTIONS) == 0
    assert _unavailable(await store.apply(update(session, user("late"))))
    with pytest.raises(StoreUnavailableError):
        await store.fetch(session.organisation, session.session_id)
    assert await ask(postgres_database, CONNECTIONS) == 0


def _unavailable(outcome: object) -> bool:
    return isinstance(outcome, UnavailableError)


async def _is_zero(url: str, question: str) -> bool:
    return bool(await ask(url, question) == 0)


async def _true(result: bool) -> bool:  # noqa: FBT001 - an answer is an answer
    return result
