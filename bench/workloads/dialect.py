"""The dialect of a server's API: the request of each operation as bytes, and how responses are parsed."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bench.workloads.payload import METADATA, TOKENS_PER_APPEND, Message

EXPIRATION_MINUTES = 1440
EXTENSION_MINUTES = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """What a server says it keeps of one session; None for what it does not know."""

    messages: int
    total_messages: int
    total_tokens: int | None
    expires_at: str | None


class Dialect(ABC):
    """The operations of one server's HTTP API, with its address and credentials filled in."""

    @abstractmethod
    def create(self, user: str, group: str, messages: list[Message]) -> bytes:
        """Create a session that lives for a day."""

    @abstractmethod
    def append(self, session: str, messages: list[Message]) -> bytes:
        """Append one turn."""

    @abstractmethod
    def get(self, session: str) -> bytes:
        """Read a session with its messages."""

    @abstractmethod
    def extend(self, session: str) -> bytes:
        """Let a session live `EXTENSION_MINUTES` longer."""

    @abstractmethod
    def list_page(self, **query: str) -> bytes:
        """List a page of sessions."""

    @abstractmethod
    def session_of(self, created: bytes) -> str:
        """Parse the id in the response to a create."""

    @abstractmethod
    def stored(self, response: bytes) -> Stored:
        """Parse the stored session in the response to a get."""


@dataclass(frozen=True, slots=True)
class SessionsApi(Dialect):
    """The AI Sessions API: what sessionary and the conventional stack speak."""

    organisation: str
    token: str

    def create(self, user: str, group: str, messages: list[Message]) -> bytes:
        fields = {
            "userId": user,
            "sessionGroup": group,
            "metadata": METADATA,
            "expirationMinutes": EXPIRATION_MINUTES,
            "initialMessages": messages,
        }
        return self._request("POST", "", fields)

    def append(self, session: str, messages: list[Message]) -> bytes:
        return self._request("PUT", f"/{session}", {"newMessages": messages, "tokensUsed": TOKENS_PER_APPEND})

    def get(self, session: str) -> bytes:
        return self._request("GET", f"/{session}")

    def extend(self, session: str) -> bytes:
        return self._request("PUT", f"/{session}/extend", {"additionalMinutes": EXTENSION_MINUTES})

    def list_page(self, **query: str) -> bytes:
        return self._request("GET", f"?{urlencode(query)}" if query else "")

    def session_of(self, created: bytes) -> str:
        return str(json.loads(created)["sessionId"])

    def stored(self, response: bytes) -> Stored:
        found = json.loads(response)
        return Stored(
            messages=len(found["messages"]),
            total_messages=found["total_messages"],
            total_tokens=found["total_tokens"],
            expires_at=found["expires_at"],
        )

    def _request(self, method: str, path: str, fields: dict[str, Any] | None = None) -> bytes:
        target = f"/api/v3/organizations/{self.organisation}/ai/sessions{path}"
        return http_request(method, target, fields, token=self.token)


def http_request(method: str, target: str, fields: dict[str, Any] | None = None, *, token: str = "") -> bytes:
    """Return a whole HTTP/1.1 request with the headers that an API client sends."""
    head = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json", "User-Agent: bench"]
    if token:
        head.append(f"Authorization: Bearer {token}")
    body = b""
    if fields is not None:
        body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join((*head, "", "")).encode() + body
