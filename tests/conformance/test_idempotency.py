"""A command whose idempotency key was used before returns the first effect, and has no second one."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from sessionary.errors import IdempotencyKeyReusedError, PreconditionFailedError, SessionNotFoundError
from sessionary.server.store.base import Command, Created, Deleted, Extended, Store, Updated
from tests.conformance.builders import (
    DAY,
    MINUTE,
    CommandBuilder,
    ManualClock,
    apply_all,
    apply_one,
    apply_update,
    create_session,
    delete,
    extend,
    key,
    list_query,
    listed,
    read,
    read_messages,
    update,
    user,
)
from tests.conformance.conftest import Reopen


async def test_a_repeated_creation_returns_the_first_session(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    first = await apply_one(store, build.create(user("one"), idempotency_key=key("k")), Created)
    clock.move(MINUTE)

    second = await apply_one(store, build.create(user("two"), idempotency_key=key("k")), Created)

    assert second == msgspec.structs.replace(first, replayed=True)
    assert await listed(store, list_query()) == [first.session_id]


async def test_a_repeated_update_appends_nothing(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    session = await create_session(store, build.create())
    command = update(session, user("one"), tokens_used=3, idempotency_key=key("k"))
    first = await apply_update(store, command)
    await apply_update(store, update(session, user("between")))
    clock.move(MINUTE)

    second = await apply_update(store, command)

    assert second == msgspec.structs.replace(first, replayed=True)
    assert [message["content"] for message in await read_messages(store, session)] == ["one", "between"]
    assert (await read(store, session)).total_tokens == 3


async def test_a_repeated_extension_extends_once(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    command = extend(session, 30, idempotency_key=key("k"))
    first = await apply_one(store, command, Extended)

    second = await apply_one(store, command, Extended)

    assert second == msgspec.structs.replace(first, replayed=True)
    assert (await read(store, session)).expires_at == session.created_at + 90 * MINUTE


async def test_a_repeated_deletion_returns_the_first(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    command = delete(session, idempotency_key=key("k"))
    first = await apply_one(store, command, Deleted)

    second = await apply_one(store, command, Deleted)

    assert not first.replayed
    assert second == msgspec.structs.replace(first, replayed=True)


async def test_a_repeated_update_that_changed_nothing_is_a_repetition_too(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    command = update(session, idempotency_key=key("k"))
    first = await apply_update(store, command)
    await apply_update(store, update(session, user()))

    second = await apply_update(store, command)

    assert second == msgspec.structs.replace(first, replayed=True)
    assert second.version == 1


async def test_a_key_outlives_its_session(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    session = await create_session(store, build.create(minutes=5))
    command = update(session, user(), idempotency_key=key("k"))
    await apply_update(store, command)

    clock.move(5 * MINUTE)

    assert (await apply_update(store, command)).replayed
    with pytest.raises(SessionNotFoundError):
        await read(store, session)


async def test_a_key_with_another_request_is_refused(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    await apply_update(store, update(session, user("one"), idempotency_key=key("k")))

    await apply_one(
        store, update(session, user("two"), idempotency_key=key("k", fingerprint=b"other")), IdempotencyKeyReusedError
    )

    assert len(await read_messages(store, session)) == 1


async def test_the_first_request_can_still_be_repeated_after_a_refusal(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    command = update(session, user("one"), idempotency_key=key("k"))
    await apply_update(store, command)
    await apply_one(
        store, update(session, user("two"), idempotency_key=key("k", fingerprint=b"other")), IdempotencyKeyReusedError
    )

    assert (await apply_update(store, command)).replayed


async def test_a_key_belongs_to_a_principal_and_a_kind_of_command(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(idempotency_key=key("k")))

    outcomes = await apply_all(
        store,
        [
            update(session, user(), idempotency_key=key("k")),
            update(session, user(), idempotency_key=key("k", principal="token-2")),
            extend(session, idempotency_key=key("k")),
            build.create(idempotency_key=key("k", principal="token-2", fingerprint=b"other")),
            update(session, user(), idempotency_key=key("K")),
            delete(session, idempotency_key=key("k")),
        ],
    )

    assert [getattr(outcome, "replayed", outcome) for outcome in outcomes] == [False] * 6


@pytest.mark.parametrize(
    ("age", "replayed"),
    [(DAY - 1, True), (DAY, False), (DAY + 1, False)],
    ids=["a-moment-before", "a-day", "later"],
)
async def test_a_key_is_stored_for_a_day(
    store: Store, build: CommandBuilder, clock: ManualClock, age: int, *, replayed: bool
) -> None:
    await create_session(store, build.create(idempotency_key=key("k")))

    clock.move(age)

    assert (await apply_one(store, build.create(idempotency_key=key("k")), Created)).replayed is replayed


async def test_an_expired_key_that_is_used_again_is_stored_for_another_day(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    await create_session(store, build.create(idempotency_key=key("k")))
    clock.move(DAY)
    second = await apply_one(store, build.create(idempotency_key=key("k", fingerprint=b"new")), Created)

    clock.move(DAY - 1)

    third = await apply_one(store, build.create(idempotency_key=key("k", fingerprint=b"new")), Created)
    assert (third.replayed, third.session_id) == (True, second.session_id)


async def test_the_same_key_twice_in_a_batch_has_one_effect(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    command = update(session, user("one"), idempotency_key=key("k"))

    outcomes = await apply_all(
        store, [command, command, update(session, user("x"), idempotency_key=key("k", fingerprint=b"other")), command]
    )

    flags = [getattr(outcome, "replayed", type(outcome)) for outcome in outcomes]
    assert flags == [False, True, IdempotencyKeyReusedError, True]
    assert len(await read_messages(store, session)) == 1


async def test_the_first_of_several_creations_with_one_key_in_a_batch_counts(
    store: Store, build: CommandBuilder
) -> None:
    commands = [build.create(idempotency_key=key("k")) for _ in range(12)]

    outcomes = await apply_all(store, commands)

    answered = [(outcome.session_id, outcome.replayed) for outcome in outcomes if isinstance(outcome, Created)]
    first = commands[0].session_id
    assert answered == [(first, False), *[(first, True)] * 11]
    assert await listed(store, list_query()) == [first]


async def test_a_key_counts_before_the_version_is_looked_at(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    command = update(session, user(), if_version=1, idempotency_key=key("k"))
    await apply_update(store, command)

    assert (await apply_update(store, command)).replayed
    await apply_one(
        store, update(session, user(), if_version=1, idempotency_key=key("another")), PreconditionFailedError
    )


async def test_the_same_command_many_times_at_once_has_one_effect(store: Store, build: CommandBuilder) -> None:
    commands = [build.create(user("hello"), idempotency_key=key("k")) for _ in range(40)]

    results = await apply_all(store, commands)

    assert_one_effect(results, await listed(store, list_query()))


async def test_the_same_command_at_two_servers_has_one_effect(
    store: Store, reopen: Reopen, build: CommandBuilder
) -> None:
    other = await reopen()
    for number in range(10):
        idempotency_key = key(f"k{number}")
        commands: list[Command] = [
            build.create(organisation=f"o{number}", idempotency_key=idempotency_key) for _ in range(8)
        ]

        results = await asyncio.gather(
            *(server.apply(command) for server, command in zip((store, other) * 4, commands, strict=True))
        )

        assert_one_effect(results, await listed(store, list_query(f"o{number}")))


def assert_one_effect(outcomes: Sequence[object], kept: list[str]) -> None:
    created = [outcome for outcome in outcomes if isinstance(outcome, Created)]
    assert len(created) == len(outcomes), outcomes
    assert [outcome.replayed for outcome in created].count(False) == 1
    assert {outcome.session_id for outcome in created} == set(kept)
    assert len(kept) == 1


async def test_the_same_update_at_two_servers_appends_once(store: Store, reopen: Reopen, build: CommandBuilder) -> None:
    other = await reopen()
    session = await create_session(store, build.create())
    command = update(session, user("one"), tokens_used=1, idempotency_key=key("k"))

    outcomes = await asyncio.gather(*(server.apply(command) for server in (store, other) * 5))

    assert [outcome.replayed for outcome in outcomes if isinstance(outcome, Updated)].count(False) == 1
    assert len(await read_messages(store, session)) == 1
    assert (await read(store, session)).total_tokens == 1
