"""A server whose PostgreSQL is behind a proxy, which makes the connection slow."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.proxy import Proxy
from tests.harness.server import ServerProcess


@pytest.fixture
async def proxy(postgres_18_database: str) -> AsyncIterator[Proxy]:
    async with Proxy(postgres_18_database) as proxy:
        yield proxy


@pytest.fixture
async def server(proxy: Proxy, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    server = ServerProcess(proxy.url, "--no-first-token", "--log-level", "warning", directory=tmp_path)
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.close)
