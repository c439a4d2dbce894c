"""Connections to the database file, and their settings."""

import errno
import os
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes

import apsw

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.sqlite.paths import check_no_orphaned_log, lock_of, open_lock_file, real_path

CACHE_KIBIBYTES: Final = 16 * 1024
WAL_BYTES_KEPT: Final = 64 * 1024 * 1024


def connect(path: Path, *, busy_seconds: float) -> apsw.Connection:
    """Open the file, for its owner only; another process's lock is waited for at most ``busy_seconds``.

    Every commit is on the disk before it returns. Deleted content is overwritten with zeros. Checkpoints are made by
    the caller.
    """
    connection = _open(real_path(path))
    try:
        _configure(connection, busy_seconds)
    except BaseException:
        close(connection)
        raise
    return connection


def _open(real: Path) -> apsw.Connection:
    """Have SQLite open or create the file; ``paths`` explains why nothing else may open it."""
    flags, template = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI, ""
    if not real.exists():
        check_no_orphaned_log(real)
        # SQLite would create it with the mode of the umask, so it takes the mode of the lock file. -wal and -shm then
        # get the mode of the database file.
        os.close(open_lock_file(real))
        flags |= apsw.SQLITE_OPEN_CREATE
        template = f"?modeof={quote_from_bytes(os.fsencode(lock_of(real)))}"
    connection = apsw.Connection(real.as_uri() + template, flags=flags)
    if connection.readonly("main"):
        close(connection)
        raise PermissionError(errno.EACCES, "It may only be read", str(real))
    return connection


def _configure(connection: apsw.Connection, busy_seconds: float) -> None:
    connection.set_busy_timeout(int(busy_seconds * 1000))
    # One plan for each statement. Otherwise SQLite looks at the values, and prepares again at every call.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "wal_autocheckpoint = 0",
        f"journal_size_limit = {WAL_BYTES_KEPT}",
        f"cache_size = -{CACHE_KIBIBYTES}",
        "temp_store = MEMORY",
        "trusted_schema = OFF",
        "secure_delete = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def unusable_file(path: Path, error: Exception) -> StoreUnavailableError:
    """Return the error for a file that cannot be used, with the reason."""
    reason = error.strerror if isinstance(error, OSError) else error
    if isinstance(error, OSError) and error.errno != errno.ENOENT and str(error.filename).endswith("-lock"):
        reason = f"its lock file {error.filename}: {error.strerror}"
    return StoreUnavailableError(f"The database file {path} cannot be used: {reason}.")


def close(connection: apsw.Connection) -> None:
    """Close the connection and everything that is open on it."""
    connection.close(True)  # noqa: FBT003 - apsw's own signature: force
