"""The first write of a client that knows nothing of its server yet, when its connection breaks."""

from collections.abc import Callable
from typing import Any, Final

import httpx2
import pytest

from sessionary import APIConnectionError, APITimeoutError, Attempt, Client, SessionaryError, UnavailableError
from sessionary.models import ACCEPT_IDEMPOTENCY_KEY, IDEMPOTENCY_KEY
from tests.client import faults
from tests.client.answering import Time, client_of, impatient, in_turn
from tests.client.calling import Place, make_client
from tests.client.faults import FaultProxy
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
    httpx2.RemoteProtocolError("hung up"),
    httpx2.Response(502),
    httpx2.Response(504),
]


class Told:
    """A server's answers in turn, and what was asked."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.asked: list[httpx2.Request] = []
        self._respond = in_turn(answers)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        return self._respond(request)

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.asked]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("lost", LOST, ids=repr)
def test_it_is_repeated_under_its_key_where_the_server_says_that_it_honours_keys(
    flavour: str, write: Callable[[Client], Any], lost: httpx2.Response | Exception
) -> None:
    told = Told(
        lost, httpx2.Response(405, headers=HONOURED), httpx2.Response(201, json={"sessionId": "s"}, headers=HONOURED)
    )
    attempts: list[Attempt] = []
    time = Time()
    with client_of(flavour, told, time, on_attempt=attempts.append) as client:
        write(client)
    first, question, again = told.asked
    assert (question.method, again.method) == ("OPTIONS", first.method)
    assert first.headers[IDEMPOTENCY_KEY] == again.headers[IDEMPOTENCY_KEY] == '"key"'
    assert IDEMPOTENCY_KEY not in question.headers
    assert (question.content, question.url.query) == (b"", b"")
    assert (first.content, first.url) == (again.content, again.url)
    assert [attempt.method for attempt in attempts] == told.methods
    assert time.pauses == [0.25]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("lost", LOST[:3], ids=repr)
@pytest.mark.parametrize(
    "reply", [httpx2.Response(405), httpx2.Response(200, json=[]), httpx2.Response(404), httpx2.Response(204)], ids=repr
)
def test_it_is_not_repeated_where_the_server_does_not_say_so(
    flavour: str, write: Callable[[Client], Any], lost: httpx2.Response | Exception, reply: httpx2.Response
) -> None:
    told = Told(lost, reply)
    with client_of(flavour, told) as client, pytest.raises(SessionaryError) as raised:
        write(client)
    assert told.methods[1:] == ["OPTIONS"]
    expected = APIConnectionError if isinstance(lost, Exception) else UnavailableError
    assert type(raised.value) is expected
    assert getattr(raised.value, "sent", True)


def test_a_server_that_cannot_be_asked_is_asked_again_and_then_the_first_error_is_told(flavour: str) -> None:
    broken: list[httpx2.Response | Exception] = [
        httpx2.ReadError("reset"),
        httpx2.ConnectError("refused"),
        httpx2.Response(502),
        httpx2.ReadError("again"),
    ]
    told = Told(*broken)
    with client_of(flavour, told) as client, pytest.raises(APIConnectionError, match="complete response") as raised:
        client.create_session("someone")
    assert told.methods == ["POST", "OPTIONS", "OPTIONS", "OPTIONS"]
    assert raised.value.sent
    answered = Told(*broken[:3], httpx2.Response(401, headers=HONOURED), httpx2.Response(201, json={"sessionId": "s"}))
    with client_of(flavour, answered) as client:
        client.create_session("someone")
    assert answered.methods == ["POST", "OPTIONS", "OPTIONS", "OPTIONS", "POST"]


def test_a_repetition_that_fails_too_is_repeated_without_asking_again(flavour: str) -> None:
    told = Told(
        httpx2.ReadError("reset"),
        httpx2.Response(405, headers=HONOURED),
        httpx2.ReadError("reset"),
        httpx2.Response(201, json={"sessionId": "s"}),
    )
    with client_of(flavour, told) as client:
        client.create_session("someone")
    assert told.methods == ["POST", "OPTIONS", "POST", "POST"]


def test_asking_costs_nothing_where_nothing_breaks_and_without_retries(flavour: str) -> None:
    told = Told(httpx2.Response(201, json={"sessionId": "s"}), httpx2.ReadError("reset"), httpx2.ReadError("reset"))
    with client_of(flavour, told) as client:
        client.create_session("someone")
        with pytest.raises(APIConnectionError):
            client.create_session("someone")
    with client_of(flavour, told, max_retries=0) as client, pytest.raises(APIConnectionError):
        client.create_session("someone")
    assert told.methods == ["POST"] * 3


def test_the_deadline_spans_the_question(flavour: str) -> None:
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
    flavour: str, server: ServerProcess, ours: Place, organisation: str, fault: faults.InjectedFault
) -> None:
    options = {"token": ours.token, "organisation": organisation, "_dependencies": impatient(flavour)}
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
def test_a_vendor_is_asked_and_never_sent_it_twice(
    flavour: str, vendor: VendorServer, fault: faults.InjectedFault
) -> None:
    options = {"token": TOKEN, "organisation": "acme", "_dependencies": impatient(flavour)}
    with FaultProxy(vendor.port) as proxy, make_client(flavour, proxy.base_url, **options) as client:
        proxy.plan = [fault]
        with pytest.raises(APIConnectionError) as raised:
            client.create_session("someone")
    assert raised.value.sent
    assert proxy.arrived == ["POST", "OPTIONS"]
