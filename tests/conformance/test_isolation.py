"""A session of another organisation is not found."""

from typing import Any, Final

import msgspec
import pytest

from sessionary.errors import SessionNotFoundError
from sessionary.server.store.base import Command, Store, Updated, Window
from tests.conformance.builders import (
    OTHER,
    CommandBuilder,
    apply_all,
    apply_one,
    create_session,
    delete,
    extend,
    key,
    list_query,
    listed,
    read,
    update,
    user,
)

FILTERS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"user_id": "u"},
    {"session_group": "g"},
    {"model": "m"},
    {"status": "active"},
)
ALIKE = [
    "Demo",
    "demo ",
    " demo",
    "dem",
    "demo2",
    "d%",
    "_emo",
    "dém",
    "démo",
    "de\u0301mo",
    "d\u200bemo",
    "demo\U0001f600",
]


def as_seen_by(organisation: str, build: CommandBuilder, session: Command) -> Command:
    return msgspec.structs.replace(build.create(organisation=organisation), session_id=session.session_id)


async def test_another_organisation_cannot_read_a_session(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user("secret")))

    for window in (None, Window(limit=1), Window(offset=0)):
        with pytest.raises(SessionNotFoundError) as other:
            await store.fetch(OTHER, session.session_id, window)
        with pytest.raises(SessionNotFoundError) as unknown:
            await store.fetch(OTHER, build.ids.next(build.clock()), window)
        assert other.value.detail == unknown.value.detail


async def test_another_organisation_cannot_change_a_session(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user("secret")))
    before = await store.fetch(session.organisation, session.session_id)
    foreign = as_seen_by(OTHER, build, session)

    outcomes = await apply_all(
        store, [update(foreign), update(foreign, user("mine")), extend(foreign), delete(foreign, if_version=1)]
    )

    assert [type(outcome) for outcome in outcomes] == [SessionNotFoundError] * 4
    assert await store.fetch(session.organisation, session.session_id) == before


async def test_another_organisation_cannot_list_a_session(store: Store, build: CommandBuilder) -> None:
    mine = [await create_session(store, build.create(user_id="u", session_group="g", model="m")) for _ in range(3)]
    theirs = [
        await create_session(store, build.create(organisation=OTHER, user_id="u", session_group="g", model="m"))
        for _ in range(2)
    ]

    for filters in FILTERS:
        assert set(await listed(store, list_query(**filters))) == {session.session_id for session in mine}
        assert set(await listed(store, list_query(OTHER, **filters))) == {session.session_id for session in theirs}


async def test_another_organisations_cursor_shows_only_ones_own_rows(store: Store, build: CommandBuilder) -> None:
    first = await create_session(store, build.create())
    theirs = await create_session(store, build.create(organisation=OTHER))
    await create_session(store, build.create())

    assert await listed(store, list_query(after=theirs.session_id)) == [first.session_id]
    assert await listed(store, list_query(OTHER, after=first.session_id)) == []


async def test_the_same_id_in_two_organisations_names_two_sessions(store: Store, build: CommandBuilder) -> None:
    mine = build.create(user("mine"))
    theirs = as_seen_by(OTHER, build, mine)
    await apply_all(store, [mine, theirs])

    await apply_one(store, update(theirs, user("theirs")), Updated)
    await store.apply(delete(mine))

    with pytest.raises(SessionNotFoundError):
        await read(store, mine)
    assert (await read(store, theirs)).total_messages == 1


async def test_organisations_share_a_batch_without_meeting(store: Store, build: CommandBuilder) -> None:
    mine, theirs = build.create(), build.create(organisation=OTHER)

    outcomes = await apply_all(
        store,
        [
            mine,
            theirs,
            update(as_seen_by(OTHER, build, mine), user()),
            update(theirs, user()),
            update(as_seen_by("demo", build, theirs), user()),
            update(mine, user()),
        ],
    )

    names = [type(outcome).__name__ for outcome in outcomes]
    missing = SessionNotFoundError.__name__
    assert names == ["Created", "Created", missing, "Updated", missing, "Updated"]


async def test_an_organisations_keys_are_its_own(store: Store, build: CommandBuilder) -> None:
    mine = build.create(idempotency_key=key("k"))
    theirs = build.create(organisation=OTHER, idempotency_key=key("k", fingerprint=b"another"))

    outcomes = await apply_all(store, [mine, theirs])

    assert [type(outcome).__name__ for outcome in outcomes] == ["Created", "Created"]


async def test_an_organisation_with_a_similar_name_is_another_one(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(organisation="demo"))

    for name in ALIKE:
        with pytest.raises(SessionNotFoundError):
            await store.fetch(name, session.session_id)
        assert await listed(store, list_query(name)) == [], name


async def test_an_organisation_may_have_the_longest_name_and_any_letters(store: Store, build: CommandBuilder) -> None:
    name = ("a/b%2F?#\\'\"; DROP TABLE sessions -- \U0001f600ß" * 4)[:128]
    session = await create_session(store, build.create(user("hello"), organisation=name))

    assert (await read(store, session)).id == session.session_id
    assert await listed(store, list_query(name)) == [session.session_id]
