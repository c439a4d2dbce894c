"""Messages that are longer than a server takes one: split where they are text, what is no text set aside."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from sessionary import constants
from sessionary.cli.transfer.conversation import IMPORTED, Conversation, keep_beside
from sessionary.models import JsonObject

_encode: Final = msgspec.json.Encoder().encode
_LARGE_BYTES: Final = constants.MESSAGE_BYTES_MAX // 16
"""A value beside the text that takes more than this is what makes a message too long."""
_NO_TIME_BYTES: Final = len(',"created_at":null')
_TIME_BYTES: Final = 64
_PART_BYTES: Final = constants.MESSAGE_BYTES_MAX * 7 // 8
_REASON: Final = f"message of more than {constants.MESSAGE_BYTES_MAX // 1024} KiB: parts of it set aside"
_SPLIT: Final = f"message of more than {constants.MESSAGE_BYTES_MAX // 1024} KiB, split"


def parts_of_message(message: JsonObject, number: int, conversation: Conversation) -> list[JsonObject]:
    """Make messages that fit out of one that may not."""
    # The server counts a message without its time.
    if len(_encode({**message, "created_at": None})) <= constants.MESSAGE_BYTES_MAX + _NO_TIME_BYTES:
        return [message]
    conversation.messages_mended.add(number)
    content = message.get("content")
    beside = {name: member for name, member in message.items() if name not in ("content", "role")}
    if _size(beside) > _LARGE_BYTES:
        beside = _with_large_aside(beside, f"messages.{number}", conversation)
    if isinstance(content, str):
        pieces: list[Any] = list(_split_text(content))
    elif isinstance(content, list):
        pieces = list(_split_parts(content, f"messages.{number}.content", conversation))
    else:
        pieces = [content]
    role = {"role": message["role"]} if "role" in message else {}
    if len(pieces) == 1:
        return [{**role, "content": pieces[0], **beside}]
    conversation.mend(_SPLIT, number)
    parts: list[JsonObject] = []
    for place, piece in enumerate(pieces, 1):
        # What stands beside the text is said once; the time holds for each part.
        time = {"created_at": message["created_at"]} if "created_at" in message else {}
        part = {**role, "content": piece, **(beside if place == 1 else time)}
        keep_beside(part, part=place, of=len(pieces))
        parts.append(part)
    return parts


def _size(value: Any) -> int:
    return len(_encode(value)) + _TIME_BYTES


def _with_large_aside(value: Any, path: str, conversation: Conversation) -> Any:
    """Replace what is large by a note of where it went."""
    if not isinstance(value, dict | list):
        if _size(value) <= _LARGE_BYTES:
            return value
        conversation.set_aside(path, _REASON, value)
        return "(too long for a message: see the file of leftovers)"
    if _size(value) <= _LARGE_BYTES:
        return value
    if isinstance(value, dict):
        smaller: Any = {
            name: _with_large_aside(member, f"{path}.{name}", conversation) for name, member in value.items()
        }
    else:
        smaller = [_with_large_aside(member, f"{path}.{place}", conversation) for place, member in enumerate(value)]
    if _size(smaller) <= _LARGE_BYTES * 4:
        return smaller
    conversation.set_aside(path, _REASON, value)
    note = "(too long for a message: see the file of leftovers)"
    return {IMPORTED: note} if isinstance(value, dict) else [{IMPORTED: note}]


def _split_text(text: str) -> Iterator[str]:
    """Cut a text where lines end, if it can be, into pieces that fit."""
    at = 0
    while at < len(text):
        # Bytes of JSON for each letter: from one to twelve.
        end = min(len(text), at + _PART_BYTES)
        while len(_encode(text[at:end])) > _PART_BYTES:
            end = at + (end - at) * 3 // 4
        newline = text.rfind("\n", at + (end - at) // 2, end)
        if end < len(text) and newline > at:
            end = newline + 1
        yield text[at:end]
        at = end
    if not text:
        yield text


def _split_parts(parts: list[JsonObject], path: str, conversation: Conversation) -> Iterator[list[JsonObject]]:
    held: list[JsonObject] = []
    size = 0
    for place, part in enumerate(parts):
        for whole in _parts_that_fit(part, f"{path}.{place}", conversation):
            length = _size(whole)
            if held and size + length > _PART_BYTES:
                yield held
                held, size = [], 0
            held.append(whole)
            size += length
    yield held


def _parts_that_fit(part: JsonObject, path: str, conversation: Conversation) -> Iterator[JsonObject]:
    if _size(part) <= _PART_BYTES:
        yield part
        return
    text = part.get("text")
    rest = {name: member for name, member in part.items() if name != "text"}
    smaller = _with_large_aside(rest, path, conversation)
    if not isinstance(text, str):
        # One that has no text may hold a large value in `text` as well.
        yield {
            **smaller,
            **({"text": _with_large_aside(text, f"{path}.text", conversation)} if text is not None else {}),
        }
        return
    for piece in _split_text(text):
        yield {**smaller, "text": piece}
