"""Every rule of what one command does to one session: state and command in, state, outcome and block out."""

from copy import copy
from typing import Any

import pytest

from sessionary.errors import (
    ExpiryTooFarError,
    MetadataTooLargeError,
    PreconditionFailedError,
    SessionaryError,
    SessionFullError,
    SessionNotFoundError,
    TotalTooLargeError,
)
from sessionary.server.store.base import (
    Command,
    Create,
    Created,
    Delete,
    Deleted,
    Extend,
    Extended,
    MessageBlock,
    StoredSession,
    Update,
    Updated,
)
from sessionary.server.store.rules import Step, apply_command

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
CREATED = 1_795_385_340_123  # 2026-11-22T22:09:00.123Z
NOW = CREATED + MINUTE
INT32_MAX = 2_147_483_647
ID = "01a2054e-30db-7000-8000-000000000001"
HELLO = b'{"role":"user","content":"Hello"}'
STAMPED = b'{"role":"user","content":"Hello","created_at":"2026-11-22T22:10:00.123Z"}'


def stored(**changes: Any) -> StoredSession:
    fields: dict[str, Any] = {
        "organisation": "demo",
        "id": ID,
        "user_id": "ada",
        "session_group": "web",
        "title": None,
        "model": None,
        "status": "active",
        "metadata": b'{"a":1}',
        "user_spoke": False,
        "total_messages": 2,
        "total_tokens": 5,
        "total_bytes": 100,
        "created_at": CREATED,
        "updated_at": CREATED,
        "expires_at": CREATED + 60 * MINUTE,
        "version": 3,
    }
    return StoredSession(**{**fields, **changes})


def create(**given: Any) -> Create:
    return Create(
        organisation="demo",
        session_id=ID,
        created_at=CREATED,
        user_id="ada",
        expires_after=60 * MINUTE,
        **given,
    )


def update(**given: Any) -> Update:
    return Update(organisation="demo", session_id=ID, **given)


def extend(minutes: int, *, horizon: int = 30 * DAY, if_version: int | None = None) -> Extend:
    return Extend(organisation="demo", session_id=ID, minutes=minutes, horizon=horizon, if_version=if_version)


def delete(if_version: int | None = None) -> Delete:
    return Delete(organisation="demo", session_id=ID, if_version=if_version)


def changed(command: Command, state: StoredSession | None = None) -> StoredSession:
    """Decide a command that must leave a session behind."""
    after, outcome, _ = apply_command(state or stored(), command, NOW)
    assert not isinstance(outcome, SessionaryError), outcome
    assert after is not None
    return after


def refused(command: Command, state: StoredSession | None = None) -> SessionaryError:
    """Decide a command that must leave everything as it was."""
    state = state or stored()
    after, outcome, block = apply_command(state, command, NOW)
    assert isinstance(outcome, SessionaryError), outcome
    assert after is state
    assert block is None
    return outcome


# ------------------------------------------------------------------------------------------------ create


def test_creating_begins_an_active_session_of_version_1() -> None:
    after, outcome, block = apply_command(None, create(session_group="web", title="T", model="m"), NOW)

    assert after == StoredSession(
        organisation="demo",
        id=ID,
        user_id="ada",
        session_group="web",
        title="T",
        model="m",
        status="active",
        metadata=b"{}",
        user_spoke=False,
        total_messages=0,
        total_tokens=0,
        total_bytes=0,
        created_at=CREATED,
        updated_at=CREATED,
        expires_at=CREATED + 60 * MINUTE,
        version=1,
    )
    assert outcome == Created(session_id=ID, version=1, created_at=CREATED, expires_at=CREATED + 60 * MINUTE)
    assert block is None


def test_initial_messages_are_the_first_block_and_have_the_time_of_creation() -> None:
    after, _, block = apply_command(None, create(messages=(HELLO, HELLO), first_user_text="Hello"), NOW)

    body = b",".join([STAMPED.replace(b"22:10", b"22:09")] * 2)
    assert block == MessageBlock("demo", ID, 0, 2, 0, body, CREATED)
    assert after is not None
    assert (after.total_messages, after.total_bytes, after.version) == (2, len(body), 1)
    assert (after.title, after.user_spoke) == ("Hello", True)


def test_null_is_left_out_of_metadata_at_creation() -> None:
    after, _, _ = apply_command(None, create(metadata={"a": None, "b": {"c": None}}), NOW)

    assert after is not None
    assert after.metadata == b'{"b":{"c":null}}'


def test_a_creation_with_too_much_of_anything_begins_nothing() -> None:
    large = b'{"role":"user","content":"' + b"x" * 1_000_000 + b'"}'

    for command, error in (
        (create(metadata={"a": "x" * 65_536}), MetadataTooLargeError),
        (create(messages=(large,) * 17), SessionFullError),
    ):
        after, outcome, block = apply_command(None, command, NOW)
        assert isinstance(outcome, error)
        assert (after, block) == (None, None)


# ------------------------------------------------------------------------------------------------ presence and version


