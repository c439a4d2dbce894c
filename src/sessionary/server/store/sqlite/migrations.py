"""Bring a file's schema up to date."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import apsw

from sessionary.server.store import migrate as numbered
from sessionary.server.store.sqlite.connections import close, connect, unusable
from sessionary.server.store.sqlite.file_lock import kept_free

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT
"""
_SERVES: Final = "UPDATE schema_migrations SET serves_from = ? WHERE number = ?"
_LOCK_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05


def migrate(
    path: Path,
    now: int,
    given_up: Callable[[], bool] = lambda: False,
    known: list[numbered.Migration] | None = None,
) -> list[str]:
    """Apply what is pending, all of it or nothing, and name it. Several processes may try at once.

    ``given_up`` is asked again and again while another process holds the file: true ends the waiting. A migration
    beside which older programs must stop raises StoreUnavailableError while a server has the file.
    """
    known = known or numbered.read_migrations("sqlite")
    with _kept_free(path, known), _opened(path) as connection:
        connection.set_busy_handler(lambda count: _waits(count) and not given_up())
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_LEDGER)
        todo = numbered.pending(known, applied(connection))
        for migration in todo:
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO schema_migrations (number, name, applied_at) VALUES (?, ?, ?)",
                (migration.number, migration.name, now),
            )
        for migration in todo:
            connection.execute(_SERVES, (migration.serves_from, migration.number))
        if todo:
            needed = max(applied(connection).values())
            # Where every writer finds it without a statement's price.
            connection.execute(f"PRAGMA user_version = {needed}")
        connection.execute("COMMIT")
        return [migration.name for migration in todo]


def pending(path: Path) -> list[str]:
    """Name what ``migrate`` would apply; an absent file lacks everything and stays absent."""
    return [migration.name for migration in _pending(path, numbered.read_migrations("sqlite"))]


def _pending(path: Path, known: list[numbered.Migration]) -> list[numbered.Migration]:
    if not path.exists():
        return known
    with _opened(path) as connection:
        return numbered.pending(known, applied(connection))


def _kept_free(path: Path, known: list[numbered.Migration]) -> AbstractContextManager[None]:
    """Keep servers away where an older one must not go on: it would read what it does not know."""
    contracts = any(migration.serves_from == migration.number for migration in _pending(path, known))
    return kept_free(path) if contracts and path.exists() else contextlib.nullcontext()


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


def check_program(connection: apsw.Connection) -> None:
    """Raise StoreUnavailableError if a newer program has changed the schema so that this one must not go on."""
    refusal = numbered.refusal_of_newer(connection.pragma("user_version"), numbered.newest_migration("sqlite"))
    if refusal is not None:
        raise refusal


def applied(connection: apsw.Connection) -> dict[int, int]:
    """Find what has been applied, and what each of it serves; before that was said, its own program."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(schema_migrations)")}
    if not columns:
        return {}
    serves = "serves_from" if "serves_from" in columns else "number"
    return dict(connection.execute(f"SELECT number, {serves} FROM schema_migrations"))  # noqa: S608
