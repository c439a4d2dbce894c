"""A call that is abandoned leaves nothing behind; many at once share one client."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from sessionary import APITimeoutError, AsyncClient, Client
from tests.client import faults
from tests.client.clients import Endpoint
from tests.client.faults import FaultProxy
from tests.client.vendor import TOKEN, VendorServer


@pytest.fixture
async def narrow(faulty: FaultProxy) -> AsyncIterator[AsyncClient]:
    """A client with a single connection: one that is not given back is missed at once."""
    transport = httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=1))
    async with AsyncClient(faulty.base_url, token=TOKEN, organisation="acme", transport=transport) as client:
        yield client


@pytest.mark.parametrize("seconds", [0, 0.001, 0.003, 0.01, 0.05, 0.15])
async def test_a_cancelled_call_gives_its_connection_back(
    narrow: AsyncClient, faulty: FaultProxy, seconds: float
) -> None:
    created = await narrow.create_session("someone")
    faulty.plan = [faults.delayed(0.1)]
    abandoned = asyncio.create_task(narrow.get_session(created.session_id))
    await asyncio.sleep(seconds)
    abandoned.cancel()
    await asyncio.wait([abandoned])
    assert abandoned.cancelled() == (seconds < 0.1)
    faulty.plan = []
    assert (await narrow.get_session(created.session_id, timeout=5)).id == created.session_id


async def test_a_cancelled_call_is_not_retried(narrow: AsyncClient, faulty: FaultProxy) -> None:
    faulty.plan = [faults.delayed(5)] * 4
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await narrow.list_sessions()
    assert faulty.arrived == ["GET"]


async def test_a_cancelled_pause_ends_the_call(narrow: AsyncClient, faulty: FaultProxy) -> None:
    faulty.plan = [faults.overloaded("20")]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await narrow.list_sessions()
    assert faulty.arrived == ["GET"]


async def test_a_call_that_waits_for_a_connection_keeps_to_its_timeout(narrow: AsyncClient, faulty: FaultProxy) -> None:
    await narrow.list_sessions()
    faulty.plan = [faults.delayed(1)]
    slow = asyncio.create_task(narrow.list_sessions())
    await asyncio.sleep(0.05)
    with pytest.raises(APITimeoutError) as raised:
        await narrow.list_sessions(timeout=0.2)
    assert raised.value.code == "DEADLINE_EXCEEDED"
    assert (await slow).data == []


async def test_an_iteration_may_be_left_early(narrow: AsyncClient, vendor_with_keys: VendorServer) -> None:
    for _ in range(5):
        await narrow.create_session("someone")
    count = len(vendor_with_keys.seen)
    async for _ in narrow.iterate_sessions(page_limit=2):
        break
    assert len(vendor_with_keys.seen) == count + 1
    await narrow.list_sessions()


async def test_tasks_share_a_client(our_endpoint: Endpoint, organisation: str) -> None:
    async with AsyncClient(our_endpoint.url, token=our_endpoint.token, organisation=organisation) as client:
        created = await asyncio.gather(*(client.create_session(f"user-{number}") for number in range(40)))
        read = await asyncio.gather(*(client.get_session(each.session_id) for each in created))
    assert [session.user_id for session in read] == [f"user-{number}" for number in range(40)]


def test_threads_share_a_client_and_each_has_its_own_deadline(faulty: FaultProxy) -> None:
    faulty.plan = []
    arrived = threading.Barrier(2)

    def slow(client: Client) -> int:
        arrived.wait(5)
        return len(client.list_sessions(timeout=10).data)

    def hasty(client: Client) -> None:
        arrived.wait(5)
        with pytest.raises(APITimeoutError):
            client.list_sessions(timeout=0.2)

    with Client(faulty.base_url, token=TOKEN, organisation="acme") as client:
        client.create_session("someone")
        faulty.plan = [faults.delayed(0.6)] * 2
        with ThreadPoolExecutor(2) as threads:
            patient = threads.submit(slow, client)
            threads.submit(hasty, client).result()
            assert patient.result() == 1
