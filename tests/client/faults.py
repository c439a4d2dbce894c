"""A proxy that injects faults: one for each request, as planned by the test."""

import http.client
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from msgspec import Struct


class Passed(Struct, frozen=True):
    """The response of the server behind the proxy."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def head(self) -> bytes:
        """The status line and the headers, with the length of the whole body."""
        skipped = {"content-length", "transfer-encoding", "connection"}
        kept = [f"{name}: {value}" for name, value in self.headers if name.lower() not in skipped]
        lines = [f"HTTP/1.1 {self.status} Said", *kept, f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1")


Fault = Callable[["Exchange"], None]


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and speaks to one server; use it with `with`.

    Each request that arrives takes the next fault of `plan`, and is forwarded unchanged if there is none.
    """

    def __init__(self, port_behind: int) -> None:
        self.port_behind = port_behind
        self.plan: list[Fault] = []
        self.arrived: list[str] = []
        self.forwarded: list[str] = []
        self.closing = threading.Event()
        verbs = dict.fromkeys(("do_GET", "do_POST", "do_PUT", "do_DELETE", "do_OPTIONS"), Exchange.inject_fault)
        handler = type("Handler", (Exchange,), {"proxy": self, **verbs})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def base_url(self) -> str:
        """The proxy's origin."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"


class Exchange(BaseHTTPRequestHandler):
    """One request that arrived at the proxy, and what a fault can do with it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: FaultProxy

    def inject_fault(self) -> None:
        """Take the next fault."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.proxy.arrived.append(self.command)
        fault = self.proxy.plan.pop(0) if self.proxy.plan else passed
        fault(self)

    def forward(self) -> Passed:
        """Forward the request to the server and return its response."""
        self.proxy.forwarded.append(self.command)
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port_behind, timeout=10)
        try:
            # A program that takes this for its HTTP proxy names the whole address.
            path = self.path if self.path.startswith("/") else "/" + self.path.split("/", 3)[3]
            connection.request(self.command, path, self.body, dict(self.headers.items()))
            response = connection.getresponse()
            return Passed(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def send(self, content: bytes) -> None:
        """Send bytes as they are; ignore that the client has closed the connection."""
        try:
            self.wfile.write(content)
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def reset(self) -> None:
        """Reset the connection."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


def passed(exchange: Exchange) -> None:
    """No fault."""
    response = exchange.forward()
    exchange.send(response.head() + response.body)


def dropped_before(exchange: Exchange) -> None:
    """The connection breaks before the server receives the request."""
    exchange.reset()


def dropped_after(exchange: Exchange) -> None:
    """The connection breaks after the server has carried out the request."""
    exchange.forward()
    exchange.reset()


def truncated(exchange: Exchange) -> None:
    """The connection breaks in the middle of the response."""
    response = exchange.forward()
    exchange.send(response.head() + response.body[: len(response.body) // 2])
    exchange.close_connection = True


def cut_short(exchange: Exchange) -> None:
    """The response is valid HTTP, but half of its body is missing."""
    response = exchange.forward()
    half = Passed(response.status, response.headers, response.body[: len(response.body) // 2])
    exchange.send(half.head() + half.body)


def delayed(seconds: float) -> Fault:
    """The response is late."""

    def fault(exchange: Exchange) -> None:
        exchange.proxy.closing.wait(seconds)
        passed(exchange)

    return fault


def unanswered(exchange: Exchange) -> None:
    """The request is not forwarded, and the connection stays open."""
    exchange.proxy.closing.wait()
    exchange.reset()


def trickling(seconds: float, *, head: bool) -> Fault:
    """The response arrives byte by byte: all of it, or only its body."""

    def fault(exchange: Exchange) -> None:
        response = exchange.forward()
        content = response.head() + response.body
        whole = 0 if head else len(response.head())
        exchange.send(content[:whole])
        for byte in content[whole:]:
            if exchange.close_connection or exchange.proxy.closing.wait(seconds):
                return
            exchange.send(bytes([byte]))

    return fault


def refused(status: int, *headers: tuple[str, str], body: bytes = b"") -> Fault:
    """The proxy responds itself; the server does not receive the request."""

    def fault(exchange: Exchange) -> None:
        response = Passed(status, list(headers), body)
        exchange.send(response.head() + response.body)

    return fault


def overloaded(retry_after: str = "0") -> Fault:
    """The server says that it refused the request before doing anything."""
    headers = (("Content-Type", "application/problem+json"), ("Retry-After", retry_after))
    return refused(503, *headers, body=b'{"status":503,"code":"OVERLOADED","detail":"Busy."}')
