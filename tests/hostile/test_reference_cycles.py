"""No request leaves a reference cycle behind, however it ends: with the collector off nothing would ever free it."""

import os
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET, create_connection, socket

import pytest

from tests.harness.server import ServerProcess
from tests.harness.waiting import poll
from tests.hostile.process_stats import sockets_of
from tests.http.calling import as_json, message, unknown_id
from tests.http.wires import Wire, head

REQUESTS = 500
LEFT_MAX = 200
"""What some five hundred requests may leave together; one cycle a request would be thousands."""
SESSIONS = "/api/v3/organizations/demo/ai/sessions"

# Read by the server's own interpreter as it starts: the collector is off, and counts only when it is asked to.
COUNTING = """
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


class Counted:
    """A server whose collector is off, and what it finds when it is asked."""

    def __init__(self, server: ServerProcess, token: str, found: Path) -> None:
        self.server = server
        self.authorization = {"Authorization": f"Bearer {token}"}
        self._found = found
        self.idle_sockets = sockets_of(server.pid)

    def left_over(self) -> int:
        """Count the objects that only the collector can free, and free them."""
        poll(lambda: sockets_of(self.server.pid) <= self.idle_sockets, "the end of all connections")
        self._found.unlink(missing_ok=True)
        os.kill(self.server.pid, signal.SIGUSR1)
        with Wire(self.server.port) as wire:
            # A turn of the loop lets the signal be handled.
            wire.send(head("GET", "/health/live"))
            wire.receive()
        return int(poll(lambda: self._found.read_text() if self._found.exists() else "", "what the collector found"))

    def head(self, method: str, path: str = "", **headers: str) -> bytes:
        """Encode a request's head, with the token."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return head(method, SESSIONS + path, self.authorization | named)

    def whole(self, method: str, path: str = "", body: bytes = b"", **headers: str) -> bytes:
        """Encode a request with its body, and with the token."""
        return self.head(method, path, Content_Length=str(len(body)), **headers) + body


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    directory = tmp_path_factory.mktemp("counted")
    (directory / "sitecustomize.py").write_text(COUNTING)
    paths = [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "FOUND": str(directory / "found")}
    arguments = ("--body-seconds=0.2", "--header-seconds=0.2")
    with ServerProcess(f"sqlite:///{directory}/store.db", *arguments, environment=environment) as server:
        counted = Counted(server, server.create_token(all_organisations=True), directory / "found")
        _answered(counted, counted.whole("POST", body=b'{"userId":"u"}'))
        counted.left_over()
        yield counted


def _answered(counted: Counted, *requests: bytes) -> list[int]:
    """Send these over one connection, each after the answer to the one before."""
    statuses = []
    with Wire(counted.server.port) as wire:
        for request in requests:
            wire.send(request)
            statuses.append(wire.receive(bodiless=request.startswith(b"HEAD ")).status)
    return statuses


def _reset(counted: Counted, sent: bytes) -> None:
    """Send this, and break the connection off."""
    with create_connection(("127.0.0.1", counted.server.port), timeout=10) as wire:
        wire.sendall(sent)
        _break_off(wire)


def _sent(counted: Counted, sent: bytes) -> None:
    with Wire(counted.server.port) as wire:
        wire.send(sent)


def _break_off(wire: socket) -> None:
    wire.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


def _updates(*messages: object) -> bytes:
    return as_json({"newMessages": list(messages)})


