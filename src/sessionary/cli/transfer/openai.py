"""Chat transcripts of OpenAI's APIs and their training data: ``messages`` of ``role`` and ``content``."""

from typing import Any, Final

from sessionary.cli.transfer.conversation import Conversation
from sessionary.cli.transfer.times import time_from
from sessionary.cli.transfer.turns import add_turns

_TIMES: Final = ("created_at", "created", "create_time", "timestamp")


def is_transcript(value: Any) -> bool:
    """Tell whether a record has messages, or is a list of nothing else."""
    if isinstance(value, list):
        return bool(value) and all(_is_turn(turn) for turn in value)
    return isinstance(value, dict) and isinstance(value.get("messages"), list)


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and any(
        speaker in value and said in value
        for speaker in ("role", "from")
        for said in ("content", "value", "tool_calls")
    )


def read_transcript(value: Any, conversation: Conversation) -> None:
    """Read the messages, and what stands beside them as metadata."""
    if isinstance(value, list):
        add_turns(conversation, value)
        return
    known = {"messages", "user", "model", "title", "metadata"}
    conversation.members.update(
        {"user_id": value.get("user"), "model": value.get("model"), "title": value.get("title")}
    )
    when = next((name for name in _TIMES if time_from(value.get(name)) is not None), None)
    if when is not None:
        conversation.members["created_at"] = value[when]
        known.add(when)
    conversation.keep_metadata(value.get("metadata"))
    conversation.keep_rest(value, frozenset(known))
    add_turns(conversation, value["messages"])
