"""Detect that another program overwrote the file in place (``cp``): path and inode stay, the content changes.

SQLite changes the file only in a checkpoint. If the log has been copied completely and nobody has committed since, a
checkpoint has nothing to do: a file that changes then was changed by another program.
"""

import threading
from pathlib import Path
from typing import Any, Final

import apsw

from sessionary.server.store.sqlite import connections

_STATEMENTS: Final = (
    "PRAGMA page_count",
    "PRAGMA freelist_count",
    "PRAGMA schema_version",
    "SELECT max(rowid) FROM sessions",
    "SELECT max(rowid) FROM message_blocks",
    "SELECT max(rowid) FROM tokens",
    "SELECT max(rowid) FROM audit",
    "SELECT id, version, updated_at, total_bytes FROM sessions WHERE rowid = (SELECT max(rowid) FROM sessions)",
)


class OverwriteDetector:
    """Stores a snapshot of some values in the file, to compare it later."""

    def __init__(self, real: Path, connection: apsw.Connection) -> None:
        """Use a connection of its own."""
        self._real: Final = real
        self._connection: Final = connection
        self._lock: Final = threading.Lock()
        self._commits: Any = None
        self._snapshot: list[Any] | None = None

    def take_snapshot(self) -> None:
        """Read the values from a file that contains all of the log."""
        with self._lock:
            try:
                # The number of commits first: a commit between the two is noticed later.
                self._commits = self._connection.pragma("data_version")
                self._snapshot = _read_values(self._connection)
            except apsw.Error:
                self._snapshot = None

    def is_overwritten(self) -> bool:
        """Return whether the changed file was overwritten; false if somebody has committed meanwhile."""
        with self._lock:
            if self._snapshot is None:
                return False
            try:
                if self._connection.pragma("data_version") != self._commits:
                    return False
            except apsw.BusyError:
                return False
            except apsw.Error:
                return True
            return _read_without_log(self._real) != self._snapshot

    def close(self) -> None:
        """Close the connection."""
        connections.close(self._connection)


def _read_without_log(real: Path) -> list[Any] | None:
    try:
        # Opened by SQLite, which keeps the process's locks; with ``immutable`` it takes none and reads no log.
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        alone = apsw.Connection(f"{real.as_uri()}?immutable=1", flags=flags)
        try:
            return _read_values(alone)
        finally:
            connections.close(alone)
    except apsw.Error:
        return None


def _read_values(connection: apsw.Connection) -> list[Any]:
    return [connection.execute(statement).fetchall() for statement in _STATEMENTS]
