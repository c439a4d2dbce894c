"""ChatGPT's data export: each conversation is a tree of messages; the branch that was displayed last is imported."""

from collections.abc import Iterator
from typing import Any, Final

from sessionary.cli.transfer.content import find_text, to_json
from sessionary.cli.transfer.conversation import Conversation, add_imported, other_members
from sessionary.cli.transfer.formats.message_tree import Node, displayed_branch
from sessionary.cli.transfer.roles import FALLBACK_ROLE, find_role
from sessionary.cli.transfer.times import parse_time
from sessionary.models import JsonObject

_HIDDEN: Final = {
    "thoughts": "reasoning of the model",
    "reasoning_recap": "reasoning of the model",
    "user_editable_context": "user settings",
    "model_editable_context": "user settings",
}
"""Content types that ChatGPT does not display as messages."""
_PLAIN_TYPES: Final = frozenset({"text", "multimodal_text"})
_TEXT_TYPES: Final = frozenset({"code", "execution_output"})
"""Content types that consist of little more than their text."""
_ROLES: Final = frozenset({"user", "assistant", "system", "tool"})
_OTHER_BRANCH: Final = "message on another branch"
_MEMBERS: Final = frozenset({"title", "mapping", "current_node", "create_time", "update_time", "conversation_id", "id"})
_DEFAULTS: Final[dict[str, Any]] = {"status": "finished_successfully", "weight": 1, "recipient": "all", "channel": None}
"""Default values, which are not imported."""


def is_chatgpt(value: Any) -> bool:
    """Return whether a record has a tree of messages."""
    return isinstance(value, dict) and isinstance(value.get("mapping"), dict)


def read_chatgpt(value: Any, conversation: Conversation) -> None:
    """Read the branch that ends at the current node."""
    model = value.get("default_model_slug")
    created_at, updated_at = parse_time(value.get("create_time")), parse_time(value.get("update_time"))
    conversation.fields.update({"title": value.get("title"), "model": model, "created_at": created_at})
    conversation.fields.update({name: value[name] for name in ("user_id", "session_group") if value.get(name)})
    identifier = value.get("conversation_id") or value.get("id")
    conversation.add_source("chatgpt", id=identifier, created_at=created_at, updated_at=updated_at)
    known = _MEMBERS | {"default_model_slug", "user_id", "session_group"}
    conversation.imported.update(other_members(value, known))
    for name in ("create_time", "update_time"):
        if value.get(name) is not None and parse_time(value[name]) is None:
            conversation.imported[name] = value[name]
            conversation.record_change(f"{name} that is not a valid time, kept as metadata.imported.{name}")
    _add_branch(value, conversation)


def _add_branch(value: JsonObject, conversation: Conversation) -> None:
    mapping = {name: node for name, node in value["mapping"].items() if isinstance(node, dict)}
    conversation.omit("node that is not an object", len(value["mapping"]) - len(mapping))
    parents = {child: name for name, node in mapping.items() for child in _strings(node.get("children"))}
    nodes = {name: Node(_parent(name, node, parents), _time(node)) for name, node in mapping.items()}
    current = value.get("current_node")
    branch = displayed_branch(nodes, str(current) if current not in (None, "") else None, conversation)
    for name in branch:
        _add_message(mapping[name].get("message"), conversation)
    displayed = set(branch)
    others = (mapping[name].get("message") for name in mapping if name not in displayed)
    conversation.omit(_OTHER_BRANCH, sum(_is_displayed(message) for message in others))


def _parent(name: str, node: JsonObject, parents: dict[str, str]) -> str | None:
    parent = node.get("parent")
    # A node without a parent may still be listed as a child of another one.
    return parent if isinstance(parent, str) else (parents.get(name) if parents.get(name) != name else None)


def _time(node: JsonObject) -> float:
    message = node.get("message")
    time = message.get("create_time") if isinstance(message, dict) else None
    return float(time) if isinstance(time, int | float) and not isinstance(time, bool) else -1


def _is_displayed(message: Any) -> bool:
    return isinstance(message, dict) and _why_hidden(message) is None and bool(_text(_content_of(message)))


