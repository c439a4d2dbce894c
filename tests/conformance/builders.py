"""Shared by the store's tests: a manual clock, builders of commands, and functions that decode results."""

import asyncio
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sessionary.server.store.base import (
    Command,
    Conversation,
    Create,
    Created,
    Delete,
    Extend,
    Extended,
    IdempotencyKey,
    ListQuery,
    MessageTimes,
    Outcome,
    Store,
    StoredToken,
    Update,
    Updated,
    Versions,
)

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
HORIZON = 30 * DAY
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
START_TIME = 1_795_385_340_123  # 2026-11-22T22:09:00.123Z

ORGANISATION = "demo"
OTHER = "other"

Expected = TypeVar("Expected")


class ManualClock:
    """A clock that only a test moves; passed wherever the server passes its own clock."""

    def __init__(self, now: int = START_TIME) -> None:
        self.now = now

    def __call__(self) -> int:
        """Return the current time in milliseconds."""
        return self.now

    def move(self, milliseconds: int) -> None:
        """Move forward."""
        assert milliseconds >= 0, "time does not run backwards"
        self.now += milliseconds


@dataclass(frozen=True)
class SessionView:
    """The members of a session as a read returns them, with times in milliseconds."""

    id: str
    title: str | None
    model: str | None
    created_at: int
    updated_at: int
    user_id: str
    session_group: str | None
    status: str
    total_messages: int
    total_tokens: int
    expires_at: int
    version: int
    metadata: bytes


class Ids:
    """Makes UUIDs of version 7 as the service does: in order, also within a millisecond."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def next(self, created_at: int) -> str:
        """Make the next id for a creation time."""
        digits = f"{created_at:012x}7000{0b10 << 62 | next(self._numbers):016x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class CommandBuilder:
    """Builds commands with defaults for everything that a test does not give."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.ids = Ids()

    def create(
        self,
        *messages: Mapping[str, Any],
        organisation: str = ORGANISATION,
        user_id: str = "ada",
        session_group: str | None = None,
        title: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        minutes: int = 60,
        idempotency_key: IdempotencyKey | None = None,
        age: int | None = None,
        message_times: MessageTimes = None,
    ) -> Create:
        """Build the creation of a session now, or the import of one that is so old."""
        created_at = self.clock() - (age or 0)
        return Create(
            organisation=organisation,
            session_id=self.ids.next(created_at),
            created_at=created_at,
            imported_at=None if age is None else self.clock(),
            message_times=message_times,
            user_id=user_id,
            session_group=session_group,
            title=title,
            model=model,
            metadata=metadata or {},
            expires_after=minutes * MINUTE,
            messages=tuple(map(encode_message, messages)),
            first_user_text=first_user_text(messages),
            idempotency_key=idempotency_key,
        )

    def token(self, token_id: str, *, organisation: str | None = ORGANISATION, name: str = "ci") -> StoredToken:
        """Build a token with the default scopes."""
        return StoredToken(
            id=token_id,
            organisation=organisation,
            name=name,
            scopes=("sessions:read", "sessions:write"),
            secret_hash=bytes(range(32)),
            created_at=self.clock(),
        )


def update(
    session: Command,
    *messages: Mapping[str, Any],
    tokens_used: int | None = None,
    if_version: Versions = None,
    idempotency_key: IdempotencyKey | None = None,
    **given: Any,
) -> Update:
    """Change the session of an earlier command."""
    return Update(
        organisation=session.organisation,
        session_id=session.session_id,
        messages=tuple(map(encode_message, messages)) if messages else None,
        first_user_text=first_user_text(messages),
        tokens_used=tokens_used,
        if_version=if_version,
        idempotency_key=idempotency_key,
        **given,
    )


def extend(
    session: Command,
    minutes: int = 60,
    *,
    horizon: int = HORIZON,
    if_version: int | None = None,
    idempotency_key: IdempotencyKey | None = None,
) -> Extend:
    """Extend the session of an earlier command."""
    return Extend(
        organisation=session.organisation,
        session_id=session.session_id,
        minutes=minutes,
        horizon=horizon,
        if_version=if_version,
        idempotency_key=idempotency_key,
    )


