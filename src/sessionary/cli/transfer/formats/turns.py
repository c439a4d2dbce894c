"""Reads the turns of training data and transcripts: ``from`` and ``value``, ``role`` and ``content``, or a mixture."""

from typing import Any, Final

from sessionary.cli.transfer.content import parse_content
from sessionary.cli.transfer.conversation import Conversation, add_imported
from sessionary.cli.transfer.formats.tool_calls import ToolCallTracker
from sessionary.cli.transfer.roles import FALLBACK_ROLE, TOOL_CALL_NAMES, find_role, normalise_role
from sessionary.models import JsonObject

_SPEAKERS: Final = ("role", "from", "sender", "author", "speaker")
_CONTENTS: Final = ("content", "value", "text", "message")
_PLAIN: Final = frozenset({"user", "human", "gpt", "assistant", "system", "developer", "tool", "function"})
"""Speaker names that need not be kept beside the role."""


def add_turns(conversation: Conversation, turns: list[Any]) -> None:
    """Add all turns of a list to the conversation."""
    reader = _TurnReader(conversation)
    for turn in turns:
        reader.add(turn)


class _TurnReader:
    """Reads turns in order and links tool results with their calls."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation: Final = conversation
        self._calls: Final = ToolCallTracker()

    def add(self, turn: Any) -> None:
        if turn is None:
            self._conversation.omit("turn that is null")
        elif not isinstance(turn, dict):
            self._conversation.record_change_in_next("turn that is not an object, kept as text of the assistant")
            self._conversation.add_message({"role": FALLBACK_ROLE, "content": parse_content(turn).content})
        elif isinstance(turn.get("type"), str) and turn["type"] and not any(turn.get(name) for name in _SPEAKERS):
            # An item of another API that has no role.
            self._conversation.add_message(turn)
        else:
            self._conversation.add_message(self._message(turn))

    def _message(self, turn: JsonObject) -> JsonObject:
        speaker_name = next((name for name in _SPEAKERS if turn.get(name) is not None), None)
        content_name = next((name for name in _CONTENTS if name in turn), None)
        given = turn.get(speaker_name) if speaker_name else None
        speaker = (given.get("role") or given.get("name")) if isinstance(given, dict) else given
        value = turn.get(content_name) if content_name else None
        message: JsonObject = {"role": self._role(speaker), "content": None}
        message |= {name: member for name, member in turn.items() if name not in {speaker_name, content_name}}
        # A second member named role or content is kept in imported.
        for name, wanted in (("role", self._role(speaker)), ("content", None)):
            if name in turn and name not in {speaker_name, content_name}:
                add_imported(message, **{name: turn[name]})
                message[name] = wanted
        if speaker_name is not None and (given is not speaker or normalise_role(speaker) not in _PLAIN):
            add_imported(message, **{speaker_name: given})
        message["content"] = value
        self._link(message, speaker, value)
        return message

    def _role(self, speaker: Any) -> str:
        return find_role(speaker) or FALLBACK_ROLE

    def _link(self, message: JsonObject, speaker: Any, value: Any) -> None:
        """Convert calls into ``tool_calls``, and link results with them."""
        if find_role(speaker) is None:
            self._conversation.record_change_in_next(f"unknown speaker, stored as {FALLBACK_ROLE}")
        self._find_calls(message, speaker, value)
        if message["role"] == "assistant":
            self._calls.expect_results(message.get("tool_calls"))
        elif message["role"] == "tool":
            given = message.get("tool_call_id")
            call_id = self._calls.match_result(message.get("name"), given)
            if given is None and call_id is not None:
                message["tool_call_id"] = call_id

    def _find_calls(self, message: JsonObject, speaker: Any, value: Any) -> None:
        if message.get("tool_calls") or message["role"] != "assistant":
            return
        calls = None
        if normalise_role(speaker) in TOOL_CALL_NAMES:
            calls = self._calls.parse_calls(value)
            if calls is None:
                self._conversation.record_change_in_next("tool call that cannot be parsed, kept as text")
        elif isinstance(message.get("function_call"), dict):
            calls = self._calls.parse_calls([message["function_call"]])
        elif isinstance(value, str) and "<tool_call>" in value:
            calls = self._calls.parse_calls(value)
        if calls:
            message["tool_calls"] = calls
