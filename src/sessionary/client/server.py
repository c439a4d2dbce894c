"""What a client knows of the server it talks to: where it is, as whom to ask, how patiently."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypedDict
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed leaves it out

import httpx
from msgspec import Struct

from sessionary.client.calls import Answer, Call, check_names
from sessionary.client.writing import segment
from sessionary.errors import InvalidRequest
from sessionary.model import ACCEPT_IDEMPOTENCY_KEY

URL_VARIABLE: Final = "SESSIONARY_URL"
TOKEN_VARIABLE: Final = "SESSIONARY_TOKEN"  # noqa: S105 - the name of a variable
ORGANISATION_VARIABLE: Final = "SESSIONARY_ORGANISATION"

TIMEOUT_SECONDS_DEFAULT: Final = 30.0
RETRIES_DEFAULT: Final = 3

_TRUE: Final = "?1"
_ALWAYS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "sessionary-python",
}

_OF_FRAMES: Final = {"content-length", "transfer-encoding"}


class Attempt(Struct, frozen=True, kw_only=True):
    """What a logging hook is told of each request once it has ended: never a token, a query, a header or a body."""

    operation: str
    number: int
    """1 for the first request of a call, more for its repetitions."""
    method: str
    path: str
    status: int
    """The HTTP status, or 0 where no answer came."""
    code: str | None
    """The code of what went wrong, or None."""
    request_id: str | None
    seconds: float


class ClientOptions(TypedDict, total=False):
    """What a client may be told when it is made."""

    token: str | None
    """The bearer token; else ``SESSIONARY_TOKEN``."""
    organisation: str | None
    """Whose sessions; else ``SESSIONARY_ORGANISATION``, or given with each call."""
    timeout: float | None
    """Seconds for a whole call, retries and pauses included: 30; None for as long as it takes."""
    retries: int
    """How often a call that is safe to repeat is repeated at most: 3."""
    headers: Mapping[str, str]
    """Headers for every request."""
    on_attempt: Callable[[Attempt], None]
    """Is told of each request once it has ended, for logs and metrics; what it raises comes out of the call."""


class Server:
    """A server as one client sees it."""

    def __init__(self, url: str | None, options: ClientOptions, environment: Mapping[str, str]) -> None:
        """Read the options, then the environment; raises InvalidRequest, and TypeError for options of nobody."""
        check_names(options, ClientOptions, "Client")
        token = options.get("token") or environment.get(TOKEN_VARIABLE)
        self.url: Final = _origin(url or environment.get(URL_VARIABLE))
        self.timeout: Final = options.get("timeout", TIMEOUT_SECONDS_DEFAULT)
        self.retries: Final = options.get("retries", RETRIES_DEFAULT)
        self.on_attempt: Final = options.get("on_attempt")
        self.honours_keys: bool = False
        self._organisation: Final = options.get("organisation") or environment.get(ORGANISATION_VARIABLE)
        self._headers: Final = _headers(token) | dict(options.get("headers") or {})

    def address_of(self, call: Call[Answer]) -> str:
        """Spell the URL of a call; raises InvalidRequest where nobody named an organisation."""
        organisation = call.options.get("organisation") or self._organisation
        if not organisation:
            raise InvalidRequest(f"No organisation is named: give organisation= or set {ORGANISATION_VARIABLE}.")
        place = f"{self.url}/api/v3/organizations/{segment(organisation, 'organisation')}/ai/sessions{call.path}"
        return f"{place}?{call.query}" if call.query else place

    def headers_of(self, call: Call[Answer]) -> httpx.Headers:
        """Collect the headers of a call, the call's own last; raises InvalidRequest."""
        try:
            headers = httpx.Headers(_ALWAYS | self._headers)
            headers.update(_headers(call.options.get("token")))
            if call.body is not None:
                headers["Content-Type"] = "application/json"
            headers.update(dict(call.options.get("headers") or {}))
        except UnicodeEncodeError:
            raise InvalidRequest("A header holds other characters than ASCII has.") from None
        if headers.keys() & _OF_FRAMES:
            raise InvalidRequest("How long a body is, and how it is sent, is for the client to say.")
        return headers

    def learn_from(self, response: httpx.Response) -> None:
        """Note whether this server honours idempotency keys; a gateway's failures on the way to it say nothing."""
        declared = response.headers.get(ACCEPT_IDEMPOTENCY_KEY) == _TRUE
        self.honours_keys = declared or (self.honours_keys and not response.is_success)


def tls_for(url: str, proxy: str | httpx.Proxy | None, *, verify: ssl.SSLContext | bool) -> ssl.SSLContext | bool:
    """Spare a client that will never speak TLS the reading of all authorities, most of the time it takes to make one.

    What it gets instead trusts nobody.
    """
    plain = url.startswith("http://") and proxy is None and verify is True
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else verify


@contextmanager
def proxy_checked() -> Iterator[None]:
    """Tell of a proxy that httpx cannot use, whoever named it; raises InvalidRequest."""
    try:
        yield
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise InvalidRequest(f"The proxy cannot be used: {error}.") from error


def proxy_from(environment: Mapping[str, str], url: str) -> str | None:
    """Find the proxy that the environment names for a URL."""
    parts = urlsplit(url)
    if proxy_bypass_environment(parts.netloc, {"no": _variable(environment, "no_proxy") or ""}):
        return None
    proxy = _variable(environment, f"{parts.scheme}_proxy") or _variable(environment, "all_proxy")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _variable(environment: Mapping[str, str], name: str) -> str | None:
    # Where a program runs as CGI, a caller's header Proxy arrives as HTTP_PROXY.
    forged = name == "http_proxy" and "REQUEST_METHOD" in environment
    return environment.get(name) or (None if forged else environment.get(name.upper()))


def _origin(url: str | None) -> str:
    if not url:
        raise InvalidRequest(f"No server is named: give its URL or set {URL_VARIABLE}.")
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidRequest(f"The server's URL is not valid: {error}.") from error
    if parts.scheme not in {"http", "https"} or not parts.host:
        raise InvalidRequest("The server's URL must be http://… or https://…")
    if parts.userinfo or parts.query or parts.fragment:
        raise InvalidRequest("The server's URL must be an address and a path: no user, query or fragment.")
    return str(parts).rstrip("/")


def _headers(token: str | None) -> dict[str, str]:
    # A token read from a file often brings the end of its line along.
    bare = (token or "").strip()
    if not bare:
        return {}
    if not (bare.isascii() and bare.isprintable()) or " " in bare:
        raise InvalidRequest("The token holds characters that no token has.")
    return {"Authorization": f"Bearer {bare}"}
