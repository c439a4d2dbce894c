"""sessionary itself, started as its users start it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bench.contenders.over_http import HttpContender
from bench.contenders.programs import create_token, sessionary_server
from bench.workloads.dialect import SessionsApi
from bench.workloads.service import Service

if TYPE_CHECKING:
    from bench.contenders.databases import Database
    from bench.contenders.rows import Batch


class Sessionary(HttpContender):
    """One or more server processes on one database."""

    engine: ClassVar[str]
    processes: ClassVar[int] = 1
    database: Database

    def start(self) -> None:
        self.database = self.workspace.database(self.engine)
        self.database_pids = self.database.pids
        self._dialects = {name: self._dialect(name) for name in (self.organisation, self.archive_organisation)}
        self.servers = [
            sessionary_server(self.database.url, self.workspace.directory / f"{self.name}-{number}.log")
            for number in range(self.processes)
        ]
        self.start_servers()

    def start_servers(self) -> None:
        """Start the server processes, one after the other."""
        for server in self.servers:
            server.start()

    def stop_servers(self) -> None:
        """Stop the server processes; they come back on their ports."""
        for server in self.servers:
            server.stop()

    def service(self) -> Service:
        return Service(
            [server.address for server in self.servers],
            self._dialects[self.organisation],
            self._dialects[self.archive_organisation],
            self.workspace.scale,
        )

    def load(self, *batches: Batch) -> None:
        """Write batches into the database; its servers are stopped meanwhile, for a file is its server's own."""
        self.stop_servers()
        for batch in batches:
            self.database.load(batch)
        self.start_servers()

    def speaking_for(self, organisation: str) -> SessionsApi:
        """Return the dialect of an organisation, with a token of its own."""
        if organisation not in self._dialects:
            self._dialects[organisation] = self._dialect(organisation)
        return self._dialects[organisation]

    def _dialect(self, organisation: str) -> SessionsApi:
        return SessionsApi(organisation, create_token(self.database.url, organisation))


class SessionaryOnSqlite(Sessionary):
    """sessionary on a SQLite file."""

    name = "sessionary-sqlite"
    engine = "sqlite"


class SessionaryOnPostgres(Sessionary):
    """sessionary on PostgreSQL."""

    name = "sessionary-postgres"
    engine = "postgres"


class TwoSessionariesOnPostgres(SessionaryOnPostgres):
    """Two server processes on one PostgreSQL, each with half of the connections."""

    name = "sessionary-postgres-2"
    processes = 2
