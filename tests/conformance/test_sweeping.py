"""A sweep removes what has expired, bounded, with all that hangs on it, and nothing else."""

import asyncio

import pytest

from sessionary.server.store.base import Create, Store, SweepResult
from tests.conformance.builders import (
    DAY,
    MINUTE,
    OTHER,
    CommandBuilder,
    ManualClock,
    apply_all,
    apply_extend,
    apply_update,
    contents_of,
    create_session,
    delete,
    extend,
    key,
    list_query,
    listed,
    session_in,
    sweep_all,
    update,
    user,
)
from tests.conformance.conftest import CountRows, Reopen


async def begin_many(
    store: Store, build: CommandBuilder, count: int, *, minutes: int = 5, blocks: int = 0
) -> list[Create]:
    sessions = [build.create(user("first"), minutes=minutes) for _ in range(count)]
    await apply_all(store, sessions)
    for number in range(blocks):
        await apply_all(store, [update(session, user(number)) for session in sessions])
    return sessions


async def test_a_sweep_of_nothing_removes_nothing(store: Store, build: CommandBuilder) -> None:
    assert await store.sweep(10) == SweepResult(removed=0, more=False)
    await begin_many(store, build, 3)

    assert await store.sweep(10) == SweepResult(removed=0, more=False)


async def test_a_sweep_removes_expired_sessions_with_their_message_blocks(
    store: Store, build: CommandBuilder, clock: ManualClock, count_rows: CountRows
) -> None:
    await begin_many(store, build, 4, minutes=5, blocks=3)
    (kept,) = await begin_many(store, build, 1, minutes=6, blocks=2)
    await create_session(store, build.create(user(), organisation=OTHER, minutes=5))
    assert await count_rows() == (6, 20, 0)
    clock.move(5 * MINUTE)

    assert await store.sweep(100) == SweepResult(removed=5, more=False)

    assert await count_rows() == (1, 3, 0)
    assert await listed(store, list_query()) == [kept.session_id]


async def test_a_session_is_not_swept_before_it_expires(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    await begin_many(store, build, 1, minutes=5)
    clock.move(5 * MINUTE - 1)
    assert (await store.sweep(10)).removed == 0

    clock.move(1)

    assert (await store.sweep(10)).removed == 1


async def test_a_sweep_removes_at_most_its_limit(
    store: Store, build: CommandBuilder, clock: ManualClock, count_rows: CountRows
) -> None:
    await begin_many(store, build, 10, blocks=1)
    clock.move(5 * MINUTE)

    first = await store.sweep(4)

    assert first == SweepResult(removed=4, more=True)
    assert await count_rows() == (6, 12, 0)
    assert await sweep_all(store, limit=4) == 6
    assert await count_rows() == (0, 0, 0)


async def test_an_extended_session_is_kept_and_swept_later(
    store: Store, build: CommandBuilder, clock: ManualClock, count_rows: CountRows
) -> None:
    (session,) = await begin_many(store, build, 1, minutes=5, blocks=1)
    await apply_extend(store, extend(session, 5))
    clock.move(5 * MINUTE)

    assert await sweep_all(store, limit=1) == 0
    assert await store.sweep(1) == SweepResult(removed=0, more=False)
    shown = await store.fetch(session.organisation, session.session_id)
    assert contents_of(shown) == ["first", 0]

    clock.move(5 * MINUTE)
    assert await sweep_all(store, limit=1) == 1
    assert await count_rows() == (0, 0, 0)


async def test_extended_sessions_do_not_hide_expired_ones_from_the_sweep(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    extended = await begin_many(store, build, 7, minutes=5)
    await apply_all(store, [extend(session, 60) for session in extended])
    await begin_many(store, build, 5, minutes=6)
    clock.move(7 * MINUTE)

    assert await sweep_all(store, limit=3) == 5

    newest_first = [session.session_id for session in reversed(extended)]
    assert await listed(store, list_query()) == newest_first


async def test_a_session_extended_again_after_a_sweep_is_kept_again(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    (session,) = await begin_many(store, build, 1, minutes=5)
    for _ in range(4):
        await apply_extend(store, extend(session, 5))
        clock.move(5 * MINUTE)
        assert await sweep_all(store) == 0

    clock.move(5 * MINUTE)
    assert await sweep_all(store) == 1


async def test_a_deleted_session_leaves_nothing_to_sweep(
    store: Store, build: CommandBuilder, clock: ManualClock, count_rows: CountRows
) -> None:
    sessions = await begin_many(store, build, 3, blocks=2)

    await apply_all(store, [delete(session) for session in sessions])

    assert await count_rows() == (0, 0, 0)
    clock.move(5 * MINUTE)
    assert await store.sweep(10) == SweepResult(removed=0, more=False)


async def test_expired_keys_are_swept_and_others_stay(
    store: Store, build: CommandBuilder, clock: ManualClock, count_rows: CountRows
) -> None:
    session = await create_session(store, build.create(minutes=1440))
    await apply_extend(store, extend(session, 1440))
    await apply_update(store, update(session, user(), idempotency_key=key("old")))
    clock.move(1)
    await apply_update(store, update(session, user(), idempotency_key=key("young")))

    clock.move(DAY - 1)
    await sweep_all(store)

    assert (await count_rows())[2] == 1
    assert (await apply_update(store, update(session, user(), idempotency_key=key("young")))).replayed


async def test_a_sweep_removes_at_most_its_limit_of_keys(
    store: Store, build: CommandBuilder, clock: ManualClock, count_rows: CountRows
) -> None:
    session = build.create()
    await apply_all(
        store, [session, *(update(session, user(), idempotency_key=key(f"k{number}")) for number in range(10))]
    )
    clock.move(DAY)

    swept = await store.sweep(4)

    assert swept.more
    assert (await count_rows())[2] == 6
    await sweep_all(store, limit=4)
    assert await count_rows() == (0, 0, 0)


async def test_two_sweepers_at_once_remove_each_session_once(
    store: Store, reopen: Reopen, build: CommandBuilder, clock: ManualClock, count_rows: CountRows
) -> None:
    other = await reopen()
    await begin_many(store, build, 150, blocks=1)
    kept = await begin_many(store, build, 20, minutes=60)
    clock.move(5 * MINUTE)

    removed = await asyncio.gather(sweep_all(store, limit=7), sweep_all(other, limit=11))

    assert sum(removed) == 150
    assert await count_rows() == (20, 20, 0)
    assert len(await listed(store, list_query())) == len(kept)


@pytest.mark.parametrize("seed", range(3))
async def test_sweeping_beside_writers_harms_no_live_session(
    store: Store, reopen: Reopen, build: CommandBuilder, clock: ManualClock, seed: int
) -> None:
    other = await reopen()
    await begin_many(store, build, 60 + seed)
    live = await begin_many(store, build, 20)
    await apply_all(store, [extend(session, 5) for session in live])
    clock.move(5 * MINUTE)

    async def write(session: Create) -> None:
        for number in range(5):
            await apply_update(store, update(session, user(number)))
            await apply_extend(store, extend(session, 1))

    swept, *_ = await asyncio.gather(sweep_all(other, limit=9), *map(write, live))

    assert swept == 60 + seed
    for session in live:
        shown = await store.fetch(session.organisation, session.session_id)
        assert contents_of(shown) == ["first", 0, 1, 2, 3, 4]
        assert session_in(shown).expires_at == session.created_at + 15 * MINUTE
