"""Every rule of what a command does, as one pure function: state and command in, state and outcome out.

Idempotency keys and preconditions (optimistic locking) are decided here too.

An engine reads the sessions that a batch names, calls ``apply_commands`` with its commands in order, and writes what
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
    MessageBlock,
    MessageTimes,
    Outcome,
    StoredKey,
    StoredSession,
    Update,
    Updated,
    matches_if_version,
    matches_unless_version,
)
from sessionary.server.store.titles import title_from
from sessionary.timestamps import format_timestamp

SessionKey = tuple[str, str]
IdempotencyKeyId = tuple[str, str, str, str]
State = StoredSession | None
Step = tuple[State, Outcome, MessageBlock | None]

_VERSION_EXCLUDED: Final = "The session has a version that the request rules out."

_encode: Final = msgspec.json.Encoder().encode
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode
_effects: Final = msgspec.json.Decoder(Effect)


def apply_command(state: State, command: Command, now: int) -> Step:
    """Apply one command to a session: return the state after it, the outcome, and the message block, if any.

    ``state`` is not modified; after an error it is returned as it was.
    """
    try:
        if isinstance(command, Create):
            if command.if_version is not None:
                # A new session has no version. Only a repeated idempotency key could give another outcome.
                raise PreconditionFailedError(0)
            return _create(command)
        if state is None or state.expires_at <= now:
            raise SessionNotFoundError
        if command.if_version is not None and not matches_if_version(command.if_version, state.version):
            raise PreconditionFailedError(state.version)
        if command.unless_version is not None and matches_unless_version(command.unless_version, state.version):
            raise PreconditionFailedError(state.version, _VERSION_EXCLUDED)
        return _change(state, command, now)
    except SessionaryError as error:
        # The traceback would keep the whole batch in memory for as long as the caller keeps the outcome.
        return state, error.with_traceback(None), None


def _change(state: StoredSession, command: Command, now: int) -> Step:
    match command:
        case Update():
            return _update(state, command, now)
        case Extend():
            return _extend(state, command, now)
        case Delete():
            return None, Deleted(session_id=state.id, version=state.version), None
        case _:
            raise TypeError(type(command).__name__)


def _create(command: Create) -> Step:
    starts_at = command.created_at if command.imported_at is None else command.imported_at
    state = StoredSession(
        organisation=command.organisation,
        id=command.session_id,
        user_id=command.user_id,
        session_group=command.session_group,
        title=command.title,
        model=command.model,
        status="active",
        metadata=_merge_metadata(b"{}", command.metadata),
        user_spoke=False,
        total_messages=0,
        total_tokens=0,
        total_bytes=0,
        created_at=command.created_at,
        updated_at=starts_at,
        expires_at=starts_at + command.expires_after,
        version=1,
    )
    block = _append(state, command.messages, command, 0, starts_at)
    created = Created(session_id=state.id, version=1, created_at=state.created_at, expires_at=state.expires_at)
    return state, created, block


def _update(before: StoredSession, command: Update, now: int) -> Step:
    if not _has_content(command):
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
        state.metadata = _merge_metadata(before.metadata or b"{}", command.metadata)
    block = _append(state, command.messages or (), command, tokens, now)
    return state, _updated(state), block


def _updated(state: StoredSession) -> Updated:
    return Updated(
        session_id=state.id,
        version=state.version,
        status=state.status,
        total_messages=state.total_messages,
        total_tokens=state.total_tokens,
        updated_at=state.updated_at,
    )


def _has_content(command: Update) -> bool:
    return not (
        command.messages is None
        and command.tokens_used is None
        and command.status is None
        and command.metadata is None
        and command.title is None
        and command.model is None
    )


def _extend(before: StoredSession, command: Extend, now: int) -> Step:
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
) -> MessageBlock | None:
    if not messages:
        return None
    body = _with_timestamps(messages, command.message_times, now)
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
    return MessageBlock(state.organisation, state.id, first, len(messages), tokens, body, now)


def _with_timestamps(messages: Sequence[bytes], times: MessageTimes, now: int) -> bytes:
    """Join messages by commas, each with ``created_at`` as its last member: its own time, or else ``now``."""
    stamp = _timestamp_member(now)
    if times is None:
        return b",".join([message[:-1] + stamp for message in messages])
    return b",".join(
        [
            message[:-1] + (stamp if time is None else _timestamp_member(time))
            for message, time in zip(messages, times, strict=True)
        ]
    )


def _timestamp_member(time: int) -> bytes:
    return f',"created_at":"{format_timestamp(time)}"}}'.encode()


def _merge_metadata(stored: bytes, changes: Mapping[str, Any]) -> bytes:
    merged = {**_decode_object(stored), **changes}
    metadata = _encode({key: value for key, value in merged.items() if value is not None})
    if len(metadata) > constants.METADATA_BYTES_MAX:
        detail = f"A session's metadata takes at most {constants.METADATA_BYTES_MAX} bytes of JSON."
        raise MetadataTooLargeError(detail, field_errors=(FieldError("/metadata", detail),))
    return metadata


class BatchResult(Struct):
    """An outcome for each command of a batch, and the rows to write; rows are sorted by their keys."""

    outcomes: list[Outcome]
    deleted: list[SessionKey]
    inserted: list[StoredSession]
    updated: list[StoredSession]
    blocks: list[MessageBlock]
    keys: list[StoredKey]
    audit: list[AuditRecord]


def session_key(command: Command) -> SessionKey:
    """Return the key of a command's session."""
    return command.organisation, command.session_id


