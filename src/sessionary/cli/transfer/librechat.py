"""LibreChat's export: one conversation, its messages as a list or as a tree of ``children``."""

from typing import Any, Final

from sessionary.cli.transfer.claude import branch_of_list
from sessionary.cli.transfer.conversation import Conversation, keep_beside
from sessionary.cli.transfer.roles import FALLBACK, role_of
from sessionary.cli.transfer.times import time_from
from sessionary.models import JsonObject

_MEMBERS: Final = frozenset(
    {"conversationId", "title", "messages", "messagesTree", "exportAt", "createdAt", "updatedAt"}
)
_MESSAGE_MEMBERS: Final = frozenset(
    {"messageId", "parentMessageId", "conversationId", "sender", "isCreatedByUser", "text", "content", "children"}
    | {"createdAt", "updatedAt", "created_at", "role"}
)
_SIGNS: Final = ("isCreatedByUser", "messageId", "parentMessageId")


def is_librechat(value: Any) -> bool:
    """Tell whether a record is a conversation of LibreChat."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("messagesTree"), list):
        return True
    messages = value.get("messages")
    first = next((each for each in messages if isinstance(each, dict)), {}) if isinstance(messages, list) else {}
    return (any(name in first for name in _SIGNS) and "role" not in first) or (
        "conversationId" in value and isinstance(messages, list) and ("exportAt" in value or "endpoint" in value)
    )


def read_librechat(value: Any, conversation: Conversation) -> None:
    """Read the branch that ends in the last message."""
    options = value.get("options") if isinstance(value.get("options"), dict) else {}
    listed = value.get("messages") if isinstance(value.get("messages"), list) else value.get("messagesTree")
    messages = _flat(listed if isinstance(listed, list) else [])
    times = [message.get("createdAt") for message in messages if isinstance(message, dict)]
    conversation.members.update(
        {
            "title": value.get("title"),
            "model": options.get("model") or value.get("model"),
            "created_at": value.get("createdAt") or next((time for time in times if time_from(time)), None),
        }
    )
    conversation.fallback_user = value.get("user")
    source = {"format": "librechat", "id": value.get("conversationId"), "exported_at": value.get("exportAt")}
    conversation.metadata["source"] = {name: member for name, member in source.items() if member is not None}
    rest = {name: member for name, member in value.items() if name not in _MEMBERS}
    conversation.imported.update({name: member for name, member in rest.items() if member not in (None, "", [], {})})
    for message in branch_of_list(messages, ("messageId", "parentMessageId"), None, conversation):
        conversation.add(_message(message, conversation) if isinstance(message, dict) else message)


def _flat(messages: list[Any]) -> list[Any]:
    """Write a tree as a list, parents before children."""
    flat: list[Any] = []
    waiting = messages[::-1]
    while waiting:
        message = waiting.pop()
        flat.append(message)
        children = message.get("children") if isinstance(message, dict) else None
        if isinstance(children, list):
            for child in reversed(children):
                known = isinstance(child, dict) and child.get("parentMessageId") is None
                waiting.append({**child, "parentMessageId": message.get("messageId")} if known else child)
    return flat


def _message(message: JsonObject, conversation: Conversation) -> JsonObject:
    told: JsonObject = {"role": _role(message, conversation), "content": _said(message)}
    if message.get("messageId") is not None:
        told["id"] = message["messageId"]
    time = message.get("createdAt") or message.get("created_at")
    if time is not None:
        told["created_at"] = time
    sender = message.get("sender")
    if sender is not None and str(sender).lower() != told["role"]:
        told["sender"] = sender
    rest = {name: member for name, member in message.items() if name not in _MESSAGE_MEMBERS}
    told.update(
        {name: member for name, member in rest.items() if name not in told and member not in (None, [], {}, "")}
    )
    text = message.get("text")
    if text and told["content"] != text and isinstance(message.get("content"), list):
        keep_beside(told, text=text)
    return told


def _role(message: JsonObject, conversation: Conversation) -> str:
    if isinstance(message.get("isCreatedByUser"), bool):
        return "user" if message["isCreatedByUser"] else "assistant"
    role = role_of(message.get("role")) or role_of(message.get("sender"))
    if role is None:
        conversation.mend_next(f"unknown sender, kept as {FALLBACK}")
    return role or FALLBACK


def _said(message: JsonObject) -> Any:
    content = message.get("content")
    if not isinstance(content, list) or not content:
        return message.get("text") if content in (None, "", []) else content
    parts = [_part(part) for part in content]
    if all(isinstance(part, dict) and part.keys() == {"type", "text"} for part in parts):
        return "\n".join(part["text"] for part in parts if isinstance(part["text"], str))
    return parts


def _part(part: Any) -> Any:
    """Read a part; the text of one may stand a level below."""
    text = part.get("text") if isinstance(part, dict) else None
    if isinstance(text, dict) and isinstance(text.get("value"), str):
        rest = {name: member for name, member in text.items() if name != "value" and member}
        return {**part, "text": text["value"], **({"imported": rest} if rest else {})}
    return part