def _why_hidden(message: JsonObject) -> str | None:
    if _object(message.get("metadata")).get("is_visually_hidden_from_conversation"):
        return "hidden message"
    kind = _content_of(message).get("content_type")
    return _HIDDEN.get(kind) if isinstance(kind, str) else None


def _add_message(message: Any, conversation: Conversation) -> None:
    if message is None:
        return
    if not isinstance(message, dict):
        conversation.record_change_in_next(f"message that is not an object, kept as text of the {FALLBACK_ROLE}")
        conversation.add_message(
            {"role": FALLBACK_ROLE, "content": message if isinstance(message, str) else to_json(message)}
        )
        return
    hidden = _why_hidden(message)
    if hidden:
        conversation.omit(hidden)
        return
    converted = _message(message, conversation)
    if converted is None:
        conversation.omit("empty message")
    else:
        conversation.add_message(converted)


def _message(message: JsonObject, conversation: Conversation) -> JsonObject | None:
    """Convert a message; None if it is empty."""
    author, content = _object(message.get("author")), _content_of(message)
    text = _text(content)
    other_members = [name for name in content if name not in {"parts", "content_type"} and content[name]]
    plain = content.get("content_type") in _PLAIN_TYPES and not other_members
    if not text and (plain or not other_members) and not _object(message.get("metadata")).get("attachments"):
        return None
    role = author.get("role")
    converted: JsonObject = {"role": find_role(role) or FALLBACK_ROLE, "content": text}
    if message.get("id") is not None:
        converted["id"] = message["id"]
    if isinstance(author.get("name"), str) and author["name"]:
        converted["name"] = author["name"]
    if role not in _ROLES or author.get("metadata"):
        add_imported(converted, author=message.get("author"))
    if find_role(role) is None:
        conversation.record_change_in_next(f"unknown author, stored as {FALLBACK_ROLE}")
    if not plain:
        _add_original_content(converted, content, text, conversation)
    _add_other_members(converted, message)
    return converted


def _content_of(message: JsonObject) -> JsonObject:
    content = message.get("content")
    if isinstance(content, dict):
        return content
    if isinstance(content, str | list):
        return {"content_type": "text", "parts": [content] if isinstance(content, str) else content}
    return {} if content is None else {"value": content}


def _add_original_content(converted: JsonObject, content: JsonObject, text: Any, conversation: Conversation) -> None:
    """Keep the original of other content types, without the text that the message already has."""
    if not text:
        conversation.record_change_in_next("content without text, original kept in imported")
    elif content.get("content_type") in _TEXT_TYPES and content.get("language") in (None, "", "unknown"):
        return
    add_imported(converted, content={name: member for name, member in content.items() if member != text})


def _add_other_members(converted: JsonObject, message: JsonObject) -> None:
    metadata = message.get("metadata")
    if metadata:
        converted["metadata"] = metadata
    time = message.get("create_time")
    if time is not None:
        found = parse_time(time)
        converted["created_at"] = found if found is not None else time
    for name in ("recipient", "weight", "channel", "status"):
        if message.get(name) not in (None, _DEFAULTS[name]):
            converted[name] = message[name]
    known = {"id", "author", "content", "metadata", "create_time", "update_time", "end_turn", *_DEFAULTS}
    if rest := other_members(message, known, (None,)):
        add_imported(converted, **rest)


def _text(content: JsonObject) -> str | list[JsonObject]:
    parts = content.get("parts")
    if not isinstance(parts, list):
        # Code, its output, and quoted web pages.
        return (parts if isinstance(parts, str) else None) or find_text(content) or ""
    if all(isinstance(part, str) for part in parts):
        return "\n".join(part for part in parts if part)
    return list(_parts(parts))


def _parts(parts: list[Any]) -> Iterator[JsonObject]:
    for part in parts:
        if isinstance(part, dict):
            kind = part.get("content_type")
            yield {"type": kind if isinstance(kind, str) else "part", **part}
        elif isinstance(part, str):
            if part:
                yield {"type": "text", "text": part}
        elif part is not None:
            yield {"type": "imported", "value": part}


def _strings(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}
