"""Connection errors name the reason: the address, the variable, the host, the timeout."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sessionary import APIConnectionError, APITimeoutError, AuthenticationError, SessionaryError
from tests.client.clients import Endpoint, make_client
from tests.client.mock_servers import always, client_of
from tests.client.test_configuration import certificate as certificate  # noqa: PLC0414 - a fixture
from tests.client.vendor import VendorServer

SECRET: Final = "sny_secret"
GIVEN: Final[dict[str, Any]] = {"token": SECRET, "organisation": "acme", "max_retries": 0}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _fails(flavour: str, url: str, **options: Any) -> SessionaryError:
    with make_client(flavour, url, **{**GIVEN, **options}) as client, pytest.raises(SessionaryError) as raised:
        client.list_sessions(user_id="alice@example.com")
    text = str(raised.value) + "".join(getattr(raised.value, "__notes__", []))
    assert SECRET not in text
    assert "alice" not in text
    return raised.value


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes a connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def babbling() -> Iterator[str]:
    """The address of a server that answers with what is not HTTP, and holds words of the caller's."""

    def answer(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(b"220 alice@example.com sny_secret welcomes you\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("token", ["sny_wrong", None])
def test_a_refused_token_names_where_to_give_one(flavour: str, our_endpoint: Endpoint, token: str | None) -> None:
    error = _fails(flavour, our_endpoint.url, token=token)
    assert isinstance(error, AuthenticationError)
    assert "SESSIONARY_TOKEN" in str(error)
    assert "token=" in str(error)
    with client_of(flavour, always(401)) as client, pytest.raises(AuthenticationError, match="SESSIONARY_TOKEN"):
        client.list_sessions()


def test_a_refused_connection_names_the_address(flavour: str) -> None:
    port = _free_port()
    error = _fails(flavour, f"http://127.0.0.1:{port}/some/path")
    assert isinstance(error, APIConnectionError)
    assert str(error) == f"The server at http://127.0.0.1:{port} could not be reached: connection refused."


def test_a_proxy_that_cannot_be_reached_is_named_without_its_password(flavour: str) -> None:
    port = _free_port()
    error = _fails(flavour, "http://server.test", proxy=f"http://user:{SECRET}@127.0.0.1:{port}")
    assert f"http://server.test through the proxy http://127.0.0.1:{port}" in str(error)


def test_a_name_that_is_not_resolved_is_named(flavour: str) -> None:
    error = _fails(flavour, "https://nowhere.invalid:8443")
    assert "https://nowhere.invalid:8443" in str(error)
    assert "name could not be resolved" in str(error)


def test_a_certificate_that_is_not_accepted_is_explained(flavour: str, certificate: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=f"{certificate}.crt")
    with VendorServer(tls=serving) as vendor:
        error = _fails(flavour, vendor.base_url)
        assert f"127.0.0.1:{vendor.port}" in str(error)
        assert "the certificate of 127.0.0.1 was not accepted: self" in str(error)
        error = _fails(flavour, f"https://localhost:{vendor.port}", verify=trusting)
        assert "the certificate of localhost was not accepted: Hostname mismatch" in str(error)


def test_a_server_without_tls_is_explained(flavour: str, vendor: VendorServer, babbling: str) -> None:
    for address in (f"127.0.0.1:{vendor.port}", babbling):
        error = _fails(flavour, f"https://{address}")
        assert "the TLS handshake with 127.0.0.1 failed" in str(error)
        assert f"https://{address}" in str(error)


def test_a_server_without_http_is_explained_without_quoting_it(flavour: str, babbling: str) -> None:
    error = _fails(flavour, f"http://{babbling}")
    assert str(error) == f"The server at http://{babbling} did not send a complete response: what came is not HTTP."


def test_a_timeout_says_how_long_it_was_and_what_had_not_happened(flavour: str, silent: str) -> None:
    error = _fails(flavour, f"http://{silent}", timeout=3)
    assert isinstance(error, APITimeoutError)
    assert str(error) == f"The call did not end within 3 s: the response of http://{silent} was not complete."
    assert error.sent
    error = _fails(flavour, f"https://{silent}", timeout=3)
    assert str(error) == f"The call did not end within 3 s: the TLS handshake with https://{silent} had not ended."
    assert isinstance(error, APITimeoutError)
    assert not error.sent
