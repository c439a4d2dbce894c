"""Taking turns on the machine: most tests run beside those of other workers, a few alone."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

_LONGEST_WAIT_SECONDS: Final = 900
_PAUSE_SECONDS: Final = 0.02


class TurnTimeoutError(Exception):
    """Another worker did not end its turn in time."""


@contextmanager
def turn(directory: Path, *, alone: bool) -> Iterator[None]:
    """Wait until nobody else is alone, or, to be ``alone``, until nobody else is at work.

    The door is held while waiting to be alone: else those who come and go would keep it waiting forever.
    """
    with (directory / "door.lock").open("w") as door, (directory / "room.lock").open("w") as room:
        try:
            _lock(door, fcntl.LOCK_EX)
            _lock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            if not alone:
                fcntl.flock(door, fcntl.LOCK_UN)
            yield
        finally:
            # Closing would not do: a process that a test forked and left behind has the same files open.
            fcntl.flock(room, fcntl.LOCK_UN)
            fcntl.flock(door, fcntl.LOCK_UN)


def _lock(file: TextIO, kind: int) -> None:
    ends_at = time.monotonic() + _LONGEST_WAIT_SECONDS
    while True:
        try:
            return fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends_at:
                raise TurnTimeoutError(f"{file.name} was held for {_LONGEST_WAIT_SECONDS} seconds") from None
            time.sleep(_PAUSE_SECONDS)
