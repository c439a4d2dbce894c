"""What stands around the bytes of a body in chunks: sizes, extensions and trailers; read past, and not for long."""

from sessionary import constants
from sessionary.errors import InvalidRequestError


class Framing:
    """Counts, for one body at a time."""

    __slots__ = ("_body_bytes", "_bytes", "_in_trailers", "_part", "_trailers_bytes", "_trailers_parts_bytes", "chunks")

    def __init__(self) -> None:
        """Begin with a body of which nothing has come."""
        self._body_bytes = self._bytes = self._trailers_bytes = self._trailers_parts_bytes = 0
        self._in_trailers = False
        self._part = (False, 0)
        self.chunks: int = 0
        """How many chunks began."""

    def chunk(self) -> None:
        """Know that a chunk begins; the last one has no bytes, and trailers may follow it."""
        self._in_trailers = True
        self.chunks += 1

    def body(self, count: int) -> None:
        """Count bytes of the body."""
        self._in_trailers = False
        self._body_bytes += count

    def trailer(self, count: int) -> None:
        """Count a trailer; raises InvalidRequestError if there are too many bytes of them."""
        self._trailers_bytes += count
        if self._trailers_bytes > constants.TRAILERS_BYTES_MAX:
            raise InvalidRequestError

    def begin_part(self) -> None:
        """Remember where the body is before a part of what came is parsed."""
        self._part = (self._in_trailers, self._body_bytes)

    def is_too_much(self, count: int) -> bool:
        """Count a part of so many bytes that was parsed; tell whether too much of it all was no body."""
        was_in_trailers, body_bytes = self._part
        if was_in_trailers and self._in_trailers:
            self._trailers_parts_bytes += count
        self._bytes += count - (self._body_bytes - body_bytes)
        most = constants.FRAMING_BYTES_MAX + constants.FRAMING_BYTES_PER_BYTE_MAX * self._body_bytes
        return self._bytes > most or self._trailers_parts_bytes > constants.TRAILERS_BYTES_MAX
