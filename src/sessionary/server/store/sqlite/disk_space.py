"""Check that there is space on the disk."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Final

from sessionary.errors import StoreUnavailableError

DISK_FULL: Final = "The disk is full."

_BYTES_WANTED: Final = 256 * 1024
_BYTES_SCARCE: Final = 16 * 1024 * 1024
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_room(database: Path) -> None:
    """Raise StoreUnavailableError unless 256 KiB can be written beside the database; they are removed again."""
    try:
        # Free space may not be ours to use: only a write shows quotas and reserves.
        with tempfile.TemporaryFile(dir=database.parent, buffering=0) as trial:
            if trial.write(bytes(_BYTES_WANTED)) < _BYTES_WANTED:
                raise StoreUnavailableError(DISK_FULL, reason=f"no room beside {database}")
    except OSError as error:
        if error.errno in _FULL:
            raise StoreUnavailableError(DISK_FULL, reason=f"no room beside {database}: {error.strerror}") from error


def is_short_of_room(database: Path) -> bool:
    """Return whether so little is free that only a trial write shows whether anything fits."""
    disk = os.statvfs(database.parent)
    return disk.f_bavail * disk.f_frsize < _BYTES_SCARCE
