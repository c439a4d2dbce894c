"""What is retried, when and how often; with a clock of the test and the longest pauses."""

from collections.abc import Callable
from typing import Any, Final

import httpx2
import pytest

from sessionary import (
    APIConnectionError,
    APITimeoutError,
    Attempt,
    Client,
    InvalidArgumentError,
    NotFoundError,
    OverloadedError,
    QuotaExceededError,
    RateLimitError,
    ResponseValidationError,
    SessionaryError,
    UnavailableError,
)
from sessionary.client.retry import PAUSE_SECONDS_FIRST
from sessionary.models import ACCEPT_IDEMPOTENCY_KEY, IDEMPOTENCY_KEY
from tests.client.mock_servers import Respond, Time, always, client_of, in_turn

READS: Final[list[Callable[[Client], Any]]] = [
    lambda client: client.get_session("s"),
    lambda client: client.list_sessions(),
    lambda client: client.delete_session("s"),
]
WRITES: Final[list[Callable[[Client], Any]]] = [
    lambda client: client.create_session("someone"),
    lambda client: client.update_session("s", tokens_used=1),
    lambda client: client.extend_session("s"),
]
HONOURED: Final = {ACCEPT_IDEMPOTENCY_KEY: "?1"}


def _counted(respond: Respond) -> tuple[Respond, list[httpx2.Request]]:
    requests: list[httpx2.Request] = []

    def counting(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return respond(request)

    return counting, requests


@pytest.mark.parametrize("call", READS)
@pytest.mark.parametrize(
    "failure",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadError("reset"),
        httpx2.RemoteProtocolError("connection closed"),
        httpx2.Response(408),
        httpx2.Response(429),
        httpx2.Response(500),
        httpx2.Response(502, content="<html>"),
        httpx2.Response(503),
        httpx2.Response(504),
        httpx2.Response(200, content=b'{"message": "De', headers={"Content-Type": "application/json"}),
    ],
    ids=repr,
)
def test_reads_and_deletes_are_retried(
    flavour: str, call: Callable[[Client], Any], failure: httpx2.Response | Exception
) -> None:
    fine = httpx2.Response(200, json=[] if call is READS[1] else {"id": "s"})
    respond, requests = _counted(in_turn([failure, failure, fine]))
    time = Time()
    with client_of(flavour, respond, time) as client:
        call(client)
    assert len(requests) == 3
    assert time.pauses == [PAUSE_SECONDS_FIRST, 2 * PAUSE_SECONDS_FIRST]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 422, 301])
def test_permanent_errors_are_not_retried(flavour: str, status: int) -> None:
    respond, requests = _counted(always(status))
    with client_of(flavour, respond) as client, pytest.raises(SessionaryError):
        client.get_session("s")
    assert len(requests) == 1


def test_an_html_page_instead_of_json_is_not_retried(flavour: str) -> None:
    respond, requests = _counted(always(200, "<html>", content_type="text/html"))
    with client_of(flavour, respond) as client, pytest.raises(ResponseValidationError):
        client.get_session("s")
    assert len(requests) == 1


def test_the_last_error_is_raised_after_the_retries(flavour: str) -> None:
    respond, requests = _counted(in_turn([httpx2.ReadError("1"), httpx2.Response(502), httpx2.Response(503)]))
    with client_of(flavour, respond, max_retries=2) as client, pytest.raises(UnavailableError) as raised:
        client.get_session("s")
    assert raised.value.status == 503
    assert len(requests) == 3


def test_without_retries_a_call_is_sent_once(flavour: str) -> None:
    respond, requests = _counted(always(503))
    with client_of(flavour, respond, max_retries=0) as client, pytest.raises(UnavailableError):
        client.get_session("s")
    assert len(requests) == 1


def test_retry_after_is_waited_for_with_jitter(flavour: str) -> None:
    time = Time()
    respond = in_turn([httpx2.Response(503, headers={"Retry-After": "3"}), httpx2.Response(200, json={"id": "s"})])
    with client_of(flavour, respond, time) as client:
        client.get_session("s")
    assert time.pauses == [3 + PAUSE_SECONDS_FIRST]


def test_a_retry_after_that_is_too_long_is_raised_at_once(flavour: str) -> None:
    time = Time()
    respond = always(429, retry_after="61")
    with client_of(flavour, respond, time, timeout=None) as client, pytest.raises(RateLimitError) as raised:
        client.get_session("s")
    assert raised.value.retry_after == 61.0
    assert time.pauses == []


def test_a_quota_that_is_used_up_is_raised_at_once(flavour: str) -> None:
    time = Time()
    respond = always(429, b'{"code": "QUOTA_EXCEEDED"}', retry_after="1")
    with client_of(flavour, respond, time, timeout=None) as client, pytest.raises(QuotaExceededError):
        client.get_session("s")
    assert time.pauses == []


