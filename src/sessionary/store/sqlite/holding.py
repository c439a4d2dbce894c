"""One server a file: who has it says so by a lock on a file beside it, which ends with the process."""

import fcntl
import os
import re
import socket
from pathlib import Path
from typing import Final, Self

from sessionary.errors import StoreUnavailable
from sessionary.store.sqlite.connections import unusable
from sessionary.store.sqlite.places import lock_of, open_lock, real_path

_BYTES_MAX: Final = 200
_HOLDER: Final = re.compile(r"process (\d{1,10}) on ([\w.-]{1,100})\n?")


class Hold:
    """Keeps other servers from a database file for as long as it is not released.

    The lock is of the kernel's (``flock``): it outlives no process, so ``kill -9`` leaves none behind. The file that it
    is on stays: removed, it would let a third server lock another file of the same name.
    """

    def __init__(self, real: Path) -> None:
        """Take the lock; raises StoreUnavailable, naming who has it, and OSError."""
        while True:
            self._file: int = open_lock(real)
            try:
                _lock(self._file, real, fcntl.LOCK_EX)
                if _is_at(self._file, lock_of(real)):
                    break
            except BaseException:
                os.close(self._file)
                raise
            os.close(self._file)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have the file."""
        os.ftruncate(self._file, 0)
        os.close(self._file)


def check_free(path: Path) -> None:
    """Raise StoreUnavailable if a server has the file; makes nothing."""
    try:
        real = real_path(path)
        file = os.open(lock_of(real), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unusable(path, error) from error
    try:
        _lock(file, real, fcntl.LOCK_SH)
    finally:
        os.close(file)


def _lock(file: int, real: Path, kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreUnavailable(
            f"The database file {real} is in use by another server ({_holder(file)}): "
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
