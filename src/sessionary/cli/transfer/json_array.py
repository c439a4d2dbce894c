"""Splits a JSON array into its elements; after a broken element it searches for the start of the next one."""

import io
import re
from collections.abc import Iterator
from typing import Any, Final

from sessionary.cli.transfer.json_brackets import STRING
from sessionary.cli.transfer.raw_record import RECORD_BYTES_MAX, RawRecord

_CHUNK: Final = 64 * 1024
_OVERLAP: Final = 4096
"""How many bytes are searched again, because the start of an element may span two chunks."""
_WHITE: Final = b" \t\r\n"
# Outside strings only brackets, commas, colons, numbers and the letters of words such as true and NaN are valid.
_ILLEGAL: Final = rb"|[^\s,:0-9eE.+\-truefalsnINiy]"
_BETWEEN: Final = re.compile(STRING + rb'|["{}\[\],]' + _ILLEGAL, re.DOTALL)
_INSIDE: Final = re.compile(STRING + rb'|["{}\[\]]' + _ILLEGAL, re.DOTALL)
_REST_OF_STRING: Final = re.compile(rb'(?>[^"\\\n]+|\\.)*+', re.DOTALL)
_FIRST_KEYS: Final = re.compile(
    rb"\s*\{\s*(" + STRING + rb")\s*:(?:\s*(?:" + STRING + rb"|[^\s,\"{}\[\]]+)\s*,\s*(" + STRING + rb")\s*:)?",
    re.DOTALL,
)
_SCALAR: Final = rb"\s*(?:" + STRING + rb'|[^\s,"{}\[\]]+)\s*,\s*'
_NESTING_MAX: Final = 100_000
_CLOSING: Final = {ord("}"): ord("{"), ord("]"): ord("[")}


