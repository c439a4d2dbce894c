"""The sockets that a client has open, by descriptor: what a forked process lets go of."""

import contextlib
import os
import stat
from typing import Any, Final

_CAN_FORK: Final = hasattr(os, "fork")


class OpenSockets:
    """The sockets of one pool of connections.

    A descriptor alone says little, for numbers are used again: beside each stands the inode that it had.
    """

    def __init__(self) -> None:
        self._inodes: Final[dict[int, int]] = {}

    def note(self, socket: Any) -> None:
        """Remember a socket that was just connected."""
        if _CAN_FORK:
            with contextlib.suppress(OSError, ValueError):
                descriptor = socket.fileno()
                self._inodes[descriptor] = os.fstat(descriptor).st_ino

    def release(self) -> None:
        """Give up the sockets without a word to their servers: nothing is sent and nothing is shut down.

        The null device takes the place of each. So another process that has the same socket keeps it as it is, the
        number is not used again for something else while an object still holds it, and an event loop that removes
        the number from a selector it shares with a parent removes nothing there.
        """
        if not self._inodes:
            return
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            for descriptor, inode in list(self._inodes.items()):
                with contextlib.suppress(OSError):
                    found = os.fstat(descriptor)
                    if stat.S_ISSOCK(found.st_mode) and found.st_ino == inode:
                        os.dup2(null, descriptor, inheritable=False)
        finally:
            os.close(null)
        self._inodes.clear()
