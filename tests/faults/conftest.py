"""Servers for fault injection: one on SQLite, and two on one PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.server import ServerProcess


@pytest.fixture
def sqlite_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server on SQLite."""
    with ServerProcess(f"sqlite:///{tmp_path}/sessionary.db", directory=tmp_path) as running:
        yield running


@pytest.fixture
def server_pair(own_database: str) -> Iterator[list[ServerProcess]]:
    """Two servers on one database of a PostgreSQL that the test may kill."""
    with ServerProcess(own_database) as first, ServerProcess(own_database) as second:
        yield [first, second]
