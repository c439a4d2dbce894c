"""Ten times what the database can take: the work goes on, what is accepted is answered in time, the rest at once."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.faults.soak import dose, note
from tests.harness.proxy import Proxy
from tests.harness.server import ServerProcess
from tests.http.calling import Caller, as_json, message
from tests.overload.load_generator import Load, Spell, Tally, percentile

ACCEPTED_SECONDS_MAX = 1.0
SECONDS = dose(8, 60)
"""How long the server is overloaded."""
MEBIBYTE = 1024 * 1024
SESSIONS = 40


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


def begin(server: ServerProcess, token: str) -> list[str]:
    with Caller(server.port, token, "acme") as api:
        return [api.begin() for _ in range(SESSIONS)]


def request_of(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{head}{length}\r\n".encode() + body


def updates_of(token: str, sessions: list[str]) -> Spell:
    """Appends a kibibyte to one session after another."""
    body = as_json({"newMessages": [message("a" * 1_024)]})
    paths = [f"/api/v3/organizations/acme/ai/sessions/{quote(session)}" for session in sessions]
    spelled = [request_of("PUT", path, token, body) for path in paths]
    return lambda number: spelled[number % len(spelled)]


def lists_of(token: str, _: list[str]) -> Spell:
    """Lists a short page."""
    spelled = request_of("GET", "/api/v3/organizations/acme/ai/sessions?limit=2", token)
    return lambda _: spelled


def resident_bytes(server: ServerProcess) -> int:
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def assert_unshaken(peak: Tally, load: Tally, grown: int) -> None:
    report = (
        f"peak {peak.rate:.0f}/s, overloaded {load.rate:.0f}/s of {sum(load.statuses.values()) / load.seconds:.0f}/s,"
        f" accepted p99 {percentile(load.accepted, 0.99):.3f} s, refused p99 {percentile(load.refused, 0.99):.3f} s,"
        f" {dict(load.statuses)}, grown {grown / MEBIBYTE:.0f} MiB"
    )
    note(overload=report)
    assert load.rate >= 0.8 * peak.rate, report
    assert percentile(load.accepted, 0.99) <= ACCEPTED_SECONDS_MAX, report
    assert set(load.statuses) == {200, 503}, report
    assert load.statuses[503] > 5 * load.statuses[200], report
    assert load.without_retry_after == 0, report
    assert percentile(load.refused, 0.99) <= 0.5, report
    assert grown <= 100 * MEBIBYTE, report


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(120 + 3 * SECONDS)
async def test_writes_over_a_narrow_wire_go_on_at_ten_times_what_it_takes(proxy: Proxy, server: ServerProcess) -> None:
    token = await asyncio.to_thread(server.create_token, "acme")
    sessions = await asyncio.to_thread(begin, server, token)
    proxy.bytes_per_second = 150_000
    async with Load(server.port, updates_of(token, sessions)) as load:
        peak = await load.closed(workers=64, seconds=4)
        before = resident_bytes(server)
        overload = await load.open(10 * peak.rate, SECONDS)

    assert_unshaken(peak, overload, resident_bytes(server) - before)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(120 + 3 * SECONDS)
async def test_lists_over_a_long_wire_go_on_at_ten_times_what_it_takes(proxy: Proxy, server: ServerProcess) -> None:
    token = await asyncio.to_thread(server.create_token, "acme")
    await asyncio.to_thread(begin, server, token)
    proxy.delay_seconds = 0.1
    async with Load(server.port, lists_of(token, [])) as load:
        peak = await load.closed(workers=64, seconds=4)
        before = resident_bytes(server)
        overload = await load.open(10 * peak.rate, SECONDS)

    assert_unshaken(peak, overload, resident_bytes(server) - before)
