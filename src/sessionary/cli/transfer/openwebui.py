"""Open WebUI's export: ``chat``, with a tree of messages under ``history``."""

from typing import Any, Final

import msgspec

from sessionary.cli.transfer.claude import branch_of_list
from sessionary.cli.transfer.conversation import Conversation, keep_beside
from sessionary.cli.transfer.roles import FALLBACK, role_of
from sessionary.cli.transfer.times import time_from
from sessionary.models import JsonObject

_MEMBERS: Final = frozenset({"id", "user_id", "title", "chat", "created_at", "updated_at"})
_CHAT_MEMBERS: Final = frozenset({"id", "title", "models", "history", "messages", "timestamp"})
_MESSAGE_MEMBERS: Final = frozenset({"role", "content", "parentId", "childrenIds", "timestamp"})


def is_openwebui(value: Any) -> bool:
    """Tell whether a record is a chat of Open WebUI."""
    chat = value.get("chat") if isinstance(value, dict) else None
    return isinstance(chat, dict) and (isinstance(chat.get("history"), dict) or isinstance(chat.get("messages"), list))


def read_openwebui(value: Any, conversation: Conversation) -> None:
    """Read the branch that ends in the current message."""
    chat = value["chat"]
    times = [each for each in (value.get("created_at"), chat.get("timestamp")) if each is not None]
    created_at = next((each for each in times if time_from(each) is not None), times[0] if times else None)
    models = chat.get("models")
    conversation.members.update(
        {
            "user_id": value.get("user_id"),
            "title": chat.get("title") if value.get("title") in (None, "") else value["title"],
            "model": models[0] if isinstance(models, list) and models else None,
            "created_at": created_at,
        }
    )
    source = {
        "format": "openwebui",
        "id": value.get("id") or chat.get("id"),
        "updated_at": time_from(value.get("updated_at")),
        "models": models if isinstance(models, list) and len(models) > 1 else None,
    }
    conversation.metadata["source"] = {name: member for name, member in source.items() if member is not None}
    for members, known in ((value, _MEMBERS), (chat, _CHAT_MEMBERS)):
        rest = {name: member for name, member in members.items() if name not in known}
        conversation.imported.update(
            {name: member for name, member in rest.items() if member not in (None, "", [], {}, False)}
        )
    messages = _messages(chat)
    for message in branch_of_list(messages, ("id", "parentId"), _current(chat), conversation):
        conversation.add(_message(message, conversation) if isinstance(message, dict) else message)
    for message in _only_listed(messages, chat):
        conversation.mend_next("message that is not in the history, kept behind it")
        conversation.add(_message(message, conversation) if isinstance(message, dict) else message)


def _only_listed(messages: list[Any], chat: JsonObject) -> list[Any]:
    """Find the messages of the list beside the history that are not in it."""
    listed = chat.get("messages")
    if not isinstance(listed, list) or listed is messages:
        return []
    known = [message for message in messages if isinstance(message, dict)]
    ids = {message["id"] for message in known if isinstance(message.get("id"), str)}
    said = {_said(message) for message in known}
    only_listed: list[Any] = []
    for message in listed:
        identifier = message.get("id") if isinstance(message, dict) else None
        is_known = identifier in ids if isinstance(identifier, str) else _said(message) in said
        if not is_known and message is not None:
            only_listed.append(message)
    return only_listed


def _said(message: Any) -> bytes:
    """Make a key of who says what: one without an id is known by it."""
    told = [message.get("role"), message.get("content")] if isinstance(message, dict) else message
    return msgspec.json.encode(told)


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
    told: JsonObject = {"role": role_of(role) or FALLBACK, "content": message.get("content")}
    if role_of(role) is None:
        conversation.mend_next(f"unknown role, kept as {FALLBACK}")
        keep_beside(told, role=role)
    if message.get("timestamp") is not None:
        told["created_at"] = message["timestamp"]
    rest = {name: member for name, member in message.items() if name not in _MESSAGE_MEMBERS}
    told.update({name: member for name, member in rest.items() if name not in told and member is not None})
    return told
