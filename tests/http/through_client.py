"""The wire tests over the client: ``pytest tests/http -p tests.http.through_client``.

Each request of a test that the client's operations can say is made by calling the operation, and the test sees the
answer that the client got. What it raised or returned must agree with that answer. The rest goes as it is: broken JSON,
methods and paths of nobody, odd headers, other spellings. Both are counted.
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
"""What the client says where nothing is said, as the documentation has it."""
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
"""Headers that are the HTTP library's own affair, or the token's."""
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


class UnsayableError(Exception):
    """The client's operations cannot say this; the text tells why."""


class Said(Struct, frozen=True):
    """A request as one of the client's operations says it."""

    operation: str
    prefix: str
    arguments: Mapping[str, Any]
    options: Mapping[str, Any]


class ThroughClient:
    """Carries what the client can say through it, and the rest as it is."""

    def __init__(self, port: int, flavour: str, tally: Counter[str]) -> None:
        self._port = port
        self._flavour = flavour
        self._tally = tally
        self._plain = Connection(port)
        self._clients: dict[str, Client] = {}

    def send(self, asked: Request) -> HttpResponse:
        try:
            said = said_of(asked)
        except UnsayableError as reason:
            self._tally[f"as it is: {reason}"] += 1
            return self._plain.send(asked)
        return self._ask(asked, said)

    def close(self) -> None:
        self._plain.close()
        for client in self._clients.values():
            client.__exit__(None, None, None)
        self._clients.clear()

    def _ask(self, asked: Request, said: Said) -> HttpResponse:
        operation = getattr(self._client(said.prefix).with_raw_response, said.operation)
        try:
            raw = operation(**said.arguments, **said.options)
        except SessionaryError as error:
            if error.response is None:
                return self._refused(asked, error)
            check_failure(error, error.response)
            response = error.response
        else:
            response = raw.http_response
            check_answer(raw.parse(), response)
        self._tally[f"through the {self._flavour} client: {said.operation} {response.status_code}"] += 1
        return HttpResponse(response.status_code, dict(response.headers), response.content)

    def _refused(self, asked: Request, error: SessionaryError) -> HttpResponse:
        """Check that the server would have refused it too."""
        assert isinstance(error, InvalidArgumentError), error
        answer = self._plain.send(asked)
        assert answer.status in _REFUSALS, (asked, error)
        self._tally["refused by the client and the server"] += 1
        return answer

    def _client(self, prefix: str) -> Client:
        if prefix not in self._clients:
            url = f"http://127.0.0.1:{self._port}{prefix}"
            self._clients[prefix] = make_client(self._flavour, url, max_retries=0, timeout=60, verify=_TLS)
        return self._clients[prefix]


