"""Migrate a database file to the current schema."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import apsw

from sessionary.server.store import migrate as numbered
from sessionary.server.store.sqlite.connections import close, connect, unusable_file
from sessionary.server.store.sqlite.file_lock import exclude_servers

_CREATE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number      INTEGER NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    applied_at  INTEGER NOT NULL,
    serves_from INTEGER NOT NULL
) STRICT
"""
_INSERT: Final = "INSERT INTO schema_migrations (number, name, applied_at, serves_from) VALUES (?, ?, ?, ?)"
_LOCK_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05


def migrate(
    path: Path,
    now: int,
    is_cancelled: Callable[[], bool] = lambda: False,
    known: list[numbered.Migration] | None = None,
) -> list[str]:
    """Apply all pending migrations or none, and return their names. Several processes may try at the same time.

    While another process locks the file, ``is_cancelled`` is called repeatedly; true ends the waiting. A migration that
    older programs cannot work with raises StoreUnavailableError while a server uses the file.
    """
    known = known or numbered.read_migrations("sqlite")
    with _exclude_servers(path, known), _opened(path) as connection:
        connection.set_busy_handler(lambda count: _keeps_waiting(count) and not is_cancelled())
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_CREATE_TABLE)
        todo = numbered.pending(known, applied(connection))
        for migration in todo:
            connection.execute(migration.sql)
            connection.execute(_INSERT, (migration.number, migration.name, now, migration.serves_from))
        if todo:
            needed = max(applied(connection).values())
            # Where every writer finds it without another statement.
            connection.execute(f"PRAGMA user_version = {needed}")
        connection.execute("COMMIT")
        return [migration.name for migration in todo]


def pending(path: Path) -> list[str]:
    """Return the names of the migrations that ``migrate`` would apply; all of them if there is no file."""
    return [migration.name for migration in _pending(path, numbered.read_migrations("sqlite"))]


def _pending(path: Path, known: list[numbered.Migration]) -> list[numbered.Migration]:
    if not path.exists():
        return known
    with _opened(path) as connection:
        return numbered.pending(known, applied(connection))


def _exclude_servers(path: Path, known: list[numbered.Migration]) -> AbstractContextManager[None]:
    """Keep servers from using the file, if an older program cannot work with the new schema."""
    contracts = any(migration.serves_from == migration.number for migration in _pending(path, known))
    return exclude_servers(path) if contracts and path.exists() else contextlib.nullcontext()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[apsw.Connection]:
    try:
        connection = connect(path, busy_seconds=_LOCK_SECONDS)
        try:
            yield connection
        finally:
            close(connection)
    except (apsw.Error, OSError) as error:
        raise unusable_file(path, error) from error


def _keeps_waiting(count: int) -> bool:
    time.sleep(_POLL_SECONDS)
    return count * _POLL_SECONDS < _LOCK_SECONDS


def check_program(connection: apsw.Connection) -> None:
    """Raise StoreUnavailableError if a newer program has changed the schema so that this one must stop."""
    refusal = numbered.refusal_of_newer(connection.pragma("user_version"), numbered.newest_migration("sqlite"))
    if refusal is not None:
        raise refusal


def applied(connection: apsw.Connection) -> dict[int, int]:
    """Return the applied migrations with their ``serves_from``."""
    if not connection.table_exists("main", "schema_migrations"):
        return {}
    return dict(connection.execute("SELECT number, serves_from FROM schema_migrations"))
