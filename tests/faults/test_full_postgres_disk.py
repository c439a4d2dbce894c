"""PostgreSQL on a full disk: as on SQLite, writes are refused, reads continue, and writes resume by themselves."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.api_client import ApiClient, Response
from tests.faults.disks import fill, small_disk_at
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

DISK_BYTES: Final = 48 * 1024 * 1024


@pytest.fixture
def disk(own_postgres: PostgresServer) -> Iterator[Path]:
    """A file system of a few megabytes for a database of PostgreSQL, but not for its log."""
    directory = own_postgres.directory / f"disk-{secrets.token_hex(4)}"
    directory.mkdir()
    with small_disk_at(directory, DISK_BYTES):
        owner = own_postgres.directory.stat()
        os.chown(directory, owner.st_uid, owner.st_gid)
        directory.chmod(0o700)
        yield directory


@pytest.fixture
def database(own_postgres: PostgresServer, disk: Path) -> Iterator[str]:
    """The URL of a database on that file system."""
    name = f"full_{secrets.token_hex(4)}"
    own_postgres.run_sql(f"CREATE TABLESPACE {name} LOCATION '{disk}'")
    own_postgres.run_sql(f"CREATE DATABASE {name} TABLESPACE {name}")
    yield own_postgres.url(name)
    own_postgres.run_sql(f"DROP DATABASE {name} WITH (FORCE)")
    own_postgres.run_sql(f"DROP TABLESPACE {name}")


@pytest.mark.parametrize("own_postgres", [18, 15], indirect=True)
def test_a_full_disk_refuses_writes_only_and_they_resume_by_themselves(disk: Path, database: str) -> None:
    with ServerProcess(database) as server, ApiClient(server.base_url, server.create_token("demo")) as api:
        session, pid, stored = api.create("zero"), server.pid, 0
        for _ in range(3):
            _append(api, session, stored).expect(200)
            stored += 1
            ballast = fill(disk)
            # Some writes still fit into the existing pages of the tables.
            while (response := _append(api, session, stored)).status == 200:
                stored += 1
            assert (response.status, response.json["code"]) == (503, "STORE_UNAVAILABLE")
            api.call("GET", "/health/ready").expect(503)
            api.call("GET", "/health/live").expect(200)
            assert _numbers(api, session) == list(range(stored)), "what was acknowledged is read"
            api.call("GET", api.path).expect(200)

            ballast.unlink()
            poll(lambda: _append(api, session, stored).status == 200, "a write that fits", seconds=30)  # noqa: B023
            stored += 1
            poll(lambda: api.call("GET", "/health/ready").status == 200, "a server that is ready")
            assert _numbers(api, session) == list(range(stored))
        assert server.pid == pid, "the server was not restarted"
        assert any("could not extend file" in line for line in server.log_lines()), "the log says why"


def _append(api: ApiClient, session: str, number: int) -> Response:
    """Append a message of several pages that PostgreSQL cannot compress."""
    return api.append(session, f"{number}:{secrets.token_hex(10_000)}")


def _numbers(api: ApiClient, session: str) -> list[int]:
    return [int(content.partition(":")[0]) for content in api.contents(session)[1:]]
