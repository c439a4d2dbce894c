"""Ten times the capacity of the database: throughput stays, accepted requests are fast, the rest is refused at once."""

import asyncio
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.faults.soak import log_figures, soak_scaled
from tests.harness.proxy import Proxy
from tests.harness.server import ServerProcess
from tests.http.callers import Caller, as_json, message
from tests.overload.load_generator import EncodeRequest, Load, LoadResult, percentile

ACCEPTED_SECONDS_MAX = 1.0
SECONDS = soak_scaled(8, 60)
"""How long the server is overloaded."""
MEBIBYTE = 1024 * 1024
SESSIONS = 40


def create_sessions(server: ServerProcess, token: str) -> list[str]:
    with Caller(server.port, token, "acme") as api:
        return [api.new_session() for _ in range(SESSIONS)]


def format_request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{head}{length}\r\n".encode() + body


def encode_updates(token: str, sessions: list[str]) -> EncodeRequest:
    """Return requests that append 1 KiB to one session after another."""
    body = as_json({"newMessages": [message("a" * 1_024)]})
    paths = [f"/api/v3/organizations/acme/ai/sessions/{quote(session)}" for session in sessions]
    encoded = [format_request("PUT", path, token, body) for path in paths]
    return lambda number: encoded[number % len(encoded)]


def encode_lists(token: str, _: list[str]) -> EncodeRequest:
    """Return requests that list a short page."""
    encoded = format_request("GET", "/api/v3/organizations/acme/ai/sessions?limit=2", token)
    return lambda _: encoded


def memory_bytes(server: ServerProcess) -> int:
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def assert_handles_overload(peak: LoadResult, load: LoadResult, grown: int) -> None:
    report = (
        f"peak {peak.rate:.0f}/s, overloaded {load.rate:.0f}/s of {sum(load.statuses.values()) / load.seconds:.0f}/s,"
        f" accepted p99 {percentile(load.accepted, 0.99):.3f} s, refused p99 {percentile(load.refused, 0.99):.3f} s,"
        f" {dict(load.statuses)}, grown {grown / MEBIBYTE:.0f} MiB"
    )
    log_figures(overload=report)
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
async def test_writes_continue_at_ten_times_the_capacity_of_a_slow_connection(
    proxy: Proxy, server: ServerProcess
) -> None:
    token = await asyncio.to_thread(server.create_token, "acme")
    sessions = await asyncio.to_thread(create_sessions, server, token)
    proxy.bytes_per_second = 150_000
    async with Load(server.port, encode_updates(token, sessions)) as load:
        peak = await load.run_closed_loop(workers=64, seconds=4)
        before = memory_bytes(server)
        overload = await load.run_open_loop(10 * peak.rate, SECONDS)

    assert_handles_overload(peak, overload, memory_bytes(server) - before)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(120 + 3 * SECONDS)
async def test_lists_continue_at_ten_times_the_capacity_of_a_distant_database(
    proxy: Proxy, server: ServerProcess
) -> None:
    token = await asyncio.to_thread(server.create_token, "acme")
    await asyncio.to_thread(create_sessions, server, token)
    proxy.delay_seconds = 0.1
    async with Load(server.port, encode_lists(token, [])) as load:
        peak = await load.run_closed_loop(workers=64, seconds=4)
        before = memory_bytes(server)
        overload = await load.run_open_loop(10 * peak.rate, SECONDS)

    assert_handles_overload(peak, overload, memory_bytes(server) - before)
