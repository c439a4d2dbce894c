"""What a conversation handle knows: the part that blocking and awaitable handles share."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

from msgspec import UNSET, UnsetType

from sessionary.client.arguments import check_names, closest, closest_member, organisation_checked, seconds, unexpected
from sessionary.client.calls import CallOptions
from sessionary.errors import ClientUsageError, InvalidRequestError
from sessionary.models import IDEMPOTENCY_KEY, CreatedSession, ExtendedSession, JsonObject, Session, UpdatedSession

ADDED_BY_THE_SERVER: Final = frozenset({"created_at", "edited_at"})
"""The members of a stored message that no caller sent; some models' endpoints refuse them."""
_OF_SAY: Final = ("tokens_used", "timeout", "headers")
_OF_OTHER_CALLS: Final = ("organisation", "token")
_OF_MESSAGES: Final = ("role", "content", "metadata", "name", "tool_calls", "tool_call_id")
"""The members that messages are known to have."""
_WORDS_OF_THEIR_OWN: Final = frozenset({"context", "consent"})
"""Members that look like a mistyped ``content`` and are none."""


class Beginning(CallOptions, total=False):
    """What a conversation may be begun with; as the arguments of ``create_session``."""

    session_group: str | None
    metadata: Mapping[str, Any] | None
    expiration_minutes: int | None
    initial_messages: Sequence[Mapping[str, Any]] | None
    title: str | None
    model: str | None


class Transcript:
    """A conversation as far as its handle has seen it: what it read when it began, and what it said since."""

    def __init__(self, user_id: str | None, session_id: str | None, beginning: Beginning) -> None:
        """Begin with nothing, or with a session's id; raises InvalidRequestError unless one of the two ids is given."""
        check_one_given(session_id, user_id)
        self.id: str = session_id or ""
        """The session's id, empty until the conversation has begun."""
        self.messages: list[JsonObject] = []
        """The messages so far, as the next request to a model takes them: without what the server added to them."""
        self.stored_messages: list[JsonObject] = []
        """The same messages as they were read from the server, ``created_at`` included, and what was said since."""
        self.status: str = "active"
        self.expires_at: str = ""
        self.total_messages: int = 0
        self.total_tokens: int = 0
        self._user_id: Final = user_id
        self._options: Final = options_of(beginning)
        self._beginning: Final[dict[str, Any]] = {**beginning, "user_id": user_id}
        # The same at each attempt to begin: a second one finds the session that the first one may have made.
        self._key: Final = f'"{uuid4()}"'
        # Never waited for, so that no thread and no forked process can be stuck at it.
        self._beginning_now: Final = threading.Lock()

    @contextmanager
    def _begun_once(self) -> Iterator[dict[str, Any] | None]:
        """Give out what to create the session with, or None if there is one; raises ClientUsageError meanwhile."""
        if not self._beginning_now.acquire(blocking=False):
            raise ClientUsageError("The conversation is being begun elsewhere; begin it once, then share it.")
        try:
            headers = {IDEMPOTENCY_KEY: self._key, **(self._options.get("headers") or {})}
            yield None if self.id else {**self._beginning, "headers": headers}
        finally:
            self._beginning_now.release()

    def _known_id(self) -> str:
        if not self.id:
            raise ClientUsageError("The conversation has not begun: use it with `with`.")
        return self.id

    def _message(self, role: str, content: Any, members: Mapping[str, Any]) -> JsonObject:
        """Make a message; raises TypeError for a member that is an argument mistyped, or one of other calls."""
        for name in members.keys() - _WORDS_OF_THEIR_OWN - {*_OF_MESSAGES}:
            meant = closest_member(name, _OF_MESSAGES)
            if meant:
                raise unexpected("say", name, [meant])
            if closest(name, _OF_SAY) or closest(name, _OF_OTHER_CALLS):
                raise unexpected("say", name, _OF_SAY)
        return {"role": role, "content": content, **members}

    def _note_created(self, created: CreatedSession) -> None:
        messages: Sequence[Mapping[str, Any]] = self._beginning.get("initial_messages") or []
        self.id, self.status, self.expires_at = created.session_id, created.status, created.expires_at
        self.stored_messages = [dict(message) for message in messages]
        self.messages = [dict(message) for message in messages]
        self.total_messages = len(messages)

    def _note_read(self, session: Session) -> None:
        self.stored_messages = session.messages
        self.messages = [_as_sent(message) for message in session.messages]
        self.status, self.expires_at = session.status, session.expires_at
        self.total_messages, self.total_tokens = session.total_messages, session.total_tokens

    def _note_updated(self, updated: UpdatedSession, *messages: JsonObject) -> None:
        self.messages.extend(messages)
        self.stored_messages.extend(dict(message) for message in messages)
        self.status = updated.status
        self.total_messages, self.total_tokens = updated.total_messages, updated.total_tokens

    def _note_extended(self, extended: ExtendedSession) -> None:
        self.expires_at = extended.expires_at


def check_one_given(session_id: str | None, user_id: str | None) -> None:
    """Refuse a conversation that is neither a new one nor a known one; raises InvalidRequestError."""
    if (session_id is None) == (user_id is None):
        raise InvalidRequestError("A conversation needs either a user_id, to begin, or a session_id, to go on.")
    if session_id == "":
        raise InvalidRequestError("The session id is empty.")


def options_of(beginning: Beginning) -> CallOptions:
    """Pick what goes with every call of a conversation from what began it; raises InvalidRequestError."""
    check_names(beginning, Beginning, "session")
    seconds(beginning.get("timeout"))
    organisation_checked(beginning.get("organisation"))
    options: Any = {name: value for name, value in beginning.items() if name in CallOptions.__annotations__}
    return options  # type: ignore[no-any-return]  # a subset of its keys


def for_one_call(
    options: CallOptions, timeout: float | UnsetType | None, headers: Mapping[str, str] | None
) -> CallOptions:
    """Add what is said of one call to what goes with every call of a conversation; its headers win."""
    once = options.copy()
    if timeout is not UNSET:
        once["timeout"] = timeout
    if headers:
        once["headers"] = {**options.get("headers", {}), **headers}
    return once


def _as_sent(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    return {name: value for name, value in message.items() if name not in ADDED_BY_THE_SERVER}
