"""A lock of the machine for tests: most run beside those of other workers, a few alone."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

_LONGEST_WAIT_SECONDS: Final = 900
_PAUSE_SECONDS: Final = 0.02


class LockTimeoutError(Exception):
    """Another worker did not release the lock in time."""


@contextmanager
def machine_lock(directory: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the lock, shared or exclusively.

    The door is locked while waiting for exclusive access, so that new shared holders cannot starve it.
    """
    with (directory / "door.lock").open("w") as door, (directory / "room.lock").open("w") as room:
        try:
            _lock(door, fcntl.LOCK_EX)
            _lock(room, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            if not exclusive:
                fcntl.flock(door, fcntl.LOCK_UN)
            yield
        finally:
            # Closing is not enough: a process that a test forked may still have the same files open.
            fcntl.flock(room, fcntl.LOCK_UN)
            fcntl.flock(door, fcntl.LOCK_UN)


def _lock(file: TextIO, kind: int) -> None:
    ends_at = time.monotonic() + _LONGEST_WAIT_SECONDS
    while True:
        try:
            return fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends_at:
                raise LockTimeoutError(f"{file.name} was held for {_LONGEST_WAIT_SECONDS} seconds") from None
            time.sleep(_PAUSE_SECONDS)
