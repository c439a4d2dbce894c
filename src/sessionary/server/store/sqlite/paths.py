"""Paths of the database file and the files beside it. Nothing here opens or closes the database file.

Closing any descriptor of a file drops all POSIX locks that the process has on it, including SQLite's: another program
would then believe that nobody uses the log, and delete it. So the file is only looked at with ``stat``, and opened by
SQLite. The exception is ``file_lock``, which opens it before the first connection and closes it after the last.
"""

import errno
import itertools
import os
import stat
from pathlib import Path
from typing import Final

_OWNER_ONLY: Final = 0o600
_ENTRIES_MAX: Final = 10_000


def real_path(path: Path, *, may_have_names: bool = False) -> Path:
    """Follow symbolic links, as SQLite does, which creates the log beside the real file.

    Raises OSError if it is not a regular file, or has several names (hard links) unless it ``may_have_names``.
    """
    real = path.resolve()
    try:
        found = real.stat()
    except FileNotFoundError:
        return real
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "It is not a regular file", str(path))
    if found.st_nlink > 1 and not may_have_names:
        # Each name would have its own log, and two programs with different logs would corrupt the file.
        raise OSError(errno.EMLINK, _hard_link_error(real, found), str(path))
    return real


def _hard_link_error(real: Path, found: os.stat_result) -> str:
    with os.scandir(real.parent) as entries:
        for entry in itertools.islice(entries, _ENTRIES_MAX):
            if entry.name != real.name and entry.inode() == found.st_ino:
                other = real.with_name(entry.name)
                made = f".{real.name}." in entry.name or entry.name.startswith(f"{real.name}.replaced-")
                why = "; an interrupted restore left it, and both are the same file" if made else ""
                return f"It has another name, the hard link {other}: remove that one or this{why}"
    return "It has another name, a hard link: remove that one or this"


def log_of(real: Path) -> Path:
    """Return the path of the write-ahead log."""
    return real.with_name(f"{real.name}-wal")


def index_of(real: Path) -> Path:
    """Return the path of the log's index, the shared memory of all connections."""
    return real.with_name(f"{real.name}-shm")


def journal_of(real: Path) -> Path:
    """Return the path of the rollback journal, which SQLite rolls back into the file of that name."""
    return real.with_name(f"{real.name}-journal")


def files_beside(real: Path) -> list[Path]:
    """Return the files beside a path that SQLite would treat as those of the file there."""
    paths = (log_of(real), journal_of(real), index_of(real))
    return [path for path in paths if path.exists() or path.is_symlink()]


def check_no_orphaned_log(real: Path) -> None:
    """Raise OSError if there is a log without its database file: SQLite would delete the log and its data."""
    for beside in (log_of(real), journal_of(real)):
        if not real.exists() and beside.exists() and beside.stat().st_size:
            reason = f"It does not exist, but {beside} does, which may hold acknowledged data: check both first"
            raise FileNotFoundError(errno.ENOENT, reason, str(real))


def lock_of(real: Path) -> Path:
    """Return the path of the lock file of the server that uses the database; it is never removed."""
    return real.with_name(f"{real.name}-lock")


def open_lock_file(real: Path) -> int:
    """Open or create the lock file, for its owner only whatever the umask is."""
    file = os.open(lock_of(real), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _OWNER_ONLY)
    try:
        found = os.fstat(file)
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != _OWNER_ONLY:
            os.fchmod(file, _OWNER_ONLY)
        if os.geteuid() == 0 and real.exists():
            # A command that root runs must not lock out the server's user.
            owner = real.stat()
            os.fchown(file, owner.st_uid, owner.st_gid)
    except BaseException:
        os.close(file)
        raise
    return file
