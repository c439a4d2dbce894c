"""A reference store in dictionaries: every rule of the contract a second time, as simply as possible.

It shares the types with the server (commands, outcomes, errors), but none of its rules. Where it and an engine give
different results, one of them is wrong.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from sessionary.errors import (
    ExpiryTooFarError,
    IdempotencyKeyReusedError,
    MetadataTooLargeError,
    PreconditionFailedError,
    SessionaryError,
    SessionFullError,
    SessionNotFoundError,
    StoreUnavailableError,
    TokenNotFoundError,
    TotalTooLargeError,
)
from sessionary.models import Status
from sessionary.server.store.base import (
    CURSOR_START,
    OPERATOR,
    USAGE_PAGE_MAX,
    AuditAction,
    AuditRecord,
    Clock,
    Command,
    Conversation,
    Create,
    Created,
    Delete,
    Deleted,
    Effect,
    Extend,
    Extended,
    ListQuery,
    Outcome,
    Page,
    StoredToken,
    SweepResult,
    Update,
    Updated,
    UsagePage,
    Versions,
    Window,
)

TOTAL_MAX = 2_147_483_647
METADATA_BYTES = 64 * 1024
SESSION_MESSAGES = 100_000
SESSION_BYTES = 16 * 1024 * 1024
TITLE_LENGTH = 80
MINUTE = 60_000
DAY = 24 * 60 * MINUTE

_LINE_END = re.compile("\r\n|[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")


@dataclass(frozen=True)
class Session:
    """A session with all that was ever appended to it: a tuple of messages for each block."""

    organisation: str
    id: str
    user_id: str
    session_group: str | None
    created_at: int
    updated_at: int
    expires_at: int
    version: int = 1
    status: Status = "active"
    title: str | None = None
    model: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    total_tokens: int = 0
    user_spoke: bool = False
    blocks: tuple[tuple[bytes, ...], ...] = ()

    @property
    def messages(self) -> list[bytes]:
        """All messages in append order."""
        return [message for block in self.blocks for message in block]

    @property
    def total_bytes(self) -> int:
        """The bytes of the blocks, each one's messages joined by commas."""
        return sum(len(b",".join(block)) for block in self.blocks)

    @property
    def summary(self) -> bytes:
        """What lists and reads show of it, without metadata and messages."""
        shown = {
            "id": self.id,
            "title": self.title,
            "model": self.model,
            "created_at": formatted(self.created_at),
            "updated_at": formatted(self.updated_at),
            "user_id": self.user_id,
            "session_group": self.session_group,
            "status": self.status,
            "total_messages": len(self.messages),
            "total_tokens": self.total_tokens,
            "expires_at": formatted(self.expires_at),
        }
        return as_json(shown).removeprefix(b"{").removesuffix(b"}")

    @property
    def listed(self) -> bytes:
        """The whole object that a list shows."""
        return b'{%b,"metadata":%b}' % (self.summary, as_json(self.metadata))


@dataclass(frozen=True)
class UsedKey:
    """The effect of the first command with a key, and until when it is stored."""

    fingerprint: bytes
    effect: Effect
    expires_at: int


