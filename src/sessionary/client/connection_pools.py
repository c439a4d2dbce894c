"""Connection pools: one for each process and, for an asyncio client, for each event loop that uses the client."""

import asyncio
import os
from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, Callable
from typing import Final

import httpx2
from msgspec import Struct

from sessionary.client.async_transports import AsyncNetworkTransport, close_with_loop
from sessionary.client.transports import NetworkTransport
from sessionary.errors import ClientClosedError, ClientUsageError, ConfigurationError

_FORKED: Final = "A client with a custom transport cannot be used in a forked process: create the client there."
_MOVED: Final = "A client with a custom transport can only be used in the event loop in which it was used first."
_NO_LOOP: Final = "An AsyncClient needs a running asyncio event loop, and there is none here."


class ConnectionPool:
    """The connections of a blocking client: one transport for each process that uses it."""

    def __init__(self, make: Callable[[], NetworkTransport], given: httpx2.BaseTransport | None) -> None:
        """Make transports with ``make``, unless one is given; raises ConfigurationError."""
        _check_kind(given, "handle_request")
        self._make: Final = make
        self._given: Final = given
        self._process: Final = os.getpid()
        # By process id. A dictionary needs no lock, which another thread could hold during a fork.
        self._open: Final[dict[int, NetworkTransport]] = {} if given else {self._process: make()}
        self._is_closed = False

    def transport(self) -> httpx2.BaseTransport:
        """Return the transport to use; raises ClientClosedError, and ClientUsageError in a forked process."""
        self.check_open()
        here = os.getpid()
        if self._given is not None:
            if here != self._process and not isinstance(self._given, httpx2.MockTransport | httpx2.WSGITransport):
                raise ClientUsageError(_FORKED)
            return self._given
        return self._open.get(here) or self._connect(here)

    def check_open(self) -> None:
        """Raise ClientClosedError if the client is closed."""
        if self._is_closed:
            raise ClientClosedError

    def close(self) -> None:
        """Close the connections of this process; those of another process are dropped without closing them."""
        self._is_closed = True
        self._drop_inherited(os.getpid())
        for transport in list(self._open.values()):
            transport.close()
        if self._given is not None and os.getpid() == self._process:
            self._given.close()

    def _connect(self, here: int) -> NetworkTransport:
        transport = self._open.setdefault(here, self._make())
        self._drop_inherited(here)
        return transport

    def _drop_inherited(self, here: int) -> None:
        for process in list(self._open):
            inherited = self._open.pop(process, None) if process != here else None
            if inherited is not None:
                inherited.abandon()


class _LoopConnections(Struct, frozen=True):
    """The connections of an asyncio client in one event loop of one process."""

    process: int
    transport: AsyncNetworkTransport
    guard: AsyncGenerator[None, None]

    async def close(self) -> None:
        await self.guard.aclose()


class AsyncConnectionPool:
    """The connections of an asyncio client: one transport for each event loop that uses it, in each process."""

    def __init__(self, make: Callable[[], AsyncNetworkTransport], given: httpx2.AsyncBaseTransport | None) -> None:
        """Make transports with ``make``, unless one is given; raises ConfigurationError."""
        _check_kind(given, "handle_async_request")
        self._make: Final = make
        self._given: Final = given
        self._process: Final = os.getpid()
        self._first_loop: AbstractEventLoop | None = None
        self._open: Final[dict[AbstractEventLoop, _LoopConnections]] = {}
        self._is_closed = False
        if given is None:
            # Each event loop gets its own later. This one shows now, not at the first call, if a setting is wrong.
            make()

    async def transport(self) -> httpx2.AsyncBaseTransport:
        """Return the transport to use; raises ClientClosedError, and ClientUsageError if it cannot be used here."""
        self.check_open()
        loop = _running_loop()
        if self._given is not None:
            return self._check_given(self._given, loop)
        found = self._open.get(loop)
        if found is not None and found.process == os.getpid():
            return found.transport
        return await self._connect(loop)

    def check_open(self) -> None:
        """Raise ClientClosedError if the client is closed."""
        if self._is_closed:
            raise ClientClosedError

    async def close(self) -> None:
        """Close the connections of this loop and have running loops close theirs; drop those of stopped loops."""
        self._is_closed = True
        self._drop_dead()
        here = _running_loop()
        for loop, opened in list(self._open.items()):
            del self._open[loop]
            if loop is here:
                await opened.close()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(opened.close(), loop)
            else:
                opened.transport.sockets.release()
        if self._given is not None and os.getpid() == self._process and self._first_loop in {None, here}:
            await self._given.aclose()

    def _check_given(self, given: httpx2.AsyncBaseTransport, loop: AbstractEventLoop) -> httpx2.AsyncBaseTransport:
        if isinstance(given, httpx2.MockTransport | httpx2.ASGITransport):
            return given
        if os.getpid() != self._process:
            raise ClientUsageError(_FORKED)
        self._first_loop = self._first_loop or loop
        if self._first_loop is not loop:
            raise ClientUsageError(_MOVED)
        return given

    async def _connect(self, loop: AbstractEventLoop) -> AsyncNetworkTransport:
        self._drop_dead()
        transport = self._make()
        opened = _LoopConnections(os.getpid(), transport, close_with_loop(transport))
        # There is no await before this line, so no other task of the loop can come between.
        self._open[loop] = opened
        await anext(opened.guard)
        return transport

    def _drop_dead(self) -> None:
        for loop, opened in list(self._open.items()):
            if opened.process != os.getpid() or loop.is_closed():
                self._open.pop(loop, None)
                opened.transport.sockets.release()


def _check_kind(transport: object, method: str) -> None:
    if transport is not None and not callable(getattr(transport, method, None)):
        raise ConfigurationError(f"The transport cannot be used: it has no method {method}().")


def _running_loop() -> AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ClientUsageError(_NO_LOOP) from None
