"""The transport of an asyncio client: the HTTP library's, which also tracks its sockets and the phase of a call."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final

import httpcore2
import httpx2

from sessionary.client.deadlines import CONNECTING, HANDSHAKE, SENDING, WAITING, deadline_context, record_phase
from sessionary.client.error_mapping import transport_errors
from sessionary.client.response_decoding import BodyBuffer, network_stream_of
from sessionary.client.retry import Attempts
from sessionary.client.sockets import OpenSockets
from sessionary.errors import MismatchedResponseError, SessionaryError


async def exchange(transport: httpx2.AsyncBaseTransport, attempts: Attempts[Any]) -> httpx2.Response:
    """Send the next request of a call and read the whole response; raises SessionaryError."""
    request, deadline = attempts.next_request(), attempts.deadline()
    with transport_errors(attempts.route, deadline, attempts.timeout), deadline_context(deadline):
        async with asyncio.timeout(attempts.seconds_left()):
            response = await transport.handle_async_request(request)
            response.request = request
            await _read_body(response)
    return response


async def close_mismatched(error: SessionaryError) -> None:
    """Close the connection that brought the response to another request: it is out of step."""
    stream = network_stream_of(error) if isinstance(error, MismatchedResponseError) else None
    if stream is not None:
        await stream.aclose()


async def _read_body(response: httpx2.Response) -> None:
    buffer = BodyBuffer()
    try:
        async with contextlib.aclosing(response.aiter_bytes()) as parts:
            async for part in parts:
                buffer.add(part)
    finally:
        await response.aclose()
    buffer.store_in(response)


class AsyncNetworkTransport(httpx2.AsyncHTTPTransport):
    """The connections of one event loop."""

    def __init__(self, *, verify: ssl.SSLContext | bool, proxy: str | None) -> None:
        """Connect directly, or through a proxy."""
        super().__init__(verify=verify, proxy=proxy)
        self.sockets: Final = OpenSockets()
        # The library has no public way to choose the network backend of its pool.
        self._pool._network_backend = _Backend(self.sockets)  # noqa: SLF001


async def close_with_loop(transport: httpx2.AsyncBaseTransport) -> AsyncGenerator[None, None]:
    """Close a transport when this generator is closed: by the client, or by the event loop when it shuts down."""
    try:
        yield
    finally:
        await transport.aclose()


class _Backend(httpcore2.AsyncNetworkBackend):
    def __init__(self, sockets: OpenSockets) -> None:
        self._sockets: Final = sockets
        self._network: Final = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's own
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        record_phase(CONNECTING)
        try:
            stream = await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        except UnicodeError as error:
            raise httpcore2.ConnectError(f"{host}: {error}") from error
        self._sockets.add(stream.get_extra_info("socket"))
        return _Stream(stream)


class _Stream(httpcore2.AsyncNetworkStream):
    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream: Final = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as above
        record_phase(WAITING)
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        record_phase(SENDING)
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> httpcore2.AsyncNetworkStream:
        record_phase(HANDSHAKE, server_hostname or "")
        try:
            return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:
            # The library closes it for errors only, not for cancellation.
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
