"""The server's connections: uvicorn's, with the bounds it lacks.

A header section that is too long or too slow, a connection too many, and bytes that are no HTTP are refused here, in
the shape every other error has. Who sends on after a refusal, or does not read the answer, is hung up on.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sessionary import constants
from sessionary.errors import (
    HeadersTooLargeError,
    InvalidRequestError,
    OverloadedError,
    QueryTooLongError,
    RequestTimeoutError,
    SessionaryError,
)
from sessionary.server.chunked_framing import Framing
from sessionary.server.clock import date_headers, request_ids
from sessionary.server.pipelining import AnsweringProtocol
from sessionary.server.protocol_errors import TOO_LONG, Farewell, refusal_of, refusal_of_parser
from sessionary.server.request_cycle import Bounds, scope_of

_HEADERS_MAX: Final = constants.HEADERS_MAX
_HEADERS_BYTES_MAX: Final = constants.HEADERS_BYTES_MAX
_PART_BYTES_MAX: Final = 1024
_BODY_PART_BYTES_MAX: Final = 4 * 1024
"""So much is parsed at once: the parser cannot be stopped within, and each few bytes may be a request."""
_CHUNKS_A_TURN_MAX: Final = 500
"""After so many chunks other connections have their turn: chunks of a byte take long to parse."""


def bounded_protocol(
    bounds: Bounds, on_unavailable: Callable[[SessionaryError], None] = lambda _: None
) -> type[HttpToolsProtocol]:
    """Make the protocol class that keeps these bounds; ``on_unavailable`` is told of each refusal that is a 503."""
    own = {
        "bounds": bounds,
        "request_ids": staticmethod(request_ids()),
        "date_header": staticmethod(date_headers()),
        "on_unavailable": staticmethod(on_unavailable),
    }
    return type("BoundedProtocol", (_BoundedProtocol,), own)


class _BoundedProtocol(AnsweringProtocol):
    """One connection."""

    _in_head = True
    _wishes_upgrade = False
    _ended = False
    _refusal: SessionaryError | None = None
    _head_bytes = 0
    _headers_bytes = 0
    _refused_bytes = 0
    _dropped = False
    _framing: Framing | None = None
    _unparsed = b""
    _timer: asyncio.TimerHandle | None = None
    _farewell: Farewell | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.bounds.connections:
            self._refuse(OverloadedError(reason=f"all {self.bounds.connections} connections are taken"))
        else:
            self._timer = self.loop.call_later(self.bounds.header_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._farewell is not None:
            self._farewell.stop()
            self._farewell = None
        self._unparsed = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ended or self.transport.is_closing():
            if self._farewell is not None:
                self._farewell.throw_away(len(data))
            return
        if self.flow.waiting:
            self._unparsed += data
        elif len(data) <= _PART_BYTES_MAX:
            self._parse(data)
            if self.pipeline:
                self._pause()
        else:
            self._unparsed = data
            self._go_on()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's own never keeps a connection
        """Keep the connection for the answers that a caller who will ask no more still waits for."""
        self._delivery.end()
        return self._ends_after_answers()

    def on_message_begin(self) -> None:
        self._in_head = self._in_message = True
        self._head_bytes = self._headers_bytes = self._refused_bytes = 0
        self._framing = None
        self._dropped = self.expect_100_continue = False
        self.url, self.headers = b"", []

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name) + len(value) + 4
        if not self._in_head:
            # A trailer is never a header.
            self._frame().trailer(size)
            return
        before, headers = self._headers_bytes, self.headers
        self._headers_bytes = before + size
        # What is over the bound is not kept, and the request is refused: what was left out may say where its body ends.
        if before > _HEADERS_BYTES_MAX or len(headers) > _HEADERS_MAX:
            self._dropped = True
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        method = self.parser.get_method()
        self._wishes_upgrade = self.parser.should_upgrade() and method != b"CONNECT"
        if self._wishes_upgrade and self._dropped:
            # Read again without the wish it might lack the header that says where its body ends.
            self._refusal = HeadersTooLargeError(TOO_LONG)
            raise self._refusal
        if self._wishes_upgrade:
            return
        version = self.parser.get_http_version()
        self._refusal = refusal_of(version, self.url, self.headers)
        if self._refusal is not None:
            raise self._refusal
        scope = scope_of(method, self.url, self.headers, self.client, self._delivery)
        if self.expect_100_continue:
            self._delivery.stop_counting()
        self._in_head = False
        self._begin(scope, keep_alive=version != "1.0" and self.parser.should_keep_alive())

    def on_chunk_header(self) -> None:
        self._frame().chunk()

    def on_body(self, body: bytes) -> None:
        if self._framing is not None:
            self._framing.body(len(body))
        if self.cycle.response_complete:
            return
        self.cycle.take(body)
        if self.cycle.holds_much():
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if self._wishes_upgrade:
            return
        self._in_message = False
        if not self.cycle.response_complete:
            self.cycle.end_body()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.flow.waiting and not self.pipeline and not self.transport.is_closing():
            self._go_on()

    def _pause(self) -> None:
        """Read no more until the requests that wait are answered, which may take as long as it takes."""
        self._stop_timer()
        self.flow.waiting = True
        self.flow.pause_reading()

    def _go_on(self) -> None:
        """Parse what has arrived, part by part, until a request has to wait for another's answer."""
        data, at, is_enough = self._unparsed, 0, False
        last_chunk = self._chunks() + _CHUNKS_A_TURN_MAX
        while at < len(data) and not (is_enough or self.pipeline or self._ended or self.transport.is_closing()):
            size = _PART_BYTES_MAX if self._in_head or not self._in_message else _BODY_PART_BYTES_MAX
            self._parse(data[at : at + size])
            at += size
            is_enough = self._chunks() > last_chunk
        if self._farewell is not None:
            self._farewell.throw_away(len(data) - at)
            return
        self._unparsed = b"" if self._ended or self.transport.is_closing() else data[at:]
        if self.pipeline or self._unparsed or self._ended:
            self._pause()
            if is_enough and not self._ended:
                self.loop.call_soon(self._take_turn)
            return
        self.flow.waiting = False
        if self._in_head and self._in_message:
            self._start_timer(self.bounds.header_seconds)
        if self.cycle is None or not self.cycle.holds_much():
            self.flow.resume_reading()

    def _take_turn(self) -> None:
        if self.flow.waiting and not (self.pipeline or self._ended or self.transport.is_closing()):
            self._go_on()

    def _chunks(self) -> int:
        return 0 if self._framing is None else self._framing.chunks

    def _parse(self, data: bytes) -> None:
        exchange, in_body = self.cycle, self._in_message and not self._in_head
        if in_body:
            self._frame().begin_part()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            self._parse_without_upgrade(data[wish.args[0] :])
            return
        except httptools.HttpParserError as error:
            wrong = self._refusal or refusal_of_parser(error)
            # The way it came holds it, and all it came through.
            wrong.__traceback__, self._refusal = None, None
            self._refuse(wrong)
            return
        if self._in_head:
            self._check_head(len(data))
        elif in_body and self._in_message and self.cycle is exchange and self._frame().is_too_much(len(data)):
            self._refuse(InvalidRequestError("Too much stands around the chunks of the body."))
        if not self._in_head:
            if self.cycle.response_complete:
                self._check_rest(len(data))
            elif self._timer is not None:
                self._stop_timer()

    def _check_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > constants.HEAD_BYTES_MAX:
            is_target = len(self.url) > constants.HEAD_BYTES_MAX // 2
            self._refuse(QueryTooLongError() if is_target else HeadersTooLargeError(TOO_LONG))
        else:
            self._start_timer(self.bounds.header_seconds)

    def _frame(self) -> Framing:
        if self._framing is None:
            self._framing = Framing()
        return self._framing

    def _check_rest(self, count: int) -> None:
        # The rest of a body that was refused, or line ends between two requests: thrown away, but not for ever.
        self._start_timer(self.bounds.body_seconds if self._in_message else self.bounds.idle_seconds)
        self._refused_bytes += count
        if self._refused_bytes > constants.REFUSED_BYTES_READ_MAX:
            self._close()

    def _parse_without_upgrade(self, rest: bytes) -> None:
        # The parser takes what follows such a head for the other protocol. We speak none, so the request is read again
        # without the wish: curl and Java send one by default, with a body behind it.
        if not self._wishes_upgrade:
            self.cycle.keep_alive = False
            return
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._parse(b"\r\n".join([*lines, b"", rest]))

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
            self._refuse(RequestTimeoutError("The headers did not arrive in time."))
        else:
            self._close()

    def _refuse(self, error: SessionaryError) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self._ends_after_answers():
            self._pause()
            return
        in_body = self._in_message and not self._in_head
        if not in_body or not self.cycle.response_started:
            self.transport.write(self._encoded(error))
        if isinstance(error, OverloadedError):
            self._close()
            return
        if in_body:
            self.cycle.give_up()
        # What was kept of the request goes now.
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.headers = b"", []
        self.flow.waiting = False
        self.flow.resume_reading()
        self._farewell = Farewell(self.transport, self.loop, self._close)

    def _ends_after_answers(self) -> bool:
        """Read no more; tell whether answers to what was asked before are still to come, of which the last closes."""
        self._ended = True
        self._unparsed = b""
        if self._in_message and not self._in_head:
            if not self.pipeline:
                return False
            # The one whose body was not whole will not be.
            self.pipeline.popleft()[0].give_up()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._answering
        if self.cycle is None or self.cycle.response_complete:
            return False
        self.cycle.keep_alive = False
        return True
