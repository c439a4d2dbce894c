"""The HTTP tests, sent through the client: ``pytest tests/http -p tests.http.through_client``.

Each request of a test that the client's operations can express is made by calling the operation, and the test gets the
response that the client received. What the client raised or returned must agree with that response. All other requests
are sent directly: invalid JSON, unknown methods and paths, unusual headers and encodings. Both are counted.
"""

import contextlib
import json
import re
import ssl
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec
import pytest
from msgspec import Struct

from sessionary import (
    Client,
    CreateSession,
    ExtendSession,
    InvalidArgumentError,
    Response,
    SessionaryError,
    UpdateSession,
    errors,
)
from sessionary.client import request_specs
from sessionary.client.encoding import encode_path_segment
from sessionary.models import ListParameters, WindowParameters
from tests.client.clients import FLAVOURS, make_client
from tests.http.callers import Caller, Connection, Request, as_json
from tests.http.callers import Response as HttpResponse

_PATH: Final = re.compile(
    r"(?P<prefix>[^?]*)(?P<sessions>/api/v3/organizations/(?P<organisation>[^/?]+)/ai/sessions)"
    r"(?:/(?P<session_id>[^/?]+))?(?P<extension>/extend)?(?:\?(?P<query>.*))?"
)
_OPERATIONS: Final = {
    ("POST", False, False): "create_session",
    ("GET", False, False): "list_sessions",
    ("GET", True, False): "get_session",
    ("PUT", True, False): "update_session",
    ("PUT", True, True): "extend_session",
    ("DELETE", True, False): "delete_session",
}
_BODIES: Final[Mapping[str, type[Struct]]] = {
    "create_session": CreateSession,
    "update_session": UpdateSession,
    "extend_session": ExtendSession,
}
_QUERIES: Final[Mapping[str, type[Struct]]] = {"list_sessions": ListParameters, "get_session": WindowParameters}
_DEFAULTS: Final[Mapping[str, Mapping[str, int]]] = {
    "create_session": {"expirationMinutes": 60},
    "extend_session": {"additionalMinutes": 60},
    "list_sessions": {"limit": 50},
}
"""The documented defaults, which the client sends."""
_OF_HTTP: Final = frozenset(
    [
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "te",
        "transfer-encoding",
        "upgrade",
    ]
)
"""Headers that the HTTP library or the token sets."""
_KINDS: Final = {
    304: errors.NotModifiedError,
    400: errors.InvalidRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    408: errors.RequestTimeoutError,
    409: errors.ConflictError,
    412: errors.PreconditionFailedError,
    413: errors.RequestTooLargeError,
    414: errors.QueryTooLongError,
    415: errors.UnsupportedMediaTypeError,
    422: errors.IdempotencyKeyReusedError,
    429: errors.RateLimitError,
    431: errors.HeadersTooLargeError,
    500: errors.SessionaryError,
    503: errors.UnavailableError,
}
_REFUSALS: Final = {400, 401, 404}


class InexpressibleError(Exception):
    """The client's operations cannot express this request; the text is the reason."""


class ClientCall(Struct, frozen=True):
    """A request as a call of one of the client's operations."""

    operation: str
    prefix: str
    arguments: Mapping[str, Any]
    options: Mapping[str, Any]


