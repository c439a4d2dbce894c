"""Every rule of what a command does, as one pure function: state and command in, state and outcome out.

The engines lock and read the sessions a batch names, let ``fold`` decide all of its commands in order, and write what
changed. Nothing here reads a clock, a database or a setting.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Final

import msgspec
from msgspec import Struct

from sessionary import constants
from sessionary.errors import (
    ExpiryTooFarError,
    FieldError,
    IdempotencyKeyReusedError,
    MetadataTooLargeError,
    PreconditionFailedError,
    SessionaryError,
    SessionFullError,
    SessionNotFoundError,
    TotalTooLargeError,
)
from sessionary.server.store.base import (
    AuditRecord,
    Command,
    Create,
    Created,
    Delete,
    Deleted,
    Effect,
    Extend,
    Extended,
    MessageTimes,
    Outcome,
    StoredKey,
    StoredSession,
    Turn,
    Update,
    Updated,
    is_meant,
    is_refused,
)
from sessionary.server.store.titles import title_from
from sessionary.timestamps import format_timestamp

SessionKey = tuple[str, str]
OnceKey = tuple[str, str, str, str]
State = StoredSession | None
Decision = tuple[State, Outcome, Turn | None]

_RULED_OUT: Final = "The session has a version that the request rules out."

_encode: Final = msgspec.json.Encoder().encode
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode
_effects: Final = msgspec.json.Decoder(Effect)


def decide(state: State, command: Command, now: int) -> Decision:
    """Decide one command: the state after it, what to answer, and the turn it appends, if any.

    ``state`` is never changed; an error leaves it as it was.
    """
    try:
        if isinstance(command, Create):
            if command.if_version is not None:
                # What is not yet there has no version: only what was begun before under the same key is answered.
                raise PreconditionFailedError(0)
            return _create(command)
        if state is None or state.expires_at <= now:
            raise SessionNotFoundError
        if command.if_version is not None and not is_meant(command.if_version, state.version):
            raise PreconditionFailedError(state.version)
        if command.unless_version is not None and is_refused(command.unless_version, state.version):
            raise PreconditionFailedError(state.version, _RULED_OUT)
        return _change(state, command, now)
    except SessionaryError as error:
        # The way it came would hold the whole batch in memory for as long as its caller holds the answer.
        return state, error.with_traceback(None), None


def _change(state: StoredSession, command: Command, now: int) -> Decision:
    match command:
        case Update():
            return _update(state, command, now)
        case Extend():
            return _extend(state, command, now)
        case Delete():
            return None, Deleted(session_id=state.id, version=state.version), None
        case _:
            raise TypeError(type(command).__name__)


def _create(command: Create) -> Decision:
    begun_at = command.created_at if command.imported_at is None else command.imported_at
    state = StoredSession(
        organisation=command.organisation,
        id=command.session_id,
        user_id=command.user_id,
        session_group=command.session_group,
        title=command.title,
        model=command.model,
        status="active",
        metadata=_merged(b"{}", command.metadata),
        user_spoke=False,
        total_messages=0,
        total_tokens=0,
        total_bytes=0,
        created_at=command.created_at,
        updated_at=begun_at,
        expires_at=begun_at + command.expires_after,
        version=1,
    )
    turn = _append(state, command.messages, command, 0, begun_at)
    created = Created(session_id=state.id, version=1, created_at=state.created_at, expires_at=state.expires_at)
    return state, created, turn


def _update(before: StoredSession, command: Update, now: int) -> Decision:
    if not _says_something(command):
        return before, _updated(before), None
    tokens = command.tokens_used or 0
    state = copy(before)
    state.updated_at = now
    state.version += 1
    state.title = command.title or state.title
    state.model = command.model or state.model
    state.status = command.status or state.status
    state.total_tokens += tokens
    if state.total_tokens > constants.INT32_MAX:
        detail = f"A session counts at most {constants.INT32_MAX} tokens."
        raise TotalTooLargeError(detail, field_errors=(FieldError("/tokensUsed", detail),))
    if command.metadata is not None:
        state.metadata = _merged(before.metadata or b"{}", command.metadata)
    turn = _append(state, command.messages or (), command, tokens, now)
    return state, _updated(state), turn


def _updated(state: StoredSession) -> Updated:
    return Updated(
        session_id=state.id,
        version=state.version,
        status=state.status,
        total_messages=state.total_messages,
        total_tokens=state.total_tokens,
        updated_at=state.updated_at,
    )


def _says_something(command: Update) -> bool:
    return not (
        command.messages is None
        and command.tokens_used is None
        and command.status is None
        and command.metadata is None
        and command.title is None
        and command.model is None
    )


def _extend(before: StoredSession, command: Extend, now: int) -> Decision:
    expires_at = before.expires_at + command.minutes * constants.MILLISECONDS_PER_MINUTE
    if expires_at > now + command.horizon:
        days = command.horizon // constants.MILLISECONDS_PER_DAY
        detail = f"A session may expire at most {days} days from now."
        raise ExpiryTooFarError(detail, field_errors=(FieldError("/additionalMinutes", detail),))
    state = copy(before)
    state.expires_at = expires_at
    state.updated_at = now
    state.version += 1
    extended = Extended(session_id=state.id, version=state.version, minutes=command.minutes, expires_at=expires_at)
    return state, extended, None


def _append(
    state: StoredSession, messages: Sequence[bytes], command: Create | Update, tokens: int, now: int
) -> Turn | None:
    if not messages:
        return None
    body = _stamped(messages, command.message_times, now)
    first = state.total_messages
    state.total_messages += len(messages)
    state.total_bytes += len(body)
    if state.total_messages > constants.MESSAGES_PER_SESSION_MAX or state.total_bytes > constants.SESSION_BYTES_MAX:
        detail = (
            f"A session holds at most {constants.MESSAGES_PER_SESSION_MAX} messages"
            f" and {constants.SESSION_BYTES_MAX} bytes of them."
        )
        pointer = "/initialMessages" if state.version == 1 else "/newMessages"
        raise SessionFullError(detail, field_errors=(FieldError(pointer, detail),))
    if command.first_user_text is not None and not state.user_spoke:
        state.user_spoke = True
        state.title = state.title or title_from(command.first_user_text)
    return Turn(state.organisation, state.id, first, len(messages), tokens, body, now)


def _stamped(messages: Sequence[bytes], times: MessageTimes, now: int) -> bytes:
    """Join messages by commas, each with its own time as its last member, or else with now."""
    stamp = _stamp(now)
    if times is None:
        return b",".join([message[:-1] + stamp for message in messages])
    return b",".join(
        [
            message[:-1] + (stamp if time is None else _stamp(time))
            for message, time in zip(messages, times, strict=True)
        ]
    )


def _stamp(time: int) -> bytes:
    return f',"created_at":"{format_timestamp(time)}"}}'.encode()


def _merged(stored: bytes, changes: Mapping[str, Any]) -> bytes:
    merged = {**_decode_object(stored), **changes}
    metadata = _encode({key: value for key, value in merged.items() if value is not None})
    if len(metadata) > constants.METADATA_BYTES_MAX:
        detail = f"A session's metadata takes at most {constants.METADATA_BYTES_MAX} bytes of JSON."
        raise MetadataTooLargeError(detail, field_errors=(FieldError("/metadata", detail),))
    return metadata


class Folded(Struct):
    """What a batch comes to: an outcome for each command, and the rows that differ from what was read."""

    outcomes: list[Outcome]
    deleted: list[SessionKey]
    inserted: list[StoredSession]
    updated: list[StoredSession]
    turns: list[Turn]
    keys: list[StoredKey]
    outdated_keys: list[OnceKey]
    audit: list[AuditRecord]


def session_key(command: Command) -> SessionKey:
    """Name the session a command is about."""
    return command.organisation, command.session_id


def once_key(command: Command) -> OnceKey | None:
    """Name the key a command is to be applied once under, if any."""
    if command.idempotency_key is None:
        return None
    tag = str(command.__struct_config__.tag)
    return command.organisation, command.idempotency_key.principal, tag, command.idempotency_key.key


def fold(
    commands: Sequence[Command],
    stored: Mapping[SessionKey, StoredSession],
    keys: Mapping[OnceKey, StoredKey],
    now: int,
) -> Folded:
    """Decide commands in order, each on the state the ones before it left, and gather what to write.

    ``stored`` holds the sessions as they are locked, ``keys`` those used before. A session that several commands
    change is written once. The rows come sorted by their keys, so that any two batches lock in one order.
    """
    batch = _Batch(stored, keys)
    for command in commands:
        batch.run(command, now)
    return batch.folded()


class _Batch:
    """The state of a batch while it is decided."""

    def __init__(self, stored: Mapping[SessionKey, StoredSession], keys: Mapping[OnceKey, StoredKey]) -> None:
        self.stored = stored
        self.states: dict[SessionKey, State] = dict(stored)
        self.stored_keys = keys
        self.keys: dict[OnceKey, StoredKey] = {}
        self.begun: set[SessionKey] = set()
        self.turns: list[Turn] = []
        self.audit: list[AuditRecord] = []
        self.outcomes: list[Outcome] = []

    def run(self, command: Command, now: int) -> None:
        name = once_key(command)
        if name is not None and command.idempotency_key is not None:
            earlier = self.keys.get(name) or self.stored_keys.get(name)
            if earlier is not None and earlier.expires_at > now:
                self.outcomes.append(_again(earlier, command.idempotency_key.fingerprint))
                return
        key = session_key(command)
        before = self.states.get(key)
        after, outcome, turn = decide(before, command, now)
        self.outcomes.append(outcome)
        if isinstance(outcome, SessionaryError):
            return
        self.states[key] = after
        if isinstance(outcome, Created):
            self.begun.add(key)
        elif isinstance(outcome, Deleted):
            # What the session was told in this batch goes with it; its id might be used again.
            self.turns = [told for told in self.turns if (told.organisation, told.session_id) != key]
            self.audit.append(_deletion(command, now))
        if turn is not None:
            self.turns.append(turn)
        if name is not None and command.idempotency_key is not None:
            self.keys[name] = StoredKey(
                *name,
                fingerprint=command.idempotency_key.fingerprint,
                effect=_encode(outcome),
                expires_at=now + constants.IDEMPOTENCY_KEY_RETENTION_MILLISECONDS,
            )

    def folded(self) -> Folded:
        changed = [key for key in sorted(self.states) if self.states[key] is not self.stored.get(key)]
        live = {key: state for key in changed if (state := self.states[key]) is not None}
        # Begun here is inserted, even if its id was in use before: then that one is deleted first.
        inserted = [key for key in live if key in self.begun or key not in self.stored]
        updated = [key for key in live if key in self.stored and key not in self.begun]
        return Folded(
            outcomes=self.outcomes,
            deleted=[key for key in changed if key in self.stored and (key not in live or key in self.begun)],
            inserted=[live[key] for key in inserted],
            updated=[live[key] for key in updated],
            turns=sorted(self.turns, key=lambda turn: (turn.organisation, turn.session_id, turn.first)),
            keys=[self.keys[name] for name in sorted(self.keys)],
            outdated_keys=[name for name in sorted(self.keys) if name in self.stored_keys],
            audit=self.audit,
        )


def _deletion(command: Command, now: int) -> AuditRecord:
    return AuditRecord(
        at=now,
        organisation=command.organisation,
        actor=command.actor,
        action="delete_session",
        subject=command.session_id,
    )


def _again(earlier: StoredKey, fingerprint: bytes) -> Outcome:
    if earlier.fingerprint != fingerprint:
        return IdempotencyKeyReusedError()
    effect: Effect = _effects.decode(earlier.effect)
    return msgspec.structs.replace(effect, replayed=True)