@pytest.mark.parametrize("command", [update(), update(status="completed"), extend(1), delete()])
def test_an_absent_session_is_not_found(command: Command) -> None:
    after, outcome, block = apply_command(None, command, NOW)

    assert isinstance(outcome, SessionNotFoundError)
    assert (after, block) == (None, None)


@pytest.mark.parametrize("command", [update(), update(status="completed"), extend(1), delete()])
def test_an_expired_session_is_not_found(command: Command) -> None:
    assert isinstance(refused(command, stored(expires_at=NOW)), SessionNotFoundError)
    assert isinstance(refused(command, stored(expires_at=NOW - 1)), SessionNotFoundError)
    assert not isinstance(apply_command(stored(expires_at=NOW + 1), command, NOW)[1], SessionaryError)


@pytest.mark.parametrize(
    "command",
    [update(if_version=2), update(if_version=4, status="active"), extend(1, if_version=0), delete(if_version=2)],
)
def test_another_version_is_refused_with_the_right_one(command: Command) -> None:
    error = refused(command)

    assert isinstance(error, PreconditionFailedError)
    assert error.version == 3


def test_absence_is_reported_before_versions_are_compared() -> None:
    assert isinstance(refused(update(if_version=9), stored(expires_at=NOW)), SessionNotFoundError)


def test_versions_are_compared_before_bounds() -> None:
    assert isinstance(refused(update(if_version=9, tokens_used=INT32_MAX)), PreconditionFailedError)


@pytest.mark.parametrize("command", [update(if_version=3), extend(1, if_version=3), delete(if_version=3)])
def test_the_right_version_passes(command: Command) -> None:
    assert not isinstance(apply_command(stored(), command, NOW)[1], SessionaryError)


# ------------------------------------------------------------------------------------------------ update


def test_an_update_of_nothing_returns_the_session_as_it_is() -> None:
    state = stored()

    after, outcome, block = apply_command(state, update(), NOW)

    assert after is state
    assert block is None
    assert outcome == Updated(
        session_id=ID, version=3, status="active", total_messages=2, total_tokens=5, updated_at=CREATED
    )


@pytest.mark.parametrize(
    "given",
    [{"messages": ()}, {"tokens_used": 0}, {"status": "active"}, {"metadata": {}}, {"title": "T"}, {"model": "m"}],
    ids=repr,
)
def test_any_other_update_is_a_change(given: dict[str, Any]) -> None:
    after = changed(update(**given))

    assert (after.version, after.updated_at) == (4, NOW)


def test_an_update_sets_what_is_given_and_leaves_the_rest() -> None:
    state = stored(title="T", model="m")

    assert changed(update(status="completed"), state) == stored(
        title="T", model="m", status="completed", version=4, updated_at=NOW
    )
    assert changed(update(title="New"), state) == stored(title="New", model="m", version=4, updated_at=NOW)
    assert changed(update(model="new"), state) == stored(title="T", model="new", version=4, updated_at=NOW)


def test_an_update_returns_the_totals_after_it() -> None:
    _, outcome, _ = apply_command(stored(), update(messages=(HELLO,), tokens_used=7, status="completed"), NOW)

    assert outcome == Updated(
        session_id=ID, version=4, status="completed", total_messages=3, total_tokens=12, updated_at=NOW
    )


def test_new_messages_are_one_block_after_the_others() -> None:
    after, _, block = apply_command(stored(), update(messages=(HELLO, HELLO), tokens_used=7), NOW)

    assert block == MessageBlock("demo", ID, 2, 2, 7, STAMPED + b"," + STAMPED, NOW)
    assert after is not None
    assert (after.total_messages, after.total_bytes) == (4, 100 + 2 * len(STAMPED) + 1)


@pytest.mark.parametrize("messages", [None, ()])
def test_no_messages_are_no_block(messages: tuple[bytes, ...] | None) -> None:
    after, _, block = apply_command(stored(), update(messages=messages, tokens_used=7), NOW)

    assert block is None
    assert after is not None
    assert (after.total_messages, after.total_bytes, after.total_tokens) == (2, 100, 12)


def test_metadata_is_merged_by_top_level_key() -> None:
    assert changed(update(metadata={"b": {"x": None}})).metadata == b'{"a":1,"b":{"x":null}}'
    assert changed(update(metadata={"a": 2})).metadata == b'{"a":2}'
    assert changed(update(metadata={"a": None, "c": None})).metadata == b"{}"
    assert changed(update(metadata={"a": 0, "b": "", "c": False})).metadata == b'{"a":0,"b":"","c":false}'


def test_metadata_that_was_not_read_stays_unread() -> None:
    assert changed(update(messages=(HELLO,)), stored(metadata=None)).metadata is None
    assert changed(extend(1), stored(metadata=None)).metadata is None


def test_tokens_reach_the_largest_total_and_no_further() -> None:
    assert changed(update(tokens_used=INT32_MAX - 5)).total_tokens == INT32_MAX
    assert isinstance(refused(update(tokens_used=INT32_MAX - 4)), TotalTooLargeError)


