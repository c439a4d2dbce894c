"""How a client is configured: by arguments and by the environment."""

import asyncio
import shutil
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sessionary import APIConnectionError, AsyncClient, Client, ConfigurationError, InvalidArgumentError
from sessionary.client.config import proxy_from_environment, tls_context_for
from sessionary.client.dependencies import Dependencies
from tests.client.clients import Endpoint, make_client
from tests.client.faults import FaultProxy
from tests.client.mock_servers import Respond, always, client_of
from tests.client.vendor import TOKEN, VendorServer


def _make_dependencies(flavour: str, environment: dict[str, str]) -> Dependencies[Any]:
    sleep: Any = time.sleep if flavour == "blocking" else asyncio.sleep
    return Dependencies(sleep=sleep, environment=environment)


def _last_request() -> tuple[Respond, list[httpx2.Request]]:
    requests: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=[] if request.method == "GET" else {"sessionId": "s"})

    return respond, requests


def test_the_environment_names_server_token_and_organisation(flavour: str, vendor: VendorServer) -> None:
    environment = {
        "SESSIONARY_URL": vendor.base_url,
        "SESSIONARY_TOKEN": f"{TOKEN}\n",
        "SESSIONARY_ORGANISATION": "acme",
    }
    with make_client(flavour, "", _dependencies=_make_dependencies(flavour, environment)) as client:
        client.create_session("someone")
    assert [organisation for organisation, _ in vendor.sessions] == ["acme"]


def test_an_argument_wins_over_the_environment(flavour: str) -> None:
    respond, requests = _last_request()
    environment = {
        "SESSIONARY_URL": "http://other.test",
        "SESSIONARY_TOKEN": "other",
        "SESSIONARY_ORGANISATION": "other",
    }
    options = {"token": "mine", "organisation": "acme", "_dependencies": _make_dependencies(flavour, environment)}
    with make_client(flavour, "http://mine.test", transport=httpx2.MockTransport(respond), **options) as client:
        client.list_sessions()
    (request,) = requests
    assert str(request.url) == "http://mine.test/api/v3/organizations/acme/ai/sessions?limit=50"
    assert request.headers["Authorization"] == "Bearer mine"


def test_only_what_is_needed_is_sent(flavour: str) -> None:
    respond, requests = _last_request()
    with client_of(flavour, respond, headers={"X-Team": "a", "User-Agent": "mine"}) as client:
        client.list_sessions(headers={"x-team": "b", "Accept-Language": "de"})
        client.create_session("someone")
    read, write = requests
    assert sorted(read.headers) == [
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "host",
        "user-agent",
        "x-request-id",
        "x-team",
    ]
    assert (read.headers.get_list("x-team"), read.headers["user-agent"]) == (["b"], "mine")
    assert write.headers["content-type"] == "application/json"
    assert write.content == b'{"userId":"someone","expirationMinutes":60}'


@pytest.mark.parametrize(
    "url",
    [
        "",
        "server.test",
        "ftp://server.test",
        "http://",
        "http://user:secret@server.test",
        "http://server.test?x=1",
        "http://server.test#x",
        "http://server.test:port",
    ],
)
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"server|URL") as raised:
        Client(url, _dependencies=_make_dependencies("blocking", {}))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("token", ["two words", "lin\ne", "emoji \U0001f600", "ü"])
def test_an_invalid_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ConfigurationError, match="token") as raised:
        Client("http://server.test", token=token)
    assert token not in str(raised.value)


@pytest.mark.parametrize("headers", [{"X-Name": "ü"}, {"X-Näme": "u"}])
def test_a_header_that_cannot_be_written_is_refused(flavour: str, headers: dict[str, str]) -> None:
    with client_of(flavour, always(200, "[]")) as client, pytest.raises(InvalidArgumentError, match="header"):
        client.list_sessions(headers=headers)


def test_a_call_without_an_organisation_is_refused(flavour: str) -> None:
    with (
        client_of(flavour, always(200, "[]"), organisation=None) as client,
        pytest.raises(ConfigurationError, match="SESSIONARY_ORGANISATION"),
    ):
        client.list_sessions()


def test_without_a_token_none_is_sent(flavour: str) -> None:
    respond, requests = _last_request()
    with client_of(flavour, respond, token=None) as client:
        client.list_sessions()
    assert "authorization" not in requests[0].headers


def test_neither_a_client_nor_a_call_shows_its_token_or_its_messages() -> None:
    from sessionary.client import request_specs  # noqa: PLC0415

    spec = request_specs.create_session(
        "someone", initial_messages=[{"role": "user", "content": "private"}], token="secret"
    )
    with Client("http://server.test", token="secret", organisation="acme") as client:
        shown = repr(spec) + str(spec) + repr(client) + repr(vars(client))
    assert "secret" not in shown
    assert "private" not in shown
    assert repr(spec) == "<RequestSpec create_session>"


