"""The transport of a blocking client: connections whose waits all end by the deadline of the call.

The HTTP library limits each single wait, so a response that arrives byte by byte could take for ever. Here each wait is
cut to what is left of the whole call.
"""

import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore2
import httpx2

from sessionary.client.deadlines import (
    CONNECTING,
    HANDSHAKE,
    SENDING,
    WAITING,
    current_deadline,
    deadline_context,
    record_phase,
)
from sessionary.client.error_mapping import transport_errors
from sessionary.client.response_decoding import BodyBuffer, network_stream_of
from sessionary.client.retry import Attempts
from sessionary.client.sockets import OpenSockets
from sessionary.errors import MismatchedResponseError, SessionaryError

_PIECE_BYTES: Final = 64 * 1024


def exchange(transport: httpx2.BaseTransport, attempts: Attempts[Any]) -> httpx2.Response:
    """Send the next request of a call and read the whole response; raises SessionaryError."""
    request, deadline = attempts.next_request(), attempts.deadline()
    with transport_errors(attempts.route, deadline, attempts.timeout), deadline_context(deadline):
        response = transport.handle_request(request)
        response.request = request
        _read_body(response)
    return response


def close_mismatched(error: SessionaryError) -> None:
    """Close the connection that brought the response to another request: it is out of step."""
    stream = network_stream_of(error) if isinstance(error, MismatchedResponseError) else None
    if stream is not None:
        stream.close()


def _read_body(response: httpx2.Response) -> None:
    buffer = BodyBuffer()
    try:
        for part in response.iter_bytes():
            buffer.add(part)
    finally:
        response.close()
    buffer.store_in(response)


def _time_left(seconds: float | None, error: type[httpcore2.TimeoutException]) -> float | None:
    deadline = current_deadline()
    left = seconds if deadline is None else deadline.limit(seconds)
    if left is not None and left <= 0:
        raise error("timed out")
    return left


class NetworkTransport(httpx2.HTTPTransport):
    """The HTTP library's transport with deadlines; it tracks its sockets."""

    def __init__(self, *, verify: ssl.SSLContext | bool, proxy: str | None) -> None:
        """Connect directly, or through a proxy."""
        super().__init__(verify=verify, proxy=proxy)
        self.sockets: Final = OpenSockets()
        # The library has no public way to choose the network backend of its pool.
        self._pool._network_backend = _Backend(self.sockets)  # noqa: SLF001

    def abandon(self) -> None:
        """Drop connections inherited from the parent process of a fork; takes no lock."""
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
        record_phase(CONNECTING)
        failure: httpcore2.NetworkError | httpcore2.TimeoutException = httpcore2.ConnectError(f"{host} has no address")
        for address in _resolve(host, port):
            left = _time_left(timeout, httpcore2.ConnectTimeout)
            try:
                stream = super().connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                self._sockets.add(stream.get_extra_info("socket"))
                return _Stream(stream)
        raise failure


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream: Final = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        record_phase(WAITING)
        return self._stream.read(max_bytes, _time_left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        record_phase(SENDING)
        # In pieces: a slow server may use up the whole timeout for each single write.
        for start in range(0, len(buffer), _PIECE_BYTES):
            left = _time_left(timeout, httpcore2.WriteTimeout)
            self._stream.write(buffer[start : start + _PIECE_BYTES], left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        record_phase(HANDSHAKE, server_hostname or "")
        left = _time_left(timeout, httpcore2.ConnectTimeout)
        try:
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))
        except BaseException:
            self._stream.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(f"{host}: {error}") from error
    return [str(address[4][0]) for address in found]
