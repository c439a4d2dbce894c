"""Splits a JSON file into its records without reading it into memory as a whole.

A record is an element of an array, a line, or a value of several lines. A broken record affects only itself: the
splitter searches for the start of the next one.
"""

import io
from collections.abc import Iterator
from typing import Final, NamedTuple

from sessionary.cli.transfer.json_array import ArraySplitter
from sessionary.cli.transfer.json_brackets import BracketTracker, is_complete_object
from sessionary.cli.transfer.raw_record import RECORD_BYTES_MAX, RawRecord

_CHUNK: Final = 64 * 1024
_LEADING: Final = b" \t\r\n\xef\xbb\xbf"
"""White space and the byte-order mark."""
_READ_AGAIN_BYTES_MAX: Final = 256 * 1024 * 1024
"""How much may be read again while searching for the end of broken records; after that each line is a record."""


class SplitFile(NamedTuple):
    """The records of a file, and whether they are each a ``line`` or an ``element``."""

    unit: str
    records: Iterator[RawRecord]


def split_records(file: io.BufferedReader) -> SplitFile:
    """Split an array into its elements and anything else into its values; empty lines are skipped."""
    position, number = 0, 1
    while (first := file.peek(1)[:1]) and first in _LEADING:
        position += 1
        number += file.read(1) == b"\n"
    if first == b"[" and not _is_array_a_line(file):
        return SplitFile("element", _elements(file, position))
    return SplitFile("line", LineSplitter(file, number, position).read())


def _is_array_a_line(file: io.BufferedReader) -> bool:
    """Return whether each line is an array of its own, such as a list of messages."""
    peeked = file.peek(_CHUNK)
    line, newline, rest = peeked.partition(b"\n")
    return bool(newline) and rest.lstrip()[:1] == b"[" and BracketTracker().add_line(line).is_complete


def _elements(file: io.BufferedReader, position: int) -> Iterator[RawRecord]:
    elements = ArraySplitter(file, position)
    yield from elements.read()
    # More arrays or values may follow the array.
    rest = LineSplitter(elements.rest(), 1, elements.bytes_read)
    for number, record in enumerate(rest.read(), elements.number + 1):
        yield record._replace(number=number)


class LineSplitter:
    """Reads values that each end at the end of a line."""

    def __init__(self, file: io.BufferedReader, number: int, position: int) -> None:
        """Start at the given line number and position of a file."""
        self._file: Final = file
        self._number = number
        self._position = position
        self._reread: list[bytes] = []
        """LineSplitter that were read already, the next one last."""
        self._reread_bytes = 0

    def read(self) -> Iterator[RawRecord]:
        """Yield the records."""
        while line := self._next_line():
            number = self._number
            self._number += 1
            if len(line) > RECORD_BYTES_MAX:
                self._skip_line(line)
                yield RawRecord(number, None, self._position)
            elif is_complete_object(line):
                yield RawRecord(number, line, self._position)
            elif line.strip():
                brackets = BracketTracker().add_line(line)
                if brackets.is_open and self._reread_bytes <= _READ_AGAIN_BYTES_MAX:
                    yield from self._multiline_value(number, line, brackets)
                else:
                    yield from self._values(number, line, brackets)
            # Free a long line before the next one is read.
            line = b""

    def _next_line(self) -> bytes:
        if self._reread:
            return self._reread.pop()
        line = self._file.readline(RECORD_BYTES_MAX + 1)
        self._position += len(line)
        return line

    def _skip_line(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._file.readline(_CHUNK)
            self._position += len(line)

    def _values(self, number: int, text: bytes, brackets: BracketTracker) -> Iterator[RawRecord]:
        """Yield the values of one line, or of the lines of one value."""
        start = 0
        for end in brackets.ends[:-1] if brackets.is_complete else []:
            yield RawRecord(number, text[start:end].strip(), self._position)
            start = end
        yield RawRecord(number, text[start:] if start else text, self._position)

    def _multiline_value(self, number: int, first: bytes, brackets: BracketTracker) -> Iterator[RawRecord]:
        """Read a value of several lines."""
        lines, length = [first], len(first)
        while brackets.is_open and (line := self._next_line()):
            lines.append(line)
            length += len(line)
            brackets.add_line(line)
            if length > RECORD_BYTES_MAX and brackets.is_open:
                yield from self._too_long(number, len(lines), brackets)
                return
        if brackets.is_complete and length > RECORD_BYTES_MAX:
            self._number += len(lines) - 1
            yield RawRecord(number, None, self._position)
            return
        if brackets.is_complete:
            self._number += len(lines) - 1
            yield from self._values(number, b"".join(lines), brackets)
            return
        # Its end was not found: it is broken, but the lines after it may be valid.
        count = self._broken_lines(lines, brackets)
        self._reread_bytes += length
        self._reread += reversed(lines[count:])
        self._number += count - 1
        too_long = sum(map(len, lines[:count])) > RECORD_BYTES_MAX
        if too_long:
            self._skip_line(lines[-1])
        yield RawRecord(number, None if too_long else b"".join(lines[:count]), self._position)

    def _broken_lines(self, lines: list[bytes], brackets: BracketTracker) -> int:
        """Count the lines before the next one that is a record or may start one."""
        found = next((index for index, line in enumerate(lines) if index and is_complete_object(line)), None)
        if found is not None:
            return found
        starts_record = len(lines) > 1 and not brackets.is_open and lines[-1][:1] in (b"{", b"[")
        return len(lines) - 1 if starts_record else len(lines)

    def _too_long(self, number: int, lines: int, brackets: BracketTracker) -> Iterator[RawRecord]:
        while brackets.is_open and (line := self._next_line()):
            brackets.add_line(line)
            lines += 1
        self._number += lines - 1
        yield RawRecord(number, None, self._position)
