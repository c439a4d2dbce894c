"""Orders the records of a file by time, so that the server lists their sessions in the same order."""

import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Final, NamedTuple

from sessionary.cli.transfer.raw_record import RawRecord

_CREATE_TABLE: Final = """
CREATE TABLE records (
  time TEXT NOT NULL,
  position INTEGER NOT NULL,
  number INTEGER NOT NULL,
  start INTEGER NOT NULL,
  length INTEGER,
  PRIMARY KEY (time, position)
) WITHOUT ROWID
"""
_INSERT: Final = "INSERT INTO records (time, position, number, start, length) VALUES (?, ?, ?, ?, ?)"
_SELECT_ORDERED: Final = "SELECT number, start, length FROM records ORDER BY time, position"
_TRAILER: Final = struct.Struct(">qqq")
"""Number, length and position of a buffered record, written after its text, so that they can be read backwards."""
_TOO_LONG: Final = -1
_MEMORY_BYTES_MAX: Final = 4 * 1024 * 1024


class StartTime(NamedTuple):
    """When a conversation started, and whether its file lists the newest first, as an export does."""

    time: str
    """Empty if unknown."""
    newest_first: bool


_TimeOf = Callable[[bytes], StartTime | None]
"""Returns the start time of a record; None if the record cannot be parsed."""


def sort_oldest_first(records: Iterator[RawRecord], time_of: _TimeOf) -> Iterator[RawRecord]:
    """Sort the records, oldest first; a record without a time stays after the one before it.

    Records are buffered in a temporary file, so memory use is constant.
    """
    with tempfile.TemporaryFile() as texts:
        rows = sqlite3.connect("", isolation_level=None)
        try:
            rows.execute("PRAGMA temp_store = FILE")
            rows.execute(_CREATE_TABLE)
            rows.execute("BEGIN")
            start_time = StartTime("", newest_first=False)
            for position, record in enumerate(records, 1):
                text = record.text
                found = time_of(text) if text else None
                if found and (found.time or not start_time.time):
                    start_time = found
                length = None if text is None else len(text)
                # An export lists the newest first, also among equal times.
                order = -position if start_time.newest_first else position
                rows.execute(_INSERT, (start_time.time, order, record.number, texts.tell(), length))
                texts.write(text or b"")
                # Free a long record before the next one is read.
                del record, text
            bytes_read = 0
            for number, start, length in rows.execute(_SELECT_ORDERED):
                texts.seek(start)
                bytes_read += length or 0
                yield RawRecord(number, None if length is None else texts.read(length), bytes_read)
        finally:
            rows.close()


def order_ties(records: Iterator[RawRecord], time_of: _TimeOf) -> Iterator[RawRecord]:
    """Yield the records in file order, except that adjacent exported sessions with equal times are reversed.

    An export lists the newest first. Records with equal times are marked with ``keeps_order``: the server keeps their
    order only if the sessions are created one after another. They are buffered in a temporary file.
    """
    with tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES_MAX) as buffered:
        before = StartTime("", newest_first=False)
        previous: RawRecord | None = None
        for record in records:
            # A record that will be rejected does not separate the records around it.
            start_time = (time_of(record.text) if record.text else None) or before
            is_tie = bool(start_time.time) and start_time == before
            if previous is not None:
                yield previous._replace(keeps_order=previous.keeps_order or is_tie)
                previous = None
            if not is_tie:
                yield from _reversed_records(buffered)
            if start_time.time and start_time.newest_first:
                _buffer_record(buffered, record)
            else:
                previous = record._replace(keeps_order=is_tie)
            before = start_time
            # Free a long record before the next one is read.
            del record
        if previous is not None:
            yield previous
        yield from _reversed_records(buffered)


def _buffer_record(buffered: IO[bytes], record: RawRecord) -> None:
    buffered.write(record.text or b"")
    length = _TOO_LONG if record.text is None else len(record.text)
    buffered.write(_TRAILER.pack(record.number, length, record.bytes_read))


def _reversed_records(buffered: IO[bytes]) -> Iterator[RawRecord]:
    """Yield the buffered records backwards and empty the buffer; all report the same ``bytes_read``."""
    end = buffered.tell()
    bytes_read, keeps_order = 0, False
    while end:
        buffered.seek(end - _TRAILER.size)
        number, length, position = _TRAILER.unpack(buffered.read(_TRAILER.size))
        end -= _TRAILER.size + max(length, 0)
        buffered.seek(end)
        bytes_read = bytes_read or position
        text = None if length == _TOO_LONG else buffered.read(length)
        keeps_order = keeps_order or end > 0
        yield RawRecord(number, text, bytes_read, keeps_order=keeps_order)
        del text
    buffered.seek(0)
    buffered.truncate()
