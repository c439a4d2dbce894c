"""What a conversation handle knows: the part that blocking and awaitable handles share."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from sessionary.client.calls import CallOptions, check_names
from sessionary.errors import InvalidRequest
from sessionary.model import CreatedSession, ExtendedSession, JsonObject, Session, UpdatedSession


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

    def __init__(self, session_id: str | None) -> None:
        """Begin with nothing, or with a session's id."""
        self.id: str = session_id or ""
        """The session's id, empty until the conversation has begun."""
        self.messages: list[JsonObject] = []
        """The messages so far, as the next request to a model takes them."""
        self.status: str = "active"
        self.expires_at: str = ""
        self.total_messages: int = 0
        self.total_tokens: int = 0

    def _note_created(self, created: CreatedSession, messages: Sequence[Mapping[str, Any]]) -> None:
        self.id, self.status, self.expires_at = created.session_id, created.status, created.expires_at
        self.messages = [dict(message) for message in messages]
        self.total_messages = len(messages)

    def _note_read(self, session: Session) -> None:
        self.messages = session.messages
        self.status, self.expires_at = session.status, session.expires_at
        self.total_messages, self.total_tokens = session.total_messages, session.total_tokens

    def _note_updated(self, updated: UpdatedSession, *messages: JsonObject) -> None:
        self.messages.extend(messages)
        self.status = updated.status
        self.total_messages, self.total_tokens = updated.total_messages, updated.total_tokens

    def _note_extended(self, extended: ExtendedSession) -> None:
        self.expires_at = extended.expires_at


def check_one_given(session_id: str | None, user_id: str | None) -> None:
    """Refuse a conversation that is neither a new one nor a known one; raises InvalidRequest."""
    if (session_id is None) == (user_id is None):
        raise InvalidRequest("A conversation needs either a user_id, to begin, or a session_id, to go on.")


def options_of(beginning: Beginning) -> CallOptions:
    """Pick what goes with every call of a conversation from what began it."""
    check_names(beginning, Beginning, "session")
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
