"""Reading a conversation of ChatGPT's data export: a tree, of which the branch that was last shown counts."""

from collections.abc import Iterator
from typing import Any, Final

from sessionary.cli.transfer.contents import text_in, written
from sessionary.cli.transfer.conversation import Conversation, keep_beside
from sessionary.cli.transfer.roles import FALLBACK, role_of
from sessionary.cli.transfer.times import time_from
from sessionary.cli.transfer.trees import Node, shown_branch
from sessionary.models import JsonObject

_UNSHOWN: Final = {
    "thoughts": "what the model thought",
    "reasoning_recap": "what the model thought",
    "user_editable_context": "settings of the user",
    "model_editable_context": "settings of the user",
}
"""What is no part of the conversation as it was shown."""
_PLAIN: Final = frozenset({"text", "multimodal_text"})
_TEXTS: Final = frozenset({"code", "execution_output"})
"""Kinds of content that hold little more than their text."""
_ROLES: Final = frozenset({"user", "assistant", "system", "tool"})
_OTHER_BRANCH: Final = "message on another branch"
_MEMBERS: Final = frozenset({"title", "mapping", "current_node", "create_time", "update_time", "conversation_id", "id"})
_USUAL: Final[dict[str, Any]] = {"status": "finished_successfully", "weight": 1, "recipient": "all", "channel": None}
"""What needs no mention: that a message is as most are."""


def is_chatgpt(value: Any) -> bool:
    """Tell whether a record is a tree of nodes."""
    return isinstance(value, dict) and isinstance(value.get("mapping"), dict)


def read_chatgpt(value: Any, conversation: Conversation) -> None:
    """Read the branch that ends in the current node."""
    model = value.get("default_model_slug")
    source = {
        "format": "chatgpt",
        "id": value.get("conversation_id") or value.get("id"),
        "created_at": time_from(value.get("create_time")),
        "updated_at": time_from(value.get("update_time")),
    }
    conversation.members.update({"title": value.get("title"), "model": model, "created_at": source["created_at"]})
    conversation.members.update({name: value[name] for name in ("user_id", "session_group") if value.get(name)})
    conversation.metadata["source"] = {name: member for name, member in source.items() if member is not None}
    known = _MEMBERS | {"default_model_slug", "user_id", "session_group"}
    rest = {name: member for name, member in value.items() if name not in known}
    conversation.imported.update({name: member for name, member in rest.items() if member not in (None, [], {}, "")})
    for name in ("create_time", "update_time"):
        if value.get(name) is not None and time_from(value[name]) is None:
            conversation.imported[name] = value[name]
            conversation.mend(f"{name} that is no time, kept as metadata.imported.{name}")
    _add_branch(value, conversation)


def _add_branch(value: JsonObject, conversation: Conversation) -> None:
    mapping = {name: node for name, node in value["mapping"].items() if isinstance(node, dict)}
    conversation.leave_out("node that is no object", len(value["mapping"]) - len(mapping))
    above = {child: name for name, node in mapping.items() for child in _texts(node.get("children"))}
    nodes = {name: Node(_parent(name, node, above), _time(node)) for name, node in mapping.items()}
    current = value.get("current_node")
    branch = shown_branch(nodes, str(current) if current not in (None, "") else None, conversation)
    for name in branch:
        _add_message(mapping[name].get("message"), conversation)
    shown = set(branch)
    others = (mapping[name].get("message") for name in mapping if name not in shown)
    conversation.leave_out(_OTHER_BRANCH, sum(_is_shown(message) for message in others))


def _parent(name: str, node: JsonObject, above: dict[str, str]) -> str | None:
    parent = node.get("parent")
    # A node that was cut off may still be named by the one above it.
    return parent if isinstance(parent, str) else (above.get(name) if above.get(name) != name else None)


def _time(node: JsonObject) -> float:
    message = node.get("message")
    time = message.get("create_time") if isinstance(message, dict) else None
    return float(time) if isinstance(time, int | float) and not isinstance(time, bool) else -1


def _is_shown(message: Any) -> bool:
    return isinstance(message, dict) and _why_unshown(message) is None and bool(_said(_content_of(message)))


def _why_unshown(message: JsonObject) -> str | None:
    if _object(message.get("metadata")).get("is_visually_hidden_from_conversation"):
        return "hidden message"
    kind = _content_of(message).get("content_type")
    return _UNSHOWN.get(kind) if isinstance(kind, str) else None


def _add_message(message: Any, conversation: Conversation) -> None:
    if message is None:
        return
    if not isinstance(message, dict):
        conversation.mend_next(f"message that is no object, kept as text of the {FALLBACK}")
        conversation.add({"role": FALLBACK, "content": message if isinstance(message, str) else written(message)})
        return
    unshown = _why_unshown(message)
    if unshown:
        conversation.leave_out(unshown)
        return
    read = _message(message, conversation)
    if read is None:
        conversation.leave_out("empty message")
    else:
        conversation.add(read)


def _message(message: JsonObject, conversation: Conversation) -> JsonObject | None:
    """Read a message; None if it says nothing."""
    author, content = _object(message.get("author")), _content_of(message)
    said = _said(content)
    more = [name for name in content if name not in {"parts", "content_type"} and content[name]]
    plain = content.get("content_type") in _PLAIN and not more
    if not said and (plain or not more) and not _object(message.get("metadata")).get("attachments"):
        return None
    role = author.get("role")
    told: JsonObject = {"role": role_of(role) or FALLBACK, "content": said}
    if message.get("id") is not None:
        told["id"] = message["id"]
    if isinstance(author.get("name"), str) and author["name"]:
        told["name"] = author["name"]
    if role not in _ROLES or author.get("metadata"):
        keep_beside(told, author=message.get("author"))
    if role_of(role) is None:
        conversation.mend_next(f"unknown author, kept as {FALLBACK}")
    if not plain:
        _keep_content(told, content, said, conversation)
    _keep_rest(told, message)
    return told


def _content_of(message: JsonObject) -> JsonObject:
    content = message.get("content")
    if isinstance(content, dict):
        return content
    if isinstance(content, str | list):
        return {"content_type": "text", "parts": [content] if isinstance(content, str) else content}
    return {} if content is None else {"value": content}


def _keep_content(told: JsonObject, content: JsonObject, said: Any, conversation: Conversation) -> None:
    """Keep a content of another kind as it is, without the text that stands in the message already."""
    if not said:
        conversation.mend_next("content without a text, kept raw")
    elif content.get("content_type") in _TEXTS and content.get("language") in (None, "", "unknown"):
        return
    keep_beside(told, content={name: member for name, member in content.items() if member != said})


def _keep_rest(told: JsonObject, message: JsonObject) -> None:
    metadata = message.get("metadata")
    if metadata:
        told["metadata"] = metadata
    time = message.get("create_time")
    if time is not None:
        found = time_from(time)
        told["created_at"] = found if found is not None else time
    for name in ("recipient", "weight", "channel", "status"):
        if message.get(name) not in (None, _USUAL[name]):
            told[name] = message[name]
    known = {"id", "author", "content", "metadata", "create_time", "update_time", "end_turn", *_USUAL}
    rest = {name: member for name, member in message.items() if name not in known and member is not None}
    if rest:
        keep_beside(told, **rest)


def _said(content: JsonObject) -> str | list[JsonObject]:
    parts = content.get("parts")
    if not isinstance(parts, list):
        # Code, what it printed, and pages that were read.
        return (parts if isinstance(parts, str) else None) or text_in(content) or ""
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


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}