def delete(session: Command, *, if_version: int | None = None, idempotency_key: IdempotencyKey | None = None) -> Delete:
    """Delete the session of an earlier command."""
    return Delete(
        organisation=session.organisation,
        session_id=session.session_id,
        if_version=if_version,
        idempotency_key=idempotency_key,
    )


def key(name: str, *, principal: str = "token-1", fingerprint: bytes = b"the first request") -> IdempotencyKey:
    """Make an idempotency key."""
    return IdempotencyKey(principal=principal, key=name, fingerprint=fingerprint)


def list_query(
    organisation: str = ORGANISATION,
    *,
    limit: int = 100,
    **given: Any,
) -> ListQuery:
    """Build a query for a page of an organisation's sessions."""
    return ListQuery(organisation=organisation, limit=limit, **given)


def user(content: Any = "hello", **more: Any) -> dict[str, Any]:
    """Make a message of the user."""
    return {"role": "user", "content": content, **more}


def assistant(content: Any = "hi", **more: Any) -> dict[str, Any]:
    """Make a message of the assistant."""
    return {"role": "assistant", "content": content, **more}


def encode_message(message: Mapping[str, Any]) -> bytes:
    """Encode a message as the operations pass it to the store."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def first_user_text(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the text of the first message of a user: None without one, empty if it has no text."""
    for message in messages:
        if message.get("role") == "user":
            return _text_of(message.get("content"))
    return None


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return next((text for text in texts if isinstance(text, str)), "")


async def apply_all(store: Store, commands: Iterable[Command]) -> list[Outcome]:
    """Apply commands at the same time: they arrive in this order, and make one batch if they fit into one."""
    return list(await asyncio.gather(*map(store.apply, commands)))


async def apply_one(store: Store, command: Command, expected: type[Expected]) -> Expected:
    """Apply one command and check the type of its outcome."""
    outcome = await store.apply(command)
    assert isinstance(outcome, expected), outcome
    return outcome


async def create_session(store: Store, command: Create) -> Create:
    """Create a session and return the command, which later commands refer to."""
    await apply_one(store, command, Created)
    return command


async def apply_update(store: Store, command: Update) -> Updated:
    """Apply an update that must succeed."""
    return await apply_one(store, command, Updated)


async def apply_extend(store: Store, command: Extend) -> Extended:
    """Apply an extension that must succeed."""
    return await apply_one(store, command, Extended)


async def read(store: Store, session: Command) -> SessionView:
    """Read the session of an earlier command."""
    return session_in(await store.fetch(session.organisation, session.session_id))


def session_in(conversation: Conversation) -> SessionView:
    """Decode the session of a conversation."""
    summary: dict[str, Any] = json.loads(b"{%b}" % conversation.summary)
    for name in ("created_at", "updated_at", "expires_at"):
        summary[name] = _milliseconds(summary[name])
    return SessionView(**summary, version=conversation.version, metadata=conversation.metadata)


def _milliseconds(timestamp: str) -> int:
    assert TIMESTAMP.fullmatch(timestamp), timestamp
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)


async def read_messages(store: Store, session: Command) -> list[dict[str, Any]]:
    """Read the messages of an earlier command's session."""
    return messages_of(await store.fetch(session.organisation, session.session_id))


def messages_of(conversation: Conversation) -> list[dict[str, Any]]:
    """Decode messages, each as it was sent and with its time."""
    decoded = json.loads(b"[" + conversation.messages + b"]")
    assert isinstance(decoded, list)
    return decoded


def contents_of(conversation: Conversation) -> list[Any]:
    """Decode the contents of the messages."""
    return [message["content"] for message in messages_of(conversation)]


def metadata_of(session: SessionView) -> dict[str, Any]:
    """Decode the metadata of a session that was read."""
    decoded = json.loads(session.metadata)
    assert isinstance(decoded, dict)
    return decoded


async def listed(store: Store, query: ListQuery) -> list[str]:
    """List the ids of sessions."""
    page = await store.list_sessions(query)
    return [session["id"] for session in json.loads(b"[" + page.sessions + b"]")]


async def sweep_all(store: Store, limit: int = 1000) -> int:
    """Sweep until nothing is left to delete, and return how many sessions were deleted."""
    removed = 0
    for _ in range(10_000):
        swept = await store.sweep(limit)
        removed += swept.removed
        if not swept.more:
            return removed
    raise AssertionError("the sweep never ends")
