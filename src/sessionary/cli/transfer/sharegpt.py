"""Training data of ShareGPT's kind: ``conversations``, a list of turns, with ``system`` and ``tools`` beside it."""

from typing import Any, Final

from sessionary.cli.transfer.conversation import Conversation
from sessionary.cli.transfer.turns import add_turns
from sessionary.models import JsonObject

_LISTS: Final = ("conversations", "conversation", "dialogue", "dialog", "turns")
_MEMBERS: Final = ("user_id", "session_group", "model", "title")


def is_sharegpt(value: Any) -> bool:
    """Tell whether a record has turns."""
    return isinstance(value, dict) and any(isinstance(value.get(name), list) for name in _LISTS)


def read_sharegpt(value: Any, conversation: Conversation) -> None:
    """Read the turns, and what stands beside them as metadata."""
    name = next(name for name in _LISTS if isinstance(value.get(name), list))
    take_members(value, conversation, _MEMBERS)
    system = value.get("system")
    if isinstance(system, str):
        if system:
            conversation.add({"role": "system", "content": system})
    elif system is not None:
        conversation.imported["system"] = system
        conversation.mend("system that is no text, kept as metadata.imported.system")
    conversation.keep_rest(value, frozenset({name, "system", *_MEMBERS}))
    add_turns(conversation, value[name])


def take_members(value: JsonObject, conversation: Conversation, names: tuple[str, ...]) -> None:
    """Take members that a session has under the same name."""
    conversation.members.update({name: value[name] for name in names if value.get(name) is not None})
