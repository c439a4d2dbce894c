"""Tokens are kept as they are given, found by id, listed in order and revoked for good."""

import asyncio
import secrets

import msgspec
import pytest

from sessionary.errors import StoreUnavailableError, TokenNotFoundError
from sessionary.server.operations.tokens import TokenIssuer, create_first_token, find_token
from sessionary.server.store.base import Store
from tests.conformance.builders import DAY, MINUTE, CommandBuilder, ManualClock, sweep_all
from tests.conformance.conftest import Reopen


async def test_a_token_is_read_as_it_was_stored(store: Store, build: CommandBuilder) -> None:
    given = msgspec.structs.replace(
        build.token("t1", name="ci: \U0001f600 é"),
        expires_at=build.clock() + DAY,
        secret_hash=b"\x00\xff" * 16,
    )

    await store.create_token(given)

    assert await store.find_token("t1") == given


async def test_a_token_may_be_good_for_every_organisation(store: Store, build: CommandBuilder) -> None:
    given = build.token("t1", organisation=None)

    await store.create_token(given)

    assert await store.find_token("t1") == given


async def test_a_token_may_have_one_scope(store: Store, build: CommandBuilder) -> None:
    given = msgspec.structs.replace(build.token("t1"), scopes=("sessions:read",))

    await store.create_token(given)

    assert await store.find_token("t1") == given


async def test_a_token_does_not_replace_another(store: Store, build: CommandBuilder) -> None:
    first = build.token("t1", name="first")
    await store.create_token(first)

    with pytest.raises(StoreUnavailableError):
        await store.create_token(build.token("t1", name="second"))

    assert await store.find_token("t1") == first


async def test_of_several_servers_one_makes_the_first_token(
    store: Store, reopen: Reopen, build: CommandBuilder
) -> None:
    makers = [TokenIssuer(place, build.clock, secrets.token_bytes) for place in (store, await reopen())]

    made = await asyncio.gather(*(create_first_token(maker, "demo") for maker in makers * 4))

    (text,) = [text for text in made if text is not None]
    (kept,) = await store.list_tokens(10)
    assert await find_token(store, text) == kept
    assert await create_first_token(makers[0], "demo") is None


async def test_an_unknown_token_is_not_found(store: Store, build: CommandBuilder) -> None:
    await store.create_token(build.token("t1"))

    for token_id in ("", "t", "t11", "T1", "%", "t1 "):
        assert await store.find_token(token_id) is None


async def test_an_expired_token_is_still_found(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    given = msgspec.structs.replace(build.token("t1"), expires_at=clock() + MINUTE)
    await store.create_token(given)

    clock.move(30 * DAY)
    await sweep_all(store)

    assert await store.find_token("t1") == given


async def test_tokens_are_listed_by_id_in_pages(store: Store, build: CommandBuilder) -> None:
    names = [build.ids.next(build.clock()) for _ in range(7)]
    for name in reversed(names):
        await store.create_token(build.token(name))

    pages = [[token.id for token in await store.list_tokens(3)]]
    for _ in range(3):
        pages.append([token.id for token in await store.list_tokens(3, after=pages[-1][-1])])

    assert pages == [names[:3], names[3:6], names[6:], []]


async def test_a_list_of_tokens_shows_each_as_finding_it_does(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    await store.create_token(build.token("a", organisation=None))
    await store.create_token(build.token("b"))
    clock.move(MINUTE)
    await store.revoke_token("b")

    assert await store.list_tokens(10) == [await store.find_token("a"), await store.find_token("b")]


async def test_tokens_are_ordered_by_code_point(store: Store, build: CommandBuilder) -> None:
    for name in ("b", "B", "a", "_", "A", "0"):
        await store.create_token(build.token(name))

    assert [token.id for token in await store.list_tokens(10)] == ["0", "A", "B", "_", "a", "b"]
    assert [token.id for token in await store.list_tokens(10, after="B")] == ["_", "a", "b"]


async def test_a_revoked_token_says_when(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    given = build.token("t1")
    await store.create_token(given)
    clock.move(MINUTE)

    revoked = await store.revoke_token("t1")

    assert revoked == msgspec.structs.replace(given, revoked_at=clock())
    assert await store.find_token("t1") == revoked


async def test_a_token_is_revoked_once_and_for_good(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    await store.create_token(build.token("t1"))
    first = await store.revoke_token("t1")
    clock.move(MINUTE)

    assert await store.revoke_token("t1") == first


async def test_revoking_one_token_leaves_the_others(store: Store, build: CommandBuilder) -> None:
    await store.create_token(build.token("t1"))
    await store.create_token(build.token("t2"))

    await store.revoke_token("t1")

    assert await store.find_token("t2") == build.token("t2")


async def test_an_unknown_token_cannot_be_revoked(store: Store) -> None:
    with pytest.raises(TokenNotFoundError):
        await store.revoke_token("nobody")


async def test_another_process_sees_a_token_and_its_end(store: Store, reopen: Reopen, build: CommandBuilder) -> None:
    other = await reopen()
    await store.create_token(build.token("t1"))
    assert await other.find_token("t1") == build.token("t1")

    revoked = await store.revoke_token("t1")

    assert await other.find_token("t1") == revoked


async def test_the_latest_use_of_a_token_is_stored_and_changes_nothing_else(
    store: Store, build: CommandBuilder
) -> None:
    given = build.token("t1"), build.token("t2"), build.token("t3")
    for token in given:
        await store.create_token(token)

    await store.note_token_uses({"t1": 5_000, "t2": 7_000, "nobody's": 1})
    await store.note_token_uses({"t1": 4_000, "t2": 8_000})
    await store.note_token_uses({})

    assert [token.last_used_at for token in await store.list_tokens(10)] == [5_000, 8_000, None]
    assert await store.find_token("t2") == msgspec.structs.replace(given[1], last_used_at=8_000)
    assert (await store.revoke_token("t1")).last_used_at == 5_000
