"""One connection to a running server, kept as an official client would: bare HTTP, nothing of ours in between."""

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.harness.server import ServerProcess

ORGANISATION = "demo"


class Response(NamedTuple):
    """What came back, whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    def expect(self, status: int) -> Self:
        """Return the answer if its status is this one."""
        if self.status != status:
            raise AssertionError(f"expected {status}, got {self.status}: {self.body[:500]!r}")
        return self


class ApiClient:
    """A connection with a token, opened when it is needed and again after it was lost."""

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
        """Send a request to an absolute path and read its answer; raises OSError or HTTPException if none comes."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, path, content, {**self._headers, **(headers or {})})
            response = self._connection.getresponse()
            return Response(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def create(self, *contents: str, **fields: Any) -> str:
        """Begin a session that holds these user messages and return its id."""
        body = {"userId": "ada", "initialMessages": user_messages(*contents), **fields}
        return str(self.call("POST", self.path, body).expect(201).json["sessionId"])

    def get(self, session_id: str) -> Any:
        """Read a session."""
        return self.call("GET", f"{self.path}/{session_id}").expect(200).json

    def update(self, session_id: str, **fields: Any) -> Response:
        """Change a session."""
        return self.call("PUT", f"{self.path}/{session_id}", fields)

    def append(self, session_id: str, *contents: str) -> Response:
        """Append user messages to a session."""
        return self.update(session_id, newMessages=user_messages(*contents))

    def contents(self, session_id: str) -> list[str]:
        """Read what the messages of a session say."""
        return [message["content"] for message in self.get(session_id)["messages"]]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def user_messages(*contents: str) -> list[dict[str, str]]:
    """Make user messages."""
    return [{"role": "user", "content": content} for content in contents]


def first_token(server: ServerProcess) -> str:
    """Return the token of a server's first user, made when it is first asked for."""
    return server.first_token
