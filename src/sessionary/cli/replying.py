"""Who replies in a conversation: an echo here, a model elsewhere."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from sessionary.cli.showing import text_of
from sessionary.models import JsonObject


class NoReplyError(Exception):
    """Nobody replied; the text says why."""


class Reply(NamedTuple):
    """What was replied, the tokens it took, if they were counted, and whether it was cut at a limit."""

    text: str
    tokens: int | None
    cut: bool = False


Show = Callable[[str], None]
"""Shows the next piece of a reply that is still being written."""


class Replier(Protocol):
    """Replies to a conversation."""

    @property
    def name(self) -> str:
        """Who is waited for."""

    def reply(self, messages: list[JsonObject], show: Show) -> Reply:
        """Reply to the last of the messages, piece by piece; raises NoReplyError."""


class Echo:
    """Says again what was said last."""

    name = "the echo"

    def reply(self, messages: list[JsonObject], show: Show) -> Reply:
        """Repeat the last message."""
        text = text_of(messages[-1])
        show(text)
        return Reply(text, None)
