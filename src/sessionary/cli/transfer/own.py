"""Our own export, and that of other servers of the same API: a session a record, as ``get_session`` answers it."""

from typing import Any, Final

import msgspec

from sessionary.cli.transfer.conversation import Conversation
from sessionary.cli.transfer.ordering import Moment
from sessionary.cli.transfer.sharegpt import take_members
from sessionary.cli.transfer.times import time_from

OURS: Final = "sessionary"

_MEMBERS: Final = ("user_id", "session_group", "title", "model", "status", "total_tokens", "created_at")
_NEW_IN_EACH_SERVER: Final = frozenset(
    {"id", "messages", "metadata", "updated_at", "expires_at", "total_messages", "messages_offset"}
)
"""What the server makes anew, or counts."""


class _Line(msgspec.Struct):
    """A line as `sessionary export` writes it; what is not needed to know its time is not decoded."""

    id: str
    total_messages: int
    created_at: str
    expires_at: str
    messages: msgspec.Raw


_decode: Final = msgspec.json.Decoder(_Line).decode


def moment_of_export(text: bytes) -> Moment | None:
    """Tell when the session of a line was made without reading all of it; None for what is surely no export."""
    try:
        line = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    time = time_from(line.created_at)
    return None if time is None else Moment(time, newest_first=True)


def is_ours(value: Any) -> bool:
    """Tell whether a record is a session."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("messages"), list)
        and ("user_id" in value or "total_messages" in value)
    )


def read_ours(value: Any, conversation: Conversation) -> None:
    """Read a session."""
    take_members(value, conversation, _MEMBERS)
    conversation.keep_metadata(value.get("metadata"))
    rest = {name: member for name, member in value.items() if name not in {*_NEW_IN_EACH_SERVER, *_MEMBERS}}
    conversation.imported.update({name: member for name, member in rest.items() if member is not None})
    conversation.messages.extend(value.get("messages") or [])
