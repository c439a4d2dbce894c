"""One organisation floods the server: other tenants are never refused, and wait for at most three batches."""

import asyncio

import pytest

from tests.harness.proxy import Proxy
from tests.harness.server import ServerProcess
from tests.http.callers import Caller, Response, message
from tests.overload.load_generator import Load, LoadResult
from tests.overload.test_overload import create_sessions, encode_updates

SECONDS = 6.0
READ_BATCH = b"\0read_batch\0"
BATCHES_MAX = 3
"""The batch that runs when the request arrives, one that it may just miss, and its own."""


@pytest.mark.slow
@pytest.mark.alone
async def test_a_flood_refuses_or_delays_no_other_tenant(proxy: Proxy, server: ServerProcess) -> None:
    busy_token = await asyncio.to_thread(server.create_token, "acme")
    quiet_token = await asyncio.to_thread(server.create_token, "quiet")
    sessions = await asyncio.to_thread(create_sessions, server, busy_token)
    responses: list[Response] = []
    batches: list[int] = []
    with Caller(server.port, quiet_token, "quiet") as quiet:
        session_id = await asyncio.to_thread(quiet.new_session)
        proxy.bytes_per_second = 150_000

        async with Load(server.port, encode_updates(busy_token, sessions)) as load:
            flood = asyncio.create_task(load.run_open_loop(900, SECONDS))
            await asyncio.sleep(1)
            while not flood.done():
                before = proxy.sent.count(READ_BATCH)
                update = lambda: quiet.update(session_id, newMessages=[message("a")])  # noqa: E731
                responses.append(await asyncio.to_thread(update))
                batches.append(proxy.sent.count(READ_BATCH) - before)
            result: LoadResult = flood.result()

    assert result.statuses[503] > 5 * result.statuses[200] > 0, result.statuses
    assert [response.status for response in responses] == [200] * len(responses)
    assert len(responses) >= 5
    assert 1 <= max(batches) <= BATCHES_MAX, batches
