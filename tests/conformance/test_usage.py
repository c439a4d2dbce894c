"""What an organisation's live sessions come to is counted on demand."""

import msgspec
import pytest

from sessionary.errors import PreconditionFailedError
from sessionary.server.store.base import (
    CURSOR_START,
    Created,
    Deleted,
    IdempotencyKey,
    Store,
    UsagePage,
    stored_size_of,
)
from tests.conformance.builders import (
    MINUTE,
    OTHER,
    CommandBuilder,
    ManualClock,
    apply_all,
    apply_one,
    apply_update,
    create_session,
    delete,
    update,
    user,
)


async def test_an_unknown_organisation_has_no_usage(store: Store) -> None:
    assert await store.measure_usage("nobody") == UsagePage(0, 0)


async def test_live_sessions_and_their_bytes_are_counted_to_the_byte(store: Store, build: CommandBuilder) -> None:
    beginnings = [build.create(), build.create(user("ä"), user("b")), build.create(user("c"))]
    for beginning in beginnings:
        await create_session(store, beginning)
    appended = update(beginnings[1], user("d"), user("e"), user("f"))
    await apply_update(store, appended)

    usage = await store.measure_usage(beginnings[0].organisation)

    assert usage == UsagePage(3, sum(map(stored_size_of, [*beginnings, appended])))
    assert usage.stored_bytes > 6 * len('{"role":"user","content":"a","created_at":"2026-11-22T22:09:00.123Z"}')


async def test_what_is_deleted_expired_or_anothers_is_not_counted(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    kept = await create_session(store, build.create(user("kept"), minutes=60))
    gone = await create_session(store, build.create(user("gone"), minutes=60))
    await create_session(store, build.create(user("expired"), minutes=5))
    await create_session(store, build.create(user("another's"), organisation=OTHER))
    await apply_one(store, delete(gone), Deleted)
    clock.move(5 * MINUTE)

    assert (await store.measure_usage(kept.organisation)).sessions == 1
    assert (await store.measure_usage(OTHER)).sessions == 1


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 100])
async def test_it_is_counted_in_pages_newest_first_and_each_session_once(
    store: Store, build: CommandBuilder, clock: ManualClock, limit: int
) -> None:
    beginnings = [build.create(user(str(number)), minutes=5 if number % 3 == 0 else 60) for number in range(7)]
    for beginning in beginnings:
        await create_session(store, beginning)
    await create_session(store, build.create(user("another's"), organisation=OTHER))
    clock.move(5 * MINUTE)
    pages: list[UsagePage] = []
    after: str | None = CURSOR_START

    while after is not None:
        pages.append(await store.measure_usage(beginnings[0].organisation, after, limit))
        after = pages[-1].after

    live = [beginning for number, beginning in enumerate(beginnings) if number % 3]
    assert sum(page.sessions for page in pages) == len(live)
    assert sum(page.stored_bytes for page in pages) == sum(map(stored_size_of, live))
    assert len(pages) == 7 // limit + 1


async def test_a_creation_with_a_version_creates_nothing_but_is_replayed(store: Store, build: CommandBuilder) -> None:
    beginning = build.create(idempotency_key=IdempotencyKey("ada", "key", b"print"))
    first = await apply_one(store, beginning, Created)
    again = build.create(idempotency_key=beginning.idempotency_key)
    unheard = build.create(idempotency_key=IdempotencyKey("ada", "other", b"print"))

    results = await apply_all(store, [msgspec.structs.replace(each, if_version=0) for each in (again, unheard)])

    assert isinstance(results[0], Created)
    assert (results[0].session_id, results[0].replayed) == (first.session_id, True)
    assert isinstance(results[1], PreconditionFailedError)
    assert (await store.measure_usage(beginning.organisation)).sessions == 1


@pytest.mark.parametrize("messages", [0, 1, 2, 7])
def test_a_stored_size_is_computed_without_the_store(messages: int) -> None:
    beginning = CommandBuilder(ManualClock()).create(*[user("x" * number) for number in range(messages)])
    encoded = [
        f'{{"role":"user","content":"{"x" * number}","created_at":"2026-11-22T22:09:00.123Z"}}'
        for number in range(messages)
    ]

    assert stored_size_of(beginning) == len(",".join(encoded))
