"""An imported session has the creation time of its id, and its time to live starts now."""

from sessionary.server.store.base import Store
from tests.conformance.making import DAY, HOUR, NOVEMBER, Making, begin, listed, listing, read, read_messages, user


async def test_it_is_as_old_as_it_says_and_expires_as_a_new_one_would(store: Store, making: Making) -> None:
    session = await begin(store, making.create(user(), age=400 * DAY))

    shown = await read(store, session)

    assert shown.created_at == NOVEMBER - 400 * DAY
    assert shown.expires_at == NOVEMBER + HOUR
    assert shown.updated_at == NOVEMBER
    assert [one["created_at"] for one in await read_messages(store, session)] == ["2026-11-22T22:09:00.123Z"]


async def test_lists_are_in_the_order_of_what_was_created_when(store: Store, making: Making) -> None:
    new = await begin(store, making.create())
    oldest = await begin(store, making.create(age=400 * DAY))
    old = await begin(store, making.create(age=DAY))

    assert await listed(store, listing()) == [new.session_id, old.session_id, oldest.session_id]
    page = await store.list_sessions(listing(limit=1, after=new.session_id))
    assert page.after == old.session_id
