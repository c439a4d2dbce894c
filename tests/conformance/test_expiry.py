"""A session is not found from the moment it expires."""

from typing import Any, Final

import pytest

from sessionary.errors import SessionNotFoundError
from sessionary.server.store.base import Extended, Store, Updated, Window
from tests.conformance.builders import (
    MINUTE,
    CommandBuilder,
    ManualClock,
    apply_all,
    apply_extend,
    apply_one,
    create_session,
    delete,
    extend,
    list_query,
    listed,
    read,
    update,
    user,
)
from tests.conformance.conftest import Reopen

FILTERS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"user_id": "ada"},
    {"session_group": "g"},
    {"model": "m"},
    {"status": "active"},
)


async def test_a_session_is_found_until_the_millisecond_before_it_expires(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    session = await create_session(store, build.create(user(), minutes=5))

    clock.move(5 * MINUTE - 1)

    assert (await read(store, session)).id == session.session_id
    assert await listed(store, list_query()) == [session.session_id]
    await apply_one(store, update(session, user()), Updated)


@pytest.mark.parametrize("late", [0, 1, 60 * MINUTE])
async def test_a_session_is_not_found_from_the_moment_it_expires(
    store: Store, build: CommandBuilder, clock: ManualClock, late: int
) -> None:
    session = await create_session(store, build.create(user(), model="m", session_group="g", minutes=5))

    clock.move(5 * MINUTE + late)

    for window in (None, Window(limit=1), Window(offset=0), Window(offset=0, limit=1)):
        with pytest.raises(SessionNotFoundError):
            await store.fetch(session.organisation, session.session_id, window)
    for filters in FILTERS:
        assert await listed(store, list_query(**filters)) == []
    outcomes = await apply_all(
        store,
        [
            update(session),
            update(session, user()),
            extend(session),
            delete(session),
            update(session, if_version=9, tokens_used=1),
        ],
    )
    assert [type(outcome) for outcome in outcomes] == [SessionNotFoundError] * 5


async def test_nothing_brings_an_expired_session_back(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    session = await create_session(store, build.create(minutes=5))
    clock.move(5 * MINUTE)

    await apply_one(store, extend(session, 1440), SessionNotFoundError)

    with pytest.raises(SessionNotFoundError):
        await read(store, session)


async def test_an_extended_session_is_absent_from_its_new_expiry(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    session = await create_session(store, build.create(minutes=5))
    await apply_extend(store, extend(session, 5))

    clock.move(10 * MINUTE - 1)
    assert await listed(store, list_query()) == [session.session_id]
    clock.move(1)

    assert await listed(store, list_query()) == []
    with pytest.raises(SessionNotFoundError):
        await read(store, session)


async def test_sessions_expire_one_by_one(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    sessions = [await create_session(store, build.create(minutes=minutes)) for minutes in (5, 6, 7)]

    left = []
    for _ in range(4):
        left.append(len(await listed(store, list_query())))
        clock.move(MINUTE if left != [3] else 5 * MINUTE)

    assert left == [3, 2, 1, 0]
    assert len(sessions) == 3


async def test_updating_does_not_move_the_expiry(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    session = await create_session(store, build.create(minutes=5))
    clock.move(4 * MINUTE)

    await apply_one(store, update(session, user(), status="completed"), Updated)

    assert (await read(store, session)).expires_at == session.created_at + 5 * MINUTE
    clock.move(MINUTE)
    with pytest.raises(SessionNotFoundError):
        await read(store, session)


async def test_now_is_taken_once_for_the_commands_on_a_session(reopen: Reopen, build: CommandBuilder) -> None:
    store = await reopen()
    session = await create_session(store, build.create())

    outcomes = await apply_all(store, [update(session, user(number)) for number in range(5)])

    times = {outcome.updated_at for outcome in outcomes if isinstance(outcome, Updated)}
    assert len(times) == 1


async def test_a_session_that_expired_long_ago_and_a_new_one_do_not_mix(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    old = await create_session(store, build.create(minutes=5))
    clock.move(10 * MINUTE)
    new = await create_session(store, build.create(minutes=5))

    extended, refused = await apply_all(store, [extend(new, 5), extend(old, 5)])

    assert isinstance(extended, Extended)
    assert isinstance(refused, SessionNotFoundError)
    assert await listed(store, list_query()) == [new.session_id]
