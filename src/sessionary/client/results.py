"""What the operations return: the models of the wire, with times as ``datetime`` and with members of newer servers.

A member that a server leaves out, or sends as null, is None where its type allows that and else the empty value of
its type: ``""``, ``0``, ``[]`` or ``{}``.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
from msgspec import Struct, field
from msgspec.structs import FieldInfo, fields

from sessionary.models import JsonObject, Role

if TYPE_CHECKING:
    StoredMessages = list[JsonObject]
else:
    # The items are not checked: whatever another server sends is passed on.
    StoredMessages = list


class Message(TypedDict, total=False):
    """One message to send. It may have more members than these: all of them are stored and returned."""

    role: Role
    content: str | list[dict[str, Any]] | None
    """A text, or a list of parts. May be absent beside ``tool_calls`` or ``type``."""
    name: str
    tool_calls: list[dict[str, Any]]
    tool_call_id: str
    metadata: dict[str, Any]
    type: str
    """The kind of an item of a model's API; beside it ``role`` may be absent and ``content`` anything."""
    created_at: str
    """When the message was sent (RFC 3339), for imports."""


class Result(Struct, kw_only=True):
    """The base of all results."""

    extra: JsonObject = field(default_factory=dict)
    """Members that the server sent and this version does not know, and times that cannot be read."""

    def to_dict(self) -> JsonObject:
        """Return the members as on the wire: wire names, times as RFC 3339 text, unknown members included."""
        members = {each.encode_name: _to_wire(getattr(self, each.name)) for each in self._wire_fields()}
        return {**members, **self.extra}

    def to_json(self) -> str:
        """Return the members as JSON text, as on the wire."""
        return msgspec.json.encode(self.to_dict()).decode()

    def _wire_fields(self) -> Iterator[FieldInfo]:
        return (each for each in fields(self) if each.name != "extra")


class CreatedSession(Result, kw_only=False, rename="camel"):
    """The result of ``create_session``."""

    session_id: str = ""
    status: str = ""
    expires_at: datetime | None = None
    created_at: datetime | None = None


class UpdatedSession(Result, kw_only=False, rename="camel"):
    """The result of ``update_session``; the totals count the whole session."""

    session_id: str = ""
    status: str = ""
    total_messages: int = 0
    total_tokens: int = 0
    updated_at: datetime | None = None


class ExtendedSession(Result, kw_only=False, rename="camel"):
    """The result of ``extend_session``."""

    session_id: str = ""
    expires_at: datetime | None = None
    message: str = ""


class DeletedSession(Result, kw_only=False):
    """The result of ``delete_session``."""

    message: str = ""


class ListedSession(Result):
    """One session of a list: all but its messages."""

    id: str = ""
    title: str | None = None
    model: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    user_id: str = ""
    session_group: str | None = None
    status: str = ""
    total_messages: int = 0
    total_tokens: int = 0
    expires_at: datetime | None = None
    metadata: JsonObject = field(default_factory=dict)


class Session(ListedSession):
    """The result of ``get_session``: a session with its messages, in the order in which they were appended."""

    messages: StoredMessages = field(default_factory=list)
    messages_offset: int | None = None
    """How many messages precede the first one returned; only if a window of messages was requested."""

    def _wire_fields(self) -> Iterator[FieldInfo]:
        return (
            each
            for each in super()._wire_fields()
            if each.name != "messages_offset" or self.messages_offset is not None
        )


def parse_datetime(text: str) -> datetime | None:
    """Parse a time in UTC, or return None if it cannot be read. A time without an offset is taken as UTC."""
    try:
        time = datetime.fromisoformat(text.upper())  # RFC 3339 allows a lower-case "z", Python does not
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def format_datetime(time: datetime) -> str:
    """Format a time as RFC 3339 in UTC, with milliseconds, or with microseconds where there are any."""
    precision = "microseconds" if time.microsecond % 1000 else "milliseconds"
    return time.astimezone(UTC).isoformat(timespec=precision).removesuffix("+00:00") + "Z"


def _to_wire(value: Any) -> Any:
    return format_datetime(value) if isinstance(value, datetime) else value
