"""SIGHUP: read the settings again, or, where it says that the terminal of the server is gone, stop."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Final


class Hangups:
    """Takes the signal from the first moment to the last, so that it never ends the process by itself."""

    def __init__(self, *, outlives_terminal: bool) -> None:
        """Remember the terminal that the program was started from, if it was, and is to end with it."""
        self._terminal: Final = None if outlives_terminal else _terminal()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reload: Callable[[], None] | None = None
        self._is_early = False

    def take(self) -> None:
        """Take the signal from now on, and to the end."""
        # Not by the loop: one that is closed gives the signal back to the system, which ends the process.
        signal.signal(signal.SIGHUP, self._note)
        # The command line held it back: one that came since then is handled here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])

    def obey(self, reload: Callable[[], None]) -> None:
        """Read again whenever the signal comes, in this event loop."""
        self._loop, self._reload = asyncio.get_running_loop(), reload
        if self._is_early:
            # What was read at the start may be older than the signal.
            reload()

    def ignore(self) -> None:
        """Obey no more: the server is at its end."""
        # Python gives back to the system what it handles itself, and that would end the process.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _note(self, _number: int, _frame: object) -> None:
        if self._terminal is not None and not os.isatty(self._terminal):
            # As it always was: closing the window ends what runs in it.
            signal.raise_signal(signal.SIGTERM)
        elif self._loop is not None and self._reload is not None:
            self._loop.call_soon_threadsafe(self._reload)
        else:
            self._is_early = True


def _terminal() -> int | None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if os.isatty(stream.fileno()):
                return stream.fileno()
    return None
