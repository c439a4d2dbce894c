"""A record as it stands in a file."""

from typing import Final, NamedTuple

PIECE_BYTES_MAX: Final = 32 * 1024 * 1024
"""No record that is longer is read: twice what a session may hold."""


class Piece(NamedTuple):
    """One record as it stands in the file."""

    number: int
    """Of the line or element, from 1."""
    text: bytes | None
    """None if it is too long to be read; empty where a file ends before its array does."""
    position: int
    """How many bytes of the file have been read."""
    in_turn: bool = False
    """Whether no other session may begin between its own and those of its neighbours."""
