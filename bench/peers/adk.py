"""Google ADK's `adk api_server`, with its sessions in SQLite.

Its HTTP API has no call that appends messages: they come about when an agent runs. So an append is a run of an agent
that needs no model and answers at once; it keeps one user message and one answer of 500 bytes each, as an append does.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from bench.contenders.environments import virtual_environment
from bench.contenders.over_http import HttpContender
from bench.contenders.programs import REPOSITORY
from bench.contenders.server import Server
from bench.workloads.dialect import Dialect, Stored, http_request
from bench.workloads.payload import METADATA
from bench.workloads.service import HEADLINE_CONNECTIONS, Service

if TYPE_CHECKING:
    from bench.workloads.payload import Message

REQUIREMENTS = REPOSITORY / "bench/peers/adk-requirements.txt"
AGENTS = REPOSITORY / "bench/peers/adk_agents"
APP = "echo"
LISTED_USERS = 10
SESSIONS_PER_USER = 50
POOL_SESSIONS_MAX = 64


class AdkApi(Dialect):
    """The session routes of `adk api_server`; a session's name here is its user's and its own."""

    def create(self, user: str, _group: str, messages: list[Message]) -> bytes:
        fields = {"state": METADATA, "events": [_event(message) for message in messages]}
        return http_request("POST", f"/apps/{APP}/users/{user}/sessions", fields)

    def append(self, session: str, messages: list[Message]) -> bytes:
        user, _, name = session.partition("/")
        question = {"role": "user", "parts": [{"text": messages[0]["content"]}]}
        return http_request("POST", "/run", {"appName": APP, "userId": user, "sessionId": name, "newMessage": question})

    def get(self, session: str) -> bytes:
        user, _, name = session.partition("/")
        return http_request("GET", f"/apps/{APP}/users/{user}/sessions/{name}")

    def extend(self, session: str) -> bytes:
        raise NotImplementedError

    def list_page(self, **query: str) -> bytes:
        return http_request("GET", f"/apps/{APP}/users/{query['userId']}/sessions")

    def session_of(self, created: bytes) -> str:
        response = json.loads(created)
        return f"{response['userId']}/{response['id']}"

    def stored(self, response: bytes) -> Stored:
        events = len(json.loads(response)["events"])
        return Stored(messages=events, total_messages=events, total_tokens=None, expires_at=None)


class AdkApiServer(HttpContender):
    """The server as it installs."""

    name = "adk-sqlite"
    workloads: ClassVar = frozenset({"create", "append", "get", "list-user", "append-one", "append-each"})

    def is_scaled_to(self, connections: int) -> bool:
        return connections == HEADLINE_CONNECTIONS

    def start(self) -> None:
        python = virtual_environment("adk", REQUIREMENTS)
        database = f"sqlite:///{self.workspace.directory / 'adk.db'}"
        options = ("--host", "127.0.0.1", "--port", "{port}", "--log_level", "warning")
        command = (python.parent / "adk", "api_server", *options, "--session_service_uri", database, AGENTS)
        server = Server(command, self.workspace.directory, self.workspace.directory / f"{self.name}.log")
        self.servers = [server]
        server.start()

    def service(self) -> Service:
        dialect = AdkApi()
        # A smaller pool than the others', for filling it takes long; by one client, for two fail now and then.
        scale = replace(self.workspace.scale, pool_sessions=min(POOL_SESSIONS_MAX, self.workspace.scale.pool_sessions))
        return Service([server.address for server in self.servers], dialect, dialect, scale, fetch_connections=1)

    def load_archive(self) -> None:
        service = self.service()
        creates = [
            service.dialect.create(f"user-{user:06}", "", [])
            for user in range(LISTED_USERS)
            for _ in range(SESSIONS_PER_USER)
        ]
        service.fetch(creates)


def _event(message: Message) -> dict[str, Any]:
    author = "user" if message["role"] == "user" else APP
    role = "user" if message["role"] == "user" else "model"
    content = {"role": role, "parts": [{"text": message["content"]}]}
    return {"author": author, "invocationId": "bench", "content": content}
