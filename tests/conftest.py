"""What every test may ask for: real database servers, and the tools of this machine."""

import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.harness.clock import find_faketime
from tests.harness.fault_injection import FIU_LIBRARIES
from tests.harness.machine_lock import machine_lock
from tests.harness.postgres import PostgresServer, postgres_or_skip
from tests.harness.priority import raised_priority


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test marked `alone` have the machine for itself: other workers wait, and other programs get less of it.

    The time spent waiting for that is not part of the test's time.
    """
    # Each worker has a directory of its own within that of the run.
    own = Path(item.config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]  # noqa: SLF001
    directory = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    alone = item.get_closest_marker("alone") is not None
    with machine_lock(directory, exclusive=alone), raised_priority() if alone else nullcontext():
        return (yield)


def _postgres(major: int) -> Iterator[PostgresServer]:
    with postgres_or_skip(major) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_18() -> Iterator[PostgresServer]:
    """PostgreSQL 18, started for the first test that uses it; shared, so take a database of your own."""
    yield from _postgres(18)


@pytest.fixture(scope="session")
def postgres_15() -> Iterator[PostgresServer]:
    """PostgreSQL 15, Debian's; as `postgres_18`."""
    yield from _postgres(15)


@pytest.fixture(scope="session", params=[18, 15], ids=["postgres-18", "postgres-15"])
def postgres(request: pytest.FixtureRequest) -> PostgresServer:
    """Each tested version of PostgreSQL in turn."""
    server = request.getfixturevalue(f"postgres_{request.param}")
    assert isinstance(server, PostgresServer)
    return server


@pytest.fixture
def postgres_database(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of the test's own, on each tested version in turn."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def postgres_18_database(postgres_18: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of the test's own, on PostgreSQL 18."""
    with postgres_18.database() as url:
        yield url


@pytest.fixture
def postgres_15_database(postgres_15: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of the test's own, on PostgreSQL 15."""
    with postgres_15.database() as url:
        yield url


@pytest.fixture(scope="session")
def harmed_postgres() -> Iterator[dict[int, PostgresServer]]:
    """Servers that tests stop, freeze and kill, by major version; each is made for the first test that uses it."""
    servers: dict[int, PostgresServer] = {}
    yield servers
    for server in servers.values():
        server.close()


@pytest.fixture
def own_postgres(request: pytest.FixtureRequest, harmed_postgres: dict[int, PostgresServer]) -> PostgresServer:
    """A running PostgreSQL with an operator's settings, fsync included, that the test may stop and damage; 18 by default."""
    major = int(getattr(request, "param", 18))
    if major not in harmed_postgres:
        harmed_postgres[major] = postgres_or_skip(major, fsync=True)
    if not harmed_postgres[major].running:
        harmed_postgres[major].start()
    return harmed_postgres[major]


@pytest.fixture
def own_database(own_postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of the test's own, on the server that it may harm."""
    with own_postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def needs_strace() -> None:
    """Skip the test where strace is not installed."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")


@pytest.fixture(scope="session")
def needs_faketime() -> None:
    """Skip the test where libfaketime is not installed."""
    if find_faketime() is None:
        pytest.skip("libfaketime is not installed: apt-get install libfaketime")


@pytest.fixture(scope="session")
def needs_fiu() -> None:
    """Skip the test where libfiu's preloadable libraries are not installed."""
    if not all(library.exists() for library in FIU_LIBRARIES):
        pytest.skip("libfiu is not installed: apt-get install fiu-utils")
