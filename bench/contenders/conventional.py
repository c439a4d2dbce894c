"""The conventional stack as a contender, in a virtual environment of its own."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, ClassVar

from bench.contenders.environments import virtual_environment
from bench.contenders.over_http import HttpContender
from bench.contenders.programs import REPOSITORY, UVICORN
from bench.contenders.server import Server
from bench.workloads.dialect import SessionsApi
from bench.workloads.service import Service

if TYPE_CHECKING:
    from bench.contenders.databases import Database

REQUIREMENTS = REPOSITORY / "bench/conventional/requirements.txt"
DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


class Conventional(HttpContender):
    """FastAPI and SQLAlchemy in one process, with a pool of 16 connections."""

    engine: ClassVar[str]
    database: Database

    def start(self) -> None:
        self._python = virtual_environment("conventional", REQUIREMENTS)
        self.database = self.workspace.empty_database(self.engine)
        self.database_pids = self.database.pids
        scheme, _, where = self.database.url.partition("://")
        self._environment = {"CONVENTIONAL_DATABASE_URL": f"{DRIVERS[scheme]}://{where}"}
        command = (self._python, *UVICORN, "--factory", "bench.conventional.app:create_app")
        server = Server(command, REPOSITORY, self.workspace.directory / f"{self.name}.log", self._environment)
        self.servers = [server]
        server.start()
        self._tokens = {name: self._admin("token", name) for name in (self.organisation, self.archive_organisation)}

    def service(self) -> Service:
        bench, archive = (
            SessionsApi(name, self._tokens[name]) for name in (self.organisation, self.archive_organisation)
        )
        return Service([server.address for server in self.servers], bench, archive, self.workspace.scale)

    def load_archive(self) -> None:
        self._admin("archive", self.archive_organisation, str(self.workspace.scale.archive_sessions))

    def _admin(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._python, "-m", "bench.conventional.admin", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **self._environment},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout.strip()


class ConventionalSqlite(Conventional):
    """The conventional stack on SQLite: WAL, `synchronous=FULL`."""

    name = "conventional-sqlite"
    engine = "sqlite"


class ConventionalPostgres(Conventional):
    """The conventional stack on PostgreSQL."""

    name = "conventional-postgres"
    engine = "postgres"
