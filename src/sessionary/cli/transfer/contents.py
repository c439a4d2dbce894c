"""What a message says: anything a program may have put there, as text or as parts."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from sessionary.models import JsonObject

_TEXTS: Final = ("text", "content", "value", "result", "output", "output_str", "summary", "body")
"""Names under which programs keep what is said."""


class Content(NamedTuple):
    """A message's content, and what was done to it if anything was."""

    content: str | list[JsonObject]
    mended: str | None = None
    keeps_all: bool = True
    """Whether the content holds all that the file said."""


def content_of(value: Any) -> Content:
    """Read what stands where a message's content does."""
    match value:
        case str():
            return Content(value)
        case None:
            return Content("", "message without content, kept as empty")
        case list() if all(isinstance(part, dict) for part in value):
            return Content(value)
        case list():
            only_texts = all(isinstance(part, str) for part in value)
            kind = "that was a list of texts" if only_texts else "with parts that are no objects"
            return Content([_part(part) for part in value], f"content {kind}, kept as parts")
        case dict():
            text = text_in(value)
            return Content(text or written(value), "content that was an object, kept as text and raw", keeps_all=False)
        case _:
            return Content(written(value), "content that was no text, kept as text and raw", keeps_all=False)


def text_in(value: JsonObject) -> str | None:
    """Find the text of an object: its ``text``, or what stands in for one."""
    found = next((value[name] for name in _TEXTS if isinstance(value.get(name), str) and value[name]), None)
    return found or "\n".join(_texts_within(value)) or None


def _texts_within(value: Any) -> Iterator[str]:
    """Find what stands deeper under the name of a text."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += reversed(each)
        elif isinstance(each, dict):
            yield from (each[name] for name in _TEXTS if isinstance(each.get(name), str) and each[name])
            waiting += reversed(list(each.values()))


def written(value: Any) -> str:
    """Write a value as JSON text."""
    return msgspec.json.encode(value).decode()


def _part(value: Any) -> JsonObject:
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"type": "text", "text": value}
    return {"type": "imported", "value": value}
