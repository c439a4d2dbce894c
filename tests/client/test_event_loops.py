"""One asynchronous client in several event loops, and the errors of a closed client."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx2
import pytest
import uvloop

from sessionary import AsyncClient, Client, ClientClosedError, ClientUsageError
from tests.client.clients import Endpoint
from tests.client.mock_servers import always, client_of
from tests.client.vendor import TOKEN, VendorServer

GIVEN: Final[dict[str, Any]] = {"token": TOKEN, "organisation": "acme", "max_retries": 0}


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_client_outlives_an_event_loop_and_leaves_nothing_open_in_it(vendor: VendorServer, run: Any) -> None:
    client = AsyncClient(vendor.base_url, **GIVEN)

    async def ask() -> Any:
        return [page.data for page in await asyncio.gather(*(client.list_sessions() for _ in range(3)))]

    for _ in range(3):
        assert run(ask()) == [[], [], []]
    run(client.close())
    # What were left open would warn now, and warnings are errors here.
    gc.collect()


def test_a_loop_that_was_closed_without_closing_the_client_is_released(vendor: VendorServer) -> None:
    client = AsyncClient(vendor.base_url, **GIVEN)
    for _ in range(2):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(client.list_sessions()).data == []
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    asyncio.run(client.close())


def test_two_loops_at_once_share_a_client(our_endpoint: Endpoint, organisation: str) -> None:
    client = AsyncClient(our_endpoint.url, token=our_endpoint.token, organisation=organisation)
    both = threading.Barrier(2)

    async def ask(user_id: str) -> set[str]:
        both.wait(30)
        ids = [(await client.create_session(user_id)).session_id for _ in range(10)]
        both.wait(30)
        read = await asyncio.gather(*(client.get_session(session_id) for session_id in ids))
        return {session.user_id for session in read}

    with ThreadPoolExecutor(2) as threads:
        users = [threads.submit(lambda user: asyncio.run(ask(user)), user) for user in ("ada", "bob")]
        assert [user.result(60) for user in users] == [{"ada"}, {"bob"}]
    asyncio.run(client.close())


def test_a_client_that_is_forgotten_is_closed_with_its_loop(vendor: VendorServer) -> None:
    async def forget() -> None:
        assert (await AsyncClient(vendor.base_url, **GIVEN).list_sessions()).data == []

    asyncio.run(forget())
    gc.collect()


def test_a_closed_client_raises_an_error(flavour: str, vendor: VendorServer) -> None:
    with client_of(flavour, always(200, "[]")) as client:
        client.close()
        client.close()
        with pytest.raises(ClientClosedError, match="closed") as raised:
            client.list_sessions()
        assert (raised.value.status, raised.value.code) == (0, "CLIENT_CLOSED")
        with pytest.raises(ClientClosedError):
            list(client.iterate_sessions())
        with pytest.raises(ClientClosedError), client.session(user_id="someone"):
            pass
    blocking = Client(vendor.base_url, **GIVEN)
    with blocking, blocking:
        blocking.list_sessions()
    with pytest.raises(ClientClosedError), blocking:
        pass


async def test_a_closed_awaitable_client_is_not_entered_again(vendor: VendorServer) -> None:
    client = AsyncClient(vendor.base_url, **GIVEN)
    async with client:
        await client.list_sessions()
    with pytest.raises(ClientClosedError):
        await client.__aenter__()


async def test_closing_closes_the_connections_of_another_loop_too(vendor: VendorServer) -> None:
    client = AsyncClient(vendor.base_url, **GIVEN)
    await client.list_sessions()
    requested, stop = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        await client.list_sessions()
        requested.set()
        await asyncio.to_thread(stop.wait, 30)

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    await asyncio.to_thread(requested.wait, 30)
    await client.close()
    stop.set()
    await asyncio.to_thread(thread.join, 30)
    gc.collect()


def test_without_asyncio_an_async_client_names_what_it_needs() -> None:
    client = AsyncClient("http://a.test", **GIVEN)
    call = client.list_sessions()
    with pytest.raises(ClientUsageError, match="asyncio"):
        call.send(None)


def test_a_transport_of_the_callers_own_belongs_to_its_first_loop(vendor: VendorServer) -> None:
    client = AsyncClient(vendor.base_url, transport=httpx2.AsyncHTTPTransport(), **GIVEN)

    async def ask() -> None:
        await client.list_sessions()
        await client.close()

    async def ask_again() -> None:
        with pytest.raises(ClientUsageError, match="event loop"):
            await other.list_sessions()

    asyncio.run(ask())
    other = AsyncClient("http://a.test", transport=_Transport(), **GIVEN)
    asyncio.run(_list(other))
    asyncio.run(ask_again())


class _Transport(httpx2.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=[], request=request)


async def _list(client: AsyncClient) -> Any:
    return (await client.list_sessions()).data
