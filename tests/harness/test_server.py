import json
import signal
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.harness.processes import is_running
from tests.harness.server import ServerProcess, run_sessionary
from tests.harness.waiting import poll


def _create_session(server: ServerProcess, token: str) -> datetime:
    """Create a session and return when that was by the server's clock."""
    request = urllib.request.Request(  # noqa: S310 - the server is ours
        f"{server.base_url}/api/v3/organizations/demo/ai/sessions",
        data=b'{"userId": "someone"}',
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - as above
        assert response.status == 201
        return datetime.fromisoformat(json.load(response)["createdAt"])


def test_a_server_is_ready_once_started_and_exits_with_0(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/store.db", directory=tmp_path) as server:
        assert server.running
        with urllib.request.urlopen(f"{server.base_url}/health/live", timeout=10) as response:  # noqa: S310
            assert response.status == 200
        assert server.terminate() == 0
        assert server.exit_code == 0
    assert server.log_lines()


def test_a_restarted_server_has_its_address_and_its_store(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/store.db") as server:
        address, token = server.base_url, server.create_token("demo")
        _create_session(server, token)
        server.restart()
        assert server.base_url == address
        _create_session(server, token)
        server.kill9()
        assert server.exit_code == -signal.SIGKILL
        server.start()
        _create_session(server, token)


def test_a_token_object_has_what_the_command_printed(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/store.db") as server:
        printed = server.create_token_object("demo", scopes=["sessions:read"])
        assert printed["id"]
        assert printed["token"].startswith("sny_")
        _create_session(server, server.create_token(all_organisations=True))


@pytest.mark.usefixtures("needs_faketime")
def test_the_clock_of_a_running_server_can_be_moved(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/store.db", movable_clock=True) as server:
        token = server.create_token("demo")
        assert server.clock is not None
        assert abs(_create_session(server, token) - datetime.now(UTC)) < timedelta(minutes=1)
        server.clock.move(7200)
        ahead = _create_session(server, token) - datetime.now(UTC)
        assert abs(ahead - timedelta(hours=2)) < timedelta(minutes=1)
        assert server.terminate() == 0


@pytest.mark.usefixtures("needs_strace")
def test_a_traced_server_leaves_a_complete_trace(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    with ServerProcess(store, trace=["fsync", "fdatasync", "write", "writev", "sendto"]) as server:
        pid = server.pid
        _create_session(server, server.create_token("demo"))
        assert server.terminate() == 0, "signals and exit codes are the server's, not the tracer's"
        lines = server.trace_lines()
    assert any("sync(" in line and "store.db-wal" in line for line in lines)
    assert any("HTTP/1.1 201" in line for line in lines)
    assert any(line.startswith(f"{pid} ") and "+++ exited with 0 +++" in line for line in lines)


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    server = ServerProcess("nonsense://", directory=tmp_path)
    with pytest.raises(AssertionError, match=r"ended while starting, exit code [1-9][^$]*The database must be"):
        server.start()
    server.close()


def test_a_server_dies_with_the_test_process_that_started_it(tmp_path: Path) -> None:
    script = f"""
import sys
from tests.harness.server import ServerProcess
server = ServerProcess("sqlite:///{tmp_path}/store.db")
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""
    run = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.send_signal(signal.SIGKILL)
    poll(lambda: not is_running(pid), "the end of the orphaned server")


def test_a_command_can_be_run_to_its_end() -> None:
    completed = run_sessionary("--help")
    assert completed.returncode == 0
    assert "serve" in completed.stdout
