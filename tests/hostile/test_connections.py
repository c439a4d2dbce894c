"""A thousand callers that say half of what they want, or read nothing of what they get, and one that is served."""

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
from tests.hostile.process_stats import MEBIBYTE, memory_of, sockets_of
from tests.http.calling import Caller, message
from tests.http.wires import head

CROWD = 1_000
SECONDS = 3.0
SLACK_SECONDS = 4.0


@pytest.fixture(autouse=True)
def room_for_a_crowd() -> Iterator[None]:
    """Let this process open as many files as it takes; the server sees to its own."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < CROWD + 200:
        pytest.skip(f"this machine lets a process open only {before[1]} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (CROWD + 200, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with little patience, started where a process may open few files unless it asks for more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = ServerProcess(
        f"sqlite:///{tmp_path}/store.db",
        f"--header-seconds={SECONDS}",
        f"--body-seconds={SECONDS}",
        "--idle-seconds=2",
        f"--connections={CROWD + 50}",
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
    """One of a crowd: says a beginning, and then drips byte after byte or nothing."""

    def __init__(self, api: Caller, beginning: bytes, drop: bytes) -> None:
        self.drop = drop
        self.opened = time.monotonic()
        self.seconds_open: float | None = None
        self.wire = socket.create_connection(("127.0.0.1", api.port), timeout=10)
        self.wire.sendall(beginning)
        self.wire.settimeout(0)

    def go_on(self) -> None:
        """Drip, and notice if the server has hung up."""
        with contextlib.suppress(BlockingIOError):
            try:
                self.wire.send(self.drop)
                while self.wire.recv(4_096):
                    pass
            except ConnectionError:
                pass
            self.seconds_open = time.monotonic() - self.opened


def crowd_of(api: Caller) -> list[HalfOpen]:
    body = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
    ways = [
        (b"", b""),
        (b"GET /api/v3/organizations/demo/ai/sessions HTTP/1.1\r\nHost: here\r\nX-Slow: ", b""),
        (b"GET / HTTP/1.1\r\nX-Slow: ", b"x"),
        (head("POST", api.sessions, {**body, "Content-Length": "100000"}) + b'{"userId": "', b"x"),
        (head("POST", api.sessions, {**body, "Transfer-Encoding": "chunked"}), b"1\r\n \r\n"),
    ]
    return [HalfOpen(api, *ways[number % len(ways)]) for number in range(CROWD)]


def test_a_thousand_half_open_connections_are_closed_in_time_while_a_good_caller_is_served(
    server: ServerProcess, api: Caller
) -> None:
    session_id = api.begin(initialMessages=[message()])
    before = memory_of(server.pid)
    crowd = crowd_of(api)
    most, waits, deadline = before, [], Deadline(SECONDS + SLACK_SECONDS + 10)
    while waiting := [one for one in crowd if one.seconds_open is None]:
        deadline.check(f"the end of {len(waiting)} half-open connections")
        for one in waiting:
            one.go_on()
        started = time.monotonic()
        assert api.update(session_id, newMessages=[message()]).status == 200
        assert api.get(session_id, "?messagesLimit=1").status == 200
        waits.append(time.monotonic() - started)
        most = max(most, memory_of(server.pid))
        time.sleep(0.02)
    for one in crowd:
        one.wire.close()

    assert len(waits) > 10
    assert max(waits) < 1.0, "the good caller was served throughout"
    longest = max(one.seconds_open or 0.0 for one in crowd)
    assert SECONDS * 0.9 < longest < SECONDS + SLACK_SECONDS
    assert most - before < 80 * MEBIBYTE
    assert [each["id"] for each in api.list().json] == [session_id], "nothing half said was done"
    assert len(api.read(session_id)["messages"]) == 1 + len(waits)


def test_callers_that_do_not_read_their_answers_are_hung_up_on_and_cost_no_memory_for_long(
    server: ServerProcess, api: Caller
) -> None:
    session_id = api.begin(initialMessages=[message("x" * 1_000_000) for _ in range(8)])
    asked = head("GET", f"{api.sessions}/{session_id}", {"Authorization": f"Bearer {api.token}"})
    small = head("GET", "/openapi.json")
    before, idle = memory_of(server.pid), sockets_of(server.pid)
    with contextlib.ExitStack() as opened:
        deaf = [opened.enter_context(deaf_to(api.port, asked)) for _ in range(10)]
        deaf += [opened.enter_context(deaf_to(api.port, small * 200)) for _ in range(10)]
        deaf += [opened.enter_context(deaf_to(api.port, small.replace(b"here", b"x\r\nConnection: close") * 50))]
        assert api.get(session_id).status == 200
        poll(lambda: memory_of(server.pid) > before + 20 * MEBIBYTE, "answers that nobody reads")
        # One of the crowd or of the test before may be gone by now.
        assert sockets_of(server.pid) >= 20
        # Nothing was taken by the end of the first term, or of the second.
        seconds = 2 * SECONDS + SLACK_SECONDS
        poll(lambda: sockets_of(server.pid) <= idle, "the end of who does not read", seconds=seconds)
        poll(lambda: all(map(is_reset, deaf[:20])), "what the kernel held for them to be gone too")
        with Caller(api.port, api.token, "demo") as other:
            assert other.get(session_id).status == 200
    poll(lambda: memory_of(server.pid) < before + 60 * MEBIBYTE, "memory that is given back")
    assert "Exception" not in server.log.read_text()


def test_a_caller_that_reads_slowly_gets_the_whole_answer(api: Caller) -> None:
    text = "x" * 1_000_000
    session_id = api.begin(initialMessages=[message(text) for _ in range(8)])
    asked = head("GET", f"{api.sessions}/{session_id}", {"Authorization": f"Bearer {api.token}"})
    started, received = time.monotonic(), 0
    with deaf_to(api.port, asked, buffer_bytes=64 * 1024) as wire:
        while received < 8 * len(text):
            received += len(wire.recv(50_000, socket.MSG_WAITALL))
            time.sleep(0.025)
    assert time.monotonic() - started > SECONDS * 1.2, "slow enough to be watched"


@contextlib.contextmanager
def deaf_to(port: int, asked: bytes, buffer_bytes: int = 4_096) -> Iterator[socket.socket]:
    """Ask over a connection that takes up next to nothing, and read no answer."""
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        wire.settimeout(10)
        wire.connect(("127.0.0.1", port))
        wire.sendall(asked)
        yield wire


def is_reset(wire: socket.socket) -> bool:
    """Tell whether the other side has reset the connection, without reading from it."""
    poller = select.poll()
    poller.register(wire, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poller.poll(0))
