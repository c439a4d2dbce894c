"""The contract of a store: commands go in, outcomes come out, and every promise it keeps is a sentence here.

Words: a *session* is the row a conversation hangs on; a *block* is the messages one command appended; *now* and every
other instant is an integer of milliseconds since 1970 in UTC; *metadata* and messages travel as compact JSON bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol

from msgspec import Struct

from sessionary.errors import SessionaryError
from sessionary.models import Status

Clock = Callable[[], int]
"""Answers now, in milliseconds since 1970, and never runs backwards."""

CURSOR_START: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""The largest UUID: every session comes after it in a list."""


ANY_VERSION: Final = "*"
Versions = int | tuple[int, ...] | Literal["*"] | None
"""Versions of a session: one, several, any, or none named."""

_NEAR: Final = 1_000
_INSTANT_BYTES: Final = len(',"created_at":"2026-11-22T22:09:00.123Z"')


MessageTimes = tuple[int | None, ...] | None
"""The instant each message of a command keeps, None where it gets the time of the command; None if all do."""


class IdempotencyKey(Struct, frozen=True):
    """The key under which a command has its effect at most once.

    A key belongs to an organisation, a principal and a kind of command; ``fingerprint`` tells two requests apart.
    """

    principal: str
    key: str
    fingerprint: bytes


class Command(Struct, frozen=True, kw_only=True):
    """What every command carries: whose session, which, who asks, and under which conditions.

    It is meant for a session with one of the versions of ``if_version``, and for none with one of ``unless_version``.
    """

    organisation: str
    session_id: str
    actor: str = ""
    idempotency_key: IdempotencyKey | None = None
    if_version: Versions = None
    unless_version: Versions = None


def matches_if_version(wanted: Versions, version: int) -> bool:
    """Say whether a version is among those wanted, which are all of them if none is named."""
    return wanted is None or version == wanted or matches_unless_version(wanted, version)


def matches_unless_version(refused: Versions, version: int) -> bool:
    """Say whether a version is among those named."""
    return refused is not None and (
        refused in (version, ANY_VERSION) or (isinstance(refused, tuple) and version in refused)
    )


class Create(Command, frozen=True, kw_only=True, tag="create"):
    """Begin a session. ``created_at`` is the instant inside its id, so that list order and id order are one.

    A session that is imported began elsewhere, then: it lives from ``imported_at`` on. ``message_times`` are the
    instants that the messages bring, None for a message that brings none; they need not be in order.
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
    """Append a block, add tokens, merge metadata, set what is given; None everywhere changes nothing.

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
    """Move the expiry by ``minutes``, at most to ``horizon`` milliseconds ahead of now."""

    minutes: int
    horizon: int


class Delete(Command, frozen=True, kw_only=True, tag="delete"):
    """Remove a session and its blocks."""


def size_of(command: Command) -> int:
    """Count the bytes of a command that are worth counting: its messages."""
    if isinstance(command, Create | Update) and command.messages:
        return sum(map(len, command.messages))
    return 0


def stored_size_of(command: Command) -> int:
    """Count the bytes a command adds to ``total_bytes``: its messages, each with its instant, joined by commas."""
    if isinstance(command, Create | Update) and command.messages:
        return size_of(command) + len(command.messages) * (_INSTANT_BYTES + 1) - 1
    return 0


class Applied(Struct, frozen=True, kw_only=True):
    """What every effect has in common; ``replayed`` says that it happened at an earlier command with the same key."""

    session_id: str
    version: int
    replayed: bool = False


class Created(Applied, frozen=True, kw_only=True, tag="created"):
    """A session was begun."""

    created_at: int
    expires_at: int


class Updated(Applied, frozen=True, kw_only=True, tag="updated"):
    """A session was changed."""

    status: Status
    total_messages: int
    total_tokens: int
    updated_at: int


class Extended(Applied, frozen=True, kw_only=True, tag="extended"):
    """An expiry was moved."""

    minutes: int
    expires_at: int


class Deleted(Applied, frozen=True, kw_only=True, tag="deleted"):
    """A session was removed."""


Effect = Created | Updated | Extended | Deleted
Outcome = Effect | SessionaryError
"""An effect, or the error that says why there is none."""


