"""A thousand connections that send incomplete requests or read no responses, beside one normal client."""

import contextlib
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.server import ServerProcess
from tests.harness.waiting import Deadline, poll
from tests.hostile.process_stats import MEBIBYTE, memory_bytes, socket_count
from tests.http.callers import Caller, message
from tests.http.raw_connection import head

CONNECTIONS = 1_000
SECONDS = 3.0
SLACK_SECONDS = 4.0


@pytest.fixture(autouse=True)
def raised_file_limit() -> Iterator[None]:
    """Raise the limit of open files of the test process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < CONNECTIONS + 200:
        pytest.skip(f"this machine lets a process open only {before[1]} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (CONNECTIONS + 200, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with short time limits, started with a low soft limit of open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = ServerProcess(
        f"sqlite:///{tmp_path}/store.db",
        f"--header-seconds={SECONDS}",
        f"--body-seconds={SECONDS}",
        "--idle-seconds=2",
        f"--connections={CONNECTIONS + 50}",
        directory=tmp_path,
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    yield server
    server.close()


@pytest.fixture
def api(server: ServerProcess) -> Iterator[Caller]:
    with Caller(server.port, server.create_token(all_organisations=True), "demo") as api:
        yield api


class HalfOpen:
    """A connection that sends the start of a request, and then single bytes or nothing."""

    def __init__(self, api: Caller, beginning: bytes, drop: bytes) -> None:
        self.drop = drop
        self.opened = time.monotonic()
        self.seconds_open: float | None = None
        self.connection = socket.create_connection(("127.0.0.1", api.port), timeout=10)
        self.connection.sendall(beginning)
        self.connection.settimeout(0)

    def drip(self) -> None:
        """Send a byte, and record it if the server has closed the connection."""
        with contextlib.suppress(BlockingIOError):
            try:
                self.connection.send(self.drop)
                while self.connection.recv(4_096):
                    pass
            except ConnectionError:
                pass
            self.seconds_open = time.monotonic() - self.opened


def open_connections(api: Caller) -> list[HalfOpen]:
    body = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
    kinds = [
        (b"", b""),
        (b"GET /api/v3/organizations/demo/ai/sessions HTTP/1.1\r\nHost: here\r\nX-Slow: ", b""),
        (b"GET / HTTP/1.1\r\nX-Slow: ", b"x"),
        (head("POST", api.sessions, {**body, "Content-Length": "100000"}) + b'{"userId": "', b"x"),
        (head("POST", api.sessions, {**body, "Transfer-Encoding": "chunked"}), b"1\r\n \r\n"),
    ]
    return [HalfOpen(api, *kinds[number % len(kinds)]) for number in range(CONNECTIONS)]


def test_a_thousand_incomplete_requests_are_closed_in_time_while_a_normal_client_is_served(
    server: ServerProcess, api: Caller
) -> None:
    session_id = api.new_session(initialMessages=[message()])
    before = memory_bytes(server.pid)
    connections = open_connections(api)
    peak, latencies, deadline = before, [], Deadline(SECONDS + SLACK_SECONDS + 10)
    while waiting := [each for each in connections if each.seconds_open is None]:
        deadline.check(f"the end of {len(waiting)} half-open connections")
        for each in waiting:
            each.drip()
        started = time.monotonic()
        assert api.update(session_id, newMessages=[message()]).status == 200
        assert api.get(session_id, "?messagesLimit=1").status == 200
        latencies.append(time.monotonic() - started)
        peak = max(peak, memory_bytes(server.pid))
        time.sleep(0.02)
    for each in connections:
        each.connection.close()

    assert len(latencies) > 10
    assert max(latencies) < 1.0, "the normal client was served all the time"
    longest = max(each.seconds_open or 0.0 for each in connections)
    assert SECONDS * 0.9 < longest < SECONDS + SLACK_SECONDS
    assert peak - before < 80 * MEBIBYTE
    assert [each["id"] for each in api.list().json] == [session_id], "no incomplete request was applied"
    assert len(api.read(session_id)["messages"]) == 1 + len(latencies)


def test_clients_that_do_not_read_their_responses_are_disconnected_and_their_memory_is_freed(
    server: ServerProcess, api: Caller
) -> None:
    session_id = api.new_session(initialMessages=[message("x" * 1_000_000) for _ in range(8)])
    request = head("GET", f"{api.sessions}/{session_id}", {"Authorization": f"Bearer {api.token}"})
    small = head("GET", "/openapi.json")
    before, idle = memory_bytes(server.pid), socket_count(server.pid)
    with contextlib.ExitStack() as opened:
        unread = [opened.enter_context(connect_without_reading(api.port, request)) for _ in range(10)]
        unread += [opened.enter_context(connect_without_reading(api.port, small * 200)) for _ in range(10)]
        unread += [
            opened.enter_context(
                connect_without_reading(api.port, small.replace(b"here", b"x\r\nConnection: close") * 50)
            )
        ]
        assert api.get(session_id).status == 200
        poll(lambda: memory_bytes(server.pid) > before + 20 * MEBIBYTE, "answers that nobody reads")
        # Some connections, or some of the previous test, may be closed by now.
        assert socket_count(server.pid) >= 20
        # Nothing was read by the end of the first period, or of the second.
        seconds = 2 * SECONDS + SLACK_SECONDS
        poll(lambda: socket_count(server.pid) <= idle, "the end of the connections that do not read", seconds=seconds)
        poll(lambda: all(map(is_reset, unread[:20])), "the kernel to discard its buffers too")
        with Caller(api.port, api.token, "demo") as other:
            assert other.get(session_id).status == 200
    poll(lambda: memory_bytes(server.pid) < before + 60 * MEBIBYTE, "memory that is given back")
    assert "Exception" not in server.log.read_text()


def test_a_client_that_reads_slowly_gets_the_whole_response(api: Caller) -> None:
    text = "x" * 1_000_000
    session_id = api.new_session(initialMessages=[message(text) for _ in range(8)])
    request = head("GET", f"{api.sessions}/{session_id}", {"Authorization": f"Bearer {api.token}"})
    started, received = time.monotonic(), 0
    with connect_without_reading(api.port, request, buffer_bytes=64 * 1024) as connection:
        while received < 8 * len(text):
            received += len(connection.recv(50_000, socket.MSG_WAITALL))
            time.sleep(0.025)
    assert time.monotonic() - started > SECONDS * 1.2, "slow enough to be watched"


@contextlib.contextmanager
def connect_without_reading(port: int, request: bytes, buffer_bytes: int = 4_096) -> Iterator[socket.socket]:
    """Send a request over a connection with a small receive buffer, and read nothing."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", port))
        connection.sendall(request)
        yield connection


def is_reset(connection: socket.socket) -> bool:
    """Whether the other side has reset the connection, without reading from it."""
    poller = select.poll()
    poller.register(connection, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poller.poll(0))
