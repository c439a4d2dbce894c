"""Lists: live sessions of one organisation, newest created first, filtered and in pages."""

import itertools
from typing import Any

from sessionary.server.store.base import Create, Store
from tests.conformance.builders import (
    MINUTE,
    OTHER,
    CommandBuilder,
    ManualClock,
    apply_all,
    apply_update,
    create_session,
    delete,
    extend,
    list_query,
    listed,
    update,
    user,
)

USERS = ("ada", "bob")
GROUPS = (None, "web", "app")
MODELS = (None, "small", "large")
STATUSES = ("active", "completed")


async def begin_many(store: Store, build: CommandBuilder, count: int) -> list[str]:
    """Begin sessions, some of them within one millisecond; their ids, newest first."""
    sessions = []
    for number in range(count):
        sessions.append(build.create())
        build.clock.move(number % 3)
    await apply_all(store, sessions)
    return [session.session_id for session in reversed(sessions)]


async def test_the_newest_session_comes_first(store: Store, build: CommandBuilder) -> None:
    newest_first = await begin_many(store, build, 20)

    assert await listed(store, list_query()) == newest_first


async def test_the_order_does_not_change_with_use(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    sessions = [await create_session(store, build.create()) for _ in range(4)]
    clock.move(MINUTE)

    await apply_update(store, update(sessions[0], user(), status="completed"))
    await store.apply(extend(sessions[1]))

    assert await listed(store, list_query()) == [session.session_id for session in reversed(sessions)]


async def test_a_list_shows_each_session_as_reading_it_does(store: Store, build: CommandBuilder) -> None:
    session = await create_session(
        store,
        build.create(user("Hello there"), session_group="web", model="large", metadata={"a": [1, 2.5, "é"]}, minutes=5),
    )
    plain = await create_session(store, build.create(user_id="bob"))

    page = await store.list_sessions(list_query())
    shown = [await store.fetch(each.organisation, each.session_id) for each in (plain, session)]
    assert page.sessions == b",".join(b'{%b,"metadata":%b}' % (each.summary, each.metadata) for each in shown)


async def test_filters_are_exact_and_combined_with_and(store: Store, build: CommandBuilder) -> None:
    population: list[tuple[Create, str]] = []
    for user_id, group, model, status in itertools.product(USERS, GROUPS, MODELS, STATUSES):
        session = build.create(user_id=user_id, session_group=group, model=model)
        await apply_all(store, [session, update(session, status=status)])
        population.append((session, status))
    population.reverse()

    filters = itertools.product((None, *USERS, "eve"), (*GROUPS, "api"), (*MODELS, "tiny"), (None, *STATUSES))
    for user_filter, group, model, status_filter in filters:
        expected = [
            session.session_id
            for session, has_status in population
            if user_filter in (None, session.user_id)
            and group in (None, session.session_group)
            and model in (None, session.model)
            and status_filter in (None, has_status)
        ]
        query = list_query(user_id=user_filter, session_group=group, model=model, status=status_filter)
        assert await listed(store, query) == expected, query


async def test_offset_and_cursor_show_the_same_pages(store: Store, build: CommandBuilder) -> None:
    for number in range(9):
        await create_session(store, build.create(session_group="g", model="m"))
        await create_session(store, build.create(user_id="bob", organisation=OTHER, session_group="g", model="m"))
        build.clock.move(number % 2)
    whole = await listed(store, list_query())
    assert len(whole) == 9

    filters: dict[str, Any]
    for filters in ({}, {"user_id": "ada"}, {"session_group": "g"}, {"model": "m"}, {"status": "active"}):
        for limit in (1, 4, 9, 100):
            by_offset = [
                await listed(store, list_query(limit=limit, offset=offset, **filters)) for offset in range(0, 10, limit)
            ]
            by_cursor = [await listed(store, list_query(limit=limit, **filters))]
            while by_cursor[-1] and len(by_cursor) < 20:
                after = by_cursor[-1][-1]
                by_cursor.append(await listed(store, list_query(limit=limit, after=after, **filters)))

            assert list(itertools.chain(*by_offset)) == whole
            assert list(itertools.chain(*by_cursor)) == whole
            assert all(len(page) <= limit for page in (*by_offset, *by_cursor))


async def test_an_offset_past_the_end_shows_nothing(store: Store, build: CommandBuilder) -> None:
    await begin_many(store, build, 3)

    for offset in (3, 1_001, 2_147_483_647):
        assert await listed(store, list_query(offset=offset)) == []


async def test_a_cursor_outlives_the_session_it_names(store: Store, build: CommandBuilder) -> None:
    sessions = [await create_session(store, build.create()) for _ in range(4)]

    await store.apply(delete(sessions[2]))

    older = [sessions[1].session_id, sessions[0].session_id]
    assert await listed(store, list_query(after=sessions[2].session_id)) == older


async def test_cursor_pages_neither_skip_nor_repeat_while_sessions_come_and_go(
    store: Store, build: CommandBuilder
) -> None:
    sessions = [await create_session(store, build.create()) for _ in range(10)]
    first = await listed(store, list_query(limit=5))

    await create_session(store, build.create())
    await apply_all(store, [delete(sessions[8]), delete(sessions[4])])
    second = await listed(store, list_query(limit=5, after=first[-1]))

    left = [session.session_id for session in reversed(sessions)]
    assert first == left[:5]
    assert second == [session_id for session_id in left[5:] if session_id != sessions[4].session_id]


async def test_expired_sessions_are_not_counted_in_a_page(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    lasting = [await create_session(store, build.create(minutes=60)) for _ in range(3)]
    for _ in range(20):
        await create_session(store, build.create(minutes=5))
    lasting.append(await create_session(store, build.create(minutes=60)))
    clock.move(5 * MINUTE)

    expected = [session.session_id for session in reversed(lasting)]
    assert await listed(store, list_query(limit=2)) == expected[:2]
    assert await listed(store, list_query(limit=2, offset=2)) == expected[2:]
    assert await listed(store, list_query(limit=2, after=expected[1])) == expected[2:]


async def test_a_filter_follows_what_updates_set(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(model="small"))

    await apply_update(store, update(session, model="large", status="completed"))

    assert await listed(store, list_query(model="small")) == []
    assert await listed(store, list_query(status="active")) == []
    assert await listed(store, list_query(model="large", status="completed")) == [session.session_id]


async def test_a_name_matches_only_itself(store: Store, build: CommandBuilder) -> None:
    names = ["ada", "Ada", "ada ", "ad", "a%", "_da", "ádá", "a\u0301da\u0301", "\U0001f600"]
    sessions = [
        await create_session(store, build.create(user_id=name, session_group=name, model=name)) for name in names
    ]

    for field in ("user_id", "session_group", "model"):
        for name, session in zip(names, sessions, strict=True):
            filters: dict[str, Any] = {field: name}
            assert await listed(store, list_query(**filters)) == [session.session_id], filters
