"""The formats of conversations that are read, and how each becomes a session."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from sessionary.cli.transfer import alpaca, chatgpt, claude, librechat, openai, openwebui, own, sharegpt
from sessionary.cli.transfer.conversation import Conversation
from sessionary.cli.transfer.decoding import decode
from sessionary.cli.transfer.fitting import fit
from sessionary.cli.transfer.reasons import UnreadableError
from sessionary.cli.transfer.record import Reading


class Shape(NamedTuple):
    """A format: the word that chooses it, its name, how to know it, and how to read it."""

    word: str
    name: str
    knows: Callable[[Any], bool]
    read: Callable[[Any, Conversation], None]
    asks_for: str
    """What a record must have."""


SHAPES: Final = (
    Shape("chatgpt", "ChatGPT data export", chatgpt.is_chatgpt, chatgpt.read_chatgpt, "an object `mapping`"),
    Shape("claude", "Claude data export", claude.is_claude, claude.read_claude, "an array `chat_messages`"),
    Shape("openwebui", "Open WebUI export", openwebui.is_openwebui, openwebui.read_openwebui, "an object `chat`"),
    Shape(own.OURS, own.OURS, own.is_ours, own.read_ours, "an array `messages` and a `user_id`"),
    Shape("librechat", "LibreChat export", librechat.is_librechat, librechat.read_librechat, "an array `messages`"),
    Shape("sharegpt", "ShareGPT", sharegpt.is_sharegpt, sharegpt.read_sharegpt, "an array `conversations`"),
    Shape("openai", "OpenAI transcripts", openai.is_transcript, openai.read_transcript, "an array `messages`"),
    Shape(
        "preferences",
        "preference pairs",
        alpaca.is_preference,
        alpaca.read_preference,
        "`chosen` and `rejected` answers",
    ),
    Shape("alpaca", "Alpaca", alpaca.is_question, alpaca.read_question, "an `instruction` and an `output`"),
)
_KINDRED: Final = frozenset({"sessionary", "librechat", "openai"})
"""Formats of which one is a closer description of the other."""
_QUESTIONS: Final = frozenset({"preferences", "alpaca"})


class Wanted(NamedTuple):
    """How records are to be read."""

    defaults: Mapping[str, Any]
    """Members of a session for those that do not name them."""
    now: str
    """No time in a session may be later."""
    format: str | None = None
    """The word of the one format to read; None to find out for each record."""


def read_record(text: bytes, wanted: Wanted) -> Reading:
    """Read one record; raises UnreadableError."""
    findings = Conversation()
    value = decode(text, findings)
    shape, conversation = _read_as(value, wanted.format)
    conversation.take_over(findings)
    record = fit(conversation, wanted.defaults, wanted.now, len(text))
    return Reading(shape.name, record, conversation)


def _read_as(value: Any, word: str | None) -> tuple[Shape, Conversation]:
    if word is not None:
        shape = _chosen(value, word)
        return shape, _conversation_of(shape, value)
    known = [shape for shape in SHAPES if shape.knows(value)]
    if not known:
        raise UnreadableError(_why_unknown(value))
    words = {shape.word for shape in known}
    if len(known) == 1 or words <= _KINDRED or words <= _QUESTIONS:
        return known[0], _conversation_of(known[0], value)
    # It may be any of several: the one that finds most messages is the likeliest.
    read = [(shape, _conversation_of(shape, value)) for shape in known]
    shape, conversation = max(read, key=lambda each: len(each[1].messages))
    others = " or ".join(other.name for other in known if other is not shape)
    conversation.mend(f"read as {shape.name}, though it may be {others}: --format chooses")
    return shape, conversation


def _conversation_of(shape: Shape, value: Any) -> Conversation:
    conversation = Conversation()
    shape.read(value, conversation)
    return conversation


def _chosen(value: Any, word: str) -> Shape:
    shape = next(shape for shape in SHAPES if shape.word == word)
    if not shape.knows(value):
        raise UnreadableError(f"It is no conversation of the format {word}, which needs {shape.asks_for}.")
    return shape


def _why_unknown(value: Any) -> str:
    if not isinstance(value, dict):
        return "It is not a JSON object."
    if "conversation_id" in value and not any(isinstance(member, dict | list) for member in value.values()):
        return "It only names a conversation that was shared; its messages are in conversations.json."
    if ("role" in value or "from" in value) and ("content" in value or "value" in value):
        return "It is one message, and no conversation: a conversation is an object with an array `messages`."
    for name, kinds in (("messages", "an array"), ("conversations", "an array"), ("mapping", "an object")):
        if name in value:
            return f"It is no conversation of a known shape. Its `{name}` is not {kinds}."
    return "It is no conversation of a known shape."
