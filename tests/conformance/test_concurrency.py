"""Many writers at once: every acknowledged block is stored once, whole, in each writer's order."""

import asyncio

from sessionary.errors import SessionNotFoundError
from sessionary.server.store.base import Store, Window
from tests.conformance.builders import (
    MINUTE,
    CommandBuilder,
    apply_all,
    apply_extend,
    apply_update,
    assistant,
    contents_of,
    create_session,
    extend,
    list_query,
    listed,
    metadata_of,
    read,
    session_in,
    update,
    user,
)
from tests.conformance.conftest import Reopen

WRITERS = 32
APPENDS = 20


async def test_32_writers_of_one_session_lose_and_mix_nothing(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    async def write(writer: int) -> None:
        for number in range(APPENDS):
            said, answered = [writer, number, "asked"], [writer, number, "answered"]
            await apply_update(store, update(session, user(said), assistant(answered), tokens_used=1))

    await asyncio.gather(*map(write, range(WRITERS)))

    conversation = await store.fetch(session.organisation, session.session_id)
    assert_pairs_are_whole(contents_of(conversation), WRITERS)
    stored = session_in(conversation)
    assert (stored.total_messages, stored.total_tokens) == (2 * WRITERS * APPENDS, WRITERS * APPENDS)
    assert stored.version == 1 + WRITERS * APPENDS


async def test_writers_at_two_servers_lose_and_mix_nothing(store: Store, reopen: Reopen, build: CommandBuilder) -> None:
    other = await reopen()
    session = await create_session(store, build.create())

    async def write(writer: int) -> None:
        place = (store, other)[writer % 2]
        for number in range(APPENDS):
            said, answered = [writer, number, "asked"], [writer, number, "answered"]
            await apply_update(place, update(session, user(said), assistant(answered), tokens_used=1))

    await asyncio.gather(*map(write, range(8)))

    conversation = await other.fetch(session.organisation, session.session_id)
    assert_pairs_are_whole(contents_of(conversation), 8)
    assert session_in(conversation).total_tokens == 8 * APPENDS


async def test_changes_without_messages_add_up_at_two_servers(
    store: Store, reopen: Reopen, build: CommandBuilder
) -> None:
    other = await reopen()
    session = await create_session(store, build.create(metadata={"kept": True}))

    async def write(writer: int) -> None:
        place = (store, other)[writer % 2]
        for number in range(APPENDS):
            await apply_update(place, update(session, tokens_used=1))
            await apply_extend(place, extend(session, 1))
            await apply_update(place, update(session, metadata={f"{writer}-{number}": True}))

    await asyncio.gather(*map(write, range(8)))

    stored = await read(other, session)
    count = 8 * APPENDS
    assert (stored.total_tokens, stored.version) == (count, 1 + 3 * count)
    assert stored.expires_at == session.created_at + (60 + count) * MINUTE
    assert len(metadata_of(stored)) == 1 + count


async def test_many_sessions_are_written_at_once(store: Store, build: CommandBuilder) -> None:
    sessions = [build.create(user("first"), organisation=f"o{number % 5}") for number in range(100)]

    async def live(number: int) -> None:
        session = await create_session(store, sessions[number])
        await apply_update(store, update(session, assistant(number), tokens_used=number))
        await apply_update(store, update(session, metadata={"number": number}))

    await asyncio.gather(*map(live, range(100)))

    for number, session in enumerate(sessions):
        conversation = await store.fetch(session.organisation, session.session_id)
        assert contents_of(conversation) == ["first", number]
        assert session_in(conversation).total_tokens == number
    assert [len(await listed(store, list_query(f"o{number}"))) for number in range(5)] == [20] * 5


async def test_a_writers_next_command_sees_its_last_one(store: Store, build: CommandBuilder) -> None:
    async def live(number: int) -> None:
        session = await create_session(store, build.create(user_id=f"u{number}"))
        for version in range(2, 10):
            updated = await apply_update(store, update(session, user(version), if_version=version - 1))
            assert updated.version == version
            assert (await read(store, session)).version == version
            assert await listed(store, list_query(user_id=f"u{number}")) == [session.session_id]

    await asyncio.gather(*map(live, range(10)))


async def test_many_concurrent_readers_each_get_what_they_requested(store: Store, build: CommandBuilder) -> None:
    sessions = [build.create(*map(user, range(number)), organisation=f"o{number % 2}") for number in range(12)]
    sessions.append(build.create(user("x" * 200_000), user("y" * 200_000), organisation="o0"))
    await apply_all(store, sessions)
    requests: list[tuple[str, str, Window | None]] = [
        (organisation, session.session_id, window)
        for window in (None, Window(limit=2), Window(offset=1), Window(offset=1, limit=3))
        for session in sessions
        for organisation in ("o0", "o1", "o2")
    ]
    alone = [await seen(store, *request) for request in requests]

    for _ in range(3):
        together = await asyncio.gather(*(seen(store, *request) for request in requests))
        assert list(together) == alone

    assert alone.count("absent") == 4 * 2 * len(sessions)


async def seen(store: Store, organisation: str, session_id: str, window: Window | None) -> object:
    try:
        return await store.fetch(organisation, session_id, window)
    except SessionNotFoundError:
        return "absent"


async def test_many_lists_at_once_each_show_their_own(store: Store, build: CommandBuilder) -> None:
    sessions = [
        build.create(organisation=f"o{number % 2}", user_id=f"u{number % 3}", model=f"m{number % 5}")
        for number in range(30)
    ]
    await apply_all(store, sessions)
    requests = [
        list_query(f"o{number % 2}", limit=1 + number % 7, offset=number % 4, **filters)
        for number in range(20)
        for filters in ({}, {"user_id": f"u{number % 3}"}, {"model": f"m{number % 5}"}, {"status": "active"})
    ]
    alone = [await listed(store, query) for query in requests]

    together = await asyncio.gather(*(listed(store, query) for query in requests))

    assert list(together) == alone
    assert [page for page in alone if page]


def assert_pairs_are_whole(contents: list[list[object]], writers: int) -> None:
    requests, answered = contents[::2], contents[1::2]
    assert [[*said[:2], "answered"] for said in requests] == answered
    for writer in range(writers):
        assert [said[1] for said in requests if said[0] == writer] == list(range(APPENDS))
