"""A request and the answer to it, on one of the server's connections."""

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
"""Beyond this copying a body costs more than another write."""
_CLOSE: Final = (b"connection", b"close")

_logger: Final = logging.getLogger("sessionary.server.protocol")


class Bounds(Struct, frozen=True):
    """What a connection may take, and how many there may be."""

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


def scope_of(
    method: bytes, target: bytes, headers: Sequence[Header], client: Any, delivery: Delivery
) -> dict[str, Any]:
    """Make the ASGI scope of a request; raises InvalidRequestError, or what the parser raises."""
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


class Reading(FlowControl):
    """Whether bytes are read from a connection: not while requests wait for their turn, whoever asks for more."""

    waiting = False

    def resume_reading(self) -> None:
        """Read on, unless requests wait."""
        if not self.waiting:
            super().resume_reading()


class Exchange:
    """A request and its answer, of which head and body leave in one write: a write costs more than encoding them.

    For an application that says the length of every body and sends it in one piece. Nothing here refers back to the
    exchange: what is answered is gone at once, without the garbage collector.
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

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place, once a request
        self,
        scope: dict[str, Any],
        transport: asyncio.Transport,
        flow: Reading,
        date_header: Callable[[], Header],
        on_response: Callable[[], None],
        on_failure: Callable[[SessionaryError], bytes],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        """Take up the request whose head was just read; ``on_failure`` encodes what is answered if it fails."""
        self.scope: Final = scope
        self.keep_alive: bool = keep_alive
        self.expects_continue: bool = expects_continue
        self.body: bytearray | bytes = b""
        """What has come of the body and was not taken."""
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
        """Have the application answer; whatever it raises ends here."""
        try:
            await application(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            # The server ends, and waited long enough. Whether it was applied nobody can say.
            self._fail(StoreUnavailableError())
        except Exception:
            _logger.exception("A request failed for a reason of ours.")
            self._fail(InternalServerError())
        else:
            if not self.response_complete and not self.disconnected:
                _logger.error("A request was not answered.")
                self._fail(InternalServerError())
        finally:
            self._on_response = _nothing

    async def receive(self) -> dict[str, Any]:
        """Wait for a part of the body, or the end of it, or of the connection."""
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
        """Take the head, then the body, and write them."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self.response_started = True
            self.expects_continue = False
            self._head = self._encoded(message["status"], message["headers"])
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

    def take(self, body: bytes) -> None:
        """Take a part of the request's body."""
        if self.body:
            self.body += body
        else:
            self.body = bytearray(body)
        self._wake()

    def end_body(self) -> None:
        """Know that the request is whole."""
        self._body_ends = True
        self._wake()

    def holds_much(self) -> bool:
        """Tell whether no more of the body shall come before the application has taken what is there."""
        return not self.response_complete and len(self.body) > HIGH_WATER_LIMIT

    def give_up(self) -> None:
        """Tell the application that nobody waits for the answer, and let go of the connection."""
        self.disconnected = True
        self._on_response = _nothing
        self._wake()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()

    def _complete(self) -> None:
        self.response_complete = True
        # What was not asked for of its body will not be.
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

    def _encoded(self, status: int, headers: Sequence[Header]) -> bytes:
        if _CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers = [*headers, _CLOSE]
        headers = [self._date_header(), *headers]
        head = STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers]) + b"\r\n"
        if head.count(b"\n") != len(headers) + 2 or head.count(b"\r") != len(headers) + 2:
            raise AssertionError("a header breaks its line")
        return head


def _nothing() -> None:
    """Do nothing: nobody is left to be told."""
