"""Where the faults strike: our servers on a file, and two of them on one PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.server import ServerProcess


@pytest.fixture
def sqlite_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server on a file."""
    with ServerProcess(f"sqlite:///{tmp_path}/sessionary.db", directory=tmp_path) as running:
        yield running


@pytest.fixture
def pair(own_database: str) -> Iterator[list[ServerProcess]]:
    """Two servers on one database of a PostgreSQL that the test may harm."""
    with ServerProcess(own_database) as first, ServerProcess(own_database) as second:
        yield [first, second]
