"""Bring a file's schema up to date."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import apsw

from sessionary.store import migrate as numbered
from sessionary.store.sqlite.connections import close, connect, unusable

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT
"""
_LOCK_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05


def migrate(path: Path, now: int, given_up: Callable[[], bool] = lambda: False) -> list[str]:
    """Apply what is pending, all of it or nothing, and name it. Several processes may try at once.

    ``given_up`` is asked again and again while another process holds the file: true ends the waiting.
    """
    with _opened(path) as connection:
        connection.set_busy_handler(lambda count: _waits(count) and not given_up())
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_LEDGER)
        todo = numbered.pending(numbered.read_migrations("sqlite"), _applied(connection))
        for migration in todo:
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO schema_migrations (number, name, applied_at) VALUES (?, ?, ?)",
                (migration.number, migration.name, now),
            )
        connection.execute("COMMIT")
        return [migration.name for migration in todo]


def pending(path: Path) -> list[str]:
    """Name what ``migrate`` would apply; an absent file lacks everything and stays absent."""
    known = numbered.read_migrations("sqlite")
    if not path.exists():
        return [migration.name for migration in known]
    with _opened(path) as connection:
        return [migration.name for migration in numbered.pending(known, _applied(connection))]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[apsw.Connection]:
    try:
        connection = connect(path, busy_seconds=_LOCK_SECONDS)
        try:
            yield connection
        finally:
            close(connection)
    except (apsw.Error, OSError) as error:
        raise unusable(path, error) from error


def _waits(count: int) -> bool:
    time.sleep(_LOOK_SECONDS)
    return count * _LOOK_SECONDS < _LOCK_SECONDS


def _applied(connection: apsw.Connection) -> set[int]:
    ledger = "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migrations'"
    if not connection.execute(ledger).get:
        return set()
    return {int(row[0]) for row in connection.execute("SELECT number FROM schema_migrations")}