ANSWERED: dict[str, tuple[int, Callable[[Counted], bytes]]] = {
    "created": (201, lambda it: it.whole("POST", body=b'{"userId":"u"}')),
    "listed": (200, lambda it: it.head("GET", "?limit=1")),
    "head": (200, lambda it: it.head("HEAD", "?limit=1")),
    "live": (200, lambda _: head("GET", "/health/live")),
    "ready": (200, lambda _: head("GET", "/health/ready")),
    "no path": (404, lambda _: head("GET", "/x")),
    "no method": (405, lambda it: it.head("PATCH")),
    "no token": (401, lambda _: head("GET", SESSIONS)),
    "bad token": (401, lambda _: head("GET", SESSIONS, {"Authorization": "Bearer sny_x"})),
    "no session": (404, lambda it: it.head("GET", f"/{unknown_id()}")),
    "no session to update": (404, lambda it: it.whole("PUT", f"/{unknown_id()}", _updates(message()))),
    "bad parameter": (400, lambda it: it.head("GET", "?limit=x")),
    "bad json": (400, lambda it: it.whole("POST", body=b"{")),
    "key twice": (400, lambda it: it.whole("POST", body=b'{"userId":"u","userId":"u"}')),
    "bad message": (400, lambda it: it.whole("PUT", f"/{unknown_id()}", _updates({"role": "x"}))),
    "bad type": (415, lambda it: it.whole("POST", body=b"{}", Content_Type="text/plain")),
    "too many headers": (431, lambda it: it.head("GET", X_Filler="x" * 40_000)),
    "trailers": (
        201,
        lambda it: it.head("POST", Transfer_Encoding="chunked") + b'e\r\n{"userId":"u"}\r\n0\r\nX: y\r\n\r\n',
    ),
    "continue": (401, lambda _: head("POST", SESSIONS, {"Expect": "100-continue", "Content-Length": "0"})),
    "upgrade": (404, lambda _: head("GET", "/x", {"Connection": "Upgrade", "Upgrade": "h2c"})),
    "key": (201, lambda it: it.whole("POST", body=b'{"userId":"u"}', Idempotency_Key=unknown_id())),
}


@pytest.mark.parametrize("kind", ANSWERED)
def test_an_answered_request_leaves_no_cycle(counted: Counted, kind: str) -> None:
    status, request = ANSWERED[kind]
    statuses = _answered(counted, *(request(counted) for _ in range(REQUESTS)))
    assert statuses == [status] * REQUESTS
    assert counted.left_over() < LEFT_MAX


@pytest.mark.parametrize("kind", ["created", "no path", "bad json", "no token"])
def test_a_connection_for_each_request_leaves_no_cycle(counted: Counted, kind: str) -> None:
    status, request = ANSWERED[kind]
    for _ in range(REQUESTS):
        assert _answered(counted, request(counted)) == [status]
    assert counted.left_over() < LEFT_MAX


CUT: dict[str, Callable[[Counted], bytes]] = {
    "nothing sent": lambda _: b"",
    "in its headers": lambda it: it.head("GET")[:-5],
    "in its body": lambda it: it.whole("POST", body=b'{"userId":"u"}')[:-1],
    "before its answer": lambda it: it.head("GET"),
    "in a pipeline": lambda it: it.head("GET", "?limit=1") * 50,
    "in a pipeline's body": lambda it: it.head("GET") * 3 + it.whole("POST", body=b'{"userId":"u"}')[:-1],
    "garbage": lambda _: b"garbage\r\n\r\n",
    "garbage in a pipeline": lambda it: it.head("GET") * 3 + b"garbage\r\n\r\n",
}


@pytest.mark.parametrize("way", [_reset, _sent], ids=["reset", "closed"])
@pytest.mark.parametrize("kind", CUT)
def test_a_connection_that_is_cut_leaves_no_cycle(
    counted: Counted, kind: str, way: Callable[[Counted, bytes], None]
) -> None:
    for _ in range(REQUESTS):
        way(counted, CUT[kind](counted))
    assert counted.left_over() < LEFT_MAX


@pytest.mark.parametrize("kind", ["nothing sent", "in its headers", "in its body"])
def test_what_is_not_in_time_leaves_no_cycle(counted: Counted, kind: str) -> None:
    wires = [Wire(counted.server.port) for _ in range(200)]
    for wire in wires:
        wire.send(CUT[kind](counted))
    for wire in wires:
        assert wire.rest().startswith(b"HTTP/1.1 408 ")
        wire.__exit__()
    assert counted.left_over() < LEFT_MAX
