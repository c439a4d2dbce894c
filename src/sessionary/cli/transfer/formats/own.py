"""The output of `sessionary export`: one session a record, as ``get_session`` returns it."""

from typing import Any, Final

import msgspec

from sessionary.cli.transfer.conversation import Conversation, other_members
from sessionary.cli.transfer.formats.sharegpt import copy_fields
from sessionary.cli.transfer.ordering import StartTime
from sessionary.cli.transfer.times import parse_time

OWN_FORMAT: Final = "sessionary"

_MEMBERS: Final = ("user_id", "session_group", "title", "model", "status", "total_tokens", "created_at")
_SET_BY_SERVER: Final = frozenset(
    {"id", "messages", "metadata", "updated_at", "expires_at", "total_messages", "messages_offset"}
)
"""Members that the server sets or counts itself."""


class _Line(msgspec.Struct):
    """A line of `sessionary export`; members that are not needed for its time are not decoded."""

    id: str
    total_messages: int
    created_at: str
    expires_at: str
    messages: msgspec.Raw


_decode: Final = msgspec.json.Decoder(_Line).decode


def start_time_of_export(text: bytes) -> StartTime | None:
    """Return the creation time of a line's session without decoding all of it; None if it is not an export."""
    try:
        line = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    time = parse_time(line.created_at)
    return None if time is None else StartTime(time, newest_first=True)


def is_own(value: Any) -> bool:
    """Return whether a record is a session."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("messages"), list)
        and ("user_id" in value or "total_messages" in value)
    )


def read_own(value: Any, conversation: Conversation) -> None:
    """Read a session."""
    copy_fields(value, conversation, _MEMBERS)
    conversation.add_metadata(value.get("metadata"))
    conversation.imported.update(other_members(value, {*_SET_BY_SERVER, *_MEMBERS}, (None,)))
    conversation.messages.extend(value.get("messages") or [])
