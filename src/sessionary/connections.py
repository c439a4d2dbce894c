"""The server's connections: uvicorn's, with the bounds it lacks.

A header section that is too long or too slow, a connection too many, and bytes that are no HTTP are refused here, in
the shape every other error has.
"""

import asyncio
from typing import Any, ClassVar, Final

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sessionary import limits
from sessionary.errors import HeadersTooLarge, InvalidRequest, Overloaded, RequestTimeout, SessionaryError
from sessionary.http.replies import problem

_REASONS: Final = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class Bounds(Struct, frozen=True):
    """What a connection may take, and how many there may be."""

    header_seconds: float
    body_seconds: float
    connections: int


def bounded_protocol(bounds: Bounds) -> type[HttpToolsProtocol]:
    """Make the protocol class that keeps these bounds."""
    return type("BoundedProtocol", (_BoundedProtocol,), {"bounds": bounds})


class _BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    bounds: ClassVar[Bounds]

    _in_head = True
    _in_message = False
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.bounds.connections:
            self._refuse(Overloaded())
        else:
            self._timer = self.loop.call_later(self.bounds.header_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > limits.HEADERS_BYTES_READ_MAX:
                self._refuse(HeadersTooLarge(f"The headers together exceed {limits.HEADERS_BYTES_MAX} bytes."))
            else:
                self._start_timer(self.bounds.header_seconds)
        elif self._in_message and self.cycle.response_complete:
            # The rest of a body that was refused: thrown away, but not for ever.
            self._start_timer(self.bounds.body_seconds)
        else:
            self._stop_timer()

    def on_message_begin(self) -> None:
        self._in_head = self._in_message = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequest(msg))

    def _start_timer(self, seconds: float) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(seconds, self._late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self._in_head:
            self._refuse(RequestTimeout("The headers did not arrive in time."))
        else:
            self.transport.close()

    def _refuse(self, error: SessionaryError) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        reply = problem(error)
        lines = [b"HTTP/1.1 %d %b" % (reply.status, _REASONS[reply.status])]
        lines += [b"%b: %b" % header for header in reply.headers]
        lines += [b"content-length: %d" % len(reply.body), b"connection: close", b"", reply.body]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()
