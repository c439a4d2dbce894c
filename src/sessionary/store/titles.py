"""The title a session takes from its first user message."""

from typing import Final
from unicodedata import category

from sessionary.limits import DERIVED_TITLE_LENGTH_MAX

_ELLIPSIS: Final = "…"


def title_from(text: str) -> str | None:
    """Take the first line with something on it, as a title of at most 80 code points; None if there is none."""
    for line in text.splitlines():
        words = _without_controls(line).split()
        if words:
            return _shortened(" ".join(words))
    return None


def _without_controls(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(letter for letter in line if letter.isspace() or category(letter) != "Cc")


def _shortened(title: str) -> str:
    if len(title) <= DERIVED_TITLE_LENGTH_MAX:
        return title
    head = title[: DERIVED_TITLE_LENGTH_MAX - 1]
    space = head.rfind(" ")
    return (head[:space] if space > 0 else head) + _ELLIPSIS
