"""The configuration of a client: server, token, organisation, timeout, retries, headers and proxy."""

import inspect
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Self, TypedDict
from urllib.parse import urlsplit

import httpx2
import msgspec
from msgspec import Struct, field

from sessionary import __version__
from sessionary.client.encoding import encode_path_segment
from sessionary.client.request_specs import RequestSpec
from sessionary.client.urls import bypasses_proxy, origin_of, parse_url
from sessionary.client.validation import (
    authorization_header,
    reject_unknown_names,
    validate_headers,
    validate_max_retries,
    validate_organisation,
    validate_timeout,
)
from sessionary.errors import ConfigurationError, InvalidArgumentError
from sessionary.models import ACCEPT_IDEMPOTENCY_KEY

URL_VARIABLE: Final = "SESSIONARY_URL"
TOKEN_VARIABLE: Final = "SESSIONARY_TOKEN"  # noqa: S105 - the name of a variable
ORGANISATION_VARIABLE: Final = "SESSIONARY_ORGANISATION"

TIMEOUT_SECONDS_DEFAULT: Final = 30.0
RETRIES_DEFAULT: Final = 3

_TRUE: Final = "?1"
_DEFAULT_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": f"sessionary-python/{__version__}",
}
_FRAMING_HEADERS: Final = {"content-length", "transfer-encoding"}
_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")


class Attempt(Struct, frozen=True, kw_only=True):
    """One HTTP request that has ended, as ``on_attempt`` gets it: no token, query, header or body."""

    operation: str
    number: int
    """1 for the first request of a call, more for its retries."""
    method: str
    path: str
    status: int
    """The HTTP status, or 0 if no response came."""
    code: str | None
    """The code of the error, or None."""
    request_id: str | None
    seconds: float


class _AdjustableOptions(TypedDict, total=False):
    timeout: float | None
    """Seconds for a whole call, retries and pauses included. 30 by default; None for no limit."""
    max_retries: int
    """How often a call that is safe to repeat is retried at most: 0 to 100, 3 by default."""
    headers: Mapping[str, str]
    """Headers for every request."""


class ClientOverrides(_AdjustableOptions, total=False):
    """What ``with_options`` may change."""

    organisation: str
    """Whose sessions."""
    token: str
    """The bearer token."""


class ClientOptions(_AdjustableOptions, total=False):
    """What a client may be given when it is made."""

    token: str | None
    """The bearer token. By default ``SESSIONARY_TOKEN``."""
    organisation: str | None
    """Whose sessions. By default ``SESSIONARY_ORGANISATION``; may also be given with each call."""
    on_attempt: Callable[[Attempt], None]
    """Called after each request, for logs and metrics. What it raises is logged and changes nothing."""


class ServerCapabilities:
    """What the client has learned about its server; shared by all copies of a client."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.supports_idempotency_keys: bool | None = None
        """None until a response has shown it."""

    def learn_from(self, response: httpx2.Response) -> None:
        """Note whether the server supports idempotency keys; errors of a gateway on the way tell nothing."""
        if response.headers.get(ACCEPT_IDEMPOTENCY_KEY) == _TRUE:
            self.supports_idempotency_keys = True
        elif response.is_success:
            self.supports_idempotency_keys = False


class ClientConfig(Struct, frozen=True, kw_only=True):
    """The validated configuration of one client."""

    url: str
    origin: str
    timeout: float | None
    max_retries: int
    organisation: str | None
    headers: httpx2.Headers
    on_attempt: Callable[[Attempt], None] | None
    capabilities: ServerCapabilities = field(default_factory=ServerCapabilities)

    @classmethod
    def load(cls, url: str | None, options: ClientOptions, environment: Mapping[str, str]) -> Self:
        """Read the options, then the environment; raises ConfigurationError, and TypeError for unknown options."""
        reject_unknown_names(options, ClientOptions, "Client")
        with configuration_errors():
            token = options.get("token") or environment.get(TOKEN_VARIABLE)
            address = _parse_server_url(url or environment.get(URL_VARIABLE))
            return cls(
                url=str(address).rstrip("/"),
                origin=origin_of(address),
                timeout=validate_timeout(options.get("timeout", TIMEOUT_SECONDS_DEFAULT)),
                max_retries=validate_max_retries(options.get("max_retries", RETRIES_DEFAULT)),
                organisation=validate_organisation(
                    options.get("organisation") or environment.get(ORGANISATION_VARIABLE, "").strip()
                ),
                headers=httpx2.Headers(
                    _DEFAULT_HEADERS | authorization_header(token) | validate_headers(options.get("headers"))
                ),
                on_attempt=_validate_hook(options.get("on_attempt")),
            )

    def with_options(self, options: ClientOverrides) -> Self:
        """Return a copy with some options replaced and headers added; raises ConfigurationError and TypeError."""
        reject_unknown_names(options, ClientOverrides, "with_options")
        changes: dict[str, Any] = {}
        with configuration_errors():
            headers = self.headers.copy()
            headers.update(authorization_header(options.get("token")))
            headers.update(validate_headers(options.get("headers")))
            if "timeout" in options:
                changes["timeout"] = validate_timeout(options["timeout"])
            if "max_retries" in options:
                changes["max_retries"] = validate_max_retries(options["max_retries"])
            if "organisation" in options:
                changes["organisation"] = validate_organisation(options["organisation"]) or self.organisation
        return msgspec.structs.replace(self, headers=headers, **changes)

    def url_for(self, spec: RequestSpec[Any]) -> str:
        """Build the URL of a request; raises ConfigurationError if neither client nor call names an organisation."""
        organisation = validate_organisation(spec.options.get("organisation")) or self.organisation
        if not organisation:
            raise ConfigurationError(
                f"The organisation is missing: give organisation= to the client or set {ORGANISATION_VARIABLE}."
            )
        segment = encode_path_segment(organisation, "organisation")
        url = f"{self.url}/api/v3/organizations/{segment}/ai/sessions{spec.path}"
        return f"{url}?{spec.query}" if spec.query else url

    def headers_for(self, spec: RequestSpec[Any]) -> httpx2.Headers:
        """Collect the headers of a request; those of the call win; raises InvalidArgumentError."""
        headers = self.headers.copy()
        headers.update(authorization_header(spec.options.get("token")))
        if spec.body is not None:
            headers["Content-Type"] = "application/json"
        headers.update(spec.headers)
        headers.update(validate_headers(spec.options.get("headers")))
        if headers.keys() & _FRAMING_HEADERS:
            raise InvalidArgumentError("Content-Length and Transfer-Encoding are set by the client.")
        return headers

    def __repr__(self) -> str:
        # Without the headers: they hold the token.
        return f"<ClientConfig {self.origin}>"


@contextmanager
def configuration_errors() -> Iterator[None]:
    """Turn InvalidArgumentError into ConfigurationError, for arguments of a client's constructor."""
    try:
        yield
    except InvalidArgumentError as error:
        raise ConfigurationError(error.detail) from None


