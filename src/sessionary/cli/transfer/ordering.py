"""The records of a file in the order of their times, so that the list of a server shows them in the same one."""

import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Final, NamedTuple

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
_TRAILER: Final = struct.Struct(">qqq")
"""A held piece's number, length and position, behind its text: so the pieces can be read from the last to the first."""
_TOO_LONG: Final = -1
_HELD_IN_MEMORY_BYTES: Final = 4 * 1024 * 1024


class Moment(NamedTuple):
    """When a conversation began, and whether its file names the newest first, as an export does."""

    time: str
    """Empty if nobody knows."""
    newest_first: bool


_TimeOf = Callable[[bytes], Moment | None]
"""Tells the moment of a record; None if the record cannot be read."""


def oldest_first(pieces: Iterator[Piece], time_of: _TimeOf) -> Iterator[Piece]:
    """Read all pieces, and yield them again, the oldest first; one without a time stays beside the one before it.

    They wait in a temporary file, so that memory does not grow.
    """
    with tempfile.TemporaryFile() as texts:
        rows = sqlite3.connect("", isolation_level=None)
        try:
            rows.execute("PRAGMA temp_store = FILE")
            rows.execute(_MAKE)
            rows.execute("BEGIN")
            moment = Moment("", newest_first=False)
            for place, piece in enumerate(pieces, 1):
                text = piece.text
                moment = _known(time_of(text) if text else None, moment)
                length = None if text is None else len(text)
                # Of equal times the last one of an export is the oldest.
                order = -place if moment.newest_first else place
                rows.execute(_ADD, (moment.time, order, piece.number, texts.tell(), length))
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


def _known(found: Moment | None, before: Moment) -> Moment:
    return found if found and (found.time or not before.time) else before


def ties_in_order(pieces: Iterator[Piece], time_of: _TimeOf) -> Iterator[Piece]:
    """Yield the pieces as they come, but neighbouring ones of one time in the order in which they were said.

    In an export that is from the last to the first. They wait in a temporary file, so that memory does not grow. They
    are marked to go in turn: only of sessions that begin one right after another does a server keep the order.
    """
    with tempfile.SpooledTemporaryFile(max_size=_HELD_IN_MEMORY_BYTES) as held:
        before = Moment("", newest_first=False)
        waiting: Piece | None = None
        for piece in pieces:
            # One that will be rejected does not part those around it.
            moment = (time_of(piece.text) if piece.text else None) or before
            is_tie = bool(moment.time) and moment == before
            if waiting is not None:
                yield waiting._replace(in_turn=waiting.in_turn or is_tie)
                waiting = None
            if not is_tie:
                yield from _from_last_to_first(held)
            if moment.time and moment.newest_first:
                _hold(held, piece)
            else:
                waiting = piece._replace(in_turn=is_tie)
            before = moment
            # A long one need not stay while the next one is read.
            del piece
        if waiting is not None:
            yield waiting
        yield from _from_last_to_first(held)


def _hold(held: IO[bytes], piece: Piece) -> None:
    held.write(piece.text or b"")
    length = _TOO_LONG if piece.text is None else len(piece.text)
    held.write(_TRAILER.pack(piece.number, length, piece.position))


def _from_last_to_first(held: IO[bytes]) -> Iterator[Piece]:
    """Empty the file of held pieces. How much of the source has been read is the same for all of them."""
    end = held.tell()
    last_position, in_turn = 0, False
    while end:
        held.seek(end - _TRAILER.size)
        number, length, position = _TRAILER.unpack(held.read(_TRAILER.size))
        end -= _TRAILER.size + max(length, 0)
        held.seek(end)
        last_position = last_position or position
        text = None if length == _TOO_LONG else held.read(length)
        in_turn = in_turn or end > 0
        yield Piece(number, text, last_position, in_turn=in_turn)
        del text
    held.seek(0)
    held.truncate()
