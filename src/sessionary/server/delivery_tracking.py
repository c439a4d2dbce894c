"""Finding out which responses on a connection have arrived, from the bytes that the client's kernel acknowledged."""

import array
import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import sys
import termios
from typing import Any, Final

from sessionary.server.http.undelivered import Delivery, UndeliveredResponses

_IS_SUPPORTED: Final = sys.platform == "linux"
_ACKNOWLEDGED: Final = struct.Struct("Q")
_ACKNOWLEDGED_OFFSET: Final = 120
"""The offset of the acknowledged bytes (`tcpi_bytes_acked`) in Linux' `tcp_info`; its first byte is the state."""
_TCP_INFO_BYTES: Final = _ACKNOWLEDGED_OFFSET + _ACKNOWLEDGED.size
_TCP_CLOSE: Final = 7
_ALL_BYTES: Final = 1 << 63

_CHECK_PAUSES_SECONDS: Final = (0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.5, 0.7)
"""The pauses between checks of a socket that was closed with unacknowledged bytes: about two seconds in total."""
_WATCHED_SOCKETS_MAX: Final = 128


class SocketDelivery(Delivery):
    """The responses on one connection of this server."""

    def __init__(self, transport: Any) -> None:
        """Start tracking a new connection."""
        super().__init__()
        self._transport: Any = transport
        self._socket: socket.socket | None = None
        self._counts_written = True
        if transport.get_extra_info("ssl_object") is not None:
            # With TLS only the kernel knows the number of sent bytes, and the socket is closed when a loss is reported.
            self.detects_loss_late = True
            self._counts_written = False
            with contextlib.suppress(OSError):
                self._socket = _duplicate(transport)

    def stop_counting(self) -> None:
        """Stop counting written bytes and query the kernel, because something other than responses is written."""
        self._counts_written = False

    def offset(self) -> int:
        """Return how many more bytes than ``written`` the connection has sent."""
        if self._counts_written or self.is_lost:
            return 0
        with contextlib.suppress(OSError):
            waiting: int = self._transport.get_write_buffer_size()
            if self._socket is not None:
                return waiting + _sent_bytes(self._socket) - self.written
            with contextlib.closing(_duplicate(self._transport)) as duplicate:
                return waiting + _sent_bytes(duplicate) - self.written
        return 0

    def forget_arrived(self) -> None:
        """Drop the responses that have arrived."""
        with contextlib.suppress(OSError), contextlib.closing(_duplicate(self._transport)) as duplicate:
            self._drop(_acknowledged_bytes(duplicate))

    def lose(self) -> None:
        """Handle the loss of the connection while its socket exists; remembers the responses that did not arrive."""
        self.is_lost = True
        transport, self._transport = self._transport, None
        socket_copy, self._socket = self._socket, None
        if self.registry is not None and self.running is not None:
            self.registry.remember(self.running)
        if self.detects_loss_late and self.closes and not self.has_ended:
            # TLS sends a closing message after the response. A client that closes without reading it resets the
            # connection, so the bytes are not acknowledged although the response arrived.
            self._drop(_ALL_BYTES)
        if self.registry is not None and self.unconfirmed:
            try:
                # With TLS the socket is already closed, so only a duplicate could be queried.
                if socket_copy is None and not self.detects_loss_late:
                    socket_copy = _duplicate(transport)
                self._drop(_ALL_BYTES if socket_copy is None else _acknowledged_bytes(socket_copy))
            except OSError:
                self._drop(_ALL_BYTES)
        if self.unconfirmed and self.registry is not None and socket_copy is not None:
            for change in self.unconfirmed:
                self.registry.remember(change)
            _ClosedSocketWatch(socket_copy, self, self.registry).check()
        elif socket_copy is not None:
            socket_copy.close()

    def settle_all(self, *, arrived: bool) -> None:
        """Settle all remaining responses."""
        for change in self.unconfirmed:
            if self.registry is not None:
                self.registry.resolve(change, None if arrived else change.response)
        self.unconfirmed.clear()

    def _drop(self, acknowledged: int) -> None:
        arrived = [change for change in self.unconfirmed if change.response_end <= acknowledged]
        self.unconfirmed[:] = [change for change in self.unconfirmed if change.response_end > acknowledged]
        for change in arrived:
            if self.registry is not None:
                self.registry.resolve(change, None)

    def check_again(self, socket_copy: socket.socket) -> bool:
        """Drop the responses that have arrived since; returns whether any of the others may still arrive."""
        self._drop(_acknowledged_bytes(socket_copy))
        return bool(self.unconfirmed) and _tcp_info(socket_copy)[0] != _TCP_CLOSE


class _ClosedSocketWatch:
    """Keeps the duplicate of a closed socket until it is known whether the last responses arrived."""

    def __init__(self, socket_copy: socket.socket, delivery: SocketDelivery, registry: UndeliveredResponses) -> None:
        self._socket = socket_copy
        self._watched = registry.watched
        self._delivery = delivery
        self._pauses = list(_CHECK_PAUSES_SECONDS)
        # While a duplicate is open, closing the original does not send FIN.
        with contextlib.suppress(OSError):
            socket_copy.shutdown(socket.SHUT_WR)

    def check(self) -> None:
        """Check whether the responses have arrived, and again later, until that is known or the time is up."""
        self._watched.discard(self)
        try:
            is_undecided = self._delivery.check_again(self._socket)
        except OSError:
            is_undecided = False
        has_room = len(self._watched) < _WATCHED_SOCKETS_MAX
        if is_undecided and self._pauses and has_room:
            self._watched.add(self)
            asyncio.get_running_loop().call_later(self._pauses.pop(0), self.check)
            return
        self._socket.close()
        # If there is no room to go on watching, what the server sent before it closed the connection counts as arrived.
        self._delivery.settle_all(arrived=is_undecided and not has_room and not self._delivery.has_ended)


def _duplicate(transport: Any) -> socket.socket:
    # The original descriptor may be reused for another connection by the time it is queried.
    original = transport.get_extra_info("socket")
    return socket.socket(original.family, original.type, original.proto, os.dup(original.fileno()))


def _tcp_info(socket_copy: socket.socket) -> bytes:
    return socket_copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)


def _acknowledged_bytes(socket_copy: socket.socket) -> int:
    if not _IS_SUPPORTED:
        return _ALL_BYTES
    return int(_ACKNOWLEDGED.unpack_from(_tcp_info(socket_copy), _ACKNOWLEDGED_OFFSET)[0])


def _sent_bytes(socket_copy: socket.socket) -> int:
    if not _IS_SUPPORTED:
        return 0
    unacknowledged = array.array("i", [0])
    fcntl.ioctl(socket_copy.fileno(), termios.TIOCOUTQ, unacknowledged)
    return _acknowledged_bytes(socket_copy) + unacknowledged[0]
