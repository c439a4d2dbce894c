"""Which connections a call may use: those of this process and, for an awaitable client, of this event loop."""

import asyncio
import os
from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, Callable
from typing import Final

import httpx2
from msgspec import Struct

from sessionary.client.async_transports import LoopTransport, open_until_the_loop_ends
from sessionary.client.deadlines import DeadlineTransport
from sessionary.errors import ClientClosedError, ClientUsageError

_FORKED: Final = "A client with a transport of your own cannot be used in a forked process: make the client there."
_MOVED: Final = "A client with a transport of your own belongs to the event loop in which it was used first."
_NO_LOOP: Final = "An AsyncClient is used in a coroutine that asyncio runs; there is no such event loop here."


class Pool:
    """The connections of a blocking client: one transport for each process that uses it."""

    def __init__(self, make: Callable[[], DeadlineTransport], given: httpx2.BaseTransport | None) -> None:
        """Make transports with ``make``, unless one is given."""
        self._make: Final = make
        self._given: Final = given
        self._process: Final = os.getpid()
        # By process. A dictionary, for no lock may be held here while another thread forks.
        self._open: Final[dict[int, DeadlineTransport]] = {} if given else {self._process: make()}
        self._is_closed = False

    def transport(self) -> httpx2.BaseTransport:
        """Find the transport to use; raises ClientClosedError, and ClientUsageError in a forked process."""
        self.check_open()
        here = os.getpid()
        if self._given is not None:
            if here != self._process and not isinstance(self._given, httpx2.MockTransport | httpx2.WSGITransport):
                raise ClientUsageError(_FORKED)
            return self._given
        return self._open.get(here) or self._begin(here)

    def check_open(self) -> None:
        """Raise ClientClosedError if the client is closed."""
        if self._is_closed:
            raise ClientClosedError

    def close(self) -> None:
        """Close the connections of this process; those of another one are only let go."""
        self._is_closed = True
        self._let_others_go(os.getpid())
        for transport in list(self._open.values()):
            transport.close()
        if self._given is not None and os.getpid() == self._process:
            self._given.close()

    def _begin(self, here: int) -> DeadlineTransport:
        transport = self._open.setdefault(here, self._make())
        self._let_others_go(here)
        return transport

    def _let_others_go(self, here: int) -> None:
        for process in list(self._open):
            inherited = self._open.pop(process, None) if process != here else None
            if inherited is not None:
                inherited.abandon()


class _OfLoop(Struct, frozen=True):
    """What an awaitable client has open in one event loop of one process."""

    process: int
    transport: LoopTransport
    guard: AsyncGenerator[None, None]

    async def close(self) -> None:
        await self.guard.aclose()


class AsyncPool:
    """The connections of an awaitable client: one transport for each event loop that uses it, in each process."""

    def __init__(self, make: Callable[[], LoopTransport], given: httpx2.AsyncBaseTransport | None) -> None:
        """Make transports with ``make``, unless one is given."""
        self._make: Final = make
        self._given: Final = given
        self._process: Final = os.getpid()
        self._first_loop: AbstractEventLoop | None = None
        self._open: Final[dict[AbstractEventLoop, _OfLoop]] = {}
        self._is_closed = False

    async def transport(self) -> httpx2.AsyncBaseTransport:
        """Find the transport to use; raises ClientClosedError, and ClientUsageError where it cannot be used."""
        self.check_open()
        loop = _running_loop()
        if self._given is not None:
            return self._own(self._given, loop)
        found = self._open.get(loop)
        if found is not None and found.process == os.getpid():
            return found.transport
        return await self._begin(loop)

    def check_open(self) -> None:
        """Raise ClientClosedError if the client is closed."""
        if self._is_closed:
            raise ClientClosedError

    async def close(self) -> None:
        """Close the connections of this loop and have other loops close theirs; what cannot be closed is let go."""
        self._is_closed = True
        self._let_dead_ones_go()
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

    def _own(self, given: httpx2.AsyncBaseTransport, loop: AbstractEventLoop) -> httpx2.AsyncBaseTransport:
        if isinstance(given, httpx2.MockTransport | httpx2.ASGITransport):
            return given
        if os.getpid() != self._process:
            raise ClientUsageError(_FORKED)
        self._first_loop = self._first_loop or loop
        if self._first_loop is not loop:
            raise ClientUsageError(_MOVED)
        return given

    async def _begin(self, loop: AbstractEventLoop) -> LoopTransport:
        self._let_dead_ones_go()
        transport = self._make()
        opened = _OfLoop(os.getpid(), transport, open_until_the_loop_ends(transport))
        # Nothing waits before this: no other task of the loop comes between.
        self._open[loop] = opened
        await anext(opened.guard)
        return transport

    def _let_dead_ones_go(self) -> None:
        for loop, opened in list(self._open.items()):
            if opened.process != os.getpid() or loop.is_closed():
                self._open.pop(loop, None)
                opened.transport.sockets.release()


def _running_loop() -> AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ClientUsageError(_NO_LOOP) from None
