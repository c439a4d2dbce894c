"""Creating, updating and extending: what each answers, what it sets, and what it leaves alone."""

import asyncio
from typing import Any

from sessionary.errors import ExpiryTooFarError
from sessionary.server.store.base import Created, Extended, Store, Updated
from tests.conformance.builders import (
    DAY,
    HORIZON,
    MINUTE,
    CommandBuilder,
    ManualClock,
    SessionView,
    apply_extend,
    apply_one,
    apply_update,
    create_session,
    extend,
    read,
    update,
    user,
)


async def test_creating_returns_the_session(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    session = build.create(minutes=90)

    created = await apply_one(store, session, Created)

    assert created == Created(
        session_id=session.session_id, version=1, created_at=clock(), expires_at=clock() + 90 * MINUTE
    )


async def test_a_new_session_is_what_was_given(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    session = await create_session(
        store,
        build.create(
            user_id="ada \U0001f600",
            session_group="web",
            title="Title é",
            model="m-1",
            metadata={"a": [1]},
            minutes=5,
        ),
    )

    assert await read(store, session) == SessionView(
        id=session.session_id,
        user_id="ada \U0001f600",
        session_group="web",
        title="Title é",
        model="m-1",
        status="active",
        metadata=b'{"a":[1]}',
        total_messages=0,
        total_tokens=0,
        created_at=clock(),
        updated_at=clock(),
        expires_at=clock() + 5 * MINUTE,
        version=1,
    )


async def test_an_update_returns_the_totals_of_the_session(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    session = await create_session(store, build.create(user("one")))
    await apply_update(store, update(session, tokens_used=2))
    clock.move(MINUTE)

    updated = await apply_update(store, update(session, user("two"), tokens_used=3, status="completed"))

    assert updated == Updated(
        session_id=session.session_id,
        version=3,
        status="completed",
        total_messages=2,
        total_tokens=5,
        updated_at=clock(),
    )


async def test_an_update_of_nothing_changes_nothing(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    session = await create_session(store, build.create(user("one"), title="T", model="m", metadata={"a": 1}))
    before = await read(store, session)
    clock.move(MINUTE)

    updated = await apply_update(store, update(session))

    assert updated.updated_at == session.created_at
    assert await read(store, session) == before


async def test_any_other_update_moves_updated_at(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    session = await create_session(store, build.create(title="T", model="m"))

    given: dict[str, Any]
    for given in ({"tokens_used": 0}, {"status": "active"}, {"metadata": {}}, {"title": "T"}, {"model": "m"}):
        clock.move(MINUTE)
        updated = await apply_update(store, update(session, **given))
        assert updated.updated_at == clock(), given

    stored = await read(store, session)
    assert (stored.updated_at, stored.created_at) == (clock(), session.created_at)


async def test_an_update_leaves_alone_what_it_does_not_name(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(title="T", model="m", metadata={"a": 1}, session_group="g"))
    await apply_update(store, update(session, status="completed", tokens_used=4))

    await apply_update(store, update(session, user("hello")))

    stored = await read(store, session)
    assert (stored.title, stored.model, stored.metadata) == ("T", "m", b'{"a":1}')
    assert (stored.status, stored.total_tokens, stored.session_group) == ("completed", 4, "g")


async def test_a_completed_session_can_be_updated_and_made_active_again(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    await apply_update(store, update(session, status="completed"))

    appended = await apply_update(store, update(session, user("one more")))
    active = await apply_update(store, update(session, status="active"))

    assert (appended.status, appended.total_messages) == ("completed", 1)
    assert active.status == "active"


async def test_an_extension_is_added_to_the_expiry_not_to_the_clock(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    session = await create_session(store, build.create(minutes=60))
    clock.move(59 * MINUTE)

    extended = await apply_extend(store, extend(session, 30))

    assert extended == Extended(
        session_id=session.session_id, version=2, minutes=30, expires_at=session.created_at + 90 * MINUTE
    )
    stored = await read(store, session)
    assert (stored.expires_at, stored.updated_at) == (extended.expires_at, clock())


async def test_two_extensions_add_up(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(minutes=60))

    await apply_extend(store, extend(session, 60))
    await apply_extend(store, extend(session, 1440))

    assert (await read(store, session)).expires_at == session.created_at + (60 + 60 + 1440) * MINUTE


async def test_extensions_at_the_same_time_add_up(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(minutes=60))

    await asyncio.gather(*(apply_extend(store, extend(session, minutes)) for minutes in range(1, 41)))

    assert (await read(store, session)).expires_at == session.created_at + (60 + 820) * MINUTE


async def test_a_completed_session_can_be_extended(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    await apply_update(store, update(session, status="completed"))

    await apply_extend(store, extend(session, 60))

    assert (await read(store, session)).status == "completed"


async def test_an_expiry_reaches_the_horizon_and_no_further(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    session = await create_session(store, build.create(minutes=1440))
    for _ in range(29):
        await apply_extend(store, extend(session, 1440))
    assert (await read(store, session)).expires_at == clock() + HORIZON

    await apply_one(store, extend(session, 1), ExpiryTooFarError)
    clock.move(MINUTE)
    await apply_extend(store, extend(session, 1))
    clock.move(MINUTE - 1)
    await apply_one(store, extend(session, 1), ExpiryTooFarError)

    assert (await read(store, session)).expires_at == session.created_at + HORIZON + MINUTE


async def test_the_horizon_is_the_commands_own(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(minutes=60))

    await apply_one(store, extend(session, 1440, horizon=DAY), ExpiryTooFarError)
    await apply_extend(store, extend(session, 1440, horizon=DAY + 60 * MINUTE))


async def test_the_store_says_that_it_is_ready(store: Store) -> None:
    await store.ready()
