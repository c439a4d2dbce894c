"""Parses a message's content, whatever a program wrote there, into text or a list of parts."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from sessionary.models import JsonObject

_TEXT_MEMBERS: Final = ("text", "content", "value", "result", "output", "output_str", "summary", "body")
"""Names of members that hold text."""


class Content(NamedTuple):
    """A message's content, and how it was changed, if it was."""

    content: str | list[JsonObject]
    change: str | None = None
    is_complete: bool = True
    """Whether the content holds everything that the file has."""


def parse_content(value: Any) -> Content:
    """Parse the value of a content member."""
    match value:
        case str():
            return Content(value)
        case None:
            return Content("", "message without content, stored with empty content")
        case list() if all(isinstance(part, dict) for part in value):
            return Content(value)
        case list():
            only_texts = all(isinstance(part, str) for part in value)
            kind = "that was a list of strings" if only_texts else "with parts that are not objects"
            return Content([_part(part) for part in value], f"content {kind}, kept as parts")
        case dict():
            text = find_text(value)
            return Content(
                text or to_json(value), "content that was an object, kept as text and original", is_complete=False
            )
        case _:
            return Content(to_json(value), "content that was not text, kept as text and original", is_complete=False)


def find_text(value: JsonObject) -> str | None:
    """Return the text of an object: the first of its text members, or all nested ones; None without any."""
    found = next((value[name] for name in _TEXT_MEMBERS if isinstance(value.get(name), str) and value[name]), None)
    return found or "\n".join(_nested_texts(value)) or None


def _nested_texts(value: Any) -> Iterator[str]:
    """Yield nested text members."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending += reversed(item)
        elif isinstance(item, dict):
            yield from (item[name] for name in _TEXT_MEMBERS if isinstance(item.get(name), str) and item[name])
            pending += reversed(list(item.values()))


def to_json(value: Any) -> str:
    """Encode a value as JSON text."""
    return msgspec.json.encode(value).decode()


def _part(value: Any) -> JsonObject:
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"type": "text", "text": value}
    return {"type": "imported", "value": value}