def test_messages_reach_a_hundred_thousand_and_no_further() -> None:
    state = stored(total_messages=99_998)

    assert changed(update(messages=(HELLO, HELLO)), state).total_messages == 100_000
    assert isinstance(refused(update(messages=(HELLO,) * 3), state), SessionFullError)


def test_bytes_reach_16_mebibytes_and_no_further() -> None:
    room = 16 * 1024 * 1024 - len(STAMPED)

    assert changed(update(messages=(HELLO,)), stored(total_bytes=room)).total_bytes == 16 * 1024 * 1024
    assert isinstance(refused(update(messages=(HELLO,)), stored(total_bytes=room + 1)), SessionFullError)


def test_a_full_session_still_takes_what_is_no_message() -> None:
    state = stored(total_messages=100_000, total_bytes=16 * 1024 * 1024)

    assert changed(update(status="completed", messages=()), state).status == "completed"


def test_metadata_reaches_64_kibibytes_and_no_further() -> None:
    room = 65_536 - len('{"a":1,"b":""}')

    assert len(changed(update(metadata={"b": "x" * room})).metadata or b"") == 65_536
    assert isinstance(refused(update(metadata={"b": "x" * (room + 1)})), MetadataTooLargeError)


def test_a_refused_update_is_refused_whole() -> None:
    whole = {"messages": (HELLO,), "status": "completed", "title": "T", "model": "m", "metadata": {"b": 1}}

    refused(update(**whole, tokens_used=INT32_MAX))
    refused(update(**{**whole, "metadata": {"b": "x" * 65_536}}, tokens_used=1))
    refused(update(**whole, tokens_used=1), stored(total_messages=100_000))


# ------------------------------------------------------------------------------------------------ title


@pytest.mark.parametrize(
    ("state", "given", "title", "user_spoke"),
    [
        ({}, {"first_user_text": "Hello\nthere"}, "Hello", True),
        ({}, {"first_user_text": None}, None, False),
        ({}, {"first_user_text": ""}, None, True),
        ({}, {"first_user_text": "Hello", "title": "Given"}, "Given", True),
        ({"title": "Old"}, {"first_user_text": "Hello"}, "Old", True),
        ({"title": "Old"}, {"first_user_text": "Hello", "title": "Given"}, "Given", True),
        ({"user_spoke": True}, {"first_user_text": "Hello"}, None, True),
        ({"user_spoke": True}, {"first_user_text": None}, None, True),
    ],
    ids=repr,
)
def test_only_the_first_user_message_titles_a_session_without_a_title(
    state: dict[str, Any], given: dict[str, Any], title: str | None, *, user_spoke: bool
) -> None:
    after = changed(update(messages=(HELLO,), **given), stored(**state))

    assert (after.title, after.user_spoke) == (title, user_spoke)


# ------------------------------------------------------------------------------------------------ extend and delete


def test_an_extension_is_added_to_the_expiry() -> None:
    after, outcome, block = apply_command(stored(), extend(90), NOW)

    expires_at = CREATED + 150 * MINUTE
    assert after == stored(expires_at=expires_at, updated_at=NOW, version=4)
    assert outcome == Extended(session_id=ID, version=4, minutes=90, expires_at=expires_at)
    assert block is None


def test_an_expiry_reaches_the_horizon_and_no_further() -> None:
    horizon = 60 * MINUTE

    assert changed(extend(1, horizon=horizon)).expires_at == NOW + horizon
    error = refused(extend(2, horizon=horizon))
    assert isinstance(error, ExpiryTooFarError)
    assert isinstance(refused(extend(1, horizon=horizon - 1)), ExpiryTooFarError)


def test_the_horizon_is_reported_in_days() -> None:
    assert "30 days" in refused(extend(1440), stored(expires_at=NOW + 30 * DAY)).detail


def test_deleting_leaves_nothing_and_returns_the_last_version() -> None:
    assert apply_command(stored(), delete(), NOW) == (None, Deleted(session_id=ID, version=3), None)


# ------------------------------------------------------------------------------------------------ purity


@pytest.mark.parametrize(
    "command",
    [
        update(),
        update(
            messages=(HELLO,),
            first_user_text="Hello",
            tokens_used=1,
            status="completed",
            metadata={"b": 1},
            title="T",
            model="m",
        ),
        update(metadata={"a": None}),
        update(messages=(HELLO,), tokens_used=INT32_MAX),
        extend(1),
        extend(1, horizon=0),
        delete(),
        delete(if_version=1),
    ],
)
def test_the_input_state_is_never_changed(command: Command) -> None:
    state = stored()
    before = copy(state)

    first: Step = apply_command(state, command, NOW)
    second = apply_command(state, command, NOW)

    assert state == before
    assert (first[0], first[2]) == (second[0], second[2])


def test_a_command_of_an_unknown_kind_is_an_internal_error() -> None:
    class Rename(Command, frozen=True, kw_only=True):
        pass

    with pytest.raises(TypeError, match="Rename"):
        apply_command(stored(), Rename(organisation="demo", session_id=ID), NOW)
