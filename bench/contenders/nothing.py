"""The ceiling of HTTP: an ASGI application that does nothing, on the same uvicorn with the same settings."""

from __future__ import annotations

import sys
from uuid import uuid4

from bench.contenders.over_http import HttpContender
from bench.contenders.programs import NO_LIFESPAN, REPOSITORY, UVICORN
from bench.contenders.server import Server
from bench.workloads.dialect import SessionsApi, Stored
from bench.workloads.service import Service


class NoOpApi(SessionsApi):
    """The usual requests; the responses are empty."""

    def session_of(self, _created: bytes) -> str:
        return str(uuid4())

    def stored(self, _answer: bytes) -> Stored:
        return Stored(messages=0, total_messages=0, total_tokens=0, expires_at="")


class EmptyHandler(HttpContender):
    """Responds to everything with `{}`."""

    name = "empty-asgi"

    def start(self) -> None:
        command = (sys.executable, *UVICORN, *NO_LIFESPAN, "bench.empty.app:app")
        server = Server(command, REPOSITORY, self.workspace.directory / f"{self.name}.log")
        self.servers = [server]
        server.start()

    def service(self) -> Service:
        dialect = NoOpApi(self.organisation, "sny_0123456789abcdef_" + "0" * 48)
        addresses = [server.address for server in self.servers]
        return Service(addresses, dialect, dialect, self.workspace.scale, is_real=False)
