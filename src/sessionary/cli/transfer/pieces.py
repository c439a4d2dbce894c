"""Cutting a file of JSON into its records, lines or elements of one array, without ever holding the whole of it."""

import io
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

PIECE_BYTES_MAX: Final = 32 * 1024 * 1024
"""No record that is longer is read: twice what a session may hold."""

_CHUNK: Final = 64 * 1024
_LEAD: Final = b" \t\r\n\xef\xbb\xbf"
"""White space, and the byte-order mark that some editors put first."""
_OUTSIDE: Final = re.compile(rb'["{}\[\],]')
_INSIDE: Final = re.compile(rb'["\\]')


class Piece(NamedTuple):
    """One record as it stands in the file."""

    number: int
    """Of the line or element, from 1."""
    text: bytes | None
    """None if it is too long to be read."""
    position: int
    """How many bytes of the file have been read."""


class Pieces(NamedTuple):
    """The records of a file, and whether each is a ``line`` or an ``element``."""

    unit: str
    found: Iterator[Piece]


def pieces_of(file: io.BufferedReader) -> Pieces:
    """Cut a file: an array into its elements, anything else into its lines; empty lines are left out."""
    position, number = 0, 1
    while (first := file.peek(1)[:1]) and first in _LEAD:
        position += 1
        number += file.read(1) == b"\n"
    if first == b"[":
        return Pieces("element", _Elements(file, position).read())
    return Pieces("line", _lines(file, number, position))


def _lines(file: io.BufferedReader, number: int, position: int) -> Iterator[Piece]:
    while line := file.readline(PIECE_BYTES_MAX + 1):
        position += len(line)
        too_long = len(line) > PIECE_BYTES_MAX
        while too_long and line and not line.endswith(b"\n"):
            line = file.readline(_CHUNK)
            position += len(line)
        if too_long or line.strip():
            yield Piece(number, None if too_long else line, position)
            # A long one need not stay while the next one is read.
            line = b""
        number += 1


class _Elements:
    """Reads an array; what is between two commas outside of all brackets and strings is an element."""

    def __init__(self, file: io.BufferedReader, position: int) -> None:
        self._file: Final = file
        self._position = position
        self._held = bytearray()
        self._too_long = False
        self._depth = 0
        self._in_string = False
        self._number = 0

    def read(self) -> Iterator[Piece]:
        self._position += len(self._file.read(1))
        escaped = 0
        while self._depth >= 0 and (chunk := self._file.read(_CHUNK)):
            self._position += len(chunk)
            start, at = 0, escaped
            while self._depth >= 0 and (found := (_INSIDE if self._in_string else _OUTSIDE).search(chunk, at)):
                at = found.end() + (found[0] == b"\\")
                if self._ends_element(found[0]):
                    self._hold(chunk[start : found.start()])
                    yield from self._taken()
                    start = found.end()
            escaped = max(0, at - len(chunk))
            if self._depth >= 0:
                self._hold(chunk[start:])
        # Where the file breaks off, what there is of the last element cannot be read as JSON, and is reported as such.
        yield from self._taken()

    def _ends_element(self, mark: bytes) -> bool:
        if mark == b'"':
            self._in_string = not self._in_string
        elif mark in b"{[":
            self._depth += 1
        elif mark in b"}]":
            self._depth -= 1
        return self._depth < 0 or (mark == b"," and self._depth == 0)

    def _hold(self, part: bytes) -> None:
        self._too_long = self._too_long or len(self._held) + len(part) > PIECE_BYTES_MAX
        if self._too_long:
            self._held.clear()
        else:
            self._held += part

    def _taken(self) -> Iterator[Piece]:
        text, too_long = bytes(self._held).strip(), self._too_long
        self._held.clear()
        self._too_long = False
        if text or too_long:
            self._number += 1
            yield Piece(self._number, None if too_long else text, self._position)
