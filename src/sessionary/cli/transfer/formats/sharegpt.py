"""ShareGPT training data: ``conversations``, a list of turns, with optional ``system`` and ``tools``."""

from typing import Any, Final

from sessionary.cli.transfer.conversation import Conversation
from sessionary.cli.transfer.formats.turns import add_turns
from sessionary.models import JsonObject

_LISTS: Final = ("conversations", "conversation", "dialogue", "dialog", "turns")
_MEMBERS: Final = ("user_id", "session_group", "model", "title")


def is_sharegpt(value: Any) -> bool:
    """Return whether a record has turns."""
    return isinstance(value, dict) and any(isinstance(value.get(name), list) for name in _LISTS)


def read_sharegpt(value: Any, conversation: Conversation) -> None:
    """Read the turns; other members become metadata."""
    name = next(name for name in _LISTS if isinstance(value.get(name), list))
    copy_fields(value, conversation, _MEMBERS)
    system = value.get("system")
    if isinstance(system, str):
        if system:
            conversation.add_message({"role": "system", "content": system})
    elif system is not None:
        conversation.imported["system"] = system
        conversation.record_change("system that is not text, kept as metadata.imported.system")
    conversation.add_other_fields(value, frozenset({name, "system", *_MEMBERS}))
    add_turns(conversation, value[name])


def copy_fields(value: JsonObject, conversation: Conversation, names: tuple[str, ...]) -> None:
    """Copy members to the fields of the session with the same name."""
    conversation.fields.update({name: value[name] for name in names if value.get(name) is not None})
