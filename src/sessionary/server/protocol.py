"""The HTTP protocol of the server's connections: that of uvicorn, with the limits that it lacks.

Headers that are too long or too slow, too many connections, and invalid HTTP are refused here, with problem documents
like all other errors. A client that goes on sending after an error, or does not read its responses, is disconnected.
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
from sessionary.server.chunked_framing import ChunkedFraming
from sessionary.server.clock import date_headers, request_ids
from sessionary.server.pipelining import PipeliningProtocol
from sessionary.server.protocol_errors import HEADERS_TOO_LARGE_DETAIL, LingeringClose, error_of_parser, validate_head
from sessionary.server.request_cycle import ConnectionLimits, build_scope

_HEADERS_MAX: Final = constants.HEADERS_MAX
_HEADERS_BYTES_MAX: Final = constants.HEADERS_BYTES_MAX
_PART_BYTES_MAX: Final = 1024
_BODY_PART_BYTES_MAX: Final = 4 * 1024
"""How much is parsed at once: the parser cannot be stopped in between, and a few bytes may be a whole request."""
_CHUNKS_AT_ONCE_MAX: Final = 500
"""After so many chunks the event loop runs other connections: chunks of one byte are slow to parse."""


def make_protocol_class(
    limits: ConnectionLimits, on_unavailable: Callable[[SessionaryError], None] = lambda _: None
) -> type[HttpToolsProtocol]:
    """Make a protocol class with these limits; ``on_unavailable`` is called with each error that is a 503."""
    attributes = {
        "limits": limits,
        "request_ids": staticmethod(request_ids()),
        "date_header": staticmethod(date_headers()),
        "on_unavailable": staticmethod(on_unavailable),
    }
    return type("Protocol", (_Protocol,), attributes)


class _Protocol(PipeliningProtocol):
    """One connection of a client."""

    _in_head = True
    _wants_upgrade = False
    _has_ended = False
    _refusal: SessionaryError | None = None
    _head_bytes = 0
    _headers_bytes = 0
    _ignored_bytes = 0
    _has_dropped_headers = False
    _framing: ChunkedFraming | None = None
    _unparsed = b""
    _timer: asyncio.TimerHandle | None = None
    _lingering_close: LingeringClose | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(OverloadedError(reason=f"all {self.limits.connections} connections are taken"))
        else:
            self._timer = self.loop.call_later(self.limits.header_seconds, self._on_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._lingering_close is not None:
            self._lingering_close.stop()
            self._lingering_close = None
        self._unparsed = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._has_ended or self.transport.is_closing():
            if self._lingering_close is not None:
                self._lingering_close.discard(len(data))
            return
        if self.flow.is_held:
            self._unparsed += data
        elif len(data) <= _PART_BYTES_MAX:
            self._parse(data)
            if self.pipeline:
                self._hold()
        else:
            self._unparsed = data
            self._parse_more()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's never keeps the connection open
        """Keep the connection open if a client that sends nothing more still waits for responses."""
        self._delivery.end()
        return self._close_after_responses()

    def on_message_begin(self) -> None:
        self._in_head = self._in_message = True
        self._head_bytes = self._headers_bytes = self._ignored_bytes = 0
        self._framing = None
        self._has_dropped_headers = self.expect_100_continue = False
        self.url, self.headers = b"", []

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name) + len(value) + 4
        if not self._in_head:
            # A trailer is never a header.
            self._get_framing().on_trailer(size)
            return
        before, headers = self._headers_bytes, self.headers
        self._headers_bytes = before + size
        # Headers beyond the limit are dropped and the request is refused: one of them may say where the body ends.
        if before > _HEADERS_BYTES_MAX or len(headers) > _HEADERS_MAX:
            self._has_dropped_headers = True
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        headers.append((name, value))

    def on_headers_complete(self) -> None:
        method = self.parser.get_method()
        self._wants_upgrade = self.parser.should_upgrade() and method != b"CONNECT"
        if self._wants_upgrade and self._has_dropped_headers:
            # Parsed again without the upgrade, it might lack a dropped header that says where its body ends.
            self._refusal = HeadersTooLargeError(HEADERS_TOO_LARGE_DETAIL)
            raise self._refusal
        if self._wants_upgrade:
            return
        version = self.parser.get_http_version()
        self._refusal = validate_head(version, self.url, self.headers)
        if self._refusal is not None:
            raise self._refusal
        scope = build_scope(method, self.url, self.headers, self.client, self._delivery)
        if self.expect_100_continue:
            self._delivery.stop_counting()
        self._in_head = False
        self._enqueue(scope, keep_alive=version != "1.0" and self.parser.should_keep_alive())

    def on_chunk_header(self) -> None:
        self._get_framing().on_chunk()

    def on_body(self, body: bytes) -> None:
        if self._framing is not None:
            self._framing.on_body(len(body))
        if self.cycle.response_complete:
            return
        self.cycle.add_body(body)
        if self.cycle.is_body_buffer_full():
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if self._wants_upgrade:
            return
        self._in_message = False
        if not self.cycle.response_complete:
            self.cycle.end_body()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.flow.is_held and not self.pipeline and not self.transport.is_closing():
            self._parse_more()

    def _hold(self) -> None:
        """Stop reading until the waiting requests are answered, without a time limit."""
        self._stop_timer()
        self.flow.is_held = True
        self.flow.pause_reading()

    def _parse_more(self) -> None:
        """Parse the received data, part by part, until a request has to wait for the response to another."""
        data, at, has_enough_chunks = self._unparsed, 0, False
        last_chunk = self._chunk_count() + _CHUNKS_AT_ONCE_MAX
        while at < len(data) and not (
            has_enough_chunks or self.pipeline or self._has_ended or self.transport.is_closing()
        ):
            size = _PART_BYTES_MAX if self._in_head or not self._in_message else _BODY_PART_BYTES_MAX
            self._parse(data[at : at + size])
            at += size
            has_enough_chunks = self._chunk_count() > last_chunk
        if self._lingering_close is not None:
            self._lingering_close.discard(len(data) - at)
            return
        self._unparsed = b"" if self._has_ended or self.transport.is_closing() else data[at:]
        if self.pipeline or self._unparsed or self._has_ended:
            self._hold()
            if has_enough_chunks and not self._has_ended:
                self.loop.call_soon(self._parse_rest_later)
            return
        self.flow.is_held = False
        if self._in_head and self._in_message:
            self._start_timer(self.limits.header_seconds)
        if self.cycle is None or not self.cycle.is_body_buffer_full():
            self.flow.resume_reading()

    def _parse_rest_later(self) -> None:
        if self.flow.is_held and not (self.pipeline or self._has_ended or self.transport.is_closing()):
            self._parse_more()

    def _chunk_count(self) -> int:
        return 0 if self._framing is None else self._framing.chunks

    def _parse(self, data: bytes) -> None:
        cycle, in_body = self.cycle, self._in_message and not self._in_head
        if in_body:
            self._get_framing().start_part()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_without_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            refusal = self._refusal or error_of_parser(error)
            # The traceback would keep its frames alive.
            refusal.__traceback__, self._refusal = None, None
            self._refuse(refusal)
            return
        if self._in_head:
            self._check_head(len(data))
        elif in_body and self._in_message and self.cycle is cycle and self._get_framing().exceeds_limits(len(data)):
            self._refuse(InvalidRequestError("The chunked body has too much framing."))
        if not self._in_head:
            if self.cycle.response_complete:
                self._check_ignored_bytes(len(data))
            elif self._timer is not None:
                self._stop_timer()

    def _check_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > constants.HEAD_BYTES_MAX:
            is_target = len(self.url) > constants.HEAD_BYTES_MAX // 2
            self._refuse(QueryTooLongError() if is_target else HeadersTooLargeError(HEADERS_TOO_LARGE_DETAIL))
        else:
            self._start_timer(self.limits.header_seconds)

    def _get_framing(self) -> ChunkedFraming:
        if self._framing is None:
            self._framing = ChunkedFraming()
        return self._framing

    def _check_ignored_bytes(self, count: int) -> None:
        # The rest of a refused body, or line breaks between two requests: discarded, but not without limit.
        self._start_timer(self.limits.body_seconds if self._in_message else self.limits.idle_seconds)
        self._ignored_bytes += count
        if self._ignored_bytes > constants.REFUSED_BYTES_READ_MAX:
            self._close()

    def _parse_without_upgrade(self, rest: bytes) -> None:
        # The parser treats what follows as another protocol. No upgrade is supported, so the request is parsed again
        # without its upgrade header: curl and Java send one by default, followed by a body.
        if not self._wants_upgrade:
            self.cycle.keep_alive = False
            return
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._parse(b"\r\n".join([*lines, b"", rest]))

    def _start_timer(self, seconds: float) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(seconds, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        self._timer = None
        if self._in_head:
            self._refuse(RequestTimeoutError("The headers did not arrive in time."))
        else:
            self._close()

    def _refuse(self, error: SessionaryError) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self._close_after_responses():
            self._hold()
            return
        in_body = self._in_message and not self._in_head
        if not in_body or not self.cycle.response_started:
            self.transport.write(self._encode_error(error))
        if isinstance(error, OverloadedError):
            self._close()
            return
        if in_body:
            self.cycle.abort()
        # Free what is stored of the request.
        self.parser = httptools.HttpRequestParser(self)
        self.url, self.headers = b"", []
        self.flow.is_held = False
        self.flow.resume_reading()
        self._lingering_close = LingeringClose(self.transport, self.loop, self._close)

    def _close_after_responses(self) -> bool:
        """Parse nothing more; returns whether responses are still due, the last of which closes the connection."""
        self._has_ended = True
        self._unparsed = b""
        if self._in_message and not self._in_head:
            if not self.pipeline:
                return False
            # The body of the last request will never be complete.
            self.pipeline.popleft()[0].abort()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._current_cycle
        if self.cycle is None or self.cycle.response_complete:
            return False
        self.cycle.keep_alive = False
        return True
