"""Where the database file lies, and the files beside it. Nothing here opens or closes the database file.

Closing any descriptor of a file drops every POSIX lock that the process has on it, those of SQLite too: another
program would then take the log for one that nobody uses and delete it. So the file is only looked at (``stat``), and
opened by SQLite alone; ``holding`` opens it too, before the first connection, and closes it after the last.
"""

import errno
import itertools
import os
import stat
from pathlib import Path
from typing import Final

_OWNER_ONLY: Final = 0o600
_LOOKED_AT_MAX: Final = 10_000


def real_path(path: Path, *, may_have_names: bool = False) -> Path:
    """Follow symbolic links, as SQLite does: it keeps the log beside the file itself. Raises OSError if it is none.

    A file with several names (hard links) is refused too, unless it ``may_have_names``: it is only read.
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
        # Each name would have a log of its own, and two programs, each with its log, ruin the file.
        raise OSError(errno.EMLINK, _told(real, found), str(path))
    return real


def _told(real: Path, found: os.stat_result) -> str:
    with os.scandir(real.parent) as entries:
        for entry in itertools.islice(entries, _LOOKED_AT_MAX):
            if entry.name != real.name and entry.inode() == found.st_ino:
                other = real.with_name(entry.name)
                made = f".{real.name}." in entry.name or entry.name.startswith(f"{real.name}.replaced-")
                why = "; an interrupted restore left it, and both are the same file" if made else ""
                return f"It has another name, the hard link {other}: remove that one or this{why}"
    return "It has another name, a hard link: remove that one or this"


def log_of(real: Path) -> Path:
    """Name the write-ahead log beside a file."""
    return real.with_name(f"{real.name}-wal")


def index_of(real: Path) -> Path:
    """Name the index of the log, which the connections of all processes share."""
    return real.with_name(f"{real.name}-shm")


def journal_of(real: Path) -> Path:
    """Name the rollback journal beside a file: SQLite plays it back into whatever file has the name."""
    return real.with_name(f"{real.name}-journal")


def left_beside(real: Path) -> list[Path]:
    """List the files beside a name that SQLite would take for those of the file that has it, or gets it."""
    places = (log_of(real), journal_of(real), index_of(real))
    return [place for place in places if place.exists() or place.is_symlink()]


def check_nothing_waits(real: Path) -> None:
    """Raise OSError if no file is there, but the log of one: SQLite would delete it, with what it holds."""
    for place in (log_of(real), journal_of(real)):
        if not real.exists() and place.exists() and place.stat().st_size:
            told = f"It is not there, but {place} is, which may hold what was acknowledged: see to both first"
            raise FileNotFoundError(errno.ENOENT, told, str(real))


def lock_of(real: Path) -> Path:
    """Name the file by whose lock a server says that the database file is its own; it is never removed."""
    return real.with_name(f"{real.name}-lock")


def open_lock(real: Path) -> int:
    """Open the lock file, made if it is not there: for the owner of the database only, whatever the umask."""
    file = os.open(lock_of(real), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _OWNER_ONLY)
    try:
        found = os.fstat(file)
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != _OWNER_ONLY:
            os.fchmod(file, _OWNER_ONLY)
        if os.geteuid() == 0 and real.exists():
            # A command that root ran must not lock out the server's own user.
            owner = real.stat()
            os.fchown(file, owner.st_uid, owner.st_gid)
    except BaseException:
        os.close(file)
        raise
    return file
