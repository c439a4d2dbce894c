"""Reading in batches: little work for short conversations, none of it held up by long ones."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sessionary.errors import SessionNotFoundError
from sessionary.server.store.base import CURSOR_START, Conversation, Create, ListQuery, Window
from sessionary.server.store.postgres.store import PostgresStore
from tests.conformance.builders import (
    CommandBuilder,
    ManualClock,
    apply_all,
    assistant,
    contents_of,
    create_session,
    session_in,
    update,
    user,
)
from tests.harness.proxy import Proxy
from tests.unit.server.store.postgres.stores import begun, connected, opened

FILTERS: list[dict[str, Any]] = [
    {},
    {"user_id": "ada"},
    {"session_group": "web"},
    {"model": "small"},
    {"user_id": "eve"},
]
EXECUTE = b"E\0\0\0\x09\0"
FETCH_BLOCKS = b"\0fetch_blocks\0"


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
async def store(proxy: Proxy, clock: ManualClock) -> AsyncIterator[PostgresStore]:
    async with opened(proxy.url, clock) as store:
        yield store


async def test_a_get_is_one_statement_and_one_of_a_window_two(
    store: PostgresStore, proxy: Proxy, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create(user("one"), assistant("two"), user("three")))
    await _fetch(store, session, Window(limit=1))  # to prepare the statements
    await _fetch(store, session)
    proxy.sent.clear()
    assert contents_of(await _fetch(store, session)) == ["one", "two", "three"]
    assert proxy.sent.count(EXECUTE) == 1
    proxy.sent.clear()
    assert contents_of(await _fetch(store, session, Window(limit=1))) == ["three"]
    assert proxy.sent.count(EXECUTE) == 2


async def test_many_gets_at_once_take_few_statements(store: PostgresStore, proxy: Proxy, build: CommandBuilder) -> None:
    sessions = await begun(store, build, 64)
    await asyncio.gather(*(_fetch(store, session) for session in sessions))
    proxy.sent.clear()
    found = await asyncio.gather(*(_fetch(store, session) for session in sessions))
    assert [session_in(conversation).id for conversation in found] == [session.session_id for session in sessions]
    assert proxy.sent.count(EXECUTE) <= 6


async def test_what_many_request_at_once_is_read_once(store: PostgresStore, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user("hello" * 1000)))
    await _fetch(store, session)
    found = await asyncio.gather(*(_fetch(store, session) for _ in range(32)))
    assert len({id(conversation) for conversation in found}) == 1


async def test_a_long_conversation_is_read_beside_short_ones(store: PostgresStore, build: CommandBuilder) -> None:
    short = await create_session(store, build.create(user("short")))
    long = await create_session(store, build.create())
    for number in range(10):
        await store.apply(update(long, user(f"{number} " + "x" * 1_000_000)))
    conversations = await asyncio.gather(
        _fetch(store, short), _fetch(store, long), _fetch(store, long, Window(offset=7, limit=2))
    )
    numbers = [[str(content).split()[0] for content in contents_of(found)] for found in conversations]
    assert numbers == [["short"], [str(number) for number in range(10)], ["7", "8"]]
    assert conversations[2].offset == 7


async def test_a_session_removed_between_the_two_statements_of_a_window_is_not_found(
    store: PostgresStore, proxy: Proxy, postgres_database: str, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create(user("one"), user("two")))
    await _fetch(store, session, Window(limit=1))  # to prepare the statements
    held = proxy.hold_at(FETCH_BLOCKS)
    reading = asyncio.create_task(_fetch(store, session, Window(limit=1)))
    await held.reached()
    async with connected(postgres_database) as other:
        await other.execute("DELETE FROM message_blocks; DELETE FROM sessions")
    held.let_go()
    with pytest.raises(SessionNotFoundError):
        await reading


async def test_bytes_come_back_as_they_were_written(store: PostgresStore, build: CommandBuilder) -> None:
    odd = {"role": "user", "content": "\0 \u2028 \U0001f600 ,]}[{ \\u0000", "n": [1e300, 2**64 - 1, -(2**63)]}
    session = await create_session(store, build.create(odd))
    (message,) = json.loads(b"[" + (await _fetch(store, session)).messages + b"]")
    assert message.pop("created_at")
    assert message == odd


async def test_many_pages_at_once_take_few_statements(
    store: PostgresStore, proxy: Proxy, build: CommandBuilder
) -> None:
    await begun(store, build, 5)
    queries = [ListQuery(organisation="demo", user_id="ada", limit=limit) for limit in range(1, 33)]
    await asyncio.gather(*map(store.list_sessions, queries))
    proxy.sent.clear()
    await asyncio.gather(*map(store.list_sessions, queries))
    assert proxy.sent.count(EXECUTE) <= 6


async def test_pages_that_are_read_together_do_not_mix(store: PostgresStore, build: CommandBuilder) -> None:
    made = [
        build.create(organisation=organisation, user_id=user_id, session_group=group, model=model)
        for organisation in ("demo", "other")
        for user_id in ("ada", "bob")
        for group in (None, "web")
        for model in (None, "large", "small")
        for _ in range(3)
    ]
    await apply_all(store, made)
    queries = [
        ListQuery(organisation=organisation, limit=limit, offset=offset, after=after, **filters)
        for organisation in ("demo", "other")
        for filters in FILTERS
        for limit, offset, after in ((2, 0, CURSOR_START), (3, 2, made[-5].session_id), (100, 1, made[20].session_id))
    ]
    alone = [await store.list_sessions(query) for query in queries]
    together = await asyncio.gather(*map(store.list_sessions, queries))
    assert together == alone
    assert len({page.sessions for page in together}) > len(queries) // 2


async def _fetch(store: PostgresStore, session: Create, window: Window | None = None) -> Conversation:
    return await store.fetch(session.organisation, session.session_id, window)
