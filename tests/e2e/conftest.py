"""Fixtures: a real server on every engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.api_client import ApiClient, first_token
from tests.harness.postgres import PostgresServer
from tests.harness.server import ServerProcess

ENGINES = ("sqlite", "postgres-18", "postgres-15")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The engine of the store; tests that need only some engines parametrise it indirectly."""
    return str(request.param)


@pytest.fixture
def database(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty store for this test."""
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path}/sessionary.db"
        return
    postgres = request.getfixturevalue(engine.replace("-", "_"))
    assert isinstance(postgres, PostgresServer)
    with postgres.database() as url:
        yield url


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server on an empty store with the default settings."""
    with ServerProcess(database, directory=tmp_path) as running:
        yield running


@pytest.fixture
def api(server: ServerProcess) -> Iterator[ApiClient]:
    """A client of the server, with a token."""
    with ApiClient(server.base_url, first_token(server)) as connected:
        yield connected