class ThroughClient:
    """Sends requests through the client where it can express them, and directly otherwise."""

    def __init__(self, port: int, flavour: str, tally: Counter[str]) -> None:
        self._port = port
        self._flavour = flavour
        self._tally = tally
        self._plain = Connection(port)
        self._clients: dict[str, Client] = {}

    def send(self, request: Request) -> HttpResponse:
        try:
            client_call = to_client_call(request)
        except InexpressibleError as reason:
            self._tally[f"sent directly: {reason}"] += 1
            return self._plain.send(request)
        return self._send_through_client(request, client_call)

    def close(self) -> None:
        self._plain.close()
        for client in self._clients.values():
            client.__exit__(None, None, None)
        self._clients.clear()

    def _send_through_client(self, request: Request, client_call: ClientCall) -> HttpResponse:
        operation = getattr(self._client(client_call.prefix).with_raw_response, client_call.operation)
        try:
            raw = operation(**client_call.arguments, **client_call.options)
        except SessionaryError as error:
            if error.response is None:
                return self._check_refusal(request, error)
            check_failure(error, error.response)
            response = error.response
        else:
            response = raw.http_response
            check_result(raw.parse(), response)
        self._tally[f"through the {self._flavour} client: {client_call.operation} {response.status_code}"] += 1
        return HttpResponse(response.status_code, dict(response.headers), response.content)

    def _check_refusal(self, request: Request, error: SessionaryError) -> HttpResponse:
        """Check that the server would have refused it too."""
        assert isinstance(error, InvalidArgumentError), error
        response = self._plain.send(request)
        assert response.status in _REFUSALS, (request, error)
        self._tally["refused by the client and the server"] += 1
        return response

    def _client(self, prefix: str) -> Client:
        if prefix not in self._clients:
            url = f"http://127.0.0.1:{self._port}{prefix}"
            self._clients[prefix] = make_client(self._flavour, url, max_retries=0, timeout=60, verify=_TLS)
        return self._clients[prefix]


