"""The contract of a store: its commands, outcomes and reads, and what every engine guarantees.

A *message block* holds the messages that one command appended. All times are milliseconds since 1970 in UTC. Metadata
and messages are compact JSON bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol

from msgspec import Struct

from sessionary.errors import SessionaryError
from sessionary.models import Status

Clock = Callable[[], int]
"""Returns the current time in milliseconds since 1970, and never goes back."""

CURSOR_START: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""The largest UUID: every session comes after it in a list."""

ANY_VERSION: Final = "*"
Versions = int | tuple[int, ...] | Literal["*"] | None
"""One version of a session, several, any (``*``), or no condition."""

_SMALL_OFFSET_MAX: Final = 1_000
_TIMESTAMP_BYTES: Final = len(',"created_at":"2026-11-22T22:09:00.123Z"')


MessageTimes = tuple[int | None, ...] | None
"""The time of each message, None for one that gets the time of the command; None alone if all do."""


class IdempotencyKey(Struct, frozen=True):
    """A command with this key has its effect at most once.

    A key belongs to an organisation, a principal and a kind of command. ``fingerprint`` is a hash of the request: the
    same key with another fingerprint is an error.
    """

    principal: str
    key: str
    fingerprint: bytes


class Command(Struct, frozen=True, kw_only=True):
    """What every command has: the session, the actor, and the preconditions.

    It is applied only if the session has one of the versions in ``if_version``, and none of those in
    ``unless_version``.
    """

    organisation: str
    session_id: str
    actor: str = ""
    idempotency_key: IdempotencyKey | None = None
    if_version: Versions = None
    unless_version: Versions = None


def matches_if_version(if_version: Versions, version: int) -> bool:
    """Return whether a version fulfils ``if_version``; None is no condition."""
    return if_version is None or version == if_version or matches_unless_version(if_version, version)


def matches_unless_version(unless_version: Versions, version: int) -> bool:
    """Return whether a version is one of those in ``unless_version``."""
    return unless_version is not None and (
        unless_version in (version, ANY_VERSION) or (isinstance(unless_version, tuple) and version in unless_version)
    )


class Create(Command, frozen=True, kw_only=True, tag="create"):
    """Create a session. ``created_at`` is the time inside its id, so that lists are in the order of ids.

    The time to live of an imported session starts at ``imported_at``. ``message_times`` are the times of imported
    messages, in any order.
    """

    created_at: int
    user_id: str
    session_group: str | None = None
    title: str | None = None
    model: str | None = None
    metadata: Mapping[str, Any] = {}
    expires_after: int
    messages: tuple[bytes, ...] = ()
    message_times: MessageTimes = None
    first_user_text: str | None = None
    imported_at: int | None = None


class Update(Command, frozen=True, kw_only=True, tag="update"):
    """Append messages, add tokens, merge metadata, and set what is given; a member that is None changes nothing.

    ``messages`` are compact JSON objects without ``created_at``, ``message_times`` as in ``Create``.
    ``first_user_text`` is the text of the first user message among them: None if there is no user message, empty if it
    has no text.
    """

    messages: tuple[bytes, ...] | None = None
    message_times: MessageTimes = None
    first_user_text: str | None = None
    tokens_used: int | None = None
    status: Status | None = None
    metadata: Mapping[str, Any] | None = None
    title: str | None = None
    model: str | None = None


class Extend(Command, frozen=True, kw_only=True, tag="extend"):
    """Extend the expiry by ``minutes``, to at most ``horizon`` milliseconds from now."""

    minutes: int
    horizon: int


class Delete(Command, frozen=True, kw_only=True, tag="delete"):
    """Delete a session and its messages."""


def size_of(command: Command) -> int:
    """Return the bytes of the messages of a command; the rest is small."""
    if isinstance(command, Create | Update) and command.messages:
        return sum(map(len, command.messages))
    return 0


