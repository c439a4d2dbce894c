"""LibreChat's export: one conversation, its messages as a list or as a tree of ``children``."""

from typing import Any, Final

from sessionary.cli.transfer.conversation import Conversation, add_imported, other_members
from sessionary.cli.transfer.formats.claude import displayed_branch_of_list
from sessionary.cli.transfer.roles import FALLBACK_ROLE, find_role
from sessionary.cli.transfer.times import parse_time
from sessionary.models import JsonObject

_MEMBERS: Final = frozenset(
    {"conversationId", "title", "messages", "messagesTree", "exportAt", "createdAt", "updatedAt"}
)
_MESSAGE_MEMBERS: Final = frozenset(
    {"messageId", "parentMessageId", "conversationId", "sender", "isCreatedByUser", "text", "content", "children"}
    | {"createdAt", "updatedAt", "created_at", "role"}
)
_TYPICAL_MEMBERS: Final = ("isCreatedByUser", "messageId", "parentMessageId")


def is_librechat(value: Any) -> bool:
    """Return whether a record is a LibreChat conversation."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("messagesTree"), list):
        return True
    messages = value.get("messages")
    first = next((each for each in messages if isinstance(each, dict)), {}) if isinstance(messages, list) else {}
    return (any(name in first for name in _TYPICAL_MEMBERS) and "role" not in first) or (
        "conversationId" in value and isinstance(messages, list) and ("exportAt" in value or "endpoint" in value)
    )


def read_librechat(value: Any, conversation: Conversation) -> None:
    """Read the branch that ends at the last message."""
    options = value.get("options") if isinstance(value.get("options"), dict) else {}
    listed = value.get("messages") if isinstance(value.get("messages"), list) else value.get("messagesTree")
    messages = _flatten(listed if isinstance(listed, list) else [])
    times = [message.get("createdAt") for message in messages if isinstance(message, dict)]
    conversation.fields.update(
        {
            "title": value.get("title"),
            "model": options.get("model") or value.get("model"),
            "created_at": value.get("createdAt") or next((time for time in times if parse_time(time)), None),
        }
    )
    conversation.fallback_user = value.get("user")
    conversation.add_source("librechat", id=value.get("conversationId"), exported_at=value.get("exportAt"))
    conversation.imported.update(other_members(value, _MEMBERS))
    for message in displayed_branch_of_list(messages, ("messageId", "parentMessageId"), None, conversation):
        conversation.add_message(_message(message, conversation) if isinstance(message, dict) else message)


def _flatten(messages: list[Any]) -> list[Any]:
    """Flatten a tree into a list, parents before children."""
    flat: list[Any] = []
    pending = messages[::-1]
    while pending:
        message = pending.pop()
        flat.append(message)
        children = message.get("children") if isinstance(message, dict) else None
        if isinstance(children, list):
            for child in reversed(children):
                known = isinstance(child, dict) and child.get("parentMessageId") is None
                pending.append({**child, "parentMessageId": message.get("messageId")} if known else child)
    return flat


def _message(message: JsonObject, conversation: Conversation) -> JsonObject:
    converted: JsonObject = {"role": _role(message, conversation), "content": _content(message)}
    if message.get("messageId") is not None:
        converted["id"] = message["messageId"]
    time = message.get("createdAt") or message.get("created_at")
    if time is not None:
        converted["created_at"] = time
    sender = message.get("sender")
    if sender is not None and str(sender).lower() != converted["role"]:
        converted["sender"] = sender
    converted |= other_members(message, {*_MESSAGE_MEMBERS, *converted})
    text = message.get("text")
    if text and converted["content"] != text and isinstance(message.get("content"), list):
        add_imported(converted, text=text)
    return converted


def _role(message: JsonObject, conversation: Conversation) -> str:
    if isinstance(message.get("isCreatedByUser"), bool):
        return "user" if message["isCreatedByUser"] else "assistant"
    role = find_role(message.get("role")) or find_role(message.get("sender"))
    if role is None:
        conversation.record_change_in_next(f"unknown sender, stored as {FALLBACK_ROLE}")
    return role or FALLBACK_ROLE


def _content(message: JsonObject) -> Any:
    content = message.get("content")
    if not isinstance(content, list) or not content:
        return message.get("text") if content in (None, "", []) else content
    parts = [_part(part) for part in content]
    if all(isinstance(part, dict) and part.keys() == {"type", "text"} for part in parts):
        return "\n".join(part["text"] for part in parts if isinstance(part["text"], str))
    return parts


def _part(part: Any) -> Any:
    """Return a content part; a text nested one level deeper is moved up."""
    text = part.get("text") if isinstance(part, dict) else None
    if isinstance(text, dict) and isinstance(text.get("value"), str):
        rest = {name: member for name, member in text.items() if name != "value" and member}
        return {**part, "text": text["value"], **({"imported": rest} if rest else {})}
    return part
