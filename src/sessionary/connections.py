"""The server's connections: uvicorn's, with the bounds it lacks.

A header section that is too long or too slow, a connection too many, and bytes that are no HTTP are refused here, in
the shape every other error has. Who sends on after a refusal, or does not read the answer, is hung up on.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import httptools
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from sessionary import limits
from sessionary.clocks import request_ids
from sessionary.errors import HeadersTooLarge, InvalidRequest, Overloaded, QueryTooLong, RequestTimeout, SessionaryError
from sessionary.http.replies import SAFE, Header, problem
from sessionary.http.requests import Headers, request_id_of

_REASONS: Final = {
    400: b"Bad Request",
    408: b"Request Timeout",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}
_URL_BYTES_MAX: Final = 65_535
_LINGER_NOT: Final = struct.pack("ii", 1, 0)

_JOINED_BYTES_MAX: Final = 64 * 1024
"""Beyond this copying a body costs more than another write."""
_CLOSE: Final = (b"connection", b"close")

_logger: Final = logging.getLogger("sessionary.connections")


class Bounds(Struct, frozen=True):
    """What a connection may take, and how many there may be."""

    header_seconds: float
    body_seconds: float
    connections: int


def bounded_protocol(
    bounds: Bounds, on_unavailable: Callable[[SessionaryError], None] = lambda _: None
) -> type[HttpToolsProtocol]:
    """Make the protocol class that keeps these bounds; ``on_unavailable`` is told of each refusal that is a 503."""
    own = {
        "bounds": bounds,
        "request_ids": staticmethod(request_ids()),
        "on_unavailable": staticmethod(on_unavailable),
    }
    return type("BoundedProtocol", (_BoundedProtocol,), own)


class _BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    bounds: ClassVar[Bounds]
    request_ids: ClassVar[Callable[[], str]]
    on_unavailable: ClassVar[Callable[[SessionaryError], None]]

    _in_head = True
    _in_message = False
    _wishes_upgrade = False
    _head_bytes = 0
    _refused_bytes = 0
    _unread_bytes = 0
    _answering: Any = None
    _timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.bounds.connections:
            self._refuse(Overloaded(reason=f"all {self.bounds.connections} connections are taken"))
        else:
            self._timer = self.loop.call_later(self.bounds.header_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_reader_timer()
        # uvicorn tells only the last of several pipelined requests; the one that is being answered would write on.
        if self._answering is not None:
            self._answering.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            self._read_without_upgrade(data[wish.args[0] :])
            return
        except httptools.HttpParserError:
            # The parser takes no URL of 64 KiB or more, whatever is in it.
            long = self._in_message and self._in_head and len(self.url) > _URL_BYTES_MAX
            self._refuse(QueryTooLong() if long else InvalidRequest("The request is not valid HTTP."))
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > limits.HEADERS_BYTES_READ_MAX:
                self._refuse(HeadersTooLarge(f"The headers together exceed {limits.HEADERS_BYTES_MAX} bytes."))
            else:
                self._start_timer(self.bounds.header_seconds)
        elif self.cycle.response_complete:
            # The rest of a body that was refused, or line ends between two requests: thrown away, but not for ever.
            self._start_timer(self.bounds.body_seconds if self._in_message else self.timeout_keep_alive)
            self._refused_bytes += len(data)
            if self._refused_bytes > limits.REFUSED_BYTES_READ_MAX:
                self._close()
        else:
            self._stop_timer()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's own never keeps a connection
        """Keep the connection for the answers that a caller who will ask no more still waits for."""
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or self._in_message:
            return False
        cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        self._in_head = self._in_message = True
        self._head_bytes = self._refused_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._wishes_upgrade = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._wishes_upgrade:
            return
        super().on_headers_complete()
        self.cycle.send = _Answer(self.cycle).send  # type: ignore[method-assign]  # before the application is run
        self._in_head = False

    def on_message_complete(self) -> None:
        if self._wishes_upgrade:
            return
        self._in_message = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_reader_timer()
        if self.transport.is_closing():
            self._watch_reader()

    def on_response_complete(self) -> None:
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_reader()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _read_without_upgrade(self, rest: bytes) -> None:
        # The parser takes what follows such a head for the other protocol. We speak none, so the request is read again
        # without the wish: curl and Java send one by default, with a body behind it.
        if not self._wishes_upgrade:
            self.cycle.keep_alive = False
            return
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def _start_timer(self, seconds: float) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(seconds, self._late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self.transport.close()
        self._watch_reader()

    def _watch_reader(self) -> None:
        # Closing waits for what was written to be taken: by a caller that does not read, for ever.
        self._unread_bytes = self.transport.get_write_buffer_size()
        if self._unread_bytes and self._reader_timer is None:
            self._reader_timer = self.loop.call_later(self.bounds.body_seconds, self._check_reader)

    def _check_reader(self) -> None:
        self._reader_timer = None
        least = max(0, self._unread_bytes - limits.ANSWER_BYTES_TAKEN_MIN)
        if self.transport.get_write_buffer_size() <= least:
            self._watch_reader()
            return
        _logger.info("A connection was closed: its caller does not read the answer.")
        # What the kernel holds of it shall go too.
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.transport.abort()

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _late(self) -> None:
        self._timer = None
        if self._in_head:
            self._refuse(RequestTimeout("The headers did not arrive in time."))
        else:
            self._close()

    def _refuse(self, error: SessionaryError) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        # None before the first request; uvicorn's types do not say so.
        cycle: Any = self.cycle
        in_body = self._in_message and not self._in_head
        if self.pipeline or (cycle is not None and not in_body and not cycle.response_complete):
            # The answers to what was asked before come first, and none after them.
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if not in_body or not cycle.response_started:
            self.transport.write(self._spelled(error))
        self._close()

    def _spelled(self, error: SessionaryError) -> bytes:
        reply = problem(error)
        request_id = request_id_of(Headers(self.headers if self._in_message else []), type(self).request_ids)
        if isinstance(error, Overloaded):
            type(self).on_unavailable(error)
        else:
            _logger.info("Request %s was refused by its connection: %d %s", request_id, error.status, error.detail)
        headers = [
            *self.server_state.default_headers,
            *reply.headers,
            *SAFE,
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        lines = [b"HTTP/1.1 %d %b" % (reply.status, _REASONS[reply.status])]
        lines += [b"%b: %b" % header for header in headers]
        return b"\r\n".join([*lines, b"", reply.body])


class _Answer:
    """An answer on its way out: its head and its body leave in one write, for a write costs more than spelling them.

    For an application that says the length of every body and sends it in one piece.
    """

    __slots__ = ("_cycle", "_head")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle: Final = cycle
        self._head = b""

    async def send(self, message: Any) -> None:
        """Take the head, then the body, and write them."""
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if not cycle.response_started:
            cycle.response_started = True
            cycle.waiting_for_100_continue = False
            self._head = self._spelled(message["status"], message["headers"])
            return
        body: bytes = message["body"]
        if len(body) <= _JOINED_BYTES_MAX:
            body = self._head + body
        else:
            cycle.transport.write(self._head)
        cycle.transport.write(body)
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def _spelled(self, status: int, headers: Sequence[Header]) -> bytes:
        cycle = self._cycle
        if _CLOSE in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers = [*headers, _CLOSE]
        headers = [*cycle.default_headers, *headers]
        head = STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers]) + b"\r\n"
        if head.count(b"\n") != len(headers) + 2 or head.count(b"\r") != len(headers) + 2:
            raise AssertionError("a header breaks its line")
        return head
