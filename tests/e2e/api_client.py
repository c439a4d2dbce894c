"""A minimal HTTP client for a running server, without the code of our own client."""

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.harness.server import ServerProcess

ORGANISATION = "demo"


class Response(NamedTuple):
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded from JSON."""
        return json.loads(self.body)

    def expect(self, status: int) -> Self:
        """Return the response if it has this status, and fail otherwise."""
        if self.status != status:
            raise AssertionError(f"expected {status}, got {self.status}: {self.body[:500]!r}")
        return self


class ApiClient:
    """Calls the API with a token over one connection, which is opened when needed and reopened after it was lost."""

    def __init__(self, base_url: str, token: str, *, organisation: str = ORGANISATION, seconds: float = 20) -> None:
        address = urlsplit(base_url)
        self.path = f"/api/v3/organizations/{organisation}/ai/sessions"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Response:
        """Send a request to an absolute path and read the response; raises OSError or HTTPException without one."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, path, content, {**self._headers, **(headers or {})})
            response = self._connection.getresponse()
            return Response(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def create(self, *contents: str, **fields: Any) -> str:
        """Create a session with these user messages and return its id."""
        body = {"userId": "ada", "initialMessages": user_messages(*contents), **fields}
        return str(self.call("POST", self.path, body).expect(201).json["sessionId"])

    def get(self, session_id: str) -> Any:
        """Read a session."""
        return self.call("GET", f"{self.path}/{session_id}").expect(200).json

    def update(self, session_id: str, **fields: Any) -> Response:
        """Update a session."""
        return self.call("PUT", f"{self.path}/{session_id}", fields)

    def append(self, session_id: str, *contents: str) -> Response:
        """Append user messages to a session."""
        return self.update(session_id, newMessages=user_messages(*contents))

    def contents(self, session_id: str) -> list[str]:
        """Return the contents of the messages of a session."""
        return [message["content"] for message in self.get(session_id)["messages"]]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def user_messages(*contents: str) -> list[dict[str, str]]:
    """Return user messages with these contents."""
    return [{"role": "user", "content": content} for content in contents]


def first_token(server: ServerProcess) -> str:
    """Return a token for the default organisation, which is created at the first call."""
    return server.first_token