class StoredSession(Struct):
    """A session as a batch finds and leaves it. ``metadata`` is None where no command of the batch needs it.

    The fields stand in the order in which the statements select them: a row becomes a session as it is.
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
    """The messages one command appended: ``count`` of them from number ``first`` on, as JSON joined by commas."""

    organisation: str
    session_id: str
    first: int
    count: int
    tokens: int
    body: bytes
    created_at: int


class StoredKey(Struct, frozen=True):
    """The answer kept for a key; ``command`` is the tag of the command it answered."""

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
    """A session and its messages, as JSON that goes out as it is.

    ``summary`` is what ``encode_summary`` spells, ``metadata`` an object, ``messages`` are objects joined by commas;
    ``offset`` of them come before the first.
    """

    version: int
    summary: bytes
    metadata: bytes
    messages: bytes
    offset: int


class Page(Struct, frozen=True):
    """Sessions of a list as JSON objects joined by commas; the next page is what comes ``after`` this id, if any."""

    sessions: bytes
    after: str | None


class ListQuery(Struct, frozen=True, kw_only=True):
    """Which sessions to list: exact matches, combined with and; at most ``limit`` after the session ``after``."""

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
        """Say whether one index holds the rows side by side, near where it is entered: nothing is sifted or skipped."""
        filters = (self.user_id, self.session_group, self.model)
        return sum(given is not None for given in filters) <= 1 and self.status is None and self.offset <= _NEAR


class StoredToken(Struct, frozen=True, kw_only=True):
    """A token as it is kept: never the secret, only its SHA-256. No organisation means all of them."""

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
"""Who acts past the server, at the command line."""


class AuditRecord(Struct, frozen=True, kw_only=True):
    """That something was done, and nothing of its content: when, by whom, what, and to which session or token.

    ``actor`` is the id of the token a request came with, or says who it was at the command line. ``number`` is the
    store's own, in the order in which the records were made.
    """

    number: int = 0
    at: int
    organisation: str | None
    actor: str
    action: AuditAction
    subject: str


class Usage(Struct, frozen=True):
    """What an organisation's live sessions come to: their number, and the bytes of their messages."""

    sessions: int
    stored_bytes: int


USAGE_PAGE_MAX: Final = 10_000
"""So many sessions are counted by one read, expired ones included: what any number of them would take has no bound."""


class UsagePage(Usage, frozen=True):
    """The usage of a page of sessions, newest first; the next page is what comes ``after`` this id, if any."""

    after: str | None = None


class SweepResult(Struct, frozen=True):
    """What one bounded sweep did: how many expired sessions are gone, and whether more may be due."""

    removed: int
    more: bool


class Store(Protocol):
    """Keeps sessions. Each sentence below is a promise with a conformance test, on every engine.

    A batch is applied in order: the outcome of each command is as if the commands came one after another.
    An acknowledged command survives the end of the process.
    A command that is refused changes nothing.
    A session is absent from the instant it expires.
    A session of another organisation is absent.
    A command with a key that was used before gets the first effect again and has no second one.
    A command whose ``if_version`` is not the session's version is refused with the version it has.
    A command whose ``unless_version`` is the session's version is refused with the version it has.
    A message that brings its own time keeps it, wherever it stands.
    An imported session is as old as its id and lives from now on.
    A session is deleted, and a token made or revoked, together with the audit record of it.
    """

    async def apply(self, command: Command) -> Outcome:
        """Apply a command, in one transaction with others that arrive at the same time.

        Raises OverloadedError if the queue is full (the command was not applied). The outcome is a
        StoreUnavailableError if the database did not respond in time or refused (the command was applied whole or not
        at all).
        """
        ...

    async def fetch(self, organisation: str, session_id: str, window: Window | None = None) -> Conversation:
        """Read a session and its messages as of one instant; raises SessionNotFoundError."""
        ...

    async def list_sessions(self, query: ListQuery) -> Page:
        """Read a page of live sessions, newest created first."""
        ...

    async def measure_usage(
        self, organisation: str, after: str = CURSOR_START, limit: int = USAGE_PAGE_MAX
    ) -> UsagePage:
        """Count live sessions and the bytes of their messages among ``limit`` sessions after the session ``after``."""
        ...

    async def sweep(self, limit: int) -> SweepResult:
        """Remove at most ``limit`` each of expired sessions with their blocks, outdated keys, and old audit records."""
        ...

    async def create_token(self, token: StoredToken, actor: str = OPERATOR) -> None:
        """Keep a token; raises StoreUnavailableError where one with its id is kept already, which stays as it is."""
        ...

    async def find_token(self, token_id: str) -> StoredToken | None:
        """Read a token, also one that is revoked or expired."""
        ...

    async def list_tokens(self, limit: int, after: str = "") -> list[StoredToken]:
        """Read at most ``limit`` tokens whose ids follow ``after``, in the order of their ids: oldest first."""
        ...

    async def revoke_token(self, token_id: str, actor: str = OPERATOR) -> StoredToken:
        """Revoke a token, once and for good; raises TokenNotFoundError."""
        ...

    async def note_token_uses(self, used_at: Mapping[str, int]) -> None:
        """Keep when each of these tokens was last used, unless a later use is kept; ids that are not there are none."""
        ...

    async def note(self, record: AuditRecord) -> None:
        """Keep an audit record of something that changes nothing else."""
        ...

    async def list_audit(self, limit: int, after: int = 0) -> list[AuditRecord]:
        """Read at most ``limit`` audit records numbered higher than ``after``, oldest first."""
        ...

    async def ready(self) -> None:
        """Return if a request could be served now; raises UnavailableError."""
        ...

    async def close(self) -> None:
        """Finish what was accepted and let go of the database."""
        ...
