"""Whatever an unauthenticated client sends, the memory of the server does not grow."""

import contextlib
import socket
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.harness.certificates import self_signed
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll
from tests.hostile.process_stats import MEBIBYTE, memory_bytes, reset_memory_peak
from tests.http.raw_connection import ConnectionClosedError, RawConnection, head

GROWTH_MAX = 24 * MEBIBYTE
PATH = "/api/v3/organizations/demo/ai/sessions"
CHUNKED = {"Transfer-Encoding": "chunked"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for this module only, so that its memory can be measured; no request here has a token."""
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db", "--connections=500") as server:
        with contextlib.ExitStack() as opened:
            # The memory of the first connections and responses is allocated before anything is measured.
            wires = [opened.enter_context(RawConnection(server.port)) for _ in range(50)]
            for wire in wires:
                wire.send(head("POST", PATH, {"Content-Length": "60000"}), b"x" * 60_000)
                assert wire.receive().status == 401
        yield server


@contextlib.contextmanager
def memory_stays_flat(server: ServerProcess, limit: int = GROWTH_MAX) -> Iterator[None]:
    """Check that the peak memory of a server does not grow by more than ``limit`` bytes in the block."""
    reset_memory_peak(server.pid)
    before = memory_bytes(server.pid)
    yield
    assert memory_bytes(server.pid, "VmHWM") - before < limit
    with RawConnection(server.port) as wire:
        wire.send(head("GET", "/health/live"))
        assert wire.receive().status == 200, "the server still works"


def send_all(server: ServerProcess, parts: Iterable[bytes]) -> None:
    """Send as much as the server reads over one connection, and read no response."""
    with RawConnection(server.port) as wire:
        wire.send_until_closed(parts)


TRAILERS = {
    "one trailer that never ends": [b"X: "] + [b"x" * 65_536] * 256,
    "one name that never ends": [b"x" * 65_536] * 256,
    "many small trailers": [b"a:b\r\n" * 13_000] * 256,
    "many long trailers": [b"X-Filler: %b\r\n" % (b"x" * 60_000)] * 270,
    "one trailer in small packets": [b"X: "] + [b"x" * 700] * 24_000,
}


@pytest.mark.parametrize("kind", TRAILERS)
@pytest.mark.parametrize("path", [PATH, "/x", "/health/live"])
def test_trailers_take_no_memory(server: ServerProcess, kind: str, path: str) -> None:
    with memory_stays_flat(server):
        for _ in range(4):
            send_all(server, [head("POST", path, CHUNKED), b"4\r\nabcd\r\n0\r\n", *TRAILERS[kind]])


def test_unfinished_trailers_on_many_connections_take_little_memory(server: ServerProcess) -> None:
    beginning = head("POST", PATH, CHUNKED) + b"0\r\n"
    with contextlib.ExitStack() as opened, memory_stays_flat(server):
        for _ in range(200):
            wire = opened.enter_context(RawConnection(server.port))
            with contextlib.suppress(ConnectionError):
                wire.send(beginning, b"X: ", b"x" * 200_000)


def test_many_requests_with_trailers_leave_no_memory_allocated(server: ServerProcess) -> None:
    one = head("POST", "/x", CHUNKED) + b"1\r\na\r\n0\r\n" + b"X-Filler: yyyyyyyyyyyyy\r\n" * 200 + b"\r\n"
    with memory_stays_flat(server):
        for _ in range(20):
            with RawConnection(server.port) as wire:
                for _ in range(100):
                    wire.send(one)
                    assert wire.receive().status == 404


FRAMING = {
    "a chunk extension that never ends": [b"1;"] + [b"x" * 65_536] * 512,
    "a quoted chunk extension that never ends": [b'1;a="'] + [b"x" * 65_536] * 512,
    "a size that never ends": [b"0" * 65_536] * 512,
    "many extensions": [b"1;%b\r\nx\r\n" % (b"e" * 60_000)] * 512,
}


@pytest.mark.parametrize("kind", FRAMING)
def test_the_framing_of_chunks_takes_no_memory_and_is_limited(server: ServerProcess, kind: str) -> None:
    with memory_stays_flat(server):
        for _ in range(2):
            send_all(server, [head("POST", PATH, CHUNKED), *FRAMING[kind]])


PIPELINES = {
    "bare": head("GET", "/x"),
    "the shortest": b"GET / HTTP/1.1\r\nHost:a\r\n\r\n",
    "of bodies": head("POST", "/x", {"Content-Length": "100"}) + b"x" * 100,
    "of one-byte chunks": head("POST", "/x", CHUNKED) + b"1\r\nx\r\n" * 20 + b"0\r\n\r\n",
    "of trailers": head("POST", "/x", CHUNKED) + b"0\r\nAuthorization: Bearer x\r\n\r\n",
    "of refused bodies": head("POST", PATH, {"Content-Length": "9000"}) + b"x" * 9_000,
    "of headers": head("GET", "/x", {f"X-{number}": "y" for number in range(100)}),
    "of wishes for another protocol": head("GET", "/x", {"Connection": "Upgrade", "Upgrade": "h2c"}),
    "of large answers": head("GET", "/openapi.json"),
}


@pytest.mark.parametrize("kind", PIPELINES)
def test_pipelined_requests_wait_in_the_connection_and_not_in_memory(server: ServerProcess, kind: str) -> None:
    one = PIPELINES[kind]
    piece = one * (65_536 // len(one) + 1)
    with memory_stays_flat(server), contextlib.ExitStack() as opened:
        for _ in range(4):
            wire = opened.enter_context(RawConnection(server.port, seconds=0.5))
            with contextlib.suppress(TimeoutError):
                # No response is read, so the server stops reading at some point.
                wire.send_until_closed([piece] * (16 * MEBIBYTE // len(piece)))


def test_pipelines_on_many_connections_take_little_memory(server: ServerProcess) -> None:
    one = b"GET / HTTP/1.1\r\nHost:a\r\n\r\n"
    with contextlib.ExitStack() as opened, memory_stays_flat(server, 100 * MEBIBYTE):
        for _ in range(100):
            wire = opened.enter_context(RawConnection(server.port))
            wire.send(one * (300_000 // len(one)))


def test_a_pipeline_whose_responses_are_read_is_answered_completely(server: ServerProcess) -> None:
    one, count = head("GET", "/health/live", {"X-Request-Id": "r"}), 2_000
    with RawConnection(server.port) as wire:
        wire.send(one * count)
        wire.end()
        for _ in range(count):
            assert wire.receive().status == 200
        with pytest.raises(ConnectionClosedError):
            wire.receive()


HEADS = {
    "one long header": [b"X: ", *[b"x" * 65_536] * 256],
    "one long name": [b"x" * 65_536] * 256,
    "many small headers": [b"a:\r\n" * 16_000] * 256,
    "many headers of one name": [b"X-Filler: yyyyyyyy\r\n" * 3_000] * 256,
}


@pytest.mark.parametrize("kind", HEADS)
def test_refused_headers_leave_no_memory_allocated(server: ServerProcess, kind: str) -> None:
    beginning = b"GET /x HTTP/1.1\r\nHost: here\r\n"
    with memory_stays_flat(server):
        for _ in range(20):
            send_all(server, [beginning, *HEADS[kind]])


def test_an_endless_request_line_leaves_no_memory_allocated(server: ServerProcess) -> None:
    with memory_stays_flat(server):
        for _ in range(20):
            send_all(server, [b"GET /", *[b"x" * 65_536] * 256])


def test_unfinished_small_headers_on_many_connections_take_little_memory(server: ServerProcess) -> None:
    with contextlib.ExitStack() as opened, memory_stays_flat(server, 80 * MEBIBYTE):
        for _ in range(100):
            wire = opened.enter_context(RawConnection(server.port))
            wire.send(b"GET /x HTTP/1.1\r\nHost: here\r\n", b"ab:cd\r\n" * 30_000)


HALVES = {
    "a target": b"GET /" + b"x" * 250_000,
    "one header": b"GET /x HTTP/1.1\r\nHost: here\r\nX: " + b"x" * 250_000,
    "headers": b"GET /x HTTP/1.1\r\nHost: here\r\n"
    + b"X-Filler: " * 25
    + (b"X-Filler: " + b"y" * 1_000 + b"\r\n") * 250,
}


@pytest.mark.parametrize("kind", HALVES)
def test_unfinished_heads_that_are_too_long_take_no_memory(server: ServerProcess, kind: str) -> None:
    with contextlib.ExitStack() as opened, memory_stays_flat(server, 25 * MEBIBYTE):
        for _ in range(300):
            wire = opened.enter_context(RawConnection(server.port))
            with contextlib.suppress(ConnectionError):
                wire.send(HALVES[kind])


def test_many_refused_requests_with_many_headers_leave_no_memory_allocated(server: ServerProcess) -> None:
    one = head("GET", PATH, {f"X-Filler-{number}": "y" * 1_000 for number in range(50)})
    with memory_stays_flat(server):
        for _ in range(15):
            with RawConnection(server.port) as wire:
                for _ in range(100):
                    wire.send(one)
                    assert wire.receive().status == 401


def test_an_upgrade_request_followed_by_megabytes_leaves_no_memory_allocated(server: ServerProcess) -> None:
    wish = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "AAAA", "Sec-WebSocket-Version": "13"}
    with memory_stays_flat(server):
        for method in ("GET", "POST", "CONNECT"):
            for _ in range(4):
                send_all(server, [head(method, "/x", wish), *[b"x" * 65_536] * 256])


def test_expect_continue_without_a_body_leaves_no_memory_allocated(server: ServerProcess) -> None:
    one = head("POST", PATH, {"Expect": "100-continue", "Content-Length": "0"})
    with memory_stays_flat(server):
        for _ in range(20):
            with RawConnection(server.port) as wire:
                for _ in range(100):
                    wire.send(one)
                    assert wire.receive().status == 401


def test_memory_does_not_grow_over_tls_either(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    files = (f"--tls-certificate={certificate}", f"--tls-key={key}")
    server = ServerProcess(f"sqlite:///{tmp_path}/store.db", *files, directory=tmp_path)
    try:
        server.start(wait=False)
        poll(lambda: _is_served(server.port, context), "a server that speaks TLS")
        for _ in range(10):
            assert _is_served(server.port, context)
        reset_memory_peak(server.pid)
        before = memory_bytes(server.pid)
        trailers = [head("POST", PATH, CHUNKED), b"0\r\nX: ", *[b"x" * 65_536] * 256]
        pipeline = [head("GET", "/x") * 1_000] * 400
        for parts in (trailers, pipeline, trailers, pipeline):
            with connect_tls(server.port, context) as wire, contextlib.suppress(OSError):
                wire.settimeout(0.5)
                for part in parts:
                    wire.sendall(part)
        assert memory_bytes(server.pid, "VmHWM") - before < GROWTH_MAX
        assert _is_served(server.port, context)
    finally:
        server.close()


def connect_tls(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Connect over TLS."""
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10), server_hostname="localhost")


def _is_served(port: int, context: ssl.SSLContext) -> bool:
    try:
        with connect_tls(port, context) as wire:
            wire.sendall(head("GET", "/health/live"))
            return wire.recv(100).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False
