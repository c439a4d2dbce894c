"""Claude's data export: ``chat_messages``, each by a ``sender`` and made of blocks."""

from typing import Any, Final

from sessionary.cli.transfer.conversation import Conversation, keep_beside
from sessionary.cli.transfer.roles import FALLBACK, role_of
from sessionary.cli.transfer.trees import Node, shown_branch
from sessionary.models import JsonObject

_MEMBERS: Final = frozenset({"chat_messages", "uuid", "name", "model", "created_at", "updated_at", "account"})
_MESSAGE_MEMBERS: Final = frozenset(
    {"uuid", "sender", "text", "content", "created_at", "updated_at", "parent_message_uuid", "index"}
)


def is_claude(value: Any) -> bool:
    """Tell whether a record has messages as Claude exports them."""
    return isinstance(value, dict) and isinstance(value.get("chat_messages"), list)


def read_claude(value: Any, conversation: Conversation) -> None:
    """Read the branch that ends in the current message."""
    source = {"format": "claude", "id": value.get("uuid"), "updated_at": value.get("updated_at")}
    conversation.members.update(
        {"title": value.get("name"), "model": value.get("model"), "created_at": value.get("created_at")}
    )
    conversation.metadata["source"] = {name: member for name, member in source.items() if member is not None}
    account = value.get("account")
    if isinstance(account, dict):
        conversation.fallback_user = account.get("uuid")
    if account:
        conversation.imported["account"] = account
    rest = {name: member for name, member in value.items() if name not in _MEMBERS}
    conversation.imported.update({name: member for name, member in rest.items() if member not in (None, "", [], {})})
    for message in branch_of_list(
        value["chat_messages"], ("uuid", "parent_message_uuid"), value.get("current_leaf_message_uuid"), conversation
    ):
        conversation.add(_message(message, conversation) if isinstance(message, dict) else message)


def branch_of_list(messages: list[Any], names: tuple[str, str], current: Any, conversation: Conversation) -> list[Any]:
    """Take the branch that was shown last out of a list of messages that name their parents; all if none does."""
    name, parent = names
    there = [message for message in messages if message is not None]
    conversation.leave_out("message that is null", len(messages) - len(there))
    by_id = {
        message[name]: message for message in there if isinstance(message, dict) and isinstance(message.get(name), str)
    }
    parents = [message.get(parent) for message in by_id.values()]
    linked = [each for each in parents if isinstance(each, str) and each in by_id]
    if len(by_id) < len(there) or not linked:
        # They come one after another, as far as anybody can tell.
        return there
    nodes = {
        each: Node(message[parent] if isinstance(message.get(parent), str) else None, place)
        for place, (each, message) in enumerate(by_id.items())
    }
    branch = shown_branch(nodes, current if isinstance(current, str) else None, conversation)
    conversation.leave_out("message on another branch", len(there) - len(branch))
    return [by_id[each] for each in branch]


def _message(message: JsonObject, conversation: Conversation) -> JsonObject:
    sender = message.get("sender")
    told: JsonObject = {"role": role_of(sender) or FALLBACK, "content": _said(message)}
    if message.get("uuid") is not None:
        told["id"] = message["uuid"]
    if role_of(sender) is None:
        conversation.mend_next(f"unknown sender, kept as {FALLBACK}")
        keep_beside(told, sender=sender)
    if message.get("created_at") is not None:
        told["created_at"] = message["created_at"]
    text = message.get("text")
    if isinstance(text, str) and text and not _stands_in(text, told["content"]):
        keep_beside(told, text=text)
    rest = {name: member for name, member in message.items() if name not in _MESSAGE_MEMBERS}
    told.update(
        {name: member for name, member in rest.items() if name not in told and member not in (None, [], {}, "")}
    )
    return told


def _said(message: JsonObject) -> Any:
    content = message.get("content")
    if isinstance(content, list) and content:
        if all(_is_bare_text(block) for block in content):
            return "\n".join(block["text"] for block in content)
        return content
    return content or message.get("text")


def _is_bare_text(block: Any) -> bool:
    """Tell whether a block says nothing besides its text."""
    if not isinstance(block, dict) or block.get("type") != "text" or not isinstance(block.get("text"), str):
        return False
    known = {"type", "text", "start_timestamp", "stop_timestamp", "flags"}
    return not any(member for name, member in block.items() if name not in known)


def _stands_in(text: str, content: Any) -> bool:
    """Tell whether the text that the export wrote beside the blocks says no more than they do."""
    if isinstance(content, str):
        return text.strip() == content.strip() or content == text
    if not isinstance(content, list):
        return False
    said = "".join(block["text"] for block in content if isinstance(block, dict) and isinstance(block.get("text"), str))
    return "".join(text.split()) == "".join(said.split()) or "not supported on your current device" in text
