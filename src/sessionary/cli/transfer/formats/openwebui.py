"""Open WebUI's export: ``chat``, with a tree of messages under ``history``."""

from typing import Any, Final

import msgspec

from sessionary.cli.transfer.conversation import EMPTY, Conversation, add_imported, other_members
from sessionary.cli.transfer.formats.claude import displayed_branch_of_list
from sessionary.cli.transfer.roles import FALLBACK_ROLE, find_role
from sessionary.cli.transfer.times import parse_time
from sessionary.models import JsonObject

_MEMBERS: Final = frozenset({"id", "user_id", "title", "chat", "created_at", "updated_at"})
_CHAT_MEMBERS: Final = frozenset({"id", "title", "models", "history", "messages", "timestamp"})
_MESSAGE_MEMBERS: Final = frozenset({"role", "content", "parentId", "childrenIds", "timestamp"})


def is_openwebui(value: Any) -> bool:
    """Return whether a record is an Open WebUI chat."""
    chat = value.get("chat") if isinstance(value, dict) else None
    return isinstance(chat, dict) and (isinstance(chat.get("history"), dict) or isinstance(chat.get("messages"), list))


def read_openwebui(value: Any, conversation: Conversation) -> None:
    """Read the branch that ends at the current message."""
    chat = value["chat"]
    times = [each for each in (value.get("created_at"), chat.get("timestamp")) if each is not None]
    created_at = next((each for each in times if parse_time(each) is not None), times[0] if times else None)
    models = chat.get("models")
    conversation.fields.update(
        {
            "user_id": value.get("user_id"),
            "title": chat.get("title") if value.get("title") in (None, "") else value["title"],
            "model": models[0] if isinstance(models, list) and models else None,
            "created_at": created_at,
        }
    )
    conversation.add_source(
        "openwebui",
        id=value.get("id") or chat.get("id"),
        updated_at=parse_time(value.get("updated_at")),
        models=models if isinstance(models, list) and len(models) > 1 else None,
    )
    for members, known in ((value, _MEMBERS), (chat, _CHAT_MEMBERS)):
        conversation.imported.update(other_members(members, known, (*EMPTY, False)))
    messages = _messages(chat)
    for message in displayed_branch_of_list(messages, ("id", "parentId"), _current(chat), conversation):
        conversation.add_message(_message(message, conversation) if isinstance(message, dict) else message)
    for message in _only_listed(messages, chat):
        conversation.record_change_in_next("message that is not in the history, appended after it")
        conversation.add_message(_message(message, conversation) if isinstance(message, dict) else message)


def _only_listed(messages: list[Any], chat: JsonObject) -> list[Any]:
    """Return the messages of ``chat.messages`` that are not in the history."""
    listed = chat.get("messages")
    if not isinstance(listed, list) or listed is messages:
        return []
    known = [message for message in messages if isinstance(message, dict)]
    ids = {message["id"] for message in known if isinstance(message.get("id"), str)}
    contents = {_key(message) for message in known}
    only_listed: list[Any] = []
    for message in listed:
        identifier = message.get("id") if isinstance(message, dict) else None
        is_known = identifier in ids if isinstance(identifier, str) else _key(message) in contents
        if not is_known and message is not None:
            only_listed.append(message)
    return only_listed


def _key(message: Any) -> bytes:
    """Return a key of role and content, to compare messages without an id."""
    converted = [message.get("role"), message.get("content")] if isinstance(message, dict) else message
    return msgspec.json.encode(converted)


def _messages(chat: JsonObject) -> list[Any]:
    history = chat.get("history")
    messages = history.get("messages") if isinstance(history, dict) else None
    if isinstance(messages, dict) and messages:
        return [
            {**message, "id": message.get("id") or name} if isinstance(message, dict) else message
            for name, message in messages.items()
        ]
    listed = messages if isinstance(messages, list) and messages else chat.get("messages")
    return listed if isinstance(listed, list) else []


def _current(chat: JsonObject) -> Any:
    history = chat.get("history")
    return (history.get("currentId") or history.get("current_id")) if isinstance(history, dict) else None


def _message(message: JsonObject, conversation: Conversation) -> JsonObject:
    role = message.get("role")
    converted: JsonObject = {"role": find_role(role) or FALLBACK_ROLE, "content": message.get("content")}
    if find_role(role) is None:
        conversation.record_change_in_next(f"unknown role, stored as {FALLBACK_ROLE}")
        add_imported(converted, role=role)
    if message.get("timestamp") is not None:
        converted["created_at"] = message["timestamp"]
    return converted | other_members(message, {*_MESSAGE_MEMBERS, *converted}, (None,))