class ReferenceStore:
    """A store without a database: nothing waits, and no queue is ever full."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions: dict[tuple[str, str], Session] = {}
        self._keys: dict[tuple[str, str, type[Command], str], UsedKey] = {}
        self._tokens: dict[str, StoredToken] = {}
        self._audit: list[AuditRecord] = []
        self._noted = 0

    async def apply(self, command: Command) -> Outcome:
        """Apply a command."""
        return self._apply_one(command, self._clock())

    async def fetch(self, organisation: str, session_id: str, window: Window | None = None) -> Conversation:
        """Read a session and the messages of a window."""
        session = self._find(organisation, session_id, self._clock())
        first, end = _bounds(window or Window(), len(session.messages))
        messages = b",".join(session.messages[first:end])
        return Conversation(session.version, session.summary, as_json(session.metadata), messages, first)

    async def list_sessions(self, query: ListQuery) -> Page:
        """Read the sessions that match all filters, newest first."""
        now = self._clock()
        found = [
            session
            for session in self._sessions.values()
            if session.organisation == query.organisation
            and session.expires_at > now
            and query.user_id in (None, session.user_id)
            and query.session_group in (None, session.session_group)
            and query.model in (None, session.model)
            and query.status in (None, session.status)
            and session.id < query.after
        ]
        found.sort(key=lambda session: (session.created_at, session.id), reverse=True)
        rest = found[query.offset :]
        shown = rest[: query.limit]
        more = len(rest) > len(shown)
        return Page(b",".join(session.listed for session in shown), shown[-1].id if more else None)

    async def sweep(self, limit: int) -> SweepResult:
        """Delete expired sessions and expired idempotency keys."""
        now = self._clock()
        expired = [name for name, session in self._sessions.items() if session.expires_at <= now]
        outdated = [name for name, used in self._keys.items() if used.expires_at <= now]
        for name in expired[:limit]:
            del self._sessions[name]
        for key in outdated[:limit]:
            del self._keys[key]
        old = [record for record in self._audit if record.at <= now - 400 * DAY]
        self._audit = [record for record in self._audit if record not in old[:limit]]
        more = any(len(due) > limit for due in (expired, outdated, old))
        return SweepResult(removed=len(expired[:limit]), more=more)

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        """Count the live sessions of a page and their bytes."""
        ids = sorted((id_ for owner, id_ in self._sessions if owner == organisation and id_ < after), reverse=True)
        page = [self._sessions[organisation, id_] for id_ in ids[:limit]]
        live = [session for session in page if session.expires_at > self._clock()]
        stored_bytes = sum(session.total_bytes for session in live)
        return UsagePage(len(live), stored_bytes, ids[limit - 1] if len(page) == limit else None)

    async def create_token(self, token: StoredToken, actor: str = OPERATOR) -> None:
        """Store a token, unless there is one with its id."""
        if token.id in self._tokens:
            raise StoreUnavailableError
        self._tokens[token.id] = token
        self._note(token.organisation, actor, "create_token", token.id, token.created_at)

    async def find_token(self, token_id: str) -> StoredToken | None:
        """Read a token, which may be revoked or expired."""
        return self._tokens.get(token_id)

    async def list_tokens(self, limit: int, after: str = "") -> list[StoredToken]:
        """Read tokens in the order of their ids."""
        return [self._tokens[name] for name in sorted(self._tokens) if name > after][:limit]

    async def revoke_token(self, token_id: str, actor: str = OPERATOR) -> StoredToken:
        """Revoke a token, unless it is revoked."""
        if token_id not in self._tokens:
            raise TokenNotFoundError
        token = self._tokens[token_id]
        if token.revoked_at is None:
            token = msgspec.structs.replace(token, revoked_at=self._clock())
            self._tokens[token_id] = token
            self._note(token.organisation, actor, "revoke_token", token_id, self._clock())
        return token

    async def note_token_uses(self, used_at: Mapping[str, int]) -> None:
        """Store the latest use of each token."""
        for token_id, at in used_at.items():
            token = self._tokens.get(token_id)
            if token is not None and (token.last_used_at or 0) < at:
                self._tokens[token_id] = msgspec.structs.replace(token, last_used_at=at)

    async def note(self, record: AuditRecord) -> None:
        """Store an audit record."""
        self._noted += 1
        self._audit.append(msgspec.structs.replace(record, number=self._noted))

    async def list_audit(self, limit: int, after: int = 0) -> list[AuditRecord]:
        """Read audit records in the order of their numbers."""
        return [record for record in self._audit if record.number > after][:limit]

    def _note(self, organisation: str | None, actor: str, action: AuditAction, subject: str, at: int) -> None:
        self._noted += 1
        self._audit.append(
            AuditRecord(
                number=self._noted,
                at=at,
                organisation=organisation,
                actor=actor,
                action=action,
                subject=subject,
            )
        )

    async def ready(self) -> None:
        """Return: it is always ready."""

    async def close(self) -> None:
        """Do nothing."""

    def version_of(self, organisation: str, session_id: str) -> int:
        """Return the version of a live session, 0 if there is none."""
        try:
            return self._find(organisation, session_id, self._clock()).version
        except SessionNotFoundError:
            return 0

    def expiry_of(self, organisation: str, session_id: str) -> int:
        """Return when a session expires or has expired, 0 if there is none."""
        session = self._sessions.get((organisation, session_id))
        return 0 if session is None else session.expires_at

    def keeps(self, organisation: str, session_id: str) -> bool:
        """Return whether there is a row of a session, live or expired."""
        return (organisation, session_id) in self._sessions

    def count(self) -> tuple[int, int, int]:
        """Count sessions, blocks and keys, live or expired."""
        sessions = self._sessions.values()
        return len(sessions), sum(len(session.blocks) for session in sessions), len(self._keys)

    def expiries(self) -> list[int]:
        """Return all times at which something in the store expires."""
        sessions = [session.expires_at for session in self._sessions.values()]
        return sorted(sessions + [used.expires_at for used in self._keys.values()])

    def _find(self, organisation: str, session_id: str, now: int) -> Session:
        session = self._sessions.get((organisation, session_id))
        if session is None or session.expires_at <= now:
            raise SessionNotFoundError
        return session

    def _apply_one(self, command: Command, now: int) -> Outcome:
        if command.idempotency_key is None:
            return self._effect_or_error(command, now)
        name = (command.organisation, command.idempotency_key.principal, type(command), command.idempotency_key.key)
        used = self._keys.get(name)
        if used is not None and used.expires_at > now:
            if used.fingerprint != command.idempotency_key.fingerprint:
                return IdempotencyKeyReusedError()
            return msgspec.structs.replace(used.effect, replayed=True)
        outcome = self._effect_or_error(command, now)
        if not isinstance(outcome, SessionaryError):
            self._keys[name] = UsedKey(command.idempotency_key.fingerprint, outcome, now + DAY)
        return outcome

    def _effect_or_error(self, command: Command, now: int) -> Outcome:
        try:
            return self._effect(command, now)
        except SessionaryError as error:
            return error

    def _effect(self, command: Command, now: int) -> Effect:
        if isinstance(command, Create):
            if command.if_version is not None:
                raise PreconditionFailedError(0)
            return self._create(command)
        session = self._find(command.organisation, command.session_id, now)
        if command.if_version is not None and session.version not in named(command.if_version, session.version):
            raise PreconditionFailedError(session.version)
        if session.version in named(command.unless_version, session.version):
            raise PreconditionFailedError(session.version)
        match command:
            case Update():
                return self._update(session, command, now)
            case Extend():
                return self._extend(session, command, now)
            case Delete():
                del self._sessions[session.organisation, session.id]
                self._note(session.organisation, command.actor, "delete_session", session.id, now)
                return Deleted(session_id=session.id, version=session.version)
        raise AssertionError(command)

    def _keep(self, session: Session) -> None:
        self._sessions[session.organisation, session.id] = session

    def _create(self, command: Create) -> Created:
        now = command.created_at if command.imported_at is None else command.imported_at
        session = Session(
            organisation=command.organisation,
            id=command.session_id,
            user_id=command.user_id,
            session_group=command.session_group,
            created_at=command.created_at,
            updated_at=now,
            expires_at=now + command.expires_after,
            title=command.title,
            model=command.model,
            metadata=merged({}, command.metadata),
        )
        session = appended(session, command, now)
        self._keep(session)
        return Created(session_id=session.id, version=1, created_at=session.created_at, expires_at=session.expires_at)

    def _update(self, session: Session, command: Update, now: int) -> Updated:
        said = (command.messages, command.tokens_used, command.status)
        said_too = (command.metadata, command.title, command.model)
        if any(value is not None for value in (*said, *said_too)):
            total_tokens = session.total_tokens + (command.tokens_used or 0)
            if total_tokens > TOTAL_MAX:
                raise TotalTooLargeError
            session = replace(
                session,
                title=command.title if command.title is not None else session.title,
                model=command.model if command.model is not None else session.model,
                status=command.status if command.status is not None else session.status,
                total_tokens=total_tokens,
                metadata=merged(session.metadata, command.metadata or {}),
                updated_at=now,
                version=session.version + 1,
            )
            session = appended(session, command, now)
            self._keep(session)
        return Updated(
            session_id=session.id,
            version=session.version,
            status=session.status,
            total_messages=len(session.messages),
            total_tokens=session.total_tokens,
            updated_at=session.updated_at,
        )

    def _extend(self, session: Session, command: Extend, now: int) -> Extended:
        expires_at = session.expires_at + command.minutes * MINUTE
        if expires_at - now > command.horizon:
            raise ExpiryTooFarError
        session = replace(session, expires_at=expires_at, updated_at=now, version=session.version + 1)
        self._keep(session)
        return Extended(
            session_id=session.id,
            version=session.version,
            minutes=command.minutes,
            expires_at=session.expires_at,
        )


def as_json(value: object) -> bytes:
    """Encode a value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def merged(stored: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge by top-level key; null removes a key."""
    metadata = dict(stored)
    for key, value in changes.items():
        if value is None:
            metadata.pop(key, None)
        else:
            metadata[key] = value
    if len(as_json(metadata)) > METADATA_BYTES:
        raise MetadataTooLargeError
    return metadata


def named(versions: Versions, version: int) -> tuple[int, ...]:
    """List the versions that a condition names; any means the one there is."""
    match versions:
        case None:
            return ()
        case "*":
            return (version,)
        case tuple():
            return versions
        case _:
            return (versions,)


def appended(session: Session, command: Create | Update, now: int) -> Session:
    """Append a block; the first message of a user may give the session its title."""
    messages = command.messages or ()
    if not messages:
        return session
    times = command.message_times or (None,) * len(messages)
    block = tuple(stamped(*one, now) for one in zip(messages, times, strict=True))
    session = replace(session, blocks=(*session.blocks, block))
    if len(session.messages) > SESSION_MESSAGES or session.total_bytes > SESSION_BYTES:
        raise SessionFullError
    if command.first_user_text is None or session.user_spoke:
        return session
    title = session.title if session.title is not None else title_of(command.first_user_text)
    return replace(session, title=title, user_spoke=True)


def stamped(message: bytes, time: int | None, now: int) -> bytes:
    """Add ``created_at`` as the last member of a JSON object: the time the message brings, or now."""
    created_at = {"created_at": formatted(now if time is None else time)}
    return message.removesuffix(b"}") + b"," + as_json(created_at).removeprefix(b"{")


def formatted(milliseconds: int) -> str:
    """Format a time as in responses."""
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def title_of(text: str) -> str | None:
    """Make a title of the first line with something on it."""
    for line in _LINE_END.split(text):
        kept = [letter for letter in line if letter.isspace() or not _is_control(letter)]
        title = re.sub(r"\s+", " ", "".join(kept)).strip(" ")
        if len(title) > TITLE_LENGTH:
            head = title[: TITLE_LENGTH - 1]
            return head[: head.rindex(" ") if " " in head else None] + "…"
        if title:
            return title
    return None


def _is_control(letter: str) -> bool:
    return letter < " " or "\x7f" <= letter <= "\x9f"


def _bounds(window: Window, total: int) -> tuple[int, int]:
    """Tell the first message of a window and the one after its last."""
    if window.offset is not None:
        end = total if window.limit is None else window.offset + window.limit
        return min(window.offset, total), min(end, total)
    if window.limit is not None:
        return max(0, total - window.limit), total
    return 0, total
