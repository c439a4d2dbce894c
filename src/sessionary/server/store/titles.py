"""Derive the title of a session from its first user message."""

import re
from typing import Final

from sessionary.constants import DERIVED_TITLE_LENGTH_MAX

_ELLIPSIS: Final = "…"
_SHORT: Final = 1024
_CONTROLS: Final = r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"
"""Control characters that are not white space: they are removed."""
_BLANK: Final = re.compile(rf"[\s{_CONTROLS}]*+")
_SPACES: Final = r" \t\x1f\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
"""White space that does not end a line."""
_SPACE: Final = re.compile(rf"[{_SPACES}]")
# A word, or as much of it as a title can hold, with what is before it in the same line.
_WORD: Final = re.compile(rf"[{_SPACES}{_CONTROLS}]*+([^\s{_CONTROLS}]{{1,{DERIVED_TITLE_LENGTH_MAX + 1}}}+)")


def title_from(text: str) -> str | None:
    """Return the first line that is not blank, shortened to 80 code points; None if there is none.

    Of a long text only the start is read.
    """
    if len(text) <= _SHORT and text.isprintable():
        # One line, without control characters.
        return _shortened(" ".join(text.split())) or None
    blank = _BLANK.match(text)
    position = blank.end() if blank else 0
    title = ""
    while len(title) <= DERIVED_TITLE_LENGTH_MAX and (word := _WORD.match(text, position)):
        is_new_word = title and _SPACE.search(text, position, word.start(1))
        title += f" {word[1]}" if is_new_word else word[1]
        position = word.end()
    return _shortened(title) if title else None


def _shortened(title: str) -> str:
    if len(title) <= DERIVED_TITLE_LENGTH_MAX:
        return title
    head = title[: DERIVED_TITLE_LENGTH_MAX - 1]
    space = head.rfind(" ")
    return (head[:space] if space > 0 else head) + _ELLIPSIS
