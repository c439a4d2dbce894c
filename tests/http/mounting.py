"""An application asked in the process, byte for byte as ASGI has it: under a path prefix, or mounted below another."""

import secrets
from collections.abc import Mapping, MutableMapping
from typing import Any, Self

from sessionary.server.http.application import Application
from sessionary.server.operations.context import Service
from sessionary.server.operations.session_ids import SessionIdGenerator
from sessionary.server.operations.tokens import SCOPES, TokenIssuer, create_token
from tests.conformance.making import DAY, HandClock
from tests.http.calling import Answer
from tests.reference import ReferenceStore


class Mounted:
    """Serves a store that is a dictionary; its token may do everything."""

    def __init__(self, prefix: str = "", *, as_root_path: bool = False) -> None:
        self._clock = HandClock()
        self._store = ReferenceStore(self._clock)
        service = Service(self._store, self._clock, SessionIdGenerator(self._clock, secrets.randbits), 30 * DAY)
        self._root_path = prefix if as_root_path else ""
        self._application = Application(
            service,
            request_ids=lambda: "id",
            on_answer=lambda _: None,
            path_prefix="" if as_root_path else prefix,
        )
        self._token = ""

    async def __aenter__(self) -> Self:
        maker = TokenIssuer(self._store, self._clock, secrets.token_bytes)
        _, self._token = await create_token(maker, "demo", "test", SCOPES)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        query: bytes = b"",
    ) -> Answer:
        """Send one request and return what came back."""
        given = {"authorization": f"Bearer {self._token}", **(headers or {})}
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "method": method,
            "root_path": self._root_path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self._application(scope, receive, send)
        start, end = sent
        names = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], names, end["body"])
