"""What a client knows of the server it talks to: where it is, as whom to ask, how patiently."""

import inspect
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypedDict
from urllib.parse import urlsplit

import httpx2
from msgspec import Struct

from sessionary.client.addresses import address_of, goes_past_the_proxy, origin_of
from sessionary.client.arguments import check_names, organisation_checked, retries_checked, seconds
from sessionary.client.calls import Answer, Call
from sessionary.client.writing import segment
from sessionary.errors import InvalidRequestError
from sessionary.models import ACCEPT_IDEMPOTENCY_KEY

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
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")


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
    """Seconds for a whole call, retries and pauses included: 30; None for as long as it takes. More than 0."""
    retries: int
    """How often a call that is safe to repeat is repeated at most: 3. From 0 to 100."""
    headers: Mapping[str, str]
    """Headers for every request."""
    on_attempt: Callable[[Attempt], None]
    """Is told of each request once it has ended, for logs and metrics; what it raises is logged and changes nothing."""


class Server:
    """A server as one client sees it."""

    def __init__(self, url: str | None, options: ClientOptions, environment: Mapping[str, str]) -> None:
        """Read the options, then the environment; raises InvalidRequestError, and TypeError for options of nobody."""
        check_names(options, ClientOptions, "Client")
        token = options.get("token") or environment.get(TOKEN_VARIABLE)
        address = _address(url or environment.get(URL_VARIABLE))
        self.url: Final = str(address).rstrip("/")
        self.origin: Final = origin_of(address)
        self.timeout: Final = seconds(options.get("timeout", TIMEOUT_SECONDS_DEFAULT))
        self.retries: Final = retries_checked(options.get("retries", RETRIES_DEFAULT))
        self.on_attempt: Final = _hook(options.get("on_attempt"))
        self.honours_keys: bool | None = None
        """Whether the server honours idempotency keys; None as long as it has not said so either way."""
        self._organisation: Final = organisation_checked(
            options.get("organisation") or environment.get(ORGANISATION_VARIABLE, "").strip()
        )
        self._headers: Final = httpx2.Headers(_ALWAYS | _headers(token) | checked(options.get("headers")))

    def address_of(self, call: Call[Answer]) -> str:
        """Write the URL of a call; raises InvalidRequestError where nobody named an organisation."""
        organisation = organisation_checked(call.options.get("organisation")) or self._organisation
        if not organisation:
            raise InvalidRequestError(f"No organisation is named: give organisation= or set {ORGANISATION_VARIABLE}.")
        place = f"{self.url}/api/v3/organizations/{segment(organisation, 'organisation')}/ai/sessions{call.path}"
        return f"{place}?{call.query}" if call.query else place

    def headers_of(self, call: Call[Answer]) -> httpx2.Headers:
        """Collect the headers of a call, the call's own last; raises InvalidRequestError."""
        headers = self._headers.copy()
        headers.update(_headers(call.options.get("token")))
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        headers.update(checked(call.options.get("headers")))
        if headers.keys() & _OF_FRAMES:
            raise InvalidRequestError("How long a body is, and how it is sent, is for the client to say.")
        return headers

    def learn_from(self, response: httpx2.Response) -> None:
        """Note whether this server honours idempotency keys; a gateway's failures on the way to it say nothing."""
        if response.headers.get(ACCEPT_IDEMPOTENCY_KEY) == _TRUE:
            self.honours_keys = True
        elif response.is_success:
            self.honours_keys = False


def tls_for(url: str, proxy: str | None, *, verify: ssl.SSLContext | bool) -> ssl.SSLContext | bool:
    """Spare a client that will never speak TLS the reading of all authorities, most of the time it takes to make one.

    What it gets instead trusts nobody.
    """
    plain = url.startswith("http://") and proxy is None and verify is True
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else verify


@contextmanager
def proxy_checked() -> Iterator[None]:
    """Tell of a proxy that the HTTP library cannot use, whoever named it; raises InvalidRequestError."""
    try:
        yield
    except ImportError:
        raise InvalidRequestError("The proxy cannot be used: for a SOCKS proxy, install httpx2[socks].") from None
    except (ValueError, TypeError, httpx2.InvalidURL):
        raise InvalidRequestError("The proxy cannot be used: its address is not valid.") from None


def proxy_of(given: str | None, environment: Mapping[str, str], url: str) -> str | None:
    """Take the proxy that is given, or else the one that the environment names; raises InvalidRequestError."""
    proxy = given or proxy_from(environment, url)
    if not proxy:
        return None
    try:
        address = address_of(proxy, "proxy's address")
    except InvalidRequestError as error:
        raise InvalidRequestError(f"The proxy cannot be used: {error.detail}") from None
    if address.scheme not in _PROXY_SCHEMES or not address.host:
        raise InvalidRequestError(
            f"The proxy cannot be used: its address begins with one of {', '.join(_PROXY_SCHEMES)}."
        )
    return proxy.strip()


def proxy_from(environment: Mapping[str, str], url: str) -> str | None:
    """Find the proxy that the environment names for a URL."""
    if goes_past_the_proxy(url, _variable(environment, "no_proxy") or ""):
        return None
    scheme = urlsplit(url).scheme
    proxy = _variable(environment, f"{scheme}_proxy") or _variable(environment, "all_proxy")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _variable(environment: Mapping[str, str], name: str) -> str | None:
    # Where a program runs as CGI, a caller's header Proxy arrives as HTTP_PROXY.
    forged = name == "http_proxy" and "REQUEST_METHOD" in environment
    value = environment.get(name) or (None if forged else environment.get(name.upper()))
    return value.strip() if value else None


def checked(headers: object) -> dict[str, str]:
    """Check headers of the caller's own; raises InvalidRequestError, which never repeats a value."""
    if not headers:
        return {}
    if not isinstance(headers, Mapping):
        raise InvalidRequestError("The headers must be a mapping of names to values.")
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidRequestError("The name of a header is not valid.")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value.strip(" \t")):
            raise InvalidRequestError(f"The header {name} holds other characters than printable ASCII.")
    return {name: value.strip(" \t") for name, value in headers.items()}


def _address(url: object) -> httpx2.URL:
    if not url or (isinstance(url, str) and not url.strip()):
        raise InvalidRequestError(f"No server is named: give its URL or set {URL_VARIABLE}.")
    parts = address_of(url, "server's URL")
    if parts.scheme not in {"http", "https"} or not parts.host:
        raise InvalidRequestError("The server's URL must be http://… or https://…")
    if parts.userinfo or parts.query or parts.fragment:
        raise InvalidRequestError("The server's URL must be an address and a path: no user, query or fragment.")
    return parts


def _hook(given: Any) -> Callable[[Attempt], None] | None:
    if given is not None and (not callable(given) or inspect.iscoroutinefunction(given)):
        raise InvalidRequestError("on_attempt must be a plain function: it is called, and not awaited.")
    hook: Callable[[Attempt], None] | None = given
    return hook


def _headers(token: object) -> dict[str, str]:
    if token is not None and not isinstance(token, str):
        raise InvalidRequestError("The token must be text.")
    # A token read from a file often brings the end of its line along.
    bare = (token or "").strip()
    if not bare:
        return {}
    if not (bare.isascii() and bare.isprintable()) or " " in bare:
        raise InvalidRequestError("The token holds characters that no token has.")
    return {"Authorization": f"Bearer {bare}"}
