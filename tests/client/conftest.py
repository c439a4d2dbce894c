"""Every test of the client's operations runs four times: with both clients, on our server and on a vendor's."""

import secrets
from collections.abc import Iterator

import pytest

from sessionary import Client
from tests.client.calling import FLAVOURS, Place, make_client
from tests.client.faults import FaultProxy
from tests.client.vendor import TOKEN, VendorServer
from tests.harness.server import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Our server, shared by all tests."""
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('client')}/store.db") as running:
        yield running


@pytest.fixture(scope="session")
def ours(server: ServerProcess) -> Place:
    """Our server, with a token for every organisation."""
    return Place("ours", server.base_url, server.create_token(all_organisations=True))


@pytest.fixture
def vendor() -> Iterator[VendorServer]:
    """A vendor's server, which knows no idempotency keys."""
    with VendorServer() as running:
        yield running


@pytest.fixture
def keeper() -> Iterator[VendorServer]:
    """A server that honours idempotency keys and declares it."""
    with VendorServer(honours_keys=True) as running:
        yield running


@pytest.fixture
def organisation() -> str:
    """An organisation that no other test knows."""
    return f"organisation {secrets.token_hex(8)}"


@pytest.fixture(params=["ours", "vendor"])
def place(request: pytest.FixtureRequest) -> Place:
    """Our server and the vendor's in turn."""
    if request.param == "ours":
        ours = request.getfixturevalue("ours")
        assert isinstance(ours, Place)
        return ours
    vendor = request.getfixturevalue("vendor")
    assert isinstance(vendor, VendorServer)
    return Place("vendor", vendor.base_url, TOKEN)


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    """The blocking client and the awaitable one in turn."""
    return str(request.param)


@pytest.fixture
def client(flavour: str, place: Place, organisation: str) -> Iterator[Client]:
    """Each client on each server in turn."""
    with make_client(flavour, place.url, token=place.token, organisation=organisation) as client:
        yield client


@pytest.fixture
def our_client(flavour: str, ours: Place, organisation: str) -> Iterator[Client]:
    """Each client on our server."""
    with make_client(flavour, ours.url, token=ours.token, organisation=organisation) as client:
        yield client


@pytest.fixture
def faulty(keeper: VendorServer) -> Iterator[FaultProxy]:
    """A proxy that breaks things, before a server that honours keys."""
    with FaultProxy(keeper.port) as proxy:
        yield proxy
