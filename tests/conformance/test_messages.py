"""Messages come back in append order, as they were sent, each with the time at which the store received it."""

from typing import Any

from sessionary.server.store.base import Store, Update
from sessionary.timestamps import format_timestamp
from tests.conformance.builders import (
    MINUTE,
    CommandBuilder,
    ManualClock,
    apply_update,
    assistant,
    contents_of,
    create_session,
    read,
    read_messages,
    update,
    user,
)

TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


MESSAGES: list[dict[str, Any]] = [
    user("plain"),
    user(""),
    user("NUL \x00 and \x01\x1f\x7f\x80"),
    user("quotes \" ' \\ / and \n\r\t"),
    user("\U0001f600 é e\u0301 \ufeff \u2028 \u202e \uffff"),
    user([{"type": "text", "text": "part"}, {"type": "image", "url": "x"}]),
    user([]),
    {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
    {"role": "assistant", "tool_calls": [TOOL_CALL]},
    {"role": "tool", "content": "4", "tool_call_id": "c1"},
    {"role": "developer", "content": "rules"},
    user(
        "x",
        id="m1",
        name="ada",
        metadata={"deep": [1, 2.5, None, True, {}]},
        numbers=[2**64 - 1, -(2**63)],
    ),
    user("x" * 200_000),
]


async def test_a_message_comes_back_as_it_was_sent(store: Store, build: CommandBuilder) -> None:
    for message in MESSAGES:
        session = await create_session(store, build.create(message))
        await apply_update(store, update(session, message))

        stamped = {**message, "created_at": "2026-11-22T22:09:00.123Z"}
        assert await read_messages(store, session) == [stamped, stamped]


async def test_the_bytes_of_a_message_are_stored_unchanged(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())
    encoded = b'{"role":"user","content":"\\u0000\\ud83d\\ude00","n":[1.0,1e5,-0.0,12345678901234567890]'

    await apply_update(
        store,
        Update(
            organisation=session.organisation,
            session_id=session.session_id,
            messages=(encoded + b"}", encoded + b"}"),
            first_user_text="",
        ),
    )

    shown = await store.fetch(session.organisation, session.session_id)
    whole = encoded + b',"created_at":"2026-11-22T22:09:00.123Z"}'
    assert shown.messages == whole + b"," + whole


async def test_each_message_block_has_its_own_time(store: Store, build: CommandBuilder, clock: ManualClock) -> None:
    session = await create_session(store, build.create(user("one")))
    began = clock()
    clock.move(MINUTE + 1)

    await apply_update(store, update(session, assistant("two"), user("three")))

    times = [message["created_at"] for message in await read_messages(store, session)]
    assert times == [format_timestamp(began), format_timestamp(clock()), format_timestamp(clock())]


async def test_messages_come_in_append_order(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user(0), user(1)))
    for number in range(2, 32, 3):
        await apply_update(store, update(session, *map(user, range(number, number + 3))))

    shown = await store.fetch(session.organisation, session.session_id)

    assert contents_of(shown) == list(range(2 + 10 * 3))


async def test_totals_count_what_was_appended(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user(0), user(1)))
    appended = [assistant("é"), user("2")]

    updated = await apply_update(store, update(session, *appended, tokens_used=7))

    assert (updated.total_messages, updated.total_tokens) == (4, 7)
    stored = await read(store, session)
    assert (stored.total_messages, stored.total_tokens) == (4, 7)


async def test_an_empty_list_of_messages_appends_nothing(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(user("one")))
    nothing = Update(organisation=session.organisation, session_id=session.session_id, messages=())

    updated = await apply_update(store, nothing)
    await apply_update(store, update(session, user("two")))

    assert updated.total_messages == 1
    assert [message["content"] for message in await read_messages(store, session)] == ["one", "two"]