def test_a_proxy_is_used(flavour: str, vendor: VendorServer) -> None:
    with FaultProxy(vendor.port) as proxy:
        given = {"token": TOKEN, "organisation": "acme"}
        with make_client(flavour, "http://nowhere.test", proxy=proxy.base_url, **given) as client:
            client.create_session("someone")
        dependencies = _make_dependencies(flavour, {"http_proxy": proxy.base_url})
        with make_client(flavour, "http://nowhere.test", _dependencies=dependencies, **given) as client:
            client.list_sessions()
        dependencies = _make_dependencies(flavour, {"http_proxy": proxy.base_url, "no_proxy": "127.0.0.1"})
        with make_client(flavour, vendor.base_url, _dependencies=dependencies, **given) as client:
            client.list_sessions()
        assert proxy.arrived == ["POST", "GET"]
    assert [request.method for request in vendor.seen] == ["POST", "GET", "GET"]


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "http://a.test", None),
        ({"HTTP_PROXY": "p.test:3128"}, "http://a.test", "http://p.test:3128"),
        ({"HTTP_PROXY": "p.test:3128"}, "https://a.test", None),
        ({"HTTP_PROXY": "p.test:3128", "REQUEST_METHOD": "GET"}, "http://a.test", None),
        ({"https_proxy": "http://p.test", "HTTPS_PROXY": "http://q.test"}, "https://a.test", "http://p.test"),
        ({"ALL_PROXY": "socks5://p.test"}, "https://a.test", "socks5://p.test"),
        ({"all_proxy": "http://p.test", "NO_PROXY": "b.test, a.test"}, "https://a.test/x", None),
        ({"all_proxy": "http://p.test", "NO_PROXY": "*"}, "https://a.test:8080", None),
        ({"all_proxy": "http://p.test", "NO_PROXY": "b.test"}, "https://a.test", "http://p.test"),
    ],
)
def test_the_usual_environment_variables_name_proxies(environment: dict[str, str], url: str, proxy: str | None) -> None:
    assert proxy_from_environment(environment, url) == proxy


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that no authority has signed, and its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    arguments = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command = ["openssl", *arguments.split(), "-keyout", str(file), "-out", f"{file}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


def test_tls_is_verified_by_the_context_that_is_given(flavour: str, certificate: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    given = {"token": TOKEN, "organisation": "acme", "max_retries": 0}
    with VendorServer(tls=serving) as vendor:
        with make_client(flavour, vendor.base_url, **given) as client:
            with pytest.raises(APIConnectionError, match="certificate") as raised:
                client.create_session("someone")
            assert not raised.value.sent
        trusting = ssl.create_default_context(cafile=f"{certificate}.crt")
        with make_client(flavour, vendor.base_url, verify=trusting, **given) as client:
            client.create_session("someone")
            assert len(client.list_sessions().data) == 1
        with make_client(flavour, vendor.base_url, verify=False, **given) as client:
            assert len(client.list_sessions().data) == 1


def test_only_a_client_that_uses_tls_loads_the_certificate_authorities() -> None:
    spared = tls_context_for("http://a.test", None, verify=True)
    assert isinstance(spared, ssl.SSLContext)
    assert (spared.verify_mode, spared.cert_store_stats()["x509"]) == (ssl.CERT_REQUIRED, 0)
    own = ssl.create_default_context()
    assert tls_context_for("http://a.test", None, verify=own) is own
    for url, proxy in (("http://a.test", "https://p.test"), ("https://a.test", None)):
        verifying = tls_context_for(url, proxy, verify=True)
        assert (verifying.verify_mode, verifying.check_hostname) == (ssl.CERT_REQUIRED, True)
    trusting = tls_context_for("https://a.test", None, verify=False)
    assert (trusting.verify_mode, trusting.check_hostname) == (ssl.CERT_NONE, False)


def test_an_unknown_argument_is_a_type_error(flavour: str) -> None:
    misspelt: Any = {"userid": "someone"}
    with client_of(flavour, always(200, b"[]")) as client:
        with pytest.raises(TypeError, match=r"list_sessions\(\) got an unexpected keyword argument 'userid'"):
            client.list_sessions(**misspelt)
        with pytest.raises(TypeError, match="userid"):
            client.iterate_sessions(**misspelt)
        with pytest.raises(TypeError, match="userid"):
            client.session(session_id="s", **misspelt)
    with pytest.raises(TypeError, match="userid"):
        Client("http://a.test", **misspelt)


def test_headers_that_frame_a_body_are_the_clients_own(flavour: str, our_endpoint: Endpoint) -> None:
    with make_client(flavour, our_endpoint.url, token=our_endpoint.token, organisation="acme") as client:
        for header in ("Content-Length", "transfer-encoding"):
            with pytest.raises(InvalidArgumentError, match="set by the client"):
                client.create_session("someone", headers={header: "5"})
        with pytest.raises(InvalidArgumentError, match="URL too long"):
            client.get_session("x" * 100_000)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("proxy", ["nonsense://p.test", "http://[::1", "http://p.test:port"])
def test_a_proxy_that_cannot_be_used_is_an_error(kind: type[Client | AsyncClient], proxy: str) -> None:
    dependencies: Any = _make_dependencies("blocking", {"http_proxy": proxy})
    with pytest.raises(ConfigurationError, match="The proxy cannot be used"):
        kind("http://a.test", _dependencies=dependencies)
    with pytest.raises(ConfigurationError, match="The proxy cannot be used"):
        kind("http://a.test", proxy=proxy)
