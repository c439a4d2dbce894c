"""Every test of the client's operations runs four times: with both clients, on our server and on a vendor's."""

import secrets
from collections.abc import Iterator

import pytest

from sessionary import Client
from tests.client.clients import FLAVOURS, Endpoint, make_client
from tests.client.faults import FaultProxy
from tests.client.vendor import TOKEN, VendorServer
from tests.harness.server import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Our server, shared by all tests."""
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('client')}/store.db") as running:
        yield running


@pytest.fixture(scope="session")
def our_endpoint(server: ServerProcess) -> Endpoint:
    """Our server, with a token for every organisation."""
    return Endpoint("own", server.base_url, server.create_token(all_organisations=True))


@pytest.fixture
def vendor() -> Iterator[VendorServer]:
    """A vendor's server, which knows no idempotency keys."""
    with VendorServer() as running:
        yield running


@pytest.fixture
def vendor_with_keys() -> Iterator[VendorServer]:
    """A server that honours idempotency keys and declares it."""
    with VendorServer(honours_keys=True) as running:
        yield running


@pytest.fixture
def organisation() -> str:
    """An organisation of this test only."""
    return f"organisation {secrets.token_hex(8)}"


@pytest.fixture(params=["own", "vendor"])
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """Our server and the vendor's in turn."""
    if request.param == "own":
        our_endpoint = request.getfixturevalue("our_endpoint")
        assert isinstance(our_endpoint, Endpoint)
        return our_endpoint
    vendor = request.getfixturevalue("vendor")
    assert isinstance(vendor, VendorServer)
    return Endpoint("vendor", vendor.base_url, TOKEN)


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    """The blocking client and the awaitable one in turn."""
    return str(request.param)


@pytest.fixture
def client(flavour: str, endpoint: Endpoint, organisation: str) -> Iterator[Client]:
    """Each client on each server in turn."""
    with make_client(flavour, endpoint.url, token=endpoint.token, organisation=organisation) as client:
        yield client


@pytest.fixture
def our_client(flavour: str, our_endpoint: Endpoint, organisation: str) -> Iterator[Client]:
    """Each client on our server."""
    with make_client(flavour, our_endpoint.url, token=our_endpoint.token, organisation=organisation) as client:
        yield client


@pytest.fixture
def faulty(vendor_with_keys: VendorServer) -> Iterator[FaultProxy]:
    """A proxy that injects faults, in front of a server that honours keys."""
    with FaultProxy(vendor_with_keys.port) as proxy:
        yield proxy