def sessions_to_read(commands: Sequence[Command]) -> dict[SessionKey, bool]:
    """Return the sessions that commands change; true where metadata is to be merged."""
    sessions: dict[SessionKey, bool] = {}
    for command in commands:
        if not isinstance(command, Create):
            key = session_key(command)
            merges = isinstance(command, Update) and command.metadata is not None
            sessions[key] = merges or sessions.get(key, False)
    return sessions


def idempotency_key_id(command: Command) -> IdempotencyKeyId | None:
    """Return the id of a command's idempotency key, if it has one."""
    if command.idempotency_key is None:
        return None
    tag = str(command.__struct_config__.tag)
    return command.organisation, command.idempotency_key.principal, tag, command.idempotency_key.key


def apply_commands(
    commands: Sequence[Command],
    stored: Mapping[SessionKey, StoredSession],
    keys: Mapping[IdempotencyKeyId, StoredKey],
    now: int,
) -> BatchResult:
    """Apply commands in order, each to the state that the ones before it left, and collect the rows to write.

    ``stored`` are the sessions that exist, ``keys`` the idempotency keys that were used before. A session that several
    commands change is written once. The rows are sorted by their keys, so that all batches lock rows in one order.
    """
    batch = _Batch(stored, keys)
    for command in commands:
        batch.run(command, now)
    return batch.result()


class _Batch:
    """The states of a batch's sessions while its commands are applied."""

    def __init__(self, stored: Mapping[SessionKey, StoredSession], keys: Mapping[IdempotencyKeyId, StoredKey]) -> None:
        self.stored = stored
        self.states: dict[SessionKey, State] = dict(stored)
        self.stored_keys = keys
        self.keys: dict[IdempotencyKeyId, StoredKey] = {}
        self.created: set[SessionKey] = set()
        self.blocks: list[MessageBlock] = []
        self.audit: list[AuditRecord] = []
        self.outcomes: list[Outcome] = []

    def run(self, command: Command, now: int) -> None:
        name = idempotency_key_id(command)
        if name is not None and command.idempotency_key is not None:
            earlier = self.keys.get(name) or self.stored_keys.get(name)
            if earlier is not None and earlier.expires_at > now:
                self.outcomes.append(_replay(earlier, command.idempotency_key.fingerprint))
                return
        key = session_key(command)
        before = self.states.get(key)
        after, outcome, block = apply_command(before, command, now)
        self.outcomes.append(outcome)
        if isinstance(outcome, SessionaryError):
            return
        self.states[key] = after
        if isinstance(outcome, Created):
            self.created.add(key)
        elif isinstance(outcome, Deleted):
            # Messages appended to it in this batch are deleted, too; its id might be used again.
            self.blocks = [other for other in self.blocks if (other.organisation, other.session_id) != key]
            self.audit.append(_deletion_record(command, now))
        if block is not None:
            self.blocks.append(block)
        if name is not None and command.idempotency_key is not None:
            self.keys[name] = StoredKey(
                *name,
                fingerprint=command.idempotency_key.fingerprint,
                effect=_encode(outcome),
                expires_at=now + constants.IDEMPOTENCY_KEY_RETENTION_MILLISECONDS,
            )

    def result(self) -> BatchResult:
        changed = [key for key in sorted(self.states) if self.states[key] is not self.stored.get(key)]
        live = {key: state for key in changed if (state := self.states[key]) is not None}
        # A session created here is inserted. If its id existed before, that session is deleted first.
        inserted = [key for key in live if key in self.created or key not in self.stored]
        updated = [key for key in live if key in self.stored and key not in self.created]
        return BatchResult(
            outcomes=self.outcomes,
            deleted=[key for key in changed if key in self.stored and (key not in live or key in self.created)],
            inserted=[live[key] for key in inserted],
            updated=[live[key] for key in updated],
            blocks=sorted(self.blocks, key=lambda block: (block.organisation, block.session_id, block.first)),
            keys=[self.keys[name] for name in sorted(self.keys)],
            audit=self.audit,
        )


def _deletion_record(command: Command, now: int) -> AuditRecord:
    return AuditRecord(
        at=now,
        organisation=command.organisation,
        actor=command.actor,
        action="delete_session",
        subject=command.session_id,
    )


def _replay(earlier: StoredKey, fingerprint: bytes) -> Outcome:
    if earlier.fingerprint != fingerprint:
        return IdempotencyKeyReusedError()
    effect: Effect = _effects.decode(earlier.effect)
    return msgspec.structs.replace(effect, replayed=True)
