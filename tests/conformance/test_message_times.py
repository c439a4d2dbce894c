"""A message with a time of its own keeps it, at any position."""

import msgspec

from sessionary.server.store.base import Store, stored_size_of
from tests.conformance.builders import (
    DAY,
    START_TIME,
    CommandBuilder,
    apply_update,
    assistant,
    create_session,
    read,
    read_messages,
    update,
    user,
)

OLD = "2001-09-09T01:46:40.123Z"
OLD_MILLISECONDS = 1_000_000_000_123


async def test_a_message_with_a_time_keeps_it_and_any_other_gets_now(store: Store, build: CommandBuilder) -> None:
    times = (OLD_MILLISECONDS, None, 0)
    session = await create_session(store, build.create(user("a"), assistant("b"), user("c"), message_times=times))
    build.clock.move(DAY // 100)
    more = (None, OLD_MILLISECONDS - 123, START_TIME)
    await apply_update(store, msgspec.structs.replace(update(session, user(), user(), user()), message_times=more))

    stored_times = [message["created_at"] for message in await read_messages(store, session)]

    now, later = "2026-11-22T22:09:00.123Z", "2026-11-22T22:23:24.123Z"
    assert stored_times == [OLD, now, "1970-01-01T00:00:00.000Z", later, "2001-09-09T01:46:40.000Z", now]


async def test_they_stay_in_the_order_in_which_they_came(store: Store, build: CommandBuilder) -> None:
    times = (START_TIME, OLD_MILLISECONDS, START_TIME - 1)
    session = await create_session(store, build.create(user("a"), user("b"), user("c"), message_times=times))

    assert [message["content"] for message in await read_messages(store, session)] == ["a", "b", "c"]


async def test_an_update_moves_updated_at_to_now_whatever_its_messages_bring(
    store: Store, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create())
    build.clock.move(5)
    await apply_update(store, msgspec.structs.replace(update(session, user()), message_times=(OLD_MILLISECONDS,)))

    assert (await read(store, session)).updated_at == START_TIME + 5


async def test_they_count_as_many_bytes_as_any_other(store: Store, build: CommandBuilder) -> None:
    command = build.create(user("a"), user("b"), message_times=(OLD_MILLISECONDS, None))
    await create_session(store, command)

    usage = await store.measure_usage("demo")

    assert usage.stored_bytes == stored_size_of(command)
