"""Chat transcripts of OpenAI's APIs and their training data: ``messages`` of ``role`` and ``content``."""

from typing import Any, Final

from sessionary.cli.transfer.conversation import Conversation
from sessionary.cli.transfer.formats.turns import add_turns
from sessionary.cli.transfer.times import parse_time

_TIMES: Final = ("created_at", "created", "create_time", "timestamp")


def is_openai(value: Any) -> bool:
    """Return whether a record has messages or is a list of them."""
    if isinstance(value, list):
        return bool(value) and all(_is_turn(turn) for turn in value)
    return isinstance(value, dict) and isinstance(value.get("messages"), list)


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and any(
        speaker in value and content in value
        for speaker in ("role", "from")
        for content in ("content", "value", "tool_calls")
    )


def read_openai(value: Any, conversation: Conversation) -> None:
    """Read the messages; other members become metadata."""
    if isinstance(value, list):
        add_turns(conversation, value)
        return
    known = {"messages", "user", "model", "title", "metadata"}
    conversation.fields.update({"user_id": value.get("user"), "model": value.get("model"), "title": value.get("title")})
    time_member = next((name for name in _TIMES if parse_time(value.get(name)) is not None), None)
    if time_member is not None:
        conversation.fields["created_at"] = value[time_member]
        known.add(time_member)
    conversation.add_metadata(value.get("metadata"))
    conversation.add_other_fields(value, frozenset(known))
    add_turns(conversation, value["messages"])
