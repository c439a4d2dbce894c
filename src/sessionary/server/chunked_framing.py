"""Limiting the framing of a chunked body: chunk sizes, extensions and trailers, which are read but not used."""

from sessionary import constants
from sessionary.errors import InvalidRequestError


class ChunkedFraming:
    """Counts the bytes of one chunked body that are framing and not content."""

    __slots__ = ("_body_bytes", "_bytes", "_in_trailers", "_part", "_trailers_bytes", "_trailers_parts_bytes", "chunks")

    def __init__(self) -> None:
        """Start at the beginning of a body."""
        self._body_bytes = self._bytes = self._trailers_bytes = self._trailers_parts_bytes = 0
        self._in_trailers = False
        self._part = (False, 0)
        self.chunks: int = 0
        """How many chunks have started."""

    def on_chunk(self) -> None:
        """Count a chunk that starts. Trailers may follow it: the last chunk is one without content."""
        self._in_trailers = True
        self.chunks += 1

    def on_body(self, count: int) -> None:
        """Count bytes of content."""
        self._in_trailers = False
        self._body_bytes += count

    def on_trailer(self, count: int) -> None:
        """Count the bytes of a trailer; raises InvalidRequestError if all trailers together are too long."""
        self._trailers_bytes += count
        if self._trailers_bytes > constants.TRAILERS_BYTES_MAX:
            raise InvalidRequestError

    def start_part(self) -> None:
        """Record the state before the next part of the received data is parsed."""
        self._part = (self._in_trailers, self._body_bytes)

    def exceeds_limits(self, count: int) -> bool:
        """Count a parsed part of ``count`` bytes; returns whether the body has too much framing so far."""
        was_in_trailers, body_bytes = self._part
        if was_in_trailers and self._in_trailers:
            self._trailers_parts_bytes += count
        self._bytes += count - (self._body_bytes - body_bytes)
        bytes_max = constants.FRAMING_BYTES_MAX + constants.FRAMING_BYTES_PER_BYTE_MAX * self._body_bytes
        return self._bytes > bytes_max or self._trailers_parts_bytes > constants.TRAILERS_BYTES_MAX
