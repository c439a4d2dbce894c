"""An imported session has the creation time of its id, and its time to live starts now."""

from sessionary.server.store.base import Store
from tests.conformance.builders import (
    DAY,
    HOUR,
    START_TIME,
    CommandBuilder,
    create_session,
    list_query,
    listed,
    read,
    read_messages,
    user,
)


async def test_it_is_as_old_as_it_says_and_expires_as_a_new_one_would(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user(), age=400 * DAY))

    shown = await read(store, session)

    assert shown.created_at == START_TIME - 400 * DAY
    assert shown.expires_at == START_TIME + HOUR
    assert shown.updated_at == START_TIME
    assert [one["created_at"] for one in await read_messages(store, session)] == ["2026-11-22T22:09:00.123Z"]


async def test_lists_are_in_the_order_of_what_was_created_when(store: Store, build: CommandBuilder) -> None:
    new = await create_session(store, build.create())
    oldest = await create_session(store, build.create(age=400 * DAY))
    old = await create_session(store, build.create(age=DAY))

    assert await listed(store, list_query()) == [new.session_id, old.session_id, oldest.session_id]
    page = await store.list_sessions(list_query(limit=1, after=new.session_id))
    assert page.after == old.session_id
