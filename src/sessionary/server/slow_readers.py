"""Hanging up on a caller that does not read its answers."""

import asyncio
import logging
import socket
import struct
from typing import Any, Final

from sessionary import constants

_LINGER_NOT: Final = struct.pack("ii", 1, 0)

_logger: Final = logging.getLogger("sessionary.server.protocol")


class ReaderWatch:
    """Looks, while written bytes wait for the caller of one connection, whether it takes enough of them."""

    __slots__ = ("_loop", "_seconds", "_timer", "_transport", "_unread_bytes")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Watch a connection; in so many seconds its caller has to take 1 MiB, or all there is."""
        self._transport: Final = transport
        self._loop: Final = loop
        self._seconds: Final = seconds
        self._unread_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Look after the time, if anything waits: closing waits for what was written to be taken, perhaps for ever."""
        self._unread_bytes = self._transport.get_write_buffer_size()
        if self._unread_bytes and self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._check)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        least = max(0, self._unread_bytes - constants.RESPONSE_BYTES_READ_MIN)
        if self._transport.get_write_buffer_size() <= least:
            self.watch()
            return
        _logger.info("A connection was closed: its caller does not read the answer.")
        # What the kernel holds of it shall go too.
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._transport.abort()