def stored_size_of(command: Command) -> int:
    """Return the bytes that a command adds to ``total_bytes``: messages with timestamps, joined by commas."""
    if isinstance(command, Create | Update) and command.messages:
        return size_of(command) + len(command.messages) * (_TIMESTAMP_BYTES + 1) - 1
    return 0


class Applied(Struct, frozen=True, kw_only=True):
    """What every effect has; ``replayed`` if an earlier command with the same idempotency key had it."""

    session_id: str
    version: int
    replayed: bool = False


class Created(Applied, frozen=True, kw_only=True, tag="created"):
    """A session was created."""

    created_at: int
    expires_at: int


class Updated(Applied, frozen=True, kw_only=True, tag="updated"):
    """A session was changed."""

    status: Status
    total_messages: int
    total_tokens: int
    updated_at: int


class Extended(Applied, frozen=True, kw_only=True, tag="extended"):
    """An expiry was extended."""

    minutes: int
    expires_at: int


class Deleted(Applied, frozen=True, kw_only=True, tag="deleted"):
    """A session was deleted."""


Effect = Created | Updated | Extended | Deleted
Outcome = Effect | SessionaryError
"""An effect, or the error that was the reason for none."""


class StoredSession(Struct):
    """A row of the sessions. ``metadata`` is None if no command of the batch changes it.

    The fields are in the order in which the statements select them.
    """

    organisation: str
    id: str
    user_id: str
    session_group: str | None
    title: str | None
    model: str | None
    status: Status
    user_spoke: bool
    total_messages: int
    total_tokens: int
    total_bytes: int
    created_at: int
    updated_at: int
    expires_at: int
    version: int
    metadata: bytes | None


class MessageBlock(Struct, frozen=True):
    """The messages that one command appended, as JSON joined by commas: ``count`` of them, from number ``first`` on."""

    organisation: str
    session_id: str
    first: int
    count: int
    tokens: int
    body: bytes
    created_at: int


class StoredKey(Struct, frozen=True):
    """An idempotency key in use and the effect of its first command; ``command`` is that command's tag."""

    organisation: str
    principal: str
    command: str
    key: str
    fingerprint: bytes
    effect: bytes
    expires_at: int


class Window(Struct, frozen=True):
    """Which messages to read: ``limit`` alone means the last ones, ``offset`` alone from there to the end."""

    offset: int | None = None
    limit: int | None = None


class Conversation(Struct, frozen=True):
    """A session and its messages, as JSON.

    ``summary`` is made by ``encode_summary``, ``metadata`` is an object, ``messages`` are objects joined by commas;
    ``offset`` is the number of the first one.
    """

    version: int
    summary: bytes
    metadata: bytes
    messages: bytes
    offset: int


class Page(Struct, frozen=True):
    """Sessions as JSON objects joined by commas; the next page starts ``after`` this id, None after the last."""

    sessions: bytes
    after: str | None


class ListQuery(Struct, frozen=True, kw_only=True):
    """Which sessions to list: those that match all filters, at most ``limit``, after the session ``after``."""

    organisation: str
    user_id: str | None = None
    session_group: str | None = None
    model: str | None = None
    status: Status | None = None
    limit: int
    offset: int = 0
    after: str = CURSOR_START

    @property
    def is_quick(self) -> bool:
        """Whether one index has the rows side by side: at most one filter, none on status, and a small offset."""
        filters = (self.user_id, self.session_group, self.model)
        has_one_index = sum(given is not None for given in filters) <= 1 and self.status is None
        return has_one_index and self.offset <= _SMALL_OFFSET_MAX


class StoredToken(Struct, frozen=True):
    """A token as it is stored: with the SHA-256 of its secret. No organisation means all of them.

    The fields are in the order in which the statements select them.
    """

    id: str
    organisation: str | None
    name: str
    scopes: tuple[str, ...]
    secret_hash: bytes
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None


AuditAction = Literal["delete_session", "export_sessions", "create_token", "revoke_token"]
OPERATOR: Final = "operator"
"""The actor of a change that is made at the command line."""