class ArraySplitter:
    """Reads an array; an element ends at a comma outside of brackets and strings."""

    def __init__(self, file: io.BufferedReader, position: int) -> None:
        """Start at the opening bracket of the array."""
        self._file: Final = file
        self._buffer = bytearray()
        """The buffered bytes: the current element and what follows it."""
        self._scanned = 0
        """How far the buffer has been scanned."""
        self._open = bytearray()
        self._too_long = False
        self._start: re.Pattern[bytes] | None = None
        """How the elements of this array start, learned from the first one."""
        self.number: int = 0
        self.bytes_read: int = position

    def read(self) -> Iterator[RawRecord]:
        """Yield the elements, up to the end of the array or of the file."""
        self._fill()
        del self._buffer[:1]
        while True:
            token = self._next_token()
            if token is None:
                if self._open and not self._too_long and self._find_start():
                    # A broken element seems to extend to the end of the file and contain others.
                    yield from self._skip_broken()
                    continue
                yield from self._cut_off()
                return
            if token == b"," and not self._open:
                yield from self._take_element(self._scanned - 1)
                del self._buffer[:1]
                self._scanned = 0
            elif token == b"]" and not self._open and self._is_end():
                yield from self._take_element(self._scanned - 1)
                del self._buffer[:1]
                return
            elif not self._track(token):
                yield from self._skip_broken()

    def rest(self) -> io.BufferedReader:
        """Return a file with what follows the array."""
        return io.BufferedReader(_Rest(bytes(self._buffer), self._file))

    def _fill(self) -> bool:
        """Read more; the size of a read grows with the buffer, so that bytes are rarely scanned again."""
        chunk = self._file.read(max(_CHUNK, min(len(self._buffer), RECORD_BYTES_MAX)))
        self.bytes_read += len(chunk)
        self._buffer += chunk
        return bool(chunk)

    def _next_token(self) -> bytes | None:
        """Return the next bracket, comma or invalid character; None at the end of the file."""
        while True:
            if self._scanned > RECORD_BYTES_MAX:
                self._drop(self._scanned)
            found = (_INSIDE if self._open else _BETWEEN).search(self._buffer, self._scanned)
            if found is None:
                self._scanned = len(self._buffer)
            elif len(found[0]) > 1:
                self._scanned = found.end()
                continue
            elif found[0] != b'"':
                self._scanned = found.end()
                return found[0]
            else:
                # A string whose end is not in the buffer yet.
                self._scanned = found.start()
                if b"\n" in self._buffer[self._scanned :]:
                    return b'"'
                if len(self._buffer) - self._scanned > RECORD_BYTES_MAX:
                    return self._skipped_string()
            if not self._fill():
                return None

    def _skipped_string(self) -> bytes | None:
        """Skip a string that is longer than any record may be."""
        self._drop(self._scanned + 1)
        while True:
            found = _REST_OF_STRING.match(self._buffer)
            self._drop(found.end() if found else 0)
            if bytes(self._buffer[:1]) in (b'"', b"\n"):
                self._drop(1)
                return self._next_token()
            if not self._fill():
                return None

    def _drop(self, count: int) -> None:
        self._too_long = True
        del self._buffer[:count]
        self._scanned = 0

    def _track(self, token: bytes) -> bool:
        """Track a bracket; returns whether it is valid here."""
        if token in (b"{", b"["):
            self._open += token
            return len(self._open) <= _NESTING_MAX
        return token in (b"}", b"]") and bool(self._open) and self._open.pop() == _CLOSING[token[0]]

    def _is_end(self) -> bool:
        """Return whether a closing bracket ends the array: neither a comma nor a bracket follows it."""
        while not (after := self._buffer[self._scanned : self._scanned + _CHUNK].lstrip(_WHITE)) and self._fill():
            pass
        return not after or after[0] not in b",}]"

    def _skip_broken(self) -> Iterator[RawRecord]:
        """Give up the broken element and search for the next one."""
        self._open.clear()
        self._learn_start(bytes(self._buffer[: self._scanned]))
        start_scanned = 1
        while True:
            start = self._find_start(start_scanned)
            if start:
                yield from self._take_element(start, is_broken=True)
                return
            if len(self._buffer) > RECORD_BYTES_MAX:
                self._drop(len(self._buffer) - _OVERLAP)
            start_scanned = max(1, len(self._buffer) - _OVERLAP)
            if not self._fill():
                yield from self._take_element(len(self._buffer), is_broken=True)
                return

    def _find_start(self, start_scanned: int = 1) -> int | None:
        """Return where the next element starts in the buffer."""
        found = self._start.search(self._buffer, start_scanned) if self._start else None
        return found.end() if found else None

    def _learn_start(self, text: bytes) -> None:
        """Learn from an element how they start: elements written by one program start with the same keys."""
        found = None if self._start else _FIRST_KEYS.match(text)
        if found:
            keys = rb"\{\s*" + re.escape(found[1]) + rb"\s*:"
            keys += _SCALAR + re.escape(found[2]) + rb"\s*:" if found[2] else b""
            self._start = re.compile(rb"[,\[{}\]\"]\s*(?=" + keys + rb")", re.DOTALL)

    def _cut_off(self) -> Iterator[RawRecord]:
        """Yield the last element of a file that ends before its array does."""
        is_inside_element = bool(self._open) or self._scanned < len(self._buffer)
        yield from self._take_element(len(self._buffer))
        if not is_inside_element:
            yield RawRecord(self.number + 1, b"", self.bytes_read)

    def _take_element(self, end: int, *, is_broken: bool = False) -> Iterator[RawRecord]:
        """Yield the buffer up to ``end`` as an element."""
        text, too_long = bytes(self._buffer[:end]).strip(), self._too_long or end > RECORD_BYTES_MAX
        del self._buffer[:end]
        self._scanned = 0
        self._too_long = False
        self._open.clear()
        if not is_broken:
            self._learn_start(text[:_OVERLAP])
        if text or too_long:
            self.number += 1
            yield RawRecord(self.number, None if too_long else text, self.bytes_read)


class _Rest(io.RawIOBase):
    """The bytes that were buffered beyond the array, followed by the rest of the file."""

    def __init__(self, first: bytes, file: io.BufferedReader) -> None:
        self._first = first
        self._file: Final = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._first:
            count = min(len(buffer), len(self._first))
            buffer[:count] = self._first[:count]
            self._first = self._first[count:]
            return count
        return self._file.readinto1(buffer)
