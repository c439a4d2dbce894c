"""Splits messages that are longer than a server accepts: text is split, other large values are excluded."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from sessionary import constants
from sessionary.cli.transfer.conversation import IMPORTED, Conversation, add_imported
from sessionary.models import JsonObject

_encode: Final = msgspec.json.Encoder().encode
_LARGE_BYTES: Final = constants.MESSAGE_BYTES_MAX // 16
"""A value other_members the text that is larger than this is excluded from a message that is too long."""
_NO_TIME_BYTES: Final = len(',"created_at":null')
_TIME_BYTES: Final = 64
_PART_BYTES: Final = constants.MESSAGE_BYTES_MAX * 7 // 8
_REASON: Final = f"message of more than {constants.MESSAGE_BYTES_MAX // 1024} KiB: parts of it excluded"
_SPLIT: Final = f"message of more than {constants.MESSAGE_BYTES_MAX // 1024} KiB, split"


def split_message(message: JsonObject, number: int, conversation: Conversation) -> list[JsonObject]:
    """Return a message as it is, or split into messages that fit."""
    # The server does not count a message's created_at.
    if len(_encode({**message, "created_at": None})) <= constants.MESSAGE_BYTES_MAX + _NO_TIME_BYTES:
        return [message]
    conversation.changed_messages.add(number)
    content = message.get("content")
    other_members = {name: member for name, member in message.items() if name not in ("content", "role")}
    if _size(other_members) > _LARGE_BYTES:
        other_members = _exclude_large(other_members, f"messages.{number}", conversation)
    if isinstance(content, str):
        chunks: list[Any] = list(_split_text(content))
    elif isinstance(content, list):
        chunks = list(_split_parts(content, f"messages.{number}.content", conversation))
    else:
        chunks = [content]
    role = {"role": message["role"]} if "role" in message else {}
    if len(chunks) == 1:
        return [{**role, "content": chunks[0], **other_members}]
    conversation.record_change(_SPLIT, number)
    parts: list[JsonObject] = []
    for index, chunk in enumerate(chunks, 1):
        # Other members are kept in the first part only; each part has the time.
        time = {"created_at": message["created_at"]} if "created_at" in message else {}
        part = {**role, "content": chunk, **(other_members if index == 1 else time)}
        add_imported(part, part=index, of=len(chunks))
        parts.append(part)
    return parts


def _size(value: Any) -> int:
    return len(_encode(value)) + _TIME_BYTES


def _exclude_large(value: Any, path: str, conversation: Conversation) -> Any:
    """Replace large values by a note that points to FILE.leftovers."""
    if not isinstance(value, dict | list):
        if _size(value) <= _LARGE_BYTES:
            return value
        conversation.exclude(path, _REASON, value)
        return "(too long for a message: see the leftovers file)"
    if _size(value) <= _LARGE_BYTES:
        return value
    if isinstance(value, dict):
        smaller: Any = {name: _exclude_large(member, f"{path}.{name}", conversation) for name, member in value.items()}
    else:
        smaller = [_exclude_large(member, f"{path}.{index}", conversation) for index, member in enumerate(value)]
    if _size(smaller) <= _LARGE_BYTES * 4:
        return smaller
    conversation.exclude(path, _REASON, value)
    note = "(too long for a message: see the leftovers file)"
    return {IMPORTED: note} if isinstance(value, dict) else [{IMPORTED: note}]


def _split_text(text: str) -> Iterator[str]:
    """Split a text into chunks that fit, at line ends if possible."""
    start = 0
    while start < len(text):
        # A character takes one to twelve bytes of JSON.
        end = min(len(text), start + _PART_BYTES)
        while len(_encode(text[start:end])) > _PART_BYTES:
            end = start + (end - start) * 3 // 4
        newline = text.rfind("\n", start + (end - start) // 2, end)
        if end < len(text) and newline > start:
            end = newline + 1
        yield text[start:end]
        start = end
    if not text:
        yield text


def _split_parts(parts: list[JsonObject], path: str, conversation: Conversation) -> Iterator[list[JsonObject]]:
    part_group: list[JsonObject] = []
    size = 0
    for index, part in enumerate(parts):
        for fitting in _parts_that_fit(part, f"{path}.{index}", conversation):
            length = _size(fitting)
            if part_group and size + length > _PART_BYTES:
                yield part_group
                part_group, size = [], 0
            part_group.append(fitting)
            size += length
    yield part_group


def _parts_that_fit(part: JsonObject, path: str, conversation: Conversation) -> Iterator[JsonObject]:
    if _size(part) <= _PART_BYTES:
        yield part
        return
    text = part.get("text")
    rest = {name: member for name, member in part.items() if name != "text"}
    smaller = _exclude_large(rest, path, conversation)
    if not isinstance(text, str):
        # `text` may also hold a large value that is not a string.
        yield {
            **smaller,
            **({"text": _exclude_large(text, f"{path}.text", conversation)} if text is not None else {}),
        }
        return
    for chunk in _split_text(text):
        yield {**smaller, "text": chunk}
