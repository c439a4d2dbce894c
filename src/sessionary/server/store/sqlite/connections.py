"""Connections to the file, and what SQLite must be told on each."""

import errno
import os
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes

import apsw

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.sqlite.paths import check_nothing_waits, lock_of, open_lock, real_path

CACHE_KIBIBYTES: Final = 16 * 1024
WAL_BYTES_KEPT: Final = 64 * 1024 * 1024


def connect(path: Path, *, busy_seconds: float) -> apsw.Connection:
    """Open the file for its owner only; another process's lock is waited for at most ``busy_seconds``.

    Every commit is on the disk before it returns, and what is removed is overwritten with zeros. Checkpoints are left
    to whoever calls for them.
    """
    connection = _open(real_path(path))
    try:
        _configure(connection, busy_seconds)
    except BaseException:
        close(connection)
        raise
    return connection


def _open(real: Path) -> apsw.Connection:
    """Have SQLite open the file, and make it if it is not there; see ``places`` for why nobody else may."""
    flags, template = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI, ""
    if not real.exists():
        check_nothing_waits(real)
        # SQLite would make it as the umask says; so it is told to take the mode of another file. -wal and -shm then
        # take over the mode of the file itself.
        os.close(open_lock(real))
        flags |= apsw.SQLITE_OPEN_CREATE
        template = f"?modeof={quote_from_bytes(os.fsencode(lock_of(real)))}"
    connection = apsw.Connection(real.as_uri() + template, flags=flags)
    if connection.readonly("main"):
        close(connection)
        raise PermissionError(errno.EACCES, "It may only be read", str(real))
    return connection


def _configure(connection: apsw.Connection, busy_seconds: float) -> None:
    connection.set_busy_timeout(int(busy_seconds * 1000))
    # One plan for each statement, whatever is bound: looking at the values, SQLite would prepare again at every call.
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


def unusable(path: Path, error: Exception) -> StoreUnavailableError:
    """Say that a file is none to work with, and why."""
    reason = error.strerror if isinstance(error, OSError) else error
    if isinstance(error, OSError) and error.errno != errno.ENOENT and str(error.filename).endswith("-lock"):
        reason = f"its lock file {error.filename}: {error.strerror}"
    return StoreUnavailableError(f"The database file {path} cannot be used: {reason}.")


def close(connection: apsw.Connection) -> None:
    """Close, giving up whatever was open."""
    connection.close(True)  # noqa: FBT003 - apsw's own signature: force
