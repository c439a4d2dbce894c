"""Logs, errors and trace contexts of the client; none contains a secret."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx2
import pytest

from sessionary import AsyncClient, Attempt, Client, NotFoundError, SessionaryError
from sessionary.client.dependencies import Dependencies, trace_context_injector
from tests.client.clients import Endpoint, make_client
from tests.client.mock_servers import always, client_of
from tests.client.vendor import TOKEN, VendorServer

PRIVATE = "what nobody else may read"


def test_no_log_and_no_hook_holds_a_token_or_a_message(
    flavour: str, our_endpoint: Endpoint, organisation: str, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[Attempt] = []
    with (
        caplog.at_level(logging.DEBUG),
        make_client(
            flavour, our_endpoint.url, token=our_endpoint.token, organisation=organisation, on_attempt=attempts.append
        ) as client,
    ):
        created = client.create_session("someone", initial_messages=[{"role": "user", "content": PRIVATE}])
        client.get_session(created.session_id)
        for number in range(2):
            client.create_session(PRIVATE, session_group=str(number))
        list(client.iterate_sessions(user_id=PRIVATE, page_limit=1))
        with pytest.raises(SessionaryError) as raised:
            client.update_session("nothing", new_messages=[{"role": "user", "content": PRIVATE}])
    logged = caplog.text + repr(attempts) + repr(raised.value) + "".join(raised.value.__notes__)
    assert caplog.records
    assert [attempt.status for attempt in attempts] == [201, 200, 201, 201, 200, 200, 404]
    assert all(attempt.request_id and attempt.seconds > 0 for attempt in attempts)
    assert our_endpoint.token not in logged
    assert PRIVATE not in logged
    assert quote(PRIVATE) not in logged
    assert {record.name for record in caplog.records} >= {"sessionary", "httpcore2.http11"}


def test_other_users_of_the_http_library_are_logged_as_before(
    flavour: str, vendor: VendorServer, caplog: pytest.LogCaptureFixture
) -> None:
    with make_client(flavour, vendor.base_url, token=TOKEN, organisation="acme") as client:
        client.list_sessions()
        with caplog.at_level(logging.DEBUG), httpx2.Client(trust_env=False) as other:
            other.get(f"{vendor.base_url}/elsewhere?q=seen")
    assert "/elsewhere?q=seen" in caplog.text
    assert "receive_response_headers.complete return_value=" in caplog.text


CALLS: Final[list[Callable[[Client], Any]]] = [
    lambda client: client.create_session("someone"),
    lambda client: client.update_session("s", tokens_used=1),
    lambda client: client.delete_session("s"),
    lambda client: client.get_session("s"),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_hook_that_fails_changes_nothing_and_is_logged(
    flavour: str, call: Callable[[Client], Any], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Any) -> None:
        raise ZeroDivisionError("of the hook")

    dependencies: Dependencies[Any] = Dependencies(sleep=lambda _: None, environment={}, inject_headers=broken)
    requests: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json={"sessionId": "s", "id": "s"})

    with client_of(flavour, respond, on_attempt=broken, _dependencies=dependencies) as client:
        assert call(client) is not None
    assert len(requests) == 1
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [True] * 2
    with client_of(flavour, always(404), on_attempt=broken) as client, pytest.raises(NotFoundError):
        client.update_session("s")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_in_a_hook_goes_through(interruption: type[BaseException]) -> None:
    def interrupt(_: Any) -> None:
        raise interruption

    with client_of("blocking", always(200, "{}"), on_attempt=interrupt) as client, pytest.raises(interruption):
        client.get_session("s")


def test_injected_headers_are_sent_with_every_request(flavour: str) -> None:
    requests: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=[])

    def inject(headers: Any) -> None:
        headers["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    dependencies: Dependencies[Any] = Dependencies(sleep=lambda _: None, environment={}, inject_headers=inject)
    with client_of(flavour, respond, _dependencies=dependencies) as client:
        client.list_sessions()
    assert requests[0].headers["traceparent"].startswith("00-0af7")


def test_opentelemetry_is_used_if_it_is_installed(tmp_path: Path) -> None:
    package = tmp_path / "opentelemetry"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "propagate.py").write_text("def inject(carrier):\n    carrier['traceparent'] = 'here'\n")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from sessionary.client.dependencies import Dependencies\n"
        "headers = {}\n"
        "Dependencies(sleep=print).inject_headers(headers)\n"
        "assert headers == {'traceparent': 'here'}, headers\n"
    )
    run = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_without_opentelemetry_nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.propagate", None)
    headers: dict[str, str] = {}
    trace_context_injector()(headers)
    assert headers == {}


async def test_the_trace_context_of_a_span_is_sent() -> None:
    trace = pytest.importorskip("opentelemetry.trace", reason="opentelemetry-api is not installed")
    requests: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=[])

    context = trace.SpanContext(0x1234, 0x5678, is_remote=False, trace_flags=trace.TraceFlags(1))
    transport = httpx2.MockTransport(respond)
    with trace.use_span(trace.NonRecordingSpan(context)):
        Client("http://server.test", organisation="acme", transport=transport).list_sessions()
        await AsyncClient("http://server.test", organisation="acme", transport=transport).list_sessions()
    assert [request.headers["traceparent"] for request in requests] == [f"00-{0x1234:032x}-{0x5678:016x}-01"] * 2
