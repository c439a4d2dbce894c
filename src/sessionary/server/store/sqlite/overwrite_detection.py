"""Whether another program wrote over the file (``cp``): it keeps its name and its place, and all of it is another one.

Only a checkpoint changes the file. Where all of the log has been copied and nobody committed since, nothing is left for
a checkpoint to do: a file that changes then was not changed by SQLite.
"""

import threading
from pathlib import Path
from typing import Any, Final

import apsw

from sessionary.server.store.sqlite import connections

_LOOK_AT: Final = (
    "PRAGMA page_count",
    "PRAGMA freelist_count",
    "PRAGMA schema_version",
    "SELECT max(rowid) FROM sessions",
    "SELECT max(rowid) FROM message_blocks",
    "SELECT max(rowid) FROM tokens",
    "SELECT max(rowid) FROM audit",
    "SELECT id, version, updated_at, total_bytes FROM sessions WHERE rowid = (SELECT max(rowid) FROM sessions)",
)


class Contents:
    """Remembers some of what the file holds, and who committed last, to compare it later."""

    def __init__(self, real: Path, connection: apsw.Connection) -> None:
        """Use a connection of its own."""
        self._real: Final = real
        self._connection: Final = connection
        self._lock: Final = threading.Lock()
        self._commits: Any = None
        self._seen: list[Any] | None = None

    def remember(self) -> None:
        """Look at a file that all of the log has been copied into."""
        with self._lock:
            try:
                # First who committed: whoever does so between the two is noticed later.
                self._commits = self._connection.pragma("data_version")
                self._seen = _seen(self._connection)
            except apsw.Error:
                self._seen = None

    def are_foreign(self) -> bool:
        """Say whether the file, which has changed, is another one; false where somebody committed meanwhile."""
        with self._lock:
            if self._seen is None:
                return False
            try:
                if self._connection.pragma("data_version") != self._commits:
                    return False
            except apsw.BusyError:
                return False
            except apsw.Error:
                return True
            return _seen_alone(self._real) != self._seen

    def close(self) -> None:
        """Close the connection."""
        connections.close(self._connection)


def _seen_alone(real: Path) -> list[Any] | None:
    try:
        # Through SQLite, which keeps the locks of the process; ``immutable``: it takes none and looks for no log.
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        alone = apsw.Connection(f"{real.as_uri()}?immutable=1", flags=flags)
        try:
            return _seen(alone)
        finally:
            connections.close(alone)
    except apsw.Error:
        return None


def _seen(connection: apsw.Connection) -> list[Any]:
    return [connection.execute(statement).fetchall() for statement in _LOOK_AT]
