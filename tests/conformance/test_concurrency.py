"""Many writers at once: every acknowledged turn is stored once, whole, in each writer's order."""

import asyncio

from sessionary.store.base import Store
from tests.conformance.conftest import Reopen
from tests.conformance.making import (
    Making,
    assistant,
    begin,
    change,
    contents_in,
    listed,
    listing,
    read,
    update,
    user,
)

WRITERS = 32
APPENDS = 20


async def test_32_writers_of_one_session_lose_and_mix_nothing(store: Store, making: Making) -> None:
    session = await begin(store, making.create())

    async def write(writer: int) -> None:
        for number in range(APPENDS):
            said, answered = [writer, number, "asked"], [writer, number, "answered"]
            await change(store, update(session, user(said), assistant(answered), tokens_used=1))

    await asyncio.gather(*map(write, range(WRITERS)))

    conversation = await store.fetch(session.organisation, session.session_id)
    assert_pairs_are_whole(contents_in(conversation), WRITERS)
    stored = conversation.session
    assert (stored.total_messages, stored.total_tokens) == (2 * WRITERS * APPENDS, WRITERS * APPENDS)
    assert stored.version == 1 + WRITERS * APPENDS


async def test_writers_at_two_servers_lose_and_mix_nothing(store: Store, reopen: Reopen, making: Making) -> None:
    other = await reopen()
    session = await begin(store, making.create())

    async def write(writer: int) -> None:
        place = (store, other)[writer % 2]
        for number in range(APPENDS):
            said, answered = [writer, number, "asked"], [writer, number, "answered"]
            await change(place, update(session, user(said), assistant(answered), tokens_used=1))

    await asyncio.gather(*map(write, range(8)))

    conversation = await other.fetch(session.organisation, session.session_id)
    assert_pairs_are_whole(contents_in(conversation), 8)
    assert conversation.session.total_tokens == 8 * APPENDS


async def test_many_sessions_are_written_at_once(store: Store, making: Making) -> None:
    sessions = [making.create(user("first"), organisation=f"o{number % 5}") for number in range(100)]

    async def live(number: int) -> None:
        session = await begin(store, sessions[number])
        await change(store, update(session, assistant(number), tokens_used=number))
        await change(store, update(session, metadata={"number": number}))

    await asyncio.gather(*map(live, range(100)))

    for number, session in enumerate(sessions):
        conversation = await store.fetch(session.organisation, session.session_id)
        assert contents_in(conversation) == ["first", number]
        assert conversation.session.total_tokens == number
    assert [len(await listed(store, listing(f"o{number}"))) for number in range(5)] == [20] * 5


async def test_a_writers_next_command_sees_its_last_one(store: Store, making: Making) -> None:
    async def live(number: int) -> None:
        session = await begin(store, making.create(user_id=f"u{number}"))
        for version in range(2, 10):
            updated = await change(store, update(session, user(version), if_version=version - 1))
            assert updated.version == version
            assert (await read(store, session)).version == version
            assert await listed(store, listing(user_id=f"u{number}")) == [session.session_id]

    await asyncio.gather(*map(live, range(10)))


def assert_pairs_are_whole(contents: list[list[object]], writers: int) -> None:
    asked, answered = contents[::2], contents[1::2]
    assert [[*said[:2], "answered"] for said in asked] == answered
    for writer in range(writers):
        assert [said[1] for said in asked if said[0] == writer] == list(range(APPENDS))
