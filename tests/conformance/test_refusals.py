"""A command that is refused changes nothing."""

from typing import Any

import msgspec
import pytest

from sessionary.errors import (
    ExpiryTooFarError,
    IdempotencyKeyReusedError,
    MetadataTooLargeError,
    PreconditionFailedError,
    SessionaryError,
    SessionFullError,
    SessionNotFoundError,
    TotalTooLargeError,
)
from sessionary.server.store.base import Command, Conversation, Store, Update
from tests.conformance.builders import (
    DAY,
    HORIZON,
    MINUTE,
    CommandBuilder,
    ManualClock,
    apply_all,
    apply_one,
    create_session,
    delete,
    extend,
    key,
    session_in,
    update,
    user,
)
from tests.conformance.conftest import ENGINES, CountRows

TOO_LARGE = {"large": "x" * 65_536}
EVERYTHING: dict[str, Any] = {"status": "completed", "title": "New", "model": "new"}
MIB = 1024 * 1024


async def seen(store: Store, session: Command) -> Conversation:
    return await store.fetch(session.organisation, session.session_id)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"tokens_used": 2_147_483_647, "metadata": {"a": 2}}, TotalTooLargeError),
        ({"tokens_used": 1, "metadata": TOO_LARGE}, MetadataTooLargeError),
        ({"tokens_used": 1, "metadata": {"a": 2}, "if_version": 1}, PreconditionFailedError),
        (
            {"tokens_used": 1, "metadata": {"a": 2}, "idempotency_key": key("used", fingerprint=b"other")},
            IdempotencyKeyReusedError,
        ),
    ],
    ids=["tokens", "metadata", "version", "key"],
)
async def test_a_refused_update_leaves_the_session_as_it_was(
    store: Store, build: CommandBuilder, clock: ManualClock, given: dict[str, Any], error: type[SessionaryError]
) -> None:
    session = await create_session(store, build.create(user("one"), metadata={"a": 1}))
    await store.apply(update(session, user("two"), tokens_used=1, idempotency_key=key("used")))
    before = await seen(store, session)
    clock.move(MINUTE)

    outcome = await store.apply(update(session, user("three"), **EVERYTHING, **given))

    assert isinstance(outcome, error)
    assert await seen(store, session) == before


async def test_an_update_that_does_not_fit_leaves_the_session_as_it_was(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    session = await create_session(store, build.create(user("one")))
    before = await seen(store, session)
    clock.move(MINUTE)
    large = Update(
        organisation=session.organisation,
        session_id=session.session_id,
        messages=(b'{"role":"user","content":"' + b"x" * 900_000 + b'"}',) * 19,
        first_user_text="x",
        tokens_used=1,
        **EVERYTHING,
    )

    outcome = await store.apply(large)

    assert isinstance(outcome, SessionFullError)
    assert await seen(store, session) == before


async def test_a_refused_extension_leaves_the_session_as_it_was(
    store: Store, build: CommandBuilder, clock: ManualClock
) -> None:
    session = await create_session(store, build.create())
    before = await seen(store, session)
    clock.move(MINUTE)

    outcome = await store.apply(extend(session, 1440, horizon=DAY))

    assert isinstance(outcome, ExpiryTooFarError)
    assert await seen(store, session) == before


async def test_a_refused_deletion_leaves_the_session_as_it_was(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user("one")))
    before = await seen(store, session)

    outcome = await store.apply(delete(session, if_version=7))

    assert isinstance(outcome, PreconditionFailedError)
    assert await seen(store, session) == before


async def test_a_refused_creation_begins_nothing(store: Store, build: CommandBuilder, count_rows: CountRows) -> None:
    session = build.create(user("one"), metadata=TOO_LARGE, idempotency_key=key("first"))

    await apply_one(store, session, MetadataTooLargeError)

    with pytest.raises(SessionNotFoundError):
        await seen(store, session)
    assert await count_rows() == (0, 0, 0)


async def test_a_refused_command_does_not_use_its_key_up(
    store: Store, build: CommandBuilder, count_rows: CountRows
) -> None:
    session = await create_session(store, build.create())
    await apply_one(store, extend(session, 1440, horizon=MINUTE, idempotency_key=key("again")), ExpiryTooFarError)
    assert await count_rows() == (1, 0, 0)

    outcome = await store.apply(extend(session, 1440, horizon=HORIZON, idempotency_key=key("again")))

    assert not isinstance(outcome, SessionaryError)
    assert not outcome.replayed


@pytest.mark.parametrize("kind", ENGINES, indirect=True)
async def test_what_the_database_itself_refuses_harms_only_itself(store: Store, build: CommandBuilder) -> None:
    taken, other = build.create(user("mine")), build.create()
    await apply_all(store, [taken, other])
    before = await seen(store, taken)
    twin = msgspec.structs.replace(build.create(user("not mine")), session_id=taken.session_id)
    fresh = [build.create(user("hello")) for _ in range(5)]

    outcomes = await apply_all(
        store, [update(other, user("one")), *fresh[:3], twin, *fresh[3:], update(other, user("two"))]
    )

    refused = [position for position, outcome in enumerate(outcomes) if isinstance(outcome, SessionaryError)]
    assert refused == [4]
    assert await seen(store, taken) == before
    assert session_in(await seen(store, other)).total_messages == 2
    for session in fresh:
        assert session_in(await seen(store, session)).total_messages == 1