def tls_context_for(url: str, proxy: str | None, *, verify: ssl.SSLContext | bool) -> ssl.SSLContext:
    """Return what verifies certificates; raises ConfigurationError.

    A client that never uses TLS gets a context that trusts nobody: loading the trusted authorities takes most of the
    time of making a client.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    if not isinstance(verify, bool):
        raise ConfigurationError("verify must be an ssl.SSLContext, True or False.")
    if url.startswith("http://") and proxy is None and verify:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx2.create_ssl_context(verify=verify)
    except OSError as error:
        raise ConfigurationError(f"The trusted certificate authorities cannot be loaded: {error}.") from error


@contextmanager
def proxy_errors() -> Iterator[None]:
    """Turn the HTTP library's errors about a proxy into ConfigurationError."""
    try:
        yield
    except ImportError:
        raise ConfigurationError("The proxy cannot be used: for a SOCKS proxy, install httpx2[socks].") from None
    except (ValueError, TypeError, httpx2.InvalidURL):
        raise ConfigurationError("The proxy cannot be used: its address is not valid.") from None


def choose_proxy(given: str | None, environment: Mapping[str, str], url: str) -> str | None:
    """Return the given proxy, or else the one in the environment; raises ConfigurationError."""
    proxy = given or proxy_from_environment(environment, url)
    if not proxy:
        return None
    try:
        address = parse_url(proxy, "proxy's address")
    except InvalidArgumentError as error:
        raise ConfigurationError(f"The proxy cannot be used: {error.detail}") from None
    if address.scheme not in _PROXY_SCHEMES or not address.host:
        raise ConfigurationError(
            f"The proxy cannot be used: its address must begin with one of {', '.join(_PROXY_SCHEMES)}."
        )
    return proxy.strip()


def proxy_from_environment(environment: Mapping[str, str], url: str) -> str | None:
    """Return the proxy that the environment variables name for a URL."""
    if bypasses_proxy(url, _variable(environment, "no_proxy") or ""):
        return None
    scheme = urlsplit(url).scheme
    proxy = _variable(environment, f"{scheme}_proxy") or _variable(environment, "all_proxy")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _variable(environment: Mapping[str, str], name: str) -> str | None:
    # In a CGI program the request header "Proxy" arrives as HTTP_PROXY, so it cannot be trusted there.
    is_forgeable = name == "http_proxy" and "REQUEST_METHOD" in environment
    value = environment.get(name) or (None if is_forgeable else environment.get(name.upper()))
    return value.strip() if value else None


def _parse_server_url(url: object) -> httpx2.URL:
    if not url or (isinstance(url, str) and not url.strip()):
        raise InvalidArgumentError(f"The server's URL is missing: give it to the client or set {URL_VARIABLE}.")
    address = parse_url(url, "server's URL")
    if address.scheme not in {"http", "https"} or not address.host:
        raise InvalidArgumentError("The server's URL must be http://… or https://…")
    if address.userinfo or address.query or address.fragment:
        raise InvalidArgumentError("The server's URL must not contain a user, a query or a fragment.")
    return address


def _validate_hook(hook: Any) -> Callable[[Attempt], None] | None:
    if hook is not None and (not callable(hook) or inspect.iscoroutinefunction(hook)):
        raise InvalidArgumentError("on_attempt must be a plain function, not a coroutine function.")
    function: Callable[[Attempt], None] | None = hook
    return function
