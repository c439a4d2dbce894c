"""The HTTP tests call a real server process on each store; every test has an organisation of its own."""

import secrets
from collections.abc import Iterator

import pytest

from tests.harness.server import ServerProcess
from tests.http.callers import Caller
from tests.http.raw_connection import RawConnection
from tests.http.store_servers import STORES, serve_store


@pytest.fixture(scope="session", params=STORES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on each store; all tests share it."""
    yield from serve_store(request, tmp_path_factory)


@pytest.fixture(scope="session")
def operator_token(server: ServerProcess) -> str:
    """A token that is valid for all organisations."""
    return server.create_token(all_organisations=True)


@pytest.fixture
def caller(server: ServerProcess, operator_token: str) -> Iterator[Caller]:
    """A caller for an organisation that no other test uses."""
    with Caller(server.port, operator_token, f"organisation-{secrets.token_hex(8)}") as caller:
        yield caller


@pytest.fixture
def connection(caller: Caller) -> Iterator[RawConnection]:
    """A connection to the caller's server, for requests byte by byte."""
    with RawConnection(caller.port) as connection:
        yield connection
