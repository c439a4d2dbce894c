"""The transport of an awaitable client: the HTTP library's own, which knows its sockets and how far a call has come."""

import ssl
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final

import httpcore2
import httpx2

from sessionary.client.deadlines import CONNECTING, HANDSHAKE, SENDING, WAITING, note_phase
from sessionary.client.sockets import OpenSockets


class LoopTransport(httpx2.AsyncHTTPTransport):
    """The connections of one event loop."""

    def __init__(self, *, verify: ssl.SSLContext | bool, proxy: str | None) -> None:
        """Connect directly, or through a proxy."""
        super().__init__(verify=verify, proxy=proxy)
        self.sockets: Final = OpenSockets()
        # The library offers no way to name the backend that its pool opens connections with.
        self._pool._network_backend = _Backend(self.sockets)  # noqa: SLF001


async def open_until_the_loop_ends(transport: httpx2.AsyncBaseTransport) -> AsyncGenerator[None, None]:
    """Close a transport when this is closed: by the client, or by the event loop, which closes generators last."""
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
        note_phase(CONNECTING)
        try:
            stream = await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        except UnicodeError as error:
            raise httpcore2.ConnectError(f"{host}: {error}") from error
        self._sockets.note(stream.get_extra_info("socket"))
        return _Stream(stream)


class _Stream(httpcore2.AsyncNetworkStream):
    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream: Final = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as above
        note_phase(WAITING)
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        note_phase(SENDING)
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> httpcore2.AsyncNetworkStream:
        note_phase(HANDSHAKE, server_hostname or "")
        try:
            return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:
            # The library does so only for errors, and not where the call is cancelled.
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
