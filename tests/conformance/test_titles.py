"""A session still without a title takes it when its first user message arrives."""

from sessionary.server.store.base import Store
from tests.conformance.builders import (
    CommandBuilder,
    apply_all,
    apply_update,
    assistant,
    create_session,
    read,
    update,
    user,
)


async def test_a_session_takes_its_title_from_the_first_user_message(store: Store, build: CommandBuilder) -> None:
    session = await create_session(
        store,
        build.create({"role": "system", "content": "Be kind"}, user("  \n Hello\tthere \n more"), user("No")),
    )

    assert (await read(store, session)).title == "Hello there"


async def test_the_first_user_message_may_come_later(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create({"role": "system", "content": "Be kind"}))
    await apply_update(store, update(session, assistant("Welcome")))
    assert (await read(store, session)).title is None

    await apply_update(store, update(session, assistant("So?"), user("A question")))

    assert (await read(store, session)).title == "A question"


async def test_a_later_user_message_gives_no_title(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user("First")))

    await apply_update(store, update(session, user("Second")))

    assert (await read(store, session)).title == "First"


async def test_a_first_user_message_without_text_leaves_no_title_for_good(store: Store, build: CommandBuilder) -> None:
    for content in ("", " \n\t", [], [{"type": "image"}], "\x00\x01"):
        session = await create_session(store, build.create(user(content)))

        await apply_update(store, update(session, user("Second")))

        assert (await read(store, session)).title is None, content


async def test_a_first_user_message_without_text_counts_when_it_comes_later_too(
    store: Store, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create(assistant("Welcome")))
    await apply_update(store, update(session, user("")))

    await apply_update(store, update(session, user("Second")))

    assert (await read(store, session)).title is None


async def test_a_given_title_stays(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(title="Given"))

    await apply_update(store, update(session, user("FetchRequest")))

    assert (await read(store, session)).title == "Given"


async def test_a_title_given_beside_the_first_user_message_counts(store: Store, build: CommandBuilder) -> None:
    begun = await create_session(store, build.create(user("FetchRequest"), title="Given"))
    updated = await create_session(store, build.create())
    await apply_update(store, update(updated, user("FetchRequest"), title="Given"))

    assert [(await read(store, session)).title for session in (begun, updated)] == ["Given", "Given"]


async def test_a_title_can_be_replaced(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user("FetchRequest")))

    await apply_update(store, update(session, title="Better"))

    assert (await read(store, session)).title == "Better"


async def test_the_first_user_message_counts_across_the_commands_of_a_batch(
    store: Store, build: CommandBuilder
) -> None:
    session = build.create(assistant("Welcome"))

    await apply_all(store, [session, update(session, user("First")), update(session, user("Second"))])
    await apply_update(store, update(session, user("Third")))

    assert (await read(store, session)).title == "First"


async def test_a_long_title_is_cut_at_a_space(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user("word " * 30)))

    assert (await read(store, session)).title == "word " * 14 + "word…"