_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Made once, because making it is slow; no request uses it."""


def to_client_call(request: Request) -> ClientCall:
    """Express a request as a call of the client; raises InexpressibleError."""
    found = _PATH.fullmatch(request.path)
    if found is None:
        raise InexpressibleError("path")
    route = (request.method, found["session_id"] is not None, found["extension"] is not None)
    if route not in _OPERATIONS:
        raise InexpressibleError("method")
    client_call = ClientCall(
        operation=_OPERATIONS[route],
        prefix=found["prefix"],
        arguments=_session_id_argument(found)
        | _of_body(_OPERATIONS[route], request)
        | _of_query(_OPERATIONS[route], found["query"]),
        options={"organisation": unquote(found["organisation"]), "headers": _headers(request)} | _token(request.token),
    )
    # The client leaves out what is None.
    if client_call.operation == "create_session" and client_call.arguments.get("user_id") is None:
        raise InexpressibleError("a required member is missing")
    with contextlib.suppress(InvalidArgumentError):
        _check_call(request, found, client_call)
    return client_call


def _session_id_argument(found: re.Match[str]) -> dict[str, Any]:
    for part in (found["organisation"], found["session_id"] or "id"):
        _check_encoding(part)
    return {} if found["session_id"] is None else {"session_id": unquote(found["session_id"])}


def _check_encoding(given: str) -> None:
    """Raise InexpressibleError for an unusual percent-encoding: the test is about that encoding."""
    if quote(unquote(given), safe="") != given or not given.strip("."):
        raise InexpressibleError("a path or a query in another encoding")


def _of_body(operation: str, request: Request) -> dict[str, Any]:
    kind = _BODIES.get(operation)
    if kind is None:
        if request.body is not None:
            raise InexpressibleError("a body where none belongs")
        return {}
    try:
        given = json.loads(request.body or b"")
    except (ValueError, RecursionError):
        raise InexpressibleError("a body that is no JSON") from None
    if not isinstance(given, dict) or request.body not in _usual_encodings(given):
        raise InexpressibleError("a body that is no object, or in another encoding")
    return _named(kind, given)


def _usual_encodings(value: dict[str, Any]) -> set[bytes]:
    """Return the usual encodings of a JSON object; a test with another one is about that encoding."""
    compact = (",", ":")
    texts = (
        json.dumps(value),
        json.dumps(value, separators=compact),
        json.dumps(value, separators=compact, ensure_ascii=False),
    )
    return {text.encode(errors="surrogatepass") for text in texts}


def _of_query(operation: str, query: str | None) -> dict[str, Any]:
    if query is None:
        return {}
    kind = _QUERIES.get(operation)
    if kind is None:
        raise InexpressibleError("a query where none belongs")
    parts = [part.partition("=") for part in query.split("&")]
    if len({name for name, _, _ in parts}) != len(parts):
        raise InexpressibleError("a query that repeats itself")
    for name, sign, value in parts:
        _check_encoding(f"{name}x{value}")
        if not sign:
            raise InexpressibleError("a query without values")
    return _named(kind, {name: unquote(value) for name, _, value in parts})


def _named(kind: type[Struct], given: Mapping[str, Any]) -> dict[str, Any]:
    names = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    if not given.keys() <= names.keys():
        raise InexpressibleError("unknown members")
    return {names[name]: value for name, value in given.items()}


def _headers(request: Request) -> dict[str, str]:
    headers = {name.lower(): value for name, value in request.headers.items()}
    if request.body is not None and "content-type" not in headers:
        raise InexpressibleError("a body without a type")
    if len(headers) < len(request.headers) or headers.keys() & _OF_HTTP or not all(map(_is_plain, headers.values())):
        raise InexpressibleError("headers")
    return headers


def _token(token: str | None) -> dict[str, str]:
    if token is None:
        return {}
    if not token or not _is_plain(token):
        raise InexpressibleError("token")
    return {"token": token}


def _is_plain(text: str) -> bool:
    return text.isascii() and text.strip() == text and (text.isprintable() or not text)


def _check_call(request: Request, found: re.Match[str], client_call: ClientCall) -> None:
    """Check that the call sends exactly this request; raises InvalidArgumentError too."""
    call = getattr(request_specs, client_call.operation)(**client_call.arguments)
    organisation = encode_path_segment(client_call.options["organisation"], "organisation")
    path = f"/api/v3/organizations/{organisation}/ai/sessions{call.path}"
    assert path == request.path.partition("?")[0].removeprefix(client_call.prefix)
    defaults = _DEFAULTS.get(client_call.operation, {})
    if call.body is None:
        parts = set(found["query"].split("&")) if found["query"] else set()
        parameters = {f"{name}={value}" for name, value in defaults.items()}
        assert set(call.query.split("&")) - {""} in (parts, parts | parameters)
    else:
        given = {name: value for name, value in json.loads(request.body or b"").items() if value is not None}
        sent = repr(_sorted(json.loads(call.body)))
        assert sent in {repr(_sorted(given)), repr(_sorted({**defaults, **given}))}


def _sorted(members: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(members.items())


def check_failure(error: SessionaryError, response: Response) -> None:
    """Check that the client's error agrees with the response."""
    assert error.status == response.status_code
    assert isinstance(error, _KINDS[error.status]), error
    assert error.request_id == response.headers["x-request-id"]
    if error.status == HTTPStatus.NOT_MODIFIED:
        return
    problem = response.json()
    assert (type(error).code, error.code) == (problem["code"], problem["code"])
    # For a refused token the client adds where to set it.
    assert error.detail.startswith(problem["detail"].rstrip("."))
    assert error.detail == problem["detail"] or error.status == HTTPStatus.UNAUTHORIZED
    assert [msgspec.structs.asdict(fault) for fault in error.field_errors] == problem.get("errors", [])
    assert error.retry_after == (float(response.headers["retry-after"]) if "retry-after" in response.headers else None)


def check_result(result: Any, response: Response) -> None:
    """Check that the client's result agrees with the response, member by member."""
    content = response.json()
    results, members = (result.data, content) if isinstance(content, list) else ([result], [content])
    assert len(results) == len(members)
    for each, member in zip(results, members, strict=True):
        assert repr(each.to_dict()) == repr(member)


# What follows makes this module a plugin of pytest.


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tally", type=Path, help="the file for the numbers of requests sent through the client and directly, as JSON"
    )


def pytest_configure(config: pytest.Config) -> None:
    tally: Counter[str] = Counter()
    config.stash[_TALLY] = tally
    # Half of the callers use the blocking client, half the asynchronous one.
    flavours = cycle(FLAVOURS)
    Caller.make_transport = lambda port: ThroughClient(port, next(flavours), tally)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for way, count in sorted(config.stash[_TALLY].items()):
        terminalreporter.line(f"{count:6} {way}")


def pytest_unconfigure(config: pytest.Config) -> None:
    path = config.getoption("--tally")
    if path is not None:
        path.write_bytes(as_json(config.stash[_TALLY]))


_TALLY: Final = pytest.StashKey[Counter[str]]()
