"""Taking turns on the machine: most tests run beside those of other workers, a few alone."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(directory: Path, *, alone: bool) -> Iterator[None]:
    """Wait until nobody else is alone, or, to be ``alone``, until nobody else is at work.

    The door is held while waiting to be alone: else those who come and go would keep it waiting forever.
    """
    with (directory / "door.lock").open("w") as door, (directory / "room.lock").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
