"""What a batch comes to: one outcome for each command, and the rows to write, each once and in order."""

from collections.abc import Sequence
from typing import Any

import msgspec

from sessionary.errors import IdempotencyKeyReusedError, SessionaryError, SessionNotFoundError, TotalTooLargeError
from sessionary.server.store.base import (
    Command,
    Create,
    Delete,
    Effect,
    Extend,
    IdempotencyKey,
    StoredKey,
    StoredSession,
    Update,
)
from sessionary.server.store.rules import BatchResult, apply_command, apply_commands, idempotency_key_id, session_key

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
NOW = 1_795_385_340_123
HELLO = b'{"role":"user","content":"Hello"}'


def identify(number: int) -> str:
    return f"01a2054e-30db-7000-8000-{number:012x}"


def create(number: int, *, organisation: str = "demo", **given: Any) -> Create:
    return Create(
        organisation=organisation,
        session_id=identify(number),
        created_at=NOW,
        user_id="ada",
        expires_after=60 * MINUTE,
        **given,
    )


def update(number: int, *, organisation: str = "demo", **given: Any) -> Update:
    return Update(organisation=organisation, session_id=identify(number), **given)


def extend(number: int, **given: Any) -> Extend:
    return Extend(organisation="demo", session_id=identify(number), minutes=1, horizon=30 * DAY, **given)


def delete(number: int, **given: Any) -> Delete:
    return Delete(organisation="demo", session_id=identify(number), **given)


def idempotency_key(name: str, fingerprint: bytes = b"first") -> IdempotencyKey:
    return IdempotencyKey(principal="token", key=name, fingerprint=fingerprint)


def stored(*numbers: int, **changes: Any) -> dict[tuple[str, str], StoredSession]:
    """Keep sessions as they are after their creation."""
    sessions: dict[tuple[str, str], StoredSession] = {}
    for number in numbers:
        state, _, _ = apply_command(None, create(number), NOW)
        assert state is not None
        sessions["demo", identify(number)] = msgspec.structs.replace(state, **changes)
    return sessions


def kept(command: Command, *, expires_at: int = NOW + DAY) -> dict[tuple[str, str, str, str], StoredKey]:
    """Keep the key of a command that was applied before."""
    (key,) = apply_commands([command], stored(1), {}, NOW).keys
    name = idempotency_key_id(command)
    assert name is not None
    return {name: msgspec.structs.replace(key, expires_at=expires_at)}


def decided(
    commands: Sequence[Command],
    sessions: dict[tuple[str, str], StoredSession] | None = None,
    keys: dict[tuple[str, str, str, str], StoredKey] | None = None,
) -> BatchResult:
    return apply_commands(commands, sessions or {}, keys or {}, NOW)


def written(result: BatchResult) -> dict[str, list[Any]]:
    """Name the rows to write, leaving out the tables where there are none."""
    rows: dict[str, list[Any]] = {
        "deleted": result.deleted,
        "inserted": [(session.organisation, session.id) for session in result.inserted],
        "updated": [(session.organisation, session.id) for session in result.updated],
        "message_blocks": [(block.session_id, block.first) for block in result.blocks],
        "keys": [key.key for key in result.keys],
    }
    return {table: names for table, names in rows.items() if names}


def names(result: BatchResult) -> list[str]:
    return [type(outcome).__name__ for outcome in result.outcomes]


def test_nothing_comes_of_nothing() -> None:
    result = decided([], stored(1))

    assert result.outcomes == []
    assert written(result) == {}


def test_a_session_that_several_commands_change_is_written_once() -> None:
    result = decided(
        [update(1, messages=(HELLO,)), extend(1), update(1, messages=(HELLO, HELLO), tokens_used=2)], stored(1)
    )

    assert names(result) == ["Updated", "Extended", "Updated"]
    one = identify(1)
    assert written(result) == {"updated": [("demo", one)], "message_blocks": [(one, 0), (one, 1)]}
    (row,) = result.updated
    assert (row.version, row.total_messages, row.total_tokens) == (4, 3, 2)
    assert row.expires_at == NOW + 61 * MINUTE


