"""Claude's data export: ``chat_messages``, each with a ``sender`` and content blocks."""

from typing import Any, Final

from sessionary.cli.transfer.conversation import Conversation, add_imported, other_members
from sessionary.cli.transfer.formats.message_tree import Node, displayed_branch
from sessionary.cli.transfer.roles import FALLBACK_ROLE, find_role
from sessionary.models import JsonObject

_MEMBERS: Final = frozenset({"chat_messages", "uuid", "name", "model", "created_at", "updated_at", "account"})
_MESSAGE_MEMBERS: Final = frozenset(
    {"uuid", "sender", "text", "content", "created_at", "updated_at", "parent_message_uuid", "index"}
)


def is_claude(value: Any) -> bool:
    """Return whether a record has the messages of a Claude export."""
    return isinstance(value, dict) and isinstance(value.get("chat_messages"), list)


def read_claude(value: Any, conversation: Conversation) -> None:
    """Read the branch that ends at the current message."""
    conversation.fields.update(
        {"title": value.get("name"), "model": value.get("model"), "created_at": value.get("created_at")}
    )
    conversation.add_source("claude", id=value.get("uuid"), updated_at=value.get("updated_at"))
    account = value.get("account")
    if isinstance(account, dict):
        conversation.fallback_user = account.get("uuid")
    if account:
        conversation.imported["account"] = account
    conversation.imported.update(other_members(value, _MEMBERS))
    for message in displayed_branch_of_list(
        value["chat_messages"], ("uuid", "parent_message_uuid"), value.get("current_leaf_message_uuid"), conversation
    ):
        conversation.add_message(_message(message, conversation) if isinstance(message, dict) else message)


def displayed_branch_of_list(
    messages: list[Any], names: tuple[str, str], current: Any, conversation: Conversation
) -> list[Any]:
    """Select the branch that was displayed last from messages that name their parents; all messages if none does."""
    name, parent = names
    present = [message for message in messages if message is not None]
    conversation.omit("message that is null", len(messages) - len(present))
    by_id = {
        message[name]: message
        for message in present
        if isinstance(message, dict) and isinstance(message.get(name), str)
    }
    parents = [message.get(parent) for message in by_id.values()]
    linked = [link for link in parents if isinstance(link, str) and link in by_id]
    if len(by_id) < len(present) or not linked:
        # Without usable links the messages are in file order.
        return present
    nodes = {
        identifier: Node(message[parent] if isinstance(message.get(parent), str) else None, position)
        for position, (identifier, message) in enumerate(by_id.items())
    }
    branch = displayed_branch(nodes, current if isinstance(current, str) else None, conversation)
    conversation.omit("message on another branch", len(present) - len(branch))
    return [by_id[identifier] for identifier in branch]


def _message(message: JsonObject, conversation: Conversation) -> JsonObject:
    sender = message.get("sender")
    converted: JsonObject = {"role": find_role(sender) or FALLBACK_ROLE, "content": _content(message)}
    if message.get("uuid") is not None:
        converted["id"] = message["uuid"]
    if find_role(sender) is None:
        conversation.record_change_in_next(f"unknown sender, stored as {FALLBACK_ROLE}")
        add_imported(converted, sender=sender)
    if message.get("created_at") is not None:
        converted["created_at"] = message["created_at"]
    text = message.get("text")
    if isinstance(text, str) and text and not _is_contained_in(text, converted["content"]):
        add_imported(converted, text=text)
    return converted | other_members(message, {*_MESSAGE_MEMBERS, *converted})


def _content(message: JsonObject) -> Any:
    content = message.get("content")
    if isinstance(content, list) and content:
        if all(_is_plain_text(block) for block in content):
            return "\n".join(block["text"] for block in content)
        return content
    return content or message.get("text")


def _is_plain_text(block: Any) -> bool:
    """Return whether a block has only a text."""
    if not isinstance(block, dict) or block.get("type") != "text" or not isinstance(block.get("text"), str):
        return False
    known = {"type", "text", "start_timestamp", "stop_timestamp", "flags"}
    return not any(member for name, member in block.items() if name not in known)


def _is_contained_in(text: str, content: Any) -> bool:
    """Return whether the content blocks contain everything in the text member."""
    if isinstance(content, str):
        return text.strip() == content.strip() or content == text
    if not isinstance(content, list):
        return False
    block_text = "".join(
        block["text"] for block in content if isinstance(block, dict) and isinstance(block.get("text"), str)
    )
    return "".join(text.split()) == "".join(block_text.split()) or "not supported on your current device" in text
