"""Closing the connections of clients that do not read their responses."""

import asyncio
import logging
import socket
import struct
from typing import Any, Final

from sessionary import constants

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_logger: Final = logging.getLogger("sessionary.server.protocol")


class SlowReaderTimer:
    """Checks, while responses wait in the write buffer of a connection, that the client reads enough of them."""

    __slots__ = ("_loop", "_seconds", "_timer", "_transport", "_unread_bytes")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """In each period of ``seconds`` the client must read 1 MiB, or everything that waits."""
        self._transport: Final = transport
        self._loop: Final = loop
        self._seconds: Final = seconds
        self._unread_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start a period if anything waits to be read. Closing a connection waits for that too, perhaps forever."""
        self._unread_bytes = self._transport.get_write_buffer_size()
        if self._unread_bytes and self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._check)

    def stop(self) -> None:
        """Stop checking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        unread_bytes_max = max(0, self._unread_bytes - constants.RESPONSE_BYTES_READ_MIN)
        if self._transport.get_write_buffer_size() <= unread_bytes_max:
            self.start()
            return
        _logger.info("A connection was closed: the client does not read the response.")
        # So that the kernel discards its buffered data too.
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()
