"""One server for a database file: it holds locks on a file beside it and on the file itself.

The locks end with the process.
"""

import contextlib
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.sqlite.connections import unusable_file
from sessionary.server.store.sqlite.paths import lock_of, open_lock_file, real_path

_BYTES_MAX: Final = 200
_HOLDER: Final = re.compile(r"process (\d{1,10}) on ([\w.-]{1,100})\n?")


class FileLock:
    """Keeps other servers from using a database file until it is released.

    The locks are of the kernel (``flock``) and end with the process, also after ``kill -9``. The lock file names the
    process that holds them, and works when there is no database file yet. If somebody removes it, the lock on the
    database file still works. SQLite's own locks are of another kind (POSIX), which ``flock`` does not touch.
    """

    def __init__(self, real: Path) -> None:
        """Take the locks; raises StoreUnavailableError, which names the process that holds them, and OSError."""
        while True:
            self._file: int = open_lock_file(real)
            try:
                _lock(self._file, real, fcntl.LOCK_EX, self._file)
                if _is_at(self._file, lock_of(real)):
                    break
            except BaseException:
                os.close(self._file)
                raise
            os.close(self._file)
        try:
            self._database: int | None = _lock_database(real, fcntl.LOCK_EX, self._file)
        except BaseException:
            os.close(self._file)
            raise
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the locks. No connection may be open: closing the file also drops SQLite's locks."""
        if self._database is not None:
            os.close(self._database)
        os.ftruncate(self._file, 0)
        os.close(self._file)


@contextlib.contextmanager
def exclude_servers(path: Path) -> Iterator[None]:
    """Keep servers from using the file for a while; creates no file, and needs no right to write.

    Raises StoreUnavailableError if a server uses it. No connection of this process may be open.
    """
    with contextlib.ExitStack() as opened:
        try:
            real = real_path(path)
            beside = _open_to_lock(lock_of(real))
            if beside is not None:
                opened.callback(os.close, beside)
                _lock(beside, real, fcntl.LOCK_SH, beside)
            itself = _lock_database(real, fcntl.LOCK_SH, beside)
            if itself is not None:
                opened.callback(os.close, itself)
        except OSError as error:
            raise unusable_file(path, error) from error
        yield


def check_free(path: Path) -> None:
    """Raise StoreUnavailableError if a server uses the file; creates no file."""
    with exclude_servers(path):
        return


def _open_to_lock(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None


def _lock_database(real: Path, kind: int, named_in: int | None) -> int | None:
    """Lock the database file, if there is one; no connection of this process may be open."""
    file = _open_to_lock(real)
    if file is None:
        return None
    try:
        _lock(file, real, kind, named_in)
    except BaseException:
        os.close(file)
        raise
    return file


def _lock(file: int, real: Path, kind: int, named_in: int | None) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = "unknown process" if named_in is None else _holder(named_in)
        raise StoreUnavailableError(
            f"The database file {real} is in use by another server ({holder}): "
            "stop that server first, or use another file."
        ) from None


def _holder(file: int) -> str:
    text = os.pread(file, _BYTES_MAX, 0).decode(errors="replace")
    found = _HOLDER.fullmatch(text)
    if found is None:
        return "unknown process"
    if int(found[1]) == os.getpid() and found[2] == socket.gethostname():
        return "this very process"
    return f"process {found[1]} on {found[2]}"


def _is_at(file: int, path: Path) -> bool:
    """Return whether an open file is still the one at its path."""
    try:
        return os.path.samestat(os.fstat(file), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
