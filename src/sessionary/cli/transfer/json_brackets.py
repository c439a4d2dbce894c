"""Tracks the brackets of JSON text, ignoring the contents of strings, to find where values end."""

import re
from typing import Final, Self

STRING: Final = rb'"(?>[^"\\\n]+|\\.)*+"'
"""A JSON string, which cannot contain a line break."""
_STRINGS: Final = re.compile(STRING, re.DOTALL)
_UNCLOSED: Final = re.compile(rb'(?>[^"]+|' + STRING + rb')*+"', re.DOTALL)
"""Checked before strings are searched: with an unclosed quote that search would take quadratic time."""
_TOKENS: Final = re.compile(STRING + rb'|["{}\[\]]', re.DOTALL)
_PLAIN: Final = re.compile(
    rb"\s*+(?:" + STRING + rb"\s*+:\s*+)?(?:" + STRING + rb'|[^\s"{}\[\]]++)?\s*+,?\s*+', re.DOTALL
)
"""A line without brackets: one member or one value."""
_TWO_OBJECTS: Final = re.compile(rb"\}\s*\{")
_NESTING_MAX: Final = 10_000
_CLOSING: Final = {ord("}"): ord("{"), ord("]"): ord("[")}
_QUOTE: Final = ord('"')


def is_complete_object(line: bytes) -> bool:
    """Return whether a line is exactly one complete object."""
    text = line.rstrip()
    if not (text.startswith(b"{") and text.endswith(b"}")) or _UNCLOSED.match(text):
        return False
    without_strings = _STRINGS.sub(b"", text)
    return (
        without_strings.count(b"{") == without_strings.count(b"}")
        and without_strings.count(b"[") == without_strings.count(b"]")
        and not _TWO_OBJECTS.search(without_strings)
    )


class BracketTracker:
    """Tracks the open brackets of a text, line by line."""

    def __init__(self) -> None:
        """Start outside of any value."""
        self._open = bytearray()
        self._last = b""
        self._length = 0
        self._is_broken = False
        self.ends: list[int] = []
        """The end positions of top-level values."""

    @property
    def is_open(self) -> bool:
        """Whether a value has started, is valid so far and has not ended."""
        return bool(self._open) and not self._is_broken

    @property
    def is_complete(self) -> bool:
        """Whether every value that started has ended."""
        return not self._open and not self._is_broken

    def add_line(self, line: bytes) -> Self:
        """Process one more line."""
        stripped = line.strip()
        # Inside a value, two values need a comma between them.
        is_invalid = bool(self._open) and self._last in b'}]"' and stripped[:1] in b'{["'
        # An object starts with a key.
        is_invalid = is_invalid or (self._last == b"{" and stripped[:1] not in b'"}')
        self._is_broken = self._is_broken or (is_invalid and bool(self._last and stripped))
        self._last = stripped[-1:] or self._last
        for found in () if _PLAIN.fullmatch(line) else _TOKENS.finditer(line):
            if self._is_broken:
                break
            self._process(found[0], self._length + found.end())
        self._length += len(line)
        return self

    def _process(self, token: bytes, end: int) -> None:
        if token[0] == _QUOTE:
            self._is_broken = len(token) == 1
        elif token in b"{[":
            self._open += token
            self._is_broken = len(self._open) > _NESTING_MAX
        else:
            self._is_broken = not self._open or self._open.pop() != _CLOSING[token[0]]
            if not self._open:
                self.ends.append(end)
