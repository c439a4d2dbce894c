"""SIGHUP: reload the settings, or stop if the server's terminal was closed."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Final


class SighupHandler:
    """Handles SIGHUP for the whole life of the process, so that the signal never terminates it by default."""

    def __init__(self, *, outlives_terminal: bool) -> None:
        """Find the terminal that the program was started from, unless the server is to outlive it."""
        self._terminal: Final = None if outlives_terminal else _find_terminal()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reload: Callable[[], None] | None = None
        self._is_reload_due = False

    def install(self) -> None:
        """Handle the signal from now on; a reload is remembered until ``enable`` is called."""
        # Not with the event loop's handlers: a loop that is closed restores the default, which ends the process.
        signal.signal(signal.SIGHUP, self._on_signal)
        # The command line blocked the signal, so one that arrived since then is handled here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])

    def enable(self, reload: Callable[[], None]) -> None:
        """Call ``reload`` in this event loop on each signal, and now if one has arrived already."""
        self._loop, self._reload = asyncio.get_running_loop(), reload
        if self._is_reload_due:
            # The settings read at startup may be older than the signal.
            reload()

    def disable(self) -> None:
        """Ignore the signal from now on: the server is stopping."""
        # Python restores the default for signals with a handler when it exits, and the default ends the process.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self, _number: int, _frame: object) -> None:
        if self._terminal is not None and not os.isatty(self._terminal):
            # Closing the terminal ends the programs in it, as usual.
            signal.raise_signal(signal.SIGTERM)
        elif self._loop is not None and self._reload is not None:
            self._loop.call_soon_threadsafe(self._reload)
        else:
            self._is_reload_due = True


def _find_terminal() -> int | None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if os.isatty(stream.fileno()):
                return stream.fileno()
    return None
