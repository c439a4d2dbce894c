"""A request and the answer to it, on one of the server's connections."""

import asyncio
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from msgspec import Struct
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from sessionary.http.replies import Header
from sessionary.http.undelivered import DELIVERY

_JOINED_BYTES_MAX: Final = 64 * 1024
"""Beyond this copying a body costs more than another write."""
_CLOSE: Final = (b"connection", b"close")


class Bounds(Struct, frozen=True):
    """What a connection may take, and how many there may be."""

    header_seconds: float
    body_seconds: float
    idle_seconds: float
    connections: int


def describe(scope: Any, method: bytes, version: str, url: Any) -> None:
    """Say in a request's scope what its first line says."""
    path = url.path.decode("ascii")
    scope["method"] = method.decode("ascii")
    scope["http_version"] = version
    scope["path"] = urllib.parse.unquote(path) if "%" in path else path
    scope["raw_path"] = url.path
    scope["query_string"] = url.query or b""


class Reading(FlowControl):
    """Whether bytes are read from a connection: not while requests wait for their turn, whoever asks for more."""

    waiting = False

    def resume_reading(self) -> None:
        """Read on, unless requests wait."""
        if not self.waiting:
            super().resume_reading()


class Exchange(RequestResponseCycle):
    """A request and its answer, of which head and body leave in one write: a write costs more than encoding them.

    For an application that says the length of every body and sends it in one piece. Nothing here refers back to the
    exchange: what is answered is gone at once, without the garbage collector.
    """

    date_header: Callable[[], Header]
    _head = b""

    @classmethod
    def of(cls, protocol: HttpToolsProtocol, date_header: Callable[[], Header], *, keep_alive: bool) -> Self:
        """Take up the request whose head a protocol has just read."""
        exchange = cls(
            scope=protocol.scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=protocol.expect_100_continue,
            keep_alive=keep_alive,
            on_response=protocol.on_response_complete,
        )
        exchange.date_header = date_header
        return exchange

    async def send(self, message: Any) -> None:
        """Take the head, then the body, and write them."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self.response_started = True
            self.waiting_for_100_continue = False
            self._head = self._encoded(message["status"], message["headers"])
            return
        body: bytes = message["body"]
        if len(body) <= _JOINED_BYTES_MAX:
            body = self._head + body
        else:
            self.transport.write(self._head)
            self.scope[DELIVERY].written += len(self._head)  # type: ignore[typeddict-item]
        self.transport.write(body)
        self.scope[DELIVERY].written += len(body)  # type: ignore[typeddict-item]
        self.response_complete = True
        # What was not asked for of its body will not be.
        self.body: bytearray = bytearray()
        self.message_event.set()
        if not self.keep_alive:
            self.scope[DELIVERY].closes = True  # type: ignore[typeddict-item]
            self.transport.close()
        self.on_response()

    def holds_much(self) -> bool:
        """Tell whether no more of the body shall come before the application has taken what is there."""
        return not self.response_complete and len(self.body) > HIGH_WATER_LIMIT

    def give_up(self) -> None:
        """Tell the application that nobody waits for the answer, and let go of the connection."""
        self.disconnected = True
        self.message_event.set()
        self.on_response = _nothing

    def _encoded(self, status: int, headers: Sequence[Header]) -> bytes:
        if _CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers = [*headers, _CLOSE]
        headers = [self.date_header(), *headers]
        head = STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers]) + b"\r\n"
        if head.count(b"\n") != len(headers) + 2 or head.count(b"\r") != len(headers) + 2:
            raise AssertionError("a header breaks its line")
        return head


def _nothing() -> None:
    """Do nothing: nobody is left to be told."""
