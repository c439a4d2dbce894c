"""Arguments of the wrong type or size: an InvalidArgumentError or ConfigurationError, and nothing is sent."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from uuid import UUID

import httpx2
import pytest

from sessionary import AsyncClient, Client, ConfigurationError, InvalidArgumentError
from tests.client.mock_servers import client_of

HUGE: Final = 10**5_000
"""Python refuses to write so long a number as text."""


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"leaf": None}
    for _ in range(depth):
        value = {"inner": value}
    return value


def _refuse(request: httpx2.Request) -> httpx2.Response:
    raise AssertionError(f"{request.method} was sent")


WRONG: Final[dict[str, Callable[[Any], object]]] = {
    "id is a number": lambda client: client.get_session(5),
    "id is a UUID": lambda client: client.delete_session(UUID(int=0)),
    "id is bytes": lambda client: client.update_session(b"x"),
    "id of a conversation is a number": lambda client: client.session(session_id=5).__enter__(),
    "filter is a list": lambda client: client.list_sessions(user_id=["a"]),
    "filter is bytes": lambda client: client.list_sessions(user_id=b"a"),
    "limit is huge": lambda client: client.list_sessions(limit=HUGE),
    "window is None": lambda client: list(client.iterate_messages("s", window_limit=None)),
    "window is text": lambda client: list(client.iterate_messages("s", window_limit="2")),
    "offset is negative": lambda client: list(client.iterate_messages("s", messages_offset=-1)),
    "timeout is huge and negative": lambda client: client.get_session("s", timeout=-HUGE),
    "timeout is not a number": lambda client: client.get_session("s", timeout=float("nan")),
    "metadata is deep": lambda client: client.update_session("s", metadata=_nested(900)),
    "time is beyond year 9999": lambda client: client.create_session(
        "u", created_at=datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))
    ),
    "headers of a conversation are a number": lambda client: client.session(user_id="u", headers=5),
    "headers of a conversation are a list": lambda client: client.session(user_id="u", headers=[("a", "b")]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_argument_is_an_invalid_argument_error_and_nothing_is_sent(flavour: str, wrong: str) -> None:
    with client_of(flavour, _refuse) as client, pytest.raises(InvalidArgumentError):
        WRONG[wrong](client)


def test_the_error_for_an_id_names_the_type(flavour: str) -> None:
    with (
        client_of(flavour, _refuse) as client,
        pytest.raises(InvalidArgumentError, match="The session id must be a string, not UUID"),
    ):
        client.get_session(UUID(int=0))  # type: ignore[arg-type]


def test_a_timeout_longer_than_any_number_of_seconds_means_no_limit(flavour: str) -> None:
    def respond(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"id": "s"})

    with client_of(flavour, respond, timeout=HUGE) as client:
        assert client.get_session("s", timeout=HUGE).id == "s"


def test_headers_of_the_wrong_type_for_one_message_are_refused(flavour: str) -> None:
    def respond(request: httpx2.Request) -> httpx2.Response:
        assert request.method == "GET"
        return httpx2.Response(200, json={"id": "s"})

    wrong: Any = [("a", "b")]
    with (
        client_of(flavour, respond) as client,
        client.session(session_id="s") as chat,
        pytest.raises(InvalidArgumentError, match="mapping"),
    ):
        chat.say("user", "x", headers=wrong)


@pytest.mark.parametrize("verify", [None, "/etc/ssl/certs", 5])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_cannot_verify_certificates_is_a_configuration_error(kind: Any, verify: Any) -> None:
    with pytest.raises(ConfigurationError, match="verify"):
        kind("https://a.test", organisation="acme", verify=verify)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_authorities_that_cannot_be_read_are_a_configuration_error(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/authorities.pem")
    with pytest.raises(ConfigurationError, match="authorities"):
        kind("https://a.test", organisation="acme")


@pytest.mark.parametrize(
    ("kind", "transport"),
    [(Client, object()), (AsyncClient, object()), (Client, httpx2.AsyncBaseTransport()), (AsyncClient, print)],
)
def test_a_transport_of_the_wrong_kind_is_a_configuration_error(kind: Any, transport: Any) -> None:
    with pytest.raises(ConfigurationError, match="The transport cannot be used"):
        kind("http://a.test", organisation="acme", transport=transport)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_socks_proxy_without_its_library_is_refused_at_once(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ConfigurationError, match=r"httpx2\[socks\]"):
        kind("http://a.test", organisation="acme", proxy="socks5://proxy.test:1080")


def test_messages_from_an_iterator_begin_a_conversation(flavour: str) -> None:
    def respond(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(201, json={"sessionId": "s"})

    def messages() -> Iterator[dict[str, str]]:
        yield {"role": "user", "content": "Hello"}

    given: Any = messages()
    with client_of(flavour, respond) as client, client.session(user_id="u", initial_messages=given) as chat:
        assert chat.messages == [{"role": "user", "content": "Hello"}]
        assert chat.total_messages == 1


def test_a_message_may_be_appended_with_an_idempotency_key(flavour: str) -> None:
    requests: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json={"id": "s", "sessionId": "s"})

    with client_of(flavour, respond) as client, client.session(session_id="s") as chat:
        chat.say("user", "x", idempotency_key="k")
        assert chat.messages == [{"role": "user", "content": "x"}]
    assert requests[-1].headers["Idempotency-Key"] == '"k"'


@pytest.mark.parametrize("name", ["if_match", "max_retries", "new_messages", "initial_messages", "idempotencyKey"])
def test_arguments_of_other_methods_do_not_become_members_of_a_message(flavour: str, name: str) -> None:
    def respond(request: httpx2.Request) -> httpx2.Response:
        assert request.method == "GET"
        return httpx2.Response(200, json={"id": "s"})

    wrong: Any = {name: "k"}
    with (
        client_of(flavour, respond) as client,
        client.session(session_id="s") as chat,
        pytest.raises(TypeError, match="unexpected keyword argument"),
    ):
        chat.say("user", "x", **wrong)


def test_a_time_in_another_zone_is_sent_in_utc(flavour: str) -> None:
    bodies: list[bytes] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.content)
        return httpx2.Response(201, json={"sessionId": "s"})

    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    with client_of(flavour, respond) as client:
        client.create_session("u", created_at=noon.astimezone(timezone(timedelta(hours=5))))
    assert b'"createdAt":"2026-11-22T12:00:00.000Z"' in bodies[0]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("base_url", "url"),
        ("api_key", "token"),
        ("default_headers", "headers"),
        ("http_client", "transport"),
        ("organization", "organisation"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_the_name_that_another_client_has_for_an_argument_leads_to_ours(kind: Any, name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'; did you mean '{meant}'"):
        kind("http://a.test", **{name: "x"})


def test_only_names_that_a_call_takes_are_proposed(flavour: str) -> None:
    given: Any = {"base_url": "x"}
    headers: Any = {"extra_headers": {}}
    with client_of(flavour, _refuse) as client:
        with pytest.raises(TypeError, match=r"'base_url'$"):
            client.get_session("s", **given)
        with pytest.raises(TypeError, match="did you mean 'headers'"):
            client.get_session("s", **headers)
