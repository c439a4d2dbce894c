"""Our own export, and that of other servers of the same API: a session a record, as ``get_session`` answers it."""

from typing import Any, Final

from sessionary.cli.transfer.conversation import Conversation
from sessionary.cli.transfer.sharegpt import take_members

_MEMBERS: Final = ("user_id", "session_group", "title", "model", "status", "total_tokens", "created_at")
_NEW_IN_EACH_SERVER: Final = frozenset(
    {"id", "messages", "metadata", "updated_at", "expires_at", "total_messages", "messages_offset"}
)
"""What the server makes anew, or counts."""


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
