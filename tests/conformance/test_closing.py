"""Callers that hang up, queues that are full, a store that closes: whole or nothing, and never silent."""

import asyncio

import pytest

from sessionary.errors import OverloadedError
from sessionary.server.store.base import Store, Updated
from tests.conformance.builders import (
    CommandBuilder,
    apply_all,
    apply_update,
    assistant,
    contents_of,
    create_session,
    list_query,
    listed,
    read,
    session_in,
    update,
    user,
)
from tests.conformance.conftest import ENGINES, Reopen

FLOOD = 20_000
"""More than any engine lets wait."""


async def test_a_caller_that_hangs_up_leaves_its_command_whole_or_undone(store: Store, build: CommandBuilder) -> None:
    for ticks in (0, 1, 2, 3, 5, 8, 50):
        await hang_up_after(store, build, ticks)


async def hang_up_after(store: Store, build: CommandBuilder, ticks: int) -> None:
    session = await create_session(store, build.create())
    callers = [
        asyncio.create_task(
            store.apply(update(session, user([number, "asked"]), assistant([number, "answered"]), tokens_used=1))
        )
        for number in range(60)
    ]

    for _ in range(ticks):
        await asyncio.sleep(0)
    for caller in callers[::2]:
        caller.cancel()
    results = await asyncio.gather(*callers, return_exceptions=True)
    await apply_update(store, update(session, tokens_used=0))

    conversation = await store.fetch(session.organisation, session.session_id)
    contents = contents_of(conversation)
    kept = [number for number, _ in contents[::2]]
    assert [[number, "answered"] for number in kept] == contents[1::2]
    assert len(set(kept)) == len(kept) == session_in(conversation).total_tokens
    acknowledged = [number for number, result in enumerate(results) if not isinstance(result, BaseException)]
    assert set(acknowledged) <= set(kept)
    assert set(range(1, 60, 2)) <= set(acknowledged)


async def test_a_caller_that_hangs_up_does_not_stop_the_others(store: Store, build: CommandBuilder) -> None:
    sessions = [await create_session(store, build.create()) for _ in range(20)]

    for _ in range(5):
        callers = [asyncio.create_task(store.apply(update(session, user()))) for session in sessions]
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)

    for session in sessions:
        await apply_update(store, update(session, status="completed"))


@pytest.mark.parametrize("kind", ENGINES, indirect=True)
async def test_a_full_queue_refuses_and_changes_nothing(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    command = update(session, tokens_used=1)

    results = await asyncio.gather(*(store.apply(command) for _ in range(FLOOD)), return_exceptions=True)

    refused = [result for result in results if isinstance(result, OverloadedError)]
    applied = [result for result in results if not isinstance(result, BaseException)]
    assert len(refused) + len(applied) == FLOOD
    assert refused
    assert all(isinstance(outcome, Updated) for outcome in applied)
    stored = await read(store, session)
    assert stored.total_tokens == len(applied)
    assert stored.version == 1 + len(applied)


@pytest.mark.parametrize("kind", ENGINES, indirect=True)
async def test_a_queue_is_bounded_in_bytes_too(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    command = update(session, user("x" * 900_000), if_version=1_000_000)

    results = await asyncio.gather(*(store.apply(command) for _ in range(400)), return_exceptions=True)

    assert [result for result in results if isinstance(result, OverloadedError)]
    assert (await read(store, session)).version == 1


@pytest.mark.parametrize("kind", ENGINES, indirect=True)
async def test_a_store_that_was_flooded_serves_again(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    await asyncio.gather(*(store.apply(update(session, tokens_used=1)) for _ in range(FLOOD)), return_exceptions=True)

    await store.ready()
    await apply_update(store, update(session, user("still here")))

    assert contents_of(await store.fetch(session.organisation, session.session_id)) == ["still here"]


async def test_closing_finishes_what_was_accepted(store: Store, reopen: Reopen, build: CommandBuilder) -> None:
    sessions = [build.create(user("hello")) for _ in range(100)]
    await apply_all(store, sessions)
    callers = [asyncio.create_task(store.apply(update(session, assistant("hi")))) for session in sessions]
    await asyncio.sleep(0)

    await store.close()

    outcomes = await asyncio.gather(*callers)
    assert all(isinstance(outcome, Updated) for outcome in outcomes)
    later = await reopen()
    for session in sessions:
        shown = await later.fetch(session.organisation, session.session_id)
        assert contents_of(shown) == ["hello", "hi"]


async def test_closing_twice_is_closing_once(store: Store, build: CommandBuilder) -> None:
    await create_session(store, build.create())

    await store.close()
    await store.close()


async def test_a_store_that_was_never_used_closes(store: Store, reopen: Reopen, build: CommandBuilder) -> None:
    await store.close()
    later = await reopen()

    session = await create_session(later, build.create())

    assert await listed(later, list_query()) == [session.session_id]
