"""A primary and a standby: writes go to the current primary, and a server does not start on a standby alone."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.e2e.api_client import ApiClient
from tests.harness.postgres import PostgresServer, postgres_or_skip
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

pytestmark = pytest.mark.slow


@pytest.fixture(params=[18, 15])
def primary(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    with postgres_or_skip(request.param) as server:
        yield server


@pytest.fixture
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    with contextlib.closing(primary.make_standby()) as server:
        server.start()
        yield server


def _url(*servers: PostgresServer) -> str:
    places = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://postgres@{places}/postgres"


def _has_replayed(primary: PostgresServer, standby: PostgresServer) -> bool:
    written = primary.run_sql("SELECT pg_current_wal_lsn()")
    return standby.run_sql(f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == "t"


def test_a_server_continues_on_the_standby_after_its_promotion(
    primary: PostgresServer, standby: PostgresServer
) -> None:
    # The standby is listed first: the server skips it and uses the primary.
    with ServerProcess(_url(standby, primary)) as server, ApiClient(server.base_url, server.first_token) as api:
        session = api.create("one")
        api.append(session, "two").expect(200)
        poll(lambda: _has_replayed(primary, standby), "a standby that has everything")

        primary.kill9()
        assert api.append(session, "never").status == 503
        assert api.call("GET", "/health/ready").status == 503

        standby.promote()
        poll(lambda: api.call("GET", "/health/ready").status == 200, "a server that is ready again", seconds=30)
        api.append(session, "three").expect(200)
        assert api.contents(session) == ["one", "two", "three"]


def test_a_standby_without_a_primary_is_waited_for_and_the_reason_logged(standby: PostgresServer) -> None:
    with contextlib.closing(ServerProcess(_url(standby))) as server:
        server.start(wait=False)
        poll(
            lambda: any("it is a standby and accepts no writes" in line for line in server.log_lines()),
            "a line that says why",
        )
        standby.promote()
        server.wait_until_ready(30)