def test_a_session_created_and_changed_is_inserted_in_its_final_state() -> None:
    result = decided([create(1, messages=(HELLO,)), update(1, messages=(HELLO,), status="completed")])

    one = identify(1)
    assert written(result) == {"inserted": [("demo", one)], "message_blocks": [(one, 0), (one, 1)]}
    assert (result.inserted[0].status, result.inserted[0].version) == ("completed", 2)


def test_a_session_created_and_deleted_leaves_no_row() -> None:
    result = decided([create(1, messages=(HELLO,)), update(1, messages=(HELLO,)), delete(1)])

    assert names(result) == ["Created", "Updated", "Deleted"]
    assert written(result) == {}


def test_a_session_changed_and_deleted_is_only_deleted() -> None:
    result = decided([update(1, messages=(HELLO,)), delete(1), update(1, messages=(HELLO,))], stored(1))

    assert names(result) == ["Updated", "Deleted", "SessionNotFoundError"]
    assert written(result) == {"deleted": [("demo", identify(1))]}


def test_an_id_used_again_after_its_deletion_is_deleted_and_inserted() -> None:
    result = decided(
        [update(1, messages=(HELLO,)), delete(1), create(1, messages=(HELLO, HELLO)), update(1, messages=(HELLO,))],
        stored(1, user_id="bob"),
    )

    one = identify(1)
    assert names(result) == ["Updated", "Deleted", "Created", "Updated"]
    assert written(result) == {
        "deleted": [("demo", one)],
        "inserted": [("demo", one)],
        "message_blocks": [(one, 0), (one, 2)],
    }


def test_a_session_created_deleted_and_created_again_has_only_its_last_blocks() -> None:
    result = decided([create(1, messages=(HELLO, HELLO)), delete(1), create(1, messages=(HELLO,))])

    one = identify(1)
    assert written(result) == {"inserted": [("demo", one)], "message_blocks": [(one, 0)]}
    assert result.blocks[0].count == 1


def test_what_changed_nothing_writes_nothing() -> None:
    sessions = stored(1)
    sessions |= stored(2, expires_at=NOW)

    result = decided(
        [update(1), update(1, tokens_used=2**31), update(2, status="completed"), update(3), delete(1, if_version=2)],
        sessions,
    )

    assert names(result) == [
        "Updated",
        TotalTooLargeError.__name__,
        SessionNotFoundError.__name__,
        SessionNotFoundError.__name__,
        "PreconditionFailedError",
    ]
    assert written(result) == {}


def test_rows_come_sorted_by_their_keys() -> None:
    commands = [
        command
        for number in (5, 3, 9, 1)
        for organisation in ("b", "a")
        for command in (
            create(number, organisation=organisation, messages=(HELLO,), idempotency_key=idempotency_key(f"k{number}")),
            update(number, organisation=organisation, messages=(HELLO,)),
        )
    ]
    changed = [command for number in (8, 6, 7) for command in (update(number, messages=(HELLO,)), extend(number))]
    removed = [delete(number) for number in (12, 11, 10)]

    result = decided([*removed, *changed, *commands], stored(6, 7, 8, 10, 11, 12))

    for rows in (
        [(row.organisation, row.id) for row in result.inserted],
        [(row.organisation, row.id) for row in result.updated],
        [(block.organisation, block.session_id, block.first) for block in result.blocks],
        [(key.organisation, key.principal, key.command, key.key) for key in result.keys],
        result.deleted,
    ):
        assert len(rows) >= 3
        assert rows == sorted(rows)


def test_organisations_do_not_meet() -> None:
    result = decided([update(1, organisation="other", status="completed"), update(1)], stored(1))

    assert names(result) == ["SessionNotFoundError", "Updated"]
    assert written(result) == {}


