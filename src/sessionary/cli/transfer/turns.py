"""Turns of training data and of chat transcripts: ``from`` and ``value``, or ``role`` and ``content``, or a mixture."""

from typing import Any, Final

from sessionary.cli.transfer.contents import content_of
from sessionary.cli.transfer.conversation import Conversation, keep_beside
from sessionary.cli.transfer.roles import CALLS, FALLBACK, role_of, word_of
from sessionary.cli.transfer.toolcalls import Calls
from sessionary.models import JsonObject

_SPEAKERS: Final = ("role", "from", "sender", "author", "speaker")
_CONTENTS: Final = ("content", "value", "text", "message")
_PLAIN: Final = frozenset({"user", "human", "gpt", "assistant", "system", "developer", "tool", "function"})
"""Words that say no more than the role does."""


def add_turns(conversation: Conversation, turns: list[Any]) -> None:
    """Add all turns of a list."""
    reader = _Turns(conversation)
    for turn in turns:
        reader.add(turn)


class _Turns:
    """Reads turns one after another, so that results find their calls."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation: Final = conversation
        self._calls: Final = Calls()

    def add(self, turn: Any) -> None:
        if turn is None:
            self._conversation.leave_out("turn that is null")
        elif not isinstance(turn, dict):
            self._conversation.mend_next("turn that is no object, kept as text of the assistant")
            self._conversation.add({"role": FALLBACK, "content": content_of(turn).content})
        elif isinstance(turn.get("type"), str) and turn["type"] and not any(turn.get(name) for name in _SPEAKERS):
            # An item of another API, which has no role.
            self._conversation.add(turn)
        else:
            self._conversation.add(self._message(turn))

    def _message(self, turn: JsonObject) -> JsonObject:
        speaker_name = next((name for name in _SPEAKERS if turn.get(name) is not None), None)
        content_name = next((name for name in _CONTENTS if name in turn), None)
        given = turn.get(speaker_name) if speaker_name else None
        speaker = (given.get("role") or given.get("name")) if isinstance(given, dict) else given
        value = turn.get(content_name) if content_name else None
        message: JsonObject = {"role": self._role(speaker), "content": None}
        message |= {name: member for name, member in turn.items() if name not in {speaker_name, content_name}}
        # What another member of the same name would have hidden.
        for name, wanted in (("role", self._role(speaker)), ("content", None)):
            if name in turn and name not in {speaker_name, content_name}:
                keep_beside(message, **{name: turn[name]})
                message[name] = wanted
        if speaker_name is not None and (given is not speaker or word_of(speaker) not in _PLAIN):
            keep_beside(message, **{speaker_name: given})
        message["content"] = value
        self._link(message, speaker, value)
        return message

    def _role(self, speaker: Any) -> str:
        return role_of(speaker) or FALLBACK

    def _link(self, message: JsonObject, speaker: Any, value: Any) -> None:
        """Turn calls into ``tool_calls``, and link results with them."""
        if role_of(speaker) is None:
            self._conversation.mend_next(f"unknown speaker, kept as {FALLBACK}")
        self._find_calls(message, speaker, value)
        if message["role"] == "assistant":
            self._calls.wait(message.get("tool_calls"))
        elif message["role"] == "tool":
            given = message.get("tool_call_id")
            found = self._calls.answered(message.get("name"), given)
            if given is None and found is not None:
                message["tool_call_id"] = found

    def _find_calls(self, message: JsonObject, speaker: Any, value: Any) -> None:
        if message.get("tool_calls") or message["role"] != "assistant":
            return
        calls = None
        if word_of(speaker) in CALLS:
            calls = self._calls.calls_in(value)
            if calls is None:
                self._conversation.mend_next("call of a tool that cannot be read, kept as text")
        elif isinstance(message.get("function_call"), dict):
            calls = self._calls.calls_in([message["function_call"]])
        elif isinstance(value, str):
            calls = self._calls.tagged_calls_in(value)
        if calls:
            message["tool_calls"] = calls
