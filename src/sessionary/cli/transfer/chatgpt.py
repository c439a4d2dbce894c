"""Reading a conversation of ChatGPT's data export: a tree, of which the branch that was last shown counts."""

import math
from collections.abc import Iterator
from typing import Any, Final

from sessionary.cli.transfer.reasons import Unreadable
from sessionary.instants import instant
from sessionary.model import JsonObject

_THOUGHTS: Final = {"thoughts", "reasoning_recap", "user_editable_context", "model_editable_context"}
"""What the model noted for itself, and what the user's settings said: no part of the conversation."""
_ROLES: Final = {"user", "assistant", "system", "tool"}
_LATEST: Final = 253_402_300_799
"""The last second of the year 9999."""


def session_of_tree(value: JsonObject) -> JsonObject:
    """Read the branch that ends in the current node; raises Unreadable."""
    messages = [message for node in _branch(value) if (message := _message(node)) is not None]
    source = {
        "format": "chatgpt",
        "id": value.get("conversation_id") or value.get("id"),
        "created_at": _moment(value.get("create_time")),
        "updated_at": _moment(value.get("update_time")),
    }
    return {
        "title": value.get("title"),
        "model": _name(value.get("default_model_slug")),
        "metadata": {"source": {name: member for name, member in source.items() if member is not None}},
        "messages": messages,
    }


def _branch(value: JsonObject) -> list[JsonObject]:
    mapping = value["mapping"]
    name = value.get("current_node") or _last_leaf(mapping)
    branch: list[JsonObject] = []
    seen: set[str] = set()
    while isinstance(name, str) and name in mapping:
        if name in seen:
            raise Unreadable("Its tree of nodes goes in a circle.")
        seen.add(name)
        node = mapping[name]
        if not isinstance(node, dict):
            raise Unreadable("One of its nodes is not a JSON object.")
        branch.append(node)
        name = node.get("parent")
    if not branch and mapping:
        raise Unreadable("Its current node is not among its nodes.")
    return branch[::-1]


def _last_leaf(mapping: JsonObject) -> str | None:
    leaves = [name for name, node in mapping.items() if isinstance(node, dict) and not node.get("children")]
    return leaves[-1] if leaves else None


def _message(node: JsonObject) -> JsonObject | None:
    """Read a node's message; None for what was never shown."""
    message = node.get("message")
    if not isinstance(message, dict):
        return None
    author, content = _object(message.get("author")), _object(message.get("content"))
    hidden = _object(message.get("metadata")).get("is_visually_hidden_from_conversation")
    if hidden or content.get("content_type") in _THOUGHTS:
        return None
    said = _said(content)
    if not said:
        return None
    role = author.get("role")
    if role not in _ROLES:
        raise Unreadable(f"A message is by {role!r}, who is none of {', '.join(sorted(_ROLES))}.")
    name, sent_at = author.get("name"), _moment(message.get("create_time"))
    told = {
        "role": role,
        "content": said,
        "id": message.get("id"),
        "name": name if isinstance(name, str) and name else None,
        "metadata": {"created_at": sent_at} if sent_at else None,
    }
    return {member: value for member, value in told.items() if value is not None}


def _said(content: JsonObject) -> str | list[JsonObject]:
    parts = content.get("parts")
    if not isinstance(parts, list):
        # Code, what it printed, and pages that were read.
        found = (content.get(name) for name in ("text", "result"))
        return next((text for text in found if isinstance(text, str) and text), "")
    if all(isinstance(part, str) for part in parts):
        return "\n".join(part for part in parts if part)
    return list(_parts(parts))


def _parts(parts: list[Any]) -> Iterator[JsonObject]:
    for part in parts:
        if isinstance(part, dict):
            yield {"type": part.get("content_type", "part"), **part}
        elif isinstance(part, str) and part:
            yield {"type": "text", "text": part}


def _moment(seconds: Any) -> str | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return instant(round(seconds * 1000)) if math.isfinite(seconds) and 0 < seconds < _LATEST else None


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}
