"""Servers as their users run them, on every engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.calling import Caller, first_token
from tests.harness.binaries import PostgresUnavailableError
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess

ENGINES = ("sqlite", "postgres-18", "postgres-15")


@pytest.fixture(scope="session")
def harmed_postgres() -> Iterator[dict[int, PostgresServer]]:
    """Servers that tests stop, freeze and kill, by major version; each is made for the first test that asks."""
    servers: dict[int, PostgresServer] = {}
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture
def own_postgres(request: pytest.FixtureRequest, harmed_postgres: dict[int, PostgresServer]) -> PostgresServer:
    """A running PostgreSQL with an operator's settings, fsync included, that the test may harm; 18 unless told else."""
    major = int(getattr(request, "param", 18))
    if major not in harmed_postgres:
        try:
            harmed_postgres[major] = PostgresServer(major, fsync=True)
        except PostgresUnavailableError as error:
            pytest.skip(str(error))
    if not harmed_postgres[major].running:
        harmed_postgres[major].start()
    return harmed_postgres[major]


@pytest.fixture
def own_database(own_postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of the test's own, on the server that it may harm."""
    with own_postgres.database() as url:
        yield url


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """What the sessions are kept in; parametrise it indirectly with fewer where all three show nothing more."""
    return str(request.param)


@pytest.fixture
def database(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty store of the test's own."""
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path}/sessionary.db"
        return
    postgres = request.getfixturevalue(engine.replace("-", "_"))
    assert isinstance(postgres, PostgresServer)
    with postgres.database() as url:
        yield url


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server on an empty store, with the settings a user gets who sets none."""
    with ServerProcess(database, directory=tmp_path) as running:
        yield running


@pytest.fixture
def caller(server: ServerProcess) -> Iterator[Caller]:
    """A connection to the server, with the token it printed."""
    with Caller(server.base_url, first_token(server)) as connected:
        yield connected
