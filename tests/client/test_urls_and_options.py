"""URLs, proxies and other options that a client accepts or refuses."""

from typing import Any, Final

import httpx2
import pytest

from sessionary import AsyncClient, Client, ConfigurationError, InvalidArgumentError
from sessionary.client.config import choose_proxy, proxy_from_environment
from sessionary.client.dependencies import Dependencies
from tests.client.mock_servers import client_of

LONG: Final = "a" * 64
PROXY: Final = "http://p.test:3128"
ORGANISATION: Final = "SESSIONARY_ORGANISATION"


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "url",
    [
        f"http://{LONG}.test",
        f"http://{'a.' * 130}test",
        "http://a..test",
        "http://.test",
        f"http://b\u00fc{LONG}.test",
        "http://\u3002",
        "http://\ud800.test",
        "http://a b.test",
        "http://a%20b.test",
        "http://a\\b.test",
        "http://a.test\x00",
        "http://a.\ntest",
        "http://a.test:0",
        "http://a.test:65536",
        "http://a.test:-1",
        "http://a.test:8 0",
        "http://127.0.0.1:\u0668\u0660",
        "http://[::1]:\uff18\uff10/x",
        "http://a.test:8_0",
        "http://a.test:+80",
        "http://[::1",
        "http://[::zz]",
        "http://user@a.test",
        "http://:secret@a.test",
        "  ",
        5,
        b"http://a.test",
        ["http://a.test"],
    ],
    ids=repr,
)
def test_a_url_that_cannot_be_used_is_refused_when_the_client_is_made(kind: Any, url: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"URL|server") as raised:
        kind(url, _dependencies=Dependencies(sleep=print, environment={}))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://a_b.test",
        "http://A.test.",
        "http://[::1]:80",
        "http://1.2.3.4",
        " http://a.test\n",
        "http://b\u00fc.test",
    ],
)
def test_a_url_that_can_be_used_is_taken(url: str) -> None:
    Client(url, organisation="acme").close()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "proxy",
    [
        f"http://{LONG}.test",
        "http://p.test:99999",
        "http://user:pass@p.test:\u0668\u0660",
        "http://user:secret@[::1",
        "ftp://p.test",
        "http://",
        "http://a\nb",
        5,
    ],
    ids=repr,
)
def test_a_proxy_that_cannot_be_used_is_refused_when_the_client_is_made(kind: Any, proxy: Any) -> None:
    with pytest.raises(ConfigurationError, match="The proxy cannot be used") as raised:
        kind("http://a.test", proxy=proxy)
    assert "secret" not in str(raised.value)


