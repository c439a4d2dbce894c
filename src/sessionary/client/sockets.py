"""The open sockets of a client, by file descriptor, so that a forked process can drop them."""

import contextlib
import os
import stat
from typing import Any, Final

_CAN_FORK: Final = hasattr(os, "fork")


class OpenSockets:
    """The sockets of one connection pool.

    Descriptor numbers are reused, so the inode of each socket is stored too.
    """

    def __init__(self) -> None:
        self._inodes: Final[dict[int, int]] = {}

    def add(self, socket: Any) -> None:
        """Store a socket that was just connected."""
        if _CAN_FORK:
            with contextlib.suppress(OSError, ValueError):
                descriptor = socket.fileno()
                self._inodes[descriptor] = os.fstat(descriptor).st_ino

    def release(self) -> None:
        """Drop the sockets without sending anything or shutting them down.

        Each descriptor is replaced with the null device. So another process that has the same socket can go on with
        it, the number is not reused while an object still holds it, and an event loop that removes the number from a
        selector shared with its parent process removes nothing there.
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
