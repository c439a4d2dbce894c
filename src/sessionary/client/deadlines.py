"""Deadlines for blocking sockets, and what an attempt is waiting for.

The HTTP library bounds each single wait, so that an answer arriving byte by byte could take for ever. Here each wait of
a blocking client is cut to what is left of the whole call. Both kinds of client note how far an attempt has come, so
that an error can say it.
"""

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import httpcore2
import httpx2

from sessionary.client.sockets import OpenSockets

_PIECE_BYTES: Final = 64 * 1024

CONNECTING: Final = "connecting"
HANDSHAKE: Final = "handshake"
SENDING: Final = "sending"
WAITING: Final = "waiting"


class Deadline:
    """The instant by which an attempt must have ended, by the client's clock, and how far it has come."""

    def __init__(self, clock: Callable[[], float], ends_at: float | None) -> None:
        """Go by this clock; without an instant there is no bound."""
        self._clock: Final = clock
        self._ends_at: Final = ends_at
        self.phase: str = ""
        self.host: str = ""
        """Whom a TLS handshake was with."""

    def cut(self, seconds: float | None) -> float | None:
        """Shorten a wait to what is left; it is zero or less when nothing is."""
        if self._ends_at is None:
            return seconds
        left = self._ends_at - self._clock()
        return left if seconds is None else min(seconds, left)


_current: ContextVar[Deadline | None] = ContextVar("sessionary_deadline", default=None)


@contextmanager
def keeping_to(deadline: Deadline) -> Iterator[None]:
    """Have every wait inside keep to a deadline, and note there what it is for."""
    before = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(before)


def is_under_way() -> bool:
    """Tell whether an attempt of a client is what runs here."""
    return _current.get() is not None


def note_phase(phase: str, host: str = "") -> None:
    """Note how far the attempt that runs here has come."""
    deadline = _current.get()
    if deadline is not None:
        deadline.phase = phase
        deadline.host = host or deadline.host


def _cut(seconds: float | None, late: type[httpcore2.TimeoutException]) -> float | None:
    deadline = _current.get()
    left = seconds if deadline is None else deadline.cut(seconds)
    if left is not None and left <= 0:
        raise late("timed out")
    return left


class DeadlineTransport(httpx2.HTTPTransport):
    """The HTTP library's own transport, but for the deadline; it knows its sockets."""

    def __init__(self, *, verify: ssl.SSLContext | bool, proxy: str | None) -> None:
        """Connect directly, or through a proxy."""
        super().__init__(verify=verify, proxy=proxy)
        self.sockets: Final = OpenSockets()
        # The library offers no way to name the backend that its pool opens connections with.
        self._pool._network_backend = _Backend(self.sockets)  # noqa: SLF001

    def abandon(self) -> None:
        """Give up what was inherited from the process that this one was forked from; takes no lock."""
        self.sockets.release()
        for connection in self._pool.connections:
            connection.close()


class _Backend(httpcore2.SyncBackend):
    def __init__(self, sockets: OpenSockets) -> None:
        self._sockets: Final = sockets

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        note_phase(CONNECTING)
        failure: httpcore2.NetworkError | httpcore2.TimeoutException = httpcore2.ConnectError(f"{host} has no address")
        for address in _addresses(host, port):
            left = _cut(timeout, httpcore2.ConnectTimeout)
            try:
                stream = super().connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                self._sockets.note(stream.get_extra_info("socket"))
                return _Stream(stream)
        raise failure


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream: Final = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        note_phase(WAITING)
        return self._stream.read(max_bytes, _cut(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        note_phase(SENDING)
        # Piece by piece: a server that takes the bytes slowly holds up each of them for as long as it is given.
        for start in range(0, len(buffer), _PIECE_BYTES):
            left = _cut(timeout, httpcore2.WriteTimeout)
            self._stream.write(buffer[start : start + _PIECE_BYTES], left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        note_phase(HANDSHAKE, server_hostname or "")
        left = _cut(timeout, httpcore2.ConnectTimeout)
        try:
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))
        except BaseException:
            self._stream.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(f"{host}: {error}") from error
    return [str(address[4][0]) for address in found]
