"""The first write of a new client, when its connection breaks: a probe finds out whether the server supports keys."""

from collections.abc import Callable
from typing import Any, Final

import httpx2
import pytest

from sessionary import APIConnectionError, APITimeoutError, Attempt, Client, SessionaryError, UnavailableError
from sessionary.models import ACCEPT_IDEMPOTENCY_KEY, IDEMPOTENCY_KEY
from tests.client import faults
from tests.client.clients import Endpoint, make_client
from tests.client.faults import FaultProxy
from tests.client.mock_servers import Time, client_of, impatient, in_turn
from tests.client.vendor import TOKEN, VendorServer
from tests.harness.server import ServerProcess

HONOURED: Final = {ACCEPT_IDEMPOTENCY_KEY: "?1"}
WRITES: Final[list[Callable[[Client], Any]]] = [
    lambda client: client.create_session("someone"),
    lambda client: client.update_session("s", tokens_used=1),
    lambda client: client.extend_session("s"),
]
LOST: Final = [
    httpx2.ReadError("reset"),
    httpx2.RemoteProtocolError("connection closed"),
    httpx2.Response(502),
    httpx2.Response(504),
]


class MockServer:
    """Responds with each response in turn, and records the requests."""

    def __init__(self, *responses_by_key: httpx2.Response | Exception) -> None:
        self.requests: list[httpx2.Request] = []
        self._respond = in_turn(responses_by_key)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        return self._respond(request)

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("lost", LOST, ids=repr)
def test_a_lost_write_is_repeated_with_its_key_if_the_server_supports_keys(
    flavour: str, write: Callable[[Client], Any], lost: httpx2.Response | Exception
) -> None:
    mock_server = MockServer(
        lost, httpx2.Response(405, headers=HONOURED), httpx2.Response(201, json={"sessionId": "s"}, headers=HONOURED)
    )
    attempts: list[Attempt] = []
    time = Time()
    with client_of(flavour, mock_server, time, on_attempt=attempts.append) as client:
        write(client)
    first, probe, repeated = mock_server.requests
    assert (probe.method, repeated.method) == ("OPTIONS", first.method)
    assert first.headers[IDEMPOTENCY_KEY] == repeated.headers[IDEMPOTENCY_KEY] == '"key"'
    assert IDEMPOTENCY_KEY not in probe.headers
    assert (probe.content, probe.url.query) == (b"", b"")
    assert (first.content, first.url) == (repeated.content, repeated.url)
    assert [attempt.method for attempt in attempts] == mock_server.methods
    assert time.pauses == [0.25]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("lost", LOST[:3], ids=repr)
@pytest.mark.parametrize(
    "reply", [httpx2.Response(405), httpx2.Response(200, json=[]), httpx2.Response(404), httpx2.Response(204)], ids=repr
)
def test_a_lost_write_is_not_repeated_if_the_server_does_not_declare_support(
    flavour: str, write: Callable[[Client], Any], lost: httpx2.Response | Exception, reply: httpx2.Response
) -> None:
    mock_server = MockServer(lost, reply)
    with client_of(flavour, mock_server) as client, pytest.raises(SessionaryError) as raised:
        write(client)
    assert mock_server.methods[1:] == ["OPTIONS"]
    expected = APIConnectionError if isinstance(lost, Exception) else UnavailableError
    assert type(raised.value) is expected
    assert getattr(raised.value, "sent", True)


def test_a_failed_probe_is_retried_and_then_the_first_error_is_raised(flavour: str) -> None:
    broken: list[httpx2.Response | Exception] = [
        httpx2.ReadError("reset"),
        httpx2.ConnectError("refused"),
        httpx2.Response(502),
        httpx2.ReadError("again"),
    ]
    mock_server = MockServer(*broken)
    with (
        client_of(flavour, mock_server) as client,
        pytest.raises(APIConnectionError, match="complete response") as raised,
    ):
        client.create_session("someone")
    assert mock_server.methods == ["POST", "OPTIONS", "OPTIONS", "OPTIONS"]
    assert raised.value.sent
    answered = MockServer(
        *broken[:3], httpx2.Response(401, headers=HONOURED), httpx2.Response(201, json={"sessionId": "s"})
    )
    with client_of(flavour, answered) as client:
        client.create_session("someone")
    assert answered.methods == ["POST", "OPTIONS", "OPTIONS", "OPTIONS", "POST"]


def test_a_repetition_that_fails_too_is_repeated_without_another_probe(flavour: str) -> None:
    mock_server = MockServer(
        httpx2.ReadError("reset"),
        httpx2.Response(405, headers=HONOURED),
        httpx2.ReadError("reset"),
        httpx2.Response(201, json={"sessionId": "s"}),
    )
    with client_of(flavour, mock_server) as client:
        client.create_session("someone")
    assert mock_server.methods == ["POST", "OPTIONS", "POST", "POST"]


def test_no_probe_is_sent_without_a_failure_or_without_retries(flavour: str) -> None:
    mock_server = MockServer(
        httpx2.Response(201, json={"sessionId": "s"}), httpx2.ReadError("reset"), httpx2.ReadError("reset")
    )
    with client_of(flavour, mock_server) as client:
        client.create_session("someone")
        with pytest.raises(APIConnectionError):
            client.create_session("someone")
    with client_of(flavour, mock_server, max_retries=0) as client, pytest.raises(APIConnectionError):
        client.create_session("someone")
    assert mock_server.methods == ["POST"] * 3


def test_the_deadline_includes_the_probe(flavour: str) -> None:
    time = Time()

    def respond(request: httpx2.Request) -> httpx2.Response:
        time.now += 0.5
        if request.method == "OPTIONS":
            raise httpx2.ReadTimeout("slow")
        raise httpx2.ReadError("reset")

    with client_of(flavour, respond, time, timeout=1.2) as client, pytest.raises(APITimeoutError) as raised:
        client.create_session("someone")
    assert raised.value.sent


@pytest.mark.parametrize(
    "fault", [faults.dropped_before, faults.dropped_after, faults.truncated], ids=lambda f: f.__name__
)
def test_on_our_server_the_first_write_of_a_fresh_client_has_one_effect(
    flavour: str, server: ServerProcess, our_endpoint: Endpoint, organisation: str, fault: faults.Fault
) -> None:
    options = {"token": our_endpoint.token, "organisation": organisation, "_dependencies": impatient(flavour)}
    with FaultProxy(server.port) as proxy:
        proxy.plan = [fault]
        with make_client(flavour, proxy.base_url, **options) as client:
            created = client.create_session("someone")
        proxy.plan = [fault]
        with make_client(flavour, proxy.base_url, **options) as client:
            updated = client.update_session(created.session_id, new_messages=[{"role": "user", "content": "x"}])
            assert updated.total_messages == 1
            assert len(client.list_sessions().data) == 1


@pytest.mark.parametrize("fault", [faults.dropped_before, faults.dropped_after], ids=lambda f: f.__name__)
def test_a_server_without_keys_gets_a_probe_and_never_the_write_twice(
    flavour: str, vendor: VendorServer, fault: faults.Fault
) -> None:
    options = {"token": TOKEN, "organisation": "acme", "_dependencies": impatient(flavour)}
    with FaultProxy(vendor.port) as proxy, make_client(flavour, proxy.base_url, **options) as client:
        proxy.plan = [fault]
        with pytest.raises(APIConnectionError) as raised:
            client.create_session("someone")
    assert raised.value.sent
    assert proxy.arrived == ["POST", "OPTIONS"]
