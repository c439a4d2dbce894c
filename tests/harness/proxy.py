"""A TCP proxy between a client and a server that can cut, delay and hold data, in the test's event loop."""

import asyncio
import contextlib
import math
from collections.abc import Iterator
from typing import Literal, Self
from urllib.parse import urlsplit

Cut = Literal["before", "after"]

_CHUNK = 64 * 1024


class Proxy:
    """Forwards bytes in both directions, unless a fault is set.

    `cut_at(marker, "before")` closes the connection on which a client sends the marker, without forwarding it;
    "after" forwards it, waits for the server's response, and closes the connection without forwarding that. Each is
    done once. `hold_at(marker)` holds the marker, and what follows it, until it is released. In `black_hole()` all
    connections stay open, new ones are accepted, and nothing is forwarded.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._listener: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self._passable = asyncio.Event()
        self._passable.set()
        self._marker = b""
        self._cut: Cut = "before"
        self._hold: Hold | None = None
        self._answer = b""
        self._clients: set[_Wire] = set()
        self.delay_seconds = 0.0
        """The delay of everything that clients send."""
        self.bytes_per_second = 0.0
        """The rate limit of what clients send on each connection; 0 means unlimited."""
        self.sent = bytearray()
        """Everything that clients have sent; a test that counts clears it first."""

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    @property
    def url(self) -> str:
        """The URL of the same server through the proxy."""
        assert self._listener is not None
        port = self._listener.sockets[0].getsockname()[1]
        user = self._parts.netloc.rpartition("@")[0]
        return self._parts._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()

    def cut_at(self, marker: bytes, when: Cut) -> None:
        """Cut the next connection on which a client sends the marker."""
        self._marker, self._cut = marker, when

    def answer_at(self, marker: bytes, sqlstate: str, *, severity: str = "ERROR") -> None:
        """Forward the marker, wait for the server's response, and send an error to the client instead."""
        fields = f"S{severity}\0V{severity}\0C{sqlstate}\0Mmade up by the proxy\0\0".encode()
        self._answer = b"E" + (len(fields) + 4).to_bytes(4) + fields + b"Z\0\0\0\5I"
        self._marker, self._cut = marker, "after"

    @property
    def has_cut(self) -> bool:
        """Whether the marker has been sent."""
        return not self._marker

    def tell_clients(self, data: bytes) -> None:
        """Send data to every client, as if the server had sent it."""
        for client in self._clients:
            client.writer.write(data)

    def forget_clients(self) -> None:
        """Discard what current clients send, like a firewall that lost their state; new connections work."""
        for client in self._clients:
            client.mute = True

    def hold_at(self, marker: bytes) -> "Hold":
        """Hold the marker back when a client sends it."""
        self._hold = Hold(marker)
        return self._hold

    @contextlib.contextmanager
    def black_hole(self) -> Iterator[None]:
        """Forward nothing during the block."""
        self._passable.clear()
        try:
            yield
        finally:
            self._passable.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pipe = asyncio.current_task()
        assert pipe is not None
        self._pipes.add(pipe)
        pipe.add_done_callback(self._pipes.discard)
        with contextlib.closing(writer), contextlib.suppress(OSError):
            await self._passable.wait()
            server_reader, server_writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
            with contextlib.closing(server_writer):
                await self._join(_Wire(reader, writer), _Wire(server_reader, server_writer))

    async def _join(self, client: "_Wire", server: "_Wire") -> None:
        self._clients.add(client)
        onwards = asyncio.create_task(self._pass_on(client, server))
        back = asyncio.create_task(self._pass_back(server, client))
        try:
            await asyncio.wait((onwards, back), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients.discard(client)
            onwards.cancel()
            back.cancel()
            await asyncio.gather(onwards, back, return_exceptions=True)

    async def _pass_on(self, client: "_Wire", server: "_Wire") -> None:
        while data := await client.reader.read(_CHUNK):
            await self._passable.wait()
            if client.mute:
                continue
            self.sent += data
            if self._hold is not None and self._hold.marker in data:
                await self._hold.wait()
            if self._marker and self._marker in data:
                self._marker = b""
                if self._cut == "before":
                    return
                server.mute = True
                server.instead, self._answer = self._answer, b""
            if self.delay_seconds or self.bytes_per_second:
                await asyncio.sleep(self.delay_seconds + len(data) / (self.bytes_per_second or math.inf))
            server.writer.write(data)
            await server.writer.drain()

    async def _pass_back(self, server: "_Wire", client: "_Wire") -> None:
        while data := await server.reader.read(_CHUNK):
            await self._passable.wait()
            if server.instead:
                data, server.instead, server.mute = server.instead, b"", False
            if server.mute:
                return
            client.writer.write(data)
            await client.writer.drain()


class Hold:
    """A marker that is held back, and whether it was reached and released."""

    def __init__(self, marker: bytes) -> None:
        self.marker = marker
        self._reached = asyncio.Event()
        self._let_go = asyncio.Event()

    async def reached(self) -> None:
        """Wait until the client has sent the marker."""
        await self._reached.wait()

    def let_go(self) -> None:
        """Forward the marker, now and in future."""
        self._let_go.set()

    async def wait(self) -> None:
        """Record that the marker was reached, and wait for its release."""
        self._reached.set()
        await self._let_go.wait()


class _Wire:
    """One end of a connection; what a muted end sends is not forwarded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.mute = False
        self.instead = b""
