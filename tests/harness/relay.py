"""A proxy that cuts connections at a chosen point of one request, in its own threads, for blocking clients."""

import contextlib
import socket
import ssl
import struct
import threading
from pathlib import Path
from typing import Final, Literal, Self

Cut = Literal["before", "under way", "reset", "unread", "swallowed", "inside"]

_SECONDS: Final = 60
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_FILLER: Final = b"GET /openapi.json HTTP/1.1\r\nHost: here\r\n\r\n"
_RECEIVE_BYTES: Final = 2048


class Relay:
    """Forwards complete requests and responses, one after another; `plan` lists how to cut the next ones.

    `before`: the request is not forwarded. `under way`, `reset`: it is forwarded, and both connections are closed, or
    reset, at once. `unread`: it is forwarded behind another request whose response is not read, so that its response
    waits in the server's kernel; once `cut` is set both connections are closed. `swallowed`: the response is read and
    not forwarded. `inside`: half of the response is forwarded. With a certificate both sides use TLS.
    """

    def __init__(self, port: int, certificate: Path | None = None, key: Path | None = None) -> None:
        self.plan: list[Cut] = []
        self.cut = threading.Event()
        self.passed: list[bytes] = []
        """The requests that were forwarded."""
        self.responses: list[bytes] = []
        """The responses that were read."""
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._inwards: ssl.SSLContext | None = None
        self._outwards: ssl.SSLContext | None = None
        if certificate is not None and key is not None:
            self._inwards = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._inwards.load_cert_chain(certificate, key)
            self._outwards = ssl.create_default_context(cafile=str(certificate))

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.cut.set()
        # Closing alone does not wake threads that are blocked on the socket.
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(_SECONDS)

    @property
    def base_url(self) -> str:
        """The base URL of the server through this proxy."""
        return f"{'https' if self._inwards else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"

    def _start(self, run: object, *given: object) -> None:
        thread = threading.Thread(target=run, args=given, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._start(self._serve, connection)

    def _serve(self, accepted: socket.socket) -> None:
        opened: list[socket.socket] = [accepted]
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(_close_all, opened)
            client = accepted if self._inwards is None else self._inwards.wrap_socket(accepted, server_side=True)
            opened[0] = client
            server = self._connect()
            # The server's connection is closed first.
            opened.insert(0, server)
            self._open |= {client, server}
            stack.callback(lambda: self._open.difference_update((client, server)))
            while request := _read_message(client):
                if not self._relay(request, client, server):
                    return

    def _connect(self) -> socket.socket:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        server.settimeout(_SECONDS)
        server.connect(("127.0.0.1", self._port))
        return server if self._outwards is None else self._outwards.wrap_socket(server, server_hostname="127.0.0.1")

    def _relay(self, request: bytes, client: socket.socket, server: socket.socket) -> bool:
        cut = self.plan.pop(0) if self.plan else None
        if cut == "before":
            return False
        server.sendall(_FILLER + request if cut == "unread" else request)
        self.passed.append(request)
        if cut == "reset":
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if cut == "unread":
            self.cut.wait(_SECONDS)
        if cut in {"under way", "reset", "unread"}:
            return False
        response = _read_message(server)
        self.responses.append(response)
        if cut == "swallowed":
            return False
        client.sendall(response[: len(response) // 2] if cut == "inside" else response)
        return cut != "inside" and bool(response)


def _close_all(opened: list[socket.socket]) -> None:
    for each in opened:
        each.close()


def _read_message(connection: socket.socket) -> bytes:
    """Read a request or response with a content-length; returns nothing if the connection has ended."""
    message = b""
    while b"\r\n\r\n" not in message:
        part = connection.recv(65_536)
        if not part:
            return b""
        message += part
    head = message.partition(b"\r\n\r\n")[0].lower()
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(message) < len(head) + 4 + length:
        part = connection.recv(65_536)
        if not part:
            return b""
        message += part
    return message