def test_no_pause_leads_past_the_deadline(flavour: str) -> None:
    time = Time()
    respond = always(503, retry_after="5")
    with client_of(flavour, respond, time, timeout=12) as client, pytest.raises(UnavailableError):
        client.get_session("s")
    assert time.pauses == [5.25, 5.5]
    with client_of(flavour, respond, Time()) as client, pytest.raises(UnavailableError):
        client.get_session("s", timeout=5)


class _Passing(Time):
    """A clock that passes by a second each time someone looks at it."""

    def clock(self) -> float:
        self.now += 1.0
        return self.now


def test_a_call_without_time_is_not_sent(flavour: str) -> None:
    respond, requests = _counted(always(200, '{"id": "s"}'))
    with client_of(flavour, respond, _Passing()) as client:
        with pytest.raises(APITimeoutError):
            client.get_session("s", timeout=0.5)
        assert requests == []
        client.get_session("s", timeout=60)
    assert len(requests) == 1


def test_the_pauses_grow_exponentially_to_a_bound_with_jitter(flavour: str) -> None:
    time = Time()
    with client_of(flavour, always(503), time, max_retries=7, timeout=None) as client, pytest.raises(UnavailableError):
        client.get_session("s")
    assert time.pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize("failure", [httpx2.Response(503), httpx2.Response(429), httpx2.Response(500)], ids=repr)
def test_a_write_is_sent_once_to_a_server_that_declares_nothing(
    flavour: str, call: Callable[[Client], Any], failure: httpx2.Response | Exception
) -> None:
    respond, requests = _counted(in_turn([failure]))
    with client_of(flavour, respond) as client, pytest.raises(SessionaryError):
        call(client)
    assert len(requests) == 1


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize(
    "failure",
    [
        httpx2.ReadError("reset"),
        httpx2.Response(503),
        httpx2.Response(429),
        httpx2.Response(500),
        httpx2.Response(201, content=b'{"sess', headers={"Content-Type": "application/json", **HONOURED}),
    ],
    ids=repr,
)
def test_a_write_is_retried_with_one_key_if_the_server_supports_keys(
    flavour: str, call: Callable[[Client], Any], failure: httpx2.Response | Exception
) -> None:
    learnt = httpx2.Response(200, json=[], headers=HONOURED)
    respond, requests = _counted(in_turn([learnt, failure, failure, httpx2.Response(201, json={"sessionId": "s"})]))
    with client_of(flavour, respond) as client:
        client.list_sessions()
        call(client)
    assert [request.headers.get(IDEMPOTENCY_KEY) for request in requests] == [None, '"key"', '"key"', '"key"']


def test_an_error_response_can_declare_support_for_keys(flavour: str) -> None:
    failing = httpx2.Response(503, headers=HONOURED)
    respond, requests = _counted(in_turn([failing, httpx2.Response(201, json={"sessionId": "s"})]))
    with client_of(flavour, respond) as client:
        client.create_session("someone")
    assert len(requests) == 2


def test_declared_support_counts_until_a_response_lacks_it(flavour: str) -> None:
    answered = [
        httpx2.Response(200, json=[], headers=HONOURED),
        httpx2.Response(502),
        httpx2.Response(201, json={"sessionId": "s"}),
        httpx2.Response(503),
    ]
    respond, requests = _counted(in_turn(answered))
    with client_of(flavour, respond) as client:
        client.list_sessions()
        client.create_session("someone")
        with pytest.raises(UnavailableError):
            client.create_session("someone")
    assert len(requests) == 4


@pytest.mark.parametrize("value", ["?0", "true", "1", ""])
def test_only_the_declared_value_declares(value: str) -> None:
    learnt = httpx2.Response(200, json=[], headers={ACCEPT_IDEMPOTENCY_KEY: value})
    respond, requests = _counted(in_turn([learnt, httpx2.Response(503)]))
    with client_of("blocking", respond) as client:
        client.list_sessions()
        with pytest.raises(UnavailableError):
            client.create_session("someone")
    assert len(requests) == 2


def test_a_key_of_the_callers_own_is_used(flavour: str) -> None:
    respond, requests = _counted(always(201, '{"sessionId": "s", "id": "s"}'))
    with client_of(flavour, respond) as client:
        client.create_session("someone", headers={"idempotency-key": '"mine"'})
        client.get_session("s")
    assert [request.headers.get_list(IDEMPOTENCY_KEY) for request in requests] == [['"mine"'], []]


