"""Connections to the file, and what SQLite must be told on each."""

import os
from pathlib import Path
from typing import Final

import apsw

from sessionary.errors import StoreUnavailable

CACHE_KIBIBYTES: Final = 16 * 1024
WAL_BYTES_KEPT: Final = 64 * 1024 * 1024


def connect(path: Path, *, busy_seconds: float) -> apsw.Connection:
    """Open the file for its owner only; another process's lock is waited for at most ``busy_seconds``.

    Every commit is on the disk before it returns, and what is removed is overwritten with zeros. Checkpoints are left
    to whoever calls for them.
    """
    # SQLite would create it as the umask says; -wal and -shm take over the mode of the file itself.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = apsw.Connection(str(path))
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
    return connection


def unusable(path: Path, error: Exception) -> StoreUnavailable:
    """Say that a file is none to work with, and why."""
    reason = error.strerror if isinstance(error, OSError) else error
    return StoreUnavailable(f"The database file {path} cannot be used: {reason}.")


def close(connection: apsw.Connection) -> None:
    """Close, giving up whatever was open."""
    connection.close(True)  # noqa: FBT003 - apsw's own signature: force