def test_a_socks_proxy_says_what_to_install() -> None:
    with pytest.raises(ConfigurationError, match=r"httpx2\[socks\]"):
        Client("http://a.test", proxy="socks5://p.test")


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("::1", "http://[::1]:8080", True),
        ("[::1]", "http://[::1]", True),
        ("[::1]:8080", "http://[::1]:8080", True),
        ("[::1]:8081", "http://[::1]:8080", False),
        ("0:0:0:0:0:0:0:1", "http://[::1]", True),
        ("::2", "http://[::1]", False),
        ("fd00::/8", "http://[fd12::1]", True),
        ("fd00::/8", "http://[fe80::1]", False),
        ("fe80::1", "http://[fe80::1%25eth0]", True),
        ("10.0.0.0/8", "http://10.1.2.3:8080", True),
        ("10.1.2.3/8", "http://10.200.0.1", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]", True),
        ("127.0.0.1", "http://127.0.0.1:8080", True),
        ("0.0.1", "http://127.0.0.1", False),
        ("10.0.0.0/99", "http://10.0.0.1", False),
        ("*", "https://a.test:8080", True),
        ("x, *", "https://a.test", True),
        ("a.test", "http://a.test", True),
        ("a.test", "http://b.a.test", True),
        ("a.test", "http://ba.test", False),
        (".a.test", "http://b.a.test", True),
        (".a.test", "http://a.test", True),
        ("*.a.test", "http://b.a.test", True),
        ("*.a.test", "http://a.test", False),
        ("A.TEST", "http://a.test", True),
        ("a.test", "http://A.Test", True),
        ("a.test.", "http://a.test", True),
        ("a.test", "http://a.test.", True),
        ("a.test:8080", "http://a.test:8080", True),
        ("a.test:8080", "http://a.test", False),
        ("a.test:80", "http://a.test", True),
        ("a.test:443", "https://a.test", True),
        ("b.test,  a.test ", "http://a.test", True),
        ("b.test a.test", "http://a.test", True),
        ("b.test\ta.test\n", "http://a.test", True),
        ("http://a.test", "http://a.test", True),
        ("b\u00fccher.test", "http://b\u00fccher.test", True),
        ("xn--bcher-kva.test", "http://b\u00fccher.test", True),
        (",, ,", "http://a.test", False),
        (".", "http://a.test", False),
        ("", "http://a.test", False),
    ],
)
def test_no_proxy_is_read_in_all_its_forms(no_proxy: str, url: str, direct: bool) -> None:  # noqa: FBT001 - a case
    for name in ("no_proxy", "NO_PROXY"):
        assert proxy_from_environment({"all_proxy": PROXY, name: no_proxy}, url) == (None if direct else PROXY)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({"HTTP_PROXY": f" {PROXY}\n"}, PROXY),
        ({"http_proxy": "p.test:3128"}, PROXY),
        ({"ALL_PROXY": "p.test:3128"}, PROXY),
        ({"http_proxy": "", "HTTP_PROXY": PROXY}, PROXY),
        ({"http_proxy": "  "}, None),
        ({"https_proxy": PROXY}, None),
        ({"http_proxy": PROXY, "all_proxy": "http://other.test"}, PROXY),
    ],
)
def test_the_environments_proxy_is_trimmed_and_completed(environment: dict[str, str], proxy: str | None) -> None:
    assert choose_proxy(None, environment, "http://a.test") == proxy


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": "3"},
        {"timeout": True},
        {"timeout": [3]},
        {"timeout": 0},
        {"timeout": 0.0},
        {"timeout": -1},
        {"timeout": -0.001},
        {"timeout": float("nan")},
        {"timeout": float("-inf")},
        {"max_retries": -1},
        {"max_retries": True},
        {"max_retries": float("nan")},
        {"max_retries": 101},
        {"organisation": 5},
        {"organisation": "acme\n"},
        {"organisation": "ac\x00me"},
        {"organisation": "ac\x7fme"},
        {"organisation": "ac\x85me"},
        {"organisation": "\ud800"},
        {"organisation": "a" * 129},
        {"max_retries": "3"},
        {"max_retries": None},
        {"max_retries": 1.5},
        {"token": 5},
        {"headers": {"X": None}},
        {"headers": {"X": b"bytes"}},
        {"headers": {"X": "line\nbreak"}},
        {"headers": {"X": "carriage\rreturn"}},
        {"headers": {"": "x"}},
        {"headers": {"X Y": "x"}},
        {"headers": {5: "x"}},
        {"headers": [("X", "y")]},
        {"on_attempt": 5},
    ],
    ids=repr,
)
def test_an_option_of_the_wrong_kind_is_refused_when_the_client_is_made(options: Any) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ConfigurationError):
            kind("http://a.test", **options)


@pytest.mark.parametrize(
    "options",
    [
        *({"timeout": timeout} for timeout in (0, -1, float("nan"), float("-inf"), "3", True)),
        *({"organisation": organisation} for organisation in (5, "acme\n", "ac\x00me", "a" * 129, "\ud800")),
    ],
    ids=repr,
)
def test_a_calls_own_option_that_cannot_be_used_is_refused_and_nothing_is_sent(flavour: str, options: Any) -> None:
    requests: list[httpx2.Request] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=[])

    with client_of(flavour, respond) as client:
        for call in (
            lambda: client.list_sessions(**options),
            lambda: client.get_session("s", **options),
            lambda: next(client.iterate_sessions(**options), None),
            lambda: client.session(user_id="u", **options),
            lambda: client.session(session_id="s", **options),
        ):
            with pytest.raises(InvalidArgumentError, match=r"timeout|organisation"):
                call()
    assert requests == []


def test_an_organisation_of_the_environment_that_cannot_be_used_is_refused() -> None:
    for named in ("ac\x00me", "a" * 129):
        with pytest.raises(ConfigurationError, match="organisation"):
            Client("http://a.test", _dependencies=Dependencies(sleep=print, environment={ORGANISATION: named}))


@pytest.mark.parametrize(
    "options",
    [
        {"organisation": "a" * 128},
        {"organisation": "\u00fcber two"},
        {"organisation": None},
        {"organisation": ""},
        {"timeout": 1e-9},
        {"timeout": float("inf")},
        {"timeout": None},
        {"max_retries": 0},
        {"max_retries": 100},
    ],
    ids=repr,
)
def test_an_option_that_can_be_used_is_taken(options: Any) -> None:
    for kind in (Client, AsyncClient):
        kind("http://a.test", **options)


def test_a_hook_that_would_have_to_be_awaited_is_refused() -> None:
    async def hook(_: Any) -> None:
        pass

    with pytest.raises(ConfigurationError, match="plain function"):
        AsyncClient("http://a.test", on_attempt=hook)  # type: ignore[arg-type]


def test_what_the_environment_holds_is_trimmed() -> None:
    environment = {"SESSIONARY_URL": " http://a.test/x/ \n", "SESSIONARY_ORGANISATION": "acme\n"}
    dependencies = Dependencies(sleep=print, environment=environment)
    with Client(_dependencies=dependencies) as client:
        config = client._config  # noqa: SLF001 - what it understood
        assert (config.url, config.organisation) == ("http://a.test/x", "acme")
