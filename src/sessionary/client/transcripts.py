"""The state of a conversation, shared by ``Conversation`` and ``AsyncConversation``."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from msgspec import UNSET, UnsetType

from sessionary.client.request_specs import CallOptions
from sessionary.client.results import CreatedSession, ExtendedSession, Session, UpdatedSession
from sessionary.client.validation import (
    closest_member_name,
    closest_name,
    reject_unknown_names,
    unexpected_keyword_error,
    validate_headers,
    validate_organisation,
    validate_timeout,
)
from sessionary.errors import ClientUsageError, InvalidArgumentError
from sessionary.models import IDEMPOTENCY_KEY, JsonObject

if TYPE_CHECKING:
    from datetime import datetime

SERVER_MEMBERS: Final = frozenset({"created_at", "edited_at"})
"""Members that the server adds to stored messages; some models' endpoints refuse them."""
_SAY_OPTIONS: Final = ("tokens_used", "idempotency_key", "timeout", "headers")
_OTHER_OPTIONS: Final = ("organisation", "token", "if_match", "max_retries", "new_messages", "initial_messages")
"""Arguments of other methods, which ``say`` must not take for members of the message."""
_MESSAGE_MEMBERS: Final = ("role", "content", "metadata", "name", "tool_calls", "tool_call_id")
"""The usual members of messages."""
_NOT_MISTYPED: Final = frozenset({"context", "consent"})
"""Members that look like a mistyped ``content`` but are not."""


class ConversationOptions(CallOptions, total=False):
    """Options of a conversation: those of ``create_session``, and call options for all its calls."""

    session_group: str | None
    metadata: Mapping[str, Any] | None
    expiration_minutes: int | None
    initial_messages: Sequence[Mapping[str, Any]] | None
    title: str | None
    model: str | None


class Transcript:
    """The part of a conversation that this program has read or sent."""

    def __init__(self, user_id: str | None, session_id: str | None, options: ConversationOptions) -> None:
        """Start without messages; raises InvalidArgumentError unless exactly one of the two ids is given."""
        validate_ids(session_id, user_id)
        self.id: str = session_id or ""
        """The session's id; empty until the session is created."""
        self.messages: list[JsonObject] = []
        """The messages in the form that models take: without the members that the server adds."""
        self.stored_messages: list[JsonObject] = []
        """The same messages as read from the server, ``created_at`` included, followed by those sent since."""
        self.status: str = "active"
        self.expires_at: datetime | None = None
        self.total_messages: int = 0
        self.total_tokens: int = 0
        self._user_id: Final = user_id
        self._options: Final = call_options_from(options)
        self._creation: Final[dict[str, Any]] = {**options, "user_id": user_id}
        messages: Any = options.get("initial_messages")
        if isinstance(messages, Iterator):
            # It can be read only once: by the request, or again if that fails, and for ``messages``.
            self._creation["initial_messages"] = list(messages)
        # The same key at each attempt to create the session, so that at most one is created.
        self._key: Final = f'"{uuid4()}"'
        # Only acquired without blocking, so that no thread and no forked process can get stuck.
        self._creation_lock: Final = threading.Lock()

    @contextmanager
    def _creating(self) -> Iterator[dict[str, Any] | None]:
        """Yield the arguments for creating the session, None if it exists; raises ClientUsageError if entered twice."""
        if not self._creation_lock.acquire(blocking=False):
            raise ClientUsageError("This conversation is being started elsewhere: start it once, then share it.")
        try:
            headers = {IDEMPOTENCY_KEY: self._key, **(self._options.get("headers") or {})}
            yield None if self.id else {**self._creation, "headers": headers}
        finally:
            self._creation_lock.release()

    def _known_id(self) -> str:
        if not self.id:
            raise ClientUsageError("The conversation has not started: use it in a `with` block.")
        return self.id

    def _make_message(self, role: str, content: Any, members: Mapping[str, Any]) -> JsonObject:
        """Build a message; raises TypeError for a member that looks like a mistyped argument."""
        for name in members.keys() - _NOT_MISTYPED - {*_MESSAGE_MEMBERS}:
            meant = closest_member_name(name, _MESSAGE_MEMBERS)
            if meant:
                raise unexpected_keyword_error("say", name, [meant])
            if closest_name(name, _SAY_OPTIONS) or closest_name(name, _OTHER_OPTIONS):
                raise unexpected_keyword_error("say", name, _SAY_OPTIONS)
        return {"role": role, "content": content, **members}

    def _note_created(self, created: CreatedSession) -> None:
        messages: Sequence[Mapping[str, Any]] = self._creation.get("initial_messages") or []
        self.id, self.status, self.expires_at = created.session_id, created.status, created.expires_at
        self.stored_messages = [dict(message) for message in messages]
        self.messages = [dict(message) for message in messages]
        self.total_messages = len(self.messages)

    def _note_read(self, session: Session) -> None:
        self.stored_messages = session.messages
        self.messages = [_without_server_members(message) for message in session.messages]
        self.status, self.expires_at = session.status, session.expires_at
        self.total_messages, self.total_tokens = session.total_messages, session.total_tokens

    def _note_updated(self, updated: UpdatedSession, *messages: JsonObject) -> None:
        self.messages.extend(messages)
        self.stored_messages.extend(dict(message) for message in messages)
        self.status = updated.status
        self.total_messages, self.total_tokens = updated.total_messages, updated.total_tokens

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id or 'not started'}>"

    def _note_extended(self, extended: ExtendedSession) -> None:
        self.expires_at = extended.expires_at


def validate_ids(session_id: str | None, user_id: str | None) -> None:
    """Check that exactly one of the two ids is given; raises InvalidArgumentError."""
    if (session_id is None) == (user_id is None):
        raise InvalidArgumentError("A conversation needs either a user_id, for a new one, or a session_id.")
    if session_id == "":
        raise InvalidArgumentError("The session id is empty.")


def call_options_from(options: ConversationOptions) -> CallOptions:
    """Return the options for every call of a conversation; raises InvalidArgumentError."""
    reject_unknown_names(options, ConversationOptions, "session")
    validate_timeout(options.get("timeout"))
    validate_organisation(options.get("organisation"))
    validate_headers(options.get("headers"))
    found: Any = {name: value for name, value in options.items() if name in CallOptions.__annotations__}
    return found  # type: ignore[no-any-return]  # a subset of its keys


def merge_call_options(
    options: CallOptions, timeout: float | UnsetType | None, headers: Mapping[str, str] | None
) -> CallOptions:
    """Merge the options of one call into those of the conversation; the headers of the call win."""
    merged = options.copy()
    if timeout is not UNSET:
        merged["timeout"] = timeout
    if headers:
        merged["headers"] = {**(options.get("headers") or {}), **validate_headers(headers)}
    return merged


def _without_server_members(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    return {name: value for name, value in message.items() if name not in SERVER_MEMBERS}
