"""The outline of JSON text: its brackets, without what stands in its strings."""

import re
from typing import Final, Self

STRING: Final = rb'"(?>[^"\\\n]+|\\.)*+"'
"""A string; none goes over the end of a line."""
_STRINGS: Final = re.compile(STRING, re.DOTALL)
_UNCLOSED: Final = re.compile(rb'(?>[^"]+|' + STRING + rb')*+"', re.DOTALL)
"""Looked for before strings are, since looking for one from each quote that none ends would take as long squared."""
_MARKS: Final = re.compile(STRING + rb'|["{}\[\]]', re.DOTALL)
_PLAIN: Final = re.compile(
    rb"\s*+(?:" + STRING + rb"\s*+:\s*+)?(?:" + STRING + rb'|[^\s"{}\[\]]++)?\s*+,?\s*+', re.DOTALL
)
"""A line without brackets: one member, or one value."""
_TWO_OBJECTS: Final = re.compile(rb"\}\s*\{")
_NESTING_MAX: Final = 10_000
_CLOSING: Final = {ord("}"): ord("{"), ord("]"): ord("[")}
_QUOTE: Final = ord('"')


def is_whole_object(line: bytes) -> bool:
    """Tell whether a line is one object, from its first letter to its last."""
    text = line.rstrip()
    if not (text.startswith(b"{") and text.endswith(b"}")) or _UNCLOSED.match(text):
        return False
    bare = _STRINGS.sub(b"", text)
    return (
        bare.count(b"{") == bare.count(b"}") and bare.count(b"[") == bare.count(b"]") and not _TWO_OBJECTS.search(bare)
    )


class Outline:
    """Follows text line by line."""

    def __init__(self) -> None:
        """Begin outside of any value."""
        self._open = bytearray()
        self._last = b""
        self._length = 0
        self._is_broken = False
        self.ends: list[int] = []
        """Where values end that are not inside of another one."""

    @property
    def is_open(self) -> bool:
        """Tell whether a value has begun, may go on, and has not ended."""
        return bool(self._open) and not self._is_broken

    @property
    def is_whole(self) -> bool:
        """Tell whether all that began has ended."""
        return not self._open and not self._is_broken

    def take(self, line: bytes) -> Self:
        """Follow one more line."""
        stripped = line.strip()
        # One value may not follow another one inside of a third without a comma.
        clash = bool(self._open) and self._last in b'}]"' and stripped[:1] in b'{["'
        # An object begins with a key.
        clash = clash or (self._last == b"{" and stripped[:1] not in b'"}')
        self._is_broken = self._is_broken or (clash and bool(self._last and stripped))
        self._last = stripped[-1:] or self._last
        for found in () if _PLAIN.fullmatch(line) else _MARKS.finditer(line):
            if self._is_broken:
                break
            self._follow(found[0], self._length + found.end())
        self._length += len(line)
        return self

    def _follow(self, mark: bytes, end: int) -> None:
        if mark[0] == _QUOTE:
            self._is_broken = len(mark) == 1
        elif mark in b"{[":
            self._open += mark
            self._is_broken = len(self._open) > _NESTING_MAX
        else:
            self._is_broken = not self._open or self._open.pop() != _CLOSING[mark[0]]
            if not self._open:
                self.ends.append(end)
