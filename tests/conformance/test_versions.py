"""A command whose ``if_version`` is not the session's version is refused with the version it has."""

import asyncio

import pytest

from sessionary.errors import PreconditionFailedError, SessionNotFoundError
from sessionary.server.store.base import Command, Deleted, Extended, Store, Updated
from tests.conformance.builders import (
    CommandBuilder,
    apply_all,
    apply_extend,
    apply_one,
    apply_update,
    create_session,
    delete,
    extend,
    read,
    update,
    user,
)
from tests.conformance.conftest import Reopen


async def test_a_new_session_has_version_1(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user(), title="Title"))

    assert (await read(store, session)).version == 1


async def test_each_change_counts_one_version(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    versions = [
        (await apply_update(store, update(session, user("a"), user("b")))).version,
        (await apply_extend(store, extend(session))).version,
        (await apply_update(store, update(session, status="completed", title="T", metadata={"a": 1}))).version,
        (await apply_update(store, update(session, metadata={}))).version,
    ]

    assert versions == [2, 3, 4, 5]
    assert (await read(store, session)).version == 5


async def test_an_update_of_nothing_counts_none(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    assert (await apply_update(store, update(session))).version == 1


async def test_the_right_version_lets_every_command_pass(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    await apply_one(store, update(session, user(), if_version=1), Updated)
    await apply_one(store, extend(session, if_version=2), Extended)
    await apply_one(store, update(session, if_version=3), Updated)
    await apply_one(store, delete(session, if_version=3), Deleted)

    with pytest.raises(SessionNotFoundError):
        await read(store, session)


async def test_a_wrong_version_is_refused_with_the_right_one(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    await apply_update(store, update(session, user()))
    before = await read(store, session)

    for wrong in (1, 3, 0, 2_147_483_647):
        commands: list[Command] = [
            update(session, user(), if_version=wrong),
            update(session, if_version=wrong),
            extend(session, if_version=wrong),
            delete(session, if_version=wrong),
        ]
        for command in commands:
            refused = await apply_one(store, command, PreconditionFailedError)
            assert refused.version == 2

    assert await read(store, session) == before


async def test_one_of_several_right_versions_is_enough(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    await apply_one(store, update(session, user(), if_version=(7, 1)), Updated)
    await apply_one(store, update(session, user(), if_version="*"), Updated)

    refused = await apply_one(store, update(session, user(), if_version=(1, 2, 4)), PreconditionFailedError)
    assert refused.version == 3


async def test_of_several_commands_with_one_version_the_first_passes(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    first, second, third = await apply_all(store, [update(session, user(number), if_version=1) for number in range(3)])

    assert isinstance(first, Updated)
    assert isinstance(second, PreconditionFailedError)
    assert isinstance(third, PreconditionFailedError)
    assert (second.version, third.version) == (2, 2)


async def test_writers_that_compare_versions_lose_no_update(
    store: Store, reopen: Reopen, build: CommandBuilder
) -> None:
    servers = (store, await reopen())
    session = await create_session(store, build.create())

    async def count_up(writer: int, times: int) -> None:
        version, counted = 1, 0
        for _ in range(200):
            command = update(session, tokens_used=1, if_version=version)
            outcome = await servers[writer % 2].apply(command)
            if isinstance(outcome, Updated):
                counted += 1
                if counted == times:
                    return
            else:
                assert isinstance(outcome, PreconditionFailedError)
            version = outcome.version
        raise AssertionError("never the right version")

    await asyncio.gather(*(count_up(writer, 5) for writer in range(8)))

    stored = await read(store, session)
    assert (stored.version, stored.total_tokens) == (41, 40)


async def test_an_absent_session_has_no_version(store: Store, build: CommandBuilder) -> None:
    await apply_one(store, update(build.create(), user(), if_version=1), SessionNotFoundError)
