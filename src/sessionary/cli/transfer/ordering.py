"""The records of a file in the order of their times, where the server makes the times itself."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from typing import Final

from sessionary.cli.transfer.piece import Piece

_MAKE: Final = """
CREATE TABLE pieces (
  time TEXT NOT NULL,
  place INTEGER NOT NULL,
  number INTEGER NOT NULL,
  start INTEGER NOT NULL,
  length INTEGER,
  PRIMARY KEY (time, place)
) WITHOUT ROWID
"""
_ADD: Final = "INSERT INTO pieces (time, place, number, start, length) VALUES (?, ?, ?, ?, ?)"
_ORDERED: Final = "SELECT number, start, length FROM pieces ORDER BY time, place"


def oldest_first(pieces: Iterator[Piece], time_of: Callable[[bytes], str | None]) -> Iterator[Piece]:
    """Read all pieces, and yield them again, the oldest first; one without a time stays beside the one before it.

    They wait in a temporary file, so that memory does not grow.
    """
    with tempfile.TemporaryFile() as texts:
        rows = sqlite3.connect("", isolation_level=None)
        try:
            rows.execute("PRAGMA temp_store = FILE")
            rows.execute(_MAKE)
            rows.execute("BEGIN")
            time = ""
            for place, piece in enumerate(pieces):
                text = piece.text
                time = (time_of(text) if text else None) or time
                length = None if text is None else len(text)
                rows.execute(_ADD, (time, place, piece.number, texts.tell(), length))
                texts.write(text or b"")
                # A long one need not stay while the next one is read.
                del piece, text
            position = 0
            for number, start, length in rows.execute(_ORDERED):
                texts.seek(start)
                position += length or 0
                yield Piece(number, None if length is None else texts.read(length), position)
        finally:
            rows.close()
