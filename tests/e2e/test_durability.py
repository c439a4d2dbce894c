"""Durability, checked by system calls: kill -9 does not test it, because the page cache survives the process."""

import re
import threading
from pathlib import Path

import pytest

from tests.e2e.api_client import ApiClient, first_token
from tests.e2e.strace import READS, SYNCS, WRITES, read_calls, request_response_pairs, responses_before_sync, traced
from tests.harness.postgres import PostgresServer
from tests.harness.processes import children_of
from tests.harness.server import ServerProcess

pytestmark = pytest.mark.usefixtures("needs_strace")

SYSTEM_CALLS = (*SYNCS, *WRITES, *READS)
APPENDS = 15
WRITERS = 6


def is_sqlite_log(path: str) -> bool:
    return path.endswith(".db-wal")


def is_postgres_log(path: str) -> bool:
    return re.search(r"/pg_wal/[0-9A-F]{24}$", path) is not None


def test_sqlite_syncs_its_log_between_each_commit_and_the_response(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/sessionary.db", directory=tmp_path, trace=SYSTEM_CALLS) as server:
        with ApiClient(server.base_url, first_token(server)) as api:
            change_everything(api)
        assert server.terminate() == 0
        lines = server.trace_lines()

    calls = read_calls(lines)
    assert len(request_response_pairs(calls)) == APPENDS + 4
    assert responses_before_sync(calls, is_sqlite_log) == []

    unsynced = [line for line in lines if "fdatasync(" not in line and "fsync(" not in line]
    early = responses_before_sync(read_calls(unsynced), is_sqlite_log)
    assert len(early) == APPENDS + 4, "without the syncs the same record would have failed"


def test_sqlite_syncs_its_log_before_the_responses_of_a_shared_commit(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/sessionary.db", directory=tmp_path, trace=SYSTEM_CALLS) as server:
        token = first_token(server)
        with ApiClient(server.base_url, token) as api:
            session = api.create()

        def write(writer: int) -> None:
            with ApiClient(server.base_url, token) as own:
                for number in range(APPENDS):
                    own.append(session, f"{writer}:{number}").expect(200)

        writers = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert server.terminate() == 0
        calls = read_calls(server.trace_lines())

    assert len(request_response_pairs(calls)) == 1 + WRITERS * APPENDS
    assert responses_before_sync(calls, is_sqlite_log, one_at_a_time=False) == []


@pytest.mark.parametrize("own_postgres", [18, 15], indirect=True)
def test_postgresql_syncs_its_log_between_each_commit_and_the_response(
    own_postgres: PostgresServer, own_database: str, tmp_path: Path
) -> None:
    """The processes of PostgreSQL and of the server are traced together: one syncs the log, the other waits for it."""
    assert own_postgres.run_sql("SHOW wal_sync_method") == "fdatasync"
    with ServerProcess(own_database, directory=tmp_path) as server:
        record = tmp_path / "record.strace"
        watched = [server.pid, own_postgres.pid, *children_of(own_postgres.pid)]
        with (
            traced(watched, SYSTEM_CALLS, record),
            ApiClient(server.base_url, first_token(server)) as api,
        ):
            change_everything(api)
        calls = read_calls(record.read_text(encoding="utf-8", errors="replace").splitlines())

    assert len(request_response_pairs(calls)) == APPENDS + 4
    assert responses_before_sync(calls, is_postgres_log, one_at_a_time=False) == []


def change_everything(api: ApiClient) -> None:
    session = api.create("hello")
    for number in range(APPENDS):
        api.append(session, f"{number}").expect(200)
    api.update(session, metadata={"a": 1}, status="completed").expect(200)
    api.call("PUT", f"{api.path}/{session}/extend").expect(200)
    api.call("DELETE", f"{api.path}/{session}").expect(200)