class AuditRecord(Struct, frozen=True, kw_only=True):
    """Who did what, when, and to which session or token; never its content.

    ``actor`` is the id of the request's token, or ``operator`` for the command line. The store sets ``number``, in the
    order of the records.
    """

    number: int = 0
    at: int
    organisation: str | None
    actor: str
    action: AuditAction
    subject: str


class Usage(Struct, frozen=True):
    """The number of live sessions, and the bytes of their messages."""

    sessions: int
    stored_bytes: int


USAGE_PAGE_MAX: Final = 10_000
"""One read counts at most so many sessions, including expired ones, so that its time is bounded."""


class UsagePage(Usage, frozen=True):
    """The usage of a page of sessions, newest first; the next page starts ``after`` this id, None after the last."""

    after: str | None = None


class SweepResult(Struct, frozen=True):
    """How many expired sessions one sweep deleted, and whether more may be due."""

    removed: int
    more: bool


class Store(Protocol):
    """Stores sessions. Each sentence below is a guarantee with a conformance test on every engine.

    The commands of a batch are applied in order: each outcome is as if they had come one after another.
    An acknowledged command survives the end of the process.
    A command that is refused changes nothing.
    A session is not found from the moment it expires.
    A session of another organisation is not found.
    A command whose idempotency key was used before returns the first effect, and has no second one.
    A command whose ``if_version`` is not the session's version is refused with the version it has.
    A command whose ``unless_version`` is the session's version is refused with the version it has.
    A message with a time of its own keeps it, at any position.
    An imported session has the creation time of its id, and its time to live starts now.
    A session is deleted, and a token created or revoked, in one transaction with its audit record.
    """

    async def apply(self, command: Command) -> Outcome:
        """Apply a command, in one transaction with others that arrive at the same time.

        Raises OverloadedError if the queue is full; the command was not applied then. The outcome is a
        StoreUnavailableError if the database failed or did not respond in time; then the command was applied as a whole
        or not at all, and not if the error is ``unchanged``.
        """
        ...

    async def fetch(self, organisation: str, session_id: str, window: Window | None = None) -> Conversation:
        """Read a session and its messages in one consistent state; raises SessionNotFoundError."""
        ...

    async def list_sessions(self, query: ListQuery) -> Page:
        """Read a page of live sessions, newest first."""
        ...

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        """Count the live sessions, and the bytes of their messages, among ``limit`` sessions after ``after``."""
        ...

    async def sweep(self, limit: int) -> SweepResult:
        """Delete expired sessions, expired idempotency keys and old audit records, at most ``limit`` of each."""
        ...

    async def create_token(self, token: StoredToken, actor: str = OPERATOR) -> None:
        """Store a token; raises StoreUnavailableError if there is one with its id."""
        ...

    async def find_token(self, token_id: str) -> StoredToken | None:
        """Read a token, which may be revoked or expired; None if there is none."""
        ...

    async def list_tokens(self, limit: int, after: str = "") -> list[StoredToken]:
        """Read at most ``limit`` tokens with ids after ``after``, oldest first."""
        ...

    async def revoke_token(self, token_id: str, actor: str = OPERATOR) -> StoredToken:
        """Revoke a token, unless it is revoked already; raises TokenNotFoundError."""
        ...

    async def note_token_uses(self, used_at: Mapping[str, int]) -> None:
        """Store when each of these tokens was last used, unless a later use is stored; unknown ids are ignored."""
        ...

    async def note(self, record: AuditRecord) -> None:
        """Store an audit record of something that changes nothing else."""
        ...

    async def list_audit(self, limit: int, after: int = 0) -> list[AuditRecord]:
        """Read at most ``limit`` audit records with numbers above ``after``, oldest first."""
        ...

    async def ready(self) -> None:
        """Return if requests can be served now; raises UnavailableError."""
        ...

    async def close(self) -> None:
        """Finish the accepted requests and close the database."""
        ...
