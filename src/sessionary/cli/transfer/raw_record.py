"""One record of a file, before it is decoded."""

from typing import Final, NamedTuple

RECORD_BYTES_MAX: Final = 32 * 1024 * 1024
"""Longer records are rejected: twice the size that a session may have."""


class RawRecord(NamedTuple):
    """One record of a file, as bytes."""

    number: int
    """The number of the line or element, from 1."""
    text: bytes | None
    """None if the record is too long; empty where the file ends before its array does."""
    bytes_read: int
    """How many bytes of the file have been read so far."""
    keeps_order: bool = False
    """Whether its session must be created directly after the previous record's and before the next one's."""