@pytest.mark.parametrize("call", WRITES)
def test_a_write_that_was_not_sent_is_retried_with_any_server(flavour: str, call: Callable[[Client], Any]) -> None:
    respond, requests = _counted(
        in_turn([httpx2.ConnectError("refused"), httpx2.Response(201, json={"sessionId": "s"})])
    )
    with client_of(flavour, respond) as client:
        call(client)
    assert len(requests) == 2


@pytest.mark.parametrize(
    "first",
    [httpx2.ReadError("reset"), httpx2.Response(502), httpx2.Response(503), httpx2.Response(500)],
    ids=repr,
)
def test_a_deletion_that_is_not_found_after_a_lost_response_has_succeeded(
    flavour: str, first: httpx2.Response | Exception
) -> None:
    respond, requests = _counted(in_turn([first, httpx2.ConnectError("refused"), httpx2.Response(404)]))
    with client_of(flavour, respond) as client:
        response = client.with_raw_response.delete_session("s")
        deleted = response.parse()
    assert "deleted" in deleted.message
    assert response.status_code == 404
    assert len(requests) == 3


@pytest.mark.parametrize(
    "first",
    [
        httpx2.ConnectError("refused"),
        httpx2.Response(429),
        httpx2.Response(503, json={"code": OverloadedError.code}),
    ],
    ids=repr,
)
def test_a_deletion_that_is_not_found_after_a_refused_attempt_has_failed(
    flavour: str, first: httpx2.Response | Exception
) -> None:
    with client_of(flavour, in_turn([first, httpx2.Response(404)])) as client, pytest.raises(NotFoundError):
        client.delete_session("s")


def test_a_read_that_is_not_found_after_a_lost_response_has_failed(flavour: str) -> None:
    with (
        client_of(flavour, in_turn([httpx2.ReadError("reset"), httpx2.Response(404)])) as client,
        pytest.raises(NotFoundError),
    ):
        client.get_session("s")


BROKEN: Final[list[tuple[Exception, type[SessionaryError], bool | None]]] = [
    (httpx2.ConnectError("refused"), APIConnectionError, False),
    (httpx2.ProxyError("407"), APIConnectionError, False),
    (httpx2.WriteError("reset"), APIConnectionError, True),
    (httpx2.RemoteProtocolError("connection closed"), APIConnectionError, True),
    (httpx2.ReadTimeout("slow"), APIConnectionError, True),
    (httpx2.ConnectTimeout("slow"), APIConnectionError, False),
    (httpx2.PoolTimeout("busy"), APIConnectionError, False),
    (httpx2.DecodingError("gzip"), ResponseValidationError, None),
    (httpx2.LocalProtocolError("Illegal header value b'Bearer secret'"), InvalidArgumentError, None),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: type(broken[0]).__name__)
def test_transport_errors_become_sessionary_errors(
    flavour: str, broken: tuple[Exception, type[SessionaryError], bool | None]
) -> None:
    failure, kind, sent = broken
    respond = in_turn([failure])
    with client_of(flavour, respond, max_retries=0) as client, pytest.raises(SessionaryError) as raised:
        client.get_session("s")
    error = raised.value
    assert type(error) is kind
    assert getattr(error, "sent", None) is sent
    assert error.status == 0
    assert (error.response, error.request_id) == (None, None)
    assert "secret" not in str(error) + repr(error.__cause__)


def test_an_unsent_call_is_distinguished_from_one_that_may_have_arrived(flavour: str) -> None:
    learnt = httpx2.Response(200, json=[], headers=HONOURED)
    lost = httpx2.ConnectError("refused")
    for first, sent in ((httpx2.ReadError("reset"), True), (httpx2.Response(503), True), (lost, False)):
        with client_of(flavour, in_turn([learnt, first, lost]), max_retries=1) as client:
            client.list_sessions()
            with pytest.raises(APIConnectionError) as raised:
                client.create_session("someone")
        assert raised.value.sent is sent


def test_each_attempt_is_reported_to_the_hook_without_secrets(flavour: str) -> None:
    attempts: list[Attempt] = []
    fine = httpx2.Response(200, json={"id": "a/b"}, headers={"X-Request-Id": "r"})
    answered: list[httpx2.Response | Exception] = [httpx2.ReadError("x"), httpx2.Response(503), fine]
    with client_of(flavour, in_turn(answered), on_attempt=attempts.append) as client:
        client.get_session("a/b", messages_limit=3)
    assert attempts == [
        Attempt(
            operation="get_session",
            number=number,
            method="GET",
            path="/api/v3/organizations/acme/ai/sessions/a%2Fb",
            status=status,
            code=code,
            request_id=request_id,
            seconds=0.0,
        )
        for number, (status, code, request_id) in enumerate(
            [(0, "CONNECTION_FAILED", None), (503, "UNAVAILABLE", None), (200, None, "r")], 1
        )
    ]
