"""A client works after a fork in parent and child, and each gets its own responses."""

import asyncio
import contextlib
import os
import socket
import ssl
import stat
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sessionary import AsyncClient, Client, ClientUsageError
from tests.client.clients import Endpoint, make_client
from tests.client.forking import fork, in_child
from tests.client.test_configuration import certificate as certificate  # noqa: PLC0414 - a fixture
from tests.client.vendor import TOKEN, VendorServer

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    # Newer Pythons warn of any fork while there are threads: these tests are about that.
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]


@pytest.fixture
def client(our_endpoint: Endpoint, organisation: str) -> Iterator[Client]:
    """A client whose pool has a connection."""
    with Client(our_endpoint.url, token=our_endpoint.token, organisation=organisation, timeout=30) as client:
        client.list_sessions()
        yield client


def _own_reads(client: Client, session_id: str, times: int) -> int:
    return sum(client.get_session(session_id).id != session_id for _ in range(times))


def test_parent_and_children_read_their_own_sessions(client: Client) -> None:
    ids = [client.create_session("someone").session_id for _ in range(4)]
    client.get_session(ids[0])
    children = [in_child(lambda mine=mine: _own_reads(client, mine, 100)) for mine in ids[1:]]  # type: ignore[misc]
    assert _own_reads(client, ids[0], 100) == 0
    assert [child() for child in children] == [0, 0, 0]


def test_a_fork_while_other_threads_use_the_pool_does_no_harm(client: Client) -> None:
    ids = [client.create_session("someone").session_id for _ in range(6)]
    stop = threading.Event()

    def read(session_id: str) -> int:
        wrong = 0
        while not stop.is_set():
            wrong += client.get_session(session_id).id != session_id
        return wrong

    with ThreadPoolExecutor(4) as threads:
        reading = [threads.submit(read, session_id) for session_id in ids[:4]]
        try:
            for _ in range(10):
                assert in_child(lambda: _own_reads(client, ids[4], 5))() == 0
        finally:
            stop.set()
        assert [future.result(30) for future in reading] == [0] * 4


def test_a_fork_in_a_thread_leaves_the_client_usable(client: Client) -> None:
    session_id = client.create_session("someone").session_id
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(in_child(lambda: client.get_session(session_id).id)()))
    thread.start()
    thread.join(60)
    assert found == [session_id]


def test_processes_of_multiprocessing_may_share_a_client(client: Client) -> None:
    session_id = client.create_session("someone").session_id

    def ask(answers: Any) -> None:
        answers.put(client.get_session(session_id).id)

    answers = fork.Queue()
    workers = [fork.Process(target=ask, args=(answers,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=60) for _ in workers] == [session_id] * 3
    for worker in workers:
        worker.join(60)
    assert client.get_session(session_id).id == session_id


def _connections(server: VendorServer) -> int:
    """Count the connections to a server that this process holds."""
    held = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode):
                with socket.socket(fileno=os.dup(int(entry.name))) as copy:
                    held += copy.getpeername()[1:2] == (server.port,)
    return held


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
@pytest.mark.parametrize("ends", ["used", "closed"])
@pytest.mark.parametrize("encrypted", ["", "tls"], ids=["plain", "tls"])
def test_a_child_drops_the_parents_connection_without_sending_anything(
    flavour: str, certificate: Path, ends: str, encrypted: str
) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    trusting: Any = ssl.create_default_context(cafile=f"{certificate}.crt") if encrypted else True
    with VendorServer(tls=serving if encrypted else None) as vendor:
        options = {"token": TOKEN, "organisation": "acme", "verify": trusting, "max_retries": 0}
        with make_client(flavour, vendor.base_url, **options) as client:
            client.list_sessions()
            accepted = vendor.accepted
            assert _connections(vendor) == 1

            def child() -> int:
                if ends == "closed":
                    if flavour == "blocking":
                        client.close()
                    else:
                        asyncio.run(_async_client(client).close())
                    return _connections(vendor)
                _ask_in_child(client, flavour)
                return _connections(vendor)

            left = in_child(child)()
            # Blocking, the child has one of its own; awaitable, its loop has ended and closed its own.
            assert left == (1 if ends == "used" and flavour == "blocking" else 0)
            # The parent's connection is as it was: what it asks now goes over it, and no new one is opened.
            others = vendor.accepted - accepted
            assert client.list_sessions().data == []
            assert vendor.accepted - accepted == others == (1 if ends == "used" else 0)


def _async_client(client: Any) -> AsyncClient:
    inner: AsyncClient = client._client  # noqa: SLF001 - of the tests' own wrapper
    return inner


def _ask_in_child(client: Client, flavour: str) -> None:
    if flavour == "blocking":
        assert client.list_sessions().data == []
    else:
        assert asyncio.run(_list_with(_async_client(client))) == []


async def _list_with(client: AsyncClient) -> Any:
    return (await client.list_sessions()).data


async def test_a_fork_inside_a_coroutine_leaves_the_client_usable(our_endpoint: Endpoint, organisation: str) -> None:
    async with AsyncClient(our_endpoint.url, token=our_endpoint.token, organisation=organisation) as client:
        session_id = (await client.create_session("someone")).session_id

        def child() -> str:
            return asyncio.run(client.get_session(session_id)).id

        waiting = in_child(child)
        for _ in range(20):
            assert (await client.get_session(session_id)).id == session_id
        assert await asyncio.to_thread(waiting) == session_id
        assert (await client.get_session(session_id)).id == session_id


def test_a_transport_of_the_callers_own_is_refused_in_a_child(vendor: VendorServer) -> None:
    given: dict[str, Any] = {"token": TOKEN, "organisation": "acme"}

    def refused(client: Client) -> str:
        with pytest.raises(ClientUsageError) as raised:
            client.list_sessions()
        return raised.value.detail

    with Client(vendor.base_url, transport=httpx2.HTTPTransport(), **given) as client:
        client.list_sessions()
        assert "forked process" in in_child(lambda: refused(client))()
        assert client.list_sessions().data == []
    nothing = httpx2.MockTransport(lambda _: httpx2.Response(200, json=[]))
    with Client("http://a.test", transport=nothing, **given) as client:
        assert in_child(lambda: client.list_sessions().data)() == []


def test_children_forked_ahead_of_work_each_serve_with_the_same_client(client: Client) -> None:
    """As servers do that load the application and fork their workers then."""
    session_id = client.create_session("someone").session_id
    workers = [in_child(lambda: [client.get_session(session_id).id for _ in range(20)]) for _ in range(4)]
    assert [set(worker()) for worker in workers] == [{session_id}] * 4
    assert client.get_session(session_id).id == session_id
