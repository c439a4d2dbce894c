"""Who replies in a conversation: an echo here, a model elsewhere."""

from typing import NamedTuple, Protocol

from sessionary.cli.showing import text_of
from sessionary.model import JsonObject


class NoReply(Exception):
    """Nobody replied; the text says why."""


class Reply(NamedTuple):
    """What was replied, and the tokens it took, if they were counted."""

    text: str
    tokens: int | None


class Replier(Protocol):
    """Replies to a conversation."""

    def reply(self, messages: list[JsonObject]) -> Reply:
        """Reply to the last of the messages; raises NoReply."""


class Echo:
    """Says again what was said last."""

    def reply(self, messages: list[JsonObject]) -> Reply:
        """Repeat the last message."""
        return Reply(text_of(messages[-1]), None)
