"""Calls the application in the process by ASGI, as a server does: under a path prefix, or mounted in another app."""

import secrets
from collections.abc import Mapping, MutableMapping
from typing import Any, Self

from sessionary.server.http.application import Application
from sessionary.server.operations.context import Service
from sessionary.server.operations.session_ids import SessionIdGenerator
from sessionary.server.operations.tokens import SCOPES, TokenIssuer, create_token
from tests.conformance.builders import DAY, ManualClock
from tests.http.callers import Response
from tests.reference import ReferenceStore


class AsgiCaller:
    """Calls an application whose store is in memory, with a token that has every scope."""

    def __init__(self, prefix: str = "", *, as_root_path: bool = False) -> None:
        self._clock = ManualClock()
        self._store = ReferenceStore(self._clock)
        service = Service(self._store, self._clock, SessionIdGenerator(self._clock, secrets.randbits), 30 * DAY)
        self._root_path = prefix if as_root_path else ""
        self._application = Application(
            service,
            request_ids=lambda: "id",
            on_response=lambda _: None,
            path_prefix="" if as_root_path else prefix,
        )
        self._token = ""

    async def __aenter__(self) -> Self:
        maker = TokenIssuer(self._store, self._clock, secrets.token_bytes)
        _, self._token = await create_token(maker, "demo", "test", SCOPES)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()

    async def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        query: bytes = b"",
    ) -> Response:
        """Send one request and return its response."""
        all_headers = {"authorization": f"Bearer {self._token}", **(headers or {})}
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "method": method,
            "root_path": self._root_path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": [(name.encode(), value.encode()) for name, value in all_headers.items()],
        }
        messages: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def collect(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        await self._application(scope, receive, collect)
        start, end = messages
        names = {name.decode(): value.decode() for name, value in start["headers"]}
        return Response(start["status"], names, end["body"])
