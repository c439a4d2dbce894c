"""Callers: each speaks HTTP with one token for one organisation, byte for byte as a test says."""

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

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_CODE: Final = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
_INTERNALS: Final = ("Traceback", "SELECT", "INSERT", "sqlite", "asyncpg", "apsw", "postgres", ".py", "sny_")
_PROBLEM: Final = {"type", "title", "status", "detail", "code", "message"}


class Answer(Struct, frozen=True):
    """What came back: status, headers by lower-case name, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON whatever its type says; in an answer too no key stands twice."""
        return json.loads(self.body, object_pairs_hook=_unique, parse_constant=_no_number)

    @property
    def problem(self) -> dict[str, Any]:
        """The body of a failure, which must have the shape that all failures have."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = self.json
        assert problem.keys() in (_PROBLEM, _PROBLEM | {"errors"})
        assert problem["status"] == self.status
        assert problem["message"] == problem["detail"]
        assert _CODE.fullmatch(problem["code"])
        assert all(type(problem[name]) is str for name in _PROBLEM - {"status"})
        assert all(fault.keys() == {"pointer", "detail"} for fault in problem.get("errors", []))
        assert not [word for word in _INTERNALS if word in self.body.decode()]
        return dict(problem)

    @property
    def refusal(self) -> tuple[int, str]:
        """The status and the code of a failure."""
        return self.status, self.problem["code"]

    @property
    def pointers(self) -> list[str]:
        """Where the request is at fault."""
        return [fault["pointer"] for fault in self.problem.get("errors", [])]


class Asked(Struct, frozen=True):
    """A request as a test wants it sent."""

    method: str
    path: str
    token: str | None
    body: bytes | None
    headers: Mapping[str, str]


class Way(Protocol):
    """How the requests of a caller, and of its copies, get to the server."""

    def carry(self, asked: Asked) -> Answer:
        """Send a request and return what came back."""

    def close(self) -> None:
        """Hang up."""


class Connection:
    """Carries requests byte for byte, over one connection."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def carry(self, asked: Asked) -> Answer:
        """Send a request with its headers, and Host, Authorization and Content-Length beside them."""
        connection = self._http
        try:
            connection.putrequest(asked.method, asked.path, skip_accept_encoding=True)
            if asked.token is not None:
                connection.putheader("Authorization", f"Bearer {asked.token}")
            if asked.body is not None:
                connection.putheader("Content-Length", str(len(asked.body)))
            for name, value in asked.headers.items():
                connection.putheader(name, value)
            connection.endheaders(asked.body)
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._http.close()


class Caller:
    """Speaks for one organisation over one connection; every method answers whatever came back, refusals too."""

    make_way: ClassVar[Callable[[int], Way]] = Connection
    """What carries the requests to a port; `tests.http.through_client` puts the client there."""

    def __init__(self, port: int, token: str | None, organisation: str) -> None:
        self.port = port
        self.token = token
        self.organisation = organisation
        self.sessions = f"/api/v3/organizations/{quote(organisation, safe='')}/ai/sessions"
        self._way = Caller.make_way(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._way.close()

    def spelled(self, spelling: str) -> "Caller":
        """The same caller on the same connection, spelling the path another way."""
        other = copy(self)
        other.sessions = self.sessions.replace("/organizations/", f"/{spelling}/")
        return other

    def bearing(self, token: str | None) -> "Caller":
        """The same caller on the same connection, with another token."""
        other = copy(self)
        other.token = token
        return other

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request with these headers, and Host, Authorization and Content-Length beside them."""
        return self._way.carry(Asked(method, path, self.token, body, headers or {}))

    def create(self, **fields: Any) -> Answer:
        """Create a session of `someone`, unless told whose."""
        return self.create_raw(as_json({"userId": "someone", **fields}))

    def create_raw(self, body: bytes) -> Answer:
        """Create a session from a body as it stands."""
        return self.send("POST", self.sessions, body, JSON)

    def begin(self, **fields: Any) -> str:
        """Create a session that must come to be, and return its id."""
        answer = self.create(**fields)
        assert answer.status == 201, answer
        return str(answer.json["sessionId"])

    def list(self, query: str = "") -> Answer:
        """List sessions; `query` begins with a question mark."""
        return self.send("GET", self.sessions + query)

    def get(self, session_id: str, query: str = "") -> Answer:
        """Get a session."""
        return self.send("GET", f"{self.sessions}/{session_id}{query}")

    def read(self, session_id: str) -> dict[str, Any]:
        """Get a session that must be there, and return it."""
        answer = self.get(session_id)
        assert answer.status == 200, answer
        return dict(answer.json)

    def update(self, session_id: str, **fields: Any) -> Answer:
        """Update a session."""
        return self.update_raw(session_id, as_json(fields))

    def update_raw(self, session_id: str, body: bytes) -> Answer:
        """Update a session with a body as it stands."""
        return self.send("PUT", f"{self.sessions}/{session_id}", body, JSON)

    def extend(self, session_id: str, **fields: Any) -> Answer:
        """Extend a session."""
        return self.extend_raw(session_id, as_json(fields))

    def extend_raw(self, session_id: str, body: bytes | None, headers: Mapping[str, str] = JSON) -> Answer:
        """Extend a session with a body as it stands."""
        return self.send("PUT", f"{self.sessions}/{session_id}/extend", body, headers)

    def delete(self, session_id: str) -> Answer:
        """Delete a session."""
        return self.send("DELETE", f"{self.sessions}/{session_id}")


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(members)
    assert len(read) == len(members), f"a key stands twice in {[key for key, _ in members]}"
    return read


def _no_number(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def as_json(value: Any) -> bytes:
    """Spell a value as JSON in ASCII."""
    return json.dumps(value).encode()


def message(content: Any = "Hello", role: str = "user", **more: Any) -> dict[str, Any]:
    """Make a message."""
    return {"role": role, "content": content, **more}


def moment(text: object) -> datetime:
    """Read an instant, which must be spelled as every instant is."""
    assert isinstance(text, str)
    assert _INSTANT.fullmatch(text), text
    return datetime.fromisoformat(text)


def unknown_id() -> str:
    """Return the id of a session that never was."""
    return str(uuid.uuid4())
