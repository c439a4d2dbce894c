"""A small HTTP client that sends exactly what a test says, with one token for one organisation."""

import http.client
import json
import re
import uuid
from collections.abc import Callable, Mapping
from copy import copy
from datetime import datetime
from typing import Any, ClassVar, Final, Protocol, Self
from urllib.parse import quote

from msgspec import Struct

JSON: Final = {"Content-Type": "application/json"}

_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_CODE: Final = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
_INTERNALS: Final = ("Traceback", "SELECT", "INSERT", "sqlite", "asyncpg", "apsw", "postgres", ".py", "sny_")
_PROBLEM: Final = {"type", "title", "status", "detail", "code", "message"}


class Response(Struct, frozen=True):
    """A response: status, headers by lower-case name, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded as JSON whatever its type is; it must not have duplicate keys."""
        return json.loads(self.body, object_pairs_hook=_unique, parse_constant=_refuse_constant)

    @property
    def problem(self) -> dict[str, Any]:
        """The body of an error, checked for the form that all errors have."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = self.json
        assert problem.keys() in (_PROBLEM, _PROBLEM | {"errors"})
        assert problem["status"] == self.status
        assert problem["message"] == problem["detail"]
        assert _CODE.fullmatch(problem["code"])
        assert all(type(problem[name]) is str for name in _PROBLEM - {"status"})
        assert all(error.keys() == {"pointer", "detail"} for error in problem.get("errors", []))
        assert not [word for word in _INTERNALS if word in self.body.decode()]
        return dict(problem)

    @property
    def error(self) -> tuple[int, str]:
        """The status and the code of an error."""
        return self.status, self.problem["code"]

    @property
    def pointers(self) -> list[str]:
        """The pointers of an error: which parts of the request are wrong."""
        return [error["pointer"] for error in self.problem.get("errors", [])]


class Request(Struct, frozen=True):
    """A request as a test wants it sent."""

    method: str
    path: str
    token: str | None
    body: bytes | None
    headers: Mapping[str, str]


class Transport(Protocol):
    """How the requests of a caller, and of its copies, get to the server."""

    def send(self, request: Request, /) -> Response:
        """Send a request and return its response."""

    def close(self) -> None:
        """Close the connection."""


class Connection:
    """Sends requests exactly as they are, over one connection."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def send(self, request: Request) -> Response:
        """Send a request with its headers, and with Host, Authorization and Content-Length."""
        connection = self._http
        try:
            connection.putrequest(request.method, request.path, skip_accept_encoding=True)
            if request.token is not None:
                connection.putheader("Authorization", f"Bearer {request.token}")
            if request.body is not None:
                connection.putheader("Content-Length", str(len(request.body)))
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(request.body)
            response = connection.getresponse()
            return Response(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


class Caller:
    """Calls the API for one organisation over one connection; every method returns the response, errors included."""

    make_transport: ClassVar[Callable[[int], Transport]] = Connection
    """Makes what sends the requests to a port; `tests.http.through_client` replaces it by the client."""

    def __init__(self, port: int, token: str | None, organisation: str) -> None:
        self.port = port
        self.token = token
        self.organisation = organisation
        self.sessions = f"/api/v3/organizations/{quote(organisation, safe='')}/ai/sessions"
        self._transport = Caller.make_transport(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def with_path_variant(self, variant: str) -> "Caller":
        """Return the same caller on the same connection, with `organisations` in its paths, for example."""
        other = copy(self)
        other.sessions = self.sessions.replace("/organizations/", f"/{variant}/")
        return other

    def with_token(self, token: str | None) -> "Caller":
        """Return the same caller on the same connection, with another token."""
        other = copy(self)
        other.token = token
        return other

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send a request with these headers, and with Host, Authorization and Content-Length."""
        return self._transport.send(Request(method, path, self.token, body, headers or {}))

    def create(self, **fields: Any) -> Response:
        """Create a session; its user is `someone` by default."""
        return self.create_raw(as_json({"userId": "someone", **fields}))

    def create_raw(self, body: bytes) -> Response:
        """Create a session with a raw body."""
        return self.send("POST", self.sessions, body, JSON)

    def new_session(self, **fields: Any) -> str:
        """Create a session, which must succeed, and return its id."""
        response = self.create(**fields)
        assert response.status == 201, response
        return str(response.json["sessionId"])

    def list(self, query: str = "") -> Response:
        """List sessions; `query` begins with a question mark."""
        return self.send("GET", self.sessions + query)

    def get(self, session_id: str, query: str = "") -> Response:
        """Get a session."""
        return self.send("GET", f"{self.sessions}/{session_id}{query}")

    def read(self, session_id: str) -> dict[str, Any]:
        """Get a session, which must succeed, and return it."""
        response = self.get(session_id)
        assert response.status == 200, response
        return dict(response.json)

    def update(self, session_id: str, **fields: Any) -> Response:
        """Update a session."""
        return self.update_raw(session_id, as_json(fields))

    def update_raw(self, session_id: str, body: bytes) -> Response:
        """Update a session with a raw body."""
        return self.send("PUT", f"{self.sessions}/{session_id}", body, JSON)

    def extend(self, session_id: str, **fields: Any) -> Response:
        """Extend a session."""
        return self.extend_raw(session_id, as_json(fields))

    def extend_raw(self, session_id: str, body: bytes | None, headers: Mapping[str, str] = JSON) -> Response:
        """Extend a session with a raw body."""
        return self.send("PUT", f"{self.sessions}/{session_id}/extend", body, headers)

    def delete(self, session_id: str) -> Response:
        """Delete a session."""
        return self.send("DELETE", f"{self.sessions}/{session_id}")


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    decoded = dict(members)
    assert len(decoded) == len(members), f"duplicate key in {[key for key, _ in members]}"
    return decoded


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def as_json(value: Any) -> bytes:
    """Encode a value as JSON in ASCII."""
    return json.dumps(value).encode()


def message(content: Any = "Hello", role: str = "user", **more: Any) -> dict[str, Any]:
    """Make a message."""
    return {"role": role, "content": content, **more}


def parse_timestamp(text: object) -> datetime:
    """Parse a timestamp, which must have the form that all timestamps of the API have."""
    assert isinstance(text, str)
    assert _TIMESTAMP.fullmatch(text), text
    return datetime.fromisoformat(text)


def unknown_id() -> str:
    """Return a session id that was never used."""
    return str(uuid.uuid4())
