"""The supported formats, and parsing of records in any of them."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from sessionary.cli.transfer.conversation import Conversation, ConversionLog
from sessionary.cli.transfer.errors import RecordError
from sessionary.cli.transfer.formats import alpaca, chatgpt, claude, librechat, openai, openwebui, own, sharegpt
from sessionary.cli.transfer.lenient_json import decode_record
from sessionary.cli.transfer.session_draft import ParsedRecord
from sessionary.cli.transfer.session_normaliser import normalise_session


class Format(NamedTuple):
    """A format: its ``--format`` value, its name, and functions that detect and read it."""

    option: str
    name: str
    matches: Callable[[Any], bool]
    read: Callable[[Any, Conversation], None]
    requirement: str
    """What a record must have; shown in errors."""


FORMATS: Final = (
    Format("chatgpt", "ChatGPT data export", chatgpt.is_chatgpt, chatgpt.read_chatgpt, "an object `mapping`"),
    Format("claude", "Claude data export", claude.is_claude, claude.read_claude, "an array `chat_messages`"),
    Format("openwebui", "Open WebUI export", openwebui.is_openwebui, openwebui.read_openwebui, "an object `chat`"),
    Format(own.OWN_FORMAT, own.OWN_FORMAT, own.is_own, own.read_own, "an array `messages` and a `user_id`"),
    Format("librechat", "LibreChat export", librechat.is_librechat, librechat.read_librechat, "an array `messages`"),
    Format("sharegpt", "ShareGPT", sharegpt.is_sharegpt, sharegpt.read_sharegpt, "an array `conversations`"),
    Format("openai", "OpenAI transcripts", openai.is_openai, openai.read_openai, "an array `messages`"),
    Format(
        "preferences",
        "preference pairs",
        alpaca.is_preference,
        alpaca.read_preference,
        "`chosen` and `rejected` answers",
    ),
    Format("alpaca", "Alpaca", alpaca.is_alpaca, alpaca.read_alpaca, "an `instruction` and an `output`"),
)
_RELATED: Final = frozenset({"sessionary", "librechat", "openai"})
"""Formats of which the first that matches is the more specific one."""
_QUESTIONS: Final = frozenset({"preferences", "alpaca"})


class ReadOptions(NamedTuple):
    """Options for parsing records."""

    defaults: Mapping[str, Any]
    """Fields of the session, for records that lack them."""
    now: str
    """The latest valid timestamp."""
    format: str | None = None
    """The format of all records; None to detect it for each."""


def parse_record(text: bytes, options: ReadOptions) -> ParsedRecord:
    """Parse one record; raises RecordError."""
    log = ConversionLog()
    value = decode_record(text, log)
    format_, conversation = _read_as(value, options.format)
    conversation.merge(log)
    session = normalise_session(conversation, options.defaults, options.now, len(text))
    return ParsedRecord(format_.name, session, conversation)


def _read_as(value: Any, option: str | None) -> tuple[Format, Conversation]:
    if option is not None:
        format_ = next(format_ for format_ in FORMATS if format_.option == option)
        if not format_.matches(value):
            raise RecordError(f"It is not a conversation in the format {option}, which needs {format_.requirement}.")
        return format_, _read_conversation(format_, value)
    matching = [format_ for format_ in FORMATS if format_.matches(value)]
    if not matching:
        raise RecordError(_why_unknown(value))
    names = {format_.option for format_ in matching}
    if len(matching) == 1 or names <= _RELATED or names <= _QUESTIONS:
        return matching[0], _read_conversation(matching[0], value)
    # Several formats match: the one that finds the most messages is the most likely.
    read = [(format_, _read_conversation(format_, value)) for format_ in matching]
    format_, conversation = max(read, key=lambda candidate: len(candidate[1].messages))
    others = " or ".join(other.name for other in matching if other is not format_)
    conversation.record_change(f"read as {format_.name}, but may be {others}: use --format")
    return format_, conversation


def _read_conversation(format_: Format, value: Any) -> Conversation:
    conversation = Conversation()
    format_.read(value, conversation)
    return conversation


def _why_unknown(value: Any) -> str:
    if not isinstance(value, dict):
        return "It is not a JSON object."
    if "conversation_id" in value and not any(isinstance(member, dict | list) for member in value.values()):
        return "It only names a conversation that was shared; its messages are in conversations.json."
    if ("role" in value or "from" in value) and ("content" in value or "value" in value):
        return "It is a single message: a conversation is an object with an array `messages`."
    for name, kinds in (("messages", "an array"), ("conversations", "an array"), ("mapping", "an object")):
        if name in value:
            return f"It is not a conversation in a known format. Its `{name}` is not {kinds}."
    return "It is not a conversation in a known format."
