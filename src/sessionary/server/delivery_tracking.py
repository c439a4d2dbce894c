"""What of the answers on a connection has arrived: the kernel knows what was acknowledged."""

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

_KNOWS: Final = sys.platform == "linux"
_ACKNOWLEDGED: Final = struct.Struct("Q")
_ACKNOWLEDGED_AT: Final = 120
"""Where Linux counts acknowledged bytes in its `tcp_info` (`tcpi_bytes_acked`); the first byte is the state."""
_TCP_INFO_BYTES: Final = _ACKNOWLEDGED_AT + _ACKNOWLEDGED.size
_TCP_CLOSE: Final = 7
_EVERYTHING: Final = 1 << 63

_LOOK_SECONDS: Final = (0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.5, 0.7)
"""The pauses between looks at a socket that was closed with bytes on their way: about two seconds together."""
_WATCHED_MAX: Final = 128


class SocketDelivery(Delivery):
    """The answers on one connection of this server."""

    def __init__(self, transport: Any) -> None:
        """Follow a connection that was just made."""
        super().__init__()
        self._transport: Any = transport
        self._socket: socket.socket | None = None
        self._counts = True
        if transport.get_extra_info("ssl_object") is not None:
            # Of TLS only the kernel knows how many bytes it makes; and its loss is told when the socket is closed.
            self.detects_loss_late = True
            self._counts = False
            with contextlib.suppress(OSError):
                self._socket = _duplicate(transport)

    def stop_counting(self) -> None:
        """Ask the kernel from now on: something else than answers is written."""
        self._counts = False

    def offset(self) -> int:
        """Say how many more bytes than ``written`` the connection has sent."""
        if self._counts or self.is_lost:
            return 0
        with contextlib.suppress(OSError):
            waiting: int = self._transport.get_write_buffer_size()
            if self._socket is not None:
                return waiting + _sent(self._socket) - self.written
            with contextlib.closing(_duplicate(self._transport)) as duplicate:
                return waiting + _sent(duplicate) - self.written
        return 0

    def forget_arrived(self) -> None:
        """Drop the answers that have arrived."""
        with contextlib.suppress(OSError), contextlib.closing(_duplicate(self._transport)) as duplicate:
            self._drop(_acknowledged(duplicate))

    def lose(self) -> None:
        """Be told that the connection is lost, while its socket is still there; remembers what did not arrive."""
        self.is_lost = True
        transport, self._transport = self._transport, None
        followed, self._socket = self._socket, None
        if self.registry is not None and self.running is not None:
            self.registry.remember(self.running)
        if self.detects_loss_late and self.closes and not self.has_ended:
            # TLS says goodbye behind the answer. Who reads the one and not the other resets the connection by closing
            # it, and acknowledges nothing: that is no sign of a loss.
            self._drop(_EVERYTHING)
        if self.registry is not None and self.unconfirmed:
            try:
                # Of TLS the socket is closed by now; without one of our own nothing can be known.
                if followed is None and not self.detects_loss_late:
                    followed = _duplicate(transport)
                self._drop(_EVERYTHING if followed is None else _acknowledged(followed))
            except OSError:
                self._drop(_EVERYTHING)
        if self.unconfirmed and self.registry is not None and followed is not None:
            for change in self.unconfirmed:
                self.registry.remember(change)
            _Watch(followed, self, self.registry).look()
        elif followed is not None:
            followed.close()

    def decide(self, *, arrived: bool) -> None:
        """Say what became of all that is left."""
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

    def look_again(self, followed: socket.socket) -> bool:
        """Drop what has arrived since; tell whether anything is left that still may."""
        self._drop(_acknowledged(followed))
        return bool(self.unconfirmed) and _info(followed)[0] != _TCP_CLOSE


class _Watch:
    """Keeps a socket that its connection has closed until it is known whether the last answers arrived."""

    def __init__(self, followed: socket.socket, delivery: SocketDelivery, memory: UndeliveredResponses) -> None:
        self._followed = followed
        self._watched = memory.watched
        self._delivery = delivery
        self._pauses = list(_LOOK_SECONDS)
        # Closing the connection's own descriptor does not say so while there is this one.
        with contextlib.suppress(OSError):
            followed.shutdown(socket.SHUT_WR)

    def look(self) -> None:
        """Look whether the answers arrived, and again later, until that is known or the time is up."""
        self._watched.discard(self)
        try:
            undecided = self._delivery.look_again(self._followed)
        except OSError:
            undecided = False
        has_room = len(self._watched) < _WATCHED_MAX
        if undecided and self._pauses and has_room:
            self._watched.add(self)
            asyncio.get_running_loop().call_later(self._pauses.pop(0), self.look)
            return
        self._followed.close()
        # Where it was we who closed, for a caller that asked for it, the answer is on its way.
        self._delivery.decide(arrived=undecided and not has_room and not self._delivery.has_ended)


def _duplicate(transport: Any) -> socket.socket:
    # The loop's own number may be another connection's by the time it is asked.
    its_own = transport.get_extra_info("socket")
    return socket.socket(its_own.family, its_own.type, its_own.proto, os.dup(its_own.fileno()))


def _info(followed: socket.socket) -> bytes:
    return followed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)


def _acknowledged(followed: socket.socket) -> int:
    if not _KNOWS:
        return _EVERYTHING
    return int(_ACKNOWLEDGED.unpack_from(_info(followed), _ACKNOWLEDGED_AT)[0])


def _sent(followed: socket.socket) -> int:
    if not _KNOWS:
        return 0
    unacknowledged = array.array("i", [0])
    fcntl.ioctl(followed.fileno(), termios.TIOCOUTQ, unacknowledged)
    return _acknowledged(followed) + unacknowledged[0]
