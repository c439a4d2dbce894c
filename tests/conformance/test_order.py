"""The commands of a batch are applied in order: each outcome is as if they had come one after another."""

import msgspec
import pytest

from sessionary.errors import SessionaryError, SessionNotFoundError, TotalTooLargeError
from sessionary.server.store.base import Command, Created, Deleted, Extended, Outcome, Store, Update, Updated
from tests.conformance.builders import (
    MINUTE,
    CommandBuilder,
    apply_all,
    apply_update,
    assistant,
    contents_of,
    create_session,
    delete,
    extend,
    list_query,
    listed,
    metadata_of,
    read,
    session_in,
    update,
    user,
)


def versions(outcomes: list[Outcome]) -> list[int | str]:
    return [type(outcome).__name__ if isinstance(outcome, SessionaryError) else outcome.version for outcome in outcomes]


async def test_each_command_on_a_session_sees_what_the_one_before_it_did(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    outcomes = await apply_all(
        store,
        [
            update(session, user("one"), tokens_used=1),
            update(session, assistant("two"), tokens_used=2),
            extend(session, 5),
            update(session, user("three"), assistant("four"), tokens_used=4),
        ],
    )

    assert versions(outcomes) == [2, 3, 4, 5]
    totals = [(outcome.total_messages, outcome.total_tokens) for outcome in outcomes if isinstance(outcome, Updated)]
    assert totals == [(1, 1), (2, 3), (4, 7)]
    conversation = await store.fetch(session.organisation, session.session_id)
    assert contents_of(conversation) == ["one", "two", "three", "four"]
    assert session_in(conversation).expires_at == session.created_at + 65 * MINUTE


async def test_a_session_can_be_created_and_changed_in_one_batch(store: Store, build: CommandBuilder) -> None:
    session = build.create(user("one"))

    created, updated, extended = await apply_all(
        store, [session, update(session, assistant("two"), status="completed"), extend(session, 10)]
    )

    assert isinstance(created, Created)
    assert isinstance(updated, Updated)
    assert isinstance(extended, Extended)
    conversation = await store.fetch(session.organisation, session.session_id)
    assert contents_of(conversation) == ["one", "two"]
    assert session_in(conversation).status == "completed"
    assert conversation.version == 3
    assert session_in(conversation).expires_at == created.expires_at + 10 * MINUTE


async def test_outcomes_come_in_the_order_of_the_commands(store: Store, build: CommandBuilder) -> None:
    old = [await create_session(store, build.create()) for _ in range(8)]
    fresh = [build.create() for _ in range(8)]
    commands: list[Command] = []
    for before, begun in zip(old, fresh, strict=True):
        commands += [begun, update(before, user()), delete(before), update(before, user())]

    outcomes = await apply_all(store, commands)

    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Created, Updated, Deleted, SessionNotFoundError] * 8
    named = [None if isinstance(outcome, SessionaryError) else outcome.session_id for outcome in outcomes]
    assert named == [None if position % 4 == 3 else command.session_id for position, command in enumerate(commands)]


async def test_a_refused_command_harms_no_other_command_of_its_batch(store: Store, build: CommandBuilder) -> None:
    session, other = build.create(), build.create()
    await create_session(store, session)

    outcomes = await apply_all(
        store,
        [
            update(session, user("one"), tokens_used=2_147_483_647),
            update(session, user("never"), tokens_used=1),
            other,
            update(build.create(), user("nowhere")),
            update(session, user("two")),
            update(other, user("there")),
        ],
    )

    assert versions(outcomes) == [2, TotalTooLargeError.__name__, 1, SessionNotFoundError.__name__, 3, 2]
    assert contents_of(await store.fetch(session.organisation, session.session_id)) == ["one", "two"]
    assert contents_of(await store.fetch(other.organisation, other.session_id)) == ["there"]


