"""Deadlines for blocking sockets.

httpx bounds each single wait, so that an answer arriving byte by byte could take for ever. Here each wait is cut to
what is left of the whole call.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

import httpcore
import httpx

_PIECE_BYTES: Final = 64 * 1024


class Deadline(threading.local):
    """The instant by which the call of this thread must have ended, by the client's clock; None if it may last."""

    ends_at: float | None = None

    def __init__(self, clock: Callable[[], float]) -> None:
        """Go by this clock."""
        self._clock: Final = clock

    def cut(self, seconds: float | None) -> float | None:
        """Shorten a wait to what is left; it is zero or less when nothing is."""
        if self.ends_at is None:
            return seconds
        left = self.ends_at - self._clock()
        return left if seconds is None else min(seconds, left)


class DeadlineTransport(httpx.HTTPTransport):
    """httpx's own transport, but for the deadline."""

    def __init__(self, deadline: Deadline, *, verify: ssl.SSLContext | bool, proxy: str | httpx.Proxy | None) -> None:
        """Keep to ``deadline``."""
        super().__init__(verify=verify, proxy=proxy)
        # httpx offers no way to name the backend that its pool opens connections with.
        self._pool._network_backend = _Backend(deadline)  # noqa: SLF001


class _Backend(httpcore.SyncBackend):
    def __init__(self, deadline: Deadline) -> None:
        self._deadline: Final = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: httpcore.NetworkError | httpcore.TimeoutException = httpcore.ConnectError(f"{host} has no address")
        for address in _addresses(host, port):
            left = _positive(self._deadline.cut(timeout), httpcore.ConnectTimeout)
            try:
                stream = super().connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._deadline)
        raise failure


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream: Final = stream
        self._deadline: Final = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _positive(self._deadline.cut(timeout), httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # Piece by piece: a server that takes the bytes slowly holds up each of them for as long as it is given.
        for start in range(0, len(buffer), _PIECE_BYTES):
            left = _positive(self._deadline.cut(timeout), httpcore.WriteTimeout)
            self._stream.write(buffer[start : start + _PIECE_BYTES], left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _positive(self._deadline.cut(timeout), httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore.ConnectError(f"{host}: {error}") from error
    return [str(address[4][0]) for address in found]


def _positive(left: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    if left is not None and left <= 0:
        raise late("timed out")
    return left