def test_a_key_is_stored_with_its_effect_for_a_day() -> None:
    command = update(1, messages=(HELLO,), idempotency_key=idempotency_key("k"))

    result = decided([command], stored(1))

    (key,) = result.keys
    assert (key.organisation, key.principal, key.command, key.key) == ("demo", "token", "update", "k")
    assert (key.fingerprint, key.expires_at) == (b"first", NOW + DAY)
    assert msgspec.json.decode(key.effect, type=Effect) == result.outcomes[0]


def test_a_key_used_before_gets_the_first_effect_again() -> None:
    command = update(1, messages=(HELLO,), idempotency_key=idempotency_key("k"))

    result = decided([command], stored(1), kept(command))

    (outcome,) = result.outcomes
    assert not isinstance(outcome, SessionaryError)
    assert (outcome.replayed, outcome.version) == (True, 2)
    assert written(result) == {}


def test_a_key_used_before_for_something_else_is_refused() -> None:
    result = decided(
        [update(1, status="completed", idempotency_key=idempotency_key("k", b"second"))],
        stored(1),
        kept(update(1, idempotency_key=idempotency_key("k"))),
    )

    assert isinstance(result.outcomes[0], IdempotencyKeyReusedError)
    assert written(result) == {}


def test_an_expired_key_is_replaced() -> None:
    command = update(1, messages=(HELLO,), idempotency_key=idempotency_key("k"))

    for expires_at in (NOW, NOW - 1):
        result = decided([command], stored(1), kept(command, expires_at=expires_at))

        (outcome,) = result.outcomes
        assert not isinstance(outcome, SessionaryError)
        assert not outcome.replayed
        assert [key.expires_at for key in result.keys] == [NOW + DAY]


def test_a_key_used_twice_in_a_batch_has_one_effect() -> None:
    command = update(1, messages=(HELLO,), idempotency_key=idempotency_key("k"))
    other = update(1, messages=(HELLO,), idempotency_key=idempotency_key("k", b"second"))

    result = decided([command, command, other, command], stored(1))

    flags = [getattr(outcome, "replayed", type(outcome)) for outcome in result.outcomes]
    assert flags == [False, True, IdempotencyKeyReusedError, True]
    assert written(result) == {
        "updated": [("demo", identify(1))],
        "message_blocks": [(identify(1), 0)],
        "keys": ["k"],
    }


def test_a_refused_command_leaves_its_key_unused() -> None:
    result = decided(
        [
            update(1, tokens_used=2**31, idempotency_key=idempotency_key("k")),
            update(1, tokens_used=1, idempotency_key=idempotency_key("k", b"second")),
        ],
        stored(1),
    )

    assert names(result) == ["TotalTooLargeError", "Updated"]
    assert [key.fingerprint for key in result.keys] == [b"second"]


def test_a_key_belongs_to_a_kind_of_command() -> None:
    result = decided(
        [
            create(1, idempotency_key=idempotency_key("k")),
            extend(1, idempotency_key=idempotency_key("k")),
            delete(1, idempotency_key=idempotency_key("k")),
        ]
    )

    assert names(result) == ["Created", "Extended", "Deleted"]
    assert [key.command for key in result.keys] == ["create", "delete", "extend"]


def test_what_was_read_is_left_as_it_was() -> None:
    sessions, keys = stored(1, 2), kept(update(1, idempotency_key=idempotency_key("k")))
    before = msgspec.json.encode(list(sessions.values())), list(sessions), dict(keys)

    decided(
        [
            update(1, messages=(HELLO,), metadata={"a": 1}),
            delete(2),
            create(3),
            update(1, idempotency_key=idempotency_key("k")),
        ],
        sessions,
        keys,
    )

    assert (msgspec.json.encode(list(sessions.values())), list(sessions), keys) == before


def test_a_command_names_its_session_and_its_key() -> None:
    assert session_key(update(1)) == ("demo", identify(1))
    assert idempotency_key_id(update(1)) is None
    assert idempotency_key_id(extend(1, idempotency_key=idempotency_key("k"))) == ("demo", "token", "extend", "k")
