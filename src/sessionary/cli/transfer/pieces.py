"""Cutting a file of JSON into its records without ever holding the whole of it.

A record is an element of an array, a line, or a value that goes over several lines. One that is broken costs itself
only: the next one is looked for behind it.
"""

import io
from collections.abc import Iterator
from typing import Final, NamedTuple

from sessionary.cli.transfer.elements import Elements
from sessionary.cli.transfer.outline import Outline, is_whole_object
from sessionary.cli.transfer.piece import PIECE_BYTES_MAX, Piece

_CHUNK: Final = 64 * 1024
_LEAD: Final = b" \t\r\n\xef\xbb\xbf"
"""White space, and the byte-order mark that some editors put first."""
_READ_AGAIN_BYTES_MAX: Final = 256 * 1024 * 1024
"""So much is read again in search of the end of a broken record; afterwards each line is a record."""


class Pieces(NamedTuple):
    """The records of a file, and whether each is a ``line`` or an ``element``."""

    unit: str
    found: Iterator[Piece]


def pieces_of(file: io.BufferedReader) -> Pieces:
    """Cut a file: an array into its elements, anything else where values end; empty lines are left out."""
    position, number = 0, 1
    while (first := file.peek(1)[:1]) and first in _LEAD:
        position += 1
        number += file.read(1) == b"\n"
    if first == b"[" and not _is_array_a_line(file):
        return Pieces("element", _elements(file, position))
    return Pieces("line", Lines(file, number, position).read())


def _is_array_a_line(file: io.BufferedReader) -> bool:
    """Tell whether each line is an array of its own, such as a list of messages."""
    begun = file.peek(_CHUNK)
    line, newline, rest = begun.partition(b"\n")
    return bool(newline) and rest.lstrip()[:1] == b"[" and Outline().take(line).is_whole


def _elements(file: io.BufferedReader, position: int) -> Iterator[Piece]:
    elements = Elements(file, position)
    yield from elements.read()
    # What follows the array: another one, or values.
    rest = Lines(elements.rest(), 1, elements.position)
    for number, piece in enumerate(rest.read(), elements.number + 1):
        yield piece._replace(number=number)


class Lines:
    """Reads values that end where a line does."""

    def __init__(self, file: io.BufferedReader, number: int, position: int) -> None:
        """Begin at a line and a position of a file."""
        self._file: Final = file
        self._number = number
        self._position = position
        self._again: list[bytes] = []
        """Lines that were read already, the next one last."""
        self._read_again = 0

    def read(self) -> Iterator[Piece]:
        """Read piece after piece."""
        while line := self._next():
            number = self._number
            self._number += 1
            if len(line) > PIECE_BYTES_MAX:
                self._skip_line(line)
                yield Piece(number, None, self._position)
            elif is_whole_object(line):
                yield Piece(number, line, self._position)
            elif line.strip():
                outline = Outline().take(line)
                if outline.is_open and self._read_again <= _READ_AGAIN_BYTES_MAX:
                    yield from self._value(number, line, outline)
                else:
                    yield from self._pieces(number, line, outline)
            # A long one need not stay while the next one is read.
            line = b""

    def _next(self) -> bytes:
        if self._again:
            return self._again.pop()
        line = self._file.readline(PIECE_BYTES_MAX + 1)
        self._position += len(line)
        return line

    def _skip_line(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._file.readline(_CHUNK)
            self._position += len(line)

    def _pieces(self, number: int, text: bytes, outline: Outline) -> Iterator[Piece]:
        """Tell values apart that stand in one line."""
        start = 0
        for end in outline.ends[:-1] if outline.is_whole else []:
            yield Piece(number, text[start:end].strip(), self._position)
            start = end
        yield Piece(number, text[start:] if start else text, self._position)

    def _value(self, number: int, first: bytes, outline: Outline) -> Iterator[Piece]:
        """Read a value that goes over several lines."""
        lines, length = [first], len(first)
        while outline.is_open and (line := self._next()):
            lines.append(line)
            length += len(line)
            outline.take(line)
            if length > PIECE_BYTES_MAX and outline.is_open:
                yield from self._too_long(number, len(lines), outline)
                return
        if outline.is_whole and length > PIECE_BYTES_MAX:
            self._number += len(lines) - 1
            yield Piece(number, None, self._position)
            return
        if outline.is_whole:
            self._number += len(lines) - 1
            yield from self._pieces(number, b"".join(lines), outline)
            return
        # Its end was not found: it is broken, and what follows may be sound.
        count = self._broken_lines(lines, outline)
        self._read_again += length
        self._again += reversed(lines[count:])
        self._number += count - 1
        too_long = sum(map(len, lines[:count])) > PIECE_BYTES_MAX
        if too_long:
            self._skip_line(lines[-1])
        yield Piece(number, None if too_long else b"".join(lines[:count]), self._position)

    def _broken_lines(self, lines: list[bytes], outline: Outline) -> int:
        """Count the lines up to the next that is a record, or that may begin one."""
        found = next((place for place, line in enumerate(lines) if place and is_whole_object(line)), None)
        if found is not None:
            return found
        begins = len(lines) > 1 and not outline.is_open and lines[-1][:1] in (b"{", b"[")
        return len(lines) - 1 if begins else len(lines)

    def _too_long(self, number: int, lines: int, outline: Outline) -> Iterator[Piece]:
        while outline.is_open and (line := self._next()):
            outline.take(line)
            lines += 1
        self._number += lines - 1
        yield Piece(number, None, self._position)
