"""A raw connection: the bytes a test wants, and the responses as they come."""

import contextlib
import socket
from collections.abc import Iterable, Mapping
from typing import Final, Self

from tests.harness.waiting import Deadline
from tests.http.callers import Response

_WITHOUT_BODY: Final = frozenset({100, 304})


class ConnectionClosedError(Exception):
    """The server closed the connection before the response was whole."""


class RawConnection:
    """One TCP connection to a server on this machine; responses are read in the order they come."""

    def __init__(self, port: int, seconds: float = 10) -> None:
        self._seconds = seconds
        self._received = b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *parts: bytes) -> None:
        """Send bytes, in one piece."""
        self._socket.sendall(b"".join(parts))

    def send_until_closed(self, parts: Iterable[bytes]) -> None:
        """Send piece after piece until all are sent or the server closes the connection."""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                self._socket.sendall(part)

    def end(self) -> None:
        """Close the sending side, and keep reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def receive(self, *, bodiless: bool = False) -> Response:
        """Read one response."""
        head, _, rest = self._until(b"\r\n\r\n").partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        status = int(line.split(" ")[1])
        length = 0 if bodiless or status in _WITHOUT_BODY else int(headers["content-length"])
        while len(rest) < length:
            rest += self._more()
        self._received = rest[length:]
        return Response(status, headers, rest[:length])

    def rest(self, seconds: float | None = None) -> bytes:
        """Read until the server closes the connection, which it must, and return what came before that."""
        deadline = Deadline(self._seconds if seconds is None else seconds)
        with contextlib.suppress(ConnectionClosedError, ConnectionError):
            while True:
                deadline.check("the end of the connection")
                self._socket.settimeout(deadline.remaining or 0.001)
                self._received += self._more()
        return self._received

    def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._received += self._more()
        return self._received

    def _more(self) -> bytes:
        received = self._socket.recv(1 << 20)
        if not received:
            raise ConnectionClosedError
        return received


def head(method: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Encode a request line and headers."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: here",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunked(body: bytes, size: int = 1 << 16) -> Iterable[bytes]:
    """Encode a body in chunks."""
    for start in range(0, len(body), size):
        part = body[start : start + size]
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"
