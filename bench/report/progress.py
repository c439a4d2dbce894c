"""Reporting progress on the terminal."""

from __future__ import annotations

import sys
import time


class Progress:
    """One line on the terminal that is overwritten; elsewhere nothing but what is final."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._is_terminal = sys.stderr.isatty()

    def say(self, what: str) -> None:
        """Show what is being done now."""
        if self._is_terminal:
            print(f"\r\033[K[{self.elapsed:4.0f} s] {what}", end="", file=sys.stderr, flush=True)

    def tell(self, lines: str) -> None:
        """Print what is to stay."""
        if self._is_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        print(lines, flush=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._started
