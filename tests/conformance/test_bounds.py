"""Totals and sizes have bounds; what would pass one is refused and changes nothing."""

import json

import pytest

from sessionary.errors import MetadataTooLargeError, SessionFullError, TotalTooLargeError
from sessionary.server.store.base import Command, Store, Update, Updated, Window
from tests.conformance.builders import (
    CommandBuilder,
    apply_all,
    apply_one,
    apply_update,
    contents_of,
    create_session,
    metadata_of,
    read,
    update,
    user,
)

INT32_MAX = 2_147_483_647
KIB = 1024
MIB = 1024 * KIB


def filled(session: Command, bodies: tuple[bytes, ...]) -> Update:
    return Update(
        organisation=session.organisation,
        session_id=session.session_id,
        messages=bodies,
        first_user_text="x",
    )


def message_of(size: int) -> bytes:
    """Make a message that takes ``size`` bytes once the store has added its time."""
    empty = b'{"role":"user","content":""}'
    stamp = b',"created_at":"2026-11-22T22:09:00.123Z"'
    return empty[:-2] + b"x" * (size - len(empty) - len(stamp)) + empty[-2:]


def metadata_of_size(size: int) -> dict[str, str]:
    return {"k": "x" * (size - len('{"k":""}'))}


async def test_tokens_add_up_to_the_largest_total(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    await apply_update(store, update(session, tokens_used=INT32_MAX - 5))
    full = await apply_update(store, update(session, tokens_used=5))
    await apply_one(store, update(session, tokens_used=1), TotalTooLargeError)
    await apply_update(store, update(session, tokens_used=0))

    assert full.total_tokens == INT32_MAX
    assert (await read(store, session)).total_tokens == INT32_MAX


async def test_tokens_that_pass_the_largest_total_are_refused_at_once(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    await apply_update(store, update(session, tokens_used=1))

    await apply_one(store, update(session, tokens_used=INT32_MAX), TotalTooLargeError)

    assert (await read(store, session)).total_tokens == 1


async def test_a_session_holds_a_hundred_thousand_messages(store: Store, build: CommandBuilder) -> None:
    session = build.create()
    thousand = (b'{"role":"user","content":""}',) * 1_000
    outcomes = await apply_all(store, [session, *[filled(session, thousand)] * 99])
    assert isinstance(outcomes[-1], Updated)
    await apply_update(store, filled(session, thousand[:999]))

    await apply_one(store, filled(session, thousand[:2]), SessionFullError)
    last = await apply_update(store, update(session, user("last")))
    await apply_one(store, update(session, user("one too many")), SessionFullError)

    assert last.total_messages == 100_000
    shown = await store.fetch(session.organisation, session.session_id, Window(offset=99_998))
    assert contents_of(shown) == ["", "last"]
    shown = await store.fetch(session.organisation, session.session_id)
    assert shown.messages.count(b'{"role"') == 100_000


async def test_a_session_holds_16_mebibytes(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    for _ in range(15):
        await apply_update(store, filled(session, (message_of(MIB),)))
    await apply_update(store, filled(session, (message_of(MIB - 500),)))

    await apply_one(store, filled(session, (message_of(501),)), SessionFullError)
    await apply_update(store, filled(session, (message_of(500),)))
    await apply_one(store, filled(session, (message_of(70),)), SessionFullError)

    shown = await store.fetch(session.organisation, session.session_id)
    blocks = 17
    assert len(shown.messages) == 16 * MIB + blocks - 1
    assert [len(text) for text in contents_of(shown)] == [MIB - 68] * 15 + [MIB - 568, 432]


async def test_a_full_session_can_still_be_changed(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    for _ in range(16):
        await apply_update(store, filled(session, (message_of(MIB),)))

    updated = await apply_update(store, update(session, status="completed", tokens_used=3, metadata={"a": 1}))

    assert (updated.status, updated.total_tokens, updated.total_messages) == ("completed", 3, 16)


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600", "\x01", '"'])
async def test_metadata_takes_64_kibibytes_of_json_after_the_merge(
    store: Store, build: CommandBuilder, letter: str
) -> None:
    room = 64 * KIB - len('{"a":1,"k":""}')
    encoded_size = len(json.dumps(letter, ensure_ascii=False).encode()) - 2
    fitting = letter * (room // encoded_size) + "x" * (room % encoded_size)
    session = await create_session(store, build.create(metadata={"a": 1}))

    await apply_one(store, update(session, metadata={"k": fitting + "x"}), MetadataTooLargeError)
    await apply_update(store, update(session, metadata={"k": fitting}))
    await apply_one(store, update(session, metadata={"b": 1}), MetadataTooLargeError)
    await apply_update(store, update(session, metadata={"a": None, "b": 1}))

    assert metadata_of(await read(store, session)) == {"k": fitting, "b": 1}


async def test_metadata_is_bounded_at_creation_too(store: Store, build: CommandBuilder) -> None:
    await apply_one(store, build.create(metadata=metadata_of_size(64 * KIB + 1)), MetadataTooLargeError)

    session = await create_session(store, build.create(metadata=metadata_of_size(64 * KIB)))

    assert len((await read(store, session)).metadata) == 64 * KIB


async def test_a_session_may_begin_with_a_thousand_messages(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(*map(user, range(1_000))))

    stored = await read(store, session)

    assert stored.total_messages == 1_000
