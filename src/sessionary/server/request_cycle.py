"""One request and its response on a connection."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import httptools
from msgspec import Struct
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from sessionary.errors import InternalServerError, InvalidRequestError, SessionaryError, StoreUnavailableError
from sessionary.server.http.responses import Header
from sessionary.server.http.undelivered import DELIVERY, Delivery

_JOINED_BYTES_MAX: Final = 64 * 1024
"""For larger bodies a second write is cheaper than joining head and body."""
_CLOSE: Final = (b"connection", b"close")

_logger: Final = logging.getLogger("sessionary.server.protocol")


class ConnectionLimits(Struct, frozen=True):
    """The time limits of a connection, and the number of connections."""

    header_seconds: float
    body_seconds: float
    idle_seconds: float
    connections: int


def _path_and_query(target: bytes) -> tuple[bytes, bytes]:
    if not target.isascii():
        raise InvalidRequestError
    if target.startswith(b"/"):
        path, _, query = target.partition(b"?")
        return path, query
    url = httptools.parse_url(target)
    return url.path, url.query or b""


def build_scope(
    method: bytes, target: bytes, headers: Sequence[Header], client: Any, delivery: Delivery
) -> dict[str, Any]:
    """Build the ASGI scope of a request; raises InvalidRequestError, or an error of the parser."""
    path, query = _path_and_query(target)
    return {
        "type": "http",
        "method": method.decode("ascii"),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
        "client": client,
        DELIVERY: delivery,
    }


class PausableFlowControl(FlowControl):
    """Flow control that can be held: then reading stays paused, because pipelined requests are waiting."""

    is_held = False

    def resume_reading(self) -> None:
        """Resume reading, unless it is held."""
        if not self.is_held:
            super().resume_reading()


class RequestCycle:
    """One request and its response, whose head and body are sent in one write.

    The application must set content-length and send the body in one message. After the response there are no reference
    cycles left, so that everything is freed without the garbage collector.
    """

    __slots__ = (
        "_body_ends",
        "_date_header",
        "_event",
        "_flow",
        "_head",
        "_on_failure",
        "_on_response",
        "_transport",
        "body",
        "disconnected",
        "expects_continue",
        "keep_alive",
        "response_complete",
        "response_started",
        "scope",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - called in one place, for every request
        self,
        scope: dict[str, Any],
        transport: asyncio.Transport,
        flow: PausableFlowControl,
        date_header: Callable[[], Header],
        on_response: Callable[[], None],
        on_failure: Callable[[SessionaryError], bytes],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        """Start with a request whose head was parsed; ``on_failure`` encodes the response to an internal error."""
        self.scope: Final = scope
        self.keep_alive: bool = keep_alive
        self.expects_continue: bool = expects_continue
        self.body: bytearray | bytes = b""
        """The part of the body that has arrived and was not yet received by the application."""
        self.disconnected: bool = False
        self.response_started: bool = False
        self.response_complete: bool = False
        self._transport: Final = transport
        self._flow: Final = flow
        self._date_header: Final = date_header
        self._on_response = on_response
        self._on_failure: Final = on_failure
        self._body_ends = False
        self._head = b""
        self._event: asyncio.Event | None = None

    async def run(self, application: Callable[..., Awaitable[None]]) -> None:
        """Call the application, and answer with an error if it raises one."""
        try:
            await application(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            # The server is stopping. It is unknown whether the request was applied.
            self._fail(StoreUnavailableError())
        except Exception:
            _logger.exception("A request failed because of an internal error.")
            self._fail(InternalServerError())
        else:
            if not self.response_complete and not self.disconnected:
                _logger.error("A request was not answered.")
                self._fail(InternalServerError())
        finally:
            self._on_response = _do_nothing

    async def receive(self) -> dict[str, Any]:
        """ASGI receive: wait for a part of the body, its end, or the end of the connection."""
        if self.expects_continue and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.expects_continue = False
        while not (self.disconnected or self.response_complete):
            if self._flow.read_paused:
                self._flow.resume_reading()
            if self.body or self._body_ends:
                message = {"type": "http.request", "body": bytes(self.body), "more_body": not self._body_ends}
                self.body, self._body_ends = b"", False
                return message
            self._event = asyncio.Event()
            await self._event.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """ASGI send: take the head, then the body, and write both."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self.response_started = True
            self.expects_continue = False
            self._head = self._encode_head(message["status"], message["headers"])
            return
        body: bytes = message["body"]
        delivery = self.scope[DELIVERY]
        if len(body) <= _JOINED_BYTES_MAX:
            body = self._head + body
        else:
            self._transport.write(self._head)
            delivery.written += len(self._head)
        self._transport.write(body)
        delivery.written += len(body)
        if not self.keep_alive:
            delivery.closes = True
        self._complete()

    def add_body(self, body: bytes) -> None:
        """Add a part of the request body."""
        if self.body:
            self.body += body
        else:
            self.body = bytearray(body)
        self._wake()

    def end_body(self) -> None:
        """Record that the request body is complete."""
        self._body_ends = True
        self._wake()

    def is_body_buffer_full(self) -> bool:
        """Whether reading should pause until the application has received the buffered body."""
        return not self.response_complete and len(self.body) > HIGH_WATER_LIMIT

    def abort(self) -> None:
        """Disconnect the application from the connection: nobody waits for the response any more."""
        self.disconnected = True
        self._on_response = _do_nothing
        self._wake()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()

    def _complete(self) -> None:
        self.response_complete = True
        # The application will not receive the rest of the body.
        self.body = b""
        self._wake()
        if not self.keep_alive:
            self._transport.close()
        self._on_response()

    def _fail(self, error: SessionaryError) -> None:
        if self.disconnected:
            return
        self.keep_alive = False
        if not self.response_started:
            self._transport.write(self._on_failure(error))
        self._complete()

    def _encode_head(self, status: int, headers: Sequence[Header]) -> bytes:
        if _CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers = [*headers, _CLOSE]
        headers = [self._date_header(), *headers]
        head = STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers]) + b"\r\n"
        if head.count(b"\n") != len(headers) + 2 or head.count(b"\r") != len(headers) + 2:
            raise AssertionError("a header contains a line break")
        return head


def _do_nothing() -> None:
    """Replace the callback after the response, so that the connection is not referenced any more."""
