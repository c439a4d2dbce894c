"""The server processes of the HTTP tests: one for each store, for the whole run."""

from collections.abc import Iterator

import pytest

from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess

STORES = ("sqlite", "postgres-18")


def serve_store(request: pytest.FixtureRequest, temporary: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Run a server on the store that is the parameter of a fixture."""
    if request.param == "sqlite":
        with ServerProcess(f"sqlite:///{temporary.mktemp('store')}/sessionary.db", "--no-first-token") as server:
            yield server
        return
    postgres = request.getfixturevalue(request.param.replace("-", "_"))
    assert isinstance(postgres, PostgresServer)
    with postgres.database() as url, ServerProcess(url, "--no-first-token") as server:
        yield server