async def test_what_follows_a_delete_finds_nothing(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create())

    outcomes = await apply_all(
        store, [update(session, user()), delete(session), delete(session), extend(session), update(session, user())]
    )

    missing = SessionNotFoundError.__name__
    assert versions(outcomes) == [2, 2, missing, missing, missing]
    with pytest.raises(SessionNotFoundError):
        await read(store, session)


async def test_a_session_created_and_deleted_in_one_batch_leaves_nothing(store: Store, build: CommandBuilder) -> None:
    session = build.create(user())

    outcomes = await apply_all(store, [session, update(session, user()), delete(session)])

    assert versions(outcomes) == [1, 2, 2]
    with pytest.raises(SessionNotFoundError):
        await read(store, session)
    assert await listed(store, list_query()) == []


async def test_metadata_is_merged_in_order_within_a_batch(store: Store, build: CommandBuilder) -> None:
    session = await create_session(store, build.create(metadata={"a": 1, "b": 1}))

    await apply_all(
        store,
        [
            update(session, metadata={"a": 2, "c": 2}),
            update(session, user()),
            update(session, metadata={"c": None, "d": 4}),
        ],
    )

    assert metadata_of(await read(store, session)) == {"a": 2, "b": 1, "d": 4}


async def test_a_batch_that_changes_one_metadata_keeps_the_others(store: Store, build: CommandBuilder) -> None:
    changed, kept = build.create(metadata={"a": 1}), build.create(metadata={"b": [2]})
    await apply_all(store, [changed, kept])

    await apply_all(store, [update(kept, user()), update(changed, metadata={"a": 3}), extend(kept), extend(changed)])

    assert metadata_of(await read(store, kept)) == {"b": [2]}
    assert metadata_of(await read(store, changed)) == {"a": 3}


async def test_a_thousand_commands_at_once_keep_their_order(store: Store, build: CommandBuilder) -> None:
    sessions = [build.create() for _ in range(7)]
    blocks = [update(sessions[number % 7], user(number)) for number in range(1000)]

    outcomes = await apply_all(store, [*sessions, *blocks])

    assert not [outcome for outcome in outcomes if isinstance(outcome, SessionaryError)]
    for position, session in enumerate(sessions):
        conversation = await store.fetch(session.organisation, session.session_id)
        assert contents_of(conversation) == list(range(position, 1000, 7))


async def test_an_id_used_again_in_the_batch_that_deletes_it_names_a_new_session(
    store: Store, build: CommandBuilder
) -> None:
    for messages in ([], [user("new")]):
        old = await create_session(
            store, build.create(user("old"), session_group="g", title="Old", metadata={"old": 1})
        )
        new = msgspec.structs.replace(build.create(*messages, user_id="bob", minutes=5), session_id=old.session_id)

        outcomes = await apply_all(store, [update(old, user("older")), delete(old), new])
        await apply_update(store, update(new, assistant("newer")))

        assert versions(outcomes) == [2, 2, 1]
        conversation = await store.fetch(new.organisation, new.session_id)
        assert contents_of(conversation) == [*(message["content"] for message in messages), "newer"]
        stored = session_in(conversation)
        assert (stored.user_id, stored.session_group, metadata_of(stored)) == ("bob", None, {})
        assert stored.expires_at == new.created_at + 5 * MINUTE
        assert await listed(store, list_query(user_id="ada")) == []


async def test_a_session_changed_by_every_kind_of_update_at_once_is_written_whole(
    store: Store, build: CommandBuilder
) -> None:
    session = await create_session(store, build.create())
    whole = Update(
        organisation=session.organisation,
        session_id=session.session_id,
        messages=(b'{"role":"user","content":"x"}',),
        first_user_text="x",
        tokens_used=5,
        status="completed",
        metadata={"k": "v"},
        title="Title",
        model="model",
    )

    await store.apply(whole)

    stored = await read(store, session)
    assert (stored.title, stored.model, stored.status) == ("Title", "model", "completed")
    assert (stored.total_messages, stored.total_tokens, stored.version) == (1, 5, 2)
    assert metadata_of(stored) == {"k": "v"}
