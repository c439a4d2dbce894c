"""Windows: the last messages, the messages from a number on, or so many from a number on."""

import asyncio

from sessionary.server.store.base import Store, Window
from tests.conformance.builders import (
    CommandBuilder,
    apply_update,
    assistant,
    contents_of,
    create_session,
    session_in,
    update,
    user,
)

BLOCKS = (3, 1, 4, 1, 2)
TOTAL = sum(BLOCKS)
NUMBERS = list(range(TOTAL))
OFFSETS = (None, *range(TOTAL + 3), 1_000, 2_147_483_647)
LIMITS = (None, 1, 2, 3, 5, TOTAL - 1, TOTAL, TOTAL + 1, 1_000)


def expected(offset: int | None, limit: int | None) -> list[int]:
    if offset is not None:
        return NUMBERS[offset:][:limit]
    return NUMBERS if limit is None else NUMBERS[-limit:]


async def test_every_window_returns_the_requested_messages(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(*map(user, NUMBERS[: BLOCKS[0]])))
    appended = BLOCKS[0]
    for count in BLOCKS[1:]:
        await apply_update(store, update(session, *map(assistant, NUMBERS[appended : appended + count])))
        appended += count

    for offset in OFFSETS:
        for limit in LIMITS:
            shown = await store.fetch(session.organisation, session.session_id, Window(offset, limit))
            assert contents_of(shown) == expected(offset, limit), (offset, limit)
            before = expected(offset, limit)[0] if expected(offset, limit) else TOTAL
            assert shown.offset == before, (offset, limit)
            assert session_in(shown).total_messages == TOTAL


async def test_a_session_without_messages_shows_none(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    for window in (None, Window(), Window(limit=3), Window(offset=0), Window(1, 1)):
        shown = await store.fetch(session.organisation, session.session_id, window)
        assert (shown.messages, shown.offset) == (b"", 0)


async def test_without_a_window_all_messages_come(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(*map(user, range(1000))))
    await apply_update(store, update(session, *map(user, range(1000, 1500))))

    for window in (None, Window()):
        shown = await store.fetch(session.organisation, session.session_id, window)
        assert contents_of(shown) == list(range(1500))
        assert shown.offset == 0


async def test_windows_cut_messages_that_hold_commas_and_brackets(store: Store, build: CommandBuilder) -> None:
    contents = ['"},{"', "[1,2],", "\\", '\\"', "}{", "\u0000,\u0000", "é\u2028]"]
    session = await create_session(store, build.create(*map(user, contents)))

    for number, content in enumerate(contents):
        shown = await store.fetch(session.organisation, session.session_id, Window(number, 1))
        assert contents_of(shown) == [content]


async def test_windows_of_a_large_conversation_return_the_requested_messages(
    store: Store, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create())
    large = "x" * 50_000
    for number in range(10):
        await apply_update(store, update(session, user([number, large]), assistant([number, "answer"])))

    last = await store.fetch(session.organisation, session.session_id, Window(limit=3))
    middle = await store.fetch(session.organisation, session.session_id, Window(offset=5, limit=2))

    assert contents_of(last) == [[8, "answer"], [9, large], [9, "answer"]]
    assert contents_of(middle) == [[2, "answer"], [3, large]]
    assert (last.offset, middle.offset) == (17, 5)


async def test_a_read_sees_one_consistent_state_while_others_write(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    writing = asyncio.gather(*(store.apply(update(session, user(number), tokens_used=1)) for number in range(200)))

    seen = []
    while not writing.done():
        shown = await store.fetch(session.organisation, session.session_id)
        count = len(contents_of(shown))
        assert count == session_in(shown).total_messages == session_in(shown).total_tokens
        seen.append(count)
        await asyncio.sleep(0)

    await writing
    assert seen == sorted(seen)
    assert contents_of(await store.fetch(session.organisation, session.session_id)) == list(range(200))