_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Made once, for it is slow to make, and not used here."""


def said_of(asked: Request) -> Said:
    """Say a request with an operation of the client; raises UnsayableError."""
    found = _PATH.fullmatch(asked.path)
    if found is None:
        raise UnsayableError("path")
    place = (asked.method, found["session_id"] is not None, found["extension"] is not None)
    if place not in _OPERATIONS:
        raise UnsayableError("method")
    said = Said(
        operation=_OPERATIONS[place],
        prefix=found["prefix"],
        arguments=_place(found) | _of_body(_OPERATIONS[place], asked) | _of_query(_OPERATIONS[place], found["query"]),
        options={"organisation": unquote(found["organisation"]), "headers": _headers(asked)} | _token(asked.token),
    )
    # The client leaves out what is None.
    if said.operation == "create_session" and said.arguments.get("user_id") is None:
        raise UnsayableError("a required member is missing")
    with contextlib.suppress(InvalidArgumentError):
        _check_it_says(asked, found, said)
    return said


def _place(found: re.Match[str]) -> dict[str, Any]:
    for part in (found["organisation"], found["session_id"] or "id"):
        _check_spelling(part)
    return {} if found["session_id"] is None else {"session_id": unquote(found["session_id"])}


def _check_spelling(given: str) -> None:
    """Leave alone what is spelled as nobody would: it is about its spelling."""
    if quote(unquote(given), safe="") != given or not given.strip("."):
        raise UnsayableError("a path or a query spelled another way")


def _of_body(operation: str, asked: Request) -> dict[str, Any]:
    kind = _BODIES.get(operation)
    if kind is None:
        if asked.body is not None:
            raise UnsayableError("a body where none belongs")
        return {}
    try:
        given = json.loads(asked.body or b"")
    except (ValueError, RecursionError):
        raise UnsayableError("a body that is no JSON") from None
    if not isinstance(given, dict) or asked.body not in _spellings(given):
        raise UnsayableError("a body that is no object, or spelled another way")
    return _named(kind, given)


def _spellings(value: dict[str, Any]) -> set[bytes]:
    """Spell JSON as programs do: a body spelled otherwise is about its spelling."""
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
        raise UnsayableError("a query where none belongs")
    parts = [part.partition("=") for part in query.split("&")]
    if len({name for name, _, _ in parts}) != len(parts):
        raise UnsayableError("a query that repeats itself")
    for name, sign, value in parts:
        _check_spelling(f"{name}x{value}")
        if not sign:
            raise UnsayableError("a query without values")
    return _named(kind, {name: unquote(value) for name, _, value in parts})


def _named(kind: type[Struct], given: Mapping[str, Any]) -> dict[str, Any]:
    names = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    if not given.keys() <= names.keys():
        raise UnsayableError("members that nobody knows")
    return {names[name]: value for name, value in given.items()}


def _headers(asked: Request) -> dict[str, str]:
    headers = {name.lower(): value for name, value in asked.headers.items()}
    if asked.body is not None and "content-type" not in headers:
        raise UnsayableError("a body without a type")
    if len(headers) < len(asked.headers) or headers.keys() & _OF_HTTP or not all(map(_is_plain, headers.values())):
        raise UnsayableError("headers")
    return headers


def _token(token: str | None) -> dict[str, str]:
    if token is None:
        return {}
    if not token or not _is_plain(token):
        raise UnsayableError("token")
    return {"token": token}


def _is_plain(text: str) -> bool:
    return text.isascii() and text.strip() == text and (text.isprintable() or not text)


def _check_it_says(asked: Request, found: re.Match[str], said: Said) -> None:
    """Check that the call says what was asked, no more and no less; raises InvalidArgumentError too."""
    call = getattr(request_specs, said.operation)(**said.arguments)
    organisation = encode_path_segment(said.options["organisation"], "organisation")
    place = f"/api/v3/organizations/{organisation}/ai/sessions{call.path}"
    assert place == asked.path.partition("?")[0].removeprefix(said.prefix)
    defaults = _DEFAULTS.get(said.operation, {})
    if call.body is None:
        parts = set(found["query"].split("&")) if found["query"] else set()
        spelled = {f"{name}={value}" for name, value in defaults.items()}
        assert set(call.query.split("&")) - {""} in (parts, parts | spelled)
    else:
        given = {name: value for name, value in json.loads(asked.body or b"").items() if value is not None}
        sent = repr(_sorted(json.loads(call.body)))
        assert sent in {repr(_sorted(given)), repr(_sorted({**defaults, **given}))}


def _sorted(members: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(members.items())


def check_failure(error: SessionaryError, response: Response) -> None:
    """Check that what the client raised is what the answer says."""
    assert error.status == response.status_code
    assert isinstance(error, _KINDS[error.status]), error
    assert error.request_id == response.headers["x-request-id"]
    if error.status == HTTPStatus.NOT_MODIFIED:
        return
    problem = response.json()
    assert (type(error).code, error.code) == (problem["code"], problem["code"])
    # The client adds to a refused token where it is to be given.
    assert error.detail.startswith(problem["detail"].rstrip("."))
    assert error.detail == problem["detail"] or error.status == HTTPStatus.UNAUTHORIZED
    assert [msgspec.structs.asdict(fault) for fault in error.field_errors] == problem.get("errors", [])
    assert error.retry_after == (float(response.headers["retry-after"]) if "retry-after" in response.headers else None)


def check_answer(answer: Any, response: Response) -> None:
    """Check that what the client returned is what the answer says, member by member."""
    told = response.json()
    answers, members = (answer.data, told) if isinstance(told, list) else ([answer], [told])
    assert len(answers) == len(members)
    for each, member in zip(answers, members, strict=True):
        assert repr(each.to_dict()) == repr(member)


# What follows makes this module a plugin of pytest.


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tally", type=Path, help="where to write how many requests went which way, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    tally: Counter[str] = Counter()
    config.stash[_TALLY] = tally
    # Half of the callers speak through the blocking client, half through the awaitable one.
    flavours = cycle(FLAVOURS)
    Caller.make_transport = lambda port: ThroughClient(port, next(flavours), tally)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for way, count in sorted(config.stash[_TALLY].items()):
        terminalreporter.line(f"{count:6} {way}")


def pytest_unconfigure(config: pytest.Config) -> None:
    place = config.getoption("--tally")
    if place is not None:
        place.write_bytes(as_json(config.stash[_TALLY]))


_TALLY: Final = pytest.StashKey[Counter[str]]()
