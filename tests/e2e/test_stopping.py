"""SIGTERM: accepted requests are finished, no new ones are accepted, and the exit code is 0."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import asyncpg
import pytest

from tests.e2e.api_client import ApiClient, Response, first_token, user_messages
from tests.e2e.database import write_lock
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess
from tests.harness.waiting import Deadline, poll

SECONDS_MAX = 10
# The lock that migrations take.
MIGRATING = int.from_bytes(b"sessiona")
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
BURST = 32


class SlowRequest:
    """A request whose body arrives in pieces."""

    def __init__(self, server: ServerProcess, token: str, session: str, content: str) -> None:
        self._body = json.dumps({"newMessages": user_messages(content)}).encode()
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        head = (
            f"PUT /api/v3/organizations/demo/ai/sessions/{session} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(self._body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + self._body[:5])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def finish(self) -> bytes:
        """Send the rest of the request and read until the server closes."""
        self._socket.sendall(self._body[5:])
        return self.read()

    def try_to_finish(self) -> None:
        """Finish, although the server may have stopped."""
        with contextlib.suppress(OSError):
            self.finish()

    def read(self) -> bytes:
        """Read until the server closes."""
        pieces: list[bytes] = []
        with contextlib.suppress(ConnectionResetError):
            while piece := self._socket.recv(65_536):
                pieces.append(piece)
        return b"".join(pieces)


def wait_until_nothing_is_accepted(server: ServerProcess) -> None:
    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=2).close()
        except OSError:
            return True
        return False

    poll(refused, "a server that accepts no connection")


def assert_keeps_running(server: ServerProcess, seconds: float) -> None:
    """Check that a stopping server waits for the requests it has accepted."""
    deadline = Deadline(seconds)
    while not deadline.passed:
        assert server.running
        time.sleep(0.02)


@pytest.mark.parametrize("engine", ["sqlite", "postgres-18"], indirect=True)
def test_a_request_in_progress_is_finished_and_no_new_one_is_accepted(server: ServerProcess, api: ApiClient) -> None:
    session = api.create("one")
    with SlowRequest(server, first_token(server), session, "two") as slow:
        api.call("GET", "/health/live").expect(200)  # by now the server has read the head of the slow request

        os.kill(server.pid, signal.SIGTERM)
        wait_until_nothing_is_accepted(server)
        assert_keeps_running(server, 0.7)
        response = slow.finish()

    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in response.lower()
    assert b'"totalMessages":2' in response
    assert wait_for_end(server, SECONDS_MAX) == 0
    server.start()
    api.close()
    assert api.contents(session) == ["one", "two"]


@pytest.fixture
def patient_server(database: str, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with long time limits, so that requests waiting for the store do not time out on a busy machine."""
    with ServerProcess(database, "--store-seconds", "30", directory=tmp_path) as running:
        yield running


def test_requests_that_wait_for_the_store_are_answered_and_stored(patient_server: ServerProcess, database: str) -> None:
    server, token = patient_server, first_token(patient_server)
    api = ApiClient(server.base_url, token)
    session = api.create()
    callers = [ApiClient(server.base_url, token) for _ in range(BURST)]
    for each in callers:
        each.call("GET", "/health/live").expect(200)  # opens the connection
    responses: dict[int, Response] = {}

    def append(number: int) -> None:
        responses[number] = callers[number].append(session, f"{number}")

    threads = [threading.Thread(target=append, args=(number,)) for number in range(BURST)]
    with write_lock(database):
        for thread in threads:
            thread.start()
        deadline = Deadline(0.2)
        while not deadline.passed:
            # Each response here shows that the server has read the earlier requests.
            api.call("GET", "/health/live").expect(200)
        os.kill(server.pid, signal.SIGTERM)
        wait_until_nothing_is_accepted(server)
        assert_keeps_running(server, 0.4)
        assert responses == {}, "nothing can have been stored yet"
    for thread in threads:
        thread.join()

    assert [responses[number].status for number in sorted(responses)] == [200] * BURST
    assert wait_for_end(server, SECONDS_MAX) == 0
    server.start()
    api.close()
    assert sorted(api.contents(session)) == sorted(map(str, range(BURST)))
    api.close()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_at_once_with_0(server: ServerProcess, api: ApiClient, number: signal.Signals) -> None:
    api.create()  # opens a connection, and writes something to checkpoint
    started = time.monotonic()
    os.kill(server.pid, number)
    assert wait_for_end(server, SECONDS_MAX) == 0
    assert time.monotonic() - started < 3
    assert "Traceback" not in server.log.read_text()
    assert not (server.directory / "sessionary.db-wal").exists(), "the log was copied into the file"


def test_an_incomplete_body_and_a_frozen_database_do_not_block_stopping(
    own_postgres: PostgresServer, own_database: str
) -> None:
    with (
        ServerProcess(own_database) as server,
        ApiClient(server.base_url, first_token(server)) as api,
    ):
        session = api.create("one")
        with (
            SlowRequest(server, first_token(server), session, "two") as stalled,
            SlowRequest(server, first_token(server), session, "three") as late,
            own_postgres.frozen(),
        ):
            waiting = threading.Thread(target=api.append, args=(session, "four"))
            # Its command reaches the store just before the time limit of the requests.
            finishing = threading.Timer(4.5, late.try_to_finish)
            waiting.start()
            finishing.start()
            started = time.monotonic()
            os.kill(server.pid, signal.SIGTERM)
            assert wait_for_end(server, SECONDS_MAX) == 0
            assert time.monotonic() - started < SECONDS_MAX
            stalled.read()
            finishing.join()
            waiting.join()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_stopped_while_it_waits_for_a_locked_file_exits_with_0(tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "sessionary.db"
    with ServerProcess(f"sqlite:///{file}", directory=tmp_path) as server:
        assert server.terminate() == 0
        with write_lock(server.database):
            server.start(wait=False)
            poll(lambda: file in files_of(server.pid), "a server that has opened its file")
            os.kill(server.pid, number)
            assert wait_for_end(server, SECONDS_MAX) == 0
        assert "Traceback" not in server.log.read_text()


def test_a_server_stopped_while_another_one_migrates_exits_with_0(postgres_18_database: str) -> None:
    with asyncio.Runner() as runner, ServerProcess(postgres_18_database) as server:
        assert server.terminate() == 0
        other = runner.run(asyncpg.connect(postgres_18_database))
        runner.run(other.execute("SELECT pg_advisory_lock($1)", MIGRATING))
        server.start(wait=False)
        poll(lambda: runner.run(other.fetchval(WAITING)), "a server that waits")
        os.kill(server.pid, signal.SIGTERM)
        assert wait_for_end(server, SECONDS_MAX) == 0
        runner.run(other.close())
        assert "Traceback" not in server.log.read_text()


def files_of(pid: int) -> set[Path]:
    """Return the files that a process has open."""
    with contextlib.suppress(OSError):
        return {link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()}
    return set()


def wait_for_end(server: ServerProcess, seconds: float) -> int:
    """Wait until a stopping server has ended, and return its exit code."""
    poll(lambda: not server.running, "the server's end", seconds=seconds)
    server.kill9()  # it has ended already; this makes the harness record its exit code
    assert server.exit_code is not None
    return server.exit_code
