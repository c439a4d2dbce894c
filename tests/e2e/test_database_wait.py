"""A server waits at startup for a database that is not up yet, but not for one that can never be used."""

import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.test_stopping import wait_for_end
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess, run_sessionary
from tests.harness.waiting import poll

WAITING = "Waiting for the database, for "


def test_a_database_that_starts_later_is_waited_for(own_postgres: PostgresServer, own_database: str) -> None:
    own_postgres.stop()
    with contextlib.closing(ServerProcess(own_database)) as server:
        server.start(wait=False)
        poll(lambda: any(WAITING in line for line in server.log_lines()), "a line that says so")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)
        own_postgres.start()
        server.wait_until_ready(30)
        assert sum(WAITING in line for line in server.log_lines()) == 1, "not again and again"
        with ApiClient(server.base_url, server.first_token) as api:
            api.create("one")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_stopped_while_it_waits_exits_with_0(
    own_postgres: PostgresServer, own_database: str, number: signal.Signals
) -> None:
    own_postgres.stop()
    with contextlib.closing(ServerProcess(own_database, "--wait-seconds", "600")) as server:
        server.start(wait=False)
        poll(lambda: any(WAITING in line for line in server.log_lines()), "a server that waits")
        os.kill(server.pid, number)
        assert wait_for_end(server, 10) == 0
        assert any(f"Received {number.name} before accepting requests" in line for line in server.log_lines())
        assert "Stopped; 0 requests were aborted." in server.log_lines()[-1]


def test_with_a_wait_of_0_seconds_it_exits_at_once(
    own_postgres: PostgresServer, own_database: str, tmp_path: Path
) -> None:
    own_postgres.stop()
    for seconds in ("0", "0.3"):
        words = ("serve", "--port", "0", "--wait-seconds", seconds, "--database", own_database)
        completed = run_sessionary(*words, directory=tmp_path)
        assert completed.returncode == 1
        assert completed.stderr.splitlines()[-1].startswith("sessionary: The database at ")
        assert (WAITING in completed.stderr) == (seconds != "0")


def test_a_waiting_server_occupies_its_address(own_postgres: PostgresServer, own_database: str, tmp_path: Path) -> None:
    own_postgres.stop()
    with contextlib.closing(ServerProcess(own_database)) as server:
        server.start(wait=False)
        poll(lambda: any(WAITING in line for line in server.log_lines()), "a server that waits")
        second = run_sessionary("serve", "--port", str(server.port), directory=tmp_path)
        assert second.returncode == 1
        assert "Address already in use" in second.stderr
        assert server.terminate() == 0
