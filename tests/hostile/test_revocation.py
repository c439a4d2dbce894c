"""A revoked token is refused within five seconds on every server, however busy it is."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess, run_sessionary
from tests.http.callers import Caller

SECONDS_MAX = 5.0


@pytest.fixture(params=["sqlite", "two on postgres-18"])
def servers(
    request: pytest.FixtureRequest, postgres_18: PostgresServer, tmp_path: Path
) -> Iterator[list[ServerProcess]]:
    """The servers on a store: one on SQLite, two on PostgreSQL."""
    with contextlib.ExitStack() as opened:
        if request.param == "sqlite":
            yield [opened.enter_context(ServerProcess(f"sqlite:///{tmp_path}/store.db"))]
        else:
            url = opened.enter_context(postgres_18.database())
            yield [opened.enter_context(ServerProcess(url)) for _ in range(2)]


def test_a_revoked_token_is_refused_within_five_seconds_on_every_server(servers: list[ServerProcess]) -> None:
    token, other = (servers[0].create_token_object("demo") for _ in range(2))
    with contextlib.ExitStack() as opened:
        callers = [opened.enter_context(Caller(server.port, token["token"], "demo")) for server in servers]
        assert [api.list().status for api in callers] == [200] * len(servers)

        revoked = run_sessionary("tokens", "revoke", token["id"], "--database", servers[0].database)
        assert revoked.returncode == 0, revoked.stderr
        started = time.monotonic()
        lived = [0.0] * len(callers)
        # Used all the time, because using a token must not extend the time for which it is cached.
        while (now := time.monotonic() - started) < SECONDS_MAX + 1.5:
            for number, api in enumerate(callers):
                if api.list().status == 200:
                    lived[number] = now
            time.sleep(0.02)

        assert max(lived) < SECONDS_MAX
        for api in callers:
            assert api.list().error == (401, "UNAUTHENTICATED")
            assert api.with_token(other["token"]).list().status == 200
            assert api.create().error == (401, "UNAUTHENTICATED")
