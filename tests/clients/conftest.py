"""The official clients call a real server process on each store."""

from collections.abc import Iterator

import pytest

from tests.harness.server import ServerProcess
from tests.http.callers import Caller
from tests.http.store_servers import STORES, serve_store


@pytest.fixture(scope="session", params=STORES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server, on each store in turn; shared by all tests."""
    yield from serve_store(request, tmp_path_factory)


@pytest.fixture
def organisation(request: pytest.FixtureRequest) -> str:
    """The test's own organisation."""
    return f"org {request.node.name}"[:128]


@pytest.fixture(scope="session")
def token(server: ServerProcess) -> str:
    """A token for all organisations."""
    return server.create_token(all_organisations=True)


@pytest.fixture
def caller(server: ServerProcess, token: str, organisation: str) -> Iterator[Caller]:
    """Sends raw requests with the same token."""
    with Caller(server.port, token, organisation) as caller:
        yield caller
