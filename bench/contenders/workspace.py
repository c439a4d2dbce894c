"""Where a run keeps its databases."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from bench.contenders.databases import Database, PostgresDatabase, SqliteDatabase
from bench.contenders.programs import sessionary
from bench.contenders.rows import Batch
from tests.harness.postgres import PostgresServer

if TYPE_CHECKING:
    from pathlib import Path

    from bench.workloads.service import Scale

ARCHIVE = "archive"
POSTGRES_MAJOR = 18
# Durable, and large enough that no checkpoint falls into a round of one contender only.
POSTGRES_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "512MB",
    "max_connections": "200",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
}


class Workspace:
    """A directory, and the one PostgreSQL server that all contenders share, started when the first one asks.

    Those that use sessionary's tables get copies of one template, so that a large archive is loaded once an engine.
    """

    def __init__(self, directory: Path, scale: Scale, *, with_archive: bool) -> None:
        self.directory = directory
        self.scale = scale
        self._with_archive = with_archive
        self._postgres: PostgresServer | None = None
        self._templates: dict[str, Database] = {}
        self._files = 0

    @property
    def postgres(self) -> PostgresServer:
        """The PostgreSQL server."""
        if self._postgres is None:
            self._postgres = PostgresServer(POSTGRES_MAJOR, fsync=True, settings=POSTGRES_SETTINGS)
            self._postgres.start()
        return self._postgres

    def empty_database(self, engine: str) -> Database:
        """Return a database with nothing in it."""
        return PostgresDatabase(self.postgres) if engine == "postgres" else SqliteDatabase(self._fresh_file())

    def database(self, engine: str) -> Database:
        """Return a database with sessionary's tables, and the archive if the run needs it."""
        template = self._template(engine)
        if isinstance(template, SqliteDatabase):
            return SqliteDatabase(shutil.copyfile(template.path, self._fresh_file()))
        return PostgresDatabase(self.postgres, template.url)

    def close(self) -> None:
        """Stop what was started."""
        if self._postgres is not None:
            self._postgres.close()

    def _template(self, engine: str) -> Database:
        if engine not in self._templates:
            template = self.empty_database(engine)
            sessionary("migrate", "--database", template.url)
            template.load(Batch(ARCHIVE, self.scale.archive_sessions if self._with_archive else 0))
            self._templates[engine] = template
        return self._templates[engine]

    def _fresh_file(self) -> Path:
        self._files += 1
        return self.directory / f"{self._files}.db"
