"""No request leaves a reference cycle behind, however it ends; tested with the garbage collector switched off."""

import os
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET, create_connection, socket

import pytest

from tests.harness.server import ServerProcess
from tests.harness.waiting import poll
from tests.hostile.process_stats import socket_count
from tests.http.callers import as_json, message, unknown_id
from tests.http.raw_connection import RawConnection, head

REQUESTS = 500
OBJECTS_MAX = 200
"""How many objects 500 requests may leave in cycles in total; one cycle per request would be thousands."""
SESSIONS = "/api/v3/organizations/demo/ai/sessions"

# Run by the server's interpreter when it starts: switches the collector off, and counts on a signal.
SITECUSTOMIZE = """
import gc, os, signal, sys

def count(*_):
    found = gc.collect()
    with open(os.environ["FOUND"] + ".part", "w") as file:
        file.write(str(found))
    os.rename(os.environ["FOUND"] + ".part", os.environ["FOUND"])

gc.disable()
if sys.argv[1:2] == ["serve"] or "serve" in sys.orig_argv:
    signal.signal(signal.SIGUSR1, count)
"""


class CycleServer:
    """A server with the garbage collector switched off, which counts its garbage on a signal."""

    def __init__(self, server: ServerProcess, token: str, count_file: Path) -> None:
        self.server = server
        self.authorization = {"Authorization": f"Bearer {token}"}
        self._count_file = count_file
        self.idle_sockets = socket_count(server.pid)

    def count_cycles(self) -> int:
        """Return how many objects only the collector can free, and free them."""
        poll(lambda: socket_count(self.server.pid) <= self.idle_sockets, "the end of all connections")
        self._count_file.unlink(missing_ok=True)
        os.kill(self.server.pid, signal.SIGUSR1)
        with RawConnection(self.server.port) as wire:
            # The signal is handled at the next iteration of the event loop.
            wire.send(head("GET", "/health/live"))
            wire.receive()
        return int(
            poll(
                lambda: self._count_file.read_text() if self._count_file.exists() else "", "the result of the collector"
            )
        )

    def head(self, method: str, path: str = "", **headers: str) -> bytes:
        """Encode the head of a request with the token."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return head(method, SESSIONS + path, self.authorization | named)

    def request(self, method: str, path: str = "", body: bytes = b"", **headers: str) -> bytes:
        """Encode a request with the token and a body."""
        return self.head(method, path, Content_Length=str(len(body)), **headers) + body


@pytest.fixture(scope="module")
def cycle_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CycleServer]:
    directory = tmp_path_factory.mktemp("counted")
    (directory / "sitecustomize.py").write_text(SITECUSTOMIZE)
    paths = [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "FOUND": str(directory / "found")}
    arguments = ("--body-seconds=0.2", "--header-seconds=0.2")
    with ServerProcess(f"sqlite:///{directory}/store.db", *arguments, environment=environment) as server:
        cycle_server = CycleServer(server, server.create_token(all_organisations=True), directory / "found")
        _send_each(cycle_server, cycle_server.request("POST", body=b'{"userId":"u"}'))
        cycle_server.count_cycles()
        yield cycle_server


def _send_each(cycle_server: CycleServer, *requests: bytes) -> list[int]:
    """Send requests over one connection, each after the response to the one before; returns the statuses."""
    statuses = []
    with RawConnection(cycle_server.server.port) as wire:
        for request in requests:
            wire.send(request)
            statuses.append(wire.receive(bodiless=request.startswith(b"HEAD ")).status)
    return statuses


def _send_and_reset(cycle_server: CycleServer, sent: bytes) -> None:
    """Send bytes and reset the connection."""
    with create_connection(("127.0.0.1", cycle_server.server.port), timeout=10) as wire:
        wire.sendall(sent)
        _reset_on_close(wire)


def _send_and_close(cycle_server: CycleServer, sent: bytes) -> None:
    with RawConnection(cycle_server.server.port) as wire:
        wire.send(sent)


def _reset_on_close(wire: socket) -> None:
    wire.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


def _updates(*messages: object) -> bytes:
    return as_json({"newMessages": list(messages)})


REQUEST_KINDS: dict[str, tuple[int, Callable[[CycleServer], bytes]]] = {
    "created": (201, lambda it: it.request("POST", body=b'{"userId":"u"}')),
    "listed": (200, lambda it: it.head("GET", "?limit=1")),
    "head": (200, lambda it: it.head("HEAD", "?limit=1")),
    "live": (200, lambda _: head("GET", "/health/live")),
    "ready": (200, lambda _: head("GET", "/health/ready")),
    "no path": (404, lambda _: head("GET", "/x")),
    "no method": (405, lambda it: it.head("PATCH")),
    "no token": (401, lambda _: head("GET", SESSIONS)),
    "bad token": (401, lambda _: head("GET", SESSIONS, {"Authorization": "Bearer sny_x"})),
    "no session": (404, lambda it: it.head("GET", f"/{unknown_id()}")),
    "no session to update": (404, lambda it: it.request("PUT", f"/{unknown_id()}", _updates(message()))),
    "bad parameter": (400, lambda it: it.head("GET", "?limit=x")),
    "bad json": (400, lambda it: it.request("POST", body=b"{")),
    "key twice": (400, lambda it: it.request("POST", body=b'{"userId":"u","userId":"u"}')),
    "bad message": (400, lambda it: it.request("PUT", f"/{unknown_id()}", _updates({"role": "x"}))),
    "bad type": (415, lambda it: it.request("POST", body=b"{}", Content_Type="text/plain")),
    "too many headers": (431, lambda it: it.head("GET", X_Filler="x" * 40_000)),
    "trailers": (
        201,
        lambda it: it.head("POST", Transfer_Encoding="chunked") + b'e\r\n{"userId":"u"}\r\n0\r\nX: y\r\n\r\n',
    ),
    "continue": (401, lambda _: head("POST", SESSIONS, {"Expect": "100-continue", "Content-Length": "0"})),
    "upgrade": (404, lambda _: head("GET", "/x", {"Connection": "Upgrade", "Upgrade": "h2c"})),
    "key": (201, lambda it: it.request("POST", body=b'{"userId":"u"}', Idempotency_Key=unknown_id())),
}


@pytest.mark.parametrize("kind", REQUEST_KINDS)
def test_an_answered_request_leaves_no_cycle(cycle_server: CycleServer, kind: str) -> None:
    status, request = REQUEST_KINDS[kind]
    statuses = _send_each(cycle_server, *(request(cycle_server) for _ in range(REQUESTS)))
    assert statuses == [status] * REQUESTS
    assert cycle_server.count_cycles() < OBJECTS_MAX


@pytest.mark.parametrize("kind", ["created", "no path", "bad json", "no token"])
def test_a_connection_for_each_request_leaves_no_cycle(cycle_server: CycleServer, kind: str) -> None:
    status, request = REQUEST_KINDS[kind]
    for _ in range(REQUESTS):
        assert _send_each(cycle_server, request(cycle_server)) == [status]
    assert cycle_server.count_cycles() < OBJECTS_MAX


CUT_KINDS: dict[str, Callable[[CycleServer], bytes]] = {
    "nothing sent": lambda _: b"",
    "in its headers": lambda it: it.head("GET")[:-5],
    "in its body": lambda it: it.request("POST", body=b'{"userId":"u"}')[:-1],
    "before its response": lambda it: it.head("GET"),
    "in a pipeline": lambda it: it.head("GET", "?limit=1") * 50,
    "in a pipeline's body": lambda it: it.head("GET") * 3 + it.request("POST", body=b'{"userId":"u"}')[:-1],
    "garbage": lambda _: b"garbage\r\n\r\n",
    "garbage in a pipeline": lambda it: it.head("GET") * 3 + b"garbage\r\n\r\n",
}


@pytest.mark.parametrize("send", [_send_and_reset, _send_and_close], ids=["reset", "closed"])
@pytest.mark.parametrize("kind", CUT_KINDS)
def test_a_connection_that_is_cut_leaves_no_cycle(
    cycle_server: CycleServer, kind: str, send: Callable[[CycleServer, bytes], None]
) -> None:
    for _ in range(REQUESTS):
        send(cycle_server, CUT_KINDS[kind](cycle_server))
    assert cycle_server.count_cycles() < OBJECTS_MAX


@pytest.mark.parametrize("kind", ["nothing sent", "in its headers", "in its body"])
def test_a_request_that_times_out_leaves_no_cycle(cycle_server: CycleServer, kind: str) -> None:
    wires = [RawConnection(cycle_server.server.port) for _ in range(200)]
    for wire in wires:
        wire.send(CUT_KINDS[kind](cycle_server))
    for wire in wires:
        assert wire.rest().startswith(b"HTTP/1.1 408 ")
        wire.__exit__()
    assert cycle_server.count_cycles() < OBJECTS_MAX
