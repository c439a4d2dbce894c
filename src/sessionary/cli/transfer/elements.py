"""The elements of a JSON array, one after another; behind a broken one the next one is looked for."""

import io
import re
from collections.abc import Iterator
from typing import Any, Final

from sessionary.cli.transfer.outline import STRING
from sessionary.cli.transfer.piece import PIECE_BYTES_MAX, Piece

_CHUNK: Final = 64 * 1024
_OVERLAP: Final = 4096
"""So much is looked at again where the beginning of an element may stand across two chunks."""
_WHITE: Final = b" \t\r\n"
# Outside of strings nothing stands but brackets, commas, colons, numbers and the letters of a few words.
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


class Elements:
    """Reads an array; what is between two commas outside of all brackets and strings is an element."""

    def __init__(self, file: io.BufferedReader, position: int) -> None:
        """Begin at the bracket that opens it."""
        self._file: Final = file
        self._held = bytearray()
        """The element that is being read, and what follows it."""
        self._at = 0
        """How far it has been followed."""
        self._open = bytearray()
        self._too_long = False
        self._start: re.Pattern[bytes] | None = None
        """What an element begins with."""
        self.number: int = 0
        self.position: int = position

    def read(self) -> Iterator[Piece]:
        """Read element after element, to the end of the array or of the file."""
        self._fill()
        del self._held[:1]
        while True:
            mark = self._mark()
            if mark is None:
                if self._open and not self._too_long and self._find_start():
                    # One that is broken seems to go on to the end of the file, with others inside.
                    yield from self._resume()
                    continue
                yield from self._cut_off()
                return
            if mark == b"," and not self._open:
                yield from self._taken(self._at - 1)
                del self._held[:1]
                self._at = 0
            elif mark == b"]" and not self._open and self._is_end():
                yield from self._taken(self._at - 1)
                del self._held[:1]
                return
            elif not self._follow(mark):
                yield from self._resume()

    def rest(self) -> io.BufferedReader:
        """What follows the array."""
        return io.BufferedReader(_Rest(bytes(self._held), self._file))

    def _fill(self) -> bool:
        """Read on: the more, the more is held, so that little is looked at again and again."""
        chunk = self._file.read(max(_CHUNK, min(len(self._held), PIECE_BYTES_MAX)))
        self.position += len(chunk)
        self._held += chunk
        return bool(chunk)

    def _mark(self) -> bytes | None:
        """Find the next bracket, comma or letter that may not stand there; None at the end of the file."""
        while True:
            if self._at > PIECE_BYTES_MAX:
                self._drop(self._at)
            found = (_INSIDE if self._open else _BETWEEN).search(self._held, self._at)
            if found is None:
                self._at = len(self._held)
            elif len(found[0]) > 1:
                self._at = found.end()
                continue
            elif found[0] != b'"':
                self._at = found.end()
                return found[0]
            else:
                # A string that does not end here.
                self._at = found.start()
                if b"\n" in self._held[self._at :]:
                    return b'"'
                if len(self._held) - self._at > PIECE_BYTES_MAX:
                    return self._skipped_string()
            if not self._fill():
                return None

    def _skipped_string(self) -> bytes | None:
        """Leave a string behind that is longer than any record."""
        self._drop(self._at + 1)
        while True:
            found = _REST_OF_STRING.match(self._held)
            self._drop(found.end() if found else 0)
            if bytes(self._held[:1]) in (b'"', b"\n"):
                self._drop(1)
                return self._mark()
            if not self._fill():
                return None

    def _drop(self, count: int) -> None:
        self._too_long = True
        del self._held[:count]
        self._at = 0

    def _follow(self, mark: bytes) -> bool:
        """Follow a bracket; tells whether it may stand there."""
        if mark in (b"{", b"["):
            self._open += mark
            return len(self._open) <= _NESTING_MAX
        return mark in (b"}", b"]") and bool(self._open) and self._open.pop() == _CLOSING[mark[0]]

    def _is_end(self) -> bool:
        """Tell whether a closing bracket ends the array: then neither a comma nor another bracket follows."""
        while not (after := self._held[self._at : self._at + _CHUNK].lstrip(_WHITE)) and self._fill():
            pass
        return not after or after[0] not in b",}]"

    def _resume(self) -> Iterator[Piece]:
        """Give up an element that is broken, and find the next one."""
        self._open.clear()
        self._note_start(bytes(self._held[: self._at]))
        looked = 1
        while True:
            start = self._find_start(looked)
            if start:
                yield from self._taken(start, is_broken=True)
                return
            if len(self._held) > PIECE_BYTES_MAX:
                self._drop(len(self._held) - _OVERLAP)
            looked = max(1, len(self._held) - _OVERLAP)
            if not self._fill():
                yield from self._taken(len(self._held), is_broken=True)
                return

    def _find_start(self, looked: int = 1) -> int | None:
        """Find where the next element begins in what is held."""
        found = self._start.search(self._held, looked) if self._start else None
        return found.end() if found else None

    def _note_start(self, text: bytes) -> None:
        """Learn from an element what they begin with: those of one program all begin alike."""
        found = None if self._start else _FIRST_KEYS.match(text)
        if found:
            keys = rb"\{\s*" + re.escape(found[1]) + rb"\s*:"
            keys += _SCALAR + re.escape(found[2]) + rb"\s*:" if found[2] else b""
            self._start = re.compile(rb"[,\[{}\]\"]\s*(?=" + keys + rb")", re.DOTALL)

    def _cut_off(self) -> Iterator[Piece]:
        """Tell of a file that ends before its array does."""
        is_amid = bool(self._open) or self._at < len(self._held)
        pieces = list(self._taken(len(self._held)))
        yield from pieces
        if not is_amid:
            yield Piece(self.number + 1, b"", self.position)

    def _taken(self, end: int, *, is_broken: bool = False) -> Iterator[Piece]:
        """Take what is held up to ``end`` as an element."""
        text, too_long = bytes(self._held[:end]).strip(), self._too_long or end > PIECE_BYTES_MAX
        del self._held[:end]
        self._at = 0
        self._too_long = False
        self._open.clear()
        if not is_broken:
            self._note_start(text[:_OVERLAP])
        if text or too_long:
            self.number += 1
            yield Piece(self.number, None if too_long else text, self.position)


class _Rest(io.RawIOBase):
    """What was read too far, and the file behind it."""

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
