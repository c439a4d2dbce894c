"""One server a file: who has it says so by locks, on a file beside it and on the file itself.

They end with the process.
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
from sessionary.server.store.sqlite.connections import unusable
from sessionary.server.store.sqlite.paths import lock_of, open_lock, real_path

_BYTES_MAX: Final = 200
_HOLDER: Final = re.compile(r"process (\d{1,10}) on ([\w.-]{1,100})\n?")


class Hold:
    """Keeps other servers from a database file for as long as it is not released.

    The locks are of the kernel's (``flock``): they outlive no process, so ``kill -9`` leaves none behind. The file
    beside says who has them, and keeps others off while there is no database yet. Somebody may remove it: then the lock
    on the database itself keeps them off. SQLite's own locks are of another kind (POSIX), which this one leaves alone.
    """

    def __init__(self, real: Path) -> None:
        """Take the lock; raises StoreUnavailableError, naming who has it, and OSError."""
        while True:
            self._file: int = open_lock(real)
            try:
                _lock(self._file, real, fcntl.LOCK_EX, self._file)
                if _is_at(self._file, lock_of(real)):
                    break
            except BaseException:
                os.close(self._file)
                raise
            os.close(self._file)
        try:
            self._database: int | None = _lock_itself(real, fcntl.LOCK_EX, self._file)
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
        """Let others have the file, when no connection to it is open any more: closing it ends SQLite's own locks."""
        if self._database is not None:
            os.close(self._database)
        os.ftruncate(self._file, 0)
        os.close(self._file)


@contextlib.contextmanager
def kept_free(path: Path) -> Iterator[None]:
    """Let no server have the file meanwhile; makes nothing, and may be asked by who may only read.

    Raises StoreUnavailableError if one has it. No connection of this process may be open.
    """
    with contextlib.ExitStack() as opened:
        try:
            real = real_path(path)
            beside = _open_to_lock(lock_of(real))
            if beside is not None:
                opened.callback(os.close, beside)
                _lock(beside, real, fcntl.LOCK_SH, beside)
            itself = _lock_itself(real, fcntl.LOCK_SH, beside)
            if itself is not None:
                opened.callback(os.close, itself)
        except OSError as error:
            raise unusable(path, error) from error
        yield


def check_free(path: Path) -> None:
    """Raise StoreUnavailableError if a server has the file; makes nothing."""
    with kept_free(path):
        return


def _open_to_lock(place: Path) -> int | None:
    try:
        return os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None


def _lock_itself(real: Path, kind: int, told_by: int | None) -> int | None:
    """Lock the database file, if there is one, while no connection of this process is open."""
    file = _open_to_lock(real)
    if file is None:
        return None
    try:
        _lock(file, real, kind, told_by)
    except BaseException:
        os.close(file)
        raise
    return file


def _lock(file: int, real: Path, kind: int, told_by: int | None) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = "which one is not known" if told_by is None else _holder(told_by)
        raise StoreUnavailableError(
            f"The database file {real} is in use by another server ({holder}): "
            "stop that one first, or give this one a file of its own; one server a file."
        ) from None


def _holder(file: int) -> str:
    text = os.pread(file, _BYTES_MAX, 0).decode(errors="replace")
    found = _HOLDER.fullmatch(text)
    if found is None:
        return "which one is not known"
    if int(found[1]) == os.getpid() and found[2] == socket.gethostname():
        return "this very process"
    return f"process {found[1]} on {found[2]}"


def _is_at(file: int, place: Path) -> bool:
    """Say whether a file that is open is still the one at its place."""
    try:
        return os.path.samestat(os.fstat(file), place.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
