"""The timeout of a call bounds every kind of waiting, also against a server that does nothing at all."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from sessionary import APIConnectionError, APITimeoutError, Client, InvalidArgumentError
from tests.client.clients import make_client
from tests.client.vendor import TOKEN, VendorServer

GIVEN: Final[dict[str, Any]] = {"token": TOKEN, "organisation": "acme"}


@pytest.fixture
def unread_server() -> Iterator[str]:
    """The address of a server that takes connections and never reads from them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def slow() -> Iterator[str]:
    """The address of a server that reads a little, now and then."""
    closing = threading.Event()

    def read(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            while not closing.wait(0.01) and connection.recv(16_384):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        reader = threading.Thread(target=read, args=(listener,), daemon=True)
        reader.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        closing.set()
        reader.join(5)


@pytest.fixture
def full() -> Iterator[str]:
    """The address of a server that takes no more connections: the kernel leaves further ones without an answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for _ in range(4):
            waiting.append(connection := socket.socket())
            connection.settimeout(0)
            connection.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for connection in waiting:
            connection.close()


def _takes(call: Callable[[], Any]) -> float:
    started = time.monotonic()
    with pytest.raises(APITimeoutError):
        call()
    return time.monotonic() - started


@pytest.mark.parametrize("server", ["unread_server", "slow"])
def test_the_timeout_covers_sending_a_body(flavour: str, server: str, request: pytest.FixtureRequest) -> None:
    messages = [{"role": "user", "content": "x" * 1_000_000}] * 20
    with make_client(flavour, request.getfixturevalue(server), timeout=1.2, **GIVEN) as client:
        assert 1.1 < _takes(lambda: client.create_session("someone", initial_messages=messages)) < 4


def test_the_timeout_covers_connecting(flavour: str, full: str) -> None:
    with make_client(flavour, full, timeout=0.6, **GIVEN) as client:
        assert 0.5 < _takes(client.list_sessions) < 2


def test_a_timeout_without_a_response_counts_as_sent(flavour: str, unread_server: str) -> None:
    with make_client(flavour, unread_server, **GIVEN) as client, pytest.raises(APITimeoutError) as raised:
        client.create_session("someone", timeout=1)
    assert raised.value.sent


def test_a_name_with_several_addresses_is_tried_at_each(flavour: str, vendor: VendorServer) -> None:
    with make_client(flavour, f"http://localhost:{vendor.port}", **GIVEN) as client:
        assert client.list_sessions().data == []


def test_a_name_without_an_address_is_a_server_that_could_not_be_reached(flavour: str) -> None:
    with (
        make_client(flavour, "http://nowhere.invalid", max_retries=0, **GIVEN) as client,
        pytest.raises(APIConnectionError, match="could not be reached") as raised,
    ):
        client.create_session("someone")
    assert not raised.value.sent


def test_a_call_without_a_timeout_waits(vendor: VendorServer) -> None:
    with Client(vendor.base_url, timeout=None, **GIVEN) as client:
        assert client.list_sessions().data == []
        assert client.list_sessions(timeout=5).data == []


@pytest.mark.parametrize("timeout", [math.inf, 1e12, 10**9])
def test_a_timeout_too_large_for_the_clock_is_no_timeout(flavour: str, vendor: VendorServer, timeout: float) -> None:
    with make_client(flavour, vendor.base_url, **GIVEN) as client:
        assert client.list_sessions(timeout=timeout).data == []


def test_a_timeout_that_is_no_number_is_refused(flavour: str, vendor: VendorServer) -> None:
    with make_client(flavour, vendor.base_url, **GIVEN) as client:
        with pytest.raises(InvalidArgumentError, match="number of seconds"):
            client.create_session("someone", timeout=math.nan)
        assert client.list_sessions().data == []
